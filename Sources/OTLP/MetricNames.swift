/// Names and units of OpenTelemetry as Prometheus has them: `UnderscoreEscapingWithSuffixes`, the default of its OTLP
/// endpoint.
///
/// Source: Prometheus 3.14 `config.OTLPConfig`, prometheus/otlptranslator; OpenTelemetry specification 1.38
/// "Prometheus and OpenMetrics Compatibility".
package enum MetricNames {
    /// What a metric is, as far as its name says it.
    package enum Kind: Hashable, Sendable { case counter, gauge, other }

    /// The metric name of a family: words joined by underscores, then the unit, `_total` of a counter and `_ratio` of a
    /// gauge of unit 1. Nil where nothing is left of it.
    package static func metric(_ name: String, unit: String, _ kind: Kind) -> String? {
        var words = words(name)
        var (main, per) = suffixes(unit)
        if words.contains(main) { main = "" }
        // Nothing but "per_" is left of a unit that has no letter.
        per = per == "per_" ? "" : withoutLastUnderscore(per)
        if words.contains(per) { per = "" }
        if !per.isEmpty { main = withoutLastUnderscore(main) }
        words += [main, per].filter { !$0.isEmpty }
        if kind == .counter { words = words.filter { $0 != "total" } + ["total"] }
        if kind == .gauge, unit == "1" { words = words.filter { $0 != "ratio" } + ["ratio"] }
        let joined = words.joined(separator: "_")
        guard let first = joined.utf8.first else { return nil }
        return isDigit(first) ? "_" + joined : joined
    }

    /// A unit as metadata has it: `By/s` is `bytes_per_second`, `1` nothing.
    package static func unit(_ unit: String) -> String {
        let (main, per) = suffixes(unit)
        var text = main.isEmpty || per.isEmpty ? main + per : main + "_" + per
        if text.hasPrefix("_") { text.removeFirst() }
        return withoutLastUnderscore(text)
    }

    /// The label name of an attribute: what is no letter, digit or underscore becomes one, and `key` goes before a first
    /// digit or single underscore. Nil where only underscores would be left.
    package static func label(_ key: String) -> String? {
        guard !key.isEmpty else { return nil }
        var name = ""
        for scalar in key.unicodeScalars {
            name.unicodeScalars.append(isWordScalar(scalar) ? scalar : "_")
        }
        if let first = name.utf8.first, isDigit(first) {
            name = "key_" + name
        } else if name.hasPrefix("_"), !name.hasPrefix("__") {
            name = "key" + name
        }
        return name.utf8.allSatisfy { $0 == UInt8(ascii: "_") } ? nil : name
    }

    // MARK: Words

    /// The runs of characters that a metric name may have, but for underscores.
    private static func words(_ name: String) -> [String] {
        name.unicodeScalars.split { !isWordScalar($0) && $0 != ":" }.map { String($0) }
    }

    private static func isWordScalar(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9": true
        default: false
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    private static func withoutLastUnderscore(_ text: String) -> String {
        text.hasSuffix("_") ? String(text.dropLast()) : text
    }

    // MARK: Units

    /// What a unit adds to a name: the unit before the first `/`, and `per_` with the one behind it. What is in braces is
    /// a remark and no unit.
    private static func suffixes(_ unit: String) -> (main: String, per: String) {
        let parts = unit.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let main = parts.first.map(trimmed) ?? ""
        let per = parts.count > 1 ? trimmed(parts[1]) : ""
        let mainName = hasBraces(main) ? "" : units[main] ?? main
        let perName = hasBraces(per) ? "" : unitsPer[per] ?? per
        return (cleaned(mainName), perName.isEmpty ? "" : cleaned("per_" + perName))
    }

    private static func hasBraces(_ unit: String) -> Bool {
        unit.utf8.contains(UInt8(ascii: "{")) || unit.utf8.contains(UInt8(ascii: "}"))
    }

    private static func trimmed(_ text: Substring) -> String {
        let scalars = text.unicodeScalars
        guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
            let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
        else { return "" }
        return String(scalars[first...last])
    }

    /// With an underscore for each run of other characters, none at the start.
    private static func cleaned(_ unit: String) -> String {
        var text = ""
        for scalar in unit.unicodeScalars {
            if isWordScalar(scalar) || scalar == ":" {
                text.unicodeScalars.append(scalar)
            } else if !text.hasSuffix("_") {
                text += "_"
            }
        }
        return text.hasPrefix("_") ? String(text.dropFirst()) : text
    }

    /// Source: UCUM; prometheus/otlptranslator `unitMap`.
    private static let units = [
        "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
        "us": "microseconds", "ns": "nanoseconds",
        "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
        "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
        "TBy": "terabytes",
        "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
        "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
    ]

    private static let unitsPer = [
        "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month",
        "y": "year",
    ]
}
