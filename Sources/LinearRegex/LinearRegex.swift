import CRE2

/// Why a pattern was refused.
package enum LinearRegexError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The pattern is longer than `LinearRegex.patternBytesMax`.
    case patternTooLong(bytes: Int, max: Int)
    /// Why a pattern cannot be parsed or needs too much memory, in Go's words where it has any: they are those that
    /// users of Prometheus and Loki know.
    case invalidPattern(pattern: String, reason: String)

    package var description: String {
        switch self {
        case .patternTooLong(let bytes, let max):
            "pattern of \(bytes) bytes exceeds the limit of \(max)"
        case .invalidPattern(_, let reason): reason
        }
    }
}

/// A regular expression in RE2 syntax that matches in time linear in its input.
///
/// `.` matches line ends, as in PromQL's and LogQL's matchers, unless told otherwise. Text is UTF-8; bytes that are not are
/// matched as if each were U+FFFD, as Go does. `(?<name>…)` is accepted beside `(?P<name>…)`.
package final class LinearRegex: Sendable {
    /// The longest pattern, 16 KiB.
    package static let patternBytesMax = 16 * 1024
    /// The memory that one pattern's programs and state caches may take, 8 MiB.
    package static let memoryBytesMax = 8 * 1024 * 1024
    /// The most alternatives that `literalAlternatives` lists.
    package static let literalAlternativesMax = 256

    /// The pattern as given.
    package let pattern: String
    /// Whether a match must span the whole text.
    package let isAnchored: Bool
    /// The names of the capture groups; index 0 is group 1, nil where a group has no name.
    package let groupNames: [String?]
    /// For a pattern that is plain texts separated by `|` (or one plain text): those texts. Nil for all others.
    package let literalAlternatives: [String]?

    // Never changed after init, and RE2 documents matching on a const RE2 as safe from any number of threads.
    private nonisolated(unsafe) let handle: OpaquePointer

    /// Compiles `pattern`. With `anchored` a match must span the whole text, else it may be anywhere in it. Without
    /// `dotMatchesLineEnd` `.` matches any character but a line end, as Go's `regexp` has it.
    package init(
        _ pattern: String, anchored: Bool, dotMatchesLineEnd: Bool = true
    ) throws(LinearRegexError) {
        guard pattern.utf8.count <= Self.patternBytesMax else {
            throw .patternTooLong(bytes: pattern.utf8.count, max: Self.patternBytesMax)
        }
        let spelled = Array(rewritingNamedGroups(pattern).utf8)
        var message = [CChar](repeating: 0, count: 256)
        let compiled = spelled.withUnsafeBufferPointer { bytes in
            cre2_new(
                bytes.baseAddress, bytes.count, dotMatchesLineEnd ? 1 : 0,
                Int64(Self.memoryBytesMax), &message, message.count)
        }
        guard let compiled else {
            let reason = String(
                decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw .invalidPattern(pattern: pattern, reason: goWords(reason))
        }
        handle = compiled
        self.pattern = pattern
        isAnchored = anchored
        literalAlternatives = plainAlternatives(pattern, max: Self.literalAlternativesMax)
        groupNames = (1..<(1 + max(0, Int(cre2_group_count(compiled))))).map { group in
            cre2_group_name(compiled, Int32(group)).map { name in
                defer { cre2_free_name(name) }
                return String(cString: name)
            }
        }
        var seen: Set<String> = []
        for name in groupNames {
            guard let name, !seen.insert(name).inserted else { continue }
            throw .invalidPattern(
                pattern: pattern, reason: "duplicate capture group name: \(name)")
        }
    }

    deinit { cre2_delete(handle) }

    /// The number of capture groups, group 0 (the whole match) not counted.
    package var groupCount: Int { groupNames.count }

    /// The text itself where the pattern is one plain text, nil otherwise.
    package var literal: String? {
        literalAlternatives.flatMap { $0.count == 1 ? $0[0] : nil }
    }

    // MARK: - Matching

    /// Whether `text` matches. O(n).
    package func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { match($0, from: 0, groups: nil) }
    }

    /// Whether `bytes` match; bytes that are no UTF-8 count as U+FFFD. O(n).
    package func matches(bytes: [UInt8]) -> Bool {
        if let text = repairedIfInvalid(bytes) {
            return text.withUnsafeBufferPointer { match($0, from: 0, groups: nil) }
        }
        return bytes.withUnsafeBufferPointer { match($0, from: 0, groups: nil) }
    }

    /// Whether `text`, which is valid UTF-8, matches. Nothing is copied. O(n).
    package func matches(utf8 text: UnsafeBufferPointer<UInt8>) -> Bool {
        match(text, from: 0, groups: nil)
    }

    /// The first match in `text` at or after byte `start`, nil where there is none. O(n).
    package func firstMatch(in text: String, from start: Int = 0) -> RegexMatch? {
        firstMatch(validBytes: Array(text.utf8), from: start)
    }

    /// The first match in `bytes` at or after `start`. Where the bytes are no valid UTF-8 the match is made on a copy
    /// with U+FFFD in place of each invalid byte, and its ranges are of that copy: take the text from the match.
    package func firstMatch(inBytes bytes: [UInt8], from start: Int = 0) -> RegexMatch? {
        firstMatch(validBytes: repairedIfInvalid(bytes) ?? bytes, from: start)
    }

    /// Every match in `text` from left to right, none overlapping another, at most `max` of them.
    /// Source: Go 1.24 `regexp.FindAllIndex` (an empty match right after a match is skipped).
    package func allMatches(in text: String, max: Int = .max) -> [RegexMatch] {
        let bytes = Array(text.utf8)
        var matches: [RegexMatch] = []
        var start = 0
        var previousEnd = -1
        while matches.count < max, start <= bytes.count,
            let match = firstMatch(validBytes: bytes, from: start)
        {
            let range = match.range
            if !range.isEmpty || range.lowerBound != previousEnd { matches.append(match) }
            previousEnd = range.upperBound
            start = range.isEmpty ? endOfScalar(in: bytes, at: range.upperBound) : range.upperBound
        }
        return matches
    }

    /// `text` with every match replaced by what `replacement` makes of it.
    package func replacingMatches(
        in text: String, with replacement: (RegexMatch) -> String
    ) -> String {
        let matches = allMatches(in: text)
        guard !matches.isEmpty else { return text }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var position = 0
        for match in matches {
            result += bytes[position..<match.range.lowerBound]
            result += Array(replacement(match).utf8)
            position = match.range.upperBound
        }
        result += bytes[position...]
        return String(decoding: result, as: UTF8.self)
    }

    // MARK: - Private

    private func firstMatch(validBytes bytes: [UInt8], from start: Int) -> RegexMatch? {
        guard (0...bytes.count).contains(start) else { return nil }
        var offsets = [Int](repeating: -1, count: 2 * (groupCount + 1))
        let found = bytes.withUnsafeBufferPointer { text in
            offsets.withUnsafeMutableBufferPointer { match(text, from: start, groups: $0) }
        }
        guard found else { return nil }
        let ranges = stride(from: 0, to: offsets.count, by: 2).map { index in
            offsets[index] < 0 ? nil : offsets[index]..<offsets[index + 1]
        }
        return RegexMatch(subject: bytes, groups: ranges, names: groupNames)
    }

    private func match(
        _ text: UnsafeBufferPointer<UInt8>, from start: Int,
        groups: UnsafeMutableBufferPointer<Int>?
    ) -> Bool {
        cre2_match(
            handle, text.baseAddress, text.count, start, isAnchored ? 1 : 0, groups?.baseAddress,
            (groups?.count ?? 0) / 2) != 0
    }
}

