import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// What batches of the fleet carry beside values: start timestamps, exemplars, units.
extension StoreTests {
    /// A scrape of `series` whose counting began at `starts`, with exemplars of theirs.
    private static func batch(
        _ sequence: UInt64, at time: Int64, _ series: [SeriesID], starts: [Int64] = [],
        _ exemplars: [(SeriesID, String, Int64)] = [], receivedAt: Int64 = TestCluster.start
    ) -> IngestBatch {
        var batch = scrape(
            sequence, at: time, series, series.map { Double($0.rawValue) }, receivedAt: receivedAt)
        batch.content = .metrics([
            ScrapeColumns(
                timestamp: TimestampMS(time), series: series,
                values: series.map { Double($0.rawValue) }, startTimestamps: starts)
        ])
        batch.exemplars = exemplars.map { series, trace, time in
            PushedExemplar(
                series: series,
                exemplar: Exemplar(
                    labels: ["trace_id": trace], value: 1, timestamp: TimestampMS(time)))
        }
        return batch
    }

    /// Start timestamps of all samples, by metric name.
    private static func starts(_ store: CollectorStore) async throws -> [String: [Int64]] {
        let selection = SeriesSelection(
            matchers: [], after: TimestampMS(-1), through: TimestampMS(.max / 2))
        return Dictionary(
            uniqueKeysWithValues: try await store.select([selection], limits: ReadLimits())[0].map {
                ($0.labels.metricName, $0.startTimestamps)
            })
    }

    private static func exemplarCount(
        _ name: String, _ cluster: PrivateCluster
    ) async throws -> Int64 {
        try await TestCluster.number(
            "SELECT count(*) FROM petrel.exemplar", on: name, in: cluster)
    }

    private static func traces(
        _ store: CollectorStore, _ name: String
    ) async throws -> [String] {
        try await store.exemplars(
            ExemplarSelection(
                matcherSets: [[LabelMatcher("__name__", .equal, name)]], start: TimestampMS(.min),
                end: TimestampMS(.max)), exemplarsMax: 1_000
        ).flatMap { $0.exemplars.map(\.traceID) }
    }

    private static func counter(
        _ store: CollectorStore, _ name: String, _ reason: String? = nil
    ) -> Double? {
        store.metricFamilies().first { $0.name == name }?.points.first {
            reason == nil || $0.labels["reason"] == reason
        }?.value
    }

