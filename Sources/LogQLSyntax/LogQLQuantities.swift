import PromQLSyntax

// Durations and sizes as LogQL writes them.

/// A letter of a duration's unit.
func isDurationScalar(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "n", "u", "\u{b5}", "m", "s", "h", "d", "w", "y": true
    default: false
    }
}

/// A letter of a size's unit.
func isSizeScalar(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "B", "i", "k", "K", "M", "G", "T", "P": true
    default: false
    }
}

/// Nanoseconds of a duration as Prometheus writes it (`1w`, `1h30m`) or Go (`1.5h`, `-5m`, `100µs`); nil for others.
package func parseDuration(_ text: String) -> Int64? {
    if case .success(let nanoseconds) = PrometheusDurationText.parse(text) { return nanoseconds }
    return parseGoDuration(text)
}

/// Nanoseconds of a duration as Go writes it; nil for other texts and for more than 292 years.
/// Source: Go 1.24 `time.ParseDuration`.
package func parseGoDuration(_ text: String) -> Int64? {
    var rest = Array(text.unicodeScalars)[...]
    let isNegative = rest.first == "-"
    if isNegative || rest.first == "+" { rest.removeFirst() }
    if rest.count == 1, rest.first == "0" { return 0 }
    guard !rest.isEmpty else { return nil }
    var total: UInt64 = 0
    while !rest.isEmpty {
        guard let part = goDurationPart(&rest) else { return nil }
        let (sum, overflow) = total.addingReportingOverflow(part)
        guard !overflow, sum <= 1 << 63 else { return nil }
        total = sum
    }
    if isNegative { return total == 1 << 63 ? .min : -Int64(total) }
    return Int64(exactly: total)
}

/// One number with its unit, taken from the front of `rest`.
private func goDurationPart(_ rest: inout ArraySlice<Unicode.Scalar>) -> UInt64? {
    let whole = rest.prefix(while: LogQLLexer.isDigit)
    rest.removeFirst(whole.count)
    var value: UInt64 = 0
    for digit in whole {
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        guard !overflow, product <= 1 << 63 else { return nil }
        value = product + UInt64(digit.value - 48)
    }
    var fraction = 0.0
    var scale = 1.0
    var hasFraction = false
    if rest.first == "." {
        rest.removeFirst()
        let digits = rest.prefix(while: LogQLLexer.isDigit)
        rest.removeFirst(digits.count)
        hasFraction = !digits.isEmpty
        for digit in digits.prefix(18) {
            fraction = fraction * 10 + Double(digit.value - 48)
            scale *= 10
        }
    }
    guard !whole.isEmpty || hasFraction else { return nil }
    let letters = rest.prefix { $0 != "." && !LogQLLexer.isDigit($0) }
    rest.removeFirst(letters.count)
    var name = String.UnicodeScalarView()
    name.append(contentsOf: letters)
    let units: [String: UInt64] = [
        "ns": 1, "us": 1000, "\u{b5}s": 1000, "\u{3bc}s": 1000, "ms": 1_000_000,
        "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000,
    ]
    guard let unit = units[String(name)] else { return nil }
    let (product, overflow) = value.multipliedReportingOverflow(by: unit)
    guard !overflow, product <= 1 << 63 else { return nil }
    return product + UInt64(fraction * (Double(unit) / scale))
}

/// A duration as Prometheus writes it, with the reasons of its refusal.
enum PrometheusDurationText {
    struct Reason: Error {
        var text: String
    }

