/// A set of series numbers: blocks of 4,096 bits. Copies share the blocks that are equal, so that many days of the same
/// series weigh little more than one.
package struct NumberSet: Hashable, Sendable {
    private static let blockBits = 4096
    private static let blockWords = blockBits / 64

    /// An empty block has no words.
    private var blocks: [[UInt64]] = []

    /// The empty set.
    package init() {}

    /// The set whose number n is bit n mod 8 of byte n / 8.
    package init(bytes: [UInt8]) {
        for start in stride(from: 0, to: bytes.count, by: Self.blockBits / 8) {
            var block = [UInt64](repeating: 0, count: Self.blockWords)
            for index in start..<min(start + Self.blockBits / 8, bytes.count) {
                block[(index - start) / 8] |= UInt64(bytes[index]) << (UInt64(index % 8) * 8)
            }
            blocks.append(block.contains { $0 != 0 } ? block : [])
        }
        trim()
    }

    /// As `init(bytes:)` takes it; no trailing zeros.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(blocks.count * Self.blockBits / 8)
        for block in blocks {
            guard !block.isEmpty else {
                bytes += [UInt8](repeating: 0, count: Self.blockBits / 8)
                continue
            }
            for word in block {
                for shift in stride(from: UInt64(0), to: 64, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: word >> shift))
                }
            }
        }
        return Array(bytes.prefix((bytes.lastIndex { $0 != 0 } ?? -1) + 1))
    }

    package var isEmpty: Bool { blocks.isEmpty }

    /// False for numbers below 0.
    package func contains(_ number: Int32) -> Bool {
        let (block, bit) = Int(number).quotientAndRemainder(dividingBy: Self.blockBits)
        guard number >= 0, block < blocks.count, !blocks[block].isEmpty else { return false }
        return blocks[block][bit / 64] & (1 << UInt64(bit % 64)) != 0
    }

    /// Traps on a number below 0.
    package mutating func insert(_ number: Int32) {
        precondition(number >= 0, "numbers count from 0")
        let (block, bit) = Int(number).quotientAndRemainder(dividingBy: Self.blockBits)
        while blocks.count <= block { blocks.append([]) }
        if blocks[block].isEmpty {
            blocks[block] = [UInt64](repeating: 0, count: Self.blockWords)
        }
        blocks[block][bit / 64] |= 1 << UInt64(bit % 64)
    }

    package mutating func formUnion(_ other: NumberSet) {
        while blocks.count < other.blocks.count { blocks.append([]) }
        for (index, block) in other.blocks.enumerated() where !block.isEmpty {
            guard !blocks[index].isEmpty else {
                blocks[index] = block
                continue
            }
            for word in block.indices { blocks[index][word] |= block[word] }
        }
    }

    package mutating func subtract(_ other: NumberSet) {
        for (index, block) in other.blocks.enumerated()
        where index < blocks.count && !blocks[index].isEmpty && !block.isEmpty {
            for word in block.indices { blocks[index][word] &= ~block[word] }
            if blocks[index].allSatisfy({ $0 == 0 }) { blocks[index] = [] }
        }
        trim()
    }

    /// Uses the memory of another set for the blocks that are equal.
    package mutating func share(_ other: NumberSet) {
        for index in blocks.indices
        where index < other.blocks.count && blocks[index] == other.blocks[index] {
            blocks[index] = other.blocks[index]
        }
    }

    private mutating func trim() {
        while blocks.last?.isEmpty == true { blocks.removeLast() }
    }
}
