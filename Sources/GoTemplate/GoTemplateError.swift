/// Why a template could not be parsed or expanded. Lines count from 1 in the template's text.
package enum GoTemplateError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text is not a template.
    case syntax(line: Int, message: String)
    /// Expansion failed: a wrong type, a function that refused its arguments, a missing field.
    case execution(line: Int, message: String)
    /// What a function says of its arguments; expansion wraps it with its line.
    case function(String)
    /// The template asks for the result of this query, which the caller has not supplied: run it and expand again.
    case needsQuery(String)
    /// A bound of `GoTemplate` was reached.
    case limit(line: Int, message: String)

    package var description: String {
        switch self {
        case .syntax(let line, let message), .execution(let line, let message),
            .limit(let line, let message):
            "line \(line): \(message)"
        case .function(let message): message
        case .needsQuery(let expression): "no result for query `\(expression)`"
        }
    }
}
