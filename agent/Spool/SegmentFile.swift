import Model
import Storage
import World

/// A segment whose file is being written: header, snapshot, preambles, then records in sequence.
struct SegmentFile: Sendable {
    let header: SegmentHeader
    let path: String
    let file: any WorldFile
    private(set) var offset: Int
    private(set) var preambles: [SegmentEntry] = []
    private(set) var entries: [SegmentEntry] = []
    let capacity: Int

    /// Makes the file with its snapshot and preambles under a draft name and renames it when it is durable: a segment
    /// that has its name is whole. It replaces an empty segment of the same name.
    static func create(
        _ tree: any WorldFileTree, directory: String, header: SegmentHeader, capacity: Int,
        positions: [SourcePosition], preambles: [SegmentRecord]
    ) throws(FileError) -> SegmentFile {
        let path = directory + "/" + SegmentFormat.fileName(first: header.first)
        let draft = directory + "/" + SegmentFormat.draftName
        if (try? tree.status(draft)) != nil { try tree.remove(draft) }
        let file = try tree.open(draft, .createNew)
        do {
            var bytes = header.encoded()
            bytes += RecordFrame(
                type: SegmentFormat.snapshotType, flags: 0, sequence: 0, timestamp: 0,
                body: PositionsFormat.encode(positions)
            ).encoded(header)
            var entries: [SegmentEntry] = []
            for record in preambles {
                let encoded = record.encoded(header, isPreamble: true)
                entries.append(record.entry(at: bytes.count, encoded: encoded))
                bytes += encoded
            }
            let size = max(capacity, bytes.count + 64)
            try file.allocate(size: Int64(size))
            try file.write(bytes, at: 0)
            try file.synchronize()
            try tree.rename(draft, to: path)
            try tree.synchronizeDirectory(directory)
            var segment = SegmentFile(
                header: header, path: path, file: file, offset: bytes.count, capacity: size)
            segment.preambles = entries
            return segment
        } catch {
            file.close()
            try? tree.remove(draft)
            throw error
        }
    }

    private init(
        header: SegmentHeader, path: String, file: any WorldFile, offset: Int, capacity: Int
    ) {
        self.header = header
        self.path = path
        self.file = file
        self.offset = offset
        self.capacity = capacity
    }

    /// Whether a record with a body of `bytes` fits.
    func fits(bodyBytes bytes: Int) -> Bool {
        offset + SegmentFormat.padded(SegmentFormat.recordHeaderBytes + bytes) <= capacity
    }

    /// Writes a record; not durable before the file is synchronized.
    mutating func append(_ record: SegmentRecord) throws(FileError) {
        let bytes = record.encoded(header)
        try file.write(bytes, at: Int64(offset))
        entries.append(record.entry(at: offset, encoded: bytes))
        offset += bytes.count
    }

    /// The rest of the file is given back. Errors don't matter: the space is freed with the file.
    func trim() { try? file.truncate(to: Int64(offset)) }
}

extension SegmentRecord {
    func entry(at offset: Int, encoded: [UInt8]) -> SegmentEntry {
        SegmentEntry(
            sequence: sequence, kind: kind, offset: offset,
            bytes: SegmentFormat.recordHeaderBytes + Int(encoded.u32(0)), recordCount: recordCount,
            through: through)
    }
}
