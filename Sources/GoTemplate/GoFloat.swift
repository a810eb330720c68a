internal import Glibc

/// Floating-point numbers as Go prints them.
enum GoFloat {
    /// `%v` and `%g`: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e6 on.
    static func shortest(_ value: Double) -> String {
        if let special = special(value) { return special }
        let (isNegative, digits, point) = decimal(value)
        let sign = isNegative ? "-" : ""
        let exponent = point - 1
        // Source: Go strconv ftoa.go: "if precision was the shortest possible, use precision 6 for this decision".
        guard exponent < -4 || exponent >= 6 else {
            return sign + positional(digits, point)
        }
        return sign + scientific(digits, exponent)
    }

    /// `%f`, `%e` or `%g` (either case) with `precision` digits; `flags` are those of C's printf.
    static func text(_ value: Double, verb: Character, precision: Int, flags: String = "") -> String
    {
        if let special = special(value) {
            let isSigned = flags.contains("+") && !special.hasPrefix("-") && !special.hasPrefix("+")
            return (isSigned ? "+" : "") + special
        }
        var buffer = [CChar](repeating: 0, count: 400 + precision)
        let length = withVaList([value]) {
            vsnprintf(&buffer, buffer.count, "%\(flags).\(precision)\(verb)", $0)
        }
        return String(
            decoding: buffer.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func special(_ value: Double) -> String? {
        if value.isNaN { return "NaN" }
        return value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : nil
    }

    /// The shortest digits of a finite number and where its point stands: 0.0012 is "12" with the point at -2.
    private static func decimal(_ value: Double) -> (isNegative: Bool, digits: [UInt8], point: Int)
    {
        var digits: [UInt8] = []
        var point = 0
        var sawPoint = false
        var exponent = 0
        let text = Array(value.magnitude.description.utf8)
        for (index, byte) in text.enumerated() {
            if byte == UInt8(ascii: ".") {
                sawPoint = true
            } else if byte == UInt8(ascii: "e") {
                exponent = Int(String(decoding: text[(index + 1)...], as: UTF8.self)) ?? 0
                break
            } else {
                digits.append(byte)
                if !sawPoint { point += 1 }
            }
        }
        let zeros = digits.prefix { $0 == 48 }.count
        digits.removeFirst(zeros)
        while digits.last == 48 { digits.removeLast() }
        guard !digits.isEmpty else { return (value.sign == .minus, [48], 1) }
        return (value.sign == .minus, digits, point - zeros + exponent)
    }

    private static func positional(_ digits: [UInt8], _ point: Int) -> String {
        let text = String(decoding: digits, as: UTF8.self)
        if point <= 0 { return "0." + String(repeating: "0", count: -point) + text }
        if point >= digits.count {
            return text + String(repeating: "0", count: point - digits.count)
        }
        return String(text.prefix(point)) + "." + String(text.dropFirst(point))
    }

    private static func scientific(_ digits: [UInt8], _ exponent: Int) -> String {
        let text = String(decoding: digits, as: UTF8.self)
        let fraction = digits.count > 1 ? "." + text.dropFirst() : ""
        let size = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
        return text.prefix(1) + fraction + "e" + (exponent < 0 ? "-" : "+") + size
    }
}
