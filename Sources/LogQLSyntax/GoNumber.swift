import Glibc
import Model

/// Numbers, durations and sizes as LogQL's canonical text has them.
enum GoNumber {
    /// Without an exponent. Source: Go `strconv.FormatFloat(x, 'f', -1, 64)`.
    static func plain(_ value: Double) -> String {
        special(value) ?? Digits(value).plain
    }

    /// With an exponent below 1e-4 and from 1e21 on. Source: Go `fmt.Sprint`.
    static func general(_ value: Double) -> String {
        if let text = special(value) { return text }
        let digits = Digits(value)
        let exponent = digits.point - 1
        if value != 0, exponent < -4 || exponent >= 21 { return digits.scientific }
        return digits.plain
    }

    /// Source: Go and C `%f`.
    static func sixDecimals(_ value: Double) -> String {
        if let text = special(value) { return text }
        var buffer = [CChar](repeating: 0, count: 330)
        let count = withVaList([value]) { vsnprintf(&buffer, buffer.count, "%.6f", $0) }
        let length = min(max(0, Int(count)), buffer.count - 1)
        return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func special(_ value: Double) -> String? {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return nil
    }

    /// The shortest decimal digits that read back to a number: `0.digits * 10^point`.
    private struct Digits {
        var isNegative: Bool
        var digits: [UInt8] = []
        var point = 0

        init(_ value: Double) {
            isNegative = value.sign == .minus
            let text = Array(value.magnitude.description.utf8)
            let mantissa = text.prefix { $0 != UInt8(ascii: "e") }
            let exponent = Int(String(decoding: text.dropFirst(mantissa.count + 1), as: UTF8.self))
            let whole = mantissa.prefix { $0 != UInt8(ascii: ".") }
            digits = mantissa.filter { $0 != UInt8(ascii: ".") }
            point = whole.count + (exponent ?? 0)
            while digits.first == 48, digits.count > 1 {
                digits.removeFirst()
                point -= 1
            }
            while digits.last == 48, digits.count > 1 { digits.removeLast() }
            if digits == [48] { point = 1 }
        }

        var plain: String {
            let text = String(decoding: digits, as: UTF8.self)
            let sign = isNegative ? "-" : ""
            if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + text }
            if digits.count <= point {
                return sign + text + String(repeating: "0", count: point - digits.count)
            }
            return sign + text.prefix(point) + "." + text.dropFirst(point)
        }

        var scientific: String {
            let text = String(decoding: digits, as: UTF8.self)
            let exponent = point - 1
            let tail = text.utf8.count > 1 ? "." + text.dropFirst() : ""
            let size = String(exponent.magnitude)
            return (isNegative ? "-" : "") + text.prefix(1) + tail + (exponent < 0 ? "e-" : "e+")
                + (size.utf8.count < 2 ? "0" : "") + size
        }
    }

    /// `1h30m0s`, `250ms`, `1.5s`. Source: Go 1.24 `time.Duration.String`.
    static func duration(_ nanoseconds: Int64) -> String {
        let size = nanoseconds.magnitude
        let sign = nanoseconds < 0 ? "-" : ""
        if size == 0 { return "0s" }
        if size < 1000 { return "\(sign)\(size)ns" }
        if size < 1_000_000 { return sign + fraction(size, 1000) + "\u{b5}s" }
        if size < 1_000_000_000 { return sign + fraction(size, 1_000_000) + "ms" }
        let minutes = size / 60_000_000_000
        var text = sign
        if minutes >= 60 { text += "\(minutes / 60)h" }
        if minutes > 0 { text += "\(minutes % 60)m" }
        return text + fraction(size % 60_000_000_000, 1_000_000_000) + "s"
    }

    /// `1h30m`, `90s`, whole milliseconds. Source: Prometheus `model.Duration.String`.
    static func shortDuration(_ nanoseconds: Int64) -> String {
        let milliseconds = Int64(nanoseconds.magnitude / 1_000_000)
        let text = PrometheusDuration(milliseconds: milliseconds).description
        return nanoseconds < 0 && milliseconds > 0 ? "-" + text : text
    }

    /// `size / unit` with as many decimals as it has; `unit` is a power of 10.
    private static func fraction(_ size: UInt64, _ unit: UInt64) -> String {
        var rest = size % unit
        guard rest > 0 else { return "\(size / unit)" }
        var width = String(unit).utf8.count - 1
        while rest % 10 == 0 {
            rest /= 10
            width -= 1
        }
        let digits = String(rest)
        let zeros = String(repeating: "0", count: width - digits.utf8.count)
        return "\(size / unit).\(zeros)\(digits)"
    }

    /// `42B`, `2.5kB`: Loki's rounded form where it reads back to the same size, else all bytes.
    static func size(_ bytes: UInt64) -> String {
        var unit = 0
        var divisor: UInt64 = 1
        while unit < 5, bytes / divisor >= 1000 {
            divisor *= 1000
            unit += 1
        }
        let tenth = divisor / 10
        guard unit > 0, bytes % tenth == 0 else { return "\(bytes)B" }
        let whole = bytes / divisor
        let decimal = bytes % divisor / tenth
        let name = ["B", "kB", "MB", "GB", "TB", "PB"][unit]
        if whole < 10 { return "\(whole).\(decimal)\(name)" }
        return decimal == 0 ? "\(whole)\(name)" : "\(bytes)B"
    }
}
