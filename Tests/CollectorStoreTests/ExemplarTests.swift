import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// Exemplars: stored with their samples, once, within their bounds, and dropped with their day.
extension StoreTests {
    private static func batch(_ exemplars: [(SeriesID, String, Double, Int64)]) -> SampleBatch {
        var batch = SampleBatch(runs: [], timestamps: [], values: [])
        batch.exemplars = exemplars.map { series, trace, value, time in
            PushedExemplar(
                series: series,
                exemplar: Exemplar(
                    labels: trace.isEmpty ? [:] : ["trace_id": trace], value: value,
                    timestamp: TimestampMS(time)))
        }
        return batch
    }

    private static func matchers(_ name: String) -> [LabelMatcher] {
        [LabelMatcher("__name__", .equal, name)]
    }

    /// `name: trace value@time …` of each series.
    private static func found(
        _ store: CollectorStore, _ names: [String], _ start: Int64, _ end: Int64, max: Int = 1_000
    ) async throws -> [String] {
        try await store.exemplars(
            ExemplarSelection(
                matcherSets: names.map(matchers), start: TimestampMS(start),
                end: TimestampMS(end)), exemplarsMax: max
        ).map(text)
    }

    private static func found(
        _ store: CollectorStore, trace: String, _ start: Int64, _ end: Int64
    ) async throws -> [String] {
        try await store.exemplars(
            ofTrace: trace, start: TimestampMS(start), end: TimestampMS(end), exemplarsMax: 100
        ).map(text)
    }

    private static func text(_ series: SeriesExemplars) -> String {
        series.labels.metricName + ":"
            + series.exemplars.map {
                " \($0.traceID) \($0.value)@\($0.timestamp.rawValue - base)"
            }.joined()
    }

