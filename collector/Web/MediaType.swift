/// The value of a `Content-Type` header.
enum MediaType {
    /// Its type in lower case, without parameters; nil where it is malformed. Source: Go `mime.ParseMediaType`; RFC 9110,
    /// 8.3.1.
    static func type(_ header: String) -> String? {
        let parts = header.utf8.split(
            separator: UInt8(ascii: ";"), omittingEmptySubsequences: false
        )
        .map { String(decoding: trimmed($0), as: UTF8.self) }
        let words = parts[0].split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(words.count), words.allSatisfy({ isToken($0) }) else { return nil }
        for (index, part) in parts.enumerated().dropFirst() {
            // One semicolon may stand at the end.
            if part.isEmpty, index == parts.count - 1 { continue }
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, isToken(pair[0]), isValue(pair[1]) else { return nil }
        }
        return parts[0].lowercased()
    }

    private static func trimmed(
        _ text: Substring.UTF8View.SubSequence
    ) -> Substring.UTF8View.SubSequence {
        var text = text.drop { $0 == 32 || $0 == 9 }
        while let last = text.last, last == 32 || last == 9 { text.removeLast() }
        return text
    }

    private static func isValue(_ text: Substring) -> Bool {
        isToken(text) || text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"")
    }

    private static func isToken(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                (33...126).contains($0) && !"()<>@,;:\\\"/[]?=".utf8.contains($0)
            }
    }
}
