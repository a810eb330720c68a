/// A word of LogQL with its place.
struct LogQLToken {
    enum Kind: Equatable {
        case identifier(String)
        case string([UInt8])
        /// As written, without sign.
        case number(String)
        /// A number with a unit: a duration or a byte count, as written.
        case quantity(String)
        /// `[5m]`, as written without brackets.
        case range(String)
        /// An operator or bracket.
        case symbol(String)
        case end
    }

    var kind: Kind
    var line: Int
    var column: Int

    /// How Loki's parser names the token in "unexpected …".
    var name: String {
        switch kind {
        case .identifier(let text): LogQLLexer.keywords.contains(text) ? text : "IDENTIFIER"
        case .string: "STRING"
        case .number: "NUMBER"
        case .quantity: "DURATION"
        case .range: "RANGE"
        case .symbol(let text): text
        case .end: "$end"
        }
    }
}

/// Cuts a LogQL text into tokens. Strings are Go's: `"…"` with escapes, `` `…` `` raw; `#` begins a comment.
struct LogQLLexer {
    /// Words that Loki's parser names as themselves.
    static let keywords: Set<String> = [
        "and", "bool", "by", "decolorize", "distinct", "drop", "group_left", "group_right",
        "ignoring", "ip", "json", "keep", "label_format", "label_replace", "line_format",
        "logfmt", "offset", "on", "or", "pattern", "regexp", "unless", "unpack", "unwrap",
        "vector", "without",
    ]

    /// Longest first.
    private static let symbols = [
        "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "|", "{", "}", "(", ")",
        ",", "=", ">", "<", "+", "-", "*", "/", "%", "^", ".",
    ].map { (text: $0, bytes: Array($0.utf8)) }

    private let bytes: [UInt8]
    private var index = 0
    private var line = 1
    private var column = 1

    init(_ text: String) { bytes = Array(text.utf8) }

    /// Every token, `end` last.
    mutating func tokens() throws(LogQLSyntaxError) -> [LogQLToken] {
        var found: [LogQLToken] = []
        while true {
            let token = try next()
            found.append(token)
            if token.kind == .end { return found }
        }
    }

    private mutating func next() throws(LogQLSyntaxError) -> LogQLToken {
        skipSpace()
        let line = line
        let column = column
        func token(_ kind: LogQLToken.Kind) -> LogQLToken {
            LogQLToken(kind: kind, line: line, column: column)
        }
        guard let byte = peek() else { return token(.end) }
        if Self.isLetter(byte) {
            return token(.identifier(word { Self.isLetter($0) || Self.isDigit($0) }))
        }
        if Self.isDigit(byte) || (byte == UInt8(ascii: ".") && Self.isDigit(peek(1) ?? 0)) {
            return token(number())
        }
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "`"): return token(.string(try string(byte)))
        case UInt8(ascii: "["): return token(.range(try range()))
        default: break
        }
        for symbol in Self.symbols where bytes[index...].starts(with: symbol.bytes) {
            for _ in symbol.bytes { advance() }
            return token(.symbol(symbol.text))
        }
        let character = word(first: true) { $0 & 0xc0 == 0x80 }
        throw .syntax(
            line: line, column: column, message: "syntax error: unexpected '\(character)'")
    }

    private func peek(_ ahead: Int = 0) -> UInt8? {
        index + ahead < bytes.count ? bytes[index + ahead] : nil
    }

    /// Moves over one byte; a character's continuation bytes do not move the column.
    private mutating func advance() {
        let byte = bytes[index]
        index += 1
        if byte == UInt8(ascii: "\n") {
            line += 1
            column = 1
        } else if byte & 0xc0 != 0x80 {
            column += 1
        }
    }

    private mutating func skipSpace() {
        while let byte = peek() {
            if byte == UInt8(ascii: "#") {
                while let comment = peek(), comment != UInt8(ascii: "\n") { advance() }
            } else if [0x20, 0x09, 0x0a, 0x0d].contains(byte) {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func word(first: Bool = false, _ belongs: (UInt8) -> Bool) -> String {
        let start = index
        if first { advance() }
        while let byte = peek(), belongs(byte) { advance() }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func number() -> LogQLToken.Kind {
        let start = index
        _ = word { Self.isDigit($0) || $0 == UInt8(ascii: ".") }
        if let byte = peek(), byte | 0x20 == UInt8(ascii: "e") {
            let sign = peek(1).map { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") } ?? false
            if Self.isDigit(peek(sign ? 2 : 1) ?? 0) {
                advance()
                if sign { advance() }
                _ = word(Self.isDigit)
            }
        }
        let digits = String(decoding: bytes[start..<index], as: UTF8.self)
        guard let byte = peek(), Self.isLetter(byte) || byte >= 0x80 else { return .number(digits) }
        let unit = word {
            Self.isLetter($0) || Self.isDigit($0) || $0 >= 0x80 || $0 == UInt8(ascii: ".")
        }
        return .quantity(digits + unit)
    }

    private mutating func range() throws(LogQLSyntaxError) -> String {
        let line = line
        let column = column
        advance()
        let text = word { $0 != UInt8(ascii: "]") }
        guard peek() != nil else {
            throw .syntax(line: line, column: column, message: "missing closing ']' in duration")
        }
        advance()
        return text
    }

    private mutating func string(_ quote: UInt8) throws(LogQLSyntaxError) -> [UInt8] {
        let line = line
        let column = column
        let unterminated = LogQLSyntaxError.syntax(
            line: line, column: column, message: "literal not terminated")
        advance()
        let isRaw = quote == UInt8(ascii: "`")
        let start = index
        while let byte = peek(), byte != quote {
            guard isRaw || byte != UInt8(ascii: "\n") else { throw unterminated }
            if !isRaw, byte == UInt8(ascii: "\\"), peek(1) != nil { advance() }
            advance()
        }
        guard peek() != nil else { throw unterminated }
        let content = bytes[start..<index]
        advance()
        // Go drops carriage returns from raw strings.
        if isRaw { return content.filter { $0 != 0x0d } }
        guard let decoded = GoStringLiteral.decode(content) else {
            throw .syntax(line: line, column: column, message: "invalid char escape")
        }
        return decoded
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 97 && byte | 0x20 <= 122) || byte == UInt8(ascii: "_")
    }
    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
}
