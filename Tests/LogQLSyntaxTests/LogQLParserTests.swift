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
            (#"({a="b"} |= "x")"#, #"{a="b"} |= "x""#),
            ("{a=\"b\"} // note\n /* more */ |= \"x\"", #"{a="b"} |= "x""#),
            ("# note\n{a=\"b\"} # |= \"x\"\n|= \"#\"", ##"{a="b"} |= "#""##),
            (#"{a="b"} |= "\x00\t\"é\u00e9\377""#, #"{a="b"} |= "\x00\t\"éé\xff""#),
            ("{a=\"b\"} |= `\\d\r`", #"{a="b"} |= "\\d\r""#),
            (#"{rate="x", SUM="y", ip="z", é="1"}"#, #"{rate="x", SUM="y", ip="z", é="1"}"#),
            ("vector(1)+vector(1)", "(vector(1.000000) + vector(1.000000))"),
            ("1 + 2 * 3 ^ 2 ^ -1", "4.464101615137754"),
            ("(1 + 2) % 3e1 - .5", "2.5"),
            ("2 ^ 3 ^ 0", "2"), ("-2 ^ 2", "4"),
            ("1e21 + 0x1p4", "1e+21"), ("1 == bool 1 + 0", "1"), ("1 - -1", "2"),
            (
                #"SUM BY (a) (RATE({a="b"} | JSON | x>1h30m , y<=1.5GiB or z!=-5m [1w] OFFSET 1d))"#,
                #"sum by (a)(rate({a="b"} | json | ( x>1h30m0s , ( y<=1610612736B or z!=-5m0s ) )[1w] offset 24h0m0s))"#
            ),
            (
                #"rate({a="b"}[1h] offset 5m | json | unwrap duration(x) | y="z")"#,
                #"rate({a="b"} | json | unwrap duration(x) | y="z"[1h] offset 5m0s)"#
            ),
            (
                #"{a="b"} | x=1 and y=2 or z=3 u=4, v=5"#,
                #"{a="b"} | ( ( x==1 , y==2 ) or ( z==3 , ( u==4 , v==5 ) ) )"#
            ),
            (
                #"vector(1) + on (a) group_left (b, c) vector(2) > bool ignoring (d) vector(3)"#,
                "((vector(1.000000) + on (a) group_left (b,c) vector(2.000000)) > bool "
                    + "ignoring (d)  vector(3.000000))"
            ),
            (
                #"{a="b"} | drop x, y="z" | keep q=~"r.*" | decolorize | unpack"#,
                #"{a="b"} | drop x,y="z" | keep q=~"r.*" | decolorize | unpack"#
            ),
            (
                #"{a="b"} | size>2.5KB | size>42B | size=10MB | size<1234B"#,
                #"{a="b"} | size>2.5kB | size>42B | size==10MB | size<1234B"#
            ),
            (#"{a="b"} | x=~"a.*|bc" | x=~"foo|bar""#, #"{a="b"} | x=~"a.*|bc" | x=~"foo|bar""#),
            (
                #"{a="b"} | x=~"bar|baz" | x=~"a+" | x!~"(foo|bar)""#,
                #"{a="b"} | x=~`bar|baz` | x=~`a+` | x!~"(foo|bar)""#
            ),
            (
                "vector(1) / on (a) group_left () (2 * vector(3)) -0",
                "((vector(1.000000) / on (a) group_left () (2 * vector(3.000000))) - 0)"
            ),
            ("vector(1) * ignoring () vector(2)", "(vector(1.000000) * vector(2.000000))"),
            ("approx_topk(3, vector(1))", "approx_topk(3,vector(1.000000))"),
        ])
    func prints(query: String, canonical: String) throws {
        let tree = try LogQLParser.parse(query)
        #expect(tree.description == canonical)
        #expect(try LogQLParser.parse(canonical) == tree)
    }

    @Test(
        "a text that is no query is refused with its place",
        arguments: [
            ("", "parse error : syntax error: unexpected $end"),
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
            (#"{é="é"} |"#, "parse error at line 1, col 10: syntax error: unexpected $end"),
            (
                #"{by="x"}"#,
                "parse error at line 1, col 2: syntax error: unexpected by, expecting IDENTIFIER or }"
            ),
            (
                #"({a="b"} |= "x") |= "y""#,
                "parse error at line 0, col 18: syntax error: unexpected |="
            ),
            (
                #"rate({a="b"}[5x])"#,
                #"parse error at line 0, col 13: unknown unit "x" in duration "5x""#
            ),
            (
                #"rate({a="b"}[5m)"#,
                "parse error at line 0, col 13: missing closing ']' in duration"
            ),
            (
                "1_000_ + 1",
                "parse error at line 1, col 1: '_' must separate successive digits"
            ),
            (
                "1e999",
                #"parse error : unable to parse literal as a float: strconv.ParseFloat: parsing "1e999": value out of range"#
            ),
            ("1e", "parse error at line 1, col 1: exponent has no digits"),
            ("08", "parse error at line 1, col 1: invalid digit '8' in octal literal"),
            ("1 /* x", "parse error at line 1, col 3: comment not terminated"),
            (
                #"variants(rate({a="b"}[1m])) of ({a="b"}[1m])"#,
                "parse error at line 1, col 1: variants(…) is not supported"
            ),
            (
                #"{a="b"} | regexp "x""#,
                "parse error : invalid regexp parser: at least one named capture must be supplied"
            ),
            (
                #"{a="b"} | regexp "(?P<x>.)(?P<x>.)""#,
                "parse error : invalid regexp parser: duplicate extracted label name 'x'"
            ),
            (
                #"label_replace(vector(1), "a", "b", "c", "(")"#,
                "parse error : invalid regex in label_replace: error parsing regexp: missing closing ): `^(?:()$`"
            ),
            (
                #"{a=~".*"} + 1"#,
                "parse error : unexpected type for left leg of binary operation (+): *syntax.MatchersExpr"
            ),
            (
                #"1 + {a="b"} | json"#,
                "parse error : unexpected type for right leg of binary operation (+): *syntax.PipelineExpr"
            ),
            (
                "vector(1) and 2 + 1",
                "parse error : unexpected literal for right leg of logical/set binary operation (and): 3.000000"
            ),
            (
                "approx_topk(3, vector(1)) by (a)",
                "parse error : grouping not allowed for approx_topk aggregation"
            ),
            (
                "sum(3, vector(1))",
                "parse error : unsupported parameter for operation sum(3,"
            ),
            (
                #"{a="é"} |= 1"#,
                "parse error at line 1, col 12: syntax error: unexpected NUMBER, expecting STRING or ip"
            ),
            (#"{a="b"} |= "x"#, "parse error at line 1, col 12: literal not terminated"),
            (#"{a="b"} |= "\q""#, "parse error at line 1, col 12: invalid char escape"),
            (#"{a="b"}[5m]"#, "parse error at line 0, col 8: syntax error: unexpected RANGE"),
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

    @Test("nesting is bounded, and so are chains and length")
    func bounded() {
        let deep =
            String(repeating: "(", count: 20_000) + "1" + String(repeating: ")", count: 20_000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(deep) }
        let chain = "vector(1)" + String(repeating: "+vector(1)", count: 9000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(chain) }
        let filters = #"{a="b"} | x=1"# + String(repeating: ",x=1", count: 9000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(filters) }
        let ors = #"{a="b"} | x=1"# + String(repeating: " or x=1", count: 9000)
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parse(ors) }
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

/// Groups of stages, and the errors of building them.
@Suite("LogQL stages")
struct LogQLStageTests {
    @Test("line filters move before stages that keep the line")
    func groups() throws {
        let query =
            #"{a="b"} | json |= "x" | drop c |~ "y" | line_format "z" != "u" | l="m" |= "n""#
        let selector = try LogQLParser.parseSelector(query)
        #expect(
            selector.buildGroups.map(stageText) == [
                #"|= "x" |~ "y""#, "| json", "| drop c", #"| line_format "z""#, #"!= "u""#,
                #"| l="m""#, #"|= "n""#,
            ])
        #expect(
            LogQLSyntaxError.stage(selector.buildGroups[0], reason: "bad").description
                == #"parse error : stage '|= "x" |~ "y"' : bad"#)
    }

    @Test("patterns are cut into literals and captures")
    func patterns() throws {
        let pattern = try PatternExpression.capturing("<ip> - <_> é<a1_>>")
        #expect(
            pattern.parts == [
                .capture("ip"), .literal(Array(" - ".utf8)), .capture(nil),
                .literal(Array(" é".utf8)), .capture("a1_"), .literal(Array(">".utf8)),
            ])
        #expect(try PatternExpression.filtering([]).parts.isEmpty)
        #expect(try PatternExpression.filtering(Array("<1x><".utf8)).parts.count == 1)
        #expect(throws: PatternExpressionError.namedCapture("a")) {
            try PatternExpression.filtering(Array("x<a>".utf8))
        }
        #expect(throws: PatternExpressionError.noCapture) {
            try PatternExpression.capturing("<_> x")
        }
    }

    @Test("bytes that are no UTF-8 are refused with their token's place")
    func invalidBytes() throws {
        let bytes = Array("{a=\"".utf8) + [0xff] + Array("\"}".utf8)
        do {
            _ = try LogQLParser.parse(bytes: bytes)
            Issue.record("parsed")
        } catch {
            #expect(error.description == "parse error at line 1, col 4: invalid UTF-8 encoding")
        }
        #expect(try LogQLParser.parse(bytes: Array("vector(1)".utf8)) == .metric(.vector(1)))
    }

    @Test("sets of literals that divide by zero are NaN", arguments: ["1 / 0", "5 % 0"])
    func divisionByZero(query: String) throws {
        #expect(try LogQLParser.parse(query).description == "NaN")
    }

    @Test("label sets drop empty values")
    func labels() throws {
        #expect(try LogQLParser.parseLabels(#"{a="b", c=""}"#) == Labels(["a": "b"]))
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parseLabels("{a=b}") }
    }
}

/// Durations and sizes.
@Suite("LogQL quantities")
struct LogQLQuantityTests {
    @Test(
        "durations are Prometheus' or Go's",
        arguments: [
            ("1w", 604_800_000_000_000), ("1y", 31_536_000_000_000_000),
            ("1h30m", 5_400_000_000_000), ("1.5h", 5_400_000_000_000), ("-5m", -300_000_000_000),
            ("100ns", 100), ("1us", 1000), ("1\u{3bc}s", 1000), ("0", 0), (".5s", 500_000_000),
            ("30m1h", 5_400_000_000_000), ("106751d", 9_223_286_400_000_000_000),
            ("106752d", nil), ("300y", nil), ("", nil), ("5", nil), ("5x", nil), ("s", nil),
            (".s", nil), ("1d12", nil), ("9223372036854775808ns", nil),
        ] as [(String, Int64?)])
    func durations(text: String, nanoseconds: Int64?) {
        #expect(parseDuration(text) == nanoseconds)
    }

    @Test(
        "sizes have decimal and binary units",
        arguments: [
            ("42B", 42), ("5KB", 5000), ("5kB", 5000), ("1.5GiB", 1_610_612_736),
            ("1P", 1_000_000_000_000_000),
            ("2k", 2000), ("3Mi", 3_145_728), ("1,000B", 1000), ("7 TB", 7_000_000_000_000),
            ("16EiB", nil), ("5X", nil), ("B", nil), ("5Bi", nil), ("1e3KB", nil),
        ] as [(String, UInt64?)])
    func sizes(text: String, bytes: UInt64?) {
        #expect(parseSize(text) == bytes)
    }
}
