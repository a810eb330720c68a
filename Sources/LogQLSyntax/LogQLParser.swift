import LinearRegex
package import Model
import PromQLSyntax

/// Parses LogQL. Source: Loki 3.6's documentation, grammar and observable errors.
package struct LogQLParser {
    /// A query has fewer bytes than this. Source: Loki `syntax.maxInputSize`.
    package static let inputBytesMax = 131_072
    /// Deepest nesting of brackets and operations.
    package static let depthMax = 128

    private let tokens: [LogQLToken]
    private var index = 0
    private var depth = 0

    /// Any query, validated. O(n).
    package static func parse(_ text: String) throws(LogQLSyntaxError) -> LogQLExpression {
        let node = try root(text)
        if let error = node.error { throw error }
        return node.expression
    }

    /// Any query, validated, of bytes that may be no UTF-8, which is an error with its place. O(n).
    package static func parse(bytes: [UInt8]) throws(LogQLSyntaxError) -> LogQLExpression {
        guard bytes.count < inputBytesMax else { throw .tooLong(bytes: bytes.count) }
        let node = try root(LogQLLexer(bytes: bytes))
        if let error = node.error { throw error }
        return node.expression
    }

    /// A log query. With `validates` false it may select every stream.
    package static func parseSelector(
        _ text: String, validates: Bool = true
    ) throws(LogQLSyntaxError) -> LogSelector {
        let node = try root(text)
        guard case .log(let selector) = node.expression else { throw .onlySelector }
        if validates, let error = node.error { throw error }
        return selector
    }

    /// A metric query.
    package static func parseMetric(_ text: String) throws(LogQLSyntaxError) -> MetricExpression {
        guard case .metric(let expression) = try parse(text) else { throw .onlyMetric }
        return expression
    }

    /// Only a stream selector `{…}`; it may match everything. For label and series questions.
    package static func parseMatchers(
        _ text: String
    ) throws(LogQLSyntaxError) -> [LabelMatcher] {
        let node = try root(text)
        guard case .log(let selector) = node.expression, selector.stages.isEmpty else {
            throw .onlyMatchers
        }
        return selector.matchers
    }

    /// A label set `{a="b", c="d"}`; labels with an empty value are absent. Source: Loki `syntax.ParseLabels`.
    package static func parseLabels(_ text: String) throws(LogQLSyntaxError) -> Labels {
        guard text.utf8.count < inputBytesMax else { throw .tooLong(bytes: text.utf8.count) }
        do {
            return Labels(try PromQLParser.parseMetric(text).filter { !$0.value.isEmpty })
        } catch {
            throw .labels("\(error)")
        }
    }

    private static func root(_ text: String) throws(LogQLSyntaxError) -> LogQLNode {
        guard text.utf8.count < inputBytesMax else { throw .tooLong(bytes: text.utf8.count) }
        return try root(LogQLLexer(text))
    }

    private static func root(_ lexer: LogQLLexer) throws(LogQLSyntaxError) -> LogQLNode {
        var lexer = lexer
        var parser = LogQLParser(tokens: lexer.tokens())
        let node = try parser.expression(atLeast: 0)
        guard parser.kind == .end else { throw parser.unexpected() }
        return node
    }

    private init(tokens: [LogQLToken]) { self.tokens = tokens }
}

/// A part of the tree with what validation says of it, the first complaint in the order of the text from the root down.
struct LogQLNode {
    var expression: LogQLExpression
    var error: LogQLSyntaxError?
    /// Levels of the tree.
    var height = 1
}

// MARK: - Tokens

extension LogQLParser {
    var token: LogQLToken { tokens[index] }
    var kind: LogQLToken.Kind { tokens[index].kind }
    /// The kind after the current one.
    var following: LogQLToken.Kind { tokens[min(index + 1, tokens.count - 1)].kind }

    func at(_ word: LogQLWord) -> Bool { kind == .word(word) }

    /// The last token, `end` or a failure, is never passed.
    mutating func step() { index = min(index + 1, tokens.count - 1) }

