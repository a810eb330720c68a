/// Numbers as Go's `strconv.FormatFloat(value, 'g', -1, 64)` prints them, which is how Prometheus and its exporters do.
///
/// The shortest digits that read back to the same bits; an exponent of at least two digits where the decimal exponent is
/// below -4 or at least 6: `1e+06` has one, `100000` has none. Source: Go 1.25 `strconv/ftoa.go` `%g`.
package enum GoFloat {
    /// Appends the text of `value`: `NaN`, `+Inf`, `-Inf`, `0`, `-0`, `0.25`, `1.5e+09`. At most 24 bytes.
    package static func append(_ value: Double, to bytes: inout [UInt8]) {
        guard value.isFinite else {
            bytes += value.isNaN ? "NaN".utf8 : value < 0 ? "-Inf".utf8 : "+Inf".utf8
            return
        }
        if value.sign == .minus { bytes.append(UInt8(ascii: "-")) }
        let magnitude = value.magnitude
        if magnitude < 1_000_000, magnitude == magnitude.rounded(.towardZero) {
            appendInteger(UInt64(magnitude), to: &bytes)
            return
        }
        appendShortest(magnitude, to: &bytes)
    }

    /// The text as a string.
    package static func text(_ value: Double) -> String {
        var bytes: [UInt8] = []
        append(value, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func appendInteger(_ value: UInt64, to bytes: inout [UInt8]) {
        let start = bytes.count
        var rest = value
        repeat {
            bytes.append(UInt8(48 + rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    /// `magnitude` is finite and positive. Swift's `description` holds the shortest digits; only their layout changes.
    private static func appendShortest(_ magnitude: Double, to bytes: inout [UInt8]) {
        // digits: significant digits without zeros at either end; value = 0.digits × 10^point
        var digits: [UInt8] = []
        digits.reserveCapacity(17)
        var point = 0
        var exponent = 0
        var isPastPoint = false
        var isExponent = false
        var isExponentNegative = false
        for byte in magnitude.description.utf8 {
            switch byte {
            case UInt8(ascii: "."): isPastPoint = true
            case UInt8(ascii: "e"): isExponent = true
            case UInt8(ascii: "-"): isExponentNegative = true
            case UInt8(ascii: "+"): break
            default:
                if isExponent {
                    exponent = exponent * 10 + Int(byte - 48)
                } else if digits.isEmpty, byte == UInt8(ascii: "0") {
                    if isPastPoint { point -= 1 }
                } else {
                    digits.append(byte)
                    if !isPastPoint { point += 1 }
                }
            }
        }
        point += isExponentNegative ? -exponent : exponent
        while digits.count > 1, digits.last == UInt8(ascii: "0") { digits.removeLast() }
        let decimalExponent = point - 1
        if decimalExponent < -4 || decimalExponent >= exponentFormMin {
            appendExponentForm(digits, decimalExponent, to: &bytes)
        } else if point <= 0 {
            bytes += "0.".utf8
            bytes += repeatElement(UInt8(ascii: "0"), count: -point)
            bytes += digits
        } else {
            for index in 0..<max(point, digits.count) {
                if index == point { bytes.append(UInt8(ascii: ".")) }
                bytes.append(index < digits.count ? digits[index] : UInt8(ascii: "0"))
            }
        }
    }

    private static func appendExponentForm(
        _ digits: [UInt8], _ exponent: Int, to bytes: inout [UInt8]
    ) {
        bytes.append(digits[0])
        if digits.count > 1 {
            bytes.append(UInt8(ascii: "."))
            bytes += digits[1...]
        }
        bytes += exponent < 0 ? "e-".utf8 : "e+".utf8
        if exponent.magnitude < 10 { bytes.append(UInt8(ascii: "0")) }
        appendInteger(UInt64(exponent.magnitude), to: &bytes)
    }

    /// The decimal exponent from which the shortest form is written with an exponent.
    private static let exponentFormMin = 6
}
