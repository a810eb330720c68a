internal import Model

/// Times and durations as Go prints and formats them, in UTC.
enum GoTime {
    private struct Parts {
        var year, month, day, hour, minute, second, nanosecond, weekday: Int

        init(_ time: TimestampNS) {
            let text = Array(
                RFC3339.text(time).utf8)
            let number = { (range: Range<Int>) in
                Int(String(decoding: text[range], as: UTF8.self)) ?? 0
            }
            year = number(0..<4)
            month = number(5..<7)
            day = number(8..<10)
            hour = number(11..<13)
            minute = number(14..<16)
            second = number(17..<19)
            nanosecond = Int(floorRest(time.rawValue))
            let seconds = wholeSeconds(time.rawValue)
            let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
            // 1970-01-01 was a Thursday.
            weekday = Int(((days + 4) % 7 + 7) % 7)
        }
    }

    /// Nanoseconds past the whole second, never negative.
    private static func floorRest(_ nanoseconds: Int64) -> Int64 {
        let rest = nanoseconds % 1_000_000_000
        return rest < 0 ? rest + 1_000_000_000 : rest
    }

    /// Rounded down.
    private static func wholeSeconds(_ nanoseconds: Int64) -> Int64 {
        nanoseconds / 1_000_000_000 - (nanoseconds % 1_000_000_000 < 0 ? 1 : 0)
    }

    /// `time.Time.String`: `2015-06-23 13:19:44.128 +0000 UTC`.
    static func text(_ time: TimestampNS) -> String {
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

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ]
    private static let weekdays = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]

    /// Go's reference-time layout applied to `time` in UTC. Source: Go 1.23 package time, `Time.Format`.
    static func format(_ time: TimestampNS, _ layout: String) -> String {
        let parts = Parts(time)
        var output = ""
        var rest = Substring(layout)
        while !rest.isEmpty {
            if let element = elements.first(where: { rest.hasPrefix($0) }) {
                output += self.element(element, parts)
                rest = rest.dropFirst(element.count)
            } else if let (text, count) = fraction(rest, parts) {
                output += text
                rest = rest.dropFirst(count)
            } else {
                output.append(rest.removeFirst())
            }
        }
        return output
    }

    /// Longer ones before their prefixes.
    private static let elements = [
        "January", "Jan", "Monday", "Mon", "MST", "2006", "Z07:00", "Z0700", "-07:00", "-0700",
        "-07", "01", "02", "03", "04", "05", "06", "15", "PM", "pm", "_2", "1", "2", "3", "4", "5",
    ]

    private static func element(_ element: String, _ parts: Parts) -> String {
        let twelve = parts.hour % 12 == 0 ? 12 : parts.hour % 12
        let two = { (value: Int) in value < 10 ? "0\(value)" : "\(value)" }
        switch element {
        case "January": return months[parts.month - 1]
        case "Jan": return String(months[parts.month - 1].prefix(3))
        case "Monday": return weekdays[parts.weekday]
        case "Mon": return String(weekdays[parts.weekday].prefix(3))
        case "MST": return "UTC"
        case "2006":
            return String(repeating: "0", count: max(0, 4 - "\(parts.year)".count))
                + "\(parts.year)"
        case "Z07:00", "Z0700": return "Z"
        case "-07:00": return "+00:00"
        case "-0700": return "+0000"
        case "-07": return "+00"
        case "01": return two(parts.month)
        case "02": return two(parts.day)
        case "03": return two(twelve)
        case "04": return two(parts.minute)
        case "05": return two(parts.second)
        case "06": return two(parts.year % 100)
        case "15": return two(parts.hour)
        case "PM": return parts.hour >= 12 ? "PM" : "AM"
        case "pm": return parts.hour >= 12 ? "pm" : "am"
        case "_2": return parts.day < 10 ? " \(parts.day)" : "\(parts.day)"
        case "1": return "\(parts.month)"
        case "2": return "\(parts.day)"
        case "3": return "\(twelve)"
        case "4": return "\(parts.minute)"
        case "5": return "\(parts.second)"
        default: return element
        }
    }

    /// `.000` keeps its digits, `.999` drops trailing zeros; nil where `layout` begins with neither.
    private static func fraction(
        _ layout: Substring, _ parts: Parts
    ) -> (text: String, count: Int)? {
        guard let first = layout.first, first == "." || first == ",",
            let digit = layout.dropFirst().first, digit == "0" || digit == "9"
        else { return nil }
        let count = layout.dropFirst().prefix { $0 == digit }.count
        guard count <= 9, layout.dropFirst(count + 1).first?.isNumber != true else { return nil }
        var digits = String(String(1_000_000_000 + parts.nanosecond).dropFirst().prefix(count))
        if digit == "9" { while digits.hasSuffix("0") { digits.removeLast() } }
        return (digits.isEmpty ? "" : "\(first)\(digits)", count + 1)
    }

    /// The methods of `time.Time` that templates use.
    static func methods(_ time: TimestampNS) -> [String: TemplateFunction] {
        [
            "Format": TemplateFunction(1...1) { (arguments) throws(GoTemplateError) in
                .string(format(time, try arguments[0].requireString()))
            },
            "Unix": TemplateFunction(0...0) { _ in
                .int(Int(wholeSeconds(time.rawValue)))
            },
            "UTC": TemplateFunction(0...0) { _ in .time(time) },
            "String": TemplateFunction(0...0) { _ in .string(text(time)) },
            "Year": TemplateFunction(0...0) { _ in .int(Parts(time).year) },
            "Day": TemplateFunction(0...0) { _ in .int(Parts(time).day) },
            "Hour": TemplateFunction(0...0) { _ in .int(Parts(time).hour) },
            "Minute": TemplateFunction(0...0) { _ in .int(Parts(time).minute) },
            "Weekday": TemplateFunction(0...0) { _ in .string(weekdays[Parts(time).weekday]) },
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
