import LogQLSyntax
import Model
import Testing

/// What the text of a query means, and what is said of a text that is none.
@Suite("LogQL parser")
struct LogQLParserTests {
    @Test(
        "queries print in their canonical form, which parses back to the same tree",
        arguments: [
            (#"{a="b"}"#, #"{a="b"}"#),
            (#"  { a = "b" ,c!="d",e=~"f.*", g!~`h` } "#, #"{a="b", c!="d", e=~"f.*", g!~"h"}"#),
            (#"{a="b"} |= "x" != `y` |~ "z" !~ "q""#, #"{a="b"} |= "x" != "y" |~ "z" !~ "q""#),
            (#"{a="b"}|="x"or"y"or `z`"#, #"{a="b"} |= "x" or "y" or "z""#),
            (#"{a="b"} != "x" or "y""#, #"{a="b"} != "x" != "y""#),
            (#"{a="b"} |> "<_> x" !> "y""#, #"{a="b"} |> "<_> x" !> "y""#),
            (#"({a="b"} |= "x") |= "y""#, #"{a="b"} |= "x" |= "y""#),
            ("# note\n{a=\"b\"} # |= \"x\"\n|= \"#\"", ##"{a="b"} |= "#""##),
            (#"{a="b"} |= "\x00\t\"é\u00e9\377""#, #"{a="b"} |= "\x00\t\"éé\xff""#),
            ("{a=\"b\"} |= `\\d\r`", #"{a="b"} |= "\\d""#),
            (#"{by="x"}"#, #"{by="x"}"#),
            ("vector(1)+vector(1)", "(vector(1.0) + vector(1.0))"),
            ("1 + 2 * 3 ^ 2 ^ -1", "(1.0 + (2.0 * (3.0 ^ (2.0 ^ -1.0))))"),
            ("(1 + 2) % 3e1 - .5", "(((1.0 + 2.0) % 30.0) - 0.5)"),
        ])
    func prints(query: String, canonical: String) throws {
        let tree = try LogQLParser.parse(query)
        #expect(tree.description == canonical)
        #expect(try LogQLParser.parse(canonical) == tree)
    }

    @Test(
        "a text that is no query is refused with its place",
        arguments: [
            ("", "parse error at line 1, col 1: syntax error: unexpected $end"),
            (
                "{",
                "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }"
            ),
            (
                #"{foo="bar""#,
                "parse error at line 1, col 11: syntax error: unexpected $end, expecting } or ,"
            ),
            (
                #"{foo="bar",}"#,
                "parse error at line 1, col 12: syntax error: unexpected }, expecting IDENTIFIER"
            ),
            (
                "{foo}",
                "parse error at line 1, col 5: syntax error: unexpected }, expecting = or =~ or !~ or !="
            ),
            (
                "{foo=bar}",
                "parse error at line 1, col 6: syntax error: unexpected IDENTIFIER, expecting STRING"
            ),
            (
                #"{foo="bar"} "foo""#,
                "parse error at line 1, col 13: syntax error: unexpected STRING"
            ),
            (
                "{foo=\"bar\"}\n|= foo",
                "parse error at line 2, col 4: syntax error: unexpected IDENTIFIER, expecting STRING or ip"
            ),
            (#"{é="é"} |"#, "parse error at line 1, col 2: syntax error: unexpected 'é'"),
            (
                #"{a="é"} |= 1"#,
                "parse error at line 1, col 12: syntax error: unexpected NUMBER, expecting STRING or ip"
            ),
            (#"{a="b"} |= "x"#, "parse error at line 1, col 12: literal not terminated"),
            (#"{a="b"} |= "\q""#, "parse error at line 1, col 12: invalid char escape"),
            (#"{a="b"}[5m]"#, "parse error at line 1, col 8: syntax error: unexpected RANGE"),
            (
                "vector(abc)",
                "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting NUMBER"
            ),
            (
                #"1 + {a="b"}"#,
                "parse error : unexpected type for right leg of binary operation (+): *syntax.MatchersExpr"
            ),
            (#"{a=~"("}"#, "parse error : error parsing regexp: missing closing ): `(`"),
        ])
    func refuses(query: String, message: String) {
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(query) }
        do { _ = try LogQLParser.parse(query) } catch { #expect(error.description == message) }
    }

    @Test(
        "a selection of everything is refused",
        arguments: [
            "{}", #"{a=""}"#, #"{a!="b"}"#, #"{a=~".*"}"#, #"{a!~"x"}"#, #"{a=~".*",b!="c"}"#,
        ])
    func refusesEverything(query: String) {
        #expect(throws: LogQLSyntaxError.needsMatcher) { try LogQLParser.parse(query) }
    }

    @Test(
        "one matcher that needs a value is enough",
        arguments: [#"{a!=""}"#, #"{a=~".+"}"#, #"{a!~".*"}"#, #"{a=~".*",b="c"}"#])
    func acceptsOne(query: String) throws { _ = try LogQLParser.parse(query) }

    @Test(
        "what is not answered yet is named, never misread",
        arguments: [
            (#"{a="b"} | json"#, "json"), (#"{a="b"} | level="x""#, "label filter"),
            (#"{a="b"} |= ip("1.2.3.4")"#, "ip"), (#"rate({a="b"}[5m])"#, "rate"),
            (#"sum by (x) (rate({a="b"}[5m]))"#, "sum"), ("1 > 2", ">"), ("1 or 2", "or"),
        ])
    func notSupported(query: String, construct: String) {
        do {
            _ = try LogQLParser.parse(query)
            Issue.record("parsed: \(query)")
        } catch {
            guard case .notSupported(_, _, let named) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(named.contains(construct))
            #expect(error.description.contains("not supported yet"))
        }
    }

    @Test("nesting is bounded, and so are chains and length")
    func bounded() {
        let deep =
            String(repeating: "(", count: 20_000) + "1" + String(repeating: ")", count: 20_000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(deep) }
        let chain = "1" + String(repeating: "+1", count: 20_000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(chain) }
        let powers = "1" + String(repeating: "^1", count: 20_000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(powers) }
        let long = #"{a="b"} |= ""# + String(repeating: "x", count: 131_072) + "\""
        #expect(throws: LogQLSyntaxError.tooLong(bytes: long.utf8.count)) {
            try LogQLParser.parse(long)
        }
    }

    @Test("matchers alone may match everything")
    func matchersAlone() throws {
        #expect(try LogQLParser.parseMatchers("{}").isEmpty)
        #expect(
            try LogQLParser.parseMatchers(#"{a!="b"}"#) == [LabelMatcher("a", .notEqual, "b")])
        #expect(throws: LogQLSyntaxError.self) {
            try LogQLParser.parseMatchers(#"{a="b"} |= "x""#)
        }
    }
}
