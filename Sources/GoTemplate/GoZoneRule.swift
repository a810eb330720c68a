/// A time zone's rule for every year, as `TZ` has it: `CET-1CEST,M3.5.0,M10.5.0/3`.
///
/// Source: POSIX.1-2024 8.3, with the hours up to 167 of RFC 9636.
struct GoZoneRule: Sendable {
    /// A moment of each year.
    private enum Day: Sendable {
        /// 1 up to 365; February 29 has none.
        case withoutLeapDay(Int)
        /// 0 up to 365.
        case ofYear(Int)
        /// The `week`th such weekday (0 is Sunday) of a month; 5 is the last.
        case weekday(month: Int, week: Int, weekday: Int)
    }

    private struct Change: Sendable {
        var day: Day
        /// After the day's begin, as clocks show it until then.
        var seconds: Int
    }

    private let standard: GoOffset
    private let summer: (offset: GoOffset, begin: Change, end: Change)?

    /// Nil where `text` is no such rule.
    init?(_ text: String) {
        var reader = Reader(text)
        guard let standard = reader.offset() else { return nil }
        self.standard = standard
        guard !reader.isAtEnd else {
            summer = nil
            return
        }
        guard let name = reader.name() else { return nil }
        var seconds = standard.seconds + 3600
        if !reader.isNext(",") {
            guard let west = reader.time() else { return nil }
            seconds = -west
        }
        guard let begin = reader.change(), let end = reader.change(), reader.isAtEnd else {
            return nil
        }
        summer = (GoOffset(seconds: seconds, name: name), begin, end)
    }

    func period(at seconds: Int64) -> GoLocation.Period {
        guard let summer else { return .init(offset: standard) }
        // Of the year that clocks show, and those beside it, for changes at their ends.
        let year = GoTimeParts(
            GoInstant(seconds: seconds &+ Int64(standard.seconds), nanosecond: 0)
        )
        .year
        var changes: [(at: Int64, offset: GoOffset)] = []
        for year in (year - 1)...(year + 1) {
            let begin = Self.seconds(summer.begin, year) - Int64(standard.seconds)
            let end = Self.seconds(summer.end, year) - Int64(summer.offset.seconds)
            // An end at the time of a begin is no end: it is summer all the year.
            changes += [(begin, summer.offset), (end, standard)]
        }
        changes.sort {
            $0.at != $1.at ? $0.at < $1.at : $0.offset == standard && $1.offset != standard
        }
        let next = changes.firstIndex { $0.at > seconds } ?? changes.count
        guard next > 0 else { return .init(offset: standard) }
        return .init(
            offset: changes[next - 1].offset, start: changes[next - 1].at,
            end: next < changes.count ? changes[next].at : .max)
    }

    /// As clocks show it until then, counted as if they showed UTC.
    private static func seconds(_ change: Change, _ year: Int) -> Int64 {
        let first = GoTimeParts.days(year: year, month: 1, day: 1)
        let days: Int
        switch change.day {
        case .withoutLeapDay(let day):
            days = first + day - 1 + (GoTimeParts.isLeap(year) && day >= 60 ? 1 : 0)
        case .ofYear(let day): days = first + day
        case .weekday(let month, let week, let weekday):
            let begin = GoTimeParts.days(year: year, month: month, day: 1)
            var day = begin + (weekday - GoTimeParts.weekday(begin) + 7) % 7 + (week - 1) * 7
            if day >= begin + GoTimeParts.dayCount(year: year, month: month) { day -= 7 }
            days = day
        }
        return Int64(days) * 86_400 + Int64(change.seconds)
    }

    private struct Reader {
        private var rest: Substring.UTF8View

        init(_ text: String) { rest = Substring(text).utf8 }

        var isAtEnd: Bool { rest.isEmpty }

        func isNext(_ character: Unicode.Scalar) -> Bool { rest.first == UInt8(ascii: character) }

        mutating func skip(_ character: Unicode.Scalar) -> Bool {
            guard isNext(character) else { return false }
            rest.removeFirst()
            return true
        }

        /// Letters, or anything between angle brackets.
        mutating func name() -> String? {
            let isQuoted = skip("<")
            let name = rest.prefix {
                isQuoted ? $0 != UInt8(ascii: ">") : (97...122).contains($0 | 32)
            }
            rest = rest.dropFirst(name.count)
            guard !isQuoted || skip(">"), name.count >= 3 else { return nil }
            return String(decoding: name, as: UTF8.self)
        }

        /// A name, and hours west of Greenwich.
        mutating func offset() -> GoOffset? {
            guard let name = name(), let west = time() else { return nil }
            return GoOffset(seconds: -west, name: name)
        }

        mutating func number(_ range: ClosedRange<Int>) -> Int? {
            let digits = rest.prefix { (48...57).contains($0) }
            rest = rest.dropFirst(digits.count)
            guard digits.count <= 3, let value = Int(String(decoding: digits, as: UTF8.self)),
                range.contains(value)
            else { return nil }
            return value
        }

        /// `[+-]hh[:mm[:ss]]` in seconds.
        mutating func time() -> Int? {
            let isNegative = skip("-")
            if !isNegative { _ = skip("+") }
            guard var seconds = number(0...167).map({ $0 * 3600 }) else { return nil }
            for factor in [60, 1] {
                guard skip(":") else { break }
                guard let value = number(0...59) else { return nil }
                seconds += value * factor
            }
            return isNegative ? -seconds : seconds
        }

        /// `,Mm.w.d`, `,Jn` or `,n`, with `/time`.
        mutating func change() -> Change? {
            guard skip(",") else { return nil }
            let day: Day
            if skip("M") {
                guard let month = number(1...12), skip("."), let week = number(1...5), skip("."),
                    let weekday = number(0...6)
                else { return nil }
                day = .weekday(month: month, week: week, weekday: weekday)
            } else if skip("J") {
                guard let number = number(1...365) else { return nil }
                day = .withoutLeapDay(number)
            } else {
                guard let number = number(0...365) else { return nil }
                day = .ofYear(number)
            }
            guard skip("/") else { return Change(day: day, seconds: 7200) }
            return time().map { Change(day: day, seconds: $0) }
        }
    }
}
