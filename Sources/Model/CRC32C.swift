/// CRC-32C (Castagnoli, reflected 0x82F63B78), eight bytes a step by tables (slicing-by-8).
///
/// Source: RFC 3720 appendix B.4 for the polynomial and its test vectors.
package struct CRC32C: Sendable {
    private var state: UInt32 = 0xffff_ffff

    package init() {}

    /// The checksum of everything added.
    package var value: UInt32 { ~state }

    /// Adds `bytes[range]`; the range must lie within the buffer.
    package mutating func add(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "outside the buffer")
        var crc = state
        var at = range.lowerBound
        let end = range.upperBound
        Self.tables.withUnsafeBufferPointer { table in
            while end &- at >= 8 {
                let word =
                    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
                    ^ UInt64(crc)
                crc = table[0x700 &+ Int(word & 0xff)]
                crc ^= table[0x600 &+ Int((word &>> 8) & 0xff)]
                crc ^= table[0x500 &+ Int((word &>> 16) & 0xff)]
                crc ^= table[0x400 &+ Int((word &>> 24) & 0xff)]
                crc ^= table[0x300 &+ Int((word &>> 32) & 0xff)]
                crc ^= table[0x200 &+ Int((word &>> 40) & 0xff)]
                crc ^= table[0x100 &+ Int((word &>> 48) & 0xff)]
                crc ^= table[Int(word &>> 56)]
                at &+= 8
            }
            while at < end {
                crc = (crc &>> 8) ^ table[Int((crc ^ UInt32(bytes[at])) & 0xff)]
                at &+= 1
            }
        }
        state = crc
    }

    /// Adds all of `bytes`.
    package mutating func add(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { add($0, 0..<$0.count) }
    }

    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for index in 0..<256 {
            var crc = UInt32(index)
            for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : (crc >> 1) ^ 0x82f6_3b78 }
            tables[index] = crc
        }
        for index in 256..<(8 * 256) {
            let before = tables[index - 256]
            tables[index] = (before >> 8) ^ tables[Int(before & 0xff)]
        }
        return tables
    }()
}
