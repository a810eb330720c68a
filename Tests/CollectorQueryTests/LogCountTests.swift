import CollectorQuery
import LogQL
import Model
import Storage
import Synchronization
import Testing

/// Numbers from counts are those from lines.
@Suite("Log counts")
struct LogCountTests {
    private static let minute: Int64 = 60_000_000_000
    /// The end of a minute.
    private static let epoch: Int64 = 1_700_000_040_000_000_000

    static func at(_ minutes: Int64, _ nanoseconds: Int64 = 0) -> TimestampNS {
        TimestampNS(epoch + minutes * minute + nanoseconds)
    }

    /// Random lines over twenty minutes, many at the very end of one; fields have names that labels have too.
    static func streams(_ dice: inout Dice) -> [LogStream] {
        let names = ["host", "unit", "level", "app", "detected_level"]
        return (0..<4).map { number in
            var labels: [Label] = [Label("all", "yes"), Label("n", "\(number)")]
            for name in names where Bool.random(using: &dice) {
                labels.append(Label(name, ["a", "b"].randomElement(using: &dice) ?? ""))
            }
            let entries = (0..<Int.random(in: 0..<60, using: &dice)).map { _ in
                var metadata: [Label] = []
                if Int.random(in: 0..<8, using: &dice) == 0 {
                    metadata.append(Label(names.dropLast().randomElement(using: &dice) ?? "", "m"))
                }
                return LogEntry(
                    timestamp: at(
                        Int64.random(in: 0..<20, using: &dice),
                        Bool.random(using: &dice) ? 0 : Int64.random(in: 0..<minute, using: &dice)),
                    line: Array(repeating: 97, count: Int.random(in: 0..<9, using: &dice)),
                    level: [nil, "info", "error"].randomElement(using: &dice) ?? nil,
                    metadata: Labels(metadata))
            }
            return LogStream(labels: Labels(labels), entries: entries)
        }
    }

    static let queries = [
        "sum by (host) (rate({all=\"yes\"}[5m]))", "sum(count_over_time({all=\"yes\"}[1m]))",
        "sum by (level, detected_level) (count_over_time({all=\"yes\"} | drop __error__ [2m]))",
        "sum by (unit, n) (bytes_rate({all=\"yes\"}[3m]))",
        "sum(bytes_over_time({all=\"yes\", host=\"a\"}[7m])) by (app)",
        "absent_over_time({all=\"yes\", host=\"b\"}[1m])",
        "max(sum by (n) (count_over_time({all=\"yes\"}[90s])))",
        "sum by (host) (rate({all=\"yes\"}[5m])) / sum by (host) (rate({all=\"yes\"}[10m]))",
        "sum by (n) (count_over_time({all=\"yes\"}[5m] offset 2m))",
        "sum(count_over_time({all=\"yes\"}[17s]))",
        "sum by (host_extracted) (count_over_time({all=\"yes\"}[5m]))",
        "sum by (host) (count_over_time({all=\"yes\"}[5m])) "
            + "or sum by (app) (count_over_time({all=\"yes\"}[5m]))",
        "sum(count_over_time({all=\"yes\"} | host=\"m\" [5m])) "
            + "or sum by (n) (rate({all=\"yes\"} | unit=~\".*\" [5m]))",
    ]

    private static func text(_ answer: LogAnswer) -> String {
        switch answer.value {
        case .streams: "streams"
        case .metric(.scalar(let value, _)): "\(value)"
        case .metric(.vector(let elements, _)):
            elements.map { "\($0.labels)=\($0.value)" }.joined(separator: ";")
        case .metric(.matrix(let series)):
            series.map { "\($0.labels)\($0.timestamps)\($0.values)" }.joined(separator: ";")
        }
    }

    private static func service(_ reader: any LogReader) -> LogQueryService {
        LogQueryService(reader: reader, clock: FixedClock())
    }

    /// Reads, whatever could be counted: its counts are never asked for.
    private struct Uncounted: LogReader {
        let reader: StoredLogReader

