/// A layout of Go's `time` package, cut into its elements: `2006-01-02T15:04:05.000Z07:00`.
/// Source: Go 1.24 package time, the reference time and `Time.Format`.
package struct GoTimeLayout: Sendable {
    static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ]
    static let weekdays = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]

    enum Piece: Equatable, Sendable {
        case text([UInt8])
        case longMonth, shortMonth, monthNumber, twoDigitMonth
        case longWeekday, shortWeekday
        case day, spacedDay, twoDigitDay, spacedDayOfYear, threeDigitDayOfYear
        case hour, twelveHour, twoDigitTwelveHour
        case minute, twoDigitMinute, second, twoDigitSecond
        case longYear, twoDigitYear
        case upperHalf, lowerHalf
        case zoneName
        /// `isZulu` writes UTC as Z.
        case zone(isZulu: Bool, hasColons: Bool, hasMinutes: Bool, hasSeconds: Bool)
        /// `.000` keeps its digits, `.999` drops zeros at the end.
        case fraction(separator: UInt8, count: Int, isTrimmed: Bool)
    }

    private(set) var pieces: [Piece] = []

    /// Cuts a layout. O(n).
    package init(_ layout: String) {
        let bytes = Array(layout.utf8)
        var at = 0
        var text: [UInt8] = []
        while at < bytes.count {
            guard let (piece, count) = Self.element(bytes[at...]) else {
                text.append(bytes[at])
                at += 1
                continue
            }
            if !text.isEmpty { pieces.append(.text(text)) }
            text = []
            pieces.append(piece)
            at += count
        }
        if !text.isEmpty { pieces.append(.text(text)) }
    }

    /// Longer ones before those that they begin with.
    private static let names: [(String, Piece)] = [
        ("January", .longMonth), ("Jan", .shortMonth), ("Monday", .longWeekday),
        ("Mon", .shortWeekday), ("MST", .zoneName), ("002", .threeDigitDayOfYear),
        ("01", .twoDigitMonth), ("02", .twoDigitDay), ("03", .twoDigitTwelveHour),
        ("04", .twoDigitMinute), ("05", .twoDigitSecond), ("06", .twoDigitYear), ("15", .hour),
        ("1", .monthNumber), ("2006", .longYear), ("2", .day), ("__2", .spacedDayOfYear),
        ("_2", .spacedDay), ("3", .twelveHour), ("4", .minute), ("5", .second),
        ("PM", .upperHalf), ("pm", .lowerHalf),
        ("-07:00:00", zone(false, true, true, true)), ("-07:00", zone(false, true, true, false)),
        ("-070000", zone(false, false, true, true)), ("-0700", zone(false, false, true, false)),
        ("-07", zone(false, false, false, false)), ("Z07:00:00", zone(true, true, true, true)),
        ("Z07:00", zone(true, true, true, false)), ("Z070000", zone(true, false, true, true)),
        ("Z0700", zone(true, false, true, false)), ("Z07", zone(true, false, false, false)),
    ]

    private static let beginnings = Set(names.compactMap(\.0.utf8.first))

    private static func zone(
        _ isZulu: Bool, _ hasColons: Bool, _ hasMinutes: Bool, _ hasSeconds: Bool
    ) -> Piece {
        .zone(
            isZulu: isZulu, hasColons: hasColons, hasMinutes: hasMinutes, hasSeconds: hasSeconds)
    }

    private static func element(_ rest: ArraySlice<UInt8>) -> (Piece, Int)? {
        if let (piece, count) = fraction(rest) { return (piece, count) }
        guard let first = rest.first, beginnings.contains(first) else { return nil }
        for (name, piece) in names where name.utf8.first == first && rest.starts(with: name.utf8) {
            let next = rest.dropFirst(name.utf8.count).first
            // `Month` and `Jane` are words.
            if piece == .shortMonth || piece == .shortWeekday, let next, (97...122).contains(next) {
                return nil
            }
            // `_2006` is a line and a year.
            if piece == .spacedDay, rest.dropFirst().starts(with: "2006".utf8) { return nil }
            return (piece, name.utf8.count)
        }
        return nil
    }

    private static func fraction(_ rest: ArraySlice<UInt8>) -> (Piece, Int)? {
        guard let first = rest.first, first == 46 || first == 44,
            let digit = rest.dropFirst().first, digit == 48 || digit == 57
        else { return nil }
        let count = rest.dropFirst().prefix { $0 == digit }.count
        if let next = rest.dropFirst(count + 1).first, (48...57).contains(next) { return nil }
        return (
            .fraction(separator: first, count: count, isTrimmed: digit == 57), count + 1
        )
    }
}

