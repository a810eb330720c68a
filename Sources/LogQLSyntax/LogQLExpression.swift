package import Model

/// A LogQL query: lines of streams, or numbers over time.
///
/// The tree is what was written, but that operations between two literals are folded, `or` chains of negated line
/// filters are a filter each, `by ()` of a vector aggregation is no grouping, and one-byte differences of spelling (quotes, spaces) are gone. Source: Loki 3.6's grammar.
package enum LogQLExpression: Hashable, Sendable {
    case log(LogSelector)
    case metric(MetricExpression)
}

/// A stream selector with its pipeline: `{unit="caddy"} |= "error" | json`.
package struct LogSelector: Hashable, Sendable {
    /// In the order written; after validation at least one of them does not match the empty string.
    package var matchers: [LabelMatcher]
    /// In the order written; each sees only what the one before it kept.
    package var stages: [PipelineStage]

    package init(matchers: [LabelMatcher], stages: [PipelineStage] = []) {
        self.matchers = matchers
        self.stages = stages
    }
}

/// One stage of a pipeline.
package enum PipelineStage: Hashable, Sendable {
    case lineFilter(LineFilter)
    case labelFilter(LabelFilter)
    /// `json`, all fields, or those named: `json status="response.code"`.
    case json([LabelExtraction])
    /// `logfmt [--strict] [--keep-empty] [status="code"]`.
    case logfmt(LogfmtFlags, [LabelExtraction])
    /// `regexp "(?P<name>…)"`.
    case regexp(String)
    /// `pattern "<ip> - <_>"`.
    case pattern(String)
    case unpack
    case decolorize
    /// `line_format "{{.x}}"`.
    case lineFormat(String)
    case labelFormat([LabelFormat])
    case drop([LabelSelection])
    case keep([LabelSelection])
}

/// Keeps the lines that satisfy one of `patterns`, or, negated, none of them.
package struct LineFilter: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable, CaseIterable {
        case contains = "|="
        case notContains = "!="
        case matchesRegex = "|~"
        case notMatchesRegex = "!~"
        case matchesPattern = "|>"
        case notMatchesPattern = "!>"

        /// Whether lines that match are dropped.
        package var isNegated: Bool {
            switch self {
            case .contains, .matchesRegex, .matchesPattern: false
            case .notContains, .notMatchesRegex, .notMatchesPattern: true
            }
        }
    }

    package struct Pattern: Hashable, Sendable {
        /// Bytes, since a Go string literal may name any byte.
        package var bytes: [UInt8]
        /// `ip("…")`: an address, a range or a CIDR, found anywhere in the line.
        package var isIP: Bool

        package init(_ bytes: [UInt8], isIP: Bool = false) {
            self.bytes = bytes
            self.isIP = isIP
        }
    }

    package var operation: Operation
    /// At least one. An `or` chain has several; a negated filter has one.
    package var patterns: [Pattern]

    package init(_ operation: Operation, _ patterns: [Pattern]) {
        self.operation = operation
        self.patterns = patterns
    }
}

/// A condition on labels: `status >= 500 and (method = "GET" or size > 1KB)`.
package indirect enum LabelFilter: Hashable, Sendable {
    package enum Comparison: String, Hashable, Sendable, CaseIterable {
        case equal = "=="
        case notEqual = "!="
        case greater = ">"
        case greaterOrEqual = ">="
        case less = "<"
        case lessOrEqual = "<="
    }

    case string(LabelMatcher)
    case number(String, Comparison, Double)
    /// Nanoseconds.
    case duration(String, Comparison, Int64)
    case bytes(String, Comparison, UInt64)
    /// `addr = ip("10.0.0.0/8")`, or `!=` where `isNegated`.
    case ip(String, isNegated: Bool, pattern: String)
    /// `and`, `,`, and a blank between two filters are one.
    case and(LabelFilter, LabelFilter)
    case or(LabelFilter, LabelFilter)
}

/// `label="path"` of `json` and `logfmt`; `label` alone is `label="label"`.
package struct LabelExtraction: Hashable, Sendable {
    package var label: String
    package var path: String

    package init(_ label: String, _ path: String) {
        self.label = label
        self.path = path
    }
}

/// `--strict` and `--keep-empty` of `logfmt`.
package struct LogfmtFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `--strict`: what is no logfmt is an error.
    package static let strict = LogfmtFlags(rawValue: 1)
    /// `--keep-empty`: keys without a value become labels too.
    package static let keepEmpty = LogfmtFlags(rawValue: 2)
}

/// One of `label_format`: `new=old` renames, `new="{{.x}}"` is a template.
package struct LabelFormat: Hashable, Sendable {
    package enum Value: Hashable, Sendable {
        case rename(String)
        case template(String)
    }

    package var label: String
    package var value: Value

    package init(_ label: String, _ value: Value) {
        self.label = label
        self.value = value
    }
}

/// One of `drop` and `keep`: a name, or a name whose value has to match.
package enum LabelSelection: Hashable, Sendable {
    case name(String)
    case matcher(LabelMatcher)
}

/// A metric query.
package indirect enum MetricExpression: Hashable, Sendable {
    case literal(Double)
    /// `vector(x)`: one sample with no labels.
    case vector(Double)
    case range(RangeAggregation)
    case aggregation(VectorAggregation)
    case binary(BinaryOperation)
    case labelReplace(LabelReplacement)
}

