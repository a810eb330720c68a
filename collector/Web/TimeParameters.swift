package import Model

/// Times and durations as the Prometheus and Loki APIs take them in parameters.
package enum TimeParameters {
    /// Unix seconds as a float, or RFC 3339 with up to nanoseconds; nil otherwise.
    ///
    /// Rounded to a millisecond. Source: Prometheus 3.14 `parseTime`.
    package static func milliseconds(_ text: String) -> TimestampMS? {
        if let seconds = float(text) {
            let milliseconds = (seconds * 1000).rounded()
            guard let value = Int64(exactly: milliseconds) else { return nil }
            return TimestampMS(value)
        }
        if let nanoseconds = RFC3339.parse(text) { return nanoseconds.milliseconds }
        switch text {
        // The ends of time as Prometheus' clients write them, for "from the beginning" and "to the end".
        case "-292273086-05-16T16:47:06Z": return TimestampMS(-9_223_372_036_854_774_000)
        case "292277025-08-18T07:12:54.999999999Z": return TimestampMS(9_223_372_036_854_774_999)
        default: return nil
        }
    }

    /// Float seconds or a Prometheus duration (`1m30s`, also negative); nil otherwise.
    package static func durationMilliseconds(_ text: String) -> Int64? {
        if let seconds = float(text) { return Int64(exactly: (seconds * 1000).rounded()) }
        if text.hasPrefix("-") {
            return PrometheusDuration(String(text.dropFirst())).map { -$0.milliseconds }
        }
        return PrometheusDuration(text)?.milliseconds
    }

    /// Float seconds or a Prometheus duration, in nanoseconds; nil otherwise. Source: Loki 3.6 `parseSecondsOrDuration`.
    package static func durationNanoseconds(_ text: String) -> Int64? {
        if let seconds = float(text) { return Int64(exactly: (seconds * 1e9).rounded()) }
        guard let duration = PrometheusDuration(text) else { return nil }
        let (nanoseconds, isOverflow) = duration.milliseconds.multipliedReportingOverflow(
            by: 1_000_000)
        return isOverflow ? nil : nanoseconds
    }

    /// Nanoseconds as an integer (seconds where it has at most ten digits), float seconds, rounded to milliseconds, or
    /// RFC 3339.
    ///
    /// Source: Loki's HTTP API documentation, "Timestamps".
    package static func nanoseconds(_ text: String) -> TimestampNS? {
        if text.contains("."), let seconds = float(text) {
            // A float has no more digits of today's seconds than these.
            let whole = seconds.rounded(.towardZero)
            let rest = ((seconds - whole) * 1000).rounded() / 1000 * 1e9
            guard let value = Int64(exactly: whole),
                !value.multipliedReportingOverflow(by: 1_000_000_000).overflow
            else { return nil }
            return TimestampNS(value * 1_000_000_000).advanced(byNanoseconds: Int64(rest))
        }
        if let number = Int64(text) {
            guard text.utf8.count <= 10 else { return TimestampNS(number) }
            return TimestampNS(number * 1_000_000_000)
        }
        return RFC3339.parse(text)
    }

    /// A finite number as Go's `ParseFloat` takes it, without hexadecimal and underscores.
    private static func float(_ text: String) -> Double? {
        guard !text.isEmpty,
            text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }),
            let value = Double(text), value.isFinite
        else { return nil }
        return value
    }
}