extension GoTime {
    /// A layout applied to `time`. Source: Go 1.24 `Time.Format`.
    package static func format(_ time: GoInstant, _ layout: String) -> String {
        format(time, GoTimeLayout(layout))
    }

    package static func format(_ time: GoInstant, _ layout: GoTimeLayout) -> String {
        let parts = GoTimeParts(time)
        var result = ""
        for piece in layout.pieces { result += text(of: piece, parts) }
        return result
    }

    private static func text(of piece: GoTimeLayout.Piece, _ parts: GoTimeParts) -> String {
        let twelve = parts.hour % 12 == 0 ? 12 : parts.hour % 12
        switch piece {
        case .text(let bytes): return String(decoding: bytes, as: UTF8.self)
        case .longMonth: return GoTimeLayout.months[parts.month - 1]
        case .shortMonth: return String(GoTimeLayout.months[parts.month - 1].prefix(3))
        case .longWeekday: return GoTimeLayout.weekdays[parts.weekday]
        case .shortWeekday: return String(GoTimeLayout.weekdays[parts.weekday].prefix(3))
        case .monthNumber: return "\(parts.month)"
        case .twoDigitMonth: return padded(parts.month, 2)
        case .day: return "\(parts.day)"
        case .spacedDay: return padded(parts.day, 2, with: " ")
        case .twoDigitDay: return padded(parts.day, 2)
        case .spacedDayOfYear: return padded(parts.dayOfYear, 3, with: " ")
        case .threeDigitDayOfYear: return padded(parts.dayOfYear, 3)
        case .hour: return padded(parts.hour, 2)
        case .twelveHour: return "\(twelve)"
        case .twoDigitTwelveHour: return padded(twelve, 2)
        case .minute: return "\(parts.minute)"
        case .twoDigitMinute: return padded(parts.minute, 2)
        case .second: return "\(parts.second)"
        case .twoDigitSecond: return padded(parts.second, 2)
        case .longYear: return padded(parts.year, 4)
        case .twoDigitYear: return padded((parts.year % 100 + 100) % 100, 2)
        case .upperHalf: return parts.hour >= 12 ? "PM" : "AM"
        case .lowerHalf: return parts.hour >= 12 ? "pm" : "am"
        case .zoneName: return parts.offset.name.isEmpty ? parts.offset.digits : parts.offset.name
        case .zone(let isZulu, let hasColons, let hasMinutes, let hasSeconds):
            return parts.offset.text(
                isZulu: isZulu, hasColons: hasColons, hasMinutes: hasMinutes,
                hasSeconds: hasSeconds)
        case .fraction(let separator, let count, let isTrimmed):
            // Source: Go `appendNano`: at most nine digits are there to be written.
            var digits = String(padded(parts.nanosecond, 9).prefix(count))
            if isTrimmed { while digits.hasSuffix("0") { digits.removeLast() } }
            guard !digits.isEmpty else { return "" }
            return String(Character(Unicode.Scalar(separator))) + digits
        }
    }

    static func padded(_ value: Int, _ width: Int, with fill: String = "0") -> String {
        let digits = String(value.magnitude)
        return (value < 0 ? "-" : "")
            + String(repeating: fill, count: max(0, width - digits.count)) + digits
    }
}
