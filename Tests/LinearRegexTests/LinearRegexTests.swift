import LinearRegex
import Testing

@Test(arguments: [
    ("a|b", true, "a", true), ("a|b", true, "ab", false), ("a|b", false, "xbx", true),
    ("a.b", true, "a\nb", true), ("", true, "", true), ("", true, "a", false),
    (".*", true, "", true), ("(?i)abc", true, "aBC", true), ("é+", true, "éé", true),
    ("^a$", false, "a\nb", false), ("(?m)^b$", false, "a\nb", true), (#"\d+"#, true, "12", true),
])
func matches(_ pattern: String, anchored: Bool, text: String, expect: Bool) throws {
    let regex = try LinearRegex(pattern, anchored: anchored)
    #expect(regex.matches(text) == expect)
    #expect(regex.matches(bytes: Array(text.utf8)) == expect)
    #expect((regex.firstMatch(in: text) != nil) == expect)
}

@Test(arguments: ["a(", "[", "*", "(?P<n>a)(?P<n>b)", "(?=a)", #"\1"#, "a{1001}"])
func refusesPatterns(_ pattern: String) {
    #expect(throws: LinearRegexError.self) { try LinearRegex(pattern, anchored: true) }
}

@Test func messagesNameTheFault() {
    #expect {
        try LinearRegex("[a", anchored: true)
    } throws: { error in
        "\(error)" == "missing closing ]: `[a`"
    }
    for (pattern, words) in [
        ("a{1001}", "invalid repeat count: `{1001}`"), ("(?P<a", "invalid named capture: `(?P<a`"),
        (#"a\"#, "trailing backslash at end of expression: ``"),
    ] {
        #expect {
            try LinearRegex(pattern, anchored: true)
        } throws: { error in
            "\(error)" == words
        }
    }
    let long = String(repeating: "a", count: LinearRegex.patternBytesMax + 1)
    #expect(
        throws: LinearRegexError.patternTooLong(
            bytes: LinearRegex.patternBytesMax + 1, max: LinearRegex.patternBytesMax)
    ) { try LinearRegex(long, anchored: true) }
}

/// Patterns that need more memory than is allowed are refused, not compiled.
@Test func refusesPatternsThatNeedTooMuchMemory() {
    #expect(throws: LinearRegexError.self) {
        try LinearRegex("((((a{100}){100}){100}){100}){100}", anchored: true)
    }
}

/// A backtracking engine needs 2^100 000 steps here.
@Test func timeIsLinear() throws {
    let text = String(repeating: "a", count: 100_000) + "!"
    #expect(try !LinearRegex("^(a+)+$", anchored: false).matches(text))
}

@Test(arguments: ["(?<year>\\d+)-(?P<month>\\d+)(x)?", "(?P<year>\\d+)-(?<month>\\d+)(x)?"])
func namedGroups(_ pattern: String) throws {
    let regex = try LinearRegex(pattern, anchored: false)
    #expect(regex.groupNames == ["year", "month", nil])
    let match = try #require(regex.firstMatch(in: "é 2026-11."))
    #expect(match.range == 3..<10)
    #expect(match.groups == [3..<10, 3..<7, 8..<10, nil])
    #expect(match.text(0) == "2026-11")
    #expect(match.text(named: "year") == "2026")
    #expect(match.text(named: "month") == "11")
    #expect(match.text(3) == nil)
    #expect(match.text(4) == nil)
    #expect(match.text(named: "day") == nil)
}

/// What looks like a group is none inside a class, an escape or a quotation.
@Test(arguments: [
    (#"[(?<a>]+"#, "(?<a>"), (#"\(?<a>"#, "(<a>"), (#"\Q(?<a>\E"#, "(?<a>"),
    (#"[](?<a>]+"#, "](?<a>"), (#"[^](?<a>]+"#, "bcd"),
])
func namedGroupSpellingElsewhereIsText(_ pattern: String, text: String) throws {
    #expect(try LinearRegex(pattern, anchored: true).matches(text))
}

@Test func invalidBytesAreReplacementCharacters() throws {
    let bytes: [UInt8] = [0x61, 0xff, 0xc3, 0x62]
    #expect(try LinearRegex("a..b", anchored: true).matches(bytes: bytes))
    #expect(try LinearRegex("a\u{fffd}{2}b", anchored: true).matches(bytes: bytes))
    #expect(try !LinearRegex("a.b", anchored: true).matches(bytes: bytes))
    let match = try LinearRegex("a(.)", anchored: false).firstMatch(inBytes: bytes)
    #expect(match?.text(1) == "\u{fffd}")
}

@Test(arguments: [
    ("$1-${2}", "a-b"), ("$1x", ""), ("${1}x", "ax"), ("$second$$", "b$"), ("$", "$"),
    ("${", "${"), ("$9", ""), ("a$", "a$"), ("${unknown}", ""),
])
func expandsTemplates(_ template: String, expect: String) throws {
    let regex = try LinearRegex("(a)(?P<second>b)", anchored: true)
    #expect(regex.firstMatch(in: "ab")?.expand(template) == expect)
}

@Test(arguments: [
    ("a", "banana", "b-n-n-"), ("x*", "abc", "-a-b-c-"), ("a*", "baac", "-b-c-"),
    ("q", "abc", "abc"),
    ("", "é", "-é-"), ("^a", "aaa", "-aa"),
])
func replacesAllMatches(_ pattern: String, text: String, expect: String) throws {
    let regex = try LinearRegex(pattern, anchored: false)
    #expect(regex.replacingMatches(in: text) { _ in "-" } == expect)
}

@Test(arguments: [
    ("abc", ["abc"]), ("a|b|", ["a", "b", ""]), ("", [""]), ("a.b", nil), ("(a|b)", nil),
    ("(?i)a", nil), (#"a\|b"#, nil),
])
func literalAlternatives(_ pattern: String, expect: [String]?) throws {
    let regex = try LinearRegex(pattern, anchored: true)
    #expect(regex.literalAlternatives == expect)
    #expect(regex.literal == (expect?.count == 1 ? expect?[0] : nil))
}

@Test func matchesFromManyTasksAtOnce() async throws {
    let regex = try LinearRegex("(a|b)+c", anchored: true)
    await withTaskGroup(of: Bool.self) { group in
        for index in 0..<64 {
            group.addTask {
                regex.matches(String(repeating: index % 2 == 0 ? "ab" : "ba", count: 500) + "c")
            }
        }
        for await matched in group { #expect(matched) }
    }
}
