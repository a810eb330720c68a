/// A decimal number of any length, as `addf`, `subf`, `mulf` and `divf` count with: 0.1 and 0.2 are 0.3.
///
/// It is `digits * 10^exponent`. Adding and subtracting is O(digits), with the distance of the exponents;
/// multiplying and dividing O(digits²). Source: shopspring/decimal 1.4, which sprig's functions use.
struct TemplateDecimal {
    /// Digits that a number may have before counting on is refused: two doubles' sum has no more.
    static let digitsMax = 2048
    /// Digits that a quotient has after its point.
    private static let quotientPlaces = 16

    private var isNegative: Bool
    /// Most significant first, none leading that is 0; zero has none.
    private var digits: [UInt8]
    private var exponent: Int

    /// The shortest decimal that reads back as `value`; nil where it is not finite.
    init?(_ value: Double) {
        guard value.isFinite else { return nil }
        let text = Array(value.magnitude.description.utf8)
        let mantissa = text.prefix { $0 != UInt8(ascii: "e") }
        let power = Int(String(decoding: text.dropFirst(mantissa.count + 1), as: UTF8.self)) ?? 0
        let fraction = mantissa.firstIndex(of: UInt8(ascii: ".")).map { mantissa.count - 1 - $0 }
        var digits = mantissa.filter { $0 != UInt8(ascii: ".") }.map { $0 - 48 }
        var exponent = power - (fraction ?? 0)
        while digits.last == 0 {
            digits.removeLast()
            exponent += 1
        }
        self.init(isNegative: value < 0, digits: digits, exponent: digits.isEmpty ? 0 : exponent)
    }

    private init(isNegative: Bool, digits: [UInt8], exponent: Int) {
        self.isNegative = isNegative
        self.digits = Array(digits.drop { $0 == 0 })
        self.exponent = exponent
    }

    var digitCount: Int { digits.count }

    /// The nearest double.
    var double: Double {
        guard !digits.isEmpty else { return 0 }
        let text = String(decoding: digits.map { $0 + 48 }, as: UTF8.self)
        return Double((isNegative ? "-" : "") + text + "e\(exponent)") ?? 0
    }

    static func + (a: TemplateDecimal, b: TemplateDecimal) -> TemplateDecimal {
        // A zero has no exponent to count with.
        guard !a.digits.isEmpty else { return b }
        guard !b.digits.isEmpty else { return a }
        let exponent = min(a.exponent, b.exponent)
        let (x, y) = (a.scaled(to: exponent), b.scaled(to: exponent))
        if a.isNegative == b.isNegative {
            return TemplateDecimal(
                isNegative: a.isNegative, digits: sum(x, y), exponent: exponent)
        }
        let isLess = precedes(x, y)
        return TemplateDecimal(
            isNegative: isLess ? b.isNegative : a.isNegative,
            digits: isLess ? difference(y, x) : difference(x, y), exponent: exponent)
    }

    static func - (a: TemplateDecimal, b: TemplateDecimal) -> TemplateDecimal {
        var negated = b
        negated.isNegative.toggle()
        return a + negated
    }

    static func * (a: TemplateDecimal, b: TemplateDecimal) -> TemplateDecimal {
        guard !a.digits.isEmpty, !b.digits.isEmpty else {
            return TemplateDecimal(isNegative: false, digits: [], exponent: 0)
        }
        var product = [Int](repeating: 0, count: a.digits.count + b.digits.count)
        for (i, x) in a.digits.enumerated() {
            for (j, y) in b.digits.enumerated() { product[i + j + 1] += Int(x) * Int(y) }
        }
        var carry = 0
        for index in product.indices.reversed() {
            let value = product[index] + carry
            product[index] = value % 10
            carry = value / 10
        }
        return TemplateDecimal(
            isNegative: a.isNegative != b.isNegative, digits: product.map { UInt8($0) },
            exponent: a.exponent + b.exponent)
    }

    /// Rounded to 16 places, halves away from zero; nil where `divisor` is 0.
    func divided(by divisor: TemplateDecimal) -> TemplateDecimal? {
        guard !divisor.digits.isEmpty else { return nil }
        guard !digits.isEmpty else { return self }
        // digits * 10^shift / divisor.digits counts in units of 10^-16.
        let shift = exponent - divisor.exponent + Self.quotientPlaces
        let numerator = digits + [UInt8](repeating: 0, count: max(0, shift))
        let denominator = divisor.digits + [UInt8](repeating: 0, count: max(0, -shift))
        var (quotient, rest) = Self.quotient(numerator, denominator)
        if !Self.precedes(Self.sum(rest, rest), denominator) { quotient = Self.sum(quotient, [1]) }
        return TemplateDecimal(
            isNegative: isNegative != divisor.isNegative, digits: quotient,
            exponent: -Self.quotientPlaces)
    }

    // MARK: - Digits

    private func scaled(to lower: Int) -> [UInt8] {
        digits + [UInt8](repeating: 0, count: exponent - lower)
    }

    /// Both without leading zeros.
    private static func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        a.count == b.count ? a.lexicographicallyPrecedes(b) : a.count < b.count
    }

    private static func sum(_ a: [UInt8], _ b: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: max(a.count, b.count) + 1)
        var carry: UInt8 = 0
        for index in 0..<result.count {
            let x = index < a.count ? a[a.count - 1 - index] : 0
            let y = index < b.count ? b[b.count - 1 - index] : 0
            let value = x + y + carry
            result[result.count - 1 - index] = value % 10
            carry = value / 10
        }
        return Array(result.drop { $0 == 0 })
    }

    /// `a - b`, where `b` is not larger.
    private static func difference(_ a: [UInt8], _ b: [UInt8]) -> [UInt8] {
        var result = a
        var borrow = 0
        for index in 0..<a.count {
            let y = index < b.count ? Int(b[b.count - 1 - index]) : 0
            let value = Int(a[a.count - 1 - index]) - y - borrow
            borrow = value < 0 ? 1 : 0
            result[a.count - 1 - index] = UInt8(value + borrow * 10)
        }
        return Array(result.drop { $0 == 0 })
    }

    /// Long division. Neither result has leading zeros.
    private static func quotient(
        _ a: [UInt8], _ b: [UInt8]
    ) -> (quotient: [UInt8], rest: [UInt8]) {
        var quotient: [UInt8] = []
        var rest: [UInt8] = []
        for digit in a {
            if !rest.isEmpty || digit != 0 { rest.append(digit) }
            var count: UInt8 = 0
            while !precedes(rest, b) {
                rest = difference(rest, b)
                count += 1
            }
            if !quotient.isEmpty || count != 0 { quotient.append(count) }
        }
        return (quotient, rest)
    }
}
