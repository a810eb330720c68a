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
