/// What is wrong with a template, and where.
package struct TemplateFault: Hashable, Sendable {
    /// Counts from 1 in the template's text.
    package var line: Int
    package var message: String
    /// The whole error as Go's `text/template` words it:
    /// `template: line:1:2: executing "line" at <.a.b>: can't evaluate field b in type string`.
    package var goText: String

    package init(line: Int, message: String, goText: String) {
        self.line = line
        self.message = message
        self.goText = goText
    }
}

/// Why a template could not be parsed or expanded.
package enum GoTemplateError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text is not a template.
    case syntax(TemplateFault)
    /// Expansion failed: a wrong type, a function that refused its arguments, a missing field.
    case execution(TemplateFault)
    /// What a function says of its arguments; expansion wraps it with its line.
    case function(String)
    /// The template asks for the result of this query, which the caller has not supplied: run it and expand again.
    case needsQuery(String)
    /// A bound of `GoTemplate` or of the expansion was reached.
    case limit(TemplateFault)

    package var description: String {
        switch self {
        case .syntax(let fault), .execution(let fault), .limit(let fault):
            "line \(fault.line): \(fault.message)"
        case .function(let message): message
        case .needsQuery(let expression): "no result for query `\(expression)`"
        }
    }

    /// The error as Go's `text/template` words it.
    package var goText: String {
        switch self {
        case .syntax(let fault), .execution(let fault), .limit(let fault): fault.goText
        case .function, .needsQuery: description
        }
    }
}