    @Test("start timestamps of scrapes come back: from the head, after a restart, from chunks")
    func fleetStarts() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "starts", clock: clock)
            let h1 = try host("h1")
            let ids = try await store.intern(
                (0..<40).map { definition(["__name__": "s\($0)"]) }, host: h1
            ).map { try #require($0) }
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            let base = Self.base
            var expected: [String: [Int64]] = [:]
            for round in 0..<4 {
                // Every other series has one; it restarts at the last round. The second round says none of anyone.
                let starts = ids.indices.map { index -> Int64 in
                    index % 2 == 0 || round == 1 ? 0 : base - (round == 3 ? 1 : 3_600_000)
                }
                let batch = Self.batch(
                    UInt64(round) + 1, at: base + Int64(round) * 15_000, ids,
                    starts: round == 1 ? [] : starts)
                for _ in 0..<2 { _ = try await store.store([batch], session: session) }
                for (index, start) in starts.enumerated() {
                    expected["s\(index)", default: []].append(start)
                }
            }
            let wanted = expected.mapValues { $0.contains { $0 != 0 } ? $0 : [] }
            for _ in 0..<2 {
                #expect(try await Self.starts(store) == wanted)
                #expect(try await StoreVerifier(store).verify().isSound)
                await store.close()
                store = try await TestCluster.reopen(cluster, name: "starts", clock: clock)
            }
            clock.advance(nanoseconds: 4 * 3_600_000_000_000)
            #expect(try await store.sealWhereDue() > 0)
            #expect(try await Self.starts(store) == wanted)
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM (SELECT DISTINCT series_id, at_ms FROM petrel.sample) s",
                    on: "starts", in: cluster) == 160)
            await store.close()
        }
    }

    @Test("exemplars of a batch are stored with it, once, within the bounds, and counted")
    func fleetExemplars() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(
                in: cluster, name: "fleet_exemplars", clock: clock
            ) { $0.exemplarsPerMinuteMax = 14 }
            let h1 = try host("h1")
            let ids = try await store.intern(
                ["a", "b"].map { definition(["__name__": $0]) }, host: h1
            ).map { try #require($0) }
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            let base = Self.base
            let first = Self.batch(
                1, at: base, ids,
                [
                    (ids[0], "x", base), (ids[0], "x", base), (ids[1], "y", base - 40 * 3_600_000),
                    (ids[0], "old", base - 20 * 86_400_000), (ids[0], "ahead", base + 7_200_000),
                ])
            // A batch that comes again, alone or beside the next, stores nothing again.
            let second = Self.batch(
                2, at: base + 15_000, ids, [(ids[0], "x", base), (ids[0], "z", base)])
            #expect(try await store.store([first], session: session) == [.stored])
            #expect(
                try await store.store([first, second], session: session)
                    == [.duplicate(sameDigest: true), .stored])
            #expect(Set(try await Self.traces(store, "a")) == ["x", "z"])
            #expect(try await Self.traces(store, "a").count == 2)
            #expect(try await Self.traces(store, "b") == ["y"])
            #expect(Self.counter(store, "petrel_store_exemplars_total") == 3)
            let rejected = "petrel_store_exemplars_rejected_total"
            #expect(Self.counter(store, rejected, "time") == 2)
            #expect(Self.counter(store, rejected, "limit") == 0)
            // A series has ten a minute of theirs, and all together here fourteen a minute of ours; samples have no bound.
            let third = Self.batch(
                3, at: base + 30_000, ids, (0..<15).map { (ids[1], "t\($0)", base) })
            #expect(try await store.store([third], session: session) == [.stored])
            #expect(try await Self.traces(store, "b").count == 11)
            #expect(Self.counter(store, rejected, "limit") == 5)
            let fourth = Self.batch(
                4, at: base + 45_000, ids, (0..<5).map { (ids[0], "u\($0)", base) })
            #expect(try await store.store([fourth], session: session) == [.stored])
            #expect(try await Self.traces(store, "a").count == 3)
            #expect(Self.counter(store, "petrel_store_exemplars_total") == 14)
            #expect(Self.counter(store, rejected, "limit") == 9)
            // What is refused by a fence, or rehearsed, leaves nothing.
            let (newer, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            clock.advance(nanoseconds: 60_000_000_000)
            let fifth = Self.batch(5, at: base + 60_000, ids, [(ids[0], "last", base + 60_000)])
            #expect(try await store.store([fifth], session: session) == [.fenced])
            try await store.rehearse(fifth, session: newer)
            #expect(try await Self.traces(store, "a").count == 3)
            #expect(try await store.store([fifth], session: newer) == [.stored])
            #expect(try await Self.traces(store, "a").last == "last")
            let report = try await StoreVerifier(store).verify()
            #expect(report.isSound && report.sampleCount == 10)
            #expect(try await Self.exemplarCount("fleet_exemplars", cluster) == 15)
            #expect(
                try await TestCluster.number(
                    "SELECT stored_records FROM petrel.agent_cursor", on: "fleet_exemplars",
                    in: cluster) == 10)
            await store.close()
        }
    }

    @Test("exemplars go with their series, and none comes behind it")
    func removedExemplars() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "removed", clock: clock)
            let id = try #require(try await store.internPushed([definition(["__name__": "a"])])[0])
            var batch = SampleBatch(runs: [], timestamps: [], values: [])
            batch.exemplars = [
                PushedExemplar(
                    series: id,
                    exemplar: Exemplar(
                        labels: ["trace_id": "x"], value: 1, timestamp: TimestampMS(Self.base)))
            ]
            #expect(try await store.storeSamples(batch).storedExemplars == 1)
            #expect(try await Self.exemplarCount("removed", cluster) == 1)
            // It has no sample, so that it lives for as long as it is heard of.
            clock.advance(nanoseconds: 8 * 3_600_000_000_000)
            #expect(try await store.removeEmptySeries() == 1)
            #expect(try await Self.exemplarCount("removed", cluster) == 0)
            #expect(try await StoreVerifier(store).verify().seriesCount == 0)
            let late = batch
            await #expect(throws: StorageError.seriesRemoved) {
                _ = try await store.storeSamples(late)
            }
            await store.close()
        }
    }

    @Test("what a host says anew of its series counts: a unit that it had none of")
    func fleetMetadata() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "fleet_metadata")
            func say(_ name: String, _ metadata: MetricMetadata) async throws {
                _ = try await store.intern(
                    [
                        SeriesDefinition(
                            labels: ["__name__": "m_seconds", "host": name], metadata: metadata)
                    ], host: host(name))
            }
            let plain = MetricMetadata(type: .counter, help: "It.")
            let whole = MetricMetadata(type: .counter, help: "It.", unit: "seconds")
            func known() async throws -> Set<MetricMetadata> {
                Set(try await store.metadata(metric: "m_seconds")["m_seconds"] ?? [])
            }
            for name in ["h1", "h2"] { try await say(name, plain) }
            #expect(try await known() == [plain])
            try await say("h1", whole)
            #expect(try await known() == [plain, whole])
            try await say("h2", whole)
            #expect(try await known() == [whole])
            // Who says nothing takes nothing away.
            try await say("h1", MetricMetadata(type: .counter))
            #expect(try await known() == [whole])
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.series WHERE unit = 'seconds'",
                    on: "fleet_metadata", in: cluster) == 2)
            await store.close()
        }
    }
}
