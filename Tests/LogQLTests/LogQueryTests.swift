import LogQL
import LogQLSyntax
import Model
import Testing

/// Which lines a query keeps, and how an answer grows.
@Suite("LogQL log queries by hand")
struct LogQueryTests {
    static func query(_ stages: String) throws -> LogQuery {
        try LogQuery(try PipelineTables.selector(#"{app="x"} "# + stages))
    }

    static func keeps(_ stages: String, _ line: [UInt8]) throws -> Bool {
        let run = PipelineRun(try query(stages).pipeline)
        return run.process(timestamp: TimestampNS(0), line: line, of: run.forStream(.empty))
    }

    static let filterCases: [(String, String, Bool)] = [
        ("", "anything", true),
        (#"|= "err""#, "an error", true), (#"|= "err""#, "ERROR", false),
        (#"|= """#, "x", true), (#"!= """#, "x", false),
        (#"!= "err""#, "fine", true), (#"!= "err""#, "error", false),
        (#"|= "a" or "b""#, "b", true), (#"|= "a" or "b""#, "c", false),
        (#"!= "a" or "b""#, "b", false), (#"!= "a" or "b""#, "c", true),
        (#"|= "a" |= "b""#, "ba", true), (#"|= "a" |= "b""#, "a", false),
        (#"|~ "^e.r$""#, "err", true), (#"|~ "e.*r""#, "e\nr", false),
        (#"|~ "(?i)ERR""#, "err", true), (#"!~ "e+r""#, "eer", false),
        (#"|~ "(?i)disk""#, "DI\u{17f}\u{212a}", true), (#"|~ "(?i)disk""#, "DIſ", false),
        (#"|~ "(?i)a|b" "#, "xB", true), (#"|~ "a.c""#, "a\nc", false),
        (#"|~ "(?s)a.c""#, "a\nc", true), (#"|~ ".*c.*""#, "a\nc\n", true),
        (#"|~ ".+""#, "\n", true), (#"|~ "(?-s)a.c""#, "a\nc", false),
        (#"|~ "(?-s)a.*c""#, "a\nc", false),
        (#"| json | a=~"b.c""#, #"{"a":"b\nc"}"#, false),
        (#"| json | a=~"(?s)b.c""#, #"{"a":"b\nc"}"#, true),
        (#"| json | a=~".*c.*""#, #"{"a":"b\nc"}"#, true),
        (#"|~ "x{2}""#, "x", false), (#"|~ "a(b|c)?d""#, "ad", true),
        (#"|~ "[^a]""#, "a", false), (#"|~ `\.`"#, "a", false), (#"|~ `a\.*`"#, "a", true),
        (#"|> "<_> b""#, "a b", true), (#"|> "<_> b""#, " b", false),
        (#"|> "a <_>""#, "a b", true), (#"|> "a""#, "a b", false), (#"!> "a""#, "a b", true),
        (#"|> "world<_>""#, "hello world foo", true), (#"|> "abc""#, "xabc", true),
        (#"!> "abc""#, "xabc", false), (#"|> "abc""#, "abcx", false),
        (#"|> "a<_>c""#, "xabc", true), (#"|> "a<_>c""#, "xac", false), (#"|> """#, "", true),
        (#"|> """#, "a", false), (#"|> "<_>""#, "", false),
        (#"|= "aab""#, "aaab", true), (#"|= "abac""#, "abababac", true),
        (#"|= "abac""#, "abababab", false),
        (#"|= ip("::1")"#, "from ::1", true), (#"|= ip("10.0.0.0/8")"#, "10.1.2.3:80", true),
        (#"|= ip("10.0.0.0/8")"#, "10.01.2.3", false),
        (#"|= ip("10.0.0.1-10.0.0.9")"#, "a 10.0.0.9.", false),
        (#"|= ip("fe80::/10")"#, "at febf::1 now", true),
    ]

    @Test("line filters", arguments: filterCases)
    func lineFilter(stages: String, line: String, keeps: Bool) throws {
        #expect(try Self.keeps(stages, Array(line.utf8)) == keeps)
    }

    @Test("bytes that are not UTF-8 are found as bytes")
    func bytes() throws {
        #expect(try Self.keeps(#"|= "\xff\x00""#, [0x61, 0xff, 0x00]))
        #expect(try Self.keeps(#"|~ "a.b""#, [0x61, 0xff, 0x62]))
        #expect(try Self.keeps("|~ \"a\u{fffd}b\"", [0x61, 0xff, 0x62]))
        #expect(try !Self.keeps("|= \"a\u{fffd}b\"", [0x61, 0xff, 0x62]))
    }

    @Test("a long search in vain stays linear")
    func vain() throws {
        let line = [UInt8](repeating: 0x61, count: 256 * 1024)
        let needle = String(repeating: "a", count: 4000) + "b"
        #expect(try !Self.keeps("|= \"\(needle)\"", line))
    }

    static let needleCases: [(String, [String])] = [
        (#"|= "aaa" != "b" |~ "cc" |= "d" or "e" |= "" |= "f""#, ["aaa", "cc", "f"]),
        (#"|~ "foo.*bar|baz""#, []), (#"|~ "foo.*bar""#, ["foo", "bar"]),
        (#"|~ "fooo?b+c""#, ["foo", "b", "c"]), (#"|~ "(?i)foo""#, []),
        (#"|~ "(?i:foo)bar""#, ["bar"]), (#"|~ "a(?i)b""#, ["a"]),
        (#"|~ "(abc)def[gh]""#, ["abcdef"]), (#"|~ "(ab)*c""#, ["c"]),
        (#"|~ "ab{0}c""#, ["a", "c"]), (#"|> "<_>foo<_>ba""#, ["foo", "ba"]),
        (#"|= "ab" |= "b""#, ["ab"]), (#"|= "a" | decolorize |= "b""#, ["a"]),
        (#"|= "a" | json |= "b""#, ["a", "b"]), (#"| unpack |= "b""#, []),
        (#"|= ip("::1")"#, []), (#"!~ "a""#, []),
    ]

    @Test("needles are what every kept line contains", arguments: needleCases)
    func needles(stages: String, expected: [String]) throws {
        let found = try Self.query(stages).needles.map { String(decoding: $0, as: UTF8.self) }
        #expect(Set(found) == Set(expected))
    }

    @Test(
        "a broken stage is refused",
        arguments: [
            #"|~ "(""#, #"|> "<a>""#, #"|> "<_><_>""#, #"|= ip("1.2.3")"#, #"| a=ip("x")"#,
            #"| regexp "a""#, #"| pattern "a""#, #"| json a="b["#, #"| a=~"[""#,
        ])
    func refuses(stages: String) {
        #expect(throws: LogQLError.self) { try Self.query(stages) }
    }

    private static func entries(_ lines: [String]) -> [LogEntry] {
        lines.enumerated().map {
            LogEntry(timestamp: TimestampNS(Int64($0.offset)), line: Array($0.element.utf8))
        }
    }

    @Test("an answer stops at its limit, groups by stream and keeps the order read")
    func collects() throws {
        let collection = LogCollection(
            query: try Self.query(#"|= "y""#), options: LogQueryOptions(entriesMax: 3))
        let streams: [Labels] = [["host": "b"], ["host": "a"]]
        let wantsMore = try collection.process(
            Self.entries(["y1", "n", "y2", "y3", "y4"]), streamIndexes: [0, 0, 1, 0, 0],
            streams: streams)
        #expect(!wantsMore)
        #expect(collection.streams.map(\.labels) == [["host": "a"], ["host": "b"]])
        #expect(
            collection.streams.map { $0.entries.map(\.timestamp.rawValue) } == [[2], [0, 3]])
        #expect(collection.scannedLineCount == 4)
        #expect(collection.scannedByteCount == 7)
    }

    @Test("an interval leaves out what is too near")
    func interval() throws {
        var options = LogQueryOptions(entriesMax: 10)
        options.direction = .forward
        options.intervalNanoseconds = 2
        let collection = LogCollection(query: try Self.query(""), options: options)
        _ = try collection.process(
            Self.entries(["a", "b", "c", "d", "e"]), streamIndexes: [0, 0, 0, 0, 0],
            streams: [["a": "b"]])
        #expect(collection.streams[0].entries.map(\.timestamp.rawValue) == [0, 2, 4])
    }

    @Test("budgets are kept")
    func budgets() throws {
        func collect(_ change: (inout LogQueryOptions) -> Void) throws {
            var options = LogQueryOptions(entriesMax: 10)
            change(&options)
            let collection = LogCollection(query: try Self.query("| json"), options: options)
            _ = try collection.process(
                Self.entries([#"{"a":"1"}"#, #"{"a":"2"}"#]), streamIndexes: [0, 0],
                streams: [["s": "t"]])
        }
        try collect { _ in }
        #expect(throws: LogQLError.limit(.streams(max: 1))) { try collect { $0.streamsMax = 1 } }
        #expect(throws: LogQLError.limit(.labelBytes(max: 5))) {
            try collect { $0.labelBytesMax = 5 }
        }
        #expect(throws: LogQLError.limit(.lineBytes(max: 1))) {
            try collect { $0.lineBytesMax = 1 }
        }
        #expect(throws: LogQLError.limit(.scannedLines(max: 1))) {
            try collect { $0.scannedLinesMax = 1 }
        }
        #expect(throws: LogQLError.limit(.scannedBytes(max: 9))) {
            try collect { $0.scannedBytesMax = 9 }
        }
        try collect {
            $0.streamsMax = 1
            $0.hasCategories = true
        }
    }

    @Test("an entry's level is structured metadata")
    func level() throws {
        let run = PipelineRun(try Self.query(#"| detected_level="warn""#).pipeline)
        let stream = run.forStream(["a": "b"])
        let entry = LogEntry(timestamp: TimestampNS(0), line: [], level: "warn")
        #expect(run.process(entry, of: stream))
        #expect(run.labelSet.structuredMetadata == ["detected_level": "warn"])
    }
}
