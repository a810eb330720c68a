import Model

/// Samples of up to 32 series that share their times, as bytes: `docs/formats/chunk.md`.
///
/// One time column serves all; a series that lacks some of the times says which. Every series is decoded alone.
package struct Chunk: Sendable {
    /// Series of one chunk.
    package static let slotsMax = 32
    /// Times of one chunk: two hours of a sample every 100 ms.
    package static let timesMax = 72_000
    static let version: UInt8 = 1
    /// Version and checksum.
    static let headerCount = 5

    private let bytes: [UInt8]
    /// The times at which any of the series has a sample, ascending, milliseconds since the epoch.
    package let timestamps: [Int64]
    /// Where each slot's column lies.
    private let ranges: [Range<Int>]

    package var slotCount: Int { ranges.count }
    /// What it weighs in memory, about.
    package var memoryByteCount: Int { bytes.count + 8 * timestamps.count + 16 * ranges.count }

    // MARK: Writing

    /// The bytes of a chunk of these series, slot by slot; 1 to `slotsMax`, together of 1 to `timesMax` times.
    package static func encode(_ columns: [ChunkColumn]) -> [UInt8] {
        precondition((1...slotsMax).contains(columns.count), "\(columns.count) series in a chunk")
        let times = union(columns)
        precondition((1...timesMax).contains(times.count), "\(times.count) times in a chunk")
        var head = ChunkWriter()
        head.append(varint: columns.count)
        head.append(varint: times.count)
        IntegerColumn.write(times, to: &head)
        var body = ChunkWriter()
        for column in columns {
            let start = body.count
            write(column, times, to: &body)
            head.append(varint: body.count - start)
        }
        var result = ChunkWriter()
        var checksum = CRC32C()
        checksum.add(head.bytes)
        checksum.add(body.bytes)
        result.append(version)
        result.append(UInt64(checksum.value), bytes: 4)
        result.append(head.bytes)
        result.append(body.bytes)
        return result.bytes
    }

    /// The times of all columns, ascending, each once.
    private static func union(_ columns: [ChunkColumn]) -> [Int64] {
        let all = columns.flatMap { column in
            column.histograms.isEmpty
                ? [column.timestamps]
                : [column.timestamps, column.histograms.map(\.timestamp)]
        }
        guard let longest = all.max(by: { $0.count < $1.count }) else { return [] }
        let others = all.filter { !$0.isEmpty && $0 != longest }
        if others.isEmpty { return longest }
        var result: [Int64] = []
        result.reserveCapacity(longest.count)
        for time in (longest + others.joined()).sorted() where result.last != time {
            result.append(time)
        }
        return result
    }

    private static func write(
        _ column: ChunkColumn, _ times: [Int64], to writer: inout ChunkWriter
    ) {
        var flags: UInt8 = 0
        if !column.startTimestamps.isEmpty { flags |= Flags.hasStarts }
        if !column.histograms.isEmpty { flags |= Flags.hasHistograms }
        if column.timestamps.count == times.count {
            writer.append(flags)
        } else {
            writer.append(flags | Flags.isPartial)
            writeRuns(column.timestamps, times, to: &writer)
        }
        ValueColumn.write(column.values, to: &writer)
        IntegerColumn.write(column.startTimestamps, to: &writer)
        if !column.histograms.isEmpty {
            writeRuns(column.histograms.map(\.timestamp), times, to: &writer)
            HistogramColumn.write(column.histograms, to: &writer)
        }
    }

    /// How many of `times` are absent, present, absent … in turn, all of them told.
    private static func writeRuns(
        _ present: [Int64], _ times: [Int64], to writer: inout ChunkWriter
    ) {
        var runs: [Int] = [0]
        var isPresent = false
        var next = 0
        for time in times {
            let matches = next < present.count && present[next] == time
            if matches { next += 1 }
            if matches == isPresent {
                runs[runs.count - 1] += 1
            } else {
                isPresent = matches
                runs.append(1)
            }
        }
        precondition(next == present.count, "the times of a series ascend strictly")
        writer.append(varint: runs.count)
        for run in runs { writer.append(varint: run) }
    }

    /// Whether a chunk can hold these series: not more than `timesMax` times, nor more bucket counts than
    /// `HistogramColumn.countsMax` of one series.
    package static func fits(_ columns: [ChunkColumn]) -> Bool {
        let countsFit = columns.allSatisfy { column in
            let bucketsMax = column.histograms.lazy.map(\.histogram.bucketCount).max() ?? 0
            return bucketsMax * column.histograms.count <= HistogramColumn.countsMax
        }
        guard countsFit else { return false }
        // Only where there might be too many are they counted.
        return columns.reduce(0) { $0 + $1.count } <= timesMax || union(columns).count <= timesMax
    }

    /// The chunk of these series; see `encode`.
    package init(of columns: [ChunkColumn]) {
        do throws(ChunkError) {
            try self.init(Self.encode(columns))
        } catch {
            preconditionFailure("a chunk that was just made: \(error)")
        }
    }

    /// Whether any of its times lies in (after, through].
    package func overlaps(after: Int64, through: Int64) -> Bool {
        guard let first = timestamps.first, let last = timestamps.last else { return false }
        return last > after && first <= through
    }

    // MARK: Reading

    /// Opens a chunk: looks at its version, its checksum and where its columns lie.
    package init(_ bytes: [UInt8]) throws(ChunkError) {
        self.bytes = bytes
        var parts: (timestamps: [Int64], ranges: [Range<Int>]) = ([], [])
        var failure: ChunkError?
        bytes.withUnsafeBytes { buffer in
            do throws(ChunkError) { parts = try Self.open(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        (timestamps, ranges) = parts
    }

    private static func open(
        _ bytes: UnsafeRawBufferPointer
    ) throws(ChunkError) -> (timestamps: [Int64], ranges: [Range<Int>]) {
        guard bytes.count > headerCount else {
            throw ChunkError("\(bytes.count) bytes are no chunk")
        }
        guard bytes[0] == version else { throw ChunkError("a chunk of version \(bytes[0])") }
        let stored = UInt32(
            littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
        var checksum = CRC32C()
        checksum.add(bytes, headerCount..<bytes.count)
        guard stored == checksum.value else { throw ChunkError("the checksum does not match") }
        var cursor = ChunkCursor(bytes, headerCount..<bytes.count)
        let slotCount = try cursor.count("series", max: slotsMax)
        let timeCount = try cursor.count("times", max: timesMax)
        guard slotCount > 0, timeCount > 0 else { throw ChunkError("a chunk of nothing") }
        let times = try cursor.integers(timeCount)
        guard zip(times, times.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw ChunkError("times that do not ascend")
        }
        var lengths: [Int] = []
        for _ in 0..<slotCount { lengths.append(try cursor.count("bytes", max: bytes.count)) }
        var ranges: [Range<Int>] = []
        var start = cursor.at
        for length in lengths {
            guard length <= bytes.count - start else {
                throw ChunkError("the columns end after the chunk")
            }
            ranges.append(start..<start + length)
            start += length
        }
        guard start == bytes.count else {
            throw ChunkError("\(bytes.count - start) bytes after the last column")
        }
        return (times, ranges)
    }

    /// All samples of `slot`, counted from 0.
    package func column(slot: Int) throws(ChunkError) -> ChunkColumn {
        precondition(ranges.indices.contains(slot), "slot \(slot) of \(ranges.count)")
        var result = ChunkColumn()
        var failure: ChunkError?
        bytes.withUnsafeBytes { buffer in
            do throws(ChunkError) {
                var cursor = ChunkCursor(buffer, ranges[slot])
                result = try read(&cursor)
                guard cursor.left == 0 else {
                    throw ChunkError("\(cursor.left) bytes too many in slot \(slot)")
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        return result
    }

    private func read(_ cursor: inout ChunkCursor) throws(ChunkError) -> ChunkColumn {
        let flags = try cursor.byte()
        guard flags & ~(Flags.isPartial | Flags.hasStarts | Flags.hasHistograms) == 0 else {
            throw ChunkError("a column of flags \(flags) before byte \(cursor.at)")
        }
        var result = ChunkColumn()
        result.timestamps =
            flags & Flags.isPartial == 0 ? timestamps : try partialTimes(&cursor)
        let count = result.timestamps.count
        result.values = try cursor.values(count)
        if flags & Flags.hasStarts != 0 { result.startTimestamps = try cursor.integers(count) }
        if flags & Flags.hasHistograms != 0 {
            let times = try partialTimes(&cursor)
            guard !times.isEmpty else { throw ChunkError("no histograms where some are told") }
            result.histograms = try HistogramColumn.read(&cursor, at: times)
        }
        return result
    }

    private func partialTimes(_ cursor: inout ChunkCursor) throws(ChunkError) -> [Int64] {
        var result: [Int64] = []
        var at = 0
        var isPresent = false
        for _ in 0..<(try cursor.count("runs", max: timestamps.count + 1)) {
            let run = try cursor.count("times", max: timestamps.count - at)
            if isPresent { result += timestamps[at..<at + run] }
            at += run
            isPresent.toggle()
        }
        guard at == timestamps.count else {
            throw ChunkError("runs of \(at) times where there are \(timestamps.count)")
        }
        return result
    }

    private enum Flags {
        static let isPartial: UInt8 = 1
        static let hasStarts: UInt8 = 2
        static let hasHistograms: UInt8 = 4
    }
}
