/// Reads one quoted string and undoes its escapes.
/// Source: Prometheus 3.14 `lexString`, `lexEscape`, `strutil.Unquote`.
struct StringScanner {
    private let source: [UInt8]
    private let start: Int
    private(set) var position: Int

    /// A scanner at the opening quote: `"`, `'` or a backtick.
    init(_ source: [UInt8], at start: Int) {
        self.source = source
        self.start = start
        position = start
    }

    /// The string's bytes without quotes and escapes; leaves `position` after the closing quote.
    mutating func scan() throws(PromQLParseError) -> [UInt8] {
        let quote = source[position]
        let isRaw = quote == UInt8(ascii: "`")
        position += 1
        var bytes: [UInt8] = []
        while position < source.count {
            let byte = source[position]
            if byte == quote {
                position += 1
                return bytes
            }
            if !isRaw, byte == UInt8(ascii: "\n") { break }
            position += 1
            if !isRaw, byte == UInt8(ascii: "\\") {
                try scanEscape(quote: quote, into: &bytes)
            } else {
                bytes.append(byte)
            }
        }
        throw failure(isRaw ? "unterminated raw string" : "unterminated quoted string")
    }

    private mutating func scanEscape(
        quote: UInt8, into bytes: inout [UInt8]
    ) throws(PromQLParseError) {
        guard position < source.count else { throw failure("escape sequence not terminated") }
        let byte = source[position]
        switch byte {
        case UInt8(ascii: "a"): return takeSimple(7, &bytes)
        case UInt8(ascii: "b"): return takeSimple(8, &bytes)
        case UInt8(ascii: "f"): return takeSimple(12, &bytes)
        case UInt8(ascii: "n"): return takeSimple(10, &bytes)
        case UInt8(ascii: "r"): return takeSimple(13, &bytes)
        case UInt8(ascii: "t"): return takeSimple(9, &bytes)
        case UInt8(ascii: "v"): return takeSimple(11, &bytes)
        case UInt8(ascii: "\\"), quote: return takeSimple(byte, &bytes)
        case 48...55:
            let value = try scanDigits(count: 3, radix: 8)
            guard value <= 255 else { throw invalidCodePoint }
            bytes.append(UInt8(value))
        case UInt8(ascii: "x"):
            position += 1
            bytes.append(UInt8(try scanDigits(count: 2, radix: 16)))
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            position += 1
            let value = try scanDigits(count: byte == UInt8(ascii: "u") ? 4 : 8, radix: 16)
            guard let scalar = Unicode.Scalar(value) else { throw invalidCodePoint }
            bytes.append(contentsOf: String(scalar).utf8)
        default:
            throw failure("unknown escape sequence \(codePoint(scalarHere))")
        }
    }

    private mutating func takeSimple(_ byte: UInt8, _ bytes: inout [UInt8]) {
        bytes.append(byte)
        position += 1
    }

    private mutating func scanDigits(count: Int, radix: UInt32) throws(PromQLParseError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard position < source.count else { throw failure("escape sequence not terminated") }
            guard let digit = digitValue(source[position]), digit < radix else {
                throw failure("illegal character \(codePoint(scalarHere)) in escape sequence")
            }
            // Eight hexadecimal digits are the most there are: 32 bits.
            value = value &* radix &+ digit
            position += 1
        }
        return value
    }

    private func digitValue(_ byte: UInt8) -> UInt32? {
        switch byte {
        case 48...57: UInt32(byte) - 48
        case 97...102: UInt32(byte) - 87
        case 65...70: UInt32(byte) - 55
        default: nil
        }
    }

    private var scalarHere: Unicode.Scalar {
        let text = String(decoding: source[position...].prefix(4), as: UTF8.self)
        return text.unicodeScalars.first ?? "\u{fffd}"
    }

    private var invalidCodePoint: PromQLParseError {
        failure("escape sequence is an invalid Unicode code point")
    }

    private func failure(_ message: String) -> PromQLParseError {
        PromQLParseError(message, at: SourceRange(start, source.count), in: source)
    }
}

/// Reads one number or duration. Source: Prometheus 3.14 `scanNumber`, `acceptRemainingDuration`.
struct NumberScanner {
    private let source: [UInt8]
    private let start: Int
    private(set) var position: Int
    /// In series descriptions `x` repeats a value, so there is no hexadecimal.
    private let isInSeries: Bool

    init(_ source: [UInt8], at start: Int, isInSeries: Bool = false) {
        self.source = source
        self.start = start
        self.isInSeries = isInSeries
        position = start
    }

    /// Whether a number ends at `position`, with nothing alphanumeric after it.
    mutating func scanNumber() -> Bool {
        let isHexadecimal = !isInSeries && accept("0") && accept("xX")
        if isHexadecimal { _ = accept("_") }
        var sawDot = false
        var sawExponent = false
        while position < source.count {
            let byte = source[position]
            if isDigit(byte) || (isHexadecimal && isOneOf("abcdefABCDEF", byte)) {
                position += 1
            } else if byte == UInt8(ascii: ".") {
                position += 1
                if sawDot || isHexadecimal || accept("_.") { return false }
                sawDot = true
            } else if isOneOf("eE", byte) {
                if position == start { return false }
                position += 1
                if sawExponent { return false }
                sawExponent = true
                _ = accept("+-")
                if position >= source.count || isHere("._eE") { return false }
            } else if byte == UInt8(ascii: "_") {
                if position == start { return false }
                position += 1
                if position >= source.count || isHere("._eE") { return false }
            } else {
                break
            }
        }
        guard position > start else { return false }
        guard position < source.count else { return true }
        let next = source[position]
        if isInSeries, next == UInt8(ascii: "x") { return true }
        return !isLetter(next) && !isDigit(next)
    }

    /// Whether what `scanNumber` stopped at completes a duration such as `1h30m`.
    mutating func scanRestOfDuration() -> Bool {
        guard accept("smhdwy") else { return false }
        _ = accept("s")
        while accept("0123456789") {
            while accept("0123456789") {}
            guard accept("smhdw") else { return false }
            _ = accept("s")
        }
        guard position < source.count else { return true }
        if isLetter(source[position]) {
            position += 1
            return false
        }
        return true
    }

    /// The value of a number's text: decimal, hexadecimal, octal (leading zero), `inf`, `nan`; nil where it is none.
    /// Source: Prometheus 3.14 `parser.number`, Go `strconv.ParseInt` with base 0, then `ParseFloat`.
    static func value(of text: some StringProtocol) -> Double? {
        let lower = text.lowercased()
        if lower == "inf" { return .infinity }
        if lower == "nan" { return .nan }
        let digits = lower.filter { $0 != "_" }
        if digits.hasPrefix("0x") { return Int64(digits.dropFirst(2), radix: 16).map(Double.init) }
        if digits.count > 1, digits.hasPrefix("0"), let octal = Int64(digits, radix: 8) {
            return Double(octal)
        }
        if let integer = Int64(digits) { return Double(integer) }
        // Swift's parser wants digits on both sides of the point; a value out of range is no number.
        var float = digits
        if let point = float.firstIndex(of: ".") {
            let after = float.index(after: point)
            if after == float.endIndex || !float[after].isNumber { float.insert("0", at: after) }
            if point == float.startIndex { float.insert("0", at: float.startIndex) }
        }
        guard let value = Double(float), value.isFinite else { return nil }
        return value
    }

    private mutating func accept(_ set: StaticString) -> Bool {
        guard isHere(set) else { return false }
        position += 1
        return true
    }

    private func isHere(_ set: StaticString) -> Bool {
        position < source.count && isOneOf(set, source[position])
    }
}
