import CollectorQuery
import Model
import PromQL
import Storage
import Synchronization
import Testing
import World

/// Answers out of the cache are the answers that computing gives, whatever comes late.
@Suite("Range cache")
struct RangeCacheTests {
    /// What is separable, what is not, and what an answer may carry beside series.
    static let expressions = [
        "a", "sum(a)", "rate(a[2m])", "sum by (host) (rate(a[2m]))", "topk(1, a)", "a > 50",
        "count_values(\"v\", a)", "absent(a{host=\"none\"})", "time()", "vector(1)",
        "max_over_time(a[3m:30s])", "a offset 1m", "a offset -1m", "a @ end()", "a - a @ start()",
        "increase(a[2m] smoothed)", "increase(a[2m] anchored)", "a[1m:10s] offset -1m",
        "last_over_time(a[1m:10s] offset -1m)", "histogram_quantile(0.5, a)", "rate(a[range()])",
        "quantile(2, a)", "a / on(host) group_left b", "b", "avg_over_time(a[1h])", "1 + 1",
    ]

    /// Series whose samples are added as time goes on; some come late.
    private final class Samples: MetricReader {
        private struct State {
            var columns: [String: [Int64: Double]] = [:]
            var changes: [Int64] = []
        }

        private let state = Mutex(State())

        /// `host` and metric are one text, as in `a h1`.
        func add(_ series: String, _ time: Int64, _ value: Double, now: Int64) {
            state.withLock { state in
                state.columns[series, default: [:]][time] = value
                if time < now - HistoryChange.settledMilliseconds { state.changes.append(time) }
            }
        }

        func historyChange(since version: UInt64) -> HistoryChange {
            state.withLock { state in
                let earliest =
                    version == 0 ? .min : state.changes.dropFirst(Int(version) - 1).min()
                return HistoryChange(
                    version: UInt64(state.changes.count) + 1,
                    earliest: earliest.map { TimestampMS($0) })
            }
        }

        func select(
            _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
        ) async throws(StorageError) -> [[SeriesColumns]] {
            let columns = state.withLock { $0.columns }
            return selections.map { selection in
                columns.compactMap { name, samples -> SeriesColumns? in
                    let words = name.split(separator: " ").map(String.init)
                    let labels: Labels = ["__name__": words[0], "host": words[1]]
                    guard selection.matchers.allSatisfy({ $0.value == labels[$0.name] }) else {
                        return nil
                    }
                    let range = selection.after.rawValue..<selection.through.rawValue
                    let times = samples.keys.filter { range.contains($0 - 1) }.sorted()
                    guard !times.isEmpty else { return nil }
                    return SeriesColumns(
                        labels: labels, timestamps: times, values: times.map { samples[$0] ?? 0 })
                }.sorted { $0.labels < $1.labels }
            }
        }

