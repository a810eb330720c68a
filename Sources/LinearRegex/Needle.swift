import Glibc

/// A byte string to be found in many lines.
///
/// `memchr` leaps to the next place of the needle's rarest byte, where `memcmp` looks. Where too many of those places
/// are in vain, Knuth, Morris and Pratt's search goes on, so that no line and no needle make it quadratic. Source:
/// "Fast pattern matching in strings", 1977.
package struct Needle: Sendable {
    package let bytes: [UInt8]
    /// Where in `bytes` the byte is that lines have least often.
    private let rarest: Int
    /// `borders[i]`: the length of the longest proper prefix of `bytes[...i]` that also ends it.
    private let borders: [Int]

    package init(_ bytes: [UInt8]) {
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

    package var count: Int { bytes.count }

    /// The first index at or after `start` where the needle begins in `line`; nil where it does not. An empty needle
    /// is found at `start`. O(n).
    package func firstIndex(in line: [UInt8], from start: Int = 0) -> Int? {
        line.withUnsafeBufferPointer { firstIndex(in: $0, from: start) }
    }

    package func firstIndex(in line: UnsafeBufferPointer<UInt8>, from start: Int = 0) -> Int? {
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
