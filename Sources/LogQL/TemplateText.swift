import GoTemplate

/// Functions of texts by bytes, as Go's are. What a cut leaves of a scalar becomes U+FFFD.
enum TemplateText {
    static func without(prefix: String, _ text: String) -> String {
        guard text.utf8.starts(with: prefix.utf8) else { return text }
        return String(Substring(text.utf8.dropFirst(prefix.utf8.count)))
    }

    static func without(suffix: String, _ text: String) -> String {
        guard text.utf8.reversed().starts(with: suffix.utf8.reversed()) else { return text }
        return String(Substring(text.utf8.dropLast(suffix.utf8.count)))
    }

    /// O(text · part) at worst, as lines and labels are short.
    static func contains(_ text: String, _ part: String) -> Bool {
        var (text, part) = (text, part)
        return text.withUTF8 { text in
            part.withUTF8 { part in index(of: part, in: text, from: 0) != nil }
        }
    }

    private static func index(
        of part: UnsafeBufferPointer<UInt8>, in text: UnsafeBufferPointer<UInt8>, from start: Int
    ) -> Int? {
        guard let first = part.first else { return start }
        var at = start
        while at + part.count <= text.count {
            if text[at] == first {
                let candidate = UnsafeBufferPointer(rebasing: text[at..<(at + part.count)])
                if bytesAreEqual(candidate, part) { return at }
            }
            at += 1
        }
        return nil
    }

    /// With the first `countMax` of `old` replaced; nil where the result would have more than `bytesMax` bytes.
    /// An empty `old` stands before every scalar and at the end. Source: Go `strings.Replace`.
    static func replacing(
        _ text: String, _ old: String, with new: String, countMax: Int, bytesMax: Int
    ) -> String? {
        var (text, old) = (text, old)
        let new = Array(new.utf8)
        var result: [UInt8] = []
        let isWhole = text.withUTF8 { text in
            old.withUTF8 { old in
                var (at, count) = (0, 0)
                while count < countMax {
                    var next = at
                    if old.isEmpty {
                        if count > 0 {
                            guard at < text.count else { break }
                            next = at + max(1, lengthOfScalar(text, at))
                        }
                    } else {
                        guard let found = index(of: old, in: text, from: at) else { break }
                        next = found
                    }
                    result.append(contentsOf: text[at..<next])
                    result.append(contentsOf: new)
                    guard result.count <= bytesMax else { return false }
                    at = next + old.count
                    count += 1
                }
                result.append(contentsOf: text[at...])
                return result.count <= bytesMax
            }
        }
        return isWhole ? String(decoding: result, as: UTF8.self) : nil
    }

    /// The first `count` bytes; the last ones where it is negative. Source: sprig `trunc`.
    static func truncated(_ text: String, _ count: Int) -> String {
        let size = text.utf8.count
        if count < 0, size + count > 0 { return cut(text, (size + count)..<size) }
        return count >= 0 && size > count ? cut(text, 0..<count) : text
    }

    /// Bytes from `start` up to `end`. Source: sprig `substr`, with Go's words for what is out of bounds.
    static func substring(
        _ text: String, _ start: Int, _ end: Int
    ) throws(GoTemplateError) -> String {
        let size = text.utf8.count
        if start < 0 {
            guard end >= 0, end <= size else {
                throw outOfBounds(end < 0 ? "[:\(end)]" : "[:\(end)] with length \(size)")
            }
            return cut(text, 0..<end)
        }
        if end < 0 || end > size {
            guard start <= size else { throw outOfBounds("[\(start):\(size)]") }
            return cut(text, start..<size)
        }
        guard start <= end else { throw outOfBounds("[\(start):\(end)]") }
        return cut(text, start..<end)
    }

    private static func outOfBounds(_ bounds: String) -> GoTemplateError {
        .function("runtime error: slice bounds out of range \(bounds)")
    }

    private static func cut(_ text: String, _ range: Range<Int>) -> String {
        EntryTemplate.text(Array(Array(text.utf8)[range]))
    }
}