        func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
        func labelValues(
            _ name: String, _ scope: LabelScope
        ) async throws(StorageError) -> [String] { [] }
        func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] { [] }
        func metadata(
            metric: String?
        ) async throws(StorageError) -> [ExactText: [MetricMetadata]] { [:] }
    }

    private final class MovingClock: WorldClock {
        private let milliseconds = Mutex<Int64>(0)
        var now: TimestampNS { TimestampNS(milliseconds.withLock { $0 } * 1_000_000) }
        var monotonicNanoseconds: Int64 { 0 }
        func set(_ time: Int64) { milliseconds.withLock { $0 = time } }
        func sleep(nanoseconds: Int64) async throws {
            try await FixedClock().sleep(nanoseconds: nanoseconds)
        }
    }

    @Test("every answer is that without the cache", arguments: 0..<4)
    func same(seed: UInt64) async throws {
        var random = Generator(state: seed)
        let samples = Samples()
        let clock = MovingClock()
        let service = MetricQueryService(
            reader: samples, clock: clock, executor: globalConcurrentExecutor)
        var now: Int64 = 3_600_000
        for time in stride(from: 0, through: now, by: 15_000) {
            samples.add("a h1", time, Double(time / 1000 % 100), now: time)
            samples.add("b h1", time, 2, now: time)
        }
        for round in 0..<30 {
            for time in stride(from: now, through: now + 60_000, by: 15_000) {
                samples.add("a h1", time, Double(time / 1000 % 90), now: time)
                if round > 10 { samples.add("a h2", time, Double(round), now: time) }
            }
            now += 60_000
            clock.set(now)
            if random.next() % 3 == 0 {
                // Late ones: a new series, or an old one.
                let time = now - Int64(random.next() % 40) * 60_000 - 7
                samples.add(random.next() % 2 == 0 ? "a h1" : "b h9", time, 1e6, now: now)
            }
            for expression in Self.expressions {
                let step = [15_000, 60_000, 70_000][Int(random.next() % 3)] as Int64
                let start = now / step * step - step * Int64(10 + random.next() % 30)
                var options = MetricQueryService.Options()
                let cached = try await Self.answer(service, expression, start, now, step, options)
                options.skipsCache = true
                let fresh = try await Self.answer(service, expression, start, now, step, options)
                #expect(cached == fresh, "\(expression) from \(start) by \(step) at \(now)")
            }
        }
        let known = service.metricFamilies()[0].points.map(\.value)
        #expect(known[0] + known[1] > 50, "\(known)")
    }

    /// Everything of an answer but its costs, or the failure's text.
    private static func answer(
        _ service: MetricQueryService, _ text: String, _ start: Int64, _ end: Int64, _ step: Int64,
        _ options: MetricQueryService.Options
    ) async throws -> String {
        do {
            let answer = try await service.range(
                text, from: TimestampMS(start), through: TimestampMS(end), stepMilliseconds: step,
                options: options)
            return "\(answer.value) \(answer.warnings) \(answer.infos)"
        } catch { return "\(error)" }
    }

    /// A linear congruence; the same each run.
    private struct Generator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
    }

    @Test("remarks are those of the steps that are asked for, and are said once")
    func remarks() async throws {
        let samples = Samples()
        let clock = MovingClock()
        clock.set(100_000_000)
        for step in 0..<10 {
            let time = Int64(step) * 100_000
            // Too great at first, and greater from step to step.
            samples.add("q h1", time, step < 5 ? Double(step) + 2 : 0.5, now: time)
            samples.add("a h1", time, 1, now: time)
        }
        let service = MetricQueryService(
            reader: samples, clock: clock, executor: globalConcurrentExecutor)
        for expression in ["quantile(scalar(q), a)", "rate(a[5m])", "rate({host=\"h1\"}[5m])"] {
            for (start, end) in [(0, 2), (0, 4), (0, 7), (3, 9), (5, 9), (6, 9)] as [(Int64, Int64)]
            {
                var options = MetricQueryService.Options()
                let cached = try await Self.answer(
                    service, expression, start * 100_000, end * 100_000, 100_000, options)
                options.skipsCache = true
                let fresh = try await Self.answer(
                    service, expression, start * 100_000, end * 100_000, 100_000, options)
                #expect(cached == fresh, "\(expression) from \(start) to \(end)")
            }
        }
        // Remarks on names don't keep an answer from being kept.
        #expect(service.metricFamilies()[0].points.map(\.value)[0] > 0)
    }

    @Test("a question of settled steps alone is answered without the reader")
    func whole() async throws {
        let samples = Samples()
        let clock = MovingClock()
        clock.set(10_000_000)
        samples.add("a h1", 1_000_000, 1, now: 1_000_000)
        let service = MetricQueryService(
            reader: samples, clock: clock, executor: globalConcurrentExecutor)
        for _ in 0..<3 {
            let answer = try await service.range(
                "a", from: TimestampMS(1_000_000), through: TimestampMS(1_100_000),
                stepMilliseconds: 100_000)
            guard case .matrix(let series) = answer.value else { throw StorageError.cancelled }
            #expect(series.map(\.timestamps) == [[1_000_000, 1_100_000]])
        }
        #expect(service.metricFamilies()[0].points.map(\.value) == [2, 0, 1])
        // What is gone from the past is gone from the answer.
        samples.add("a h1", 999_000, 5, now: 10_000_000)
        samples.add("a h1", 1_050_000, 7, now: 10_000_000)
        let answer = try await service.range(
            "a", from: TimestampMS(1_000_000), through: TimestampMS(1_100_000),
            stepMilliseconds: 100_000)
        guard case .matrix(let series) = answer.value else { throw StorageError.cancelled }
        #expect(series.map(\.values) == [[1, 7]])
    }
}
