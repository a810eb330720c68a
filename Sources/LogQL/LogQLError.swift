package import LogQLSyntax

/// Why a LogQL query can't be prepared.
package enum LogQLError: Error, Hashable, Sendable, CustomStringConvertible {
    case syntax(LogQLSyntaxError)
    /// A line filter's expression does not compile; the text is RE2's.
    case badRegex(String)
    /// A pattern filter (`|>`) breaks its rules.
    case badPattern(String)

    package var description: String {
        switch self {
        case .syntax(let error): error.description
        case .badRegex(let text), .badPattern(let text): "parse error : \(text)"
        }
    }
}
