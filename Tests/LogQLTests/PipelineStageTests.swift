import LogQL
import LogQLSyntax
import Model
import Testing

/// What single stages make of entries, beyond the tables.
@Suite("LogQL stages")
struct PipelineStageTests {
    private static func run(
        _ stages: String, _ line: String, stream: Labels = .empty, metadata: Labels = .empty,
        grouping: SampleGrouping = .all
    ) throws -> PipelineRun? {
        let run = PipelineRun(try LogQueryTests.query(stages).pipeline, grouping: grouping)
        let isKept = run.process(
            timestamp: TimestampNS(0), line: Array(line.utf8), metadata: metadata,
            of: run.forStream(stream))
        return isKept ? run : nil
    }

    private static func labels(
        _ stages: String, _ line: String, stream: Labels = .empty, metadata: Labels = .empty
    ) throws -> [String: String] {
        let run = try #require(try run(stages, line, stream: stream, metadata: metadata))
        return PipelineTables.dictionary(run.labelSet.all)
    }

    static let parserCases: [(String, String, [String: String])] = [
        ("| json", #"{"a":1,"a":2}"#, ["a": "1"]),
        ("| json", #"{"a":{"b c":true},"d":[1],"e":null} trailing"#, ["a_b_c": "true"]),
        ("| json", #"{"1a":"x","b":{"1":"y"}}"#, ["_1a": "x", "b_1": "y"]),
        ("| json", #"{"a":"\u00e9\ud83d\ude00","b":"\ud83d"}"#, ["a": "é😀", "b": ""]),
        ("| json", #"{"a\"b":"c"}"#, ["a_b": "c"]),
        ("| json", #"{"a":{"":{"b":1}}}"#, ["a_b": "1"]),
        ("| json", #"{"a":1,}"#, ["a": "1"]), ("| json", #"{"a":1, }"#, ["a": "1"]),
        (
            "| json", #"{"a":1,,}"#,
            [
                "a": "1", "__error__": "JSONParserErr",
                "__error_details__":
                    "Value looks like object, but can't find closing '}' symbol",
            ]
        ),
        ("| json", #"{"":4,"a":{"":5}}"#, ["a": "5"]),
        (
            "| json", #"{"a":{"b":[}],"c":1}}"#,
            [
                "__error__": "JSONParserErr",
                "__error_details__": "Value is array, but can't find closing ']' symbol",
            ]
        ),
        (
            "| json x=\"a\", y=\"b\"", #"{"b":2,"a":NaN}"#,
            [
                "x": "", "y": "2", "__error__": "JSONParserErr",
                "__error_details__": "Unknown value type",
            ]
        ),
        (
            "| json", #"{"a":nope}"#,
            ["__error__": "JSONParserErr", "__error_details__": "Unknown value type"]
        ),
        ("| json x=\"a[1].b\"", #"{"a":[{"b":1},{"b":"2"}]}"#, ["x": "2"]),
        ("| json x=\"[0]\", y=\"b\"", "[7]", ["x": "7", "y": ""]),
        ("| json x=\"a\"", #"{"b":nope,"a":"1"}"#, ["x": "1"]),
        (
            "| json x=\"a\", y=\"a.b\"", #"{"a":{"b":[1, 2]}}"#,
            ["x": #"{"b":[1, 2]}"#, "y": "[1, 2]"]
        ),
        ("| logfmt", "a=1 b c= d=\"\" =x a=2 e=\"q\\\"r\"", ["a": "1", "e": "q\"r"]),
        ("| logfmt --keep-empty", "b c= d", ["b": "", "c": "", "d": ""]),
        (
            "| logfmt --strict", "a=1 b=\"x",
            [
                "a": "1", "__error__": "LogfmtParserErr",
                "__error_details__":
                    "logfmt syntax error at pos 9 : unterminated quoted value",
            ]
        ),
        ("| logfmt x=\"b\"", "b=1 b=2 x=3", ["x": "3"]),
        ("| regexp `(?P<a>x)|(?P<b>y)`", "y", ["a": "", "b": "y"]),
        ("| regexp `(?P<a>x.*)`", "xy\nz", ["a": "xy"]), ("| regexp `(?P<a>x.z)`", "x\nz", [:]),
        ("| regexp `(?P<1a>x)`", "x", ["_1a": "x"]),
        ("| unpack", #"{"a":"1","a":"2","_entry":"l"}"#, ["a": "2"]),
        ("| json | a > 999", #"{"a":"1_000"}"#, ["a": "1_000"]),
        (
            "| json | a > 0 | keep __error__", #"{"a":"1__0"}"#,
            [
                "__error__": "LabelFilterErr",
                "__error_details__": "strconv.ParseFloat: parsing \"1__0\": invalid syntax",
            ]
        ),
        ("| regexp `(?s)(?P<a>x.*)`", "xy\nz", ["a": "xy\nz"]),
        (
            "| label_format a=`{{regexReplaceAll \".+\" __line__ \"-\"}}`", "xy\nz", ["a": "-\n-"]
        ),
        ("| pattern `<a>-<_>-<b>`", "1-2", ["a": "1"]),
        ("| json | logfmt", #"{"a":"1"} a=2 b=3"#, ["a": "1", "b": "3"]),
        ("| unpack", #"{"a":"1"}"#, [:]),
        (
            "| unpack", "x",
            [
                "__error__": "JSONParserErr",
                "__error_details__": "expecting json object(6), but it is not",
            ]
        ),
    ]

    @Test("parsers", arguments: parserCases)
    func parsers(stage: String, line: String, expected: [String: String]) throws {
        #expect(try Self.labels(stage, line) == expected)
    }

    @Test("JSON deeper than the bound is an error, and costs no stack")
    func deep() throws {
        let line =
            String(repeating: #"{"a":"#, count: 20_000) + "1"
            + String(repeating: "}", count: 20_000)
        let labels = try Self.labels("| json", line)
        #expect(labels["__error_details__"] == "more than 128 levels of JSON")
    }

    @Test("names that clash get a suffix, the first of two parsed values stays")
    func clashes() throws {
        let found = try Self.labels(
            "| logfmt", "sp=p mp=p tri=p", stream: ["sp": "s", "sm": "s", "tri": "s"],
            metadata: ["mp": "m", "sm": "m", "tri": "m"])
        #expect(
            found == [
                "sp": "s", "sp_extracted": "p", "mp": "m", "mp_extracted": "p", "sm": "s",
                "sm_extracted": "m", "tri": "s", "tri_extracted": "p",
            ])
        let dropped = try Self.labels("| drop a | logfmt", "a=1", stream: ["a": "s", "b": "t"])
        #expect(dropped == ["a_extracted": "1", "b": "t"])
        let metadata = try Self.labels("| drop a | logfmt", "a=1", metadata: ["a": "m"])
        #expect(metadata == ["a": "1"])
    }

    static let filterCases: [(String, String, Bool, String)] = [
        ("| logfmt | a > 5", "a=6", true, ""), ("| logfmt | a > 5", "b=6", false, ""),
        (
            "| logfmt | a > 5", "a=x", true,
            #"strconv.ParseFloat: parsing "x": invalid syntax"#
        ),
        ("| logfmt | a > 5", "a=Inf", true, ""), ("| logfmt | a < 5", "a=NaN", false, ""),
        (
            "| logfmt | a > 1s", "a=1d", true, #"time: unknown unit "d" in duration "1d""#
        ),
        ("| logfmt | a > 1s", "a=5", true, #"time: missing unit in duration "5""#),
        ("| logfmt | a > 1s", "a=x", true, #"time: invalid duration "x""#),
        ("| logfmt | a > 1KB", "a=2kib", true, ""),
        ("| logfmt | a > 1KB", "a=2zb", true, "unhandled size name: zb"),
        ("| logfmt | a > 1KB or b=\"1\"", "b=1", true, ""),
        (
            "| logfmt | (a=\"1\" and b > 1) or c=\"1\"", "b=x c=1", true,
            #"strconv.ParseFloat: parsing "x": invalid syntax"#
        ),
        (
            "| json | a=ip(\"1.0.0.0/8\")", "x", true,
            "Value looks like object, but can't find closing '}' symbol"
        ),
        ("| logfmt | a!=ip(\"1.0.0.0/8\")", "a=1.2.3.4", false, ""),
        ("| logfmt | a=~\".*b\"", "a=ab", true, ""), ("| logfmt | a=~\"b\"", "a=ab", false, ""),
        ("| json | __error__=\"\"", "x", false, ""),
        (
            "| json | __error__!=\"\"", "x", true,
            "Value looks like object, but can't find closing '}' symbol"
        ),
    ]

    @Test("label filters", arguments: filterCases)
    func filters(stages: String, line: String, keeps: Bool, details: String) throws {
        let run = try Self.run(stages, line)
        #expect((run != nil) == keeps)
        #expect((run?.labels.errorDetails ?? details) == details)
    }

    @Test(
        "decolorize",
        arguments: [
            ("\u{1b}[31mred\u{1b}[0m", "red"), ("\u{1b}[1;31;40mx", "x"),
            ("\u{9b}1my", "y"), ("\u{1b}]0;title\u{7}z", "z"), ("plain", "plain"),
            ("\u{1b}[?25l.", "."), ("a\u{1b}", "a\u{1b}"), ("\u{1b}[31é", "é"),
        ])
    func decolorizes(line: String, expected: String) throws {
        let run = try #require(try Self.run("| decolorize", line))
        #expect(run.line == Array(expected.utf8))
    }

    @Test("equal labels are one set, and entries without a change share the stream's")
    func sets() throws {
        let run = PipelineRun(
            try LogQueryTests.query("| json").pipeline, grouping: .by(["b", "a"]))
        let stream = run.forStream(["s": "t"])
        var groups: [Int] = []
        for line in [#"{"a":1,"b":2}"#, #"{"b":2,"a":1,"c":3}"#, #"{"a":1}"#, #"{"a":1,"b":""}"#] {
            _ = run.process(timestamp: TimestampNS(0), line: Array(line.utf8), of: stream)
            groups.append(run.group)
        }
        #expect(groups == [0, 0, 1, 2])
        #expect(run.groupLabels(0) == ["a": "1", "b": "2"])
        #expect(run.groupLabels(2).map(\.value) == ["1", ""])
        #expect(run.groupCount == 3)
    }

    @Test("groups without some labels, of all, and none")
    func groupings() throws {
        let line = #"{"a":1,"b":2}"#
        let without = try #require(
            try Self.run("| json", line, stream: ["s": "t"], grouping: .without(["a"])))
        #expect(without.groupLabels(without.group) == ["b": "2", "s": "t"])
        let all = try #require(try Self.run("| json", line, stream: ["s": "t"]))
        #expect(all.groupLabels(all.group) == ["a": "1", "b": "2", "s": "t"])
        let none = try #require(try Self.run("| json", "broken", grouping: .nothing))
        #expect(none.groupLabels(none.group) == .empty)
        let unchanged = try #require(
            try Self.run("", "x", stream: ["s": "t", "u": "v"], grouping: .by(["s"])))
        #expect(unchanged.groupLabels(unchanged.group) == ["s": "t"])
    }

    @Test("hints take only what is needed, and stop there")
    func hints() throws {
        let run = try #require(
            try Self.run(
                "| json | c > 1", #"{"a":1,"b":{"c":1},"c":2,"d":3} "#, grouping: .by(["a"])))
        #expect(PipelineTables.dictionary(run.labelSet.all) == ["a": "1", "c": "2"])
        let stopped = try #require(
            try Self.run("| json", #"{"a":1, broken"#, grouping: .by(["a"])))
        #expect(!stopped.labels.hasError)
        let suffix = try #require(
            try Self.run(
                "| json", #"{"a":1}"#, stream: ["a": "s"], grouping: .by(["a_extracted"])))
        #expect(suffix.groupLabels(suffix.group) == ["a_extracted": "1"])
        let nested = try #require(
            try Self.run("| json", #"{"a":{"b":1},"x":{"b":2}}"#, grouping: .by(["a_b"])))
        #expect(nested.groupLabels(nested.group) == ["a_b": "1"])
        let failed = try #require(
            try Self.run("| json | __error__!=\"x\"", "broken", grouping: .by(["a"])))
        #expect(failed.labels.value(of: "__preserve_error__") == "true")
    }

    @Test("names beyond number are forgotten, labels are not")
    func manyNames() throws {
        let run = PipelineRun(try LogQueryTests.query("| logfmt").pipeline, grouping: .by(["k"]))
        let all = PipelineRun(try LogQueryTests.query("| logfmt | k=\"v\"").pipeline)
        let stream = run.forStream(["s": "t"])
        let allStream = all.forStream(["s": "t"])
        var wrongCount = 0
        for number in 0..<70_000 {
            let line = Array("n\(number)=1 k=v".utf8)
            _ = run.process(timestamp: TimestampNS(0), line: line, of: stream)
            if run.group != 0 { wrongCount += 1 }
            if !all.process(timestamp: TimestampNS(0), line: line, of: allStream) {
                wrongCount += 1
            }
        }
        #expect(wrongCount == 0)
        #expect(
            PipelineTables.dictionary(all.labelSet.all) == ["k": "v", "n69999": "1", "s": "t"])
    }

    @Test("categories keep apart what came from where")
    func categories() throws {
        let run = try #require(
            try Self.run("| json", #"{"p":1}"#, stream: ["s": "t"], metadata: ["m": "n"]))
        let set = run.labelSet
        #expect(set.stream == ["s": "t"])
        #expect(set.structuredMetadata == ["m": "n"])
        #expect(set.parsed == ["p": "1"])
        #expect(run.labels.category(of: "m") == .structuredMetadata)
    }
}
