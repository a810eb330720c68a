import Glibc

/// A byte string to be found in many lines.
///
/// Knuth, Morris and Pratt's search, so that no line and no needle make it quadratic; `memchr` leaps to the next place
/// where the needle's first byte stands. Source: "Fast pattern matching in strings", 1977.
struct Needle: Sendable {
    private let bytes: [UInt8]
    /// `borders[i]`: the length of the longest proper prefix of `bytes[...i]` that also ends it.
    private let borders: [Int]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
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
        precondition(start >= 0 && start <= line.count, "search starts outside the line")
        guard let first = bytes.first else { return start }
        return line.withUnsafeBufferPointer { line -> Int? in
            guard let base = line.baseAddress else { return nil }
            var matched = 0
            var index = start
            while index < line.count {
                if matched == 0 {
                    guard let found = memchr(base + index, Int32(first), line.count - index)
                    else { return nil }
                    index = UnsafeRawPointer(found) - UnsafeRawPointer(base)
                }
                while matched > 0, line[index] != bytes[matched] {
                    matched = borders[matched - 1]
                }
                if line[index] == bytes[matched] { matched += 1 }
                index += 1
                if matched == bytes.count { return index - matched }
            }
            return nil
        }
    }
}
