import CollectorQuery
import CollectorWeb
import Model
import PromQL
import Storage
import Synchronization
import Testing

/// What people ask and what rules ask share the store alone.
@Suite("Queries of people and of rules")
struct QueryServicesTests {
    @Test("a rule is answered while long queries of people have their threads")
    func threads() async throws {
        let reader = ManySamples(seriesCount: 1)
        let services = QueryServices(reader: reader, clock: FixedClock())
        let ended = Count()
        try await withThrowingTaskGroup(of: Void.self) { group in
            // More than there are threads; each takes minutes, unless it is cancelled.
            let long = [String](repeating: "quantile_over_time(0.5, up[3h])", count: 30)
                .joined(separator: " + ")
            for _ in 0..<9 {
                group.addTask {
                    _ = try? await services.metrics.range(
                        long, from: TimestampMS(10_800_000),
                        through: TimestampMS(21_799_000), stepMilliseconds: 1000)
                    ended.value.withLock { $0 += 1 }
                }
            }
            var events = reader.reads.makeAsyncIterator()
            for _ in 0..<8 { _ = await events.next() }
            let answer = try await services.rules.instant("up", at: TimestampMS(60_000))
            #expect(
                answer.value
                    == .vector([
                        VectorElement(
                            labels: ["__name__": "up", "host": "h0"],
                            sample: Sample(TimestampMS(60_000), 60))
                    ]))
            #expect(ended.value.withLock { $0 } == 0, "the rule waited for a query of people")
            group.cancelAll()
        }
        try await services.shutDown()
    }

    @Test("a query that does not fit with nobody else there is refused for good, naming the bound")
    func bounds() async throws {
        var limits = QueryServices.Limits()
        limits.samplesMax = 300_000
        limits.samplesTotalMax = 400_000
        let services = QueryServices(
            reader: ManySamples(seriesCount: 10), clock: FixedClock(), limits: limits)
        for (service, bound) in [(services.metrics, "400000"), (services.rules, "300000")] {
            await #expect {
                // Its data fits, its points do not.
                _ = try await service.range(
                    "up + (up + up)", from: TimestampMS(0), through: TimestampMS(10_999_000),
                    stepMilliseconds: 1000)
            } throws: { error in
                let failure = error as? QueryFailure
                return failure?.kind == .execution
                    && failure?.message.contains("limit \(bound): limits.query_samples") == true
            }
        }
        try await services.shutDown()
    }

    @Test("limits.query_series bounds the read, and what a query selects and makes of it")
    func seriesBound() async throws {
        let reader = ManySamples(seriesCount: 10, secondCount: 120)
        for (seriesMax, isEnough) in [(10, true), (9, false)] {
            var limits = QueryServices.Limits()
            limits.seriesMax = seriesMax
            let services = QueryServices(reader: reader, clock: FixedClock(), limits: limits)
            for service in [services.metrics, services.rules] {
                do throws(QueryFailure) {
                    _ = try await service.instant("up", at: TimestampMS(60_000))
                    #expect(isEnough)
                } catch {
                    #expect(!isEnough && error.kind == .execution)
                    #expect(error.message.contains("limit 9: limits.query_series"))
                }
                #expect(service.limits.read.seriesMax == seriesMax)
            }
            try await services.shutDown()
        }
    }
}

/// Series of `up` whose value at each second is that second; tells of each read.
struct ManySamples: MetricReader {
    let reads: AsyncStream<Void>
    private let series: [SeriesColumns]
    private let source: AsyncStream<Void>.Continuation

    /// Seconds from 0 on.
    init(seriesCount: Int, secondCount: Int = 22_000) {
        (reads, source) = AsyncStream.makeStream()
        series = (0..<seriesCount).map { number in
            SeriesColumns(
                labels: ["__name__": "up", "host": "h\(number)"],
                timestamps: (0..<secondCount).map { Int64($0) * 1000 },
                values: (0..<secondCount).map(Double.init))
        }
    }

    func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]] {
        source.yield()
        return selections.map { _ in series }
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

private final class Count: Sendable {
    let value = Mutex(0)
}
