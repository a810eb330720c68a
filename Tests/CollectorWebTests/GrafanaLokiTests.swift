import CollectorQuery
import CollectorWeb
import FoundationEssentials
import Model
import Testing

/// Every request of `grafana/loki.json` in the conformance folder that reads, but for the live tail and deletions.
///
/// Source: grafana-loki-datasource, logs-drilldown, logcli.
@Suite("Grafana's requests to Loki")
struct GrafanaLokiTests {
    struct File: Decodable, Sendable {
        var definitions: [String: JSONValue]
        var requests: [Request]

        enum CodingKeys: String, CodingKey {
            case definitions = "$defs"
            case requests
        }
    }

    struct Request: Decodable, Sendable, CustomTestStringConvertible {
        var name: String
        var method: String
        var path: String
        var headers: [String: String]
        var query: [String: JSONValue]?
        var form: [String: JSONValue]?
        var expect: Expectation
        var replay: Bool?
        var websocket: JSONValue?

        var testDescription: String { name }

        var isRead: Bool {
            replay != false && websocket == nil
                && !["/tail", "/delete", "/push"].contains { path.hasSuffix($0) }
        }
    }

    struct Expectation: Decodable, Sendable {
        var status: JSONValue
        var contentType: JSONValue?
        var schema: JSONValue?
        var bodyPattern: String?
        var nonempty: String?
        var keyOrder: [[String]]?

        enum CodingKeys: String, CodingKey {
            case status
            case contentType = "content_type"
            case schema
            case bodyPattern = "body_pattern"
            case nonempty
            case keyOrder = "key_order"
        }
    }

    static let path =
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
        + "/grafana/loki.json"
    static let isPresent = FileManager.default.contents(atPath: path) != nil

    static let file: File? = FileManager.default.contents(atPath: path).flatMap {
        try? JSONDecoder().decode(File.self, from: $0)
    }

    /// Lines of JSON and logfmt, one every half minute of the last hour.
    static let streams: [LogStream] = ["h1", "h2"].map { host in
        LogStream(
            labels: ["service_name": "api", "host": host, "source": "journal"],
            entries: (1...110).map { number in
                let line =
                    number % 2 == 0
                    ? #"{"status":\#(200 + number % 3),"duration":"1\#(number)ms","msg":"made"}"#
                    : "status=200 duration=3ms msg=done"
                return LogEntry(
                    timestamp: FixedClock().now.advanced(
                        byNanoseconds: Int64(number - 111) * 30_000_000_000),
                    line: Array(line.utf8), level: number % 5 == 0 ? "error" : "info",
                    metadata: ["trace_id": "t\(number)"])
            })
    }

    static func site() -> WebSite {
        FakeCollector.site(change: {
            $0.server.retention = "30d"
            $0.logs = LogQueryService(reader: StoredLogReader(streams), clock: FixedClock())
        })
    }

    // MARK: - Placeholders

    private static let names = [
        "selector": #"{service_name="api"}"#, "log_label": "host", "log_label_value": "h1",
        "service": "api", "field": "status", "id": "abc1", "step_s": "60", "step_ms": "60000",
        "range_s": "3600", "start_iso": "2026-01-02T02:04:05.000Z",
        "end_iso": "2026-01-02T03:04:05.000Z",
    ]

    /// The text with what stands for `${name}`, `${now_ns-1m}` and the like.
    static func filled(_ text: String) throws -> String {
        var result = ""
        var rest = Substring(text)
        while let start = rest.firstRange(of: "${") {
            result += rest[..<start.lowerBound]
            let end = try #require(rest[start.upperBound...].firstIndex(of: "}"))
            result += try value(of: String(rest[start.upperBound..<end]))
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }

    private static func value(of name: String) throws -> String {
        if let known = names[name] { return known }
        let sign = name.firstIndex { $0 == "+" || $0 == "-" } ?? name.endIndex
        let parts = name[..<sign].split(separator: "_")
        var seconds = FixedClock().now.rawValue / 1_000_000_000
        if parts.first == "start" { seconds -= 3600 }
        if sign < name.endIndex {
            let duration = try #require(
                PrometheusDuration(String(name[name.index(after: sign)...])))
            let offset = duration.milliseconds / 1000
            seconds += name[sign] == "-" ? -offset : offset
        }
        switch parts.last {
        case "s": return "\(seconds)"
        case "ms": return "\(seconds * 1000)"
        case "ns": return "\(seconds * 1_000_000_000)"
        default:
            Issue.record("no value for \(name)")
            return ""
        }
    }

    private static func encoded(_ parameters: [String: JSONValue]?) throws -> String {
        var pairs: [String] = []
        for (name, value) in parameters ?? [:] {
            for text in (value.array ?? [value]).compactMap(\.string) {
                pairs.append(
                    PercentCoding.encode(name) + "=" + PercentCoding.encode(try filled(text)))
            }
        }
        return pairs.joined(separator: "&")
    }

    // MARK: - Requests

    @Test(
        "there is a file of requests",
        .enabled(
            if: isPresent,
            "NOT RUN: no grafana/loki.json in $PETREL_CONFORMANCE (or ../shared/conformance)"))
    func isRead() throws {
        #expect(try #require(Self.file).requests.filter(\.isRead).count > 80)
    }

    @Test("requests", arguments: file?.requests.filter(\.isRead) ?? [])
    func request(_ request: Request) async throws {
        let query = try Self.encoded(request.query)
        var headers: [String: String] = [:]
        for (name, value) in request.headers where name != "Accept-Encoding" {
            headers[name.lowercased()] = value
        }
        let answer = try await FakeCollector.ask(
            "\(request.method) \(try Self.filled(request.path))\(query.isEmpty ? "" : "?" + query)",
            form: try Self.encoded(request.form), headers: headers, site: Self.site())
        let expected = request.expect
        let statuses = (expected.status.array ?? [expected.status]).compactMap(\.number)
        #expect(statuses.contains(Double(answer.status)), "\(answer.body.prefix(300))")
        if let type = expected.contentType, type != .null {
            let found = answer.response.header("content-type") ?? ""
            #expect(
                (type.array ?? [type]).compactMap(\.string).contains { found.hasPrefix($0) },
                "\(found)")
        }
        if let pattern = expected.bodyPattern {
            #expect(answer.body.contains(try Regex(pattern)), "\(answer.body.prefix(300))")
        }
        try Self.check(answer.body, expected)
    }

    private static func check(_ body: String, _ expected: Expectation) throws {
        guard let schema = expected.schema else { return }
        let json = try JSONDecoder().decode(JSONValue.self, from: Data(body.utf8))
        let definitions = try #require(file).definitions
        #expect(
            JSONSchema(definitions: definitions).fault(json, schema) == nil, "\(body.prefix(300))")
        if let path = expected.nonempty {
            #expect(json.at(path)?.isEmptyCollection == false, "\(body.prefix(300))")
        }
        for order in expected.keyOrder ?? [] {
            let places = order.dropFirst().compactMap { body.firstRange(of: "\"\($0)\":") }
            #expect(
                places.map(\.lowerBound) == places.map(\.lowerBound).sorted(), "\(body.prefix(300))"
            )
        }
    }
}
