/// A span of time as Prometheus writes it: `1h30m`, `15s`, `250ms`, `0`.
///
/// Units descend and appear once each: y (365 d), w, d, h, m, s, ms. Source: Prometheus 3.14 `model.ParseDuration`.
package struct PrometheusDuration: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Never negative.
    package var milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// Nil where `text` is not a duration or exceeds `Int64` milliseconds.
    package init?(_ text: String) {
        if text == "0" {
            self.init(milliseconds: 0)
            return
        }
        var total: Int64 = 0
        var rest = Substring(text).utf8
        var nextUnit = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { (48...57).contains($0) }
            guard !digits.isEmpty, let number = Int64(Substring(digits)) else { return nil }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { (97...122).contains($0) }
            rest = rest.dropFirst(letters.count)
            guard
                let unit = Self.units[nextUnit...].firstIndex(where: {
                    $0.name.utf8.elementsEqual(letters)
                })
            else { return nil }
            nextUnit = unit + 1
            let (part, overflow) = number.multipliedReportingOverflow(by: Self.units[unit].size)
            let (sum, sumOverflow) = total.addingReportingOverflow(part)
            guard !overflow, !sumOverflow else { return nil }
            total = sum
        }
        self.init(milliseconds: total)
    }

    /// The shortest form that parses back to the same value. Source: Prometheus 3.14 `model.Duration.String`.
    package var description: String {
        guard milliseconds != 0 else { return "0s" }
        var rest = milliseconds
        var text = ""
        for (index, unit) in Self.units.enumerated() {
            // Years and weeks appear only where nothing remains after them.
            if index < 2, rest % unit.size != 0 { continue }
            let count = rest / unit.size
            if count > 0 { text += "\(count)\(unit.name)" }
            rest %= unit.size
        }
        return text
    }

    package static func < (a: Self, b: Self) -> Bool { a.milliseconds < b.milliseconds }

    private static let units: [(name: String, size: Int64)] = [
        ("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000),
        ("m", 60_000), ("s", 1000), ("ms", 1),
    ]
}
