/// Cuts a query into tokens, one at a time.
///
/// What a letter means depends on where it stands: inside braces every word is a label name, inside brackets only
/// numbers, durations and duration functions occur. Source: Prometheus 3.14 `promql/parser/lex.go`.
struct Lexer {
    let source: [UInt8]
    private(set) var position = 0
    private var parenthesisDepth = 0
    private var isInBraces = false
    private var isInBrackets = false
    private var sawColon = false
    /// Whether a number or duration was read since the bracket opened.
    private var sawDuration = false

    init(_ source: [UInt8]) { self.source = source }

    /// The next token; at the end `.endOfInput`, for ever.
    mutating func next() throws(PromQLParseError) -> Token {
        skipSpacesAndComments()
        let start = position
        guard start < source.count else { return try endOfInput() }
        if isInBraces { return try tokenInBraces(start) }
        if isInBrackets, let token = try tokenInBrackets(start) { return token }
        let byte = source[start]
        if isDigit(byte) || (byte == UInt8(ascii: ".") && isDigit(peek(1))) {
            sawDuration = true
            return try number(start)
        }
        if isLetter(byte) || byte == UInt8(ascii: ":") { return word(start) }
        if isQuote(byte) { return try string(start) }
        return try sign(start)
    }

    /// The error `message` at the bytes from `start` to where the lexer stands.
    func failure(_ message: String, at start: Int) -> PromQLParseError {
        PromQLParseError(message, at: SourceRange(start, source.count), in: source)
    }

    // MARK: - Contexts

    private func endOfInput() throws(PromQLParseError) -> Token {
        if isInBraces { throw failure("unexpected end of input inside braces", at: position) }
        if isInBrackets, !sawDuration {
            throw failure("unexpected end of input in duration expression", at: position)
        }
        if parenthesisDepth != 0 { throw failure("unclosed left parenthesis", at: position) }
        if isInBrackets { throw failure("unclosed left bracket", at: position) }
        return Token(kind: .endOfInput, range: SourceRange(position, position))
    }

    private mutating func tokenInBraces(_ start: Int) throws(PromQLParseError) -> Token {
        let byte = source[start]
        if isLetter(byte) {
            position = endOfWord(start, allowsColon: false)
            return Token(kind: .identifier, range: SourceRange(start, position))
        }
        if isQuote(byte) { return try string(start) }
        switch (byte, peek(1)) {
        case (UInt8(ascii: ","), _): return take(.comma, 1)
        case (UInt8(ascii: "="), UInt8(ascii: "~")): return take(.matchesRegex, 2)
        case (UInt8(ascii: "="), _): return take(.assign, 1)
        case (UInt8(ascii: "!"), UInt8(ascii: "~")): return take(.notMatchesRegex, 2)
        case (UInt8(ascii: "!"), UInt8(ascii: "=")): return take(.operation(.notEqual), 2)
        case (UInt8(ascii: "!"), _):
            throw failure(
                "unexpected character after '!' inside braces: \(documented(at: start + 1))",
                at: start)
        case (UInt8(ascii: "{"), _): throw failure("unexpected left brace '{'", at: start)
        case (UInt8(ascii: "}"), _):
            isInBraces = false
            return take(.rightBrace, 1)
        default:
            throw failure(
                "unexpected character inside braces: \(documented(at: start))", at: start)
        }
    }

    /// Nil where the token is read as outside of brackets.
    private mutating func tokenInBrackets(_ start: Int) throws(PromQLParseError) -> Token? {
        let byte = source[start]
        switch byte {
        case UInt8(ascii: ":"):
            if !sawDuration {
                throw failure(
                    "unexpected colon before duration in duration expression", at: start)
            }
            if sawColon { throw failure("unexpected colon ':'", at: start) }
            sawColon = true
            return take(.colon, 1)
        case _ where isLetter(byte):
            let end = endOfWord(start, allowsColon: false)
            switch Keyword(rawValue: lowercasedText(start, end)) {
            case .step?, .range?, .maxOf?, .minOf?:
                sawDuration = true
                return word(start)
            default:
                throw failure(
                    sawDuration
                        ? "unexpected character: \(documented(at: start)), expected ':'"
                        : "unexpected character in duration expression: \(documented(at: start))",
                    at: start)
            }
        case _ where isDigit(byte) || isOneOf("+-*/%^,()].[", byte): return nil
        default:
            if sawDuration { return nil }
            throw failure(
                "unexpected character in duration expression: \(documented(at: start))", at: start)
        }
    }

    private mutating func sign(_ start: Int) throws(PromQLParseError) -> Token {
        switch (source[start], peek(1)) {
        case (UInt8(ascii: ","), _): return take(.comma, 1)
        case (UInt8(ascii: "@"), _): return take(.at, 1)
        case (UInt8(ascii: "*"), _): return take(.operation(.multiply), 1)
        case (UInt8(ascii: "/"), _): return take(.operation(.divide), 1)
        case (UInt8(ascii: "%"), _): return take(.operation(.modulo), 1)
        case (UInt8(ascii: "+"), _): return take(.operation(.add), 1)
        case (UInt8(ascii: "-"), _): return take(.operation(.subtract), 1)
        case (UInt8(ascii: "^"), _): return take(.operation(.power), 1)
        case (UInt8(ascii: "="), UInt8(ascii: "=")): return take(.operation(.equal), 2)
        case (UInt8(ascii: "="), UInt8(ascii: "~")):
            throw failure("unexpected character after '=': '~'", at: start)
        case (UInt8(ascii: "="), _): return take(.assign, 1)
        case (UInt8(ascii: "!"), UInt8(ascii: "=")): return take(.operation(.notEqual), 2)
        case (UInt8(ascii: "!"), _):
            throw failure(
                "unexpected character after '!': \(documented(at: start + 1))", at: start)
        case (UInt8(ascii: "<"), UInt8(ascii: "=")): return take(.operation(.lessOrEqual), 2)
        case (UInt8(ascii: "<"), UInt8(ascii: "/")): return take(.operation(.trimUpper), 2)
        case (UInt8(ascii: "<"), _): return take(.operation(.less), 1)
        case (UInt8(ascii: ">"), UInt8(ascii: "=")): return take(.operation(.greaterOrEqual), 2)
        case (UInt8(ascii: ">"), UInt8(ascii: "/")): return take(.operation(.trimLower), 2)
        case (UInt8(ascii: ">"), _): return take(.operation(.greater), 1)
        default: return try bracket(start)
        }
    }

