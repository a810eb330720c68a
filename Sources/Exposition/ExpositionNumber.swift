/// Reads numbers as Go's `strconv.ParseFloat` does, without its hexadecimal forms and underscores, exactly rounded.
/// Source: Prometheus 3.14 `textparse.parseFloat`; Clinger, "How to Read Floating Point Numbers Accurately" (1990), for
/// the short way: where digits and power of ten are both exact doubles, one division or product rounds right.
enum ExpositionNumber {
    /// Powers of ten that are exact doubles.
    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ]
    /// The quiet NaN that stands for every NaN read. Source: Prometheus 3.14 `value.NormalNaN`.
    static let normalNaN = Double(bitPattern: 0x7ff8_0000_0000_0001)

    /// The number that all of `text` says; nil where it is none, or larger than any double.
    static func parse(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        var at = 0
        var isNegative = false
        if let first = text.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            isNegative = first == UInt8(ascii: "-")
            at = 1
        }
        let start = at
        var digits: UInt64 = 0
        // Digits that count, zeros in front left out.
        var significant = 0
        var digitCount = 0
        var exponent = 0
        func take(_ byte: UInt8) {
            digitCount += 1
            if significant > 0 || byte != UInt8(ascii: "0") { significant += 1 }
            if significant <= 19 { digits = digits &* 10 &+ UInt64(byte &- 48) }
        }
        while at < text.count, text[at] &- 48 <= 9 {
            take(text[at])
            at += 1
        }
        if at < text.count, text[at] == UInt8(ascii: ".") {
            at += 1
            let fraction = at
            while at < text.count, text[at] &- 48 <= 9 {
                take(text[at])
                at += 1
            }
            exponent = fraction - at
        }
        guard digitCount > 0 else { return word(text, from: start, isNegative) }
        if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
            guard let (told, end) = readExponent(text, at + 1) else { return nil }
            exponent += told
            at = end
        }
        guard at == text.count else { return nil }
        if significant <= 19, digits <= 1 << 53, exponent.magnitude <= 22 {
            let value =
                exponent < 0
                ? Double(digits) / powers[-exponent] : Double(digits) * powers[exponent]
            return isNegative ? -value : value
        }
        // The form is sound, so that the library's own reader takes it; it says infinity where it is too large.
        guard let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else {
            return nil
        }
        return value
    }

    /// The number behind `e`, and where it ends. Larger ones are as good as 9,999.
    private static func readExponent(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> (value: Int, end: Int)? {
        var at = start
        var isNegative = false
        if at < text.count, text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") {
            isNegative = text[at] == UInt8(ascii: "-")
            at += 1
        }
        let first = at
        var value = 0
        while at < text.count, text[at] &- 48 <= 9 {
            value = min(9_999, value * 10 + Int(text[at] &- 48))
            at += 1
        }
        return at > first ? (isNegative ? -value : value, at) : nil
    }

    /// `inf`, `infinity` with a sign or none, `nan` without, in any case.
    private static func word(
        _ text: UnsafeBufferPointer<UInt8>, from start: Int, _ isNegative: Bool
    ) -> Double? {
        func equals(_ word: StaticString) -> Bool {
            guard text.count - start == word.utf8CodeUnitCount else { return false }
            return (0..<word.utf8CodeUnitCount).allSatisfy {
                text[start + $0] | 0x20 == word.utf8Start[$0]
            }
        }
        if equals("inf") || equals("infinity") { return isNegative ? -.infinity : .infinity }
        if start == 0, equals("nan") { return normalNaN }
        return nil
    }
}
