extension GoTime {
    /// Reads a time by its layout; times without a zone are of `location`. Nil where the text is not of the layout. A zone's
    /// name that `location` has not counts as UTC, `GMT+3` but for its hours. Source: Go 1.24 `time.ParseInLocation`.
    package static func parse(
        _ layout: String, _ text: String, in location: GoLocation = .utc
    ) -> GoInstant? {
        var reader = GoTimeReader(text)
        let pieces = GoTimeLayout(layout).pieces
        for (index, piece) in pieces.enumerated() {
            let next = index + 1 < pieces.count ? pieces[index + 1] : nil
            guard reader.read(piece, next: next) else { return nil }
        }
        return reader.instant(in: location)
    }
}

/// The parts of a time as they are found in a text.
private struct GoTimeReader {
    private let bytes: [UInt8]
    private var at = 0
    private var year = 0
    private var month: Int?
    private var day: Int?
    private var dayOfYear: Int?
    private var hour = 0
    private var minute = 0
    private var second = 0
    private var nanosecond = 0
    /// Whether the hour is one of twelve, and after noon.
    private var isAfternoon: Bool?
    private var isUTC = false
    private var zoneSeconds: Int?
    private var zoneName = ""

    init(_ text: String) { bytes = Array(text.utf8) }

    // MARK: pieces

    mutating func read(_ piece: GoTimeLayout.Piece, next: GoTimeLayout.Piece?) -> Bool {
        switch piece {
        case .text(let text): return skip(text)
        case .longYear: return set(\.year, number(digits: 4...4))
        case .twoDigitYear:
            guard let value = number(digits: 2...2) else { return false }
            year = value >= 69 ? 1900 + value : 2000 + value
            return true
        case .longMonth: return set(\.month, name(GoTimeLayout.months, length: nil))
        case .shortMonth: return set(\.month, name(GoTimeLayout.months, length: 3))
        case .monthNumber: return set(\.month, number(digits: 1...2), in: 1...12)
        case .twoDigitMonth: return set(\.month, number(digits: 2...2), in: 1...12)
        case .longWeekday: return name(GoTimeLayout.weekdays, length: nil) != nil
        case .shortWeekday: return name(GoTimeLayout.weekdays, length: 3) != nil
        case .day, .spacedDay: return set(\.day, spaced(digits: 1...2))
        case .twoDigitDay: return set(\.day, number(digits: 2...2))
        case .spacedDayOfYear: return set(\.dayOfYear, spaced(digits: 1...3))
        case .threeDigitDayOfYear: return set(\.dayOfYear, number(digits: 3...3))
        case .hour: return set(\.hour, number(digits: 1...2), in: 0...23)
        case .twelveHour: return set(\.hour, number(digits: 1...2), in: 0...12)
        case .twoDigitTwelveHour: return set(\.hour, number(digits: 2...2), in: 0...12)
        case .minute: return set(\.minute, number(digits: 1...2), in: 0...59)
        case .twoDigitMinute: return set(\.minute, number(digits: 2...2), in: 0...59)
        case .second, .twoDigitSecond:
            let digits = piece == .second ? 1...2 : 2...2
            guard set(\.second, number(digits: digits), in: 0...59) else { return false }
            return impliedFraction(next)
        case .upperHalf, .lowerHalf: return half(isUpper: piece == .upperHalf)
        case .zoneName: return readZoneName()
        case .zone(let isZulu, let hasColons, let hasMinutes, let hasSeconds):
            if isZulu, at < bytes.count, bytes[at] == UInt8(ascii: "Z") {
                at += 1
                isUTC = true
                return true
            }
            return zone(hasColons, hasMinutes, hasSeconds)
        case .fraction(_, let count, let isTrimmed): return fraction(count, isTrimmed)
        }
    }

    private mutating func set(
        _ path: WritableKeyPath<Self, Int>, _ value: Int?, in range: ClosedRange<Int>? = nil
    ) -> Bool {
        guard let value, range?.contains(value) != false else { return false }
        self[keyPath: path] = value
        return true
    }

