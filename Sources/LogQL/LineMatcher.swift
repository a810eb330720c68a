import LinearRegex
import LogQLSyntax

/// A line filter, compiled.
struct LineMatcher: Sendable {
    private let tests: [LineTest]
    private let isNegated: Bool

    /// Throws the reason, in Loki's words.
    init(_ filter: LineFilter) throws(StageFault) {
        var tests: [LineTest] = []
        for pattern in filter.patterns {
            if pattern.isIP {
                switch filter.operation {
                case .contains, .notContains: break
                case .matchesRegex, .notMatchesRegex, .matchesPattern, .notMatchesPattern:
                    throw StageFault("ip: invalid operation")
                }
                tests.append(
                    .ip(try IPPattern(String(decoding: pattern.bytes, as: UTF8.self))))
                continue
            }
            switch filter.operation {
            case .contains, .notContains:
                tests.append(.contains([Needle(pattern.bytes)]))
            case .matchesRegex, .notMatchesRegex:
                tests.append(try .regex(pattern.bytes))
            case .matchesPattern, .notMatchesPattern:
                tests.append(.pattern(try LinePattern(pattern.bytes)))
            }
        }
        self.tests = tests
        isNegated = filter.operation.isNegated
    }

    func keeps(_ line: [UInt8]) -> Bool {
        for test in tests where test.matches(line) { return !isNegated }
        return isNegated
    }
}

/// One alternative of a line filter.
enum LineTest: Sendable {
    case always
    /// One of them is in the line.
    case contains([Needle])
    /// One of `folded` or of `exact` is in the line; `regex` decides where the folded ones can't.
    case folded([FoldedNeedle], exact: [Needle], LinearRegex)
    /// Lines that lack one of `required` are not looked at further.
    case matches(LinearRegex, required: [Needle])
    case pattern(LinePattern)
    case ip(IPPattern)

    /// An expression that may match anywhere in a line; `.` stands for no line end. Where it asks for nothing but
    /// texts it is not needed, whatever stands around them. Source: Loki 3.6 `parseRegexpFilter`.
    static func regex(_ bytes: [UInt8]) throws(StageFault) -> LineTest {
        let pattern = String(decoding: bytes, as: UTF8.self)
        let regex: LinearRegex
        do {
            regex = try LinearRegex(
                pattern, anchored: false, dotMatchesLineEnd: asksForTextAlone(pattern))
        } catch { throw StageFault(regexErrorText(error)) }
        guard let literals = RegexLiterals.parse(pattern) else {
            return .matches(regex, required: [])
        }
        if let texts = literals.alternatives, texts.count <= LinearRegex.literalAlternativesMax,
            let test = alternatives(texts, regex)
        {
            return test
        }
        let required = literals.required.filter { !$0.isFolded }.map { Needle($0.bytes) }
        return .matches(regex, required: required)
    }

    private static func alternatives(
        _ texts: [RegexLiterals.Text], _ regex: LinearRegex
    ) -> LineTest? {
        if texts.contains(where: \.bytes.isEmpty) { return .always }
        let exact = texts.filter { !$0.isFolded }.map { Needle($0.bytes) }
        guard exact.count < texts.count else { return .contains(exact) }
        var folded: [FoldedNeedle] = []
        for text in texts where text.isFolded {
            guard let needle = FoldedNeedle(text.bytes) else { return nil }
            folded.append(needle)
        }
        return .folded(folded, exact: exact, regex)
    }

    func matches(_ line: [UInt8]) -> Bool {
        switch self {
        case .always: return true
        case .contains(let needles):
            for needle in needles where needle.firstIndex(in: line) != nil { return true }
            return false
        case .folded(let folded, let exact, let regex):
            for needle in exact where needle.firstIndex(in: line) != nil { return true }
            return line.withUnsafeBufferPointer { bytes in
                var isSure = true
                for needle in folded {
                    switch needle.isFound(in: bytes) {
                    case true?: return true
                    case false?: break
                    case nil: isSure = false
                    }
                }
                return isSure ? false : regexMatches(regex, bytes)
            }
        case .matches(let regex, let required):
            for needle in required where needle.firstIndex(in: line) == nil { return false }
            return line.withUnsafeBufferPointer { regexMatches(regex, $0) }
        case .pattern(let pattern): return pattern.matches(line)
        case .ip(let pattern):
            return line.withUnsafeBufferPointer { pattern.isFound(in: $0) }
        }
    }
}

/// Whether all that `pattern` asks for is that there is something, or a text with anything around it. Loki makes no
/// expression of these, and so line ends are as good as other characters there. Source: Loki 3.6 `RegexSimplifier`.
func asksForTextAlone(_ pattern: String) -> Bool {
    guard pattern != ".+", pattern != ".*" else { return true }
    let ends = [".*", ".*?"]
    guard let first = ends.last(where: { pattern.hasPrefix($0) }),
        let last = ends.last(where: { pattern.hasSuffix($0) }),
        first.utf8.count + last.utf8.count < pattern.utf8.count
    else { return false }
    let text = pattern.utf8.dropFirst(first.utf8.count).dropLast(last.utf8.count)
    return !text.contains { #"\.+*?()|[]{}^$"#.utf8.contains($0) }
}

/// Whether `regex` matches `bytes`, each byte that is no UTF-8 taken for U+FFFD.
func regexMatches(_ regex: LinearRegex, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    isUTF8(bytes) ? regex.matches(utf8: bytes) : regex.matches(bytes: Array(bytes))
}

/// Why a stage can't be built, in Loki's words.
struct StageFault: Error {
    var text: String

    init(_ text: String) { self.text = text }
}