        func logRates(
            _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
        ) async throws(StorageError) -> LogRatePage {
            // A stream with no labels: no grouping by a label can be counted.
            LogRatePage(streams: [.empty], rates: [])
        }
        func logTrace(
            _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
        ) async throws(StorageError) -> LogTrace {
            try await reader.logTrace(id, from: from, to: to, entriesMax: entriesMax)
        }
        func forEachPage(
            _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
        ) async throws {
            // Without hints what to skip, so that nothing is missed for them.
            var whole = selection
            whole.metadata = []
            try await reader.forEachPage(whole, body)
        }
        func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
        func logLabelValues(
            _ name: String, _ scope: LabelScope
        ) async throws(StorageError) -> [String] { [] }
        func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
            try await reader.logStreams(scope)
        }
    }

    private static func uncounted(_ streams: [LogStream]) -> LogQueryService {
        var service = service(Uncounted(reader: StoredLogReader(streams)))
        // An error field may be everywhere, so that nothing is counted.
        service.fieldNames = { _ in ["__error__"] }
        return service
    }

    @Test("answers from counts and from lines are the same", arguments: 0..<60)
    func same(seed: Int) async throws {
        var dice = Dice(state: UInt64(seed))
        let streams = Self.streams(&dice)
        let reader = StoredLogReader(streams)
        let plain = Self.service(reader)
        var knowing = plain
        knowing.fieldNames = reader.fieldNames
        let reading = Self.uncounted(streams)
        for query in Self.queries {
            let shifts: [Int64] = [0, 17, 1_000_000_000]
            let shift = shifts.randomElement(using: &dice) ?? 0
            let steps: [Int64] = [Self.minute, 15_000_000_000, 5 * Self.minute, 61_000_000_000]
            let step = steps.randomElement(using: &dice) ?? Self.minute
            let request = LogRangeRequest(
                text: query, from: Self.at(1, shift), to: Self.at(22, shift),
                stepNanoseconds: step)
            let expected = Self.text(try await reading.range(request))
            #expect(Self.text(try await plain.range(request)) == expected, "\(query) \(step)")
            #expect(Self.text(try await knowing.range(request)) == expected, "\(query) \(step)")
            let time = Self.at(15, shift)
            let one = Self.text(try await reading.instant(query, at: time))
            #expect(Self.text(try await plain.instant(query, at: time)) == one, "\(query)")
            #expect(Self.text(try await knowing.instant(query, at: time)) == one, "\(query)")
        }
    }

    private static func twoHosts() -> [LogStream] {
        ["a", "b"].map { host in
            LogStream(
                labels: ["host": host],
                entries: (0..<600).map {
                    LogEntry(
                        timestamp: at(0, Int64($0) * 1_000_000_000), line: [0x78, 0x79],
                        level: "info", metadata: ["pid": "1"])
                })
        }
    }

    @Test("a rate by host opens no line")
    func opensNothing() async throws {
        let reader = StoredLogReader(Self.twoHosts())
        let request = LogRangeRequest(
            text: "sum by (host)(rate({host=~\".+\"}[5m]))", from: Self.at(5), to: Self.at(10),
            stepNanoseconds: Self.minute)
        let answer = try await Self.service(reader).range(request)
        #expect(answer.statistics.scannedLineCount == 0)
        #expect(answer.statistics.countedLineCount == 1198)
        #expect(reader.questions.withLock { $0.selections.isEmpty })
        guard case .metric(.matrix(let series)) = answer.value else {
            Issue.record("no matrix")
            return
        }
        #expect(series.map(\.labels) == [["host": "a"], ["host": "b"]])
        #expect(series[0].values == [1, 1, 1, 1, 1, 299 / 300.0])
    }

    @Test("times are multiples of the step around the range, whatever second it begins at")
    func aligned() async throws {
        let service = Self.service(StoredLogReader(Self.twoHosts()))
        func times(_ from: TimestampNS, _ to: TimestampNS, step: Int64) async throws -> [Int64] {
            let request = LogRangeRequest(
                text: "vector(1)", from: from, to: to, stepNanoseconds: step)
            guard case .metric(.matrix(let series)) = try await service.range(request).value else {
                Issue.record("no matrix")
                return []
            }
            return series.first?.timestamps ?? []
        }
        let minutes = (1...4).map { Self.at($0).milliseconds.rawValue }
        let second: Int64 = 1_000_000_000
        let late = try await times(
            Self.at(1, 7 * second), Self.at(3, 7 * second), step: Self.minute)
        #expect(late == minutes)
        let later = try await times(Self.at(1, 50 * second), Self.at(4), step: Self.minute)
        #expect(later == minutes)
        let exact = try await times(Self.at(1), Self.at(4), step: Self.minute)
        #expect(exact == minutes)
        let before = try await times(TimestampNS(-90 * second), TimestampNS(1), step: Self.minute)
        #expect(before == [-120_000, -60_000, 0, 60_000])
        // A step has whole milliseconds.
        let fine = try await times(TimestampNS(0), TimestampNS(3_000_001), step: 1_999_999)
        #expect(fine == [0, 1, 2, 3, 4])
        // As many points as there may be stay as many that may be.
        let most = try await times(
            TimestampNS(1), TimestampNS(11_000 * second + 1), step: second)
        #expect(most.count == 11_002)
    }

    @Test("too many series are refused, or cut with a warning")
    func cut() async throws {
        var limits = LogQueryLimits()
        limits.metric.seriesMax = 1
        let service = LogQueryServiceTests.service(
            StoredLogReader(Self.twoHosts()), limits: limits)
        let text = "sum by (host)(count_over_time({host=~\".+\"}[5m]))"
        var request = LogRangeRequest(
            text: text, from: Self.at(5), to: Self.at(10), stepNanoseconds: Self.minute)
        await #expect(throws: QueryFailure.self) { try await service.range(request) }
        await #expect(throws: QueryFailure.self) {
            try await service.instant(text, at: Self.at(5))
        }
        request.isCutAtSeriesMax = true
        let warnings = [
            "maximum number of series (1) reached for a single query; returning partial results"
        ]
        let answer = try await service.range(request)
        #expect(answer.warnings == warnings)
        guard case .metric(.matrix(let series)) = answer.value else {
            Issue.record("no matrix")
            return
        }
        #expect(series.map(\.timestamps.count) == [6])
        let one = try await service.instant(text, at: Self.at(5), isCutAtSeriesMax: true)
        #expect(one.warnings == warnings)
        guard case .metric(.vector(let elements, _)) = one.value else {
            Issue.record("no vector")
            return
        }
        #expect(elements.map(\.value) == [300])
        request.text = "sum(count_over_time({host=~\".+\"}[5m]))"
        #expect(try await service.range(request).warnings.isEmpty)
    }

    @Test("a level is known by counts, a label that streams lack only where it is no field")
    func levels() async throws {
        let reader = StoredLogReader(Self.twoHosts())
        let query =
            "sum by (level, detected_level) (count_over_time({host=\"a\"} | drop __error__ [1m]))"
        let request = LogRangeRequest(
            text: query, from: Self.at(1), to: Self.at(3), stepNanoseconds: Self.minute)
        var service = Self.service(reader)
        #expect(try await service.range(request).statistics.scannedLineCount == 180)
        service.fieldNames = reader.fieldNames
        let answer = try await service.range(request)
        #expect(answer.statistics.scannedLineCount == 0)
        guard case .metric(.matrix(let series)) = answer.value else {
            Issue.record("no matrix")
            return
        }
        #expect(series.map(\.labels) == [["detected_level": "info"]])
        #expect(series.map(\.values) == [[60, 60, 60]])
    }

    @Test(
        "lines are counted whatever their windows; bytes beside whole minutes are read, the rest counted"
    )
    func edges() async throws {
        let reader = StoredLogReader(Self.twoHosts())
        let time = Self.at(6, 10_000_000_000)
        let bytes = try await Self.service(reader).instant(
            "sum(bytes_over_time({host=\"a\"}[5m]))", at: time)
        #expect(bytes.statistics.scannedLineCount == 60)
        #expect(bytes.statistics.countedLineCount == 240)
        let lines = try await Self.service(reader).instant(
            "sum(count_over_time({host=\"a\"}[5m]))", at: time)
        #expect(lines.statistics.scannedLineCount == 0)
        #expect(lines.statistics.countedLineCount == 300)
    }

    @Test("counts between lines that are read are asked for together")
    func together() async throws {
        let reader = StoredLogReader(Self.twoHosts())
        let answer = try await Self.service(reader).range(
            LogRangeRequest(
                text: "sum(bytes_over_time({host=\"a\"}[3m] offset 1s))", from: Self.at(4),
                to: Self.at(10), stepNanoseconds: 3 * Self.minute))
        guard case .metric(.matrix(let series)) = answer.value else {
            Issue.record("no matrix")
            return
        }
        #expect(Set(series.flatMap(\.values)).count == 1)
        #expect(answer.statistics.countedLineCount == 360)
        #expect(answer.statistics.scannedLineCount == 180)
        #expect(reader.questions.withLock { $0.rateRanges.count } == 1)
    }

    @Test("a long time is asked for slice by slice")
    func slices() async throws {
        let reader = StoredLogReader(Self.twoHosts())
        let answer = try await Self.service(reader).instant(
            "sum(count_over_time({host=~\".+\"}[90d]))", at: Self.at(60))
        guard case .metric(.vector(let elements, _)) = answer.value else {
            Issue.record("no vector")
            return
        }
        #expect(elements.map(\.value) == [1200])
        let ranges = reader.questions.withLock { $0.rateRanges }
        #expect(ranges.count > 20 && ranges.count < 60, "\(ranges.count)")
        #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.to == $1.from })
    }
}

/// Random numbers that are the same each time.
struct Dice: RandomNumberGenerator {
    var state: UInt64

    /// Source: SplitMix64, Steele and others, 2014.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
