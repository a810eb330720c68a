/// Why a text is not a LogQL query that Petrel can answer. `description` has Loki's wording where Loki has one.
package enum LogQLSyntaxError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text breaks the grammar. Line and column count from 1, the column in characters.
    case syntax(line: Int, column: Int, message: String)
    /// The text is well formed but says something impossible.
    case invalid(String)
    /// Loki would understand it and Petrel does not yet; the text names the construct.
    case notSupported(line: Int, column: Int, construct: String)
    /// The text is longer than `LogQLParser.inputBytesMax`.
    case tooLong(bytes: Int)
    /// Brackets are nested deeper than `LogQLParser.depthMax`.
    case tooDeep(line: Int, column: Int)

    package var description: String {
        switch self {
        case .syntax(let line, let column, let message):
            "parse error at line \(line), col \(column): \(message)"
        case .invalid(let message): "parse error : \(message)"
        case .notSupported(let line, let column, let construct):
            "parse error at line \(line), col \(column): \(construct) is not supported yet: "
                + "Petrel answers stream selectors with line filters"
        case .tooLong(let bytes):
            "parse error : input size too long (\(bytes) > \(LogQLParser.inputBytesMax))"
        case .tooDeep(let line, let column):
            "parse error at line \(line), col \(column): "
                + "expression nested deeper than \(LogQLParser.depthMax) levels"
        }
    }

    /// Source: Loki `validateMatchers`; its text word for word, for clients look for it.
    package static let needsMatcher = LogQLSyntaxError.invalid(
        "queries require at least one regexp or equality matcher that does not have an "
            + "empty-compatible value. For instance, app=~\".*\" does not meet this requirement, "
            + "but app=~\".+\" will")
}
