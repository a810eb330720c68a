package import LogQLSyntax

/// Why a LogQL query can't be prepared or answered.
package enum LogQLError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text is no query, or a stage of it can't be built.
    case syntax(LogQLSyntaxError)
    /// The answer or the way to it is larger than allowed.
    case limit(LogQLLimit)

    package var description: String {
        switch self {
        case .syntax(let error): error.description
        case .limit(let limit): limit.description
        }
    }
}

/// A bound of a query that was passed.
package enum LogQLLimit: Hashable, Sendable, CustomStringConvertible {
    /// Lines looked at.
    case scannedLines(max: Int)
    /// Bytes of lines looked at.
    case scannedBytes(max: Int)
    /// Streams in an answer.
    case streams(max: Int)
    /// Bytes of label names and values in an answer.
    case labelBytes(max: Int)
    /// Bytes of lines in an answer.
    case lineBytes(max: Int)

    package var description: String {
        switch self {
        case .scannedLines(let max): "the query would look at more than \(max) lines"
        case .scannedBytes(let max): "the query would look at more than \(max) bytes of lines"
        case .streams(let max): "the answer would have more than \(max) streams"
        case .labelBytes(let max): "the answer would have more than \(max) bytes of labels"
        case .lineBytes(let max): "the answer would have more than \(max) bytes of lines"
        }
    }
}
