/// Times and durations as Go prints, formats and reads them.
package enum GoTime {
    static let rfc3339Nano = "2006-01-02T15:04:05.999999999Z07:00"

    /// `time.Time.String`: `2015-06-23 13:19:44.128 +0000 UTC`.
    static func text(_ time: GoInstant) -> String {
        format(time, "2006-01-02 15:04:05.999999999 -0700 MST")
    }

    /// `time.Duration.String`: `1h0m0.5s`, `1.5ms`, `0s`.
    static func duration(_ nanoseconds: Int64) -> String {
        guard nanoseconds != 0 else { return "0s" }
        let sign = nanoseconds < 0 ? "-" : ""
        let size = nanoseconds.magnitude
        if size < 1_000_000_000 {
            let (unit, factor): (String, UInt64) =
                size < 1000 ? ("ns", 1) : size < 1_000_000 ? ("µs", 1000) : ("ms", 1_000_000)
            return sign + decimal(size, per: factor) + unit
        }
        let seconds = size / 1_000_000_000
        var text = decimal(size % 60_000_000_000, per: 1_000_000_000) + "s"
        if seconds >= 60 { text = "\(seconds / 60 % 60)m" + text }
        if seconds >= 3600 { text = "\(seconds / 3600)h" + text }
        return sign + text
    }

    private static func decimal(_ value: UInt64, per factor: UInt64) -> String {
        guard value % factor != 0 else { return "\(value / factor)" }
        var fraction = String(String(factor + value % factor).dropFirst())
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(value / factor).\(fraction)"
    }

    /// The methods of `time.Time` that templates use.
    static func methods(_ time: GoInstant) -> [String: TemplateFunction] {
        [
            "Format": TemplateFunction(1...1) { (arguments) throws(GoTemplateError) in
                .string(format(time, try arguments[0].requireString()))
            },
            "Unix": TemplateFunction(0...0) { _ in .int(Int(time.seconds)) },
            "UnixMilli": TemplateFunction(0...0) { _ in .int(Int(time.unixMilliseconds)) },
            "UnixNano": TemplateFunction(0...0) { _ in .int(Int(time.unixNanoseconds)) },
            "Nanosecond": TemplateFunction(0...0) { _ in .int(time.nanosecond) },
            "IsZero": TemplateFunction(0...0) { _ in .bool(time.inUTC == .zero) },
            "UTC": TemplateFunction(0...0) { _ in .instant(time.inUTC) },
            // The server's zone is UTC.
            "Local": TemplateFunction(0...0) { _ in .instant(time.inUTC) },
            "String": TemplateFunction(0...0) { _ in .string(text(time)) },
            "Year": TemplateFunction(0...0) { _ in .int(GoTimeParts(time).year) },
            "Month": TemplateFunction(0...0) { _ in
                .string(GoTimeLayout.months[GoTimeParts(time).month - 1])
            },
            "Day": TemplateFunction(0...0) { _ in .int(GoTimeParts(time).day) },
            "YearDay": TemplateFunction(0...0) { _ in .int(GoTimeParts(time).dayOfYear) },
            "Hour": TemplateFunction(0...0) { _ in .int(GoTimeParts(time).hour) },
            "Minute": TemplateFunction(0...0) { _ in .int(GoTimeParts(time).minute) },
            "Second": TemplateFunction(0...0) { _ in .int(GoTimeParts(time).second) },
            "Weekday": TemplateFunction(0...0) { _ in
                .string(GoTimeLayout.weekdays[GoTimeParts(time).weekday])
            },
        ]
    }

    /// The methods of `time.Duration` that templates use.
    static func methods(durationNanoseconds nanoseconds: Int64) -> [String: TemplateFunction] {
        [
            "Seconds": TemplateFunction(0...0) { _ in .float(Double(nanoseconds) / 1e9) },
            "Minutes": TemplateFunction(0...0) { _ in .float(Double(nanoseconds) / 6e10) },
            "Hours": TemplateFunction(0...0) { _ in .float(Double(nanoseconds) / 3.6e12) },
            "Milliseconds": TemplateFunction(0...0) { _ in .int(Int(nanoseconds / 1_000_000)) },
            "String": TemplateFunction(0...0) { _ in .string(duration(nanoseconds)) },
        ]
    }
}
