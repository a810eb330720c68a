import ChunkCodec
import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// Samples that senders push: in rows of either form, again, late, across restarts and seals.
extension StoreTests {
    private static func numbers(
        _ store: CollectorStore, _ count: Int
    ) async throws -> [SeriesID] {
        try await store.internPushed(
            (0..<count).map { index in
                SeriesDefinition(
                    labels: ["__name__": "p\(index)", "job": "j\(index % 2)"],
                    metadata: MetricMetadata())
            }
        ).map { try #require($0) }
    }

    /// All that a reader gets, by metric name.
    private static func columns(_ store: CollectorStore) async throws -> [String: SeriesColumns] {
        let found = try await store.select(
            [SeriesSelection(matchers: [], after: TimestampMS(-1), through: TimestampMS(.max / 2))],
            limits: ReadLimits())[0]
        return Dictionary(
            uniqueKeysWithValues: found.map { column in
                var plain = column
                plain.labels = .empty
                return (column.labels.metricName, plain)
            })
    }

    private static let histogram = FloatHistogram(
        schema: 1, count: 9, sum: 3, zeroThreshold: 0.1, zeroCount: 1,
        positive: FloatHistogram.Buckets(indices: [0, 4], counts: [3, 5]))

    @Test("pushed samples of every form come back, sent twice, after restarts and seals")
    func pushed() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "pushed"
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let ids = try await Self.numbers(store, 70)
            let base = TestCluster.start / 1_000_000
            var expected: [String: SeriesColumns] = [:]
            for index in ids.indices { expected["p\(index)"] = SeriesColumns(labels: .empty) }
            // Live: one sample a series, two times.
            let live = SampleBatch(
                runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 1) },
                timestamps: ids.indices.map { base + Int64($0 % 2) },
                values: ids.indices.map { Double($0) })
            // History, six hours of it and newest first; then one with start timestamps and histograms.
            let times = (0..<24).map { base - Int64($0) * 900_000 - 1_000 }
            let history = SampleBatch(
                runs: ids.map { SampleBatch.Run(series: $0, sampleCount: times.count) },
                timestamps: ids.flatMap { _ in times },
                values: ids.indices.flatMap { index in
                    times.indices.map { $0 == 3 ? StalenessMarker.value : Double(index) + 0.25 }
                })
            let rich = SampleBatch(
                runs: [
                    SampleBatch.Run(series: ids[0], sampleCount: 1, histogramCount: 1),
                    SampleBatch.Run(series: ids[1], sampleCount: 2),
                    // The same series once more, and a time that the first run has.
                    SampleBatch.Run(series: ids[1], sampleCount: 1),
                ],
                timestamps: [base + 5_000, base + 6_000, base + 7_000, base + 6_000],
                values: [1, 2, 3, 4], startTimestamps: [base, 0, base, 0],
                histograms: [
                    HistogramSample(base + 6_000, Self.histogram, startTimestamp: base)
                ])
            for batch in [live, history, live, rich, history, rich] {
                let outcome = try await store.storeSamples(batch)
                #expect(outcome.storedSamples == batch.values.count)
                #expect(outcome.storedHistograms == batch.histograms.count)
                #expect(outcome.tooOldCount + outcome.tooFarAheadCount == 0)
            }
            for index in ids.indices {
                var column = ChunkColumn()
                for (place, time) in times.enumerated() {
                    column.insert(
                        time, place == 3 ? StalenessMarker.value : Double(index) + 0.25)
                }
                column.insert(base + Int64(index % 2), Double(index))
                if index == 0 {
                    column.insert(base + 5_000, 1, start: base)
                    column.insert(
                        HistogramSample(base + 6_000, Self.histogram, startTimestamp: base))
                } else if index == 1 {
                    column.insert(base + 6_000, 4)
                    column.insert(base + 7_000, 3, start: base)
                }
                expected["p\(index)"] = SeriesColumns(
                    labels: .empty, timestamps: column.timestamps, values: column.values,
                    startTimestamps: column.startTimestamps, histograms: column.histograms)
            }
            func check(_ stage: String) async throws {
                let found = try await Self.columns(store)
                #expect(found.count == expected.count, "\(stage)")
                for (metric, column) in expected {
                    let got = try #require(found[metric])
                    #expect(
                        got.timestamps == column.timestamps
                            && got.values.map(\.bitPattern) == column.values.map(\.bitPattern)
                            && got.startTimestamps == column.startTimestamps
                            && got.histograms == column.histograms, "\(stage) \(metric)")
                }
                let report = try await StoreVerifier(store).verify()
                #expect(report.isSound, "\(stage): \(report)")
                let inSQL = try await TestCluster.number(
                    "SELECT count(*) FROM (SELECT DISTINCT series_id, at_ms FROM petrel.sample) s",
                    on: name, in: cluster)
                #expect(inSQL == Int64(70 * 25 + 3), "\(stage)")
                let ofOne = try await TestCluster.number(
                    "SELECT count(*) FROM petrel.samples('p1', '-infinity', 'infinity')", on: name,
                    in: cluster)
                #expect(ofOne == 27, "\(stage)")
            }
            try await check("in the log")
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name, clock: clock)
            try await check("replayed")
            // Seals a part of the times in the rows, and then all.
            for hours in [1, 2, 30] {
                clock.advance(nanoseconds: Int64(hours) * 3_600_000_000_000)
                _ = try await store.sealWhereDue()
                try await check("sealed after \(hours) h")
                await store.close()
                store = try await TestCluster.reopen(cluster, name: name, clock: clock)
                try await check("replayed after \(hours) h")
            }
            #expect(try await !store.maintain().dropped.isEmpty)
            try await check("without the log")
            await store.close()
        }
    }

    @Test("a sample that was replaced before a seal stays so after a crash")
    func replacedBeforeSeal() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "replaced", clock: clock)
            let ids = try await Self.numbers(store, 1)
            let base = TestCluster.start / 1_000_000
            let early = base - 3 * 3_600_000
            // The row reaches past what is sealed; one of its samples is replaced by a row that is sealed whole.
            for (times, values) in [([early, base], [1.0, 2]), ([early, early - 1], [7, 8])] {
                _ = try await store.storeSamples(
                    SampleBatch(
                        runs: [SampleBatch.Run(series: ids[0], sampleCount: 2)],
                        timestamps: times, values: values))
            }
            _ = try await store.sealWhereDue()
            await store.close()
            store = try await TestCluster.reopen(cluster, name: "replaced", clock: clock)
            #expect(try await Self.columns(store)["p0"]?.values == [8, 7, 2])
            let shown = try await TestCluster.number(
                "SELECT sum(value)::int8 FROM petrel.sample", on: "replaced", in: cluster)
            #expect(shown == 17)
            await store.close()
        }
    }

    @Test("limits: the age, the future, new series alone; very long columns are cut")
    func pushedLimits() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "pushlimits") {
                $0.seriesMax = 2
                $0.seriesPerHostMax = 1
            }
            let ids = try await store.internPushed(
                ["a", "b", "c", "a"].map { definition(["__name__": $0]) })
            // No host's limit: what is pushed comes from anywhere.
            #expect(ids.map { $0 != nil } == [true, true, false, true])
            #expect(ids[0] == ids[3])
            let id = try #require(ids[0])
            let now = TestCluster.start / 1_000_000
            let hour: Int64 = 3_600_000
            let outcome = try await store.storeSamples(
                SampleBatch(
                    runs: [SampleBatch.Run(series: id, sampleCount: 4, histogramCount: 1)],
                    timestamps: [now - 15 * 24 * hour - 1, now - 15 * 24 * hour, now + hour, .max],
                    values: [1, 2, 3, 4], histograms: [HistogramSample(.min, Self.histogram)]))
            #expect(outcome.storedSamples == 2 && outcome.storedHistograms == 0)
            #expect(outcome.tooOldCount == 2 && outcome.tooFarAheadCount == 1)
            // 100,000 times of one series in a request.
            let long = SampleBatch(
                runs: [SampleBatch.Run(series: id, sampleCount: 100_000)],
                timestamps: (0..<100_000).map { now - hour + Int64($0) * 7 },
                values: (0..<100_000).map { Double($0) })
            #expect(try await store.storeSamples(long).storedSamples == 100_000)
            #expect(try await Self.columns(store)["a"]?.timestamps.count == 100_002)
            #expect(try await StoreVerifier(store).verify().isSound)
            await store.close()
        }
    }

    @Test("histograms that rules record are stored as they are, across a restart and a seal")
    func recordedHistograms() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "recorded", clock: clock)
            let base = TestCluster.start / 1_000_000
            let samples = (0..<3).map { HistogramSample(base - $0 * 15_000, Self.histogram) }
            for sample in samples.reversed() {
                try await store.storeOwn(
                    histograms: [(definition(["__name__": "job:lat"]), sample)])
            }
            // Where it ends there is a number, the staleness marker.
            try await store.storeOwn([
                (
                    definition(["__name__": "job:lat"]),
                    Sample(TimestampMS(base + 15_000), StalenessMarker.value)
                )
            ])
            for hours in [0, 1, 30] {
                clock.advance(nanoseconds: Int64(hours) * 3_600_000_000_000)
                if hours > 0 { _ = try await store.sealWhereDue() }
                let found = try #require(try await Self.columns(store)["job:lat"])
                #expect(found.histograms == samples.reversed(), "after \(hours) h")
                #expect(found.timestamps == [base + 15_000])
                #expect(found.values.allSatisfy(StalenessMarker.isMarker))
                await store.close()
                store = try await TestCluster.reopen(cluster, name: "recorded", clock: clock)
            }
            await store.close()
        }
    }

    @Test("each retention class refuses its own; the outcome says of which runs")
    func pushedClasses() async throws {
        try await TestCluster.with { cluster in
            let name = "pushclasses"
            let store = try await TestCluster.store(in: cluster, name: name) {
                $0.metricRetentionHours = 3 * 24
                $0.retentionRules = [
                    RetentionRule(
                        name: "long", ageHours: 10 * 24,
                        matcherSets: [[LabelMatcher("__name__", .equal, "long")]])
                ]
            }
            let ids = try await store.internPushed(
                ["gone", "short", "long"].map { definition(["__name__": $0]) }
            ).map { try #require($0) }
            let now = TestCluster.start / 1_000_000
            let hour: Int64 = 3_600_000
            let old = now - 5 * 24 * hour
            let outcome = try await store.storeSamples(
                SampleBatch(
                    runs: zip(ids, [4, 7, 9]).map { id, source in
                        SampleBatch.Run(series: id, sampleCount: 2, source: source)
                    },
                    timestamps: [now - 11 * 24 * hour, old, old, now, old, now + 2 * hour],
                    values: [1, 2, 3, 4, 5, 6]))
            #expect(outcome.storedSamples == 2)
            #expect(outcome.tooOldCount == 3 && outcome.tooOldSources == [4, 7])
            #expect(outcome.tooFarAheadCount == 1 && outcome.tooFarAheadSources == [9])
            let found = try await Self.columns(store)
            #expect(found.mapValues(\.values) == ["short": [4], "long": [5]])
            await store.close()
        }
    }

    @Test("metadata: what is unknown or was pushed follows, what an agent says stays")
    func pushedMetadata() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "pushmeta")
            let told = MetricMetadata(type: .counter, help: "Told.", unit: "s")
            _ = try await store.internPushed([
                SeriesDefinition(labels: ["__name__": "m", "n": "1"], metadata: MetricMetadata())
            ])
            _ = try await store.intern([definition(["__name__": "agents"])], host: try host("h1"))
            try await store.noteMetadata(["m": told, "agents": told, "nothing": told])
            #expect(try await store.metadata(metric: "m") == ["m": [told]])
            #expect(try await store.metadata(metric: "agents")["agents"]?.count == 1)
            #expect(try await store.metadata(metric: "nothing").isEmpty)
            // A new series of the metric has it too.
            _ = try await store.internPushed([
                SeriesDefinition(labels: ["__name__": "m", "n": "2"], metadata: MetricMetadata())
            ])
            let changed = MetricMetadata(type: .counter, help: "Another.", unit: "s")
            try await store.noteMetadata(["m": changed])
            #expect(try await store.metadata(metric: "m") == ["m": [changed]])
            // Names that look alike are others.
            let (one, two) = ("caf\u{e9}", "cafe\u{301}")
            for name in [one, two] {
                _ = try await store.internPushed([definition(["__name__": name])])
            }
            try await store.noteMetadata([ExactText(one): told, ExactText(two): changed])
            let reopened = try await TestCluster.reopen(cluster, name: "pushmeta")
            #expect(try await reopened.metadata(metric: "m") == ["m": [changed]])
            for store in [store, reopened] {
                #expect(try await store.metadata(metric: one) == [ExactText(one): [told]])
                #expect(try await store.metadata(metric: two) == [ExactText(two): [changed]])
            }
            await store.close()
            await reopened.close()
        }
    }
}
