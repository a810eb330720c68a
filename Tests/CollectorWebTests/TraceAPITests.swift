import CollectorQuery
import CollectorWeb
import Model
import Storage
import Synchronization
import Testing

/// Two hosts' lines of the trace `t-a`; nothing of others.
private final class TraceReader: LogReader {
    let asked = Mutex<[(from: TimestampNS, to: TimestampNS, entriesMax: Int)]>([])

    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace {
        asked.withLock { $0.append((from, to, entriesMax)) }
        guard id == "t-a" else { return LogTrace(page: LogPage(), isCut: false) }
        let entries = [
            LogEntry(
                timestamp: TimestampNS(9_000_000_000), line: Array("in \u{1b}".utf8),
                level: "info", metadata: ["trace_id": "t-a"]),
            LogEntry(timestamp: TimestampNS(10_500_000_000), line: [0x61, 0xff]),
        ]
        return LogTrace(
            page: LogPage(
                streams: [
                    ["host": "web", "service_name": "caddy"], ["host": "db", "unit": "pg"],
                ],
                streamIndexes: [0, 1], entries: entries), isCut: true)
    }
    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage { LogRatePage() }
    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {}
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
    func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { [] }
    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] { [] }
}

@Suite("Traces")
struct TraceAPITests {
    private static func ask(
        _ line: String, _ reader: TraceReader = TraceReader(),
        exemplars: FakeExemplarReader = FakeExemplarReader()
    ) async throws -> (status: Int, body: String, response: WebResponse) {
        let site = FakeCollector.site(
            exemplars: exemplars,
            change: { $0.logs = LogQueryService(reader: reader, clock: FixedClock()) })
        return try await FakeCollector.ask(line, site: site)
    }

    @Test("lines of all hosts in the order of time, with the exemplars of the same id")
    func trace() async throws {
        let exemplars = FakeExemplarReader()
        let reader = TraceReader()
        let answer = try await Self.ask("GET /api/v1/traces/t-a", reader, exemplars: exemplars)
        #expect(answer.status == 200)
        #expect(
            answer.body
                == #"{"traceID":"t-a","hosts":["web","db"],"durationSeconds":1.5,"isCut":true,"#
                + #""lines":[{"ts":"9000000000","time":"1970-01-01T00:00:09Z","host":"web","#
                + #""service":"caddy","level":"info","line":"in \u001b","#
                + #""labels":{"host":"web","service_name":"caddy"},"metadata":{"trace_id":"t-a"}},"#
                + #"{"ts":"10500000000","time":"1970-01-01T00:00:10.500Z","host":"db","#
                + "\"service\":\"pg\",\"level\":\"\",\"line\":\"a\u{fffd}\","
                + #""labels":{"host":"db","unit":"pg"},"metadata":{}}],"#
                + #""exemplars":[{"series":{"__name__":"latency_bucket","host":"a"},"#
                + #""labels":{"trace_id":"t-a"},"value":0.1,"timestamp":10}],"#
                + #""hasAllExemplars":true}"#)
        let asked = try #require(exemplars.asked.withLock { $0.first })
        #expect(asked.start == TimestampMS(9000 - 300_000))
        #expect(asked.end == TimestampMS(10_500 + 300_000))
        let range = try #require(reader.asked.withLock { $0.first })
        #expect(range.from == TimestampNS(0) && range.entriesMax == 10_000)
        #expect(range.to > FixedClock().now)
    }

    @Test("too many exemplars leave the lines as they are")
    func tooManyExemplars() async throws {
        let exemplars = FakeExemplarReader()
        exemplars.failure.withLock { $0 = .limitExceeded(limit: "x", maximum: 1) }
        let answer = try await Self.ask("GET /api/v1/traces/t-a", exemplars: exemplars)
        #expect(answer.status == 200)
        #expect(answer.body.hasSuffix(#""exemplars":[],"hasAllExemplars":false}"#))
    }

    @Test("an id that no line has is not found, within the time that was looked through")
    func notFound() async throws {
        let reader = TraceReader()
        let answer = try await Self.ask("GET /api/v1/traces/x.y?start=10&end=20", reader)
        #expect(answer.status == 404)
        #expect(
            answer.body.contains(
                "no line has the trace or request id x.y since 1970-01-01T00:00:10Z and before "
                    + "1970-01-01T00:00:20Z"), "\(answer.body)")
        let range = try #require(reader.asked.withLock { $0.first })
        #expect(range.from == TimestampNS(10_000_000_000))
        #expect(range.to == TimestampNS(20_000_000_000))
        #expect(
            try await Self.ask("GET /api/v1/traces/x").body.contains("in all that is kept"))
    }

    @Test("ids and times that can't be are refused")
    func refused() async throws {
        let long = String(repeating: "a", count: 201)
        for (target, text) in [
            (long, "has 1 to 200 bytes, this one has 201"), ("a?start=x", "start must be"),
            ("a?start=20&end=10", "start must be before end"),
        ] {
            let answer = try await Self.ask("GET /api/v1/traces/\(target)")
            #expect(answer.status == 400)
            #expect(answer.body.contains(text), "\(answer.body)")
        }
    }
}
