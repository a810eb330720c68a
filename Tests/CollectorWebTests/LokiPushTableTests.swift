import CollectorWeb
import FoundationEssentials
import Model
import OTLP
import Storage
import Synchronization
import Testing

/// The cases of `$PETREL_CONFORMANCE/logql-tables/http.json` that push.
@Suite("Loki's tables: push")
struct LokiPushTableTests {
    private static let kinds = [
        "push", "push_decode", "entry_json", "otlp_push", "otlp_error", "backfill_header",
    ]

    @Test(
        "every case",
        .enabled(
            if: PushTable.isPresent,
            "NOT RUN: no logql-tables/http.json; set PETREL_CONFORMANCE to the conformance folder"))
    func cases() async throws {
        var counts: [String: Int] = [:]
        for one in try PushTable.cases() {
            let kind = one["kind"].text ?? ""
            guard Self.kinds.contains(kind) else { continue }
            counts[kind, default: 0] += 1
            switch kind {
            case "push": try await push(one, ["loki", "api", "v1", "push"])
            case "push_decode": try await push(one, ["loki", "api", "v1", "push"])
            case "entry_json": try await entry(one)
            case "otlp_push": try await push(one, ["otlp", "v1", "logs"])
            case "otlp_error": try await otlpError(one)
            default: try await backfill(one)
            }
        }
        #expect(Set(counts.keys) == Set(Self.kinds))
    }

    private func push(_ one: TableValue, _ path: [String]) async throws {
        let (input, expected) = (one["input"], one["expect"])
        let source = Comment(rawValue: one["src"].text ?? "?")
        let writer = FakeLogWriter()
        var configuration = LogPushConfiguration()
        configuration.serviceNameLabels = input["limits"]["discover_service_name"].list
            .compactMap(\.text)
        if case .object = input["otlp_config"] {
            configuration.attributes = PushTable.rules(input["otlp_config"])
        }
        let body =
            input["body_base64"].text.flatMap { Data(base64Encoded: $0) }.map { Array($0) }
            ?? Array((input["body"].text ?? input["json"].json).utf8)
        let encoding = input["content_encoding"].text ?? ""
        let answer = await FakeCollector.post(
            body, path, type: input["content_type"].text ?? "application/json",
            encoding: encoding.isEmpty ? nil : encoding,
            to: FakeCollector.site(taking: writer, configuration))
        guard expected["error"] != .boolean(true) else {
            #expect((400..<500).contains(answer.status), source)
            #expect(writer.state.withLock { $0.calls } == 0, source)
            return
        }
        #expect(answer.status == (path[0] == "otlp" ? 200 : 204), source)
        let streams = writer.streams
        guard case .array(let wanted) = expected["streams"] else {
            #expect(!streams.isEmpty, source)
            return
        }
        #expect(streams.count == wanted.count, source)
        for stream in wanted {
            let labels = stream["labels"].text ?? ""
            let ours = streams.first { PushTable.text($0.labels) == labels }
            let found = try #require(
                ours, "\(labels): \(streams.map { PushTable.text($0.labels) })")
            guard case .array(let entries) = stream["entries"] else { continue }
            #expect(found.entries.map(PushTable.value) == entries, source)
        }
        sizes(streams, expected, source)
    }

    /// What clients write is read unchanged.
    private func entry(_ one: TableValue) async throws {
        let writer = FakeLogWriter()
        let body =
            #"{"streams": [{"stream": {"a": "b"}, "values": [\#(one["expect"]["json"].json)]}]}"#
        let answer = await FakeCollector.post(
            Array(body.utf8), to: FakeCollector.site(taking: writer))
        #expect(answer.status == 204)
        #expect(writer.streams.first?.entries.map(PushTable.value) == [one["input"]])
    }

    /// Bytes and lines by the value of `environment`, as the tables count them.
    private func sizes(_ streams: [LogStream], _ expected: TableValue, _ source: Comment) {
        var bytes: [String: Int64] = [:]
        var lines: [String: Int64] = [:]
        var fields: [String: Int64] = [:]
        for stream in streams {
            let policy = stream.labels["environment"]
            for entry in stream.entries {
                let size = entry.metadata.reduce(0) {
                    $0 + $1.name.utf8.count + $1.value.utf8.count
                }
                bytes[policy, default: 0] += Int64(entry.line.count + size)
                lines[policy, default: 0] += 1
                if size > 0 { fields[policy, default: 0] += Int64(size) }
            }
        }
        for (name, ours) in [
            ("bytes", bytes), ("lines", lines), ("structured_metadata_bytes", fields),
        ] {
            guard case .object = expected[name] else { continue }
            #expect(expected[name] == .object(ours.mapValues { .integer($0) }), source)
        }
    }

    /// The answer is in the request's own encoding, where Loki's is `application/octet-stream`, and has a code.
    private func otlpError(_ one: TableValue) async throws {
        let message = one["input"]["message"].text ?? ""
        let writer = FakeLogWriter()
        writer.state.withLock { $0.failure = .refused(message) }
        let body = try #require(RecordMessage.request(line: "x", time: 1))
        let answer = await FakeCollector.post(
            body, ["otlp", "v1", "logs"], type: "application/x-protobuf",
            to: FakeCollector.site(taking: writer))
        #expect(.integer(Int64(answer.status)) == one["expect"]["code"])
        #expect(answer.text.hasSuffix(message))
    }

    private func backfill(_ one: TableValue) async throws {
        let (input, expected) = (one["input"], one["expect"])
        let writer = FakeLogWriter()
        let body = #"{"streams": [{"stream": {"a": "b"}, "values": [["1", "x"]]}]}"#
        var headers: [String: String] = [:]
        if input["header_present"] == .boolean(true) {
            headers["x-loki-backfill-shard"] = input["value"].text
        }
        let answer = await FakeCollector.post(
            Array(body.utf8), headers: headers, to: FakeCollector.site(taking: writer))
        #expect((answer.status == 400) == (expected["error"] == .boolean(true)))
        let labels = writer.streams.first?.labels ?? .empty
        #expect(labels["__backfill_shard__"] == expected["shard"].text ?? "")
        let isPresent = expected["present"] == .boolean(true)
        #expect(labels["__backfill__"] == (isPresent ? "true" : ""))
    }
}