    /// Nanoseconds. Source: Prometheus 3.14 `model.ParseDuration`.
    static func parse(_ text: String) -> Result<Int64, Reason> {
        if text == "0" { return .success(0) }
        guard !text.isEmpty else { return .failure(Reason(text: "empty duration string")) }
        let invalid = Reason(text: "not a valid duration string: \(quoted(text))")
        let outOfRange = Reason(text: "duration out of range")
        var total: UInt64 = 0
        var nextUnit = 0
        var rest = Substring(text).utf8
        while !rest.isEmpty {
            let digits = rest.prefix { (48...57).contains($0) }
            guard !digits.isEmpty, let number = UInt64(Substring(digits)) else {
                return .failure(invalid)
            }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { !(48...57).contains($0) }
            rest = rest.dropFirst(letters.count)
            guard !letters.isEmpty else { return .failure(invalid) }
            guard let unit = units.firstIndex(where: { $0.name.utf8.elementsEqual(letters) }) else {
                let name = quoted(String(Substring(letters)))
                return .failure(
                    Reason(text: "unknown unit \(name) in duration \(quoted(text))"))
            }
            guard unit >= nextUnit else { return .failure(invalid) }
            nextUnit = unit + 1
            guard number <= (1 << 63) / units[unit].size else { return .failure(outOfRange) }
            total += number * units[unit].size
            guard total <= UInt64(Int64.max) else { return .failure(outOfRange) }
        }
        return .success(Int64(total))
    }

    private static let units: [(name: String, size: UInt64)] = [
        ("y", 365 * 86_400_000_000_000), ("w", 7 * 86_400_000_000_000),
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000),
        ("s", 1_000_000_000), ("ms", 1_000_000),
    ]
}

/// Bytes of a size: `42B`, `5KB` (1000), `1.5GiB` (1024), letters in any case, the `B` optional; nil for other texts
/// and from 2^64 on. Source: go-humanize `ParseBytes`.
package func parseSize(_ text: String) -> UInt64? {
    let bytes = Array(text.utf8)
    let digits = bytes.prefix { (48...57).contains($0) || $0 == 46 || $0 == 44 }
    let number = digits.filter { $0 != 44 }
    guard let value = parseFloat(String(decoding: number, as: UTF8.self)) else { return nil }
    var unit = bytes[digits.count...].map { (65...90).contains($0) ? $0 | 0x20 : $0 }[...]
    while unit.first == 0x20 { unit.removeFirst() }
    while unit.last == 0x20 { unit.removeLast() }
    if unit.last == UInt8(ascii: "b") { unit.removeLast() }
    var base = 1000.0
    if unit.count == 2, unit.last == UInt8(ascii: "i") {
        base = 1024
        unit.removeLast()
    }
    var size = value
    if let letter = unit.first {
        let prefixes = Array("kmgtpe".utf8)
        guard unit.count == 1, let power = prefixes.firstIndex(of: letter) else { return nil }
        for _ in 0...power { size *= base }
    }
    return size < 18_446_744_073_709_551_616 ? UInt64(exactly: size.rounded(.towardZero)) : nil
}

/// A number as Go's `strconv.ParseFloat` reads it; nil for other texts and for those beyond its range.
package func parseFloat(_ text: String) -> Double? {
    let text = withoutUnderscores(text)
    let isHexadecimal = text.utf8.contains { $0 | 0x20 == UInt8(ascii: "x") }
    let hasPower = text.utf8.contains { $0 | 0x20 == UInt8(ascii: "p") }
    // The standard library stops reading at a zero byte.
    guard !text.utf8.contains(0), let value = Double(text), value.isFinite,
        !isHexadecimal || hasPower
    else { return nil }
    return value
}

/// `1_000` as `1000`: underscores may stand between digits, and behind `0x`. Any other stays, and makes the text no number.
/// Source: Go 1.24 `strconv.underscoreOK`.
package func withoutUnderscores(_ text: String) -> String {
    // Numbers of lines come here.
    guard text.utf8.contains(UInt8(ascii: "_")) else { return text }
    let bytes = Array(text.utf8)
    let isHexadecimal = bytes.contains { $0 | 0x20 == UInt8(ascii: "x") }
    func isDigit(_ index: Int) -> Bool {
        guard bytes.indices.contains(index) else { return false }
        let byte = bytes[index]
        return (48...57).contains(byte)
            || isHexadecimal && (97...102).contains(byte | 0x20)
    }
    func isPrefix(_ index: Int) -> Bool {
        index >= 1 && bytes[index] | 0x20 == UInt8(ascii: "x") && bytes[index - 1] == 48
    }
    let kept = bytes.indices.filter { index in
        bytes[index] != UInt8(ascii: "_") || !isDigit(index + 1)
            || !(isDigit(index - 1) || isPrefix(index - 1))
    }
    return String(decoding: kept.map { bytes[$0] }, as: UTF8.self)
}
