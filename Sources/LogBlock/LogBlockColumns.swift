package import Model

/// Lines of one stream as the columns of a row: what is asked of a block without its lines stands apart from them.
///
/// Format: docs/formats/storage.md, "Log blocks".
package struct LogBlockColumns: Sendable {
    /// Nanoseconds, ascending; lines of one time are in the order of their arrival.
    package var timestamps: [Int64]
    /// The first is empty and stands for no level.
    package var levelNames: [String]
    /// A byte a line: index in `levelNames`.
    package var levels: [UInt8]
    /// The lines, each with `terminator` behind it. Valid UTF-8 without U+0000: lines that are not, or that have the
    /// terminator in them, are shown here with U+FFFD in place of each such byte, and are exact in `oddLines`.
    package var text: [UInt8]
    /// Index, length and bytes of each odd line; empty where there is none.
    package var oddLines: [UInt8]
    /// See `MetadataColumns`; empty where no line has any.
    package var metadata: [UInt8]
    /// Of the fields that lines have, in ascending order.
    package var fieldNames: [String] = []
    /// Flat fours: a minute since the epoch at which lines end, inclusive; level; lines; bytes. Ascending.
    package var rates: [Int32]
    /// Of the lines without terminators.
    package var byteCount: Int

    /// What ends a line in `text`: the record separator of ASCII.
    package static let terminator: UInt8 = 0x1e
    /// Lines of a block.
    package static let linesMax = 4_000
    /// Bytes of the lines and fields of a block that has more than one line.
    package static let bytesMax = 1 << 20

    package var lineCount: Int { timestamps.count }

    /// The minute since the epoch that a time belongs to: it ends at that minute, inclusive.
    package static func minute(of nanoseconds: Int64) -> Int32 {
        let width: Int64 = 60_000_000_000
        let (quotient, rest) = nanoseconds.quotientAndRemainder(dividingBy: width)
        return Int32(clamping: rest > 0 ? quotient + 1 : quotient)
    }

    /// The columns of `entries`, which must be in the order of time, no more than `linesMax` and of at most
    /// `levelsMax` levels.
    package init(_ entries: some Collection<LogEntry>) {
        let count = entries.count
        precondition(count > 0 && count <= Self.linesMax, "lines of a block")
        timestamps = entries.map(\.timestamp.rawValue)
        levelNames = [""]
        levels = []
        levels.reserveCapacity(count)
        byteCount = entries.reduce(0) { $0 + $1.line.count }
        text = []
        text.reserveCapacity(byteCount + count)
        var odd = VarintWriter()
        var oddIndexes: Set<Int> = []
        for (index, entry) in entries.enumerated() {
            levels.append(Self.number(of: entry.level ?? "", in: &levelNames))
            if LineText.isPlain(entry.line) {
                text.append(contentsOf: entry.line)
            } else {
                LineText.appendShown(entry.line, to: &text)
                odd.append(index)
                odd.append(entry.line)
                oddIndexes.insert(index)
            }
            text.append(Self.terminator)
        }
        oddLines = odd.bytes
        (metadata, fieldNames) = MetadataColumns.encode(entries, oddIndexes: oddIndexes)
        rates = Self.rates(entries, levels)
    }

    /// Levels of a block; those past them begin another.
    package static let levelsMax = 255

    private static func number(of level: String, in names: inout [String]) -> UInt8 {
        if let known = names.firstIndex(of: level) { return UInt8(known) }
        precondition(names.count <= levelsMax, "levels of a block")
        names.append(level)
        return UInt8(names.count - 1)
    }

    private static func rates(_ entries: some Collection<LogEntry>, _ levels: [UInt8]) -> [Int32] {
        var rates: [Int32] = []
        /// By level, its place in `rates` while the minute lasts.
        var places: [UInt8: Int] = [:]
        var current = Int32.min
        for (entry, level) in zip(entries, levels) {
            let minute = minute(of: entry.timestamp.rawValue)
            if minute != current {
                current = minute
                places.removeAll(keepingCapacity: true)
            }
            let place = places[level] ?? rates.count
            if place == rates.count {
                places[level] = place
                rates += [minute, Int32(level), 0, 0]
            }
            rates[place + 2] += 1
            rates[place + 3] += Int32(entry.line.count)
        }
        return rates
    }

    /// Cuts entries in the order of time where a block must end: at a UTC day's end, and before there is too much of it.
    /// Where there is more than one block's worth, the blocks of a day are about equally long.
    package static func cut(_ entries: [LogEntry]) -> [ArraySlice<LogEntry>] {
        var parts: [ArraySlice<LogEntry>] = []
        var start = 0
        while start < entries.count {
            let day = day(of: entries[start].timestamp.rawValue)
            var end = start
            var bytes = 0
            while end < entries.count, Self.day(of: entries[end].timestamp.rawValue) == day {
                bytes += Self.size(entries[end])
                end += 1
            }
            let count = end - start
            let partCount = max(
                (count + linesMax - 1) / linesMax, (bytes + bytesMax - 1) / bytesMax, 1)
            cutDay(
                entries[start..<end], linesMax: (count + partCount - 1) / partCount,
                bytesMax: partCount == 1 ? .max : (bytes + partCount - 1) / partCount, to: &parts)
            start = end
        }
        return parts
    }

    /// What an entry adds to a block, bytes.
    private static func size(_ entry: LogEntry) -> Int {
        entry.metadata.reduce(entry.line.count) {
            $0 + $1.name.utf8.count + $1.value.utf8.count
        }
    }

    private static func cutDay(
        _ entries: ArraySlice<LogEntry>, linesMax: Int, bytesMax: Int,
        to parts: inout [ArraySlice<LogEntry>]
    ) {
        var start = entries.startIndex
        var bytes = 0
        var levels: Set<String> = []
        for index in entries.indices {
            let size = Self.size(entries[index])
            let level = entries[index].level ?? ""
            let isFull =
                index - start >= linesMax || index > start && bytes + size > Self.bytesMax
                || bytes >= bytesMax || levels.count >= levelsMax && !levels.contains(level)
            if index > start, isFull {
                parts.append(entries[start..<index])
                start = index
                bytes = 0
                levels = []
            }
            bytes += size
            levels.insert(level)
        }
        parts.append(entries[start...])
    }

    /// Days since the Unix epoch.
    package static func day(of nanoseconds: Int64) -> Int32 {
        let length: Int64 = 86_400_000_000_000
        let (quotient, rest) = nanoseconds.quotientAndRemainder(dividingBy: length)
        return Int32(clamping: rest < 0 ? quotient - 1 : quotient)
    }
}

/// Lines as PostgreSQL's text.
enum LineText {
    /// Whether a line is UTF-8 without U+0000 and without the terminator.
    static func isPlain(_ line: [UInt8]) -> Bool {
        var isASCII = true
        for byte in line {
            if byte == 0 || byte == LogBlockColumns.terminator { return false }
            if byte >= 0x80 { isASCII = false }
        }
        return isASCII || String(validating: line, as: UTF8.self) != nil
    }

    /// Appends the line with U+FFFD in place of what the text can't hold.
    static func appendShown(_ line: [UInt8], to text: inout [UInt8]) {
        for scalar in String(decoding: line, as: UTF8.self).unicodeScalars {
            let isHeld = scalar.value != 0 && scalar.value != UInt32(LogBlockColumns.terminator)
            text.append(contentsOf: String(isHeld ? scalar : "\u{FFFD}").utf8)
        }
    }
}
