import CollectorQuery
import CollectorWeb
import Logging
import Model
import Storage
import Synchronization
import World

/// A clock that stands at 2026-01-02T03:04:05Z; its sleeps end when they are cancelled.
struct FixedClock: WorldClock {
    var now: TimestampNS { TimestampNS(1_767_323_045_000_000_000) }
    var monotonicNanoseconds: Int64 { 0 }
    func sleep(nanoseconds: Int64) async throws {
        let (stream, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        throw CancellationError()
    }
}

/// A clock that stands at one minute after the epoch.
struct MinuteClock: WorldClock {
    var now: TimestampNS { TimestampNS(60_000_000_000) }
    var monotonicNanoseconds: Int64 { 0 }
    func sleep(nanoseconds: Int64) async throws { try await FixedClock().sleep(nanoseconds: 0) }
}

/// Random bits that are the same each time.
struct FixedRandom: RandomSource {
    func next() -> UInt64 { 0xabc }
    func bytes(count: Int) -> [UInt8] { Array(repeating: 7, count: count) }
}

/// Two series of `up` with samples every 15 s from 0 to 60 s.
struct FakeMetricReader: MetricReader {
    static let labels: [Labels] = [
        ["__name__": "up", "host": "a"], ["__name__": "up", "host": "b<&>"],
    ]

    /// Native histograms with buckets on both sides of zero.
    private static let latency = SeriesColumns(
        labels: ["__name__": "latency"],
        histograms: [30_000, 60_000].map { time in
            HistogramSample(
                time,
                FloatHistogram(
                    count: 8, sum: 1e21, zeroThreshold: 0.5, zeroCount: 2,
                    positive: FloatHistogram.Buckets(first: 1, counts: [3, 0, 2]),
                    negative: FloatHistogram.Buckets(first: 2, counts: [1])))
        })

    func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]] {
        selections.map { selection in
            if selection.matchers.contains(where: { $0.value == "latency" }) {
                return [Self.latency]
            }
            let wanted = selection.matchers.first { $0.name == "host" }?.value
            return Self.labels.filter { wanted == nil || $0["host"] == wanted }.map { labels in
                SeriesColumns(
                    labels: labels, timestamps: [0, 15_000, 30_000, 45_000, 60_000],
                    values: [0, 1, .infinity, 1e21, 0.1])
            }
        }
    }
    func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        ["__name__", "host"]
    }
    func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { [name, "\(scope.matcherSets.count)"] }
    func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] { Self.labels }
    func metadata(
        metric: String?
    ) async throws(StorageError) -> [ExactText: [MetricMetadata]] {
        ["up": [MetricMetadata(type: .gauge, help: "Is it up?", unit: "")]]
    }
}

/// One stream of three lines, one of them not UTF-8.
struct FakeLogReader: LogReader {
    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        var entries = [
            LogEntry(
                timestamp: TimestampNS(1), line: Array("first \"x\"".utf8), level: "info",
                metadata: ["trace_id": "t1"]),
            LogEntry(timestamp: TimestampNS(2), line: [0x61, 0xff]),
            LogEntry(timestamp: TimestampNS(3), line: Array("third".utf8)),
        ]
        if selection.direction == .backward { entries.reverse() }
        _ = try body(
            LogPage(
                streams: [["host": "a"]], streamIndexes: entries.map { _ in 0 },
                entries: entries))
    }
    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage {
        let through = TimestampNS(LogRate.widthNanoseconds)
        guard from < through, through <= to else { return LogRatePage() }
        return LogRatePage(
            streams: [["host": "a"]],
            rates: [
                LogRate(
                    through: through, streamIndex: 0, level: "info", lineCount: 1, byteCount: 9),
                LogRate(through: through, streamIndex: 0, level: nil, lineCount: 2, byteCount: 7),
            ], blockCount: 1)
    }
    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace { LogTrace(page: LogPage(), isCut: false) }
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { ["host"] }
    func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { ["a"] }
    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        [["host": "a"]]
    }
}

/// Remembers what it was told to delete and clean.
final class FakeSeriesDeleter: SeriesDeleter {
    let scopes = Mutex<[LabelScope]>([])
    let cleanings = Mutex(0)

    func deleteSeries(_ scope: LabelScope) async throws(StorageError) -> Int {
        scopes.withLock { $0.append(scope) }
        return 1
    }

    func cleanTombstones() async throws(StorageError) -> Int {
        cleanings.withLock { $0 += 1 }
        return 1
    }
}

/// A whole `WebSite` over the fakes.
enum FakeCollector {
    static let alert = AlertRecord(
        rule: "f;g;Down;0", labels: ["alertname": "Down", "host": "a"],
        annotations: ["summary": "a is down"], state: .firing, value: 1,
        activeAt: TimestampMS(1_767_323_000_500), firedAt: TimestampMS(1_767_323_030_000))

