import CollectorQuery
import CollectorWeb
import FoundationEssentials
import LogQL
import Model
import Storage
import Synchronization
import Testing

/// The cases of `logql-tables/http.json` about the tail.
@Suite("Loki tail table")
struct LokiTailTableTests {
    @Test(
        arguments: LokiHTTPTableTests.cases("tail_params", "param_uint32").filter {
            $0.kind == "tail_params" || $0.input["param"] == .string("delay_for")
        })
    func parameters(_ value: LokiHTTPTableTests.Case) async throws {
        let url = try #require(value.input["url"]?.string)
        var parameters = url.drop { $0 != "?" }.dropFirst().replacing(
            #"{foo="bar"}"#, with: PercentCoding.encode(#"{foo="bar"}"#))
        if !parameters.contains("query=") { parameters += "&query=%7Bfoo=%22bar%22%7D" }
        let start = value.nanoseconds("start") ?? TimestampNS(0)
        let lines = (1...1500).map { number in
            LogEntry(timestamp: start.advanced(byNanoseconds: number * 1_000_000), line: [97])
        }
        let reader = StoredLogReader([LogStream(labels: ["foo": "bar"], entries: lines)])
        let site = FakeCollector.site(change: { dependencies in
            dependencies.logs = LogQueryService(reader: reader, clock: FixedClock())
            dependencies.logFeed = FakeLogFeed()
        })
        let answer = try await FakeCollector.ask(
            "GET /loki/api/v1/tail?\(parameters)",
            headers: [
                "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            ], site: site)
        guard !value.isRefused else {
            #expect(answer.status == 400)
            #expect(
                answer.body.contains(value.expect["error_contains"]?.string ?? ""),
                "\(answer.body)")
            return
        }
        try #require(answer.status == 101, "\(answer.body)")
        let live = try #require(answer.response.live)
        let limit = try #require(value.expect["limit"]?.number)
        var count = 0
        while count < Int(limit) {
            let frame = try #require(await live.next())
            let json = try JSONDecoder().decode(JSONValue.self, from: Data(frame))
            for stream in json["streams"]?.array ?? [] {
                count += stream["values"]?.array?.count ?? 0
            }
        }
        #expect(count == Int(limit))
        let selection = try #require(reader.questions.withLock { $0.selections.first })
        // The table's numbers are read as doubles.
        #expect(abs(selection.from.rawValue - start.rawValue) <= 128)
    }

    @Test("entries keep their order across streams")
    func order() {
        let part = LogFollowPart(
            entries: [("a", 1), ("a", 2), ("b", 3), ("a", 4)].map { stream, time in
                LogFollowEntry(
                    labels: ["s": stream],
                    entry: LogResultEntry(timestamp: TimestampNS(time), line: Array("l".utf8)))
            })
        let text = String(
            decoding: TailFrame.bytes(part, hasCategories: false), as: UTF8.self)
        #expect(
            text.hasPrefix(
                #"{"streams":[{"stream":{"s":"a"},"values":[["1","l"],["2","l"]]},"#
                    + #"{"stream":{"s":"b"},"values":[["3","l"]]},"#
                    + #"{"stream":{"s":"a"},"values":[["4","l"]]}]"#), "\(text)")
    }

    @Test(arguments: LokiHTTPTableTests.cases("marshal_tail"))
    func frames(_ value: LokiHTTPTableTests.Case) throws {
        func labels(_ value: JSONValue?) -> Labels {
            Labels((value?.object ?? [:]).mapValues { $0.string ?? "" })
        }
        let input = try #require(value.input["value"])
        var part = LogFollowPart()
        for stream in input["streams"]?.array ?? [] {
            for entry in stream["entries"]?.array ?? [] {
                part.entries.append(
                    LogFollowEntry(
                        labels: labels(stream["labels"]),
                        entry: LogResultEntry(
                            timestamp: TimestampNS(Int64(entry["ts"]?.number ?? 0)),
                            line: Array((entry["line"]?.string ?? "").utf8),
                            structuredMetadata: labels(entry["structured_metadata"]))))
            }
        }
        for entry in input["dropped_entries"]?.array ?? [] {
            part.dropped.append(
                (labels(entry["labels"]), TimestampNS(Int64(entry["ts"]?.number ?? 0))))
        }
        let frame = TailFrame.bytes(part, hasCategories: false)
        if let text = value.expect["text_value"]?.string {
            #expect(String(decoding: frame, as: UTF8.self) == text)
        } else {
            let json = try JSONDecoder().decode(JSONValue.self, from: Data(frame))
            #expect(json == value.expect["json"])
        }
    }
}
