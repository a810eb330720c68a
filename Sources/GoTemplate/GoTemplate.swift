/// A parsed template of Go's `text/template` language, ready to be expanded any number of times.
///
/// What is there: actions with trim markers and comments, pipelines, variables, `if`/`else if`/`else`, `range`,
/// `with`, `break`, `continue`, `define`, `template`, `block`, fields, and the built-in functions. Methods exist
/// where a `TemplateObject` carries them. Complex numbers, channels and `text/template`'s iterators are left out.
package struct GoTemplate: Sendable {
    /// Deepest nesting of blocks and parentheses, and of templates that call templates.
    package static let depthMax = 128
    /// Longest template, in bytes.
    package static let sourceBytesMax = 1 << 20
    /// Longest output, in bytes.
    package static let outputBytesMax = 1 << 20
    /// Most nodes and operands evaluated in one expansion.
    package static let stepsMax = 1_000_000

    let nodes: [TemplateNode]
    var definitions: [String: [TemplateNode]]
    let functions: [String: TemplateFunction]

    /// Parses `source`; `functions` come beside the built-in ones and replace those of the same name.
    package init(
        _ source: String, functions: [String: TemplateFunction] = [:]
    ) throws(GoTemplateError) {
        guard source.utf8.count <= Self.sourceBytesMax else {
            throw .limit(
                line: 1, message: "the template is longer than \(Self.sourceBytesMax) bytes")
        }
        self.functions = TemplateBuiltins.functions.merging(functions) { _, given in given }
        var parser = try TemplateParser(
            source, functions: Set(self.functions.keys).union(["and", "or"]))
        nodes = try parser.parse()
        definitions = parser.definitions
    }

    /// This template with the definitions of `library` beside its own, which win.
    package func including(_ library: GoTemplate) -> GoTemplate {
        var copy = self
        copy.definitions = library.definitions.merging(definitions) { _, own in own }
        return copy
    }

    /// Names of the templates that `define` and `block` made.
    package var definedNames: Set<String> { Set(definitions.keys) }

    /// The text that the template makes of `data`. `functions` replace those it was parsed with, name by name: what
    /// a function answers may depend on the moment.
    package func expand(
        _ data: TemplateValue, functions: [String: TemplateFunction] = [:]
    ) throws(GoTemplateError) -> String {
        var interpreter = TemplateInterpreter(
            template: self, data: data,
            functions: self.functions.merging(functions) { _, given in given })
        return try interpreter.run()
    }

    /// Parses and expands in one go.
    package static func expand(
        _ source: String, _ data: TemplateValue, functions: [String: TemplateFunction] = [:]
    ) throws(GoTemplateError) -> String {
        try GoTemplate(source, functions: functions).expand(data)
    }
}
