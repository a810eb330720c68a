package import Model

/// Parses PromQL as Prometheus 3.14 defines it.
///
/// Every entry point is bounded: by the query's length, by the depth of nesting and by the depth of the tree. Operators
/// are resolved with an explicit stack (operator precedence parsing), so that a chain of any length costs no stack.
package enum PromQLParser {
    /// The tree of `query`, type-checked.
    package static func parse(
        _ query: String, options: PromQLParserOptions = .stable
    ) throws(PromQLParseError) -> Expression {
        try parse(bytes: Array(query.utf8), options: options)
    }

    /// The tree of a query given as bytes; throws where they are no UTF-8.
    package static func parse(
        bytes: [UInt8], options: PromQLParserOptions = .stable
    ) throws(PromQLParseError) -> Expression {
        var parser = try ExpressionParser(bytes, options)
        let expression = try parser.parseWholeExpression()
        return try TypeChecker(source: bytes).check(expression)
    }

    /// The matchers of a selector such as `up{job="a"}`, as `match[]` takes them. A selector of empty matchers alone is
    /// not refused.
    package static func parseSelector(
        _ selector: String, options: PromQLParserOptions = .stable
    ) throws(PromQLParseError) -> [LabelMatcher] {
        var parser = try ExpressionParser(Array(selector.utf8), options)
        return try parser.parseWholeSelector().matchers
    }

    /// The labels of a metric such as `up{job="a"}`.
    package static func parseMetric(_ metric: String) throws(PromQLParseError) -> Labels {
        var parser = try ExpressionParser(Array(metric.utf8), .stable)
        let (labels, _) = try parser.parseMetric()
        guard parser.token.kind == .endOfInput else { throw parser.unexpected() }
        return labels
    }
}

/// An expression with the depth of its tree.
struct Operand {
    var expression: Expression
    var depth: Int
}

/// The state of a parse: the lexer and one token of lookahead.
struct ExpressionParser {
    let source: [UInt8]
    let options: PromQLParserOptions
    private var lexer: Lexer
    var token: Token
    /// The end of the last closing bracket, number or duration: where modifiers end.
    private(set) var lastClosing = 0
    /// Parentheses, calls and duration arithmetic open here.
    private var nesting = 0

    init(_ bytes: [UInt8], _ options: PromQLParserOptions) throws(PromQLParseError) {
        guard bytes.count <= options.queryBytesMax else {
            throw PromQLParseError(
                "query of \(bytes.count) bytes exceeds the limit of \(options.queryBytesMax)",
                at: SourceRange(0, 0), in: bytes, isOfSize: true)
        }
        if let invalid = firstInvalidOffset(bytes) {
            throw PromQLParseError(
                "invalid UTF-8 rune", at: SourceRange(invalid, invalid + 1), in: bytes)
        }
        source = bytes
        self.options = options
        lexer = Lexer(bytes)
        token = try lexer.next()
    }

    mutating func parseWholeExpression() throws(PromQLParseError) -> Expression {
        guard token.kind != .endOfInput else {
            throw failure("no expression found in input", SourceRange(0, 0))
        }
        let operand = try parseExpression()
        guard token.kind == .endOfInput else { throw unexpected() }
        return operand.expression
    }

    mutating func parseWholeSelector() throws(PromQLParseError) -> VectorSelector {
        let selector = try parseVectorSelector()
        guard token.kind == .endOfInput else { throw unexpected() }
        return selector
    }

    // MARK: - Tokens

    /// Moves to the next token and returns the one left behind.
    @discardableResult mutating func advance() throws(PromQLParseError) -> Token {
        let previous = token
        switch previous.kind {
        case .rightBrace, .rightParenthesis, .rightBracket, .duration, .number:
            lastClosing = previous.range.end
        default: break
        }
        token = try lexer.next()
        return previous
    }

    mutating func expect(
        _ kind: Token.Kind, in context: String = "", expected: String = ""
    ) throws(PromQLParseError) {
        guard token.kind == kind else { throw unexpected(in: context, expected: expected) }
        try advance()
    }

    mutating func accept(_ kind: Token.Kind) throws(PromQLParseError) -> Bool {
        guard token.kind == kind else { return false }
        try advance()
        return true
    }

    func text(_ token: Token) -> String {
        String(decoding: source[token.range.start..<token.range.end], as: UTF8.self)
    }

    func failure(_ message: String, _ range: SourceRange) -> PromQLParseError {
        PromQLParseError(message, at: range, in: source)
    }

    func unexpected(in context: String = "", expected: String = "") -> PromQLParseError {
        var message = "unexpected " + token.documented(in: source)
        if !context.isEmpty { message += " in \(context)" }
        if !expected.isEmpty { message += ", expected \(expected)" }
        return failure(message, token.range)
    }

    /// Opens one more level; `leave` closes it. Throws beyond `nestingDepthMax`.
    mutating func enter() throws(PromQLParseError) {
        nesting += 1
        guard nesting <= options.nestingDepthMax else {
            throw PromQLParseError(
                "expression is nested deeper than \(options.nestingDepthMax) levels",
                at: token.range, in: source, isOfSize: true)
        }
    }

    mutating func leave() { nesting -= 1 }

    /// A node over children of at most `depth`. Throws beyond `treeDepthMax`.
    func node(
        _ expression: Expression, over depth: Int, at range: SourceRange
    ) throws(PromQLParseError) -> Operand {
        guard depth < options.treeDepthMax else {
            throw PromQLParseError(
                "expression tree is deeper than \(options.treeDepthMax) levels; "
                    + "split the chain of operators", at: range, in: source, isOfSize: true)
        }
        return Operand(expression: expression, depth: depth + 1)
    }
}

private func firstInvalidOffset(_ bytes: [UInt8]) -> Int? {
    if String(validating: bytes, as: UTF8.self) != nil { return nil }
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = validScalarLength(rest)
        if count == 0 { return rest.startIndex }
        rest = rest.dropFirst(count)
    }
    return nil
}