/// `by (…)` or `without (…)`.
package struct Grouping: Hashable, Sendable {
    package var isWithout: Bool
    package var labels: [String]

    package init(isWithout: Bool = false, labels: [String]) {
        self.isWithout = isWithout
        self.labels = labels
    }
}

/// `quantile_over_time(0.99, {…} | json | unwrap latency [5m] offset 1h) by (path)`.
package struct RangeAggregation: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable, CaseIterable {
        case rate = "rate"
        case rateCounter = "rate_counter"
        case countOverTime = "count_over_time"
        case bytesRate = "bytes_rate"
        case bytesOverTime = "bytes_over_time"
        case sumOverTime = "sum_over_time"
        case avgOverTime = "avg_over_time"
        case minOverTime = "min_over_time"
        case maxOverTime = "max_over_time"
        case stddevOverTime = "stddev_over_time"
        case stdvarOverTime = "stdvar_over_time"
        case quantileOverTime = "quantile_over_time"
        case firstOverTime = "first_over_time"
        case lastOverTime = "last_over_time"
        case absentOverTime = "absent_over_time"
    }

    package var operation: Operation
    package var selector: LogSelector
    package var unwrap: Unwrap?
    /// Of a window `(t - range, t]`, in nanoseconds, at least 0: Loki takes `[0s]`, a window with nothing in it.
    package var rangeNanoseconds: Int64
    /// Backwards where positive.
    package var offsetNanoseconds: Int64
    /// The quantile.
    package var parameter: Double?
    package var grouping: Grouping?

    package init(
        _ operation: Operation, _ selector: LogSelector, rangeNanoseconds: Int64,
        unwrap: Unwrap? = nil, offsetNanoseconds: Int64 = 0, parameter: Double? = nil,
        grouping: Grouping? = nil
    ) {
        self.operation = operation
        self.selector = selector
        self.unwrap = unwrap
        self.rangeNanoseconds = rangeNanoseconds
        self.offsetNanoseconds = offsetNanoseconds
        self.parameter = parameter
        self.grouping = grouping
    }
}

/// `| unwrap duration(latency) | __error__=""`: a label's value instead of the line's existence.
package struct Unwrap: Hashable, Sendable {
    package enum Conversion: String, Hashable, Sendable, CaseIterable {
        case bytes = "bytes"
        case duration = "duration"
        case durationSeconds = "duration_seconds"
    }

    package var label: String
    package var conversion: Conversion?
    /// Stages after it: label filters alone.
    package var filters: [LabelFilter]

    package init(_ label: String, conversion: Conversion? = nil, filters: [LabelFilter] = []) {
        self.label = label
        self.conversion = conversion
        self.filters = filters
    }
}

/// `sum by (host) (…)`, `topk(5, …)`.
package struct VectorAggregation: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable, CaseIterable {
        case sum, avg, min, max, count, stddev, stdvar, bottomk, topk, sort
        case sortDescending = "sort_desc"
        case approxTopK = "approx_topk"
    }

    package var operation: Operation
    package var operand: MetricExpression
    /// Of `topk`, `bottomk` and `approx_topk`: how many.
    package var parameter: Int?
    package var grouping: Grouping?

    package init(
        _ operation: Operation, _ operand: MetricExpression, parameter: Int? = nil,
        grouping: Grouping? = nil
    ) {
        self.operation = operation
        self.operand = operand
        self.parameter = parameter
        self.grouping = grouping
    }
}

/// `sum by (host) (…) / on (host) group_left …`; also with a number on one side or on both.
package struct BinaryOperation: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable, CaseIterable {
        case or, and, unless
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case remainder = "%"
        case power = "^"
        case equal = "=="
        case notEqual = "!="
        case greater = ">"
        case greaterOrEqual = ">="
        case less = "<"
        case lessOrEqual = "<="
    }

    package struct Matching: Hashable, Sendable {
        package enum Cardinality: Hashable, Sendable { case oneToOne, manyToOne, oneToMany }

        package var cardinality: Cardinality
        /// `on (…)` where true, `ignoring (…)` otherwise.
        package var isOn: Bool
        package var labels: [String]
        /// Labels that `group_left` and `group_right` take over from the one side.
        package var include: [String]

        package init(
            cardinality: Cardinality = .oneToOne, isOn: Bool = false, labels: [String] = [],
            include: [String] = []
        ) {
            self.cardinality = cardinality
            self.isOn = isOn
            self.labels = labels
            self.include = include
        }
    }

    package var operation: Operation
    package var left: MetricExpression
    package var right: MetricExpression
    /// `bool`: comparisons give 0 or 1 instead of dropping.
    package var returnsBool: Bool
    /// Nil where nothing or `ignoring ()` was written.
    package var matching: Matching?

    package init(
        _ operation: Operation, _ left: MetricExpression, _ right: MetricExpression,
        returnsBool: Bool = false, matching: Matching? = nil
    ) {
        self.operation = operation
        self.left = left
        self.right = right
        self.returnsBool = returnsBool
        self.matching = matching
    }
}

/// `label_replace(v, "dst", "$1", "src", "(.*)")`.
package struct LabelReplacement: Hashable, Sendable {
    package var operand: MetricExpression
    package var destination: String
    package var replacement: String
    package var source: String
    /// Anchored at both ends.
    package var regex: String

    package init(
        _ operand: MetricExpression, destination: String, replacement: String, source: String,
        regex: String
    ) {
        self.operand = operand
        self.destination = destination
        self.replacement = replacement
        self.source = source
        self.regex = regex
    }
}
