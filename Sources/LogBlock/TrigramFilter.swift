/// Which sequences of three bytes a block's lines have: a line that contains a text has all of its trigrams, so a block
/// that lacks one of them has no such line.
///
/// Letters of ASCII count in lower case and a run of digits counts as one `0`, in lines and in needles alike: ids and
/// numbers would fill the filter and tell nothing.
package struct TrigramFilter: Sendable {
    /// A bit for each hash of a trigram; their number is a power of 2.
    package let bytes: [UInt8]

    /// The bits of a hash.
    private static let hashBits: UInt32 = 20
    private static let bitsMin = 1 << 10
    /// Bits a trigram: about a fourth of the bits are set.
    private static let bitsPerTrigram = 3
    private static let bitsMax = 1 << 18

    /// Over lines, each ended by `LogBlockColumns.terminator`, and odd lines.
    package init(text: [UInt8], odd: [[UInt8]] = []) {
        var seen = [UInt64](repeating: 0, count: 1 << (Int(Self.hashBits) - 6))
        seen.withUnsafeMutableBufferPointer { seen in
            func add(_ bytes: UnsafeBufferPointer<UInt8>) {
                var walk = Walk()
                for byte in bytes {
                    guard byte != LogBlockColumns.terminator else {
                        walk = Walk()
                        continue
                    }
                    if let hash = walk.next(byte) {
                        seen[Int(hash >> 6)] |= 1 << UInt64(hash & 63)
                    }
                }
            }
            text.withUnsafeBufferPointer(add)
            for line in odd { line.withUnsafeBufferPointer { Self.addWhole($0, seen) } }
        }
        let count = seen.reduce(0) { $0 + $1.nonzeroBitCount }
        var bits = Self.bitsMin
        while bits < count * Self.bitsPerTrigram, bits < Self.bitsMax { bits *= 2 }
        var folded = [UInt64](repeating: 0, count: bits / 64)
        for (index, word) in seen.enumerated() { folded[index & (folded.count - 1)] |= word }
        bytes = folded.flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
        }
    }

    /// Of a line that may have the terminator in it.
    private static func addWhole(
        _ bytes: UnsafeBufferPointer<UInt8>, _ seen: UnsafeMutableBufferPointer<UInt64>
    ) {
        var walk = Walk()
        for byte in bytes {
            if let hash = walk.next(byte) { seen[Int(hash >> 6)] |= 1 << UInt64(hash & 63) }
        }
    }

    /// The hashes of a needle's trigrams, each once; none where it is too short.
    package static func hashes(of needle: [UInt8]) -> [UInt32] {
        var walk = Walk()
        var found: Set<UInt32> = []
        for byte in needle { if let hash = walk.next(byte) { found.insert(hash) } }
        return found.sorted()
    }

    /// Whether a block may have a line with all of them. A filter that is not whole says yes.
    package static func mayContain(_ hashes: [UInt32], in filter: UnsafeRawBufferPointer) -> Bool {
        let bits = filter.count * 8
        guard bits >= bitsMin, bits & (bits - 1) == 0 else { return true }
        return hashes.allSatisfy { hash in
            let bit = Int(hash) & (bits - 1)
            return filter[bit / 8] & (1 << UInt8(bit % 8)) != 0
        }
    }

    package func mayContain(_ needle: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { Self.mayContain(Self.hashes(of: needle), in: $0) }
    }

    /// The last three bytes as they count.
    private struct Walk {
        private var window: UInt32 = 0
        private var length = 0
        private var isInDigits = false

        /// The hash of the trigram that ends with `byte`; nil within digits, and at the beginning.
        mutating func next(_ byte: UInt8) -> UInt32? {
            var counted = byte
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                if isInDigits { return nil }
                isInDigits = true
                counted = UInt8(ascii: "0")
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                isInDigits = false
                counted = byte | 0x20
            default: isInDigits = false
            }
            window = (window << 8 | UInt32(counted)) & 0xff_ffff
            length += 1
            guard length >= 3 else { return nil }
            return (window &* 0x9e37_79b1) >> (32 - TrigramFilter.hashBits)
        }
    }
}
