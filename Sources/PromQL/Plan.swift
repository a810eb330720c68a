import Model
import PromQLSyntax

/// An expression with every time, name and selector resolved, ready to be evaluated over a step grid.
indirect enum Plan: Sendable {
    case number(Double)
    case string(String)
    /// `time()`: the evaluation time in seconds.
    case time
    case selector(SelectorPlan)
    /// `timestamp(selector)`: the times of the samples that the selector finds.
    case sampleTimes(SelectorPlan)
    /// `start_timestamp(selector)`: when the counting of those samples began.
    case startTimes(SelectorPlan)
    /// A part that doesn't depend on the evaluation time: evaluated at the first step, repeated for the others.
    case invariant(Plan)
    case negation(Plan)
    case binary(BinaryPlan)
    case aggregation(AggregationPlan)
    case call(CallPlan)
    case info(InfoPlan)
    case rangeCall(RangeCallPlan)
}

/// A selector and where it looks.
struct SelectorPlan: Sendable {
    /// Index of the selector's request.
    var request: Int
    var offset: Int64
    /// The time of `@`, which replaces the evaluation time.
    var anchor: Int64?
    var edges: RangeEdges
    /// Byte offset of the selector in the query.
    var position: Int
    /// Whether nothing but the count and sum of histograms is looked at.
    var needsOnlyTotals = false

    /// The time the selector looks at when evaluated at `time`.
    func reference(at time: Int64) -> Int64 { (anchor ?? time) - offset }
}

/// The range vector that a range function reads.
struct RangePlan: Sendable {
    enum Source: Sendable {
        case selector
        /// The inner expression and the times it is evaluated at.
        case subquery(Plan, StepGrid)
    }

    var source: Source
    /// Offset and anchor of the selector or the subquery; `request` counts for a selector only.
    var selector: SelectorPlan
    /// Length of the window, exclusive at its start, inclusive at its end.
    var duration: Int64
}

/// A function of a range vector.
struct RangeCallPlan: Sendable {
    var function: RangeFunction
    var range: RangePlan
    /// The other arguments, scalars in the order written.
    var scalars: [Plan]
    /// Byte offset of the first argument, where remarks point.
    var position: Int
    /// The labels of `absent_over_time`.
    var absentLabels: Labels
}

/// A function of instant vectors, scalars and strings.
struct CallPlan: Sendable {
    var function: InstantFunction
    var arguments: [Plan]
    /// Byte offsets of the arguments.
    var positions: [Int]
    /// Byte offset of the call.
    var position: Int
    /// The labels of `absent`.
    var absentLabels: Labels
}

struct BinaryPlan: Sendable {
    var operation: BinaryOperator
    var lhs: Plan
    var rhs: Plan
    var returnsBool: Bool
    var matching: VectorMatching?
    /// Byte offset of the expression.
    var position: Int
}

struct AggregationPlan: Sendable {
    var operation: AggregationOperator
    var operand: Plan
    /// Byte offset of the operand, without parentheses.
    var operandPosition: Int
    var parameter: Plan?
    var parameterPosition: Int
    /// Byte offset of the aggregation.
    var position: Int
    var grouping: Set<String>
    var isWithout: Bool
}
