import CollectorQuery
import Model
import PromQL
import PromQLSyntax
import Storage
import Synchronization
import Testing

/// From a text to an answer or to one kind of failure.
@Suite("Query services")
struct QueryServiceTests {
    static let up = SeriesColumns(
        labels: ["__name__": "up", "host": "a"], timestamps: [90_000, 100_000], values: [0, 1])

    static func metrics(
        _ reader: FakeMetricReader, clock: FixedClock = FixedClock(),
        limits: MetricQueryLimits = MetricQueryLimits()
    ) -> MetricQueryService {
        MetricQueryService(
            reader: reader, clock: clock, executor: globalConcurrentExecutor, limits: limits)
    }

    @Test("an instant query reads, evaluates and answers")
    func instant() async throws {
        let service = Self.metrics(FakeMetricReader(answer: [Self.up]))
        let answer = try await service.instant("up + 1", at: TimestampMS(100_000))
        #expect(
            answer.value
                == .vector([
                    VectorElement(labels: ["host": "a"], sample: Sample(TimestampMS(100_000), 2))
                ]))
    }

    @Test("start timestamps tell of resets, and functions are known, where their features are on")
    func features() async throws {
        // Counted to 10 from time 0, then from 60.5 s on to 12: no reset by value.
        let reader = FakeMetricReader(answer: [
            SeriesColumns(
                labels: ["__name__": "c_total"], timestamps: [60_000, 90_000], values: [10, 12],
                startTimestamps: [1, 60_500])
        ])
        func answer(_ query: String, _ features: Set<PromQLFeature>) async throws -> QueryValue {
            let service = MetricQueryService(
                reader: reader, clock: FixedClock(), executor: globalConcurrentExecutor,
                features: features)
            return try await service.instant(query, at: TimestampMS(90_000)).value
        }
        func resets(_ count: Double) -> QueryValue {
            .vector([
                VectorElement(labels: .empty, sample: Sample(TimestampMS(90_000), count))
            ])
        }
        #expect(try await answer("resets(c_total[1m])", []) == resets(0))
        #expect(try await answer("resets(c_total[1m])", [.startTimestamps]) == resets(1))
        await #expect(throws: QueryFailure.self) {
            try await answer("limitk(1, c_total)", [.startTimestamps])
        }
        _ = try await answer("limitk(1, c_total)", [.experimentalFunctions])
    }

    @Test("queries hold a budget together, and give back what they held")
    func budget() async throws {
        let budget = SampleBudget(samplesMax: 40_000)
        let service = MetricQueryService(
            reader: FakeMetricReader(answer: [Self.up]), clock: FixedClock(),
            executor: globalConcurrentExecutor, budget: budget)
        do {
            let others = SampleShare(of: budget)
            #expect(others.grow(to: 39_990) && others.grow(to: 100))
            await #expect {
                try await service.range(
                    "up", from: TimestampMS(0), through: TimestampMS(100_000),
                    stepMilliseconds: 1000)
            } throws: {
                ($0 as? QueryFailure)?.kind == .unavailable
            }
            #expect(budget.held == 39_990)
            // What is left is enough for a little one.
            _ = try await service.instant("up", at: TimestampMS(100_000))
        }
        #expect(budget.held == 0)
        _ = try await service.range(
            "up", from: TimestampMS(0), through: TimestampMS(100_000), stepMilliseconds: 1000)
        #expect(budget.held == 0)
    }

    @Test("an answer takes of the budget what it weighs, until it is gone")
    func answersHold() async throws {
        let budget = SampleBudget(samplesMax: 200_000)
        let columns = (0..<10).map { number in
            SeriesColumns(
                labels: ["__name__": "up", "host": "h\(number)"],
                timestamps: (0..<5_000).map { Int64($0) * 1000 },
                values: (0..<5_000).map(Double.init))
        }
        let service = MetricQueryService(
            reader: FakeMetricReader(answer: columns), clock: FixedClock(),
            executor: globalConcurrentExecutor, budget: budget)
        func ask() async throws -> MetricAnswer {
            try await service.range(
                "up", from: TimestampMS(0), through: TimestampMS(4_999_000),
                stepMilliseconds: 1000)
        }
        do {
            let answer = try await ask()
            #expect(budget.held == 50_000)
            // Samples, rows and points of another 50,000 have room beside it, and those of a third have not.
            let other = try await ask()
            #expect(budget.held == 100_000)
            await #expect {
                _ = try await ask()
            } throws: {
                ($0 as? QueryFailure)?.kind == .unavailable
            }
            withExtendedLifetime((answer, other)) {}
        }
        #expect(budget.held == 0)
    }

    @Test("a range query answers a matrix")
    func range() async throws {
        let service = Self.metrics(FakeMetricReader(answer: [Self.up]))
        let answer = try await service.range(
            "up", from: TimestampMS(90_000), through: TimestampMS(100_000),
            stepMilliseconds: 10_000)
        #expect(answer.value == .matrix([Self.up]))
    }

    @Test(
        "what can't be answered has its kind",
        arguments: [
            ("up +", QueryFailure.Kind.badData), ("up * on(x) up", .execution),
        ])
    func failures(text: String, kind: QueryFailure.Kind) async {
        var other = Self.up
        other.labels = ["__name__": "up", "host": "b"]
        let service = Self.metrics(FakeMetricReader(answer: [Self.up, other]))
        await #expect {
            try await service.instant(text, at: TimestampMS(100_000))
        } throws: {
            ($0 as? QueryFailure)?.kind == kind
        }
    }

    @Test(
        "a storage error has its kind",
        arguments: [
            (StorageError.unavailable("x"), QueryFailure.Kind.unavailable),
            (.limitExceeded(limit: "series", maximum: 1), .execution),
            (.badMatcher("x"), .badData), (.corrupt("x"), .internal), (.cancelled, .canceled),
        ])
    func storage(error: StorageError, kind: QueryFailure.Kind) async {
        let service = Self.metrics(FakeMetricReader(error: error))
        await #expect {
            try await service.instant("up", at: TimestampMS(0))
        } throws: {
            ($0 as? QueryFailure)?.kind == kind
        }
    }

    @Test("a query that takes too long ends as a time-out")
    func timeout() async {
        let service = Self.metrics(
            FakeMetricReader(hangs: true), clock: FixedClock(endsSleeps: true))
        await #expect {
            try await service.instant("up", at: TimestampMS(0))
        } throws: {
            ($0 as? QueryFailure)?.kind == .timeout
        }
    }

    /// Each kind of question that is no query.
    enum Lookup: CaseIterable {
        case labelNames, labelValues, series, metadata, cardinality, latest

        func ask(_ service: MetricQueryService) async throws {
            let scope = MetricQueryService.Scope()
            switch self {
            case .labelNames: _ = try await service.labelNames(scope)
            case .labelValues: _ = try await service.labelValues("a", scope)
            case .series: _ = try await service.series(scope)
            case .metadata: _ = try await service.metadata(metric: nil)
            case .cardinality: _ = try await service.cardinality(entriesMax: 1)
            case .latest:
                _ = try await service.latest(
                    [[LabelMatcher("a", .equal, "b")]], at: TimestampMS(0))
            }
        }
    }

    @Test("questions about series have a time, too", arguments: Lookup.allCases)
    func lookupTimeout(lookup: Lookup) async {
        let service = Self.metrics(
            FakeMetricReader(hangs: true), clock: FixedClock(endsSleeps: true))
        await #expect {
            try await lookup.ask(service)
        } throws: {
            ($0 as? QueryFailure)?.kind == .timeout
        }
    }

    @Test("four of them are under way at once, and queries beside them", arguments: Lookup.allCases)
    func lookupPlaces(lookup: Lookup) async throws {
        let (calls, source) = AsyncStream.makeStream(of: Void.self)
        let running = Mutex(0)
        let reader = FakeMetricReader(
            hangs: true,
            onCall: {
                running.withLock { $0 += 1 }
                source.yield()
            })
        let service = MetricQueryService(
            reader: reader, clock: FixedClock(), executor: globalConcurrentExecutor,
            gate: QueryGate(runningMax: 4))
        try await withThrowingTaskGroup(of: QueryFailure.Kind?.self) { group in
            // Four run, a hundred wait, what comes beyond that is refused.
            for _ in 0..<105 {
                group.addTask {
                    do {
                        try await lookup.ask(service)
                        return nil
                    } catch { return (error as? QueryFailure)?.kind }
                }
            }
            let first = try await group.next() ?? nil
            #expect(first == .unavailable)
            var called = calls.makeAsyncIterator()
            for _ in 0..<4 { _ = await called.next() }
            #expect(running.withLock { $0 } == 4)
            if lookup != .latest {
                let answer = try await service.instant("1", at: TimestampMS(0))
                #expect(answer.value == .scalar(Sample(TimestampMS(0), 1)))
            }
            group.cancelAll()
            for try await kind in group { #expect(kind == .canceled) }
        }
    }

    @Test("11,000 points are the bound of a range query")
    func points() async throws {
        let service = Self.metrics(FakeMetricReader())
        _ = try await service.range(
            "1", from: TimestampMS(0), through: TimestampMS(10_999_000), stepMilliseconds: 1000)
        await #expect(
            throws: QueryFailure(
                .badData,
                "exceeded maximum resolution of 11,000 points per timeseries. "
                    + "Try decreasing the query resolution (?step=XX)")
        ) {
            try await service.range(
                "1", from: TimestampMS(0), through: TimestampMS(11_001_000),
                stepMilliseconds: 1000)
        }
    }
}
