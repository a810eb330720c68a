/// Builds the tree of a template. Functions and variables are checked here, as Go does: an unknown one is a syntax
/// error.
struct TemplateParser {
    private let name: String
    private let items: [TemplateItem]
    private let functions: Set<String>
    private var itemIndex = 0
    private var tokens: [TemplateToken] = []
    private var tokenIndex = 0
    private var line = 1
    /// Where the action began.
    private var actionLine = 1
    private let lineStarts: [Int]
    private var variables = ["$"]
    private var depth = 0
    private var rangeDepth = 0
    /// Inside `with` and `range` the dot is not what the template was given.
    private var rebindDepth = 0

    private(set) var definitions: [String: [TemplateNode]] = [:]
    private(set) var places: [TemplatePlace] = []
    /// Functions used, in order of first use.
    private(set) var functionNames: [String] = []
    private var functionNumbers: [String: Int] = [:]
    /// Fields used, in order of first use.
    private(set) var fieldNames: [String] = []
    private var fieldNumbers: [String: Int] = [:]
    /// Whether the data is used as a whole somewhere, rather than field by field.
    private(set) var usesWholeData = false

    /// What ends a list of nodes.
    private enum Terminator: Equatable {
        case end
        case other
        case input
    }

    init(_ text: String, name: String, functions: Set<String>) {
        var lexer = TemplateLexer(text)
        items = lexer.items()
        self.name = name
        self.functions = functions
        lineStarts = [0] + text.utf8.enumerated().filter { $0.element == 10 }.map { $0.offset + 1 }
    }

    mutating func parse() throws(GoTemplateError) -> [TemplateNode] {
        let (nodes, terminator) = try list()
        switch terminator {
        case .input: return nodes
        case .end: throw error("unexpected {{end}}")
        case .other: throw error("unexpected {{else}}")
        }
    }

    private func fault(_ line: Int, _ message: String, _ go: String) -> TemplateFault {
        TemplateFault(line: line, message: message, goText: "template: \(name):\(line): \(go)")
    }

    /// `go` are Go's words where they differ.
    private func error(_ message: String, go: String? = nil) -> GoTemplateError {
        .syntax(fault(line, message, go ?? message))
    }

    private mutating func enter() throws(GoTemplateError) {
        depth += 1
        guard depth <= GoTemplate.depthMax else {
            let message = "nested deeper than \(GoTemplate.depthMax) levels"
            throw .limit(fault(line, message, message))
        }
    }

    // MARK: nodes

    /// Nodes up to `{{end}}`, `{{else …}}` (whose tokens after `else` are left) or the end of the text.
    private mutating func list() throws(GoTemplateError) -> ([TemplateNode], Terminator) {
        try enter()
        defer { depth -= 1 }
        var nodes: [TemplateNode] = []
        while itemIndex < items.count {
            let item = items[itemIndex]
            itemIndex += 1
            switch item {
            case .text(let text): nodes.append(.text(text))
            case .action(let tokens, let line):
                self.tokens = tokens
                tokenIndex = 0
                self.line = line
                actionLine = line
                guard case .word(let word)? = peek else {
                    nodes.append(.action(try pipeline("command")))
                    try finish("command")
                    continue
                }
                switch word {
                case "end":
                    tokenIndex += 1
                    try finish("end")
                    return (nodes, .end)
                case "else":
                    tokenIndex += 1
                    return (nodes, .other)
                default:
                    if let node = try keyword(word) { nodes.append(node) }
                }
            }
        }
        return (nodes, .input)
    }

