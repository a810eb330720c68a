/// Builds the tree of a template. Functions and variables are checked here, as Go does: an unknown one is a syntax error.
struct TemplateParser {
    private let items: [TemplateItem]
    private let functions: Set<String>
    private var itemIndex = 0
    private var tokens: [TemplateToken] = []
    private var tokenIndex = 0
    private var line = 1
    private var variables = ["$"]
    private var depth = 0
    private var rangeDepth = 0
    private(set) var definitions: [String: [TemplateNode]] = [:]

    /// What ends a list of nodes.
    private enum Terminator: Equatable {
        case end
        case other
        case input
    }

    init(_ text: String, functions: Set<String>) throws(GoTemplateError) {
        var lexer = TemplateLexer(text)
        items = try lexer.items()
        self.functions = functions
    }

    mutating func parse() throws(GoTemplateError) -> [TemplateNode] {
        let (nodes, terminator) = try list()
        switch terminator {
        case .input: return nodes
        case .end: throw error("unexpected {{end}}")
        case .other: throw error("unexpected {{else}}")
        }
    }

    private func error(_ message: String) -> GoTemplateError {
        .syntax(line: line, message: message)
    }

    private mutating func enter() throws(GoTemplateError) {
        depth += 1
        guard depth <= GoTemplate.depthMax else {
            throw .limit(
                line: line, message: "nested deeper than \(GoTemplate.depthMax) levels")
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
                guard case .word(let word)? = peek else {
                    nodes.append(.action(try pipeline(isRange: false)))
                    try finish()
                    continue
                }
                switch word {
                case "end":
                    tokenIndex += 1
                    try finish()
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
            let name = try templateName()
            try finish()
            try define(name)
            return nil
        case "template":
            tokenIndex += 1
            let start = line
            let name = try templateName()
            let argument = peek == nil ? nil : try pipeline(isRange: false)
            try finish()
            return .template(name: name, argument: argument, line: start)
        case "block":
            tokenIndex += 1
            let start = line
            let name = try templateName()
            let argument = try pipeline(isRange: false)
            try finish()
            try define(name)
            return .template(name: name, argument: argument, line: start)
        case "break", "continue":
            tokenIndex += 1
            try finish()
            guard rangeDepth > 0 else { throw error("{{\(word)}} outside {{range}}") }
            return word == "break" ? .leaveRange : .nextInRange
        default:
            let node = TemplateNode.action(try pipeline(isRange: false))
            try finish()
            return node
        }
    }

    private mutating func define(_ name: String) throws(GoTemplateError) {
        let outer = variables
        let outerRange = rangeDepth
        variables = ["$"]
        rangeDepth = 0
        let (body, terminator) = try list()
        variables = outer
        rangeDepth = outerRange
        guard terminator == .end else { throw error("{{end}} of template `\(name)` is missing") }
        definitions[name] = body
    }

    private mutating func templateName() throws(GoTemplateError) -> String {
        guard case .string(let name)? = peek else {
            throw error("expected the template's name in quotes")
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
        let condition = try pipeline(isRange: word == "range")
        try finish()
        if word == "range" { rangeDepth += 1 }
        var (body, terminator) = try list()
        if word == "range" { rangeDepth -= 1 }
        var alternative: [TemplateNode] = []
        if terminator == .other {
            if case .word(let next)? = peek, next == "if" || next == "with", next == word {
                tokenIndex += 1
                alternative = [try control(next)]
                terminator = .end
            } else {
                try finish()
                (alternative, terminator) = try list()
            }
        }
        guard terminator == .end else {
            throw .syntax(line: start, message: "{{\(word)}} without {{end}}")
        }
        let branch = TemplateBranch(pipeline: condition, body: body, alternative: alternative)
        switch word {
        case "if": return .conditional(branch)
        case "with": return .with(branch)
        default: return .range(branch)
        }
    }

    // MARK: pipelines

    private var peek: TemplateToken.Kind? {
        tokenIndex < tokens.count ? tokens[tokenIndex].kind : nil
    }

    private func finish() throws(GoTemplateError) {
        guard tokenIndex >= tokens.count else {
            throw .syntax(
                line: tokens[tokenIndex].line, message: "unexpected token before `}}`")
        }
    }

    private mutating func pipeline(isRange: Bool) throws(GoTemplateError) -> TemplatePipeline {
        try enter()
        defer { depth -= 1 }
        var pipeline = TemplatePipeline(
            line: tokenIndex < tokens.count ? tokens[tokenIndex].line : line, variables: [],
            isAssignment: false, commands: [])
        try declaration(isRange: isRange, &pipeline)
        while true {
            let command = try self.command()
            guard !command.isEmpty else { throw error("missing value in an action") }
            if !pipeline.commands.isEmpty { try checkPiped(command) }
            pipeline.commands.append(command)
            guard peek == .pipe else { break }
            tokenIndex += 1
        }
        if !pipeline.isAssignment { variables += pipeline.variables }
        return pipeline
    }

    /// Later commands of a pipeline must be able to take the piped value.
    private func checkPiped(_ command: [TemplateOperand]) throws(GoTemplateError) {
        switch command[0] {
        case .bool, .dot, .null, .int, .float, .string:
            throw error("a literal can't take a piped value")
        case .field, .variable, .function, .pipeline: break
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

    private mutating func command() throws(GoTemplateError) -> [TemplateOperand] {
        var operands: [TemplateOperand] = []
        while let kind = peek, kind != .pipe, kind != .close {
            guard operands.isEmpty || tokens[tokenIndex].isSpaced else {
                throw error("expected a space between operands")
            }
            operands.append(try operand())
        }
        return operands
    }

    private mutating func operand() throws(GoTemplateError) -> TemplateOperand {
        let token = tokens[tokenIndex]
        tokenIndex += 1
        line = token.line
        switch token.kind {
        case .word(let word):
            switch word {
            case "true": return .bool(true)
            case "false": return .bool(false)
            case "nil": return .null
            default:
                guard functions.contains(word) else {
                    throw error("function \"\(word)\" not defined")
                }
                return .function(word)
            }
        case .field(let name): return .field([name] + fields())
        case .variable(let name):
            try check(variable: name)
            return .variable(name, fields())
        case .dot: return .dot
        case .string(let text): return .string(text)
        case .int(let value): return .int(value)
        case .float(let value): return .float(value)
        case .open:
            let inner = try pipeline(isRange: false)
            guard peek == .close else { throw error("`)` is missing") }
            tokenIndex += 1
            return .pipeline(inner, fields())
        case .declare, .assign, .pipe, .close, .comma:
            throw error("unexpected token in an action")
        }
    }

    /// Fields that follow without a space.
    private mutating func fields() -> [String] {
        var names: [String] = []
        while case .field(let name)? = peek, !tokens[tokenIndex].isSpaced {
            names.append(name)
            tokenIndex += 1
        }
        return names
    }
}
