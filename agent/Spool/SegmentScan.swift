import Model
import Storage

/// Where a record lies in its file, and what is needed of it without reading it.
struct SegmentEntry: Hashable, Sendable {
    var sequence: UInt64
    var kind: PayloadKind
    var offset: Int
    /// Frame and body, without padding.
    var bytes: Int
    var recordCount: UInt64
    var through: Cumulative
}

/// What a segment file holds.
///
/// A record that doesn't pass its checksum is stepped over to the next intact one (records begin at multiples of eight
/// bytes), so that one bad spot costs the records it hits and no others. In the last segment a hole that no later record
/// proves to have been durable is a torn tail: everything from it on was never durable, and never sent.
struct SegmentScan: Sendable {
    var entries: [SegmentEntry] = []
    /// Records that only carry definitions.
    var preambles: [SegmentEntry] = []
    /// The snapshot, with what the entries moved on.
    var positions: [String: [UInt8]] = [:]
    /// Whether bytes were cut off as a torn tail.
    var isTorn = false

    /// `limit`: the next segment's first sequence; nil for the last segment.
    init(_ bytes: [UInt8], _ header: SegmentHeader, limit: UInt64?) {
        var updates: [[SourcePosition]] = []
        var durable: UInt64 = 0
        var expected = header.first
        var offset = SegmentFormat.headerBytes
        while let (at, frame) = Self.next(bytes, from: offset, header) {
            offset = at + SegmentFormat.padded(SegmentFormat.recordHeaderBytes + frame.body.count)
            if frame.type == SegmentFormat.snapshotType {
                for position in PositionsFormat.decode(frame.body, from: 0) ?? [] {
                    positions.take(position)
                }
                continue
            }
            guard let record = SegmentRecord(frame) else { continue }
            let entry = SegmentEntry(
                sequence: record.sequence, kind: record.kind, offset: at,
                bytes: SegmentFormat.recordHeaderBytes + frame.body.count,
                recordCount: record.recordCount, through: record.through)
            if frame.flags & SegmentFormat.preambleFlag != 0 {
                preambles.append(entry)
            } else if record.sequence >= expected, limit.map({ record.sequence < $0 }) ?? true {
                entries.append(entry)
                updates.append(record.positions)
                durable = max(durable, record.durable)
                expected = record.sequence + 1
            }
        }
        if limit == nil { cutTornTail(after: durable, first: header.first, &updates) }
        for update in updates.joined() { positions.take(update) }
    }

    private mutating func cutTornTail(
        after durable: UInt64, first: UInt64, _ updates: inout [[SourcePosition]]
    ) {
        var expected = first
        for (index, entry) in entries.enumerated() {
            if entry.sequence != expected, expected > durable {
                isTorn = true
                entries.removeSubrange(index...)
                updates.removeSubrange(index...)
                return
            }
            expected = entry.sequence + 1
        }
    }

    /// The first intact record at or after `offset`.
    private static func next(
        _ bytes: [UInt8], from offset: Int, _ header: SegmentHeader
    ) -> (Int, RecordFrame)? {
        var at = offset
        let end = bytes.count - SegmentFormat.recordHeaderBytes
        while at < end {
            if let frame = RecordFrame.decode(bytes, at: at, header) { return (at, frame) }
            at += 8
            bytes.withUnsafeBytes { raw in
                while at < end, raw.loadUnaligned(fromByteOffset: at, as: UInt32.self) == 0 {
                    at &+= 8
                }
            }
        }
        return nil
    }
}

extension [SegmentEntry] {
    /// The entry of a sequence; the entries ascend. O(log n).
    func find(_ sequence: UInt64) -> SegmentEntry? {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].sequence < sequence { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low].sequence == sequence ? self[low] : nil
    }
}
