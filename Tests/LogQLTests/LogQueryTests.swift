import LogQL
import LogQLSyntax
import Model
import Testing

/// Which lines a query keeps, and how an answer grows.
@Suite("LogQL engine")
struct LogQueryTests {
    static func query(_ stages: String) throws -> LogQuery {
        guard case .log(let query) = try PreparedLogQL.prepare(#"{app="x"} "# + stages) else {
            throw LogQLError.badPattern("no log query: \(stages)")
        }
        return query
    }

    @Test(
        "line filters",
        arguments: [
            ("", "anything", true),
            (#"|= "err""#, "an error", true), (#"|= "err""#, "ERROR", false),
            (#"|= """#, "x", true), (#"!= """#, "x", false),
            (#"!= "err""#, "fine", true), (#"!= "err""#, "error", false),
            (#"|= "a" or "b""#, "b", true), (#"|= "a" or "b""#, "c", false),
            (#"!= "a" or "b""#, "b", false), (#"!= "a" or "b""#, "c", true),
            (#"|= "a" |= "b""#, "ba", true), (#"|= "a" |= "b""#, "a", false),
            (#"|~ "^e.r$""#, "err", true), (#"|~ "e.*r""#, "e\nr", true),
            (#"|~ "(?i)ERR""#, "err", true), (#"!~ "e+r""#, "eer", false),
            (#"|> "<_> b""#, "a b", true), (#"|> "<_> b""#, " b", false),
            (#"|> "a <_>""#, "a b", true), (#"|> "a""#, "a b", false), (#"!> "a""#, "a b", true),
            (#"|= "aab""#, "aaab", true), (#"|= "abac""#, "abababac", true),
            (#"|= "abac""#, "abababab", false),
        ])
    func lineFilter(stages: String, line: String, keeps: Bool) throws {
        #expect(try Self.query(stages).keeps(Array(line.utf8)) == keeps)
    }

    @Test("bytes that are not UTF-8 are found as bytes")
    func bytes() throws {
        #expect(try Self.query(#"|= "\xff\x00""#).keeps([0x61, 0xff, 0x00]))
        #expect(try Self.query(#"|~ "a.b""#).keeps([0x61, 0xff, 0x62]))
    }

    @Test("needles are what every kept line contains")
    func needles() throws {
        let query = try Self.query(#"|= "a" != "b" |~ "c" |= "d" or "e" |= "" |= "f""#)
        #expect(query.needles == [Array("a".utf8), Array("f".utf8)])
        #expect(query.matchers == [LabelMatcher("app", .equal, "x")])
    }

    @Test("a broken filter is refused", arguments: [#"|~ "(""#, #"|> "<a>""#, #"|> "<_><_>""#])
    func refuses(stages: String) {
        #expect(throws: LogQLError.self) { try Self.query(stages) }
    }

    @Test("an answer stops at its limit, groups by stream and keeps the order read")
    func collects() throws {
        var collection = LogCollection(query: try Self.query(#"|= "y""#), entriesMax: 3)
        let streams: [Labels] = [["host": "b"], ["host": "a"]]
        let entries = ["y1", "n", "y2", "y3", "y4"].enumerated().map {
            LogEntry(timestamp: TimestampNS(Int64($0.offset)), line: Array($0.element.utf8))
        }
        let wantsMore = collection.process(
            entries, streamIndexes: [0, 0, 1, 0, 0], streams: streams)
        #expect(!wantsMore)
        #expect(collection.streams.map(\.labels) == [["host": "a"], ["host": "b"]])
        #expect(
            collection.streams.map { $0.entries.map(\.timestamp.rawValue) } == [[2], [0, 3]])
        #expect(collection.scannedLineCount == 4)
        #expect(collection.scannedByteCount == 7)
    }

    @Test(
        "numbers without streams",
        arguments: [
            ("vector(1)+vector(1)", LogQLNumber.vector(2)), ("1+1", .scalar(2)),
            ("vector(2)^3", .vector(8)), ("-7 % 4", .scalar(-3)), ("1/0", .scalar(.infinity)),
        ])
    func numbers(text: String, expected: LogQLNumber) throws {
        guard case .metric(let expression) = try PreparedLogQL.prepare(text) else {
            Issue.record("no metric query: \(text)")
            return
        }
        #expect(LogQLNumber(expression) == expected)
    }
}