    private mutating func bracket(_ start: Int) throws(PromQLParseError) -> Token {
        switch source[start] {
        case UInt8(ascii: "("):
            parenthesisDepth += 1
            return take(.leftParenthesis, 1)
        case UInt8(ascii: ")"):
            parenthesisDepth -= 1
            guard parenthesisDepth >= 0 else {
                throw failure("unexpected right parenthesis ')'", at: start + 1)
            }
            return take(.rightParenthesis, 1)
        case UInt8(ascii: "{"):
            isInBraces = true
            return take(.leftBrace, 1)
        case UInt8(ascii: "["):
            guard !isInBrackets else { throw failure("unexpected left bracket '['", at: start) }
            isInBrackets = true
            sawColon = false
            sawDuration = false
            return take(.leftBracket, 1)
        case UInt8(ascii: "]"):
            guard isInBrackets else { throw failure("unexpected right bracket ']'", at: start) }
            isInBrackets = false
            return take(.rightBracket, 1)
        default: throw failure("unexpected character: \(documented(at: start))", at: start)
        }
    }

    // MARK: - Words, strings, numbers

    private mutating func word(_ start: Int) -> Token {
        position = endOfWord(start, allowsColon: !isInBrackets)
        let range = SourceRange(start, position)
        let text = lowercasedText(start, position)
        if text == "inf" || text == "nan" { return Token(kind: .number, range: range) }
        switch Keyword(rawValue: text) {
        case .fill?, .fillLeft?, .fillRight?:
            // These are keywords only before a parenthesis, so that metrics may bear their names.
            if let next = source[position...].first(where: { !isSpace($0) }), isOneOf("(", next) {
                break
            }
            return Token(kind: .identifier, range: range)
        case nil:
            let hasColon = source[start..<position].contains(UInt8(ascii: ":"))
            return Token(kind: hasColon ? .metricIdentifier : .identifier, range: range)
        default: break
        }
        return Token(
            kind: Keyword(rawValue: text).map { .keyword($0) } ?? .identifier, range: range)
    }

    private mutating func string(_ start: Int) throws(PromQLParseError) -> Token {
        var scanner = StringScanner(source, at: start)
        let bytes = try scanner.scan()
        position = scanner.position
        return Token(kind: .string, range: SourceRange(start, position), bytes: bytes)
    }

    private mutating func number(_ start: Int) throws(PromQLParseError) -> Token {
        var scanner = NumberScanner(source, at: start)
        if scanner.scanNumber() {
            position = scanner.position
            return Token(kind: .number, range: SourceRange(start, position))
        }
        if scanner.scanRestOfDuration() {
            position = scanner.position
            return Token(kind: .duration, range: SourceRange(start, position))
        }
        let text = String(decoding: source[start..<scanner.position], as: UTF8.self)
        throw failure("bad number or duration syntax: \(quoted(text))", at: start)
    }

    // MARK: - Characters

    private mutating func take(_ kind: Token.Kind, _ count: Int) -> Token {
        position += count
        return Token(kind: kind, range: SourceRange(position - count, position))
    }

    private mutating func skipSpacesAndComments() {
        while position < source.count {
            if isSpace(source[position]) {
                position += 1
            } else if source[position] == UInt8(ascii: "#") {
                while position < source.count, !isOneOf("\r\n", source[position]) { position += 1 }
            } else {
                return
            }
        }
    }

    private func peek(_ distance: Int) -> UInt8 {
        position + distance < source.count ? source[position + distance] : 0
    }

    private func endOfWord(_ start: Int, allowsColon: Bool) -> Int {
        var end = start
        while end < source.count,
            isLetter(source[end]) || isDigit(source[end])
                || (allowsColon && source[end] == UInt8(ascii: ":"))
        {
            end += 1
        }
        return end
    }

    private func lowercasedText(_ start: Int, _ end: Int) -> String {
        String(decoding: source[start..<end], as: UTF8.self).lowercased()
    }

    /// The character at `offset` in quotes, as messages show it.
    private func documented(at offset: Int) -> String {
        guard offset < source.count else { return "end of input" }
        let text = String(decoding: source[offset...].prefix(4), as: UTF8.self)
        return text.unicodeScalars.first.map { quoted($0) } ?? ""
    }
}

func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 10 || byte == 13 }
func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

/// ASCII letters and the underscore.
func isLetter(_ byte: UInt8) -> Bool {
    (97...122).contains(byte) || (65...90).contains(byte) || byte == 95
}

func isQuote(_ byte: UInt8) -> Bool { byte == 34 || byte == 39 || byte == 96 }
func isOneOf(_ set: StaticString, _ byte: UInt8) -> Bool {
    set.withUTF8Buffer { $0.contains(byte) }
}
