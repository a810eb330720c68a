import CollectorWeb
import Gzip
import Model
import RemoteWrite
import Storage
import Synchronization
import Testing

/// What senders of logs over OTLP are told, and what reaches the storage.
@Suite("OTLP logs")
struct OTLPLogsTests {
    private static let path = ["otlp", "v1", "logs"]
    private let labels: Labels = ["service_name": "cart"]

    /// A request of these records, of the service `cart`.
    private func json(_ records: String...) -> [UInt8] {
        Array(
            #"""
            {"resourceLogs": [{"resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "cart"}}]},
                "scopeLogs": [{"logRecords": [\#(records.joined(separator: ","))]}]}]}
            """#.utf8)
    }

    private func record(_ time: String, _ line: String, _ rest: String = "") -> String {
        #"{"timeUnixNano": "\#(time)", "body": {"stringValue": "\#(line)"}\#(rest)}"#
    }

    @Test("stored once, answered in the request's own encoding")
    func stores() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let body = json(
            record("1", "one"),
            record(
                "2", "two",
                #", "severityNumber": 17, "traceId": "000102030405060708090A0B0C0D0E0F""#))
        for encoding in ["gzip", nil, "identity"] {
            let answer = await FakeCollector.post(
                encoding == "gzip" ? try Gzip.compress(body) : body, Self.path,
                encoding: encoding, to: site)
            #expect(answer.status == 200 && answer.text == "{}")
            #expect(answer.response.header("content-type") == "application/json")
        }
        #expect(writer.state.withLock { ($0.calls, $0.pushes.count) } == (3, 2))
        #expect(
            writer.state.withLock { $0.pushes[0].streams } == [
                LogStream(
                    labels: labels,
                    entries: [
                        LogEntry(timestamp: TimestampNS(1), line: Array("one".utf8)),
                        LogEntry(
                            timestamp: TimestampNS(2), line: Array("two".utf8), level: "error",
                            metadata: [
                                "severity_number": "17",
                                "trace_id": "000102030405060708090a0b0c0d0e0f",
                            ]),
                    ])
            ])
        let empty = await FakeCollector.post(
            [], Self.path, type: "application/x-protobuf", to: site)
        #expect(empty.status == 200 && empty.response.body.isEmpty)
        #expect(empty.response.header("content-type") == "application/x-protobuf")
        #expect(writer.state.withLock { $0.calls } == 3)
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            #"petrel_log_push_requests_total{code="200",protocol="otlp_json"} 3"#,
            #"petrel_log_push_requests_total{code="200",protocol="otlp_protobuf"} 1"#,
            "petrel_log_push_lines_total 4",
        ] {
            #expect(metrics.contains(line), "\(line) in \(metrics)")
        }
    }

    @Test("a severity text counts before the number; one that is no level stays a field")
    func severity() async throws {
        let writer = FakeLogWriter()
        _ = await FakeCollector.post(
            json(
                record("1", "info", #", "severityText": "Warn", "severityNumber": 9"#),
                record("2", "info", #", "severityText": "odd", "severityNumber": 24"#)),
            Self.path, to: FakeCollector.site(taking: writer))
        let entries = writer.stream(labels).entries
        #expect(entries.map(\.level) == ["warn", nil])
        #expect(entries.map { $0.metadata["detected_level"] } == ["", "odd"])
    }

    @Test("names are taken as the definition has them, and severities by name")
    func originalNames() async throws {
        let writer = FakeLogWriter()
        let body = #"""
            {"resource_logs": [{"scope_logs": [{"log_records": [
              {"time_unix_nano": "1", "body": {"string_value": "a"}, "severity_number": "SEVERITY_NUMBER_ERROR2"},
              {"timeUnixNano": "2", "body": {"stringValue": "b"}, "severityNumber": "SEVERITY_NUMBER_UNSPECIFIED"}
            ]}]}]}
            """#
        let answer = await FakeCollector.post(
            Array(body.utf8), Self.path, to: FakeCollector.site(taking: writer))
        #expect(answer.status == 200)
        let entries = writer.state.withLock { $0.pushes.flatMap { $0.streams.flatMap(\.entries) } }
        #expect(entries.map { String(decoding: $0.line, as: UTF8.self) } == ["a", "b"])
        #expect(entries.map(\.level) == ["error", nil])
        #expect(entries.map { $0.metadata["severity_number"] } == ["18", ""])
    }

    @Test("records without a time have that of their observation, else now, and are no repeats")
    func times() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let timed = json(record("0", "x", #", "observedTimeUnixNano": "7""#))
        let untimed = json(record("0", "x"))
        for body in [timed, untimed] {
            #expect(await FakeCollector.post(body, Self.path, to: site).status == 200)
        }
        let entries = writer.streams.flatMap(\.entries)
        #expect(entries.map(\.timestamp) == [TimestampNS(7), FixedClock().now])
        #expect(entries[0].metadata.isEmpty)
        let later = FakeCollector.site(
            clock: MinuteClock(), change: { $0.logWriter = writer })
        for body in [timed, untimed] {
            #expect(await FakeCollector.post(body, Self.path, to: later).status == 200)
        }
        #expect(writer.state.withLock { ($0.calls, $0.pushes.count) } == (4, 3))
    }

    @Test("log records that can't be stored are counted and told, the others are stored")
    func partial() async throws {
        let writer = FakeLogWriter()
        writer.state.withLock { $0.oldest = TimestampNS(2) }
        let site = FakeCollector.site(taking: writer)
        let body = json(
            record("1", "old"), record("2", "kept"), record("1767323646000000000", "late"),
            record("1767323647000000000", "late"))
        let answer = await FakeCollector.post(body, Self.path, to: site)
        #expect(answer.status == 200)
        let told =
            #"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"3 log records were "#
            + "rejected: 1: entry for stream "
        #expect(answer.text.hasPrefix(told), "\(answer.text)")
        #expect(answer.text.contains("has timestamp too old"))
        #expect(writer.stream(labels).entries.count == 2)
        // The same as protocol buffers: field 1, with the count and the text in it.
        let late = try #require(RecordMessage.request(line: "x", time: 1_767_323_646_000_000_000))
        let second = await FakeCollector.post(
            late, Self.path, type: "application/x-protobuf", to: site)
        #expect(second.status == 200 && second.response.body.first == 0x0a)
        // The length before it has two bytes.
        #expect(second.response.body[3...5] == [0x08, 1, 0x12])
    }

    @Test("what is no request is refused whole, by POST alone and from our pages alone")
    func refused() async throws {
        let writer = FakeLogWriter()
        let site = FakeCollector.site(taking: writer)
        let body = json(record("1", "x"))
        func check(
            _ answer: (status: Int, text: String, response: WebResponse), _ status: Int,
            _ part: String, location: SourceLocation = #_sourceLocation
        ) {
            #expect(
                answer.status == status && answer.text.contains(part), "\(answer.text)",
                sourceLocation: location)
            #expect(answer.text.hasPrefix(#"{"code":"#), sourceLocation: location)
        }
        let path = Self.path
        check(await FakeCollector.post(Array(body.dropLast()), path, to: site), 400, "no JSON")
        check(await FakeCollector.post(body, path, type: "text/plain", to: site), 415, "or")
        check(await FakeCollector.post(body, path, encoding: "br", to: site), 415, "br")
        check(await FakeCollector.post(body, path, encoding: "gzip", to: site), 400, "not gzip")
        check(await FakeCollector.post(body, path, method: "GET", to: site), 405, "POST")
        check(
            await FakeCollector.post(
                body, path, headers: ["origin": "https://evil.example"], to: site), 403, "page")
        check(
            await FakeCollector.post(
                try Gzip.compress([UInt8](repeating: 32, count: 33 << 20), level: 9), path,
                encoding: "gzip", to: site), 413, "33554432 bytes")
        check(
            await FakeCollector.post(body, path, to: FakeCollector.site()), 404,
            "no logs are taken here")
        #expect(writer.state.withLock { $0.calls } == 0)
    }

    @Test(
        "what may be stored later is to be sent again, also what senders would give up at 500",
        arguments: [
            (StorageError.unavailable("away"), 503, "5"), (.refused("defect"), 503, "30"),
            (.limitExceeded(limit: "limits.log_streams", maximum: 7), 429, "30"),
        ] as [(StorageError, Int, String)])
    func later(failure: StorageError, status: Int, after: String) async throws {
        let writer = FakeLogWriter()
        writer.state.withLock { $0.failure = failure }
        let site = FakeCollector.site(taking: writer)
        let body = json(record("1", "x"))
        let answer = await FakeCollector.post(body, Self.path, to: site)
        #expect(answer.status == status && answer.response.header("retry-after") == after)
        writer.state.withLock { $0.failure = nil }
        #expect(await FakeCollector.post(body, Self.path, to: site).status == 200)
        #expect(writer.state.withLock { $0.pushes.count } == 1)
    }
}

/// Writes a request of one log record as protocol buffers.
enum RecordMessage {
    static func request(line: String, time: UInt64) -> [UInt8]? {
        var record: [UInt8] = []
        ProtobufText.append(varint: 1 << 3 | 1, to: &record)
        for byte in 0..<8 { record.append(UInt8(truncatingIfNeeded: time >> (8 * byte))) }
        var body: [UInt8] = []
        ProtobufText.append(1, content: line.utf8, to: &body)
        ProtobufText.append(5, content: body, to: &record)
        var scope: [UInt8] = []
        ProtobufText.append(2, content: record, to: &scope)
        var resource: [UInt8] = []
        ProtobufText.append(2, content: scope, to: &resource)
        var request: [UInt8] = []
        ProtobufText.append(1, content: resource, to: &request)
        return request
    }
}
