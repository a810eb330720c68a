/// Cuts a LogQL text into tokens.
///
/// Strings are Prometheus': `"…"` with Go's escapes, `` `…` `` raw. `#` and `//` begin a comment, `/* */` enclose
/// one. Words are known in any case of their letters. Source: Loki 3.6's lexer over Go `text/scanner`.
struct LogQLLexer {
    let scalars: [Unicode.Scalar]
    var index = 0
    private var line = 1
    private var column = 1
    /// The first character that stands for a byte that is no UTF-8.
    private var firstInvalid: Int?

    init(_ text: String) { scalars = Array(text.unicodeScalars) }

    init(bytes: [UInt8]) {
        var scalars: [Unicode.Scalar] = []
        scalars.reserveCapacity(bytes.count)
        var iterator = bytes.makeIterator()
        var decoder = UTF8()
        decoding: while true {
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar): scalars.append(scalar)
            case .emptyInput: break decoding
            case .error:
                firstInvalid = firstInvalid ?? scalars.count
                scalars.append("\u{fffd}")
            }
        }
        self.scalars = scalars
    }

    /// Every token; `end` or a failure is last.
    mutating func tokens() -> [LogQLToken] {
        var found: [LogQLToken] = []
        while true {
            let token = next()
            found.append(token)
            switch token.kind {
            case .end, .failure: return found
            default: break
            }
        }
    }

    private mutating func next() -> LogQLToken {
        if let failure = skipBlanks() { return failure }
        var place = LogQLPlace(line: line, column: scalars.isEmpty ? 0 : column)
        let start = index
        do throws(LogQLSyntaxError) {
            let kind = try kind(place)
            // Loki reads one character past the token.
            if let invalid = firstInvalid, invalid <= index {
                throw failure("invalid UTF-8 encoding", place)
            }
            if looksAhead(kind, from: start) { place.line = 0 }
            return LogQLToken(kind: kind, place: place)
        } catch {
            return LogQLToken(kind: .failure(error), place: place)
        }
    }

    /// Whether Loki's lexer loses the line of such a token.
    private func looksAhead(_ kind: LogQLToken.Kind, from start: Int) -> Bool {
        switch kind {
        case .end: scalars.isEmpty
        case .flag, .bytes, .duration, .range: true
        case .word(let word): index - start == 2 && LogQLWord.pairs.contains(word)
        default: false
        }
    }

    private mutating func kind(
        _ place: LogQLPlace
    ) throws(LogQLSyntaxError) -> LogQLToken.Kind {
        guard let first = peek() else {
            return .end
        }
        if Self.isLetter(first) {
            let word = takeWord()
            return wordKind(word)
        }
        if Self.isDigit(first) || (first == "." && peek(1).map(Self.isDigit) == true) {
            return try number(place)
        }
        switch first {
        case "\"", "`": return .string(try string(place))
        case "[": return .range(try range(place))
        case "'": return .identifier(try character(place))
        case "\0": throw failure("invalid character NUL", place)
        case "-":
            advance()
            if peek() == "-", let flag = flag() { return .flag(flag) }
            // To Loki "-0" is a duration, which no sum can hold; here it is a number.
            if let duration = quantity(
                from: index - 1, isDurationScalar, { $0 == "-0" ? nil : parseDuration($0) })
            {
                return .duration(duration)
            }
            return .word(.subtract)
        default: break
        }
        advance()
        if let second = peek(), let pair = LogQLWord(rawValue: "\(first)\(second)"),
            LogQLWord.pairs.contains(pair)
        {
            advance()
            return .word(pair)
        }
        let text = String(Character(first))
        return LogQLWord(rawValue: text).map { .word($0) } ?? .identifier(text)
    }

    func failure(_ message: String, _ place: LogQLPlace) -> LogQLSyntaxError {
        .syntax(line: place.line, column: place.column, message: message)
    }

    // MARK: - Characters

    func peek(_ ahead: Int = 0) -> Unicode.Scalar? {
        index + ahead < scalars.count ? scalars[index + ahead] : nil
    }

    mutating func advance() {
        if scalars[index] == "\n" {
            line += 1
            column = 1
        } else {
            column += 1
        }
        index += 1
    }

    /// The text from `start` to here.
    func text(from start: Int) -> String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars[start..<index])
        return String(text)
    }

    static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII {
            return (97...122).contains(scalar.value | 0x20) || scalar == "_"
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return true
        default: return false
        }
    }

    static func isDigit(_ scalar: Unicode.Scalar) -> Bool { (48...57).contains(scalar.value) }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r"
    }

    // MARK: - Blanks and words

    /// Moves over blanks and comments; a failure where a comment has no end.
    private mutating func skipBlanks() -> LogQLToken? {
        while let first = peek() {
            if Self.isBlank(first) {
                advance()
            } else if first == "#" || (first == "/" && peek(1) == "/") {
                while let next = peek(), next != "\n" { advance() }
            } else if first == "/", peek(1) == "*" {
                let place = LogQLPlace(line: line, column: column)
                advance()
                advance()
                while peek() != nil, !(peek() == "*" && peek(1) == "/") { advance() }
                guard peek() != nil else {
                    return LogQLToken(
                        kind: .failure(failure("comment not terminated", place)), place: place)
                }
                advance()
                advance()
            } else {
                break
            }
        }
        return nil
    }

    private mutating func takeWord() -> String {
        let start = index
        while let next = peek(), Self.continuesWord(next) { advance() }
        return text(from: start)
    }

    private static func continuesWord(_ scalar: Unicode.Scalar) -> Bool {
        isLetter(scalar) || isDigit(scalar)
            || (!scalar.isASCII && scalar.properties.generalCategory == .decimalNumber)
    }

    private func wordKind(_ text: String) -> LogQLToken.Kind {
        let lower = text.lowercased()
        if let function = Self.functions[lower] {
            return isCalled ? function : .identifier(text)
        }
        guard let word = LogQLWord(rawValue: lower) else { return .identifier(text) }
        return word.mustBeCalled && !isCalled ? .identifier(text) : .word(word)
    }

    /// Whether an opening bracket follows, or `by (` or `without (`: before them stands a function, elsewhere a name.
    private var isCalled: Bool {
        var ahead = blanks(after: 0)
        if peek(ahead) == "(" { return true }
        for word in ["by", "without"] {
            let letters = word.unicodeScalars
            let matches = letters.enumerated().allSatisfy { offset, letter in
                peek(ahead + offset).map { $0.isASCII && $0.value | 0x20 == letter.value } ?? false
            }
            if matches {
                ahead = blanks(after: ahead + letters.count)
                return peek(ahead) == "("
            }
        }
        return false
    }

    private func blanks(after start: Int) -> Int {
        var ahead = start
        while let next = peek(ahead), next.properties.isWhitespace { ahead += 1 }
        return ahead
    }

    private static let functions: [String: LogQLToken.Kind] = {
        var functions: [String: LogQLToken.Kind] = ["vector": .vector, "variants": .variants]
        for operation in RangeAggregation.Operation.allCases {
            functions[operation.rawValue] = .rangeOperation(operation)
        }
        for operation in VectorAggregation.Operation.allCases {
            functions[operation.rawValue] = .vectorOperation(operation)
        }
        for conversion in Unwrap.Conversion.allCases {
            functions[conversion.rawValue] = .conversion(conversion)
        }
        return functions
    }()
}
