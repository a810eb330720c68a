/// A split-block Bloom filter over hashes of ids: each sets eight bits of one block of 32 bytes, so that looking for
/// one reads those 32 bytes alone. What was put in is always found; something else is found rarely.
///
/// Source: Apache Parquet format, "Split Block Bloom Filters" (structure and multipliers); the hash is `LogHash`.
package struct BlockFilter: Sendable {
    package private(set) var bytes: [UInt8]

    /// Bytes of a block.
    package static let blockBytes = 32
    private static let salts: [UInt32] = [
        0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947,
        0x5c6b_fb31,
    ]

    /// A filter with so many bits for each hash; empty where there are no hashes.
    package init(_ hashes: Set<UInt64>, bitsPerHash: Int) {
        guard !hashes.isEmpty else {
            bytes = []
            return
        }
        let blockCount = (hashes.count * bitsPerHash + 255) / 256
        bytes = [UInt8](repeating: 0, count: blockCount * Self.blockBytes)
        for hash in hashes {
            let offset = Self.offset(of: hash, byteCount: bytes.count)
            for (word, salt) in Self.salts.enumerated() {
                let bit = Int((UInt32(truncatingIfNeeded: hash) &* salt) >> 27)
                bytes[offset + word * 4 + bit / 8] |= 1 << UInt8(bit % 8)
            }
        }
    }

    /// Where in a filter of `byteCount` bytes the block of a hash begins.
    package static func offset(of hash: UInt64, byteCount: Int) -> Int {
        let blockCount = UInt64(byteCount / blockBytes)
        return Int(((hash >> 32) &* blockCount) >> 32) * blockBytes
    }

    /// Whether a hash may have been put into the filter of which `block` is the hash's block. Anything that is not whole
    /// says yes, but for an empty filter.
    package static func mayContain(
        _ hash: UInt64, inBlock block: some RandomAccessCollection<UInt8>
    ) -> Bool {
        guard !block.isEmpty else { return false }
        guard block.count == blockBytes else { return true }
        let start = block.startIndex
        return salts.enumerated().allSatisfy { word, salt in
            let bit = Int((UInt32(truncatingIfNeeded: hash) &* salt) >> 27)
            let byte = block[block.index(start, offsetBy: word * 4 + bit / 8)]
            return byte & (1 << UInt8(bit % 8)) != 0
        }
    }
}

/// 64 bits of a text, the same in SQL (`petrel.log_hash`): two hashes of 32 bits whose steps fit PostgreSQL's `int8`.
///
/// Source: the first is FNV-1a; the second multiplies after adding. Both end with the mixing of C. Wellons' `triple32`.
package enum LogHash {
    package static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var first: UInt32 = 0x811c_9dc5
        var second: UInt32 = 0x1b87_3593
        for byte in bytes {
            first = (first ^ UInt32(byte)) &* 0x0100_0193
            second = (second &+ UInt32(byte) &+ 1) &* 0x5bd1_e995
        }
        return UInt64(mixed(first)) << 32 | UInt64(mixed(second))
    }

    private static func mixed(_ value: UInt32) -> UInt32 {
        var hash = value
        hash ^= hash >> 15
        hash = hash &* 0x2c1b_3c6d
        hash ^= hash >> 12
        hash = hash &* 0x297a_2d39
        hash ^= hash >> 15
        return hash
    }
}
