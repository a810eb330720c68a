internal import Model
internal import YAMLDocument

/// Times in which routes are muted or active: any of the intervals. Source: Alertmanager 0.34 timeinterval.
package struct NamedTimeInterval: Hashable, Sendable {
    /// One interval: every field that is not empty must hold.
    package struct Interval: Hashable, Sendable {
        /// Minutes of the day, the end exclusive; 24:00 is 1440.
        package var minutes: [Range<Int>]
        /// 0 is Sunday; both ends inclusive.
        package var weekdays: [ClosedRange<Int>]
        /// As written, `begin` and `end` inclusive; negative counts from the month's end, -1 is its last day.
        package var daysOfMonth: [DaySpan]
        /// 1 is January; both ends inclusive.
        package var months: [ClosedRange<Int>]
        /// Both ends inclusive.
        package var years: [ClosedRange<Int>]
        /// An IANA time zone; empty is UTC.
        package var location: String
    }

    /// Days of a month, both ends inclusive, each 1...31 or -31...-1.
    package struct DaySpan: Hashable, Sendable {
        package var begin: Int
        package var end: Int
    }

    package var name: String
    package var intervals: [Interval]

    private static let weekdays = [
        "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
    ]
    private static let months = [
        "january", "february", "march", "april", "may", "june", "july", "august", "september",
        "october", "november", "december",
    ]

    init(_ entry: inout YAMLMapping) throws(YAMLError) {
        name = try entry.requiredString("name")
        intervals = []
        for var item in try entry.mappings("time_intervals") {
            let interval = Interval(
                minutes: try Self.minutes(&item),
                weekdays: try Self.ranges(&item, "weekdays", 0...6, Self.weekdays, first: 0),
                daysOfMonth: try Self.days(&item),
                months: try Self.ranges(&item, "months", 1...12, Self.months, first: 1),
                years: try Self.ranges(&item, "years", 1...9999, [], first: 0),
                location: try item.string("location", default: ""))
            try item.finish()
            intervals.append(interval)
        }
        try entry.finish()
    }

    private static func minutes(_ item: inout YAMLMapping) throws(YAMLError) -> [Range<Int>] {
        var found: [Range<Int>] = []
        for var time in try item.mappings("times") {
            let start = try minute(&time, "start_time")
            let end = try minute(&time, "end_time")
            guard start < end else {
                throw time.error(at: "end_time", "expected a time after `start_time`")
            }
            try time.finish()
            found.append(start..<end)
        }
        return found
    }

    private static func minute(
        _ time: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> Int {
        let parts = try time.requiredString(key).split(
            separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == 2, parts[1].count == 2, let hour = Int(parts[0]),
            let minute = Int(parts[1]), (0...24).contains(hour), (0...59).contains(minute),
            hour < 24 || minute == 0
        else { throw time.error(at: key, "expected a time such as 09:30, up to 24:00") }
        return hour * 60 + minute
    }

    private static func bounds(_ text: String) -> (String, String)? {
        let parts = text.lowercased().split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let begin = parts.first, let end = parts.last else {
            return nil
        }
        return (String(begin), String(end))
    }

    private static func ranges(
        _ item: inout YAMLMapping, _ key: String, _ valid: ClosedRange<Int>, _ names: [String],
        first: Int
    ) throws(YAMLError) -> [ClosedRange<Int>] {
        var found: [ClosedRange<Int>] = []
        for text in try item.strings(key) {
            let number = { (word: String) in
                names.firstIndex(of: word).map { $0 + first }
                    ?? (key == "weekdays" ? nil : Int(word))
            }
            guard let (begin, end) = bounds(text), let low = number(begin),
                let high = number(end), low <= high, valid.contains(low), valid.contains(high)
            else {
                let example = names.isEmpty ? "2026:2030" : "\(names[1]):\(names[5])"
                throw item.error(
                    at: key, "expected one, or a range such as \(example), found `\(text)`")
            }
            found.append(low...high)
        }
        return found
    }

    private static func days(_ item: inout YAMLMapping) throws(YAMLError) -> [DaySpan] {
        var found: [DaySpan] = []
        for text in try item.strings("days_of_month") {
            guard let (first, last) = bounds(text), let begin = Int(first), let end = Int(last),
                (1...31).contains(abs(begin)), (1...31).contains(abs(end)),
                (begin < 0) != (end < 0) ? begin > 0 : begin <= end
            else {
                throw item.error(
                    at: "days_of_month",
                    "expected a day, or a range such as 1:15 or -3:-1, found `\(text)`")
            }
            found.append(DaySpan(begin: begin, end: end))
        }
        return found
    }
}
