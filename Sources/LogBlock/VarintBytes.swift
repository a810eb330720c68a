/// Writes counts as LEB128 and byte strings behind their length.
struct VarintWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ count: Int) {
        var rest = UInt(count)
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func append(_ part: some Collection<UInt8>) {
        append(part.count)
        bytes.append(contentsOf: part)
    }

    mutating func append(raw part: some Sequence<UInt8>) { bytes.append(contentsOf: part) }
}

/// Reads what `VarintWriter` wrote; every read is checked against the end.
struct VarintReader {
    let bytes: [UInt8]
    private(set) var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    mutating func count() throws(LogBlockError) -> Int {
        var value: UInt = 0
        for shift in stride(from: 0, to: 42, by: 7) {
            guard at < bytes.count else { throw .endsEarly }
            let byte = bytes[at]
            at += 1
            value |= UInt(byte & 0x7f) << UInt(shift)
            if byte & 0x80 == 0 { return Int(value) }
        }
        throw .badCount
    }

    /// The place of the next byte string.
    mutating func range() throws(LogBlockError) -> Range<Int> { try range(of: try count()) }

    /// The place of the next `length` bytes.
    mutating func range(of length: Int) throws(LogBlockError) -> Range<Int> {
        guard length >= 0, length <= bytes.count - at else { throw .endsEarly }
        defer { at += length }
        return at..<(at + length)
    }

    mutating func text() throws(LogBlockError) -> String {
        String(decoding: bytes[try range()], as: UTF8.self)
    }
}

/// Why columns of a block do not decode.
package enum LogBlockError: Error, Hashable, Sendable {
    case endsEarly
    case badCount
    /// Of `column`: how many lines it is for, and how many the block has.
    case unequalColumns(column: String, count: Int, lineCount: Int)
    case badReference(String)
    /// Packed lines that are no whole frame of Zstandard.
    case badPacking
}
