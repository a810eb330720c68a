/// Byte strings with dense numbers: the first is 0. Open addressing with linear probing; nothing is allocated where a
/// string is known. Sizes are bounded by who owns the table (`truncate`).
struct ByteTable: Sendable {
    private var arena: [UInt8] = []
    /// Where string `n` ends in `arena`; it begins where the one before ends.
    private var ends: [Int] = []
    private var hashes: [UInt64] = []
    /// String numbers by hash, -1 for free places; a power of two, at most half full.
    private var places = [Int32](repeating: -1, count: 64)
    /// Differs from process to process, so that no line can be written to collide.
    private let seed = UInt64(bitPattern: Int64(Hasher().finalize()))

    var count: Int { ends.count }
    var byteCount: Int { arena.count }

    /// The number of `bytes`; -1 where they are unknown.
    func find(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        let hash = hash(bytes)
        return places[place(of: bytes, hash)]
    }

    /// The number of `bytes`, a new one where they are unknown.
    mutating func intern(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        let hash = hash(bytes)
        let place = place(of: bytes, hash)
        if places[place] >= 0 { return places[place] }
        let number = Int32(ends.count)
        arena.append(contentsOf: bytes)
        ends.append(arena.count)
        hashes.append(hash)
        places[place] = number
        if ends.count * 2 > places.count { rebuild(placeCount: places.count * 2) }
        return number
    }

    mutating func intern(_ text: String) -> Int32 {
        var text = text
        return text.withUTF8 { intern($0) }
    }

    func bytes(_ number: Int32) -> ArraySlice<UInt8> { arena[range(number)] }

    func text(_ number: Int32) -> String { String(decoding: bytes(number), as: UTF8.self) }

    /// Forgets all strings but the first `count`. O(count).
    mutating func truncate(to count: Int) {
        guard count < ends.count else { return }
        ends.removeLast(ends.count - count)
        hashes.removeLast(hashes.count - count)
        arena.removeLast(arena.count - (ends.last ?? 0))
        var placeCount = 64
        while placeCount < count * 2 { placeCount *= 2 }
        rebuild(placeCount: placeCount)
    }

    private func range(_ number: Int32) -> Range<Int> {
        let index = Int(number)
        return (index == 0 ? 0 : ends[index - 1])..<ends[index]
    }

    /// Where `bytes` are, or where they would go.
    private func place(of bytes: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Int {
        let mask = places.count - 1
        var place = Int(truncatingIfNeeded: hash) & mask
        while true {
            let number = places[place]
            if number < 0 { return place }
            if hashes[Int(number)] == hash, isEqual(range(number), bytes) { return place }
            place = (place + 1) & mask
        }
    }

    private func isEqual(_ range: Range<Int>, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        guard range.count == bytes.count else { return false }
        return arena.withUnsafeBufferPointer { arena in
            let mine = UnsafeBufferPointer(rebasing: arena[range])
            return bytesAreEqual(mine, bytes)
        }
    }

    private mutating func rebuild(placeCount: Int) {
        places = [Int32](repeating: -1, count: placeCount)
        let mask = placeCount - 1
        for (number, hash) in hashes.enumerated() {
            var place = Int(truncatingIfNeeded: hash) & mask
            while places[place] >= 0 { place = (place + 1) & mask }
            places[place] = Int32(number)
        }
    }

    private func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var hash = seed ^ UInt64(bytes.count)
        let raw = UnsafeRawBufferPointer(bytes)
        var at = 0
        while at + 8 <= raw.count {
            hash = Self.mixed(hash ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            at += 8
        }
        var tail: UInt64 = 0
        while at < raw.count {
            tail = tail << 8 | UInt64(raw[at])
            at += 1
        }
        return Self.mixed(hash ^ tail)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0x9e37_79b9_7f4a_7c15)
        return product.high ^ product.low
    }
}

/// Whether two texts have the same bytes.
func bytesAreEqual(_ a: UnsafeBufferPointer<UInt8>, _ b: UnsafeBufferPointer<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    let (a, b) = (UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
    var at = 0
    while at + 8 <= a.count {
        let word = a.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        guard word == b.loadUnaligned(fromByteOffset: at, as: UInt64.self) else { return false }
        at += 8
    }
    while at < a.count {
        guard a[at] == b[at] else { return false }
        at += 1
    }
    return true
}
