// Numbers, quantities, ranges and strings of LogQL's lexer.

extension LogQLLexer {
    /// A number, or a duration or size that begins with one.
    mutating func number(_ place: LogQLPlace) throws(LogQLSyntaxError) -> LogQLToken.Kind {
        let start = index
        try scanNumber(place)
        if let duration = quantity(from: start, isDurationScalar, parseDuration) {
            return .duration(duration)
        }
        if let bytes = quantity(from: start, isSizeScalar, parseSize) { return .bytes(bytes) }
        return .number(text(from: start))
    }

    /// What `parse` makes of the text from `start` over all that `belongs`; nil, and no step taken, where nothing does.
    mutating func quantity<Value>(
        from start: Int, _ belongs: (Unicode.Scalar) -> Bool, _ parse: (String) -> Value?
    ) -> Value? {
        var ahead = 0
        while let next = peek(ahead), belongs(next) || isNumeric(next) || next == "." {
            ahead += 1
        }
        guard ahead > 0 else { return nil }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars[start..<index + ahead])
        guard let value = parse(String(text)) else { return nil }
        for _ in 0..<ahead { advance() }
        return value
    }

    private func isNumeric(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return Self.isDigit(scalar) }
        switch scalar.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }

    /// `--strict` or `--keep-empty`, of which one dash is read already.
    mutating func flag() -> LogfmtFlags? {
        var ahead = 0
        while let next = peek(ahead), Self.isLetter(next) && next != "_" || next == "-" {
            ahead += 1
        }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars[index..<index + ahead])
        let flags: [String: LogfmtFlags] = ["-strict": .strict, "-keep-empty": .keepEmpty]
        guard let flag = flags[String(text)] else { return nil }
        for _ in 0..<ahead { advance() }
        return flag
    }

    /// `[5m]`, nanoseconds.
    mutating func range(_ place: LogQLPlace) throws(LogQLSyntaxError) -> Int64 {
        advance()
        let start = index
        while let next = peek(), next != "]" { advance() }
        let text = text(from: start)
        // Loki's lexer has lost the line by now.
        let lost = LogQLPlace(line: 0, column: place.column)
        guard peek() != nil else { throw failure("missing closing ']' in duration", lost) }
        advance()
        switch PrometheusDurationText.parse(text) {
        case .success(let nanoseconds): return nanoseconds
        case .failure(let reason): throw failure(reason.text, lost)
        }
    }

    // MARK: - Numbers

    /// Moves over a number of Go. Source: Go `text/scanner`.
    private mutating func scanNumber(_ place: LogQLPlace) throws(LogQLSyntaxError) {
        let start = index
        var digits = DigitRun(radix: 10, name: "decimal literal")
        if peek() == "0" {
            advance()
            switch peek().map({ $0.value | 0x20 }) {
            case 0x78: digits = DigitRun(radix: 16, name: "hexadecimal literal")
            case 0x6f: digits = DigitRun(radix: 8, name: "octal literal")
            case 0x62 where peek(1) == "0" || peek(1) == "1":
                digits = DigitRun(radix: 2, name: "binary literal")
            default: digits = DigitRun(radix: 8, name: "octal literal", count: 1)
            }
            if digits.count == 0 { advance() }
        }
        let isDecimal = digits.radix == 10 || digits.count == 1
        take(&digits)
        var isFloat = false
        if peek() == "." {
            guard isDecimal || digits.radix == 16 else {
                throw failure("invalid radix point in \(digits.name)", place)
            }
            isFloat = true
            advance()
            take(&digits)
        }
        guard digits.count > 0 else { throw failure("\(digits.name) has no digits", place) }
        let letter = peek().map { $0.value | 0x20 }
        if letter == 0x65 && isDecimal || letter == 0x70 && digits.radix == 16 {
            isFloat = true
            advance()
            if peek() == "+" || peek() == "-" { advance() }
            var exponent = DigitRun(radix: 10, name: "")
            take(&exponent)
            digits.hasSeparator = digits.hasSeparator || exponent.hasSeparator
            guard exponent.count > 0 else { throw failure("exponent has no digits", place) }
        } else if isFloat, digits.radix == 16 {
            throw failure("hexadecimal mantissa requires a 'p' exponent", place)
        }
        if !isFloat, let invalid = digits.invalid {
            throw failure("invalid digit '\(invalid)' in \(digits.name)", place)
        }
        if digits.hasSeparator, !hasGoodSeparators(start, isDecimal: isDecimal) {
            throw failure("'_' must separate successive digits", place)
        }
    }

    private struct DigitRun {
        var radix: Int
        var name: String
        var count = 0
        var hasSeparator = false
        /// The first digit that the radix does not have.
        var invalid: Unicode.Scalar?
    }

    private mutating func take(_ run: inout DigitRun) {
        while let next = peek() {
            if next == "_" {
                run.hasSeparator = true
            } else if let value = hexadecimalValue(next), value < max(10, run.radix) {
                run.count += 1
                if value >= run.radix, run.invalid == nil { run.invalid = next }
            } else {
                return
            }
            advance()
        }
    }

    /// Whether each underscore stands between two digits, or between the prefix and one.
    private func hasGoodSeparators(_ start: Int, isDecimal: Bool) -> Bool {
        let hasPrefix = !isDecimal
        for place in start..<index where scalars[place] == "_" {
            let before = place > start ? scalars[place - 1] : "."
            let after = place + 1 < index ? scalars[place + 1] : "."
            let follows = hexadecimalValue(before) != nil || hasPrefix && place == start + 2
            guard follows, hexadecimalValue(after) != nil else { return false }
        }
        return true
    }

    // MARK: - Strings

    /// The bytes that a literal stands for. Source: Go `text/scanner`; Prometheus `strutil.Unquote`.
    mutating func string(_ place: LogQLPlace) throws(LogQLSyntaxError) -> [UInt8] {
        let quote = scalars[index]
        advance()
        var bytes: [UInt8] = []
        while let next = peek(), next != quote {
            if quote == "\"" {
                if next == "\n" { break }
                if next == "\\" {
                    try escape(place, into: &bytes)
                    continue
                }
            }
            guard next != "\0" else { throw failure("invalid character NUL", place) }
            bytes.append(contentsOf: UTF8.encode(next)!)
            advance()
        }
        guard peek() == quote else { throw failure("literal not terminated", place) }
        advance()
        return bytes
    }

    private mutating func escape(
        _ place: LogQLPlace, into bytes: inout [UInt8]
    ) throws(LogQLSyntaxError) {
        advance()
        guard let letter = peek() else { throw failure("invalid char escape", place) }
        if let byte = Self.simpleEscapes[letter] {
            bytes.append(byte)
            advance()
            return
        }
        let (count, radix): (Int, Int) =
            switch letter {
            case "0"..."7": (3, 8)
            case "x": (2, 16)
            case "u": (4, 16)
            case "U": (8, 16)
            default: throw failure("invalid char escape", place)
            }
        if radix == 16 { advance() }
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let digit = peek().flatMap(hexadecimalValue), digit < radix else {
                throw failure("invalid char escape", place)
            }
            value = value << (radix == 16 ? 4 : 3) | UInt32(digit)
            advance()
        }
        if letter == "u" || letter == "U" {
            guard value <= 0x10_ffff else { throw failure("invalid syntax", place) }
            bytes.append(contentsOf: UTF8.encode(Unicode.Scalar(value) ?? "\u{fffd}")!)
        } else {
            guard value <= 255 else { throw failure("invalid syntax", place) }
            bytes.append(UInt8(value))
        }
    }

    private static let simpleEscapes: [Unicode.Scalar: UInt8] = [
        "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 0x5c, "\"": 0x22,
    ]

    /// `'x'`, which is a name to Loki.
    mutating func character(_ place: LogQLPlace) throws(LogQLSyntaxError) -> String {
        let start = index
        var count = 0
        advance()
        while let next = peek(), next != "'", next != "\n" {
            advance()
            if next == "\\", peek() != nil { advance() }
            count += 1
        }
        guard peek() == "'" else { throw failure("literal not terminated", place) }
        advance()
        guard count == 1 else { throw failure("invalid char literal", place) }
        return text(from: start)
    }
}

func hexadecimalValue(_ scalar: Unicode.Scalar) -> Int? {
    switch scalar.value {
    case 48...57: Int(scalar.value) - 48
    case 65...70, 97...102: Int(scalar.value | 0x20) - 87
    default: nil
    }
}