    private mutating func set(
        _ path: WritableKeyPath<Self, Int?>, _ value: Int?, in range: ClosedRange<Int>? = nil
    ) -> Bool {
        guard let value, range?.contains(value) != false else { return false }
        self[keyPath: path] = value
        return true
    }

    /// A space in a layout stands for any number of them.
    private mutating func skip(_ text: [UInt8]) -> Bool {
        var index = 0
        while index < text.count {
            if text[index] == 32 {
                guard at >= bytes.count || bytes[at] == 32 else { return false }
                while index < text.count, text[index] == 32 { index += 1 }
                while at < bytes.count, bytes[at] == 32 { at += 1 }
                continue
            }
            guard at < bytes.count, bytes[at] == text[index] else { return false }
            at += 1
            index += 1
        }
        return true
    }

    private mutating func number(digits: ClosedRange<Int>) -> Int? {
        var value = 0
        var count = 0
        while count < digits.upperBound, at < bytes.count, (48...57).contains(bytes[at]) {
            value = value * 10 + Int(bytes[at] - 48)
            at += 1
            count += 1
        }
        return count >= digits.lowerBound ? value : nil
    }

    private mutating func spaced(digits: ClosedRange<Int>) -> Int? {
        while at < bytes.count, bytes[at] == 32 { at += 1 }
        return number(digits: digits)
    }

    /// The number of a name, from 1; its case does not matter.
    private mutating func name(_ names: [String], length: Int?) -> Int? {
        for (index, name) in names.enumerated() {
            let wanted = Array(length.map { String(name.prefix($0)) } ?? name).map {
                $0.asciiValue ?? 0
            }
            guard bytes.count - at >= wanted.count,
                zip(wanted, bytes[at...]).allSatisfy({ $0 | 32 == $1 | 32 })
            else { continue }
            at += wanted.count
            return index + 1
        }
        return nil
    }

    private mutating func half(isUpper: Bool) -> Bool {
        guard at + 2 <= bytes.count else { return false }
        switch String(decoding: bytes[at..<(at + 2)], as: UTF8.self) {
        case isUpper ? "PM" : "pm": isAfternoon = true
        case isUpper ? "AM" : "am": isAfternoon = false
        default: return false
        }
        at += 2
        return true
    }

    // MARK: fractions

    /// Seconds may have a fraction that the layout does not mention.
    private mutating func impliedFraction(_ next: GoTimeLayout.Piece?) -> Bool {
        if case .fraction? = next { return true }
        guard at + 1 < bytes.count, bytes[at] == 46 || bytes[at] == 44,
            (48...57).contains(bytes[at + 1])
        else { return true }
        let count = bytes[(at + 1)...].prefix { (48...57).contains($0) }.count
        return fraction(count, false)
    }

    private mutating func fraction(_ count: Int, _ isTrimmed: Bool) -> Bool {
        guard at < bytes.count, bytes[at] == 46 || bytes[at] == 44 else { return isTrimmed }
        let digits = bytes[(at + 1)...].prefix { (48...57).contains($0) }
        if isTrimmed {
            // Without a digit the point belongs to what comes next.
            guard !digits.isEmpty else { return true }
        } else {
            guard digits.count >= count else { return false }
        }
        let taken = digits.prefix(isTrimmed ? digits.count : count)
        var value = 0
        for index in 0..<9 {
            let digit = taken.dropFirst(index).first.map { Int($0 - 48) } ?? 0
            value = value * 10 + digit
        }
        nanosecond = value
        at += 1 + taken.count
        return true
    }

    // MARK: zones

    private mutating func zone(
        _ hasColons: Bool, _ hasMinutes: Bool, _ hasSeconds: Bool
    ) -> Bool {
        guard at < bytes.count, bytes[at] == 43 || bytes[at] == 45 else { return false }
        let isNegative = bytes[at] == 45
        at += 1
        guard let hours = number(digits: 2...2), hours <= 24 else { return false }
        var seconds = hours * 3600
        for (isThere, factor) in [(hasMinutes, 60), (hasSeconds, 1)] where isThere {
            if hasColons {
                guard at < bytes.count, bytes[at] == 58 else { return false }
                at += 1
            }
            guard let value = number(digits: 2...2), value <= 60 else { return false }
            seconds += value * factor
        }
        zoneSeconds = isNegative ? -seconds : seconds
        return true
    }