/// A match and its capture groups.
package struct RegexMatch: Sendable {
    /// The bytes that were searched, valid UTF-8.
    package let subject: [UInt8]
    /// Byte ranges of `subject`; index 0 is the whole match, nil is a group that took no part.
    package let groups: [Range<Int>?]
    private let names: [String?]

    init(subject: [UInt8], groups: [Range<Int>?], names: [String?]) {
        self.subject = subject
        self.groups = groups
        self.names = names
    }

    /// The byte range of the whole match.
    package var range: Range<Int> { groups[0] ?? 0..<0 }

    /// The text of group `index`; nil where there is no such group or it took no part.
    package func text(_ index: Int) -> String? {
        guard groups.indices.contains(index), let range = groups[index] else { return nil }
        return String(decoding: subject[range], as: UTF8.self)
    }

    /// The text of the group called `name`; nil where there is no such group or it took no part.
    package func text(named name: String) -> String? {
        names.firstIndex(of: name).flatMap { text($0 + 1) }
    }

    /// `template` with `$1`, `${1}`, `$name` and `${name}` replaced by groups and `$$` by a dollar. An unknown group is
    /// empty. The longest run of letters, digits and underscores is the name. Source: Go 1.24 `regexp.Expand`.
    package func expand(_ template: String) -> String {
        var result: [UInt8] = []
        var rest = Array(template.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "$") else {
                result.append(byte)
                continue
            }
            if rest.first == UInt8(ascii: "$") {
                rest.removeFirst()
                result.append(byte)
                continue
            }
            guard let (name, length) = Self.groupReference(rest) else {
                result.append(byte)
                continue
            }
            rest.removeFirst(length)
            let value = Int(name).map { text($0) } ?? text(named: name)
            result += Array((value ?? "").utf8)
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The name after a dollar and how many bytes it takes, braces included; nil where there is none.
    private static func groupReference(_ rest: ArraySlice<UInt8>) -> (name: String, length: Int)? {
        let isBraced = rest.first == UInt8(ascii: "{")
        let name = rest.dropFirst(isBraced ? 1 : 0).prefix { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || byte == 95
        }
        guard !name.isEmpty else { return nil }
        if isBraced {
            guard rest.dropFirst(1 + name.count).first == UInt8(ascii: "}") else { return nil }
        }
        return (String(decoding: name, as: UTF8.self), name.count + (isBraced ? 2 : 0))
    }
}

/// RE2's `missing ): (` as Go says it. Source: Go `regexp/syntax.ErrorCode`; RE2 `re2/regexp.cc`.
private func goWords(_ reason: String) -> String {
    if reason == "trailing \\" { return "trailing backslash at end of expression: ``" }
    guard let colon = reason.firstRange(of: ": ") else { return reason }
    let words = [
        "missing )": "missing closing )", "missing ]": "missing closing ]",
        "no argument for repetition operator": "missing argument to repetition operator",
        "bad repetition operator": "invalid nested repetition operator",
        "invalid perl operator": "invalid or unsupported Perl syntax",
        "trailing \\": "trailing backslash at end of expression",
        "invalid named capture group": "invalid named capture",
        "invalid repetition size": "invalid repeat count",
    ]
    let code = String(reason[..<colon.lowerBound])
    return "\(words[code] ?? code): `\(reason[colon.upperBound...])`"
}
