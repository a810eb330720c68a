/// A floating point number as Prometheus and Go print it: the shortest digits that read back to the same value.
///
/// Source: Go `strconv.FormatFloat(x, format, -1, 64)`; Prometheus 3.14 `util/jsonutil.MarshalFloat`.
package enum GoFloat {
    /// Without an exponent (`'f'`): `0.000001`, `100000000000000000000000`, `+Inf`, `-Inf`, `NaN`.
    package static func plain(_ value: Double) -> String {
        special(value) ?? Decimal(value).plain
    }

    /// As in Prometheus' JSON: plain, but with an exponent where |value| < 1e-6 or >= 1e21.
    package static func json(_ value: Double) -> String {
        if let text = special(value) { return text }
        let size = value.magnitude
        guard size != 0, size < 1e-6 || size >= 1e21 else { return Decimal(value).plain }
        return Decimal(value).scientific
    }

    /// Appends `json(value)`; most values, integers and numbers of ordinary size, without a detour by way of their digits.
    package static func append(json value: Double, to bytes: inout [UInt8]) {
        let size = value.magnitude
        if size < 1e15, size == size.rounded(.towardZero) {
            if value.sign == .minus { bytes.append(45) }
            append(UInt64(size), to: &bytes)
        } else if size >= 1e-3, size < 1e15 {
            bytes.append(contentsOf: value.description.utf8)
        } else {
            bytes.append(contentsOf: json(value).utf8)
        }
    }

    /// Appends the decimal digits of `number`.
    package static func append(_ number: UInt64, to bytes: inout [UInt8]) {
        let start = bytes.count
        var rest = number
        repeat {
            bytes.append(48 + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    /// `'g'`: with an exponent where the decimal exponent is below -4 or at least `exponentMax`.
    ///
    /// `exponentMax` is 6 for Go's `%v`, `%g` and `strconv`.
    package static func general(_ value: Double, exponentMax: Int = 6) -> String {
        if let text = special(value) { return text }
        let decimal = Decimal(value)
        let exponent = decimal.point - 1
        if value != 0, exponent < -4 || exponent >= exponentMax { return decimal.scientific }
        return decimal.plain
    }

    /// `%.Ng`: with at most `digits` significant digits, and an exponent where the decimal exponent is below -4 or at
    /// least `digits`. The digits are rounded from the shortest that read back to `value`.
    package static func general(_ value: Double, digits: Int) -> String {
        if let text = special(value) { return text }
        let decimal = Decimal(value).rounded(to: digits)
        let exponent = decimal.point - 1
        if value != 0, exponent < -4 || exponent >= digits { return decimal.scientific }
        return decimal.plain
    }

    /// As a label value of OpenMetrics (`le`, `quantile`): `'g'`, with `.0` where nothing else says it is no integer.
    package static func openMetrics(_ value: Double) -> String {
        let text = general(value)
        guard value.isFinite, !text.utf8.contains(where: { $0 == 46 || $0 == 101 }) else {
            return text
        }
        return text + ".0"
    }

    private static func special(_ value: Double) -> String? {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return nil
    }
}

/// The shortest decimal digits of a finite number: 0.d1d2d3… × 10^point.
private struct Decimal {
    var isNegative: Bool
    /// ASCII digits without leading or trailing zeros; `0` alone for zero.
    var digits: [UInt8]
    var point: Int

    init(_ value: Double) {
        isNegative = value.sign == .minus
        guard value != 0 else {
            digits = [48]
            point = 1
            return
        }
        digits = []
        point = 0
        var exponent = 0
        var hasPoint = false
        var rest = value.magnitude.description.utf8[...]
        while let byte = rest.first {
            rest = rest.dropFirst()
            if byte == UInt8(ascii: ".") {
                hasPoint = true
            } else if byte == UInt8(ascii: "e") {
                exponent = Int(Substring(rest)) ?? 0
                break
            } else {
                digits.append(byte)
                if !hasPoint { point += 1 }
            }
        }
        let zeros = digits.prefix { $0 == 48 }.count
        digits.removeFirst(zeros)
        point += exponent - zeros
        while digits.last == 48 { digits.removeLast() }
    }

    /// The same with at most `count` digits, half rounded up.
    func rounded(to count: Int) -> Decimal {
        guard digits.count > count else { return self }
        var result = self
        let isUp = digits[count] >= 53
        result.digits.removeSubrange(count...)
        if isUp {
            while result.digits.last == 57 { result.digits.removeLast() }
            if let last = result.digits.indices.last {
                result.digits[last] += 1
            } else {
                result.digits = [49]
                result.point += 1
            }
        }
        while result.digits.count > 1, result.digits.last == 48 { result.digits.removeLast() }
        return result
    }

    var plain: String {
        var text: [UInt8] = isNegative ? [45] : []
        if point <= 0 {
            text += [48, 46]
            text.append(contentsOf: repeatElement(48, count: -point))
            text += digits
        } else if digits.count <= point {
            text += digits
            text.append(contentsOf: repeatElement(48, count: point - digits.count))
        } else {
            text += digits[..<point]
            text.append(46)
            text += digits[point...]
        }
        return String(decoding: text, as: UTF8.self)
    }

    var scientific: String {
        var text: [UInt8] = isNegative ? [45] : []
        text.append(digits[0])
        if digits.count > 1 {
            text.append(46)
            text += digits[1...]
        }
        let exponent = point - 1
        text += [101, exponent < 0 ? 45 : 43]
        if exponent.magnitude < 10 { text.append(48) }
        text += Array(String(exponent.magnitude).utf8)
        return String(decoding: text, as: UTF8.self)
    }
}