    /// `UTC`, or another abbreviation. Source: Go 1.24 `parseTimeZone`.
    private mutating func readZoneName() -> Bool {
        let rest = bytes[at...]
        if rest.starts(with: "UTC".utf8) {
            isUTC = true
            at += 3
            return true
        }
        guard let count = Self.zoneNameLength(rest) else { return false }
        zoneName = String(decoding: rest.prefix(count), as: UTF8.self)
        at += count
        return true
    }

    private static func zoneNameLength(_ rest: ArraySlice<UInt8>) -> Int? {
        guard rest.count >= 3, let first = rest.first else { return nil }
        // The only ones with small letters.
        for name in ["ChST", "MeST"] where rest.starts(with: name.utf8) { return 4 }
        if rest.starts(with: "GMT".utf8) {
            return 3 + (hoursLength(rest.dropFirst(3)) ?? 0)
        }
        if first == 43 || first == 45 { return hoursLength(rest) }
        let letters = rest.prefix(6).prefix { (65...90).contains($0) }
        let endsInT = letters.last == UInt8(ascii: "T")
        switch letters.count {
        case 3: return 3
        case 4 where endsInT || letters.elementsEqual("WITA".utf8): return 4
        case 5 where endsInT: return 5
        default: return nil
        }
    }

    /// Of `+3` or `-11`, up to 23.
    private static func hoursLength(_ text: ArraySlice<UInt8>) -> Int? {
        guard let sign = text.first, sign == 43 || sign == 45 else { return nil }
        let digits = text.dropFirst().prefix { (48...57).contains($0) }
        guard let hours = Int(String(decoding: digits, as: UTF8.self)), hours <= 23 else {
            return nil
        }
        return 1 + digits.count
    }

    // MARK: the instant

    func instant(in location: GoLocation) -> GoInstant? {
        guard at == bytes.count, let shown = shown() else { return nil }
        if isUTC { return shown }
        if let zoneSeconds {
            var result = shown
            result.seconds -= Int64(zoneSeconds)
            let known = location.period(at: result.seconds).offset
            let isKnown =
                known.seconds == zoneSeconds && (zoneName.isEmpty || known.name == zoneName)
            result.offset = isKnown ? known : GoOffset(seconds: zoneSeconds, name: zoneName)
            return result
        }
        guard !zoneName.isEmpty else { return location.instant(shown: shown) }
        var result = shown
        if let seconds = location.seconds(ofZone: zoneName, shown: shown.seconds) {
            result.seconds -= Int64(seconds)
            return location.instant(result)
        }
        let hours = zoneName.hasPrefix("GMT") ? Int(zoneName.dropFirst(3)) ?? 0 : 0
        result.seconds -= Int64(hours * 3600)
        result.offset = GoOffset(seconds: hours * 3600, name: zoneName)
        return result
    }

    /// What clocks show, as if they showed UTC.
    private func shown() -> GoInstant? {
        var hour = self.hour
        if isAfternoon == true, hour < 12 { hour += 12 }
        if isAfternoon == false, hour == 12 { hour = 0 }
        var days: Int
        if let dayOfYear {
            guard (1...(GoTimeParts.isLeap(year) ? 366 : 365)).contains(dayOfYear) else {
                return nil
            }
            days = GoTimeParts.days(year: year, month: 1, day: 1) + dayOfYear - 1
            let date = GoTimeParts(GoInstant(seconds: Int64(days) * 86_400, nanosecond: 0))
            guard month == nil || month == date.month, day == nil || day == date.day else {
                return nil
            }
        } else {
            let (month, day) = (self.month ?? 1, self.day ?? 1)
            guard (1...GoTimeParts.dayCount(year: year, month: month)).contains(day) else {
                return nil
            }
            days = GoTimeParts.days(year: year, month: month, day: day)
        }
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        return GoInstant(seconds: Int64(seconds), nanosecond: nanosecond)
    }
}
