/// A time zone of the IANA database, as systems have it in files. Times count in seconds since 1970.
///
/// Source: RFC 9636 (TZif); Go 1.24 `time.Location`, for what is asked of it.
package struct GoLocation: Sendable {
    struct Zone: Hashable, Sendable {
        var offset: GoOffset
        var isSummer: Bool
    }

    /// What applies at a time, and since and until when.
    struct Period {
        var offset: GoOffset
        var start: Int64 = .min
        var end: Int64 = .max
    }

    package static let utc = GoLocation()

    private var zones: [Zone] = []
    /// Ascending.
    private var times: [Int64] = []
    /// The zone from each of `times` on.
    private var zoneNumbers: [Int] = []
    /// What applies after the last of `times`.
    private var rule: GoZoneRule?

    private init() {}

    /// Nil where `bytes` are no TZif of version 2 or later.
    package init?(tzif bytes: [UInt8]) {
        var reader = TZifReader(bytes)
        // Times of 32 bits come first, for old readers.
        guard let old = reader.header(), old.version >= 0x32, reader.skip(old.length(timeBytes: 4)),
            let header = reader.header(), header.zoneCount > 0
        else { return nil }
        for _ in 0..<header.timeCount {
            guard let time = reader.integer(8) else { return nil }
            times.append(time)
        }
        for _ in 0..<header.timeCount {
            guard let number = reader.byte(), number < header.zoneCount else { return nil }
            zoneNumbers.append(Int(number))
        }
        var described: [(seconds: Int, isSummer: Bool, name: Int)] = []
        for _ in 0..<header.zoneCount {
            guard let seconds = reader.integer(4), let isSummer = reader.byte(),
                let name = reader.byte()
            else { return nil }
            described.append((Int(seconds), isSummer != 0, Int(name)))
        }
        guard let names = reader.take(header.nameBytes),
            reader.skip(header.leapCount * 12 + header.standardCount + header.universalCount)
        else { return nil }
        zones = described.map { zone in
            let name = names.dropFirst(zone.name).prefix { $0 != 0 }
            let offset = GoOffset(
                seconds: zone.seconds, name: String(decoding: name, as: UTF8.self))
            return Zone(offset: offset, isSummer: zone.isSummer)
        }
        rule = reader.footer().flatMap { GoZoneRule($0) }
        if times.isEmpty { (times, zoneNumbers) = ([.min], [0]) }
    }

    /// What applies at `seconds`. O(log n).
    func period(at seconds: Int64) -> Period {
        guard !times.isEmpty else { return Period(offset: .utc) }
        if let first = times.first, seconds < first {
            return Period(offset: zones[firstZone].offset, end: first)
        }
        var (low, high) = (0, times.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if times[middle] <= seconds { low = middle } else { high = middle }
        }
        if low == times.count - 1, let rule { return rule.period(at: seconds) }
        return Period(
            offset: zones[zoneNumbers[low]].offset, start: times[low],
            end: low + 1 < times.count ? times[low + 1] : .max)
    }

    /// What applies before the first change. Source: Go `lookupFirstZone`.
    private var firstZone: Int {
        if !zoneNumbers.contains(0) { return 0 }
        if let first = zoneNumbers.first, zones[first].isSummer,
            let before = zones[..<first].lastIndex(where: { !$0.isSummer })
        {
            return before
        }
        return zones.firstIndex { !$0.isSummer } ?? 0
    }

    /// The instant at which clocks here show what UTC's show at `shown`. A time that clocks pass over counts as if they
    /// had not; one that they show twice is one of both. Source: Go `time.Date`.
    func instant(shown: GoInstant) -> GoInstant {
        let guessed = period(at: shown.seconds)
        var result = shown
        result.seconds = shown.seconds - Int64(guessed.offset.seconds)
        if guessed.offset.seconds != 0,
            !(guessed.start..<guessed.end).contains(result.seconds)
        {
            result.seconds = shown.seconds - Int64(period(at: result.seconds).offset.seconds)
        }
        return instant(result)
    }

    /// The same instant, as it is shown here.
    package func instant(_ instant: GoInstant) -> GoInstant {
        var result = instant
        result.offset = period(at: instant.seconds).offset
        return result
    }

    /// How far from UTC the zone of this name is, preferably where it applies when clocks show what UTC's show at
    /// `shown`. Nil where the location has none of this name. Source: Go `Location.lookupName`.
    func seconds(ofZone name: String, shown: Int64) -> Int? {
        let named = zones.filter { $0.offset.name == name }
        for zone in named {
            let found = period(at: shown - Int64(zone.offset.seconds)).offset
            if found.name == name { return found.seconds }
        }
        return named.first?.offset.seconds
    }
}

private struct TZifReader {
    struct Header {
        var version: UInt8
        var universalCount: Int
        var standardCount: Int
        var leapCount: Int
        var timeCount: Int
        var zoneCount: Int
        var nameBytes: Int

        /// Bytes of what follows.
        func length(timeBytes: Int) -> Int {
            timeCount * (timeBytes + 1) + zoneCount * 6 + nameBytes + leapCount * (timeBytes + 4)
                + standardCount + universalCount
        }
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    mutating func skip(_ count: Int) -> Bool { take(count) != nil }

    mutating func byte() -> UInt8? { rest.popFirst() }

    /// Big-endian, with a sign.
    mutating func integer(_ count: Int) -> Int64? {
        guard let bytes = take(count) else { return nil }
        let value = bytes.reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        return count == 4 ? Int64(Int32(truncatingIfNeeded: value)) : Int64(bitPattern: value)
    }

    mutating func header() -> Header? {
        guard let magic = take(4), magic.elementsEqual("TZif".utf8), let version = byte(),
            skip(15)
        else { return nil }
        var counts: [Int] = []
        for _ in 0..<6 {
            guard let count = integer(4), count >= 0 else { return nil }
            counts.append(Int(count))
        }
        return Header(
            version: version, universalCount: counts[0], standardCount: counts[1],
            leapCount: counts[2], timeCount: counts[3], zoneCount: counts[4], nameBytes: counts[5])
    }

    /// What stands between the two line ends at the end.
    func footer() -> String? {
        guard rest.first == 10, let end = rest.dropFirst().firstIndex(of: 10) else { return nil }
        return String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self)
    }
}
