/// What one expansion may take.
package struct TemplateLimits: Hashable, Sendable {
    /// Longest output, and longest text that a function makes, in bytes.
    package var outputBytesMax: Int
    /// Most nodes and operands evaluated.
    package var stepsMax: Int
    /// Most bytes of texts given to functions, all calls together.
    package var workBytesMax: Int

    package init(outputBytesMax: Int, stepsMax: Int, workBytesMax: Int) {
        self.outputBytesMax = outputBytesMax
        self.stepsMax = stepsMax
        self.workBytesMax = workBytesMax
    }

    /// Those of alerts and notifications.
    package static let standard = TemplateLimits(
        outputBytesMax: GoTemplate.outputBytesMax, stepsMax: GoTemplate.stepsMax,
        workBytesMax: 256 << 20)
}

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

    /// What Go calls the template in its errors.
    package let name: String
    /// Names of the fields used, in order of first use. A `TemplateValue.record` has its values in this order.
    package let fieldNames: [String]
    /// Whether the data is used other than field by field, as `{{ . }}` does: then it can be no record.
    package let usesWholeData: Bool
    /// Names of the functions used, in order of first use.
    package let functionNames: [String]

    /// As far as this template's own nodes go; definitions from a library bring their tables along.
    let main: TemplateBody
    var definitions: [String: TemplateBody]
    let functions: [String: TemplateFunction]

    /// Parses `source`; `functions` come beside the built-in ones and replace those of the same name.
    package init(
        _ source: String, name: String = "template", functions: [String: TemplateFunction] = [:]
    ) throws(GoTemplateError) {
        guard source.utf8.count <= Self.sourceBytesMax else {
            let message = "the template is longer than \(Self.sourceBytesMax) bytes"
            throw .limit(
                TemplateFault(
                    line: 1, message: message, goText: "template: \(name):1: \(message)"))
        }
        self.name = name
        self.functions = TemplateBuiltins.functions.merging(functions) { _, given in given }
        var parser = TemplateParser(
            source, name: name, functions: Set(self.functions.keys).union(["and", "or"]))
        let nodes = try parser.parse()
        fieldNames = parser.fieldNames
        usesWholeData = parser.usesWholeData
        functionNames = parser.functionNames
        let table = self.functions
        let tables = TemplateTables(
            name: name, places: parser.places,
            functions: parser.functionNames.map { name in
                TemplateTables.Function(name: name, value: table[name])
            })
        main = TemplateBody(name: name, nodes: nodes, tables: tables)
        definitions = parser.definitions.reduce(into: [:]) { made, definition in
            made[definition.key] = TemplateBody(
                name: definition.key, nodes: definition.value, tables: tables)
        }
    }

    /// This template with the definitions of `library` beside its own, which win.
    package func including(_ library: GoTemplate) -> GoTemplate {
        var copy = self
        copy.definitions = library.definitions.merging(definitions) { _, own in own }
        return copy
    }

    /// Names of the templates that `define` and `block` made.
    package var definedNames: Set<String> { Set(definitions.keys) }

    /// A piece of a template that needs no interpreter.
    package enum Part: Hashable, Sendable {
        case text(String)
        /// `{{.name}}`.
        case field(String)
        /// `{{name}}`, a function without arguments.
        case function(String)
    }

    /// The template as texts, fields and functions without arguments; nil where there is more to it.
    package var parts: [Part]? {
        var parts: [Part] = []
        for node in main.nodes {
            switch node {
            case .text(let text): parts.append(.text(text))
            case .action(let pipeline):
                guard pipeline.variables.isEmpty, pipeline.commands.count == 1,
                    pipeline.commands[0].arguments.isEmpty
                else { return nil }
                switch pipeline.commands[0].first.kind {
                case .field(let fields) where fields.count == 1:
                    parts.append(.field(fields[0].name))
                case .function(let number): parts.append(.function(functionNames[number]))
                default: return nil
                }
            case .conditional, .with, .range, .template, .leaveRange, .nextInRange: return nil
            }
        }
        return parts
    }

    /// The text that the template makes of `data`. `functions` replace those it was parsed with, name by name: what
    /// a function answers may depend on the moment.
    package func expand(
        _ data: TemplateValue, functions: [String: TemplateFunction] = [:]
    ) throws(GoTemplateError) -> String {
        var interpreter = TemplateInterpreter(
            template: self, data: data, replacements: functions, inputs: [], limits: .standard)
        try interpreter.run()
        return String(decoding: interpreter.output, as: UTF8.self)
    }

    /// Appends the text that the template makes of `data` to `output`, which on an error may hold a part of it.
    /// `inputs` are the values of functions that are `TemplateFunction.input`.
    package func expand(
        _ data: TemplateValue, inputs: [TemplateValue], limits: TemplateLimits,
        into output: inout [UInt8]
    ) throws(GoTemplateError) {
        var interpreter = TemplateInterpreter(
            template: self, data: data, replacements: [:], inputs: inputs, limits: limits)
        swap(&interpreter.output, &output)
        defer { swap(&interpreter.output, &output) }
        try interpreter.run()
    }

    /// Parses and expands in one go.
    package static func expand(
        _ source: String, _ data: TemplateValue, functions: [String: TemplateFunction] = [:]
    ) throws(GoTemplateError) -> String {
        try GoTemplate(source, functions: functions).expand(data)
    }
}

/// What the nodes of one source refer to by number.
final class TemplateTables: Sendable {
    struct Function: Sendable {
        var name: String
        /// Nil for `and` and `or`, which the interpreter evaluates itself.
        var value: TemplateFunction?
    }

    let name: String
    let places: [TemplatePlace]
    let functions: [Function]

    init(name: String, places: [TemplatePlace], functions: [Function]) {
        self.name = name
        self.places = places
        self.functions = functions
    }
}

/// Nodes with the tables they refer to.
struct TemplateBody: Sendable {
    /// What Go calls it in errors: the template's name, or that of a definition.
    var name: String
    var nodes: [TemplateNode]
    var tables: TemplateTables
}
