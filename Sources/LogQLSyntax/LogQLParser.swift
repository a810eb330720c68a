import LinearRegex
package import Model

/// Parses LogQL. Source: Loki 3.6's documentation and its observable errors.
package struct LogQLParser {
    /// Longest query, bytes. Source: Loki `syntax.maxInputSize`.
    package static let inputBytesMax = 131_072
    /// Deepest nesting of brackets and operators.
    package static let depthMax = 128

    private let tokens: [LogQLToken]
    private var index = 0
    private var depth = 0
    private var operatorCount = 0

    /// Any query, validated. Throws where it is malformed or not supported yet.
    package static func parse(_ text: String) throws(LogQLSyntaxError) -> LogQLExpression {
        var parser = try LogQLParser(text)
        let expression = try parser.expression()
        try parser.expectEnd()
        if case .log(let selector) = expression { try validate(selector.matchers) }
        return expression
    }

    /// Only a stream selector `{…}`; it may match everything. For label and series questions.
    package static func parseMatchers(
        _ text: String
    ) throws(LogQLSyntaxError) -> [LabelMatcher] {
        var parser = try LogQLParser(text)
        let matchers = try parser.matchers()
        try parser.expectEnd()
        return matchers
    }

    private init(_ text: String) throws(LogQLSyntaxError) {
        guard text.utf8.count <= Self.inputBytesMax else { throw .tooLong(bytes: text.utf8.count) }
        var lexer = LogQLLexer(text)
        tokens = try lexer.tokens()
    }

    /// A selection that every stream satisfies would read everything.
    private static func validate(_ matchers: [LabelMatcher]) throws(LogQLSyntaxError) {
        for matcher in matchers {
            switch matcher.operation {
            case .equal: if !matcher.value.isEmpty { return }
            case .notEqual: if matcher.value.isEmpty { return }
            case .matchesRegex: if try !matchesEmpty(matcher) { return }
            case .notMatchesRegex: if try matchesEmpty(matcher) { return }
            }
        }
        throw .needsMatcher
    }

    private static func matchesEmpty(_ matcher: LabelMatcher) throws(LogQLSyntaxError) -> Bool {
        try compiled(matcher.value).matches("")
    }

    private static func compiled(_ pattern: String) throws(LogQLSyntaxError) -> LinearRegex {
        do { return try LinearRegex(pattern, anchored: true) } catch {
            throw .invalid("error parsing regexp: \(error)")
        }
    }
}

extension LogQLParser {
    private var token: LogQLToken { tokens[index] }

    private func isSymbol(_ text: String) -> Bool { token.kind == .symbol(text) }

    private func unexpected(_ expected: [String] = []) -> LogQLSyntaxError {
        let tail = expected.isEmpty ? "" : ", expecting " + expected.joined(separator: " or ")
        return .syntax(
            line: token.line, column: token.column,
            message: "syntax error: unexpected \(token.name)\(tail)")
    }

    private func notSupported(_ construct: String) -> LogQLSyntaxError {
        .notSupported(line: token.line, column: token.column, construct: construct)
    }

    private mutating func expect(_ symbol: String, _ names: [String]) throws(LogQLSyntaxError) {
        guard isSymbol(symbol) else { throw unexpected(names) }
        index += 1
    }

    private func expectEnd() throws(LogQLSyntaxError) {
        guard token.kind == .end else { throw unexpected() }
    }

    private mutating func enter() throws(LogQLSyntaxError) {
        depth += 1
        guard depth <= Self.depthMax else { throw .tooDeep(line: token.line, column: token.column) }
    }

    private mutating func expression() throws(LogQLSyntaxError) -> LogQLExpression {
        try binary(atLeast: 1)
    }

    /// Precedence climbing; `^` binds to the right.
    private mutating func binary(atLeast lowest: Int) throws(LogQLSyntaxError) -> LogQLExpression {
        try enter()
        defer { depth -= 1 }
        var left = try operand()
        while case .symbol(let symbol) = token.kind {
            if ["==", "!=", ">", "<", ">=", "<="].contains(symbol) {
                throw notSupported("the comparison \(symbol)")
            }
            guard let operation = MetricExpression.Operation(rawValue: symbol),
                operation.precedence >= lowest
            else { return left }
            guard case .metric(let leftOperand) = left else {
                throw .invalid(
                    "unexpected type for left leg of binary operation (\(symbol)): "
                        + "*syntax.MatchersExpr")
            }
            index += 1
            // A chain is a tree as deep as it is long, and those who walk it recurse.
            operatorCount += 1
            guard operatorCount <= Self.depthMax else {
                throw .tooDeep(line: token.line, column: token.column)
            }
            let next = operation.precedence + (operation == .power ? 0 : 1)
            guard case .metric(let rightOperand) = try binary(atLeast: next) else {
                throw .invalid(
                    "unexpected type for right leg of binary operation (\(symbol)): "
                        + "*syntax.MatchersExpr")
            }
            left = .metric(.binary(operation, leftOperand, rightOperand))
        }
        if case .identifier(let word) = token.kind, ["and", "or", "unless"].contains(word),
            case .metric = left
        {
            throw notSupported("the set operation \(word)")
        }
        return left
    }

