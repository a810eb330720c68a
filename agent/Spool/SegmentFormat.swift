import Model
import Storage

/// The bytes of a segment file. Drawn in `docs/formats/spool.md`.
enum SegmentFormat {
    static let magic: UInt64 = 0x3147_4553_4c52_5450  // "PTRLSEG1"
    static let headerBytes = 64
    static let recordHeaderBytes = 28
    /// Fixed part of a batch record's envelope.
    static let envelopeBytes = 36
    /// Largest body of a record: a 1 MiB payload with its envelope and positions.
    static let bodyBytesMax = (1 << 20) + (64 << 10)
    static let positionsBytesMax = 60 << 10
    static let snapshotType: UInt8 = 16
    /// The record only carries definitions for later ones and has no sequence.
    static let preambleFlag: UInt8 = 1

    /// The name of a segment before it is durable; left over from a crash it is worth nothing.
    static let draftName = "next.draft"

    static func padded(_ bytes: Int) -> Int { (bytes + 7) & ~7 }

    static func fileName(first: UInt64) -> String {
        let digits = String(first)
        return String(repeating: "0", count: 20 - digits.count) + digits + ".seg"
    }

    /// The first sequence that a segment's name says; nil for another file.
    static func first(fileName: String) -> UInt64? {
        guard fileName.utf8.count == 24, fileName.hasSuffix(".seg") else { return nil }
        return UInt64(fileName.dropLast(4))
    }
}

/// The head of a segment file, 64 bytes.
struct SegmentHeader: Hashable, Sendable {
    var kind: StreamKind
    var epoch: UInt64
    var first: UInt64
    /// Random per file, in every record's checksum: bytes of an older file in the same place can't pass.
    var salt: UInt64
    /// Data records and gap-accounted records of all sequences before `first`.
    var before: Cumulative

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put(SegmentFormat.magic)
        bytes.put(UInt32(1))
        bytes += [kind.rawValue, 0, 0, 0]
        for word in [epoch, first, salt, before.data, before.gap] { bytes.put(word) }
        bytes.put(UInt32(0))
        var crc = CRC32C()
        crc.add(bytes)
        bytes.put(crc.value)
        return bytes
    }

    init(kind: StreamKind, epoch: UInt64, first: UInt64, salt: UInt64, before: Cumulative) {
        self.kind = kind
        self.epoch = epoch
        self.first = first
        self.salt = salt
        self.before = before
    }

    /// Nil where the bytes are no intact header.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= SegmentFormat.headerBytes else { return nil }
        var crc = CRC32C()
        crc.add(Array(bytes[0..<60]))
        guard bytes.u32(60) == crc.value, bytes.u64(0) == SegmentFormat.magic, bytes.u32(8) == 1,
            let kind = StreamKind(rawValue: bytes[12])
        else { return nil }
        self.init(
            kind: kind, epoch: bytes.u64(16), first: bytes.u64(24), salt: bytes.u64(32),
            before: Cumulative(data: bytes.u64(40), gap: bytes.u64(48)))
    }
}

/// Running totals through a sequence since the epoch began.
struct Cumulative: Hashable, Sendable {
    /// Records in data batches.
    var data: UInt64 = 0
    /// Records that gap batches stand for.
    var gap: UInt64 = 0
}

/// One record of a segment, in full.
struct SegmentRecord: Hashable, Sendable {
    var kind: PayloadKind
    var sequence: UInt64
    var timestamp: Int64
    /// Samples or entries; for a gap what it stands for.
    var recordCount: UInt64
    /// Totals including this record.
    var through: Cumulative
    /// The sequence known to be durable when this record was written: proof that a hole before it is rot, not a torn tail.
    var durable: UInt64
    var positions: [SourcePosition]
    var payload: [UInt8]

    func encoded(_ header: SegmentHeader, isPreamble: Bool = false) -> [UInt8] {
        var body: [UInt8] = []
        body.reserveCapacity(payload.count + 128)
        body.put(recordCount)
        body.put(through.data)
        body.put(through.gap)
        body.put(durable)
        body.put(UInt32(payload.count))
        body += payload
        body += PositionsFormat.encode(positions)
        return RecordFrame(
            type: kind.rawValue, flags: isPreamble ? SegmentFormat.preambleFlag : 0,
            sequence: isPreamble ? 0 : sequence, timestamp: timestamp, body: body
        ).encoded(header)
    }

    /// Nil where a body that passed its checksum is none of ours.
    init?(_ frame: RecordFrame) {
        let body = frame.body
        guard let kind = PayloadKind(rawValue: frame.type), body.count >= 36 else { return nil }
        let size = Int(body.u32(32))
        guard size <= body.count - 36, let positions = PositionsFormat.decode(body, from: 36 + size)
        else { return nil }
        self.init(
            kind: kind, sequence: frame.sequence, timestamp: frame.timestamp,
            recordCount: body.u64(0),
            through: Cumulative(data: body.u64(8), gap: body.u64(16)), durable: body.u64(24),
            positions: positions, payload: Array(body[36..<(36 + size)]))
    }

