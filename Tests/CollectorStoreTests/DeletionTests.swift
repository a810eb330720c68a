import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// Deleted samples are gone for every reader, whatever happens in between; what comes later is there.
extension StoreTests {
    private static func scope(
        _ matchers: [LabelMatcher], _ from: Int64 = .min, _ through: Int64 = .max
    ) -> LabelScope {
        LabelScope(
            matcherSets: [matchers], start: TimestampMS(from), end: TimestampMS(through))
    }

    private static func all(_ store: CollectorStore) async throws -> [String: [Int64: Double]] {
        let columns = try await store.select(
            [SeriesSelection(matchers: [], after: TimestampMS(-1), through: TimestampMS(.max / 2))],
            limits: ReadLimits())[0]
        return Dictionary(
            uniqueKeysWithValues: columns.map {
                (
                    $0.labels["id"],
                    Dictionary(uniqueKeysWithValues: zip($0.timestamps, $0.values))
                )
            })
    }

    @Test("deletions amid late samples, seals, restarts and cleaning", arguments: [1, 2])
    func deletions(seed: UInt64) async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let random = SeededRandom(seed)
            let name = "deletions"
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let definitions = (0..<40).map {
                definition(["__name__": "m", "id": "\($0)", "half": "\($0 % 2)"])
            }
            var expected: [String: [Int64: Double]] = [:]
            func check(_ stage: String) async throws {
                let wanted = expected.filter { !$0.value.isEmpty }
                #expect(try await Self.all(store) == wanted, "\(stage)")
                let count = Int64(wanted.values.reduce(0) { $0 + $1.count })
                for sql in [
                    "SELECT count(DISTINCT (series_id, at_ms)) FROM petrel.sample",
                    "SELECT count(*) FROM petrel.samples('m', '-infinity', 'infinity')",
                ] {
                    #expect(
                        try await TestCluster.number(sql, on: name, in: cluster) == count,
                        "\(stage): \(sql)")
                }
                let sum = wanted.values.reduce(0) { $0 + $1.values.reduce(0, +) }
                #expect(
                    try await TestCluster.number(
                        "SELECT coalesce(sum(value), 0)::int8 FROM petrel.samples('m', '-infinity', 'infinity')",
                        on: name, in: cluster) == Int64(sum), "\(stage)")
                let report = try await StoreVerifier(store).verify()
                #expect(report.isSound, "\(stage): \(report)")
            }
            for round in 0..<25 {
                let now = clock.now.rawValue / 1_000_000
                switch random.next() % 8 {
                case 0, 1, 2:
                    // Several times a series; now and then late.
                    let late = Int64(random.next() % 3) * 30 * 3_600_000
                    let chosen = definitions.indices.filter { _ in random.next() % 2 == 0 }
                    guard !chosen.isEmpty else { continue }
                    let times = (0..<3).map { now - late - Int64($0) * 1_800_000 }
                    // Asked anew: a series that had nothing left may be gone.
                    let ids = try await store.internPushed(chosen.map { definitions[$0] })
                        .map { try #require($0) }
                    _ = try await store.storeSamples(
                        SampleBatch(
                            runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 3) },
                            timestamps: chosen.flatMap { _ in times },
                            values: chosen.flatMap { _ in times.map { _ in Double(round) } }))
                    for index in chosen {
                        for time in times {
                            expected["\(index)", default: [:]][time] = Double(round)
                        }
                    }
                case 3:
                    let samples = (0..<10).map { index in
                        (definitions[index], Sample(TimestampMS(now), Double(round)))
                    }
                    try await store.storeOwn(samples)
                    for index in 0..<10 { expected["\(index)", default: [:]][now] = Double(round) }
                case 4, 5:
                    let isWhole = random.next() % 3 == 0
                    let from = isWhole ? .min : now - Int64(random.next() % 100) * 3_600_000
                    let through = isWhole ? .max : from + Int64(random.next() % 40) * 3_600_000
                    let half = "\(random.next() % 2)"
                    let matchers =
                        random.next() % 2 == 0
                        ? [LabelMatcher("half", .equal, half)]
                        : [LabelMatcher("id", .matchesRegex, "1.|2.|7")]
                    let count = try await store.deleteSeries(Self.scope(matchers, from, through))
                    #expect(count > 5 || expected.count < 40)
                    for index in definitions.indices {
                        let isMeant =
                            matchers[0].name == "half"
                            ? "\(index % 2)" == half : (10...29).contains(index) || index == 7
                        guard isMeant else { continue }
                        expected["\(index)"] = expected["\(index)"]?.filter {
                            $0.key < from || $0.key > through
                        }
                    }
                case 6:
                    try await store.cleanTombstones()
                    #expect(try await StoreVerifier(store).verify().deletedSampleCount == 0)
                default:
                    await store.close()
                    store = try await TestCluster.reopen(cluster, name: name, clock: clock)
                }
                try await check("round \(round)")
                clock.advance(nanoseconds: Int64(random.next() % 5) * 3_600_000_000_000)
                _ = try await store.sealWhereDue()
                if random.next() % 5 == 0 { _ = try await store.maintain() }
                try await check("sealed after round \(round)")
            }
            await store.close()
        }
    }

    @Test("a series that is deleted is listed no more, counts no more, and goes once it is cleaned")
    func deletedSeries() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "deleted"
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock) {
                $0.seriesPerMetricMax = 100
            }
            func bomb(_ range: Range<Int>) -> [SeriesDefinition] {
                range.map { definition(["__name__": "bomb", "id": "\($0)"]) }
            }
            let samples = (bomb(0..<100) + [definition(["__name__": "good", "id": "g"])]).map {
                ($0, Sample(TimestampMS(Self.base), 1))
            }
            try await store.storeOwn(samples)
            clock.advance(nanoseconds: 3 * 3_600_000_000_000)
            _ = try await store.sealWhereDue()
            #expect(try await store.internPushed(bomb(100..<101)) == [nil])
            let matchers = [LabelMatcher("__name__", .equal, "bomb")]
            #expect(try await store.deleteSeries(Self.scope(matchers)) == 100)
            let everything = LabelScope(start: TimestampMS(0), end: TimestampMS(.max / 2))
            #expect(try await store.labelValues("id", everything) == ["g"])
            #expect(store.seriesLimitStatus().activeCount == 1)
            #expect(try await store.internPushed(bomb(100..<101))[0] != nil)
            // As after a crash before and behind the commit: tombstones alone mean nothing, with their deletion they do.
            await store.close()
            try await TestCluster.execute(
                """
                INSERT INTO petrel.tombstone SELECT id, 1000000 FROM petrel.series
                """, on: name, in: cluster)
            store = try await TestCluster.reopen(cluster, name: name, clock: clock)
            #expect(try await store.labelValues("id", everything) == ["g"])
            #expect(try await Self.all(store).keys.sorted() == ["g"])
            #expect(try await store.cleanTombstones() > 0)
            clock.advance(nanoseconds: 10 * 3_600_000_000_000)
            _ = try await store.sealWhereDue()
            while try await !store.maintain().dropped.isEmpty {}
            let rows = try await TestCluster.number(
                "SELECT count(*) FROM petrel.series WHERE metric = 'bomb'", on: name, in: cluster)
            let tombstones = try await TestCluster.number(
                "SELECT count(*) FROM petrel.tombstone", on: name, in: cluster)
            #expect(rows == 0 && tombstones == 0)
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name, clock: clock)
            #expect(try await store.labelValues("id", everything) == ["g"])
            #expect(store.seriesLimitStatus().knownCount == 1)
            let audit = try await TestCluster.number(
                "SELECT count(*) FROM petrel.audit WHERE action = 'series.delete'", on: name,
                in: cluster)
            #expect(audit == 1)
            await store.close()
        }
    }

    @Test("calls beside a deletion are stored whole: before it and gone, or after it and there")
    func deletionBesideIngest() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "beside"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let ids = try await store.internPushed(
                (0..<20).map { definition(["__name__": "m", "id": "\($0)"]) }
            ).map { try #require($0) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for part in 0..<40 {
                    group.addTask {
                        if part % 10 == 5 {
                            _ = try await store.deleteSeries(
                                Self.scope([LabelMatcher("__name__", .equal, "m")]))
                        }
                        _ = try await store.storeSamples(
                            SampleBatch(
                                runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 1) },
                                timestamps: ids.map { _ in Self.base + Int64(part) },
                                values: ids.map { _ in Double(part) }))
                    }
                }
                try await group.waitForAll()
            }
            let shown = try await Self.all(store)
            // Each call is there whole or not at all, in memory as in SQL and after a restart.
            #expect(Set(shown.values.map { $0.keys.sorted() }).count == 1)
            let count = Int64(shown.values.reduce(0) { $0 + $1.count })
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.sample", on: name, in: cluster) == count)
            await store.close()
            let reopened = try await TestCluster.reopen(cluster, name: name, clock: clock)
            let read = try await Self.all(reopened)
            #expect(read == shown, "\(read["0"] ?? [:]) \(shown["0"] ?? [:]) \(read.count)")
            await reopened.close()
        }
    }

    @Test(
        "what is stored after a restart lies under no deletion of before, whatever was refused before it"
    )
    func numbersAfterDeletion() async throws {
        try await TestCluster.with { cluster in
            let name = "numbers"
            var store = try await TestCluster.store(in: cluster, name: name)
            let series = definition(["__name__": "m", "id": "0"])
            try await store.storeOwn([(series, Sample(TimestampMS(Self.base), 1))])
            for _ in 0..<5 {
                await #expect(throws: StorageError.seriesRemoved) {
                    _ = try await store.storeSamples(
                        SampleBatch(
                            runs: [
                                SampleBatch.Run(series: SeriesID(rawValue: 999), sampleCount: 1)
                            ], timestamps: [Self.base], values: [1]))
                }
            }
            #expect(try await store.deleteSeries(Self.scope([])) == 1)
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name)
            #expect(try await Self.all(store).isEmpty)
            try await store.storeOwn([(series, Sample(TimestampMS(Self.base + 1), 2))])
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name)
            #expect(try await Self.all(store) == ["0": [Self.base + 1: 2]])
            let inSQL = try await TestCluster.number(
                "SELECT count(*) FROM petrel.sample", on: name, in: cluster)
            #expect(inSQL == 1)
            await store.close()
        }
    }

    @Test(
        "tombstones of a deletion that failed go at the next maintenance, here and after a restart")
    func failedDeletion() async throws {
        try await TestCluster.with { cluster in
            let name = "faileddeletion"
            var store = try await TestCluster.store(in: cluster, name: name)
            try await store.storeOwn([
                (definition(["__name__": "m", "id": "0"]), Sample(TimestampMS(Self.base), 1))
            ])
            func tombstones() async throws -> Int64 {
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.tombstone", on: name, in: cluster)
            }
            for isRestarted in [false, true] {
                try await TestCluster.execute(
                    """
                    CREATE FUNCTION petrel.stop() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
                    CREATE TRIGGER stop BEFORE INSERT ON petrel.deletion
                    EXECUTE FUNCTION petrel.stop();
                    """, on: name, in: cluster)
                await #expect(throws: StorageError.self) {
                    try await store.deleteSeries(Self.scope([]))
                }
                #expect(try await tombstones() == 1)
                try await TestCluster.execute(
                    "DROP FUNCTION petrel.stop() CASCADE", on: name, in: cluster)
                if isRestarted {
                    await store.close()
                    store = try await TestCluster.reopen(cluster, name: name)
                }
                _ = try await store.maintain()
                #expect(try await tombstones() == 0)
                #expect(try await Self.all(store) == ["0": [Self.base: 1]])
            }
            await store.close()
        }
    }
}
