import CollectorQuery
import CollectorWeb
import FoundationEssentials
import LogQL
import Model
import Storage
import Synchronization
import Testing
import World

/// The cases of `logql-tables/http.json` about reading: what parameters mean and how answers are written.
///
/// Left to other tests: what is pushed (`LokiPushTableTests`), the tail's (`LokiTailTableTests`) and `label_set`
/// (`FieldTests`). Cases that are not run, or not whole, are named in `exceptions`.
@Suite("Loki HTTP table")
struct LokiHTTPTableTests {
    struct Table: Decodable {
        var cases: [Case]
    }

    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        var kind: String
        var input: JSONValue
        var expect: JSONValue
        var src: String

        var testDescription: String { "\(kind): \(src)" }

        var isRefused: Bool { expect["error"] != .boolean(false) && expect["error"] != nil }
        func nanoseconds(_ name: String) -> TimestampNS? {
            expect[name]?.number.map { TimestampNS(Int64($0)) }
        }
    }

    static let path =
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
        + "/logql-tables/http.json"
    static let cases: [Case] =
        FileManager.default.contents(atPath: path).flatMap {
            try? JSONDecoder().decode(Table.self, from: $0)
        }?.cases ?? []

    /// Those that are run.
    static func cases(_ kinds: String...) -> [Case] {
        cases.filter { kinds.contains($0.kind) && Exception(of: $0)?.isRun != false }
    }

    /// Why a case is not run, or why not all that it expects.
    enum Exception: CaseIterable {
        /// Loki's router takes these paths as little as ours: only a function of its own ignores case.
        case upperCasePath
        /// The API before `/loki/api/v1` (`/api/prom`), out of scope.
        case legacy
        /// There are no patterns to write yet: the list is empty.
        case patterns
        /// Read, as expected, and then refused: more lines than an answer may have.
        case tooLarge
        /// Statistics are of what this store has (`summary`), not of Loki's parts.
        case statistics
        /// Decoded as expected; the form itself is what a client of Loki writes, answers have another.
        case entryOfClients
        /// Status and message as expected, in the encoding of the request as OTLP's specification has it.
        case encodingOfErrors

        init?(of value: Case) {
            let url = value.input["url"]?.string ?? ""
            switch value.kind {
            case "api_version" where value.input["path"]?.string?.contains("LOKI") == true:
                self = .upperCasePath
            case _ where value.kind.hasSuffix("_legacy"): self = .legacy
            case "marshal_patterns" where value.input["series"]?.array?.isEmpty == false:
                self = .patterns
            case "param_uint32" where url.contains("query_range") && !value.isRefused:
                self = .tooLarge
            case "marshal_query": self = .statistics
            case "entry_json": self = .entryOfClients
            case "otlp_error": self = .encodingOfErrors
            default: return nil
            }
        }

        var isRun: Bool {
            switch self {
            case .upperCasePath, .legacy, .patterns: false
            case .tooLarge, .statistics, .entryOfClients, .encodingOfErrors: true
            }
        }
    }

    /// Kinds that a test of this target, or of LogQL's, runs.
    private static let kindsRun: Set<String> = [
        "api_version", "backfill_header", "bounds", "default_step", "entry_json",
        "instant_params", "interval", "label_set", "labels_params", "marshal_patterns",
        "marshal_query", "marshal_tail", "otlp_error", "otlp_push", "param_uint32",
        "patterns_params", "push", "push_decode", "query_range_params", "series_params",
        "tail_params", "timestamp", "volume_params", "volume_range_params",
    ]

    /// A clock that stands where it is told to.
    struct Clock: WorldClock {
        var now: TimestampNS
        var monotonicNanoseconds: Int64 { 0 }
        func sleep(nanoseconds: Int64) async throws { try await FixedClock().sleep(nanoseconds: 0) }
    }

    /// What a request's answer was and what it made the reader asked.
    struct Outcome {
        var status: Int
        var body: String
        var questions: StoredLogReader.Questions
        /// `totalEntriesReturned`: lines, or points.
        var returnedCount: Int?
    }

    /// The answer to a question at `path` of the API, with parameters as the table has them: some are not escaped.
    static func ask(
        _ path: String, _ parameters: String, now: TimestampNS = FixedClock().now,
        streams: [LogStream] = []
    ) async throws -> Outcome {
        let reader = StoredLogReader(streams)
        let clock = Clock(now: now)
        let site = FakeCollector.site(
            clock: clock,
            change: { $0.logs = LogQueryService(reader: reader, clock: clock) })
        let answer = try await FakeCollector.ask(
            "GET /loki/api/v1/\(path)?\(parameters)", site: site)
        let json = try? JSONDecoder().decode(JSONValue.self, from: Data(answer.body.utf8))
        return Outcome(
            status: answer.status, body: answer.body,
            questions: reader.questions.withLock { $0 },
            returnedCount: json?.at("data.stats.summary.totalEntriesReturned")?.number.map {
                Int($0)
            })
    }

    private static func parameters(_ value: Case) -> String {
        let url = value.input["url"]?.string ?? ""
        return String(
            url[(url.firstIndex(of: "?").map { url.index(after: $0) } ?? url.endIndex)...]
        )
        .replacing(#"{foo="bar"}"#, with: PercentCoding.encode(#"{foo="bar"}"#))
    }

    /// Numbers of the table are read as doubles: of today's nanoseconds they are right to 128.
    private static func isNear(_ a: TimestampNS, _ b: TimestampNS?) -> Bool {
        b.map { abs(a.rawValue - $0.rawValue) <= 128 } ?? false
    }

    /// One line a second, 120 of them, a millisecond late.
    private static func lines(from start: TimestampNS) -> [LogStream] {
        [
            LogStream(
                labels: ["foo": "bar"],
                entries: (0..<120).map {
                    LogEntry(
                        timestamp: start.advanced(byNanoseconds: $0 * 1_000_000_000 + 1_000_000),
                        line: [97])
                })
        ]
    }

    @Test(
        "there is a table",
        .enabled(
            if: FileManager.default.contents(atPath: path) != nil,
            "NOT RUN: no logql-tables/http.json in $PETREL_CONFORMANCE (or ../shared/conformance)"))
    func isRead() {
        #expect(Self.cases.count == 96)
        let exceptions = Self.cases.compactMap { Exception(of: $0) }
        #expect(Set(exceptions) == Set(Exception.allCases))
        #expect(exceptions.count { !$0.isRun } == 4)
        for value in Self.cases where Exception(of: value) != .legacy {
            #expect(Self.kindsRun.contains(value.kind), "\(value)")
        }
    }

    @Test(arguments: cases("query_range_params", "interval"))
    func queryRange(_ value: Case) async throws {
        let start = value.nanoseconds("start") ?? TimestampNS(0)
        // A selector that matches everything is refused after it was parsed; what is asked of it here is its times.
        let parameters = Self.parameters(value).replacing(
            "query={}", with: "query=%7Bfoo=%22bar%22%7D")
        let outcome = try await Self.ask(
            "query_range", parameters, streams: Self.lines(from: start))
        #expect(outcome.status == (value.isRefused ? 400 : 200), "\(outcome.body)")
        guard !value.isRefused else { return }
        let selection = try #require(outcome.questions.selections.first)
        #expect(Self.isNear(selection.from, start))
        if let end = value.nanoseconds("end") { #expect(Self.isNear(selection.to, end)) }
        if let direction = value.expect["direction"]?.string {
            #expect(selection.direction.rawValue == direction.lowercased())
        }
        if let limit = value.expect["limit"]?.number {
            #expect(outcome.returnedCount == min(Int(limit), 120))
        }
        if let interval = value.expect["interval_ns"]?.number {
            #expect(outcome.returnedCount == (interval == 0 ? 100 : 120 / Int(interval / 1e9)))
        }
        guard let step = value.expect["step_ns"]?.number else { return }
        let numbers = try await Self.ask(
            "query_range",
            parameters.replacing(
                try Regex("query=[^&]*"), with: { _ in "query=vector(1)" }))
        // Points stand at multiples of the step, around the range.
        let width = Int64(step)
        let first = selection.from.rawValue / width
        let last = (selection.to.rawValue + width - 1) / width
        #expect(numbers.returnedCount == Int(last - first) + 1, "\(numbers.body.prefix(200))")
    }

    @Test(arguments: cases("default_step"))
    func defaultStep(_ value: Case) async throws {
        let start = try #require(value.input["start"]?.number) / 1e9
        let end = try #require(value.input["end"]?.number) / 1e9
        let outcome = try await Self.ask(
            "query_range", "query=vector(1)&start=\(start)&end=\(end)")
        let step = try #require(value.expect["step_seconds"]?.number)
        #expect(outcome.returnedCount == Int((end - start) / step) + 1)
    }

    @Test(arguments: cases("instant_params"))
    func instant(_ value: Case) async throws {
        let parameters = Self.parameters(value)
            .replacing(PercentCoding.encode(#"{foo="bar"}"#), with: "vector(1)")
        let outcome = try await Self.ask("query", parameters)
        #expect(outcome.status == (value.isRefused ? 400 : 200), "\(outcome.body)")
        guard let time = value.nanoseconds("ts") else { return }
        let seconds = time.milliseconds.rawValue / 1000
        #expect(outcome.body.contains(#""value":[\#(seconds)"#), "\(outcome.body)")
    }

    @Test(arguments: cases("bounds"))
    func bounds(_ value: Case) async throws {
        func part(_ name: String) -> String {
            let text = value.input[name]?.string ?? ""
            return text.isEmpty ? "" : "&\(name)=\(PercentCoding.encode(text))"
        }
        let now = TimestampNS(Int64(try #require(value.input["now"]?.number)))
        let outcome = try await Self.ask(
            "query_range",
            "query=%7Bfoo=%22bar%22%7D&step=1h" + part("start") + part("end") + part("since"),
            now: now)
        if let text = value.expect["error_contains"]?.string {
            #expect(outcome.status == 400)
            #expect(outcome.body.contains(text))
        } else {
            let selection = try #require(outcome.questions.selections.first, "\(outcome.body)")
            #expect(Self.isNear(selection.from, value.nanoseconds("start")))
            #expect(Self.isNear(selection.to, value.nanoseconds("end")))
        }
    }

    @Test(arguments: cases("timestamp"))
    func timestamp(_ value: Case) throws {
        let text = try #require(value.input["value"]?.string)
        let expected = try #require(value.nanoseconds("ts"))
        let found = try #require(TimeParameters.nanoseconds(text))
        #expect(Self.isNear(found, expected))
        // Float seconds are exact milliseconds.
        #expect(!text.contains(".") || text.contains("T") || found.rawValue % 1_000_000 == 0)
    }

    @Test(arguments: cases("param_uint32"))
    func parameterBounds(_ value: Case) async throws {
        let name = try #require(value.input["param"]?.string)
        guard name != "delay_for" else { return }
        let isFields =
            name == "line_limit" || value.input["url"]?.string?.contains("fields") == true
        let outcome = try await Self.ask(
            isFields ? "detected_fields" : "query_range",
            Self.parameters(value) + "&query=%7Bfoo=%22bar%22%7D")
        if let text = value.expect["error_contains"]?.string {
            #expect(outcome.status == 400)
            #expect(outcome.body.contains(text), "\(outcome.body)")
        } else if isFields {
            #expect(outcome.body.contains(#""limit":4294967295"#))
        } else {
            // It is read, and then is more than an answer may have.
            #expect(outcome.body.contains("max entries limit per query exceeded"))
        }
    }

    @Test(arguments: cases("labels_params", "series_params"))
    func scopes(_ value: Case) async throws {
        var parameters = Self.parameters(value)
        for (name, values) in value.input["form"]?.object ?? [:] {
            for text in (values.array ?? []).compactMap(\.string) {
                parameters += "&\(PercentCoding.encode(name))=\(PercentCoding.encode(text))"
            }
        }
        let path = value.kind == "series_params" ? "series" : "labels"
        let outcome = try await Self.ask(path, parameters)
        #expect(outcome.status == (value.isRefused ? 400 : 200), "\(outcome.body)")
        guard !value.isRefused else { return }
        let scope = try #require(outcome.questions.scopes.first)
        #expect(scope.start == value.nanoseconds("start")?.milliseconds)
        #expect(scope.end == value.nanoseconds("end")?.milliseconds)
        guard let groups = value.expect["groups"]?.array else { return }
        let found = scope.matcherSets.map { set in
            "{" + set.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",") + "}"
        }
        #expect(found.sorted() == groups.compactMap(\.string).sorted())
    }

    @Test(arguments: cases("volume_params", "volume_range_params"))
    func volume(_ value: Case) async throws {
        let path = value.kind == "volume_params" ? "index/volume" : "index/volume_range"
        let outcome = try await Self.ask(path, Self.parameters(value))
        if let text = value.expect["error"]?.string {
            #expect(outcome.status == 400)
            #expect(outcome.body == text)
            return
        }
        #expect(outcome.status == 200, "\(outcome.body)")
        let first = try #require(outcome.questions.rates.first)
        let last = try #require(outcome.questions.rates.last)
        #expect(
            first.matchers == [
                LabelMatcher("foo", .equal, "bar"), LabelMatcher("bar", .matchesRegex, ".+"),
            ])
        if let start = value.nanoseconds("start"), let end = value.nanoseconds("end") {
            let width = LogRate.widthNanoseconds
            #expect(first.from.rawValue == start.rawValue / width * width)
            #expect(last.to.rawValue == (end.rawValue + width - 1) / width * width)
        }
    }

    @Test(arguments: cases("patterns_params", "marshal_patterns"))
    func patterns(_ value: Case) async throws {
        let parameters = value.kind == "marshal_patterns" ? "query=%7B%7D" : Self.parameters(value)
        let outcome = try await Self.ask("patterns", parameters)
        #expect(outcome.status == (value.isRefused ? 400 : 200), "\(outcome.body)")
        if !value.isRefused { #expect(outcome.body == #"{"status":"success","data":[]}"#) }
    }

    @Test(arguments: cases("api_version"))
    func versions(_ value: Case) async throws {
        let path = try #require(value.input["path"]?.string)
        let isServed = value.expect["version"] == .string("v1")
        // The tail has its own tests.
        guard !(isServed && path.hasSuffix("tail")) else { return }
        let answer = try await FakeCollector.ask("GET \(path)")
        #expect((answer.status != 404) == isServed, "\(answer.body)")
    }

    // MARK: - Answers

    private static func labels(_ value: JSONValue?) -> Labels {
        Labels((value?.object ?? [:]).mapValues { $0.string ?? "" })
    }

    private static func answer(_ value: JSONValue) -> LogAnswer {
        if let series = value["matrix"]?.array {
            return LogAnswer(
                .metric(
                    .matrix(
                        series.map { series in
                            let points = (series["points"]?.array ?? []).compactMap(\.array)
                            return SeriesColumns(
                                labels: labels(series["labels"]),
                                timestamps: points.map { Int64($0[0].number ?? 0) },
                                values: points.map { $0[1].number ?? 0 })
                        })))
        }
        let streams = (value["streams"]?.array ?? []).map { stream in
            LogResultStream(
                labels: labels(stream["labels"]),
                entries: (stream["entries"]?.array ?? []).map { entry in
                    LogResultEntry(
                        timestamp: TimestampNS(Int64(entry["ts"]?.number ?? 0)),
                        line: Array((entry["line"]?.string ?? "").utf8),
                        structuredMetadata: labels(entry["structured_metadata"]),
                        parsed: labels(entry["parsed"]))
                })
        }
        return LogAnswer(.streams(streams))
    }

    @Test(arguments: cases("marshal_query"))
    func answers(_ value: Case) throws {
        var answer = Self.answer(try #require(value.input["value"]))
        answer.warnings = (value.input["warnings"]?.array ?? []).compactMap(\.string)
        let response = LokiEnvelope.answer(answer, hasCategories: false)
        let json = try JSONDecoder().decode(JSONValue.self, from: Data(response.body))
        for path in ["status", "warnings", "data.resultType", "data.result"] {
            #expect(json.at(path) == value.expect["json"]?.at(path), "\(path)")
        }
    }

    @Test func marksOfLabels() throws {
        // The last case of `label_set`; the others are the parser's.
        let response = LokiEnvelope.answer(
            LogAnswer(.streams([LogResultStream(labels: ["asdf": "\u{fffd}"])])),
            hasCategories: true)
        #expect(String(decoding: response.body, as: UTF8.self).contains(#"{"asdf":" "}"#))
    }
}
