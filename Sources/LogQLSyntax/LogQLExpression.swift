package import Model

/// A LogQL query: either lines of streams or numbers over time.
///
/// The tree has a case for what Petrel answers today. Pipeline stages and metric functions that it does not answer
/// are refused by the parser (`LogQLSyntaxError.notSupported`), so no tree exists that an engine would misread.
package enum LogQLExpression: Hashable, Sendable {
    case log(LogSelector)
    case metric(MetricExpression)
}

/// A stream selector with its pipeline: `{unit="caddy"} |= "error"`.
package struct LogSelector: Hashable, Sendable {
    /// At least one; at least one of them does not match the empty string.
    package var matchers: [LabelMatcher]
    /// In the order written; each sees only what the one before it kept.
    package var stages: [PipelineStage]

    package init(matchers: [LabelMatcher], stages: [PipelineStage] = []) {
        self.matchers = matchers
        self.stages = stages
    }
}

/// One stage of a pipeline. Parsers, label filters and formatters are further cases.
package enum PipelineStage: Hashable, Sendable {
    case lineFilter(LineFilter)
}

/// Keeps the lines that satisfy one of `patterns`, or, negated, none of them.
package struct LineFilter: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable {
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

    package var operation: Operation
    /// At least one; bytes, since a Go string literal may name any byte. An `or` chain has several.
    package var patterns: [[UInt8]]

    package init(_ operation: Operation, _ patterns: [[UInt8]]) {
        self.operation = operation
        self.patterns = patterns
    }
}

/// A metric query without streams: what `vector(1)+vector(1)` needs. Range aggregations are further cases.
package indirect enum MetricExpression: Hashable, Sendable {
    package enum Operation: String, Hashable, Sendable {
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case remainder = "%"
        case power = "^"
    }

    case literal(Double)
    /// `vector(x)`: one sample with no labels.
    case vector(Double)
    case binary(Operation, MetricExpression, MetricExpression)
}