    private mutating func operand() throws(LogQLSyntaxError) -> LogQLExpression {
        switch token.kind {
        case .symbol("{"): return .log(try selector())
        case .symbol("("):
            index += 1
            let inner = try expression()
            try expect(")", [])
            guard case .log(var selector) = inner else { return inner }
            selector.stages += try stages()
            return .log(selector)
        case .symbol("-"), .symbol("+"), .number: return .metric(.literal(try number()))
        case .identifier("vector"):
            index += 1
            try expect("(", ["("])
            let value = try number()
            try expect(")", [")"])
            return .metric(.vector(value))
        case .identifier(let word):
            guard index + 1 < tokens.count, tokens[index + 1].opensArguments else {
                throw unexpected()
            }
            throw notSupported("the metric query \(word)(…)")
        case .symbol, .string, .quantity, .range, .end: throw unexpected()
        }
    }

    private mutating func number() throws(LogQLSyntaxError) -> Double {
        var sign = 1.0
        while isSymbol("-") || isSymbol("+") {
            if isSymbol("-") { sign = -sign }
            index += 1
        }
        guard case .number(let text) = token.kind else { throw unexpected(["NUMBER"]) }
        guard let value = Double(text) else {
            throw .invalid("unable to parse number \"\(text)\"")
        }
        index += 1
        return sign * value
    }

    private mutating func selector() throws(LogQLSyntaxError) -> LogSelector {
        LogSelector(matchers: try matchers(), stages: try stages())
    }

    private mutating func matchers() throws(LogQLSyntaxError) -> [LabelMatcher] {
        try expect("{", [])
        var matchers: [LabelMatcher] = []
        if isSymbol("}") {
            index += 1
            return matchers
        }
        while true {
            matchers.append(try matcher(isFirst: matchers.isEmpty))
            if isSymbol("}") {
                index += 1
                return matchers
            }
            try expect(",", ["}", ","])
        }
    }

    private mutating func matcher(isFirst: Bool) throws(LogQLSyntaxError) -> LabelMatcher {
        guard case .identifier(let name) = token.kind else {
            throw unexpected(isFirst ? ["IDENTIFIER", "}"] : ["IDENTIFIER"])
        }
        index += 1
        guard case .symbol(let symbol) = token.kind,
            let operation = LabelMatcher.Operation(rawValue: symbol)
        else { throw unexpected(["=", "=~", "!~", "!="]) }
        index += 1
        guard case .string(let bytes) = token.kind else { throw unexpected(["STRING"]) }
        index += 1
        let value = String(decoding: bytes, as: UTF8.self)
        switch operation {
        case .matchesRegex, .notMatchesRegex: _ = try Self.compiled(value)
        case .equal, .notEqual: break
        }
        return LabelMatcher(name, operation, value)
    }

    private mutating func stages() throws(LogQLSyntaxError) -> [PipelineStage] {
        var stages: [PipelineStage] = []
        while case .symbol(let symbol) = token.kind {
            if let operation = LineFilter.Operation(rawValue: symbol) {
                index += 1
                stages += try lineFilter(operation).map(PipelineStage.lineFilter)
            } else if symbol == "|" {
                index += 1
                if isSymbol("(") { throw notSupported("a label filter") }
                guard case .identifier(let word) = token.kind else { throw unexpected() }
                throw notSupported(
                    LogQLLexer.keywords.contains(word)
                        ? "the pipeline stage \(word)" : "a label filter (\(word) …)")
            } else {
                break
            }
        }
        return stages
    }

    /// One filter; a negated `or` chain means none of its patterns, which is a filter each.
    private mutating func lineFilter(
        _ operation: LineFilter.Operation
    ) throws(LogQLSyntaxError) -> [LineFilter] {
        var patterns = [try linePattern(operation)]
        while token.kind == .identifier("or") {
            index += 1
            patterns.append(try linePattern(operation))
        }
        return operation.isNegated
            ? patterns.map { LineFilter(operation, [$0]) } : [LineFilter(operation, patterns)]
    }

    private mutating func linePattern(
        _ operation: LineFilter.Operation
    ) throws(LogQLSyntaxError) -> [UInt8] {
        if token.kind == .identifier("ip") { throw notSupported("the line filter ip(…)") }
        guard case .string(let bytes) = token.kind else { throw unexpected(["STRING", "ip"]) }
        index += 1
        return bytes
    }
}

extension LogQLToken {
    /// Whether what stands before it is called or grouped as a function: `rate(`, `sum by`.
    fileprivate var opensArguments: Bool {
        kind == .symbol("(") || kind == .identifier("by") || kind == .identifier("without")
    }
}

extension MetricExpression.Operation {
    /// Higher binds tighter. Source: LogQL's documentation, "Order of operations".
    fileprivate var precedence: Int {
        switch self {
        case .add, .subtract: 1
        case .multiply, .divide, .remainder: 2
        case .power: 3
        }
    }
}
