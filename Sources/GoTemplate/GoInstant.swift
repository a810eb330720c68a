package import Model

/// An instant of any year that four digits can write, and more, and what clocks show then: Go's `time.Time`.
package struct GoInstant: Hashable, Sendable {
    /// Since 1970, rounded down.
    package var seconds: Int64
    /// 0 up to 999,999,999.
    package var nanosecond: Int
    package var offset = GoOffset.utc

    package init(seconds: Int64, nanosecond: Int) {
        self.seconds = seconds
        self.nanosecond = nanosecond
    }

    package init(_ time: TimestampNS) { self.init(nanoseconds: time.rawValue) }

    /// Since 1970.
    package init(nanoseconds: Int64) {
        let rest = nanoseconds % 1_000_000_000
        seconds = nanoseconds / 1_000_000_000 - (rest < 0 ? 1 : 0)
        nanosecond = Int(rest < 0 ? rest + 1_000_000_000 : rest)
    }

    /// Go's zero time, 0001-01-01.
    package static let zero = GoInstant(seconds: -62_135_596_800, nanosecond: 0)

    /// Since 1970, wrapping around as in Go.
    package var unixMilliseconds: Int64 { seconds &* 1000 &+ Int64(nanosecond / 1_000_000) }

    /// Since 1970, wrapping around as in Go for years before 1678 and after 2262.
    package var unixNanoseconds: Int64 { seconds &* 1_000_000_000 &+ Int64(nanosecond) }

    /// The same instant in UTC.
    package var inUTC: GoInstant { GoInstant(seconds: seconds, nanosecond: nanosecond) }

    /// The time from `other` to this one, at the ends of its range where it does not fit.
    func nanoseconds(since other: GoInstant) -> Int64 {
        let (difference, overflow) = seconds.subtractingReportingOverflow(other.seconds)
        let (whole, tooLarge) = difference.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = whole.addingReportingOverflow(Int64(nanosecond - other.nanosecond))
        guard overflow || tooLarge || carry else { return sum }
        return seconds < other.seconds ? .min : .max
    }
}

/// Date and time of an instant as clocks show it, by the Gregorian calendar.
struct GoTimeParts {
    var year: Int
    var month: Int
    var day: Int
    /// From 1.
    var dayOfYear: Int
    var hour: Int
    var minute: Int
    var second: Int
    var nanosecond: Int
    /// 0 is Sunday.
    var weekday: Int
    var offset: GoOffset

    init(_ time: GoInstant) {
        let shown = time.seconds &+ Int64(time.offset.seconds)
        let days = Int(floorDividing(shown, 86_400))
        let rest = Int((shown % 86_400 + 86_400) % 86_400)
        (year, month, day) = Self.date(days)
        dayOfYear = days - Self.days(year: year, month: 1, day: 1) + 1
        hour = rest / 3600
        minute = rest / 60 % 60
        second = rest % 60
        nanosecond = time.nanosecond
        weekday = Self.weekday(days)
        offset = time.offset
    }

    /// 1970-01-01 was a Thursday.
    static func weekday(_ days: Int) -> Int { ((days + 4) % 7 + 7) % 7 }

    static func isLeap(_ year: Int) -> Bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    static func dayCount(year: Int, month: Int) -> Int {
        days(year: month == 12 ? year + 1 : year, month: month == 12 ? 1 : month + 1, day: 1)
            - days(year: year, month: month, day: 1)
    }

    /// Days from 1970-01-01 to a date. The months of a year are counted from March, so that leap days come last.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let era = Int(floorDividing(Int64(shifted), 400))
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func date(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = Int(floorDividing(Int64(shifted), 146_097))
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month,
            dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        )
    }
}

func floorDividing(_ value: Int64, _ divisor: Int64) -> Int64 {
    value / divisor - (value % divisor < 0 ? 1 : 0)
}
