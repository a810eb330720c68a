/// What the server said of a statement that it refused.
package struct PostgresServerMessage: Hashable, Sendable {
    /// Five characters. Source: PostgreSQL 15 manual, appendix A.
    package var sqlState: String
    package var message: String
    /// Empty where the server gave none.
    package var detail: String
    package var hint: String
    /// Name of the constraint that was violated; empty where none was.
    package var constraint: String

    package init(
        sqlState: String, message: String, detail: String = "", hint: String = "",
        constraint: String = ""
    ) {
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
        self.constraint = constraint
    }
}

/// Why the database did not do what it was asked.
package enum PostgresError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The server refused the statement; the connection lives on.
    case server(PostgresServerMessage)
    /// No connection could be made, or it was lost; whether an open transaction committed is unknown.
    case connection(String)
    /// Every connection stayed in use for `waitMilliseconds`.
    case poolExhausted(connectionsMax: Int, waitMilliseconds: Int)
    /// The server did not answer within `milliseconds`; the connection was given up.
    case timeout(milliseconds: Int)
    /// A value has not the shape that the code expects.
    case decoding(String)
    /// The pool was closed.
    case closed
    case cancelled
    /// The private cluster could not be prepared or started; the text ends with the remedy.
    case cluster(String)

    /// The sentence for a log line: what happened and what to do.
    package var description: String {
        switch self {
        case .server(let message):
            var text = "PostgreSQL \(message.sqlState): \(message.message)"
            if !message.detail.isEmpty { text += " (\(message.detail))" }
            if !message.hint.isEmpty { text += "; hint: \(message.hint)" }
            if message.sqlState == "26000" {
                text += "; a pooler in transaction mode may stand between: connect directly"
            }
            return text
        case .connection(let text): return "PostgreSQL connection: \(text)"
        case .poolExhausted(let maximum, let wait):
            return
                "all \(maximum) connections were in use for \(wait) ms: raise the pool or ask less"
        case .timeout(let milliseconds): return "no answer from PostgreSQL in \(milliseconds) ms"
        case .decoding(let text): return "unexpected value from PostgreSQL: \(text)"
        case .closed: return "the connection pool is closed"
        case .cancelled: return "cancelled"
        case .cluster(let text): return text
        }
    }

    /// The server's SQLSTATE; nil where the error is not the server's.
    package var sqlState: String? {
        if case .server(let message) = self { return message.sqlState }
        return nil
    }

    /// Whether the same work may succeed a little later: lost connections, shutdown, serialization, deadlock, lock timeout.
    package var isTransient: Bool {
        switch self {
        case .connection, .poolExhausted, .timeout: true
        case .server(let message):
            message.sqlState.hasPrefix("08") || message.sqlState.hasPrefix("57P")
                || message.sqlState.hasPrefix("40")
                || ["55P03", "53300", "25006"].contains(message.sqlState)
        case .decoding, .closed, .cancelled, .cluster: false
        }
    }
}
