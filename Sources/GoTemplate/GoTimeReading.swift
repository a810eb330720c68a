extension GoTime {
    /// Reads a time by its layout; times without a zone are UTC. Nil where the text is not of the layout. Zones by name
    /// other than UTC count as UTC, as Go has it for abbreviations it does not know. Source: Go 1.24 `time.Parse`.
    package static func parse(_ layout: String, _ text: String) -> GoInstant? {
        var reader = GoTimeReader(text)
        let pieces = GoTimeLayout(layout).pieces
        for (index, piece) in pieces.enumerated() {
            let next = index + 1 < pieces.count ? pieces[index + 1] : nil
            guard reader.read(piece, next: next) else { return nil }
        }
        return reader.instant()
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
    private var zoneSeconds = 0

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
        case .zoneName: return zoneName()
        case .zone(let isZulu, let hasColons, let hasMinutes, let hasSeconds):
            if isZulu, at < bytes.count, bytes[at] == UInt8(ascii: "Z") {
                at += 1
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

    /// `UTC`, or another abbreviation of three to five capital letters.
    private mutating func zoneName() -> Bool {
        let letters = bytes[at...].prefix { (65...90).contains($0) }
        guard (3...5).contains(letters.count) else { return false }
        at += letters.count
        return true
    }

    // MARK: the instant

    func instant() -> GoInstant? {
        guard at == bytes.count else { return nil }
        var hour = self.hour
        if isAfternoon == true, hour < 12 { hour += 12 }
        if isAfternoon == false, hour == 12 { hour = 0 }
        var days: Int
        if let dayOfYear {
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            guard (1...(isLeap ? 366 : 365)).contains(dayOfYear) else { return nil }
            days = GoTimeParts.days(year: year, month: 1, day: 1) + dayOfYear - 1
        } else {
            let (month, day) = (self.month ?? 1, self.day ?? 1)
            let first = GoTimeParts.days(year: year, month: month, day: 1)
            let following = GoTimeParts.days(
                year: month == 12 ? year + 1 : year, month: month == 12 ? 1 : month + 1, day: 1)
            guard day >= 1, day <= following - first else { return nil }
            days = first + day - 1
        }
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - zoneSeconds
        return GoInstant(seconds: Int64(seconds), nanosecond: nanosecond)
    }
}
