package import Model

/// A PromQL expression as parsed: a tree of values whose leaves are literals and selectors.
///
/// Every node knows the bytes of the query it was read from. Equality includes those positions; compare
/// `normalized()` to ask whether two trees mean the same. `description` prints a query that parses to the same
/// tree. The depth of a parsed tree is at most `PromQLParserOptions.treeDepthMax`, so plain recursion over it is safe.
package indirect enum Expression: Hashable, Sendable {
    case number(NumberLiteral)
    case string(StringLiteral)
    case vectorSelector(VectorSelector)
    case matrixSelector(MatrixSelector)
    case subquery(Subquery)
    case unary(UnaryExpression)
    case binary(BinaryExpression)
    case call(FunctionCall)
    case aggregate(Aggregation)
    case parenthesized(ParenthesizedExpression)
}

/// What an expression evaluates to.
package enum ValueType: String, Hashable, Sendable {
    case scalar
    case string
    case vector
    case matrix

    /// The type as error messages spell it.
    package var documentedName: String {
        switch self {
        case .scalar: "scalar"
        case .string: "string"
        case .vector: "instant vector"
        case .matrix: "range vector"
        }
    }
}

/// The half-open range of UTF-8 byte offsets `start ..< end` of the query that a node was read from.
package struct SourceRange: Hashable, Sendable {
    package var start: Int
    package var end: Int

    package init(_ start: Int, _ end: Int) {
        self.start = start
        self.end = end
    }

    /// Where nothing was read: the position of nodes made by a program.
    package static let none = SourceRange(0, 0)
}

/// A number such as `1.5`, `0x1f`, `1_000`, `Inf`, or a duration used as a number of seconds (`5m`).
package struct NumberLiteral: Hashable, Sendable {
    package var value: Double
    /// Whether it was written as a duration (and is printed as one).
    package var isDuration: Bool
    package var range: SourceRange

    package init(_ value: Double, isDuration: Bool = false, range: SourceRange = .none) {
        self.value = value
        self.isDuration = isDuration
        self.range = range
    }

    /// Equal bit patterns: NaN equals itself, and `-0` differs from `0`.
    package static func == (a: Self, b: Self) -> Bool {
        a.value.bitPattern == b.value.bitPattern && a.isDuration == b.isDuration
            && a.range == b.range
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(value.bitPattern)
        hasher.combine(range)
    }
}

/// A quoted string, unescaped.
package struct StringLiteral: Hashable, Sendable {
    /// The text; bytes that are no UTF-8 (from `\xff`) appear as U+FFFD.
    package var value: String
    /// The exact bytes where they are no valid UTF-8, nil otherwise.
    package var invalidBytes: [UInt8]?
    package var range: SourceRange

    package init(_ value: String, invalidBytes: [UInt8]? = nil, range: SourceRange = .none) {
        self.value = value
        self.invalidBytes = invalidBytes
        self.range = range
    }
}

/// The time that `@` pins a selector or a subquery to.
package enum TimeAnchor: Hashable, Sendable {
    /// `@ 1609746000.5`, in milliseconds since the epoch.
    case timestamp(TimestampMS)
    /// `@ start()`: the first evaluation time of the query.
    case start
    /// `@ end()`: the last evaluation time of the query.
    case end
}

/// How a selector treats the edges of its range (experimental extended range selectors).
package enum RangeEdges: String, Hashable, Sendable {
    /// No keyword: samples inside the range only.
    case plain = ""
    /// `anchored`: the last sample before the range stands for its left edge.
    case anchored
    /// `smoothed`: values at the edges are interpolated.
    case smoothed
}

/// `name{label="value"}` with its modifiers.
package struct VectorSelector: Hashable, Sendable {
    /// The metric name; empty for a selector without one. A name is also in `matchers` (as `__name__="name"`, last).
    package var name: String
    /// All conditions, the metric name's included.
    package var matchers: [LabelMatcher]
    /// Added offset into the past; negative reads ahead. Milliseconds once resolved.
    package var offset: DurationExpression
    package var anchor: TimeAnchor?
    package var edges: RangeEdges
    /// Whether a selector of empty matchers alone is allowed here (the second argument of `info`).
    package var mayMatchEverything: Bool
    package var range: SourceRange

    package init(
        name: String, matchers: [LabelMatcher], offset: DurationExpression = .zero,
        anchor: TimeAnchor? = nil, edges: RangeEdges = .plain, mayMatchEverything: Bool = false,
        range: SourceRange = .none
    ) {
        self.name = name
        self.matchers = matchers
        self.offset = offset
        self.anchor = anchor
        self.edges = edges
        self.mayMatchEverything = mayMatchEverything
        self.range = range
    }
}

/// `selector[5m]`. Offset, anchor and edges are the selector's.
package struct MatrixSelector: Hashable, Sendable {
    package var selector: VectorSelector
    package var duration: DurationExpression
    package var range: SourceRange

    package init(
        selector: VectorSelector, duration: DurationExpression, range: SourceRange = .none
    ) {
        self.selector = selector
        self.duration = duration
        self.range = range
    }
}

/// `expression[30m:1m]`.
package struct Subquery: Hashable, Sendable {
    package var expression: Expression
    package var duration: DurationExpression
    /// Nil where the query leaves the step to the engine's default.
    package var step: DurationExpression?
    package var offset: DurationExpression
    package var anchor: TimeAnchor?
    package var range: SourceRange

    package init(
        expression: Expression, duration: DurationExpression, step: DurationExpression?,
        offset: DurationExpression = .zero, anchor: TimeAnchor? = nil, range: SourceRange = .none
    ) {
        self.expression = expression
        self.duration = duration
        self.step = step
        self.offset = offset
        self.anchor = anchor
        self.range = range
    }
}

