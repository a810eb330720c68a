import Model
import Routing
import Testing

@Suite("Matcher texts")
struct MatcherTextTests {
    private func printed(_ text: String) -> String {
        do throws(MatcherTextError) {
            return try MatcherText.parse(text).map {
                "\($0.name)\($0.operation.rawValue)[\($0.value)]"
            }
            .joined(separator: " ")
        } catch {
            return "error"
        }
    }

    @Test(
        "parse",
        arguments: [
            ("a=b", "a=[b]"), ("a=\"b\"", "a=[b]"), ("a != \"b\"", "a!=[b]"),
            ("a=~\"b|c\"", "a=~[b|c]"),
            ("a!~x", "a!~[x]"), ("{a=\"b\", c=~\"d\"}", "a=[b] c=~[d]"), ("a=b,c=d", "a=[b] c=[d]"),
            ("{}", ""), ("{a=b,}", "a=[b]"), ("\"foo bar\"=x", "foo bar=[x]"), ("ü=\"ß\"", "ü=[ß]"),
            ("a=\"q\\\"\\\\\\n\"", "a=[q\"\\\n]"), ("a=\"\"", "a=[]"),
            ("team = ops east", "team=[ops east]"),
            ("a=~.*", "a=~[.*]"), ("a=", "a=[]"), ("a=b'c", "a=[b'c]"),
        ])
    func parses(text: String, expected: String) { #expect(printed(text) == expected) }

    @Test(
        "refuse",
        arguments: [
            "", "a", "=b", "a=\"b", "{a=b", "a=b}", "a==\"b\"x", "a=\"b\" c=\"d\"", "a=\"\\q\"",
            "1 2",
        ])
    func refuses(text: String) { #expect(printed(text) == "error") }

    @Test(
        "match",
        arguments: [
            ("a=b", true), ("a!=b", false), ("a=~b.*", true), ("a=~x|b", true), ("a=~x", false),
            ("a!~\"b|c\"", false), ("absent=\"\"", true), ("absent!=x", true),
            ("absent=~\".*\"", true),
            ("a=~\"\"", false), ("a=~\"bb\"", false),
        ])
    func matches(text: String, expected: Bool) throws {
        let matcher = try AlertMatcher(try #require(MatcherText.parse(text).first))
        #expect(matcher.matches(["a": "b"]) == expected)
    }

    @Test("print")
    func prints() throws {
        #expect(
            try AlertMatcher(LabelMatcher("a", .matchesRegex, "x\"y")).description
                == "a=~\"x\\\"y\"")
        #expect(try AlertMatcher(LabelMatcher("a b", .equal, "c")).description == "\"a b\"=\"c\"")
    }
}
