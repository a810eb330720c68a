import LinearRegex
import LogQL
import Model

/// A line of a `load` block: entries of one stream.
struct LogScriptLoad {
    var stream: Labels
    var entries: [LogEntry]
}

enum LogScriptCommand {
    case clear
    case load([LogScriptLoad])
    case eval(LogScriptEval)
}

/// An `eval` of a script: a query, when to run it and what it should yield.
struct LogScriptEval {
    /// What an error should say.
    enum Failure {
        case any
        case contains(String)
        case regex(LinearRegex)
    }

    /// What is expected; a series has a value or nil for each step.
    enum Expectation {
        case failure(Failure)
        case empty
        case scalar(Double)
        case series([Series], isOrdered: Bool)
    }

    struct Series: Hashable {
        var labels: Labels
        var values: [Double?]
    }

    /// Of the `eval`, from 1.
    var line: Int
    var query: String
    var times: MetricTimes
    var expectation: Expectation
    /// As written, for reports.
    var expectedText: [String]
}
