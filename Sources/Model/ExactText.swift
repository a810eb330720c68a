/// A text that equals another only byte for byte, as names and values of labels do: to Swift two spellings of `é` are one.
package struct ExactText: Hashable, Sendable, ExpressibleByStringLiteral {
    package let text: String

    package init(_ text: String) { self.text = text }

    package init(stringLiteral text: String) { self.text = text }

    package static func == (a: Self, b: Self) -> Bool { bytesEqual(a.text, b.text) }

    package func hash(into hasher: inout Hasher) { hasher.combine(bytesOf: text) }
}

/// Whether `a` and `b` are the same bytes of UTF-8. O(n).
package func bytesEqual(_ a: String, _ b: String) -> Bool {
    if a._isIdentical(to: b) { return true }
    // Equal bytes are equal texts, and Swift tells unequal ones fast.
    guard a == b, a.utf8.count == b.utf8.count else { return false }
    let isEqual = a.utf8.withContiguousStorageIfAvailable { a in
        b.utf8.withContiguousStorageIfAvailable { b in
            bytesEqual(UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
        }
    }
    return (isEqual ?? nil) ?? a.utf8.elementsEqual(b.utf8)
}

/// The order of two texts by their UTF-8 bytes: below, at or above 0.
func byteOrder(_ a: String, _ b: String) -> Int {
    if a._isIdentical(to: b) { return 0 }
    let order = a.utf8.withContiguousStorageIfAvailable { a in
        b.utf8.withContiguousStorageIfAvailable { b in
            byteOrder(UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
        }
    }
    if let order = order ?? nil { return order }
    if a.utf8.elementsEqual(b.utf8) { return 0 }
    return a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : 1
}

private func byteOrder(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
    let count = min(a.count, b.count)
    var at = 0
    // The first byte is the most significant one of a word.
    while at + 8 <= count {
        let mine = UInt64(bigEndian: a.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        let other = UInt64(bigEndian: b.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        if mine != other { return mine < other ? -1 : 1 }
        at += 8
    }
    while at < count {
        if a[at] != b[at] { return a[at] < b[at] ? -1 : 1 }
        at += 1
    }
    return a.count < b.count ? -1 : a.count == b.count ? 0 : 1
}

private func bytesEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
    precondition(a.count == b.count, "texts of one length")
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

extension Hasher {
    /// Feeds the bytes of `text`, and an end that no UTF-8 has.
    mutating func combine(bytesOf text: String) {
        let isDone: Void? = text.utf8.withContiguousStorageIfAvailable {
            combine(bytes: UnsafeRawBufferPointer($0))
        }
        if isDone == nil { for byte in text.utf8 { combine(byte) } }
        combine(UInt8(0xff))
    }
}
