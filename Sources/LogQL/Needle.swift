import Glibc

/// A byte string to be found in many lines.
///
/// `memchr` leaps to the next place of the needle's rarest byte, where `memcmp` looks. Where too many of those places
/// are in vain, Knuth, Morris and Pratt's search goes on, so that no line and no needle make it quadratic. Source:
/// "Fast pattern matching in strings", 1977.
struct Needle: Sendable {
    let bytes: [UInt8]
    /// Where in `bytes` the byte is that lines have least often.
    private let rarest: Int
    /// `borders[i]`: the length of the longest proper prefix of `bytes[...i]` that also ends it.
    private let borders: [Int]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        rarest = bytes.indices.min { Self.frequency(bytes[$0]) < Self.frequency(bytes[$1]) } ?? 0
        var borders = [Int](repeating: 0, count: bytes.count)
        var length = 0
        for index in bytes.indices.dropFirst() {
            while length > 0, bytes[index] != bytes[length] { length = borders[length - 1] }
            if bytes[index] == bytes[length] { length += 1 }
            borders[index] = length
        }
        self.borders = borders
    }

    var count: Int { bytes.count }

    /// The first index at or after `start` where the needle begins in `line`; nil where it does not. An empty needle
    /// is found at `start`. O(n).
    func firstIndex(in line: [UInt8], from start: Int = 0) -> Int? {
        line.withUnsafeBufferPointer { firstIndex(in: $0, from: start) }
    }

    func firstIndex(in line: UnsafeBufferPointer<UInt8>, from start: Int = 0) -> Int? {
        precondition(start >= 0 && start <= line.count, "search starts outside the line")
        guard !bytes.isEmpty else { return start }
        return bytes.withUnsafeBufferPointer { needle -> Int? in
            guard let base = line.baseAddress, let text = needle.baseAddress else { return nil }
            var at = start
            var vainCount = 0
            while line.count - at >= needle.count {
                let last = line.count - needle.count
                guard
                    let found = memchr(
                        base + at + rarest, Int32(needle[rarest]), last - at + 1)
                else { return nil }
                at = UnsafeRawPointer(found) - UnsafeRawPointer(base) - rarest
                if memcmp(base + at, text, needle.count) == 0 { return at }
                at += 1
                vainCount += 1
                if vainCount > 32 + (at - start) >> 4 { return steadyIndex(line, needle, at) }
            }
            return nil
        }
    }

    /// Linear whatever the line is.
    private func steadyIndex(
        _ line: UnsafeBufferPointer<UInt8>, _ needle: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> Int? {
        var matched = 0
        for index in start..<line.count {
            while matched > 0, line[index] != needle[matched] { matched = borders[matched - 1] }
            if line[index] == needle[matched] { matched += 1 }
            if matched == needle.count { return index - matched + 1 }
        }
        return nil
    }

    /// How often lines have a byte, roughly.
    private static func frequency(_ byte: UInt8) -> Int {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "e"): 5
        case UInt8(ascii: "a"), UInt8(ascii: "i"), UInt8(ascii: "n"), UInt8(ascii: "o"),
            UInt8(ascii: "r"), UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "0"),
            UInt8(ascii: "\""):
            4
        case 97...122, 48...57, UInt8(ascii: "."), UInt8(ascii: "="), UInt8(ascii: ":"),
            UInt8(ascii: "/"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ","):
            3
        case 65...90, 0x80...0xff: 2
        default: 1
        }
    }
}

/// An ASCII text to be found in any mixture of cases.
///
/// RE2 folds by Unicode: `k` also stands for U+212A and `s` for U+017F. Where a line may hold one of them the answer
/// is nil.
struct FoldedNeedle: Sendable {
    /// The search is quadratic, so that only short texts are for it.
    static let bytesMax = 64

    /// In lower case.
    private let bytes: [UInt8]
    private let upperFirst: UInt8
    private let hasFoldingLetter: Bool

    /// Nil for an empty or long text and for one that is not ASCII.
    init?(_ text: [UInt8]) {
        guard !text.isEmpty, text.count <= Self.bytesMax, text.allSatisfy({ $0 < 0x80 }) else {
            return nil
        }
        bytes = text.map(lowered)
        let first = bytes[0]
        upperFirst = (97...122).contains(first) ? first & 0xdf : first
        hasFoldingLetter = bytes.contains { $0 == UInt8(ascii: "k") || $0 == UInt8(ascii: "s") }
    }

    /// Whether `line` has the text; nil where only a regular expression can tell.
    func isFound(in line: UnsafeBufferPointer<UInt8>) -> Bool? {
        let (first, count) = (bytes[0], bytes.count)
        var at = 0
        while at + count <= line.count {
            let byte = line[at]
            if byte == first || byte == upperFirst, matches(line, at) { return true }
            at += 1
        }
        guard hasFoldingLetter else { return false }
        for byte in line where byte == 0xc5 || byte == 0xe2 { return nil }
        return false
    }

    private func matches(_ line: UnsafeBufferPointer<UInt8>, _ at: Int) -> Bool {
        for index in 1..<max(1, bytes.count) where lowered(line[at + index]) != bytes[index] {
            return false
        }
        return true
    }
}

/// An ASCII letter in lower case; other bytes as they are.
func lowered(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte | 0x20 : byte }
