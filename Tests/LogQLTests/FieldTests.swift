import LogQL
import LogQLSyntax
import Model
import Testing

/// What is known of fields before lines are read, and what is found out about them.
@Suite("LogQL fields")
struct FieldTests {
    private static func query(_ text: String) throws -> LogQuery {
        guard case .log(let query) = try PreparedLogQL.prepare(text) else {
            throw LogQLError.syntax(.onlySelector)
        }
        return query
    }

    @Test(arguments: [
        (#"{a="b"} | trace_id="x""#, ["trace_id=x"]),
        (#"{a="b"} |= "y" | line_format "z" | decolorize | trace_id="x""#, ["trace_id=x"]),
        (#"{a="b"} | trace_id="x", user="u" and n > 5"#, ["trace_id=x", "user=u"]),
        (#"{a="b"} | trace_id="x" | json | user="u""#, ["trace_id=x"]),
        (#"{a="b"} | trace_id="x" or user="u""#, []),
        (#"{a="b"} | trace_id!="x" | b=~"x" | c="""#, []),
        (#"{a="b"} | json | trace_id="x""#, []), (#"{a="b"} | logfmt | trace_id="x""#, []),
        (#"{a="b"} | label_format trace_id=a | trace_id="x""#, []),
        (#"{a="b"} | drop c | trace_id="x""#, []), (#"{a="b"} | keep trace_id | trace_id="x""#, []),
        (#"{a="b"} | detected_level="error" | __error__="x""#, []),
        (#"{a="b"} | trace_id_extracted="x""#, []),
    ])
    func metadataEqualities(text: String, expected: [String]) throws {
        #expect(
            try Self.query(text).metadataEqualities.map { "\($0.name)=\($0.value)" } == expected)
    }

    @Test func metricSelectionsHaveThem() throws {
        func selections(_ text: String) throws -> [MetricSelection] {
            try MetricPlan(
                try LogQLParser.parseMetric(text), at: .instant(TimestampNS(60_000_000_000))
            ).selections
        }
        let one = try selections(#"count_over_time({a="b"} | t="x" [1m])"#)
        #expect(one.map(\.metadata) == [[Label("t", "x")]])
        // What reads all lines has all that the other needs.
        let both = try selections(#"rate({a="b"} | t="x" [1m]) / rate({a="b"}[1m])"#)
        #expect(both.map(\.metadata) == [[]])
        // Neither does for both.
        let apart = try selections(#"rate({a="b"} | t="x" [1m]) / rate({a="b"} | t="y" [1m])"#)
        #expect(apart.map(\.metadata) == [[Label("t", "x")], [Label("t", "y")]])
        let crossed = try selections(#"rate({a="b"} | t="x" [1m]) / rate({a="b"} |= "y" [1m])"#)
        #expect(crossed.count == 2)
    }

    @Test(arguments: [
        ("5", DetectedFieldType.int), ("-12", .int), ("1.5", .float), ("1e3", .float),
        ("NaN", .float), ("true", .boolean), ("F", .boolean), ("1h30m", .duration),
        ("15ms", .duration), ("10MB", .bytes), ("3 KiB", .bytes), ("", .string), ("abc", .string),
        ("9223372036854775808", .float), ("1.2.3", .string),
    ])
    func type(value: String, expected: DetectedFieldType) {
        #expect(DetectedFieldType(of: value) == expected)
    }

    @Test func jsonPaths() {
        let line =
            #"{"a":1,"request":{"uri":"/x","head-ers":{"X.Y":true}},"l":[1],"n":null,"9":"z","a":2}"#
        #expect(
            JSONFieldPaths.paths(of: Array(line.utf8)) == [
                "a": ["a"], "request_uri": ["request", "uri"],
                "request_head_ers_X_Y": ["request", "head-ers", "X.Y"], "_9": ["9"],
            ])
        #expect(JSONFieldPaths.paths(of: Array("level=info".utf8)).isEmpty)
    }

    /// The cases of `label_set` in `logql-tables/http.json` that are refused.
    @Test(arguments: [#"{testtest"}"#, #"{1="foo"}"#])
    func noLabelSet(text: String) {
        #expect(throws: LogQLSyntaxError.self) { try LogQLParser.parseLabels(text) }
    }

    @Test func levelsAreToldApartWhereLinesAreNotLookedAt() throws {
        let entries = ["info", "error", nil, "error"].enumerated().map { index, level in
            LogEntry(timestamp: TimestampNS(Int64(index) + 1), line: [], level: level)
        }
        let plan = try MetricPlan(
            try LogQLParser.parseMetric(#"sum by (detected_level) (count_over_time({a="b"}[1m]))"#),
            at: .instant(TimestampNS(60_000_000_000)))
        let run = try MetricRun(plan)
        try run.accept(entries, [0, 0, 0, 0], [["a": "b"]], selection: 0)
        guard case .vector(let elements, _) = try run.result() else {
            Issue.record("no vector")
            return
        }
        #expect(
            elements == [
                MetricElement(labels: .empty, value: 1),
                MetricElement(labels: ["detected_level": "error"], value: 2),
                MetricElement(labels: ["detected_level": "info"], value: 1),
            ])
    }

    @Test("a zero byte is no part of a number")
    func zeroBytes() {
        #expect(parseFloat("1") == 1)
        #expect(parseFloat("1\u{0}") == nil && parseFloat("1\u{0}2") == nil)
    }
}