    /// The node of the action that begins with `word`; nil for `define`.
    private mutating func keyword(_ word: String) throws(GoTemplateError) -> TemplateNode? {
        switch word {
        case "if", "with", "range":
            tokenIndex += 1
            return try control(word)
        case "define":
            tokenIndex += 1
            let name = try templateName("define clause")
            try finish("define clause")
            try define(name)
            return nil
        case "template":
            tokenIndex += 1
            let at = place(tokens[0], "")
            let name = try templateName("template clause")
            let argument = peek == nil ? nil : try pipeline("template clause")
            try finish("template clause")
            let shown = argument.map { " " + places[$0.place].context } ?? ""
            places[at].context = "{{template \(GoFormat.quoted(name))\(shown)}}"
            return .template(name: name, argument: argument, place: at)
        case "block":
            tokenIndex += 1
            let at = place(tokens[0], "")
            let name = try templateName("block clause")
            let argument = try pipeline("block clause")
            try finish("block clause")
            try define(name)
            places[at].context =
                "{{template \(GoFormat.quoted(name)) \(places[argument.place].context)}}"
            return .template(name: name, argument: argument, place: at)
        case "break", "continue":
            tokenIndex += 1
            try finish("{{\(word)}}")
            guard rangeDepth > 0 else { throw error("{{\(word)}} outside {{range}}") }
            return word == "break" ? .leaveRange : .nextInRange
        default:
            let node = TemplateNode.action(try pipeline("command"))
            try finish("command")
            return node
        }
    }

    private mutating func define(_ name: String) throws(GoTemplateError) {
        let outer = variables
        let outerDepths = (rangeDepth, rebindDepth)
        variables = ["$"]
        (rangeDepth, rebindDepth) = (0, 0)
        let (body, terminator) = try list()
        variables = outer
        (rangeDepth, rebindDepth) = outerDepths
        switch terminator {
        case .end: definitions[name] = body
        case .input:
            throw error("{{end}} of template `\(name)` is missing", go: "unexpected EOF")
        case .other:
            throw error(
                "{{end}} of template `\(name)` is missing",
                go: "unexpected {{else}} in define clause")
        }
    }

    private mutating func templateName(_ context: String) throws(GoTemplateError) -> String {
        guard case .string(let name)? = peek else {
            throw unexpected(
                context, ours: "expected the template's name in quotes")
        }
        tokenIndex += 1
        return name
    }

    private mutating func control(_ word: String) throws(GoTemplateError) -> TemplateNode {
        try enter()
        let variableCount = variables.count
        defer {
            depth -= 1
            variables.removeSubrange(variableCount...)
        }
        let start = line
        let condition = try pipeline(word, isRange: word == "range")
        try finish(word)
        if word == "range" { rangeDepth += 1 }
        if word != "if" { rebindDepth += 1 }
        var (body, terminator) = try list()
        if word == "range" { rangeDepth -= 1 }
        if word != "if" { rebindDepth -= 1 }
        var alternative: [TemplateNode] = []
        if terminator == .other {
            if case .word(let next)? = peek, next == "if" || next == "with", next == word {
                tokenIndex += 1
                alternative = [try control(next)]
                terminator = .end
            } else {
                try finish("else")
                (alternative, terminator) = try list()
            }
        }
        guard terminator == .end else {
            throw .syntax(
                TemplateFault(
                    line: start, message: "{{\(word)}} without {{end}}",
                    goText: "template: \(name):\(endLine): "
                        + (terminator == .input
                            ? "unexpected EOF" : "expected end; found {{else}}")))
        }
        let branch = TemplateBranch(pipeline: condition, body: body, alternative: alternative)
        switch word {
        case "if": return .conditional(branch)
        case "with": return .with(branch)
        default: return .range(branch)
        }
    }

    /// Of the last line of the template, where it ended too early; else of the action.
    private var endLine: Int { itemIndex < items.count ? line : lineStarts.count }

    // MARK: pipelines

    private var peek: TemplateToken.Kind? {
        tokenIndex < tokens.count ? tokens[tokenIndex].kind : nil
    }

    private func finish(_ context: String) throws(GoTemplateError) {
        guard tokenIndex >= tokens.count else {
            throw unexpected(context, ours: "unexpected token before `}}`")
        }
    }

