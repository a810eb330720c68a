import LinearRegex
import Model
import PromQLSyntax

/// An `eval` of a script: a query, when to run it and what it should yield.
struct ScriptEval {
    enum Times {
        case instant(TimestampMS)
        case range(start: TimestampMS, end: TimestampMS, stepMS: Int64)
    }

    /// What a remark or an error should say.
    enum TextMatch {
        case any
        case exact(String)
        case regex(LinearRegex)

        func matches(_ text: String) -> Bool {
            switch self {
            case .any: true
            case .exact(let wanted): text == wanted
            case .regex(let regex): regex.firstMatch(in: text) != nil
            }
        }
    }

    struct Entry {
        /// From 1, in the order written.
        var position: Int
        var values: [ScriptSample]
    }

    var line: Int
    var query: String
    var times: Times
    var isOrdered = false
    /// The error that is expected; nil where none is.
    var failure: TextMatch?
    var warnings: [TextMatch] = []
    var infos: [TextMatch] = []
    var forbidsWarnings = false
    var forbidsInfos = false
    /// The times of a range vector that an instant query should yield.
    var rangeVector: (start: Int64, end: Int64, stepMS: Int64)?
    var string: String?
    var scalar: Double?
    var entries: [Labels: Entry] = [:]
}