    init(
        kind: PayloadKind, sequence: UInt64, timestamp: Int64, recordCount: UInt64,
        through: Cumulative, durable: UInt64, positions: [SourcePosition], payload: [UInt8]
    ) {
        self.kind = kind
        self.sequence = sequence
        self.timestamp = timestamp
        self.recordCount = recordCount
        self.through = through
        self.durable = durable
        self.positions = positions
        self.payload = payload
    }
}

/// The frame around any record: length, checksum, type, flags, sequence, time, body.
struct RecordFrame: Hashable, Sendable {
    var type: UInt8
    var flags: UInt8
    var sequence: UInt64
    var timestamp: Int64
    var body: [UInt8]

    /// Padded to a multiple of eight bytes.
    func encoded(_ header: SegmentHeader) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(body.count + 40)
        bytes.put(UInt32(body.count))
        bytes.put(UInt32(0))
        bytes += [type, flags, 0, 0]
        bytes.put(sequence)
        bytes.put(UInt64(bitPattern: timestamp))
        bytes += body
        let crc = Self.checksum(bytes, at: 0, body: body.count, header)
        bytes.replaceSubrange(4..<8, with: crc.littleEndianBytes)
        while bytes.count % 8 != 0 { bytes.append(0) }
        return bytes
    }

    /// The intact record at `offset`; nil where there is none.
    static func decode(_ bytes: [UInt8], at offset: Int, _ header: SegmentHeader) -> RecordFrame? {
        guard let size = bodyBytes(bytes, at: offset),
            checksum(bytes, at: offset, body: size, header) == bytes.u32(offset + 4)
        else { return nil }
        let start = offset + SegmentFormat.recordHeaderBytes
        return RecordFrame(
            type: bytes[offset + 8], flags: bytes[offset + 9], sequence: bytes.u64(offset + 12),
            timestamp: Int64(bitPattern: bytes.u64(offset + 20)),
            body: Array(bytes[start..<(start + size)]))
    }

    /// The body's length where the bytes at `offset` look like a record.
    private static func bodyBytes(_ bytes: [UInt8], at offset: Int) -> Int? {
        guard bytes.count - offset > SegmentFormat.recordHeaderBytes else { return nil }
        let size = Int(bytes.u32(offset))
        guard size > 0, size <= SegmentFormat.bodyBytesMax,
            size <= bytes.count - offset - SegmentFormat.recordHeaderBytes,
            bytes[offset + 10] == 0, bytes[offset + 11] == 0, bytes[offset + 9] <= 1
        else { return nil }
        return size
    }

    /// Over epoch, salt, length, and everything after the checksum's own field.
    private static func checksum(
        _ bytes: [UInt8], at offset: Int, body: Int, _ header: SegmentHeader
    ) -> UInt32 {
        var crc = CRC32C()
        crc.add(header.epoch.littleEndianBytes + header.salt.littleEndianBytes)
        bytes.withUnsafeBytes {
            crc.add($0, offset..<(offset + 4))
            crc.add($0, (offset + 8)..<(offset + SegmentFormat.recordHeaderBytes + body))
        }
        return crc.value
    }
}

/// Source positions: count u16, then source length u16, bytes length u32, source, bytes.
enum PositionsFormat {
    static func encode(_ positions: [SourcePosition]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put(UInt16(positions.count))
        for position in positions {
            let source = Array(position.source.utf8)
            bytes.put(UInt16(source.count))
            bytes.put(UInt32(position.bytes.count))
            bytes += source
            bytes += position.bytes
        }
        return bytes
    }

    static func decode(_ bytes: [UInt8], from start: Int) -> [SourcePosition]? {
        var at = start
        guard bytes.count - at >= 2 else { return nil }
        let count = Int(bytes.u16(at))
        at += 2
        var positions: [SourcePosition] = []
        for _ in 0..<count {
            guard bytes.count - at >= 6 else { return nil }
            let (name, size) = (Int(bytes.u16(at)), Int(bytes.u32(at + 2)))
            at += 6
            guard bytes.count - at >= name, bytes.count - at - name >= size else { return nil }
            positions.append(
                SourcePosition(
                    source: String(decoding: bytes[at..<(at + name)], as: UTF8.self),
                    bytes: Array(bytes[(at + name)..<(at + name + size)])))
            at += name + size
        }
        return positions
    }
}

extension FixedWidthInteger {
    var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}

extension [UInt8] {
    mutating func put(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    func u16(_ at: Int) -> UInt16 {
        UInt16(
            littleEndian: withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt16.self) })
    }

    func u32(_ at: Int) -> UInt32 {
        UInt32(
            littleEndian: withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt32.self) })
    }

    func u64(_ at: Int) -> UInt64 {
        UInt64(
            littleEndian: withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt64.self) })
    }
}