/// `-expression` or `+expression`.
package struct UnaryExpression: Hashable, Sendable {
    package var isNegation: Bool
    package var operand: Expression
    package var range: SourceRange

    package init(isNegation: Bool, operand: Expression, range: SourceRange = .none) {
        self.isNegation = isNegation
        self.operand = operand
        self.range = range
    }
}

/// A binary operator; the raw value is its spelling.
package enum BinaryOperator: String, Hashable, Sendable, CaseIterable {
    case or, and, unless, atan2
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    /// Native histograms: keep the observations below a value.
    case trimUpper = "</"
    /// Native histograms: keep the observations above a value.
    case trimLower = ">/"
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case modulo = "%"
    case power = "^"

    /// Whether it cuts native histograms.
    package var isTrim: Bool { self == .trimUpper || self == .trimLower }

    package var isSet: Bool { self == .and || self == .or || self == .unless }

    /// Whether it compares and may carry `bool`.
    package var isComparison: Bool {
        switch self {
        case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: true
        case .or, .and, .unless, .atan2, .trimUpper, .trimLower, .add, .subtract, .multiply,
            .divide, .modulo, .power:
            false
        }
    }
}

/// How many series of each side of a binary operation may match one of the other.
package enum MatchCardinality: String, Hashable, Sendable {
    case oneToOne = "one-to-one"
    /// `group_left`
    case manyToOne = "many-to-one"
    /// `group_right`
    case oneToMany = "one-to-many"
    /// Set operators.
    case manyToMany = "many-to-many"
}

/// How the series of two vectors find each other.
package struct VectorMatching: Hashable, Sendable {
    package var cardinality: MatchCardinality
    /// The labels of `on(…)` or `ignoring(…)`, in the order written.
    package var labels: [String]
    /// True for `on`, false for `ignoring` (and for neither, with no labels).
    package var isOn: Bool
    /// The labels of `group_left(…)` or `group_right(…)`: copied from the "one" side.
    package var included: [String]
    /// The value that stands for a missing series of the left or right side; nil drops the pair (experimental).
    package var fillLeft: Double?
    package var fillRight: Double?

    package init(
        cardinality: MatchCardinality = .oneToOne, labels: [String] = [], isOn: Bool = false,
        included: [String] = [], fillLeft: Double? = nil, fillRight: Double? = nil
    ) {
        self.cardinality = cardinality
        self.labels = labels
        self.isOn = isOn
        self.included = included
        self.fillLeft = fillLeft
        self.fillRight = fillRight
    }
}

/// `lhs operator rhs`.
package struct BinaryExpression: Hashable, Sendable {
    package var operation: BinaryOperator
    package var lhs: Expression
    package var rhs: Expression
    /// Whether a comparison carries `bool` and so yields 0 and 1 instead of filtering.
    package var returnsBool: Bool
    /// Set where both sides are vectors, nil otherwise.
    package var matching: VectorMatching?
    package var range: SourceRange

    package init(
        _ operation: BinaryOperator, _ lhs: Expression, _ rhs: Expression,
        returnsBool: Bool = false, matching: VectorMatching? = nil, range: SourceRange = .none
    ) {
        self.operation = operation
        self.lhs = lhs
        self.rhs = rhs
        self.returnsBool = returnsBool
        self.matching = matching
        self.range = range
    }
}

/// `function(arguments)`; the name is one of `PromQLFunction.all`.
package struct FunctionCall: Hashable, Sendable {
    package var name: String
    package var arguments: [Expression]
    package var range: SourceRange

    package init(_ name: String, _ arguments: [Expression], range: SourceRange = .none) {
        self.name = name
        self.arguments = arguments
        self.range = range
    }
}

/// An aggregation operator; the raw value is its spelling.
package enum AggregationOperator: String, Hashable, Sendable, CaseIterable {
    case sum, avg, count, min, max, group, stddev, stdvar, topk, bottomk, quantile
    case countValues = "count_values"
    case limitK = "limitk"
    case limitRatio = "limit_ratio"

    /// The type of the parameter before the vector, nil where there is none.
    package var parameterType: ValueType? {
        switch self {
        case .sum, .avg, .count, .min, .max, .group, .stddev, .stdvar: nil
        case .topk, .bottomk, .quantile, .limitK, .limitRatio: .scalar
        case .countValues: .string
        }
    }

    package var isExperimental: Bool { self == .limitK || self == .limitRatio }
}

/// `operator by (labels) (parameter, expression)`.
package struct Aggregation: Hashable, Sendable {
    package var operation: AggregationOperator
    package var expression: Expression
    package var parameter: Expression?
    /// The labels of `by` or `without`, in the order written.
    package var grouping: [String]
    /// True for `without`; false for `by` and for neither.
    package var isWithout: Bool
    package var range: SourceRange

    package init(
        _ operation: AggregationOperator, _ expression: Expression, parameter: Expression? = nil,
        grouping: [String] = [], isWithout: Bool = false, range: SourceRange = .none
    ) {
        self.operation = operation
        self.expression = expression
        self.parameter = parameter
        self.grouping = grouping
        self.isWithout = isWithout
        self.range = range
    }
}

/// `(expression)`.
package struct ParenthesizedExpression: Hashable, Sendable {
    package var expression: Expression
    package var range: SourceRange

    package init(_ expression: Expression, range: SourceRange = .none) {
        self.expression = expression
        self.range = range
    }
}