    /// The error of a token that can't stand where it stands.
    private func unexpected(_ context: String, ours: String) -> GoTemplateError {
        guard tokenIndex < tokens.count else {
            return error(ours, go: "unexpected \"}}\" in \(context)")
        }
        let token = tokens[tokenIndex]
        if case .fault(let message, let go) = token.kind {
            var suffix = ""
            if actionLine != token.line {
                suffix = " started at \(name):\(actionLine)"
                if !go.hasSuffix(" action") { suffix = " in action" + suffix }
            }
            return .syntax(fault(token.line, message, go + suffix))
        }
        let shown: String
        switch token.kind {
        case .dot, .word("block"), .word("break"), .word("continue"), .word("define"),
            .word("else"), .word("end"), .word("if"), .word("range"), .word("nil"),
            .word("template"), .word("with"):
            shown = "<\(token.text)>"
        default:
            let scalars = token.text.unicodeScalars
            shown =
                token.text.utf8.count > 10
                ? GoFormat.quoted(String(String.UnicodeScalarView(scalars.prefix(10)))) + "..."
                : GoFormat.quoted(token.text)
        }
        return .syntax(fault(token.line, ours, "unexpected \(shown) in \(context)"))
    }

    /// Numbers a place that begins with `token`.
    private mutating func place(_ token: TemplateToken, _ context: String) -> Int {
        let start = lineStarts.last { $0 <= token.start } ?? 0
        places.append(
            TemplatePlace(line: token.line, column: token.start - start, context: context))
        return places.count - 1
    }

    private mutating func pipeline(
        _ context: String, isRange: Bool = false
    ) throws(GoTemplateError) -> TemplatePipeline {
        try enter()
        defer { depth -= 1 }
        guard tokenIndex < tokens.count else {
            throw error("missing value in an action", go: "missing value for \(context)")
        }
        var pipeline = TemplatePipeline(place: place(tokens[tokenIndex], ""))
        try declaration(isRange: isRange, &pipeline)
        while true {
            let start = tokenIndex
            let operands = try command(context)
            guard let first = operands.first else {
                throw error("missing value in an action", go: "missing value for \(context)")
            }
            if !pipeline.commands.isEmpty {
                try checkPiped(first, stage: pipeline.commands.count + 1)
            }
            let text = operands.map { places[$0.place].context }.joined(separator: " ")
            pipeline.commands.append(
                TemplateCommand(
                    first: first, arguments: Array(operands.dropFirst()),
                    place: place(tokens[start], text)))
            guard peek == .pipe else { break }
            tokenIndex += 1
        }
        if !pipeline.isAssignment { variables += pipeline.variables }
        places[pipeline.place].context = text(of: pipeline)
        return pipeline
    }

    /// Later commands of a pipeline must be able to take the piped value.
    private func checkPiped(
        _ first: TemplateOperand, stage: Int
    ) throws(GoTemplateError) {
        switch first.kind {
        case .bool, .dot, .null, .int, .float, .string:
            throw error(
                "a literal can't take a piped value",
                go: "non executable command in pipeline stage \(stage)")
        case .field, .variable, .function, .pipeline, .chain: break
        }
    }

    private mutating func declaration(
        isRange: Bool, _ pipeline: inout TemplatePipeline
    ) throws(GoTemplateError) {
        let kinds = tokens[tokenIndex...].prefix(4).map(\.kind)
        guard case .variable(let first)? = kinds.first else { return }
        var names = [first]
        var operatorIndex = 1
        if isRange, kinds.count == 4, kinds[1] == .comma, case .variable(let second) = kinds[2] {
            names.append(second)
            operatorIndex = 3
        }
        guard kinds.count > operatorIndex,
            kinds[operatorIndex] == .declare || kinds[operatorIndex] == .assign
        else { return }
        pipeline.isAssignment = kinds[operatorIndex] == .assign
        if pipeline.isAssignment { for name in names { try check(variable: name) } }
        pipeline.variables = names
        tokenIndex += operatorIndex + 1
    }

    private func check(variable name: String) throws(GoTemplateError) {
        guard variables.contains(name) else { throw error("undefined variable \"\(name)\"") }
    }

    private mutating func command(
        _ context: String
    ) throws(GoTemplateError) -> [TemplateOperand] {
        var operands: [TemplateOperand] = []
        while let kind = peek, kind != .pipe, kind != .close {
            guard operands.isEmpty || tokens[tokenIndex].isSpaced else {
                throw unexpected("operand", ours: "expected a space between operands")
            }
            operands.append(try operand(operands.isEmpty ? context : "operand"))
        }
        return operands
    }