/// A value of the tables.
indirect enum TableValue: Decodable, Hashable, Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
    case array([TableValue])
    case object([String: TableValue])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let boolean = try? value.decode(Bool.self) {
            self = .boolean(boolean)
        } else if let integer = try? value.decode(Int64.self) {
            self = .integer(integer)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let array = try? value.decode([TableValue].self) {
            self = .array(array)
        } else {
            self = .object(try value.decode([String: TableValue].self))
        }
    }

    subscript(key: String) -> TableValue {
        if case .object(let members) = self { members[key] ?? .null } else { .null }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }
    var list: [TableValue] { if case .array(let list) = self { list } else { [] } }

    /// The value as JSON.
    var json: String {
        switch self {
        case .null: "null"
        case .boolean(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .text(let text):
            "\""
                + text.unicodeScalars.map { scalar in
                    scalar == "\"" || scalar == "\\" || scalar.value < 32
                        ? "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
                        : String(scalar)
                }.joined() + "\""
        case .array(let list): "[" + list.map(\.json).joined(separator: ",") + "]"
        case .object(let members):
            "{"
                + members.map { Self.text($0.key).json + ":" + $0.value.json }
                .joined(separator: ",") + "}"
        }
    }
}

/// `http.json`, and what its values are here.
enum PushTable {
    static let isPresent = FileManager.default.fileExists(atPath: LokiHTTPTableTests.path)

    static func cases() throws -> [TableValue] {
        let data = try #require(FileManager.default.contents(atPath: LokiHTTPTableTests.path))
        return try JSONDecoder().decode(TableValue.self, from: data)["cases"].list
    }

    /// A label set in Loki's sorted form.
    static func text(_ labels: Labels) -> String {
        let pairs = labels.map { label in
            let value = label.value.map { character in
                character == "\"" || character == "\\" ? "\\\(character)" : "\(character)"
            }
            return "\(label.name)=\"\(value.joined())\""
        }
        return "{" + pairs.joined(separator: ", ") + "}"
    }

    /// An entry as the tables have it: the level has a place of its own here.
    static func value(_ entry: LogEntry) -> TableValue {
        .object([
            "ts": .integer(entry.timestamp.rawValue),
            "line": .text(String(decoding: entry.line, as: UTF8.self)),
            "structured_metadata": .object(
                Dictionary(uniqueKeysWithValues: entry.metadata.map { ($0.name, .text($0.value)) })
            ),
        ])
    }

    /// The rules of Loki's `otlp_config`.
    static func rules(_ config: TableValue) -> LogAttributeRules {
        let resource = config["resource_attributes"]
        let isAlone = resource["ignore_defaults"] == .boolean(true)
        return LogAttributeRules(
            resource: (isAlone ? [] : LogAttributeRules.standard.resource)
                + rules(resource["attributes_config"].list),
            scope: rules(config["scope_attributes"].list),
            record: rules(config["log_attributes"].list))
    }

    private static func rules(_ list: [TableValue]) -> [LogAttributeRules.Rule] {
        list.map { rule in
            let action: LogAttributeRules.Action =
                switch rule["action"].text {
                case "index_label": .label
                case "drop": .drop
                default: .field
                }
            let pattern = rule["regex"].text
            return LogAttributeRules.Rule(
                action, names: Set(rule["attributes"].list.compactMap(\.text)),
                matches: { name in
                    guard let pattern, let regex = try? Regex(pattern) else { return false }
                    return (try? regex.wholeMatch(in: name)) != nil
                })
        }
    }
}