    @Test("exemplars come back once however often they are sent, by matchers and times")
    func exemplars() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "exemplars", clock: clock)
            let ids = try await store.internPushed(
                ["a", "b", "c"].map { definition(["__name__": $0]) }
            ).map { try #require($0) }
            let base = Self.base
            var batch = Self.batch([
                (ids[1], "t2", 2, base), (ids[0], "t1", 0.5, base - 1_000),
                (ids[0], "t1", 0.5, base - 1_000), (ids[0], "", .infinity, base - 1_000),
                (ids[0], "t1", -0.0, base), (ids[0], "t3", 1, base - 40 * 3_600_000),
                // A day older than the retention, and two hours ahead.
                (ids[0], "old", 1, base - 16 * 86_400_000), (ids[0], "new", 1, base + 7_200_000),
            ])
            batch.runs = [SampleBatch.Run(series: ids[0], sampleCount: 1)]
            batch.timestamps = [base]
            batch.values = [7]
            for _ in 0..<2 {
                let outcome = try await store.storeSamples(batch)
                #expect(outcome.storedSamples == 1)
                #expect(outcome.storedExemplars == 6 && outcome.untimelyExemplarCount == 2)
                #expect(outcome.excessExemplarCount == 0)
            }
            for _ in 0..<2 {
                #expect(
                    try await Self.found(store, ["a", "b"], base - 2_000, base) == [
                        "a: t1 0.5@-1000  inf@-1000 t1 -0.0@0", "b: t2 2.0@0",
                    ])
                #expect(
                    try await Self.found(store, ["a"], .min, .max)
                        == ["a: t3 1.0@-144000000 t1 0.5@-1000  inf@-1000 t1 -0.0@0"])
                #expect(try await Self.found(store, ["a", "c"], base, base) == ["a: t1 -0.0@0"])
                #expect(try await Self.found(store, ["c"], .min, .max).isEmpty)
                #expect(try await Self.found(store, ["a"], base + 1, .max).isEmpty)
                #expect(
                    try await Self.found(store, trace: "t1", .min, .max)
                        == ["a: t1 0.5@-1000 t1 -0.0@0"])
                #expect(
                    try await Self.found(store, trace: "t1", base, base) == ["a: t1 -0.0@0"])
                for trace in ["", "t", "t1\0"] {
                    #expect(try await Self.found(store, trace: trace, .min, .max).isEmpty)
                }
                await #expect(
                    throws: StorageError.limitExceeded(limit: "limits.query_exemplars", maximum: 3)
                ) { _ = try await Self.found(store, ["a"], .min, .max, max: 3) }
                await store.close()
                store = try await TestCluster.reopen(cluster, name: "exemplars", clock: clock)
            }
            #expect(
                try await TestCluster.number(
                    """
                    SELECT count(*) FROM petrel.exemplar e JOIN petrel.series s ON s.id = e.series_id
                    WHERE e.trace_id = 't1' AND s.metric = 'a' AND e.labels->>'trace_id' = 't1'
                    """, on: "exemplars", in: cluster, after: "SET ROLE petrel_query") == 2)
            // 14 days later the oldest of two days is past the retention.
            clock.advance(nanoseconds: 14 * 86_400_000_000_000)
            let dropped = try await store.maintain().dropped
            #expect(dropped.contains("exemplar_d\((base - 40 * 3_600_000) / 86_400_000)"))
            #expect(
                try await Self.found(store, ["a"], .min, .max)
                    == ["a: t1 0.5@-1000  inf@-1000 t1 -0.0@0"])
            await store.close()
        }
    }

    @Test(
        "a series has so many exemplars a minute of theirs, all together so many a minute of ours")
    func exemplarBounds() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(
                in: cluster, name: "exemplar_bounds", clock: clock
            ) { $0.exemplarsPerMinuteMax = 20 }
            let ids = try await store.internPushed(
                ["a", "b"].map { definition(["__name__": $0]) }
            ).map { try #require($0) }
            let minute = Self.base / 60_000 * 60_000
            func check(
                _ series: Int, _ values: Range<Int>, _ time: Int64, stored: Int, excess: Int,
                location: SourceLocation = #_sourceLocation
            ) async throws {
                let outcome = try await store.storeSamples(
                    Self.batch(values.map { (ids[series], "t\($0)", Double($0), time) }))
                #expect(
                    outcome.storedExemplars == stored && outcome.excessExemplarCount == excess,
                    "\(outcome)", sourceLocation: location)
            }
            try await check(0, 0..<7, minute, stored: 7, excess: 0)
            // Three more have room beside them; what is there needs none.
            try await check(0, 5..<18, minute + 59_999, stored: 3, excess: 10)
            try await check(0, 0..<7, minute, stored: 7, excess: 0)
            // Another minute and another series have room of their own, and all together ten yet.
            try await check(0, 0..<2, minute - 1, stored: 2, excess: 0)
            try await check(1, 0..<10, minute, stored: 8, excess: 2)
            try await check(1, 0..<5, minute + 60_000, stored: 0, excess: 5)
            clock.advance(nanoseconds: 60_000_000_000)
            try await check(1, 0..<5, minute + 60_000, stored: 5, excess: 0)
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.exemplar", on: "exemplar_bounds", in: cluster)
                    == 25)
            await store.close()
        }
    }

    @Test("exemplars that are sent again take no room from those that are not there yet")
    func repeatedExemplars() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "exemplar_repeats"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock) {
                $0.exemplarsPerMinuteMax = 20
                $0.retentionRules = [
                    RetentionRule(
                        name: "long", ageHours: 30 * 24,
                        matcherSets: [[LabelMatcher("__name__", .equal, "c")]])
                ]
            }
            let ids = try await store.internPushed(
                ["a", "b", "c"].map { definition(["__name__": $0]) }
            ).map { try #require($0) }
            let day: Int64 = 86_400_000
            let midnight = Self.base / day * day
            func check(
                _ times: [Int64], stored: Int, excess: Int, untimely: Int = 0,
                location: SourceLocation = #_sourceLocation
            ) async throws {
                let outcome = try await store.storeSamples(
                    Self.batch(
                        times.enumerated().map { (ids[$0 % 3], "t\($0)", Double($0), $1) }))
                #expect(
                    outcome.storedExemplars == stored && outcome.excessExemplarCount == excess
                        && outcome.untimelyExemplarCount == untimely, "\(outcome)",
                    sourceLocation: location)
            }
            func count(_ condition: String) async throws -> Int64 {
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.exemplar WHERE \(condition)", on: name,
                    in: cluster)
            }
            let sent = (0..<30).map { midnight + Int64($0) }
            try await check(sent, stored: 20, excess: 10)
            // The newest went first.
            #expect(try await count("ts < \(midnight + 10)") == 0)
            try await check(sent, stored: 20, excess: 10)
            clock.advance(nanoseconds: 60_000_000_000)
            try await check(sent, stored: 30, excess: 0)
            try await check(sent, stored: 30, excess: 0)
            // Ten of twenty are left, whatever the day; what is there takes none of them.
            let yesterday = (0..<8).map { midnight - 60_000 - Int64($0) }
            let today = (0..<7).map { midnight + 60_000 + Int64($0) }
            try await check(yesterday + today, stored: 10, excess: 5)
            #expect(try await count("ts >= \(midnight + 60_000)") == 7)
            clock.advance(nanoseconds: 60_000_000_000)
            try await check(yesterday + today, stored: 15, excess: 0)
            // More than are looked for: those that are there are the oldest of them.
            let newer = (0..<220).map { midnight + 600_000 + Int64($0) }
            try await check(sent + newer, stored: 15, excess: 235)
            // Older than the days that are kept, though not the days of that series.
            try await check(
                [midnight, midnight + 1, midnight - 20 * day], stored: 2, excess: 0, untimely: 1)
            let partition = "exemplar_d\(midnight / day - 20)"
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM pg_class WHERE relname = '\(partition)'", on: name,
                    in: cluster) == 0)
            await store.close()
        }
    }

    @Test("requests that arrive together keep the bounds and double nothing")
    func exemplarRace() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "exemplar_race")
            let ids = try await store.internPushed(
                ["a", "b", "c"].map { definition(["__name__": $0]) }
            ).map { try #require($0) }
            let minute = Self.base / 60_000 * 60_000
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<12 {
                    group.addTask {
                        // The same of each, and others of its own; in another order each time.
                        var all = (0..<9).map { (ids[$0 % 3], "t\($0)", Double($0), minute) }
                        all += (0..<9).map { (ids[$0 % 3], "w\(writer) \($0)", 1, minute) }
                        if writer % 2 == 0 { all.reverse() }
                        _ = try await store.storeSamples(Self.batch(all))
                    }
                }
                try await group.waitForAll()
            }
            for name in ["a", "b", "c"] {
                let found = try await store.exemplars(
                    ExemplarSelection(
                        matcherSets: [Self.matchers(name)], start: TimestampMS(0),
                        end: TimestampMS(.max)), exemplarsMax: 1_000)
                let exemplars = try #require(found.first?.exemplars)
                #expect(exemplars.count == 10)
                #expect(Set(exemplars).count == exemplars.count)
            }
            await store.close()
        }
    }
}