    private mutating func operand(_ context: String) throws(GoTemplateError) -> TemplateOperand {
        let term = try self.term(context)
        guard case .field(_)? = peek, !tokens[tokenIndex].isSpaced else { return term }
        // Go gives a chain of fields the place of its second link.
        let token = tokens[tokenIndex]
        let more = fields()
        let suffix = more.map { "." + $0.name }.joined()
        let context = places[term.place].context
        switch term.kind {
        case .field(let first):
            return TemplateOperand(
                kind: .field(first + more), place: place(token, context + suffix))
        case .variable(let name, let first):
            return TemplateOperand(
                kind: .variable(name, first + more), place: place(token, context + suffix))
        case .bool, .string, .int, .float, .null, .dot:
            throw error("unexpected . after term \(GoFormat.quoted(context))")
        case .function, .pipeline, .chain:
            return TemplateOperand(
                kind: .chain(term, more), place: place(token, context + suffix))
        }
    }

    private mutating func term(_ context: String) throws(GoTemplateError) -> TemplateOperand {
        let token = tokens[tokenIndex]
        line = token.line
        let kind: TemplateOperand.Kind
        switch token.kind {
        case .word("true"): kind = .bool(true)
        case .word("false"): kind = .bool(false)
        case .word("nil"): kind = .null
        case .word(let word):
            guard functions.contains(word) else {
                throw error("function \"\(word)\" not defined")
            }
            kind = .function(number(ofFunction: word))
        case .field(let name): kind = .field([field(name)])
        case .variable(let name):
            try check(variable: name)
            kind = .variable(name, [])
            let next = tokenIndex + 1
            var isAlone = true
            if next < tokens.count, case .field = tokens[next].kind, !tokens[next].isSpaced {
                isAlone = false
            }
            if name == "$", isAlone { usesWholeData = true }
        case .dot:
            kind = .dot
            if rebindDepth == 0 { usesWholeData = true }
        case .string(let text): kind = .string(text)
        case .int(let value): kind = .int(value)
        case .float(let value): kind = .float(value)
        case .open: return try parenthesized()
        case .declare, .assign, .pipe, .close, .comma, .other, .fault:
            throw unexpected(context, ours: "unexpected token in an action")
        }
        tokenIndex += 1
        return TemplateOperand(kind: kind, place: place(token, token.text))
    }

    private mutating func parenthesized() throws(GoTemplateError) -> TemplateOperand {
        let token = tokens[tokenIndex]
        tokenIndex += 1
        let inner = try pipeline("parenthesized pipeline")
        guard peek == .close else {
            throw unexpected("parenthesized pipeline", ours: "`)` is missing")
        }
        tokenIndex += 1
        return TemplateOperand(
            kind: .pipeline(inner), place: place(token, "(" + places[inner.place].context + ")"))
    }

    /// Fields that follow without a space.
    private mutating func fields() -> [TemplateField] {
        var names: [TemplateField] = []
        while case .field(let name)? = peek, !tokens[tokenIndex].isSpaced {
            names.append(field(name))
            tokenIndex += 1
        }
        return names
    }

    private mutating func field(_ name: String) -> TemplateField {
        if let number = fieldNumbers[name] { return TemplateField(name: name, number: number) }
        fieldNumbers[name] = fieldNames.count
        fieldNames.append(name)
        return TemplateField(name: name, number: fieldNames.count - 1)
    }

    private mutating func number(ofFunction name: String) -> Int {
        if let number = functionNumbers[name] { return number }
        functionNumbers[name] = functionNames.count
        functionNames.append(name)
        return functionNames.count - 1
    }

    /// A pipeline as Go prints it.
    private func text(of pipeline: TemplatePipeline) -> String {
        var text = ""
        if !pipeline.variables.isEmpty {
            text =
                pipeline.variables.joined(separator: ", ")
                + (pipeline.isAssignment ? " = " : " := ")
        }
        return text
            + pipeline.commands.map { places[$0.place].context }.joined(separator: " | ")
    }
}