    static let group = RuleGroupStatus(
        name: "g", file: "f", intervalSeconds: 15,
        rules: [
            RuleStatus(
                name: "Down", query: "up == 0", labels: ["severity": "page"],
                kind: .alerting(
                    forMilliseconds: 30_000, keepFiringForMilliseconds: 0, annotations: [:],
                    alerts: [alert]),
                health: .ok, evaluationSeconds: 0.001,
                lastEvaluation: TimestampMS(1_767_323_040_000)),
            RuleStatus(name: "up:sum", query: "sum(up)", kind: .recording),
        ])

    static func site(
        configuration: WebConfiguration = WebConfiguration(),
        checkReadiness: @escaping @Sendable () async throws -> Void = {},
        checkHosts: @escaping @Sendable () async throws -> Void = {},
        clock: any WorldClock = FixedClock(), sampleWriter: any SampleWriter = FakeSampleWriter(),
        exemplars: any ExemplarReader = FakeExemplarReader(),
        ruleGroups: [RuleGroupStatus] = [group],
        deleter: any SeriesDeleter = FakeSeriesDeleter(),
        metricReader: any MetricReader = FakeMetricReader(),
        metrics: MetricQueryService? = nil,
        change: (inout WebDependencies) -> Void = { _ in },
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) -> WebSite {
        var dependencies = WebDependencies(
            version: "1.2.3", clock: clock,
            metrics: metrics
                ?? MetricQueryService(
                    reader: metricReader, clock: clock, executor: globalConcurrentExecutor),
            logs: LogQueryService(reader: FakeLogReader(), clock: clock),
            sampleWriter: sampleWriter, exemplars: exemplars, deleter: deleter,
            ruleGroups: { ruleGroups },
            alerts: { [alert] },
            hosts: {
                try await checkHosts()
                return [
                    FleetHost(
                        host: try requireHost("h1"), facts: HostFacts(agentVersion: "1.0"),
                        enrolledAt: TimestampMS(0), lastSeenAt: TimestampMS(1_767_323_040_000),
                        revoked: false),
                    FleetHost(
                        host: try requireHost("h2"), facts: HostFacts(),
                        enrolledAt: TimestampMS(0), lastSeenAt: TimestampMS(1_767_323_000_000),
                        revoked: false),
                ]
            },
            deliveries: { _ in
                [
                    (
                        OutboxMessage(
                            id: "id-1", receiver: "team", integration: "webhook/0",
                            groupKey: "{}", groupLabels: [:], alerts: [],
                            createdAt: TimestampMS(0)),
                        DeliveryAttempt(
                            messageID: "id-1", at: TimestampMS(0), status: 500, error: "oh",
                            durationMilliseconds: 250)
                    )
                ]
            },
            notifyTest: { receiver in
                receiver == "team"
                    ? [NotifyTestOutcome(integration: "webhook/0", error: "", status: 200)] : nil
            },
            checkReadiness: checkReadiness,
            ownMetrics: {
                [MetricFamily("petrel_up", .gauge, help: "One.", points: [.init([:], 1)])]
            })
        dependencies.server = ServerFacts(
            startedAt: TimestampMS(1_767_322_800_000), workingDirectory: "/data",
            hostName: "watch", coreCount: 2, retention: "30d", flags: ["query.timeout": "2m"],
            configurationYAML: "global:\n  scrape_interval: 15s\n")
        change(&dependencies)
        return WebSite(
            configuration: configuration, dependencies: dependencies, random: FixedRandom(),
            logger: logger)
    }

    private static func requireHost(_ name: String) throws -> HostName {
        guard let host = HostName(name) else { throw StorageError.corrupt(name) }
        return host
    }

    /// The answer to `METHOD /path?query` with `form` as the body of a POST.
    static func ask(
        _ line: String, form: String = "", headers: [String: String] = [:],
        site: WebSite = site()
    ) async throws -> (status: Int, body: String, response: WebResponse) {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        let target = words[1].split(separator: "?", maxSplits: 1).map(String.init)
        let query = try FormParameters((target.count > 1 ? target[1] : "").utf8)
        var all = ["host": "127.0.0.1:9600"]
        all.merge(headers) { $1 }
        var response = await site.respond(
            to: WebRequest(
                method: words[0], path: target[0].split(separator: "/").map(String.init),
                parameters: try FormParameters(form.utf8).merging(query), headers: all))
        while let piece = response.rest?.next() { response.body += piece }
        return (response.status, String(decoding: response.body, as: UTF8.self), response)
    }
}