    /// The current token is not one of `expected`, which Loki names where there are at most four.
    func unexpected(_ expected: String...) -> LogQLSyntaxError {
        if case .failure(let error) = kind { return error }
        if kind == .variants {
            return .notSupported(
                line: token.place.line, column: token.place.column, construct: "variants(…)")
        }
        let tail = expected.isEmpty ? "" : ", expecting " + expected.joined(separator: " or ")
        return .syntax(
            line: token.place.line, column: token.place.column,
            message: "syntax error: unexpected \(token.name)\(tail)")
    }

    /// Whether `word` was here; it is passed then.
    mutating func skip(_ word: LogQLWord) -> Bool {
        guard at(word) else { return false }
        step()
        return true
    }

    mutating func expect(_ word: LogQLWord) throws(LogQLSyntaxError) {
        guard skip(word) else { throw unexpected(word.rawValue) }
    }

    mutating func string() throws(LogQLSyntaxError) -> [UInt8] {
        guard case .string(let bytes) = kind else { throw unexpected("STRING") }
        step()
        return bytes
    }

    /// Bytes that are no UTF-8 become U+FFFD.
    mutating func text() throws(LogQLSyntaxError) -> String {
        String(decoding: try string(), as: UTF8.self)
    }

    mutating func enter() throws(LogQLSyntaxError) {
        depth += 1
        try checkHeight(depth)
    }

    mutating func leave() { depth -= 1 }

    func checkHeight(_ height: Int) throws(LogQLSyntaxError) {
        guard height <= Self.depthMax else {
            throw .tooDeep(line: token.place.line, column: token.place.column)
        }
    }
}

// MARK: - Stream selectors

extension LogQLParser {
    /// `{…}`, and whether one of its matchers does not match the empty string.
    mutating func matchers() throws(LogQLSyntaxError) -> (matchers: [LabelMatcher], selects: Bool) {
        try expect(.openBrace)
        var matchers: [LabelMatcher] = []
        var selects = false
        if skip(.closeBrace) { return (matchers, selects) }
        while true {
            guard case .identifier(let name) = kind else {
                throw matchers.isEmpty ? unexpected("IDENTIFIER", "}") : unexpected("IDENTIFIER")
            }
            step()
            let (matcher, matchesEmpty) = try matcher(name)
            matchers.append(matcher)
            selects = selects || !matchesEmpty
            if skip(.closeBrace) { return (matchers, selects) }
            guard skip(.comma) else { throw unexpected("}", ",") }
        }
    }

    private mutating func matcher(
        _ name: String
    ) throws(LogQLSyntaxError) -> (LabelMatcher, matchesEmpty: Bool) {
        guard case .word(let word) = kind,
            let operation = LabelMatcher.Operation(rawValue: word.rawValue)
        else { throw unexpected("=", "=~", "!~", "!=") }
        step()
        return try matcher(name, operation)
    }

    /// The value of a matcher whose operator was read.
    mutating func matcher(
        _ name: String, _ operation: LabelMatcher.Operation
    ) throws(LogQLSyntaxError) -> (LabelMatcher, matchesEmpty: Bool) {
        let value = try text()
        let matchesEmpty =
            switch operation {
            case .equal: value.isEmpty
            case .notEqual: !value.isEmpty
            case .matchesRegex: try Self.compiled(value).matches("")
            case .notMatchesRegex: try !Self.compiled(value).matches("")
            }
        return (LabelMatcher(name, operation, value), matchesEmpty)
    }

    private static func compiled(_ pattern: String) throws(LogQLSyntaxError) -> LinearRegex {
        do { return try LinearRegex(pattern, anchored: true) } catch {
            throw .invalid(regexErrorText(error))
        }
    }

    /// `{…}` with its pipeline.
    mutating func logQuery() throws(LogQLSyntaxError) -> LogQLNode {
        let (matchers, selects) = try matchers()
        let stages = try pipeline(mayUnwrap: false)
        return LogQLNode(
            expression: .log(LogSelector(matchers: matchers, stages: stages)),
            error: selects ? nil : .needsMatcher)
    }
}
