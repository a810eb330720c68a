import Glibc
package import LinearRegex
package import Model

/// The columns of a block, read: lines are found when they are asked for.
package struct LogBlockLines: Sendable {
    package let timestamps: [Int64]
    private let levelNames: [String]
    private let levels: [UInt8]
    private let text: [UInt8]
    /// Where in `text` each line ends; it is followed by the terminator.
    private let ends: [Int32]
    private let odd: [Int: [UInt8]]
    private let metadata: DecodedMetadata

    /// Throws `LogBlockError` where the columns do not fit together.
    package init(
        timestamps: [Int64], levelNames: [String], levels: [UInt8], text: [UInt8],
        oddLines: [UInt8], metadata: [UInt8]
    ) throws(LogBlockError) {
        let count = timestamps.count
        self.timestamps = timestamps
        self.levelNames = levelNames
        self.levels = levels
        self.text = text
        ends = Self.ends(of: text, expected: count)
        guard ends.count == count, ends.last.map({ Int($0) + 1 == text.count }) ?? text.isEmpty
        else { throw .unequalColumns(column: "lines", count: ends.count, lineCount: count) }
        guard levels.count == count, levels.allSatisfy({ $0 < levelNames.count }) else {
            throw .unequalColumns(column: "levels", count: levels.count, lineCount: count)
        }
        odd = try Self.odd(oddLines, count)
        self.metadata = try MetadataColumns.decode(metadata, lineCount: count)
        byteCount = text.count + oddLines.count + 2 * metadata.count + count * 24
    }

    package init(_ columns: LogBlockColumns) throws(LogBlockError) {
        try self.init(
            timestamps: columns.timestamps, levelNames: columns.levelNames,
            levels: columns.levels, text: columns.text, oddLines: columns.oddLines,
            metadata: columns.metadata)
    }

    package var count: Int { timestamps.count }
    /// Bytes that it holds on to.
    package let byteCount: Int

    private static func ends(of text: [UInt8], expected: Int) -> [Int32] {
        var ends: [Int32] = []
        ends.reserveCapacity(expected)
        text.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var at = 0
            while at < bytes.count,
                let found = memchr(
                    base + at, Int32(LogBlockColumns.terminator), bytes.count - at)
            {
                let end = base.distance(to: found)
                ends.append(Int32(end))
                at = end + 1
            }
        }
        return ends
    }

    private static func odd(_ bytes: [UInt8], _ count: Int) throws(LogBlockError) -> [Int: [UInt8]]
    {
        guard !bytes.isEmpty else { return [:] }
        var reader = VarintReader(bytes)
        var odd: [Int: [UInt8]] = [:]
        while !reader.isAtEnd {
            let index = try reader.count()
            guard index < count else { throw .badReference("odd line \(index) of \(count)") }
            odd[index] = Array(bytes[try reader.range()])
        }
        return odd
    }

    /// Calls `body` with the exact bytes of a line, without a copy.
    package func withLine<T>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) -> T) -> T {
        if let line = odd[index] { return line.withUnsafeBufferPointer(body) }
        let start = index == 0 ? 0 : Int(ends[index - 1]) + 1
        let end = Int(ends[index])
        return text.withUnsafeBufferPointer {
            body(UnsafeBufferPointer(rebasing: $0[start..<end]))
        }
    }

    /// Whether a line has all these texts in it.
    package func line(_ index: Int, containsAll needles: [Needle]) -> Bool {
        withLine(index) { line in
            needles.allSatisfy { $0.firstIndex(in: line) != nil }
        }
    }

    /// Throws where the metadata refers to what the line does not have.
    package func entry(_ index: Int) throws(LogBlockError) -> LogEntry {
        let level = levelNames[Int(levels[index])]
        let (line, labels) = withLine(index) { bytes in
            (
                [UInt8](bytes),
                Result { () throws(LogBlockError) in try metadata.labels(of: index, bytes) }
            )
        }
        return LogEntry(
            timestamp: TimestampNS(timestamps[index]), line: line,
            level: level.isEmpty ? nil : level, metadata: try labels.get())
    }

    /// The index of the first line at `time` or later. O(log n).
    package func firstIndex(at time: Int64) -> Int {
        var (low, high) = (0, timestamps.count)
        while low < high {
            let middle = (low + high) / 2
            if timestamps[middle] < time { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
