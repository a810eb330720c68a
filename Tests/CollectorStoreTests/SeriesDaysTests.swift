import CollectorStore
import Model
import Postgres
import Storage
import Testing

@Suite("Number sets")
struct NumberSetTests {
    @Test("sets of numbers are as those of the standard library, and come back from bytes")
    func sets() {
        let random = SeededRandom(11)
        for _ in 0..<50 {
            var expected: [Set<Int32>] = [[], []]
            var found = [NumberSet(), NumberSet()]
            let range = Int32(random.next() % 20_000) + 1
            for side in 0..<2 {
                for _ in 0..<Int(random.next() % 400) {
                    let number = Int32(random.next() % UInt64(range))
                    expected[side].insert(number)
                    found[side].insert(number)
                }
            }
            func same(_ set: NumberSet, _ numbers: Set<Int32>) -> Bool {
                (0..<range + 5_000).allSatisfy { set.contains($0) == numbers.contains($0) }
                    && set.isEmpty == numbers.isEmpty && !set.contains(-1)
                    && NumberSet(bytes: set.bytes) == set
            }
            #expect(same(found[0], expected[0]) && same(found[1], expected[1]))
            var union = found[0]
            union.formUnion(found[1])
            #expect(same(union, expected[0].union(expected[1])))
            var rest = found[0]
            rest.subtract(found[1])
            #expect(same(rest, expected[0].subtracting(expected[1])))
            var shared = found[0]
            shared.share(union)
            #expect(shared == found[0])
        }
    }
}

/// Which series there were when, and what becomes of those that are gone.
extension StoreTests {
    private static let dayMilliseconds: Int64 = 86_400_000

    private static func range(_ from: Int64, _ to: Int64) -> LabelScope {
        LabelScope(
            matcherSets: [[LabelMatcher("__name__", .equal, "churn")]], start: TimestampMS(from),
            end: TimestampMS(to))
    }

    @Test("series, labels and values are those of the days asked for")
    func days() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let random = SeededRandom(5)
            var store = try await TestCluster.store(in: cluster, name: "days", clock: clock)
            let h1 = try host("h1")
            var epoch: UInt64 = 1
            var (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: epoch)
            let all = (0..<60).map {
                definition(["__name__": "churn", "id": "\($0)", "only\($0)": "x"])
            }
            var daysOf: [Int: Set<Int64>] = [:]
            for _ in 0..<60 {
                clock.advance(nanoseconds: Int64(random.next() % 12) * 3_600_000_000_000)
                let now = clock.now.rawValue / 1_000_000
                let chosen = (0..<5).map { _ in Int(random.next() % 60) }
                let unique = Array(Set(chosen)).sorted()
                let at = now - Int64(random.next() % 4) * 20 * 3_600_000
                let ids = try await store.intern(unique.map { all[$0] }, host: h1)
                if random.next() % 3 == 0 {
                    _ = try await store.storeSamples(
                        SampleBatch(
                            runs: ids.map { SampleBatch.Run(series: $0!, sampleCount: 2) },
                            timestamps: ids.flatMap { _ in [at, at - 2 * Self.dayMilliseconds] },
                            values: ids.flatMap { _ in [1, 2] }))
                    for index in unique {
                        daysOf[index, default: []].formUnion([
                            at / Self.dayMilliseconds, at / Self.dayMilliseconds - 2,
                        ])
                    }
                } else {
                    let batch = scrape(
                        1, epoch: epoch, at: at, ids.map { $0! }, ids.map { _ in 1 },
                        receivedAt: clock.now.rawValue)
                    #expect(try await store.store([batch], session: session) == [.stored])
                    for index in unique {
                        daysOf[index, default: []].insert(at / Self.dayMilliseconds)
                    }
                }
                _ = try await store.sealWhereDue()
                if random.next() % 6 == 0 {
                    await store.close()
                    store = try await TestCluster.reopen(cluster, name: "days", clock: clock)
                }
                epoch += 1
                (session, _) = try await store.openSession(
                    host: h1, kind: .metrics, epoch: epoch)
                let first = (now - Int64(random.next() % 20) * Self.dayMilliseconds)
                let last = first + Int64(random.next() % 3) * Self.dayMilliseconds
                let wanted = daysOf.filter { entry in
                    entry.value.contains {
                        (first / Self.dayMilliseconds...last / Self.dayMilliseconds).contains($0)
                    }
                }.map { "\($0.key)" }.sorted()
                let scope = Self.range(first, last)
                #expect(try await store.labelValues("id", scope) == wanted)
                #expect(try await store.series(scope).map { $0["id"] }.sorted() == wanted)
                #expect(
                    try await store.labelNames(scope)
                        == (wanted.isEmpty ? [] : ["__name__", "id"] + wanted.map { "only\($0)" })
                )
                var everything = scope
                everything.matcherSets = []
                #expect(try await store.labelValues("id", everything) == wanted)
                #expect(
                    try await store.labelNames(everything)
                        == (wanted.isEmpty ? [] : ["__name__", "id"] + wanted.map { "only\($0)" })
                )
            }
            // Only series of the days read count for the limit of a read.
            let first = clock.now.rawValue / 1_000_000 - 30 * Self.dayMilliseconds
            let none = try await store.select(
                [
                    SeriesSelection(
                        matchers: [], after: TimestampMS(first),
                        through: TimestampMS(first + Self.dayMilliseconds))
                ], limits: ReadLimits(seriesMax: 0))
            #expect(none[0].isEmpty)
            await store.close()
        }
    }

    @Test("30 days of churn: series end with their data, numbers and places are never given twice")
    func churn() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let change = { (configuration: inout StoreConfiguration) in
                configuration.metricRetentionHours = 48
                configuration.seriesPerHostMax = 45
            }
            var store = try await TestCluster.store(
                in: cluster, name: "churn", clock: clock, change)
            let h1 = try host("h1")
            let steady = definition(["__name__": "steady"])
            var given: Set<Int32> = []
            var held: SeriesID?
            for day in 0..<30 {
                let ids = try await store.intern(
                    [steady]
                        + (0..<40).map { definition(["__name__": "churn", "id": "\(day)-\($0)"]) },
                    host: h1
                ).map { try #require($0) }
                let fresh = Set(ids.dropFirst().map(\.rawValue))
                #expect(given.isDisjoint(with: fresh))
                given.formUnion(fresh)
                if day == 0 { held = ids[1] }
                let (session, _) = try await store.openSession(
                    host: h1, kind: .metrics, epoch: UInt64(day))
                let now = clock.now.rawValue
                let batch = scrape(
                    1, epoch: UInt64(day), at: now / 1_000_000, ids, ids.map { _ in Double(day) },
                    receivedAt: now)
                #expect(try await store.store([batch], session: session) == [.stored])
                clock.advance(nanoseconds: 86_400_000_000_000)
                _ = try await store.sealWhereDue()
                _ = try await store.maintain()
                // Two days and the rest of one.
                #expect(store.seriesLimitStatus().knownCount <= 1 + 3 * 40)
                if day % 7 == 6 {
                    await store.close()
                    store = try await TestCluster.reopen(
                        cluster, name: "churn", clock: clock, change)
                }
            }
            let known = store.seriesLimitStatus().knownCount
            let rows = try await TestCluster.number(
                "SELECT count(*) FROM petrel.series", on: "churn", in: cluster)
            #expect(Int(rows) == known && known >= 81)
            let places = try await TestCluster.number(
                "SELECT max(grp) FROM petrel.series", on: "churn", in: cluster)
            #expect(places >= 30 * 40 / 32 - 1)
            let remembered = try await TestCluster.number(
                "SELECT count(DISTINCT day) FROM petrel.series_day", on: "churn", in: cluster)
            #expect(remembered <= 3)
            #expect(
                try await store.labelValues(
                    "id",
                    LabelScope(start: TimestampMS(0), end: TimestampMS(.max / 2))
                ).allSatisfy { $0.hasPrefix("27-") || $0.hasPrefix("28-") || $0.hasPrefix("29-") })
            #expect(try await StoreVerifier(store).verify().isSound)

            // A number that a sender still holds is refused, and asking again makes the series anew.
            let gone = try #require(held)
            let at = clock.now.rawValue / 1_000_000
            func push(_ id: SeriesID) async throws -> SampleOutcome {
                try await store.storeSamples(
                    SampleBatch(
                        runs: [SampleBatch.Run(series: id, sampleCount: 1)], timestamps: [at],
                        values: [7]))
            }
            await #expect(throws: StorageError.seriesRemoved) { _ = try await push(gone) }
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 99)
            await #expect(throws: StorageError.seriesRemoved) {
                try await store.store(
                    [scrape(1, epoch: 99, at: at, [gone], [1], receivedAt: clock.now.rawValue)],
                    session: session)
            }
            let again = try #require(
                try await store.internPushed([definition(["__name__": "churn", "id": "0-0"])])[0])
            #expect(!given.contains(again.rawValue))
            #expect(try await push(again).storedSamples == 1)
            // What fails so holds up no seal.
            clock.advance(nanoseconds: 4 * 3_600_000_000_000)
            #expect(try await store.sealWhereDue() > 0)
            await store.close()
        }
    }

    @Test("a series that comes again while others leave stays, and no call is lost beside it")
    func removalBesideIngest() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "leaving", clock: clock) {
                $0.metricRetentionHours = 24
            }
            let ids = try await store.internPushed(
                (0..<200).map { definition(["__name__": "m", "id": "\($0)"]) }
            ).map { try #require($0) }
            @Sendable func push(_ ids: [SeriesID], _ at: Int64) async throws {
                _ = try await store.storeSamples(
                    SampleBatch(
                        runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 1) },
                        timestamps: ids.map { _ in at }, values: ids.map { _ in 1 }))
            }
            try await push(ids, Self.base)
            for _ in 0..<4 {
                clock.advance(nanoseconds: 86_400_000_000_000)
                _ = try await store.sealWhereDue()
                guard clock.now.rawValue < TestCluster.start + 3 * 86_400_000_000_000 else { break }
                try await push(Array(ids[..<1]), clock.now.rawValue / 1_000_000)
            }
            _ = try await store.maintain()
            #expect(store.seriesLimitStatus().knownCount == 1)
            // Again, with calls at the same time: each is stored or told to ask anew, and nothing else.
            let more = try await store.internPushed(
                (0..<200).map { definition(["__name__": "n", "id": "\($0)"]) }
            ).map { try #require($0) }
            clock.advance(nanoseconds: 8 * 3_600_000_000_000)
            let at = clock.now.rawValue / 1_000_000
            let outcomes = try await withThrowingTaskGroup(of: Int?.self) { group in
                group.addTask {
                    try await store.removeEmptySeries()
                    return nil
                }
                for part in 0..<20 {
                    group.addTask {
                        do {
                            try await push(Array(more[part * 10..<part * 10 + 10]), at)
                            return 10
                        } catch StorageError.seriesRemoved { return 0 }
                    }
                }
                return try await group.reduce(into: [Int?]()) { $0.append($1) }
            }
            let stored = outcomes.compactMap { $0 }.reduce(0, +)
            let read = try await store.select(
                [
                    SeriesSelection(
                        matchers: [LabelMatcher("__name__", .equal, "n")],
                        after: TimestampMS(at - 1), through: TimestampMS(at))
                ], limits: ReadLimits())[0]
            #expect(read.count == stored)
            #expect(store.seriesLimitStatus().knownCount >= 1 + stored)
            #expect(try await StoreVerifier(store).verify().isSound)
            await store.close()
            let reopened = try await TestCluster.reopen(cluster, name: "leaving", clock: clock)
            #expect(reopened.seriesLimitStatus().knownCount >= 1 + stored)
            await reopened.close()
        }
    }

    @Test("a series of which a late sample waits to be sealed is not removed after a restart")
    func waitingSeries() async throws {
        try await TestCluster.with { cluster in
            // Half an hour before midnight, two days and a little less after the sample.
            let clock = SetClock(TestCluster.start + 23 * 3_600_000_000_000)
            let name = "waiting"
            let change = { (configuration: inout StoreConfiguration) in
                configuration.metricRetentionHours = 48
            }
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock, change)
            let id = try #require(try await store.internPushed([definition(["__name__": "m"])])[0])
            let late = clock.now.rawValue / 1_000_000 - 48 * 3_600_000 + 60_000
            let outcome = try await store.storeSamples(
                SampleBatch(
                    runs: [SampleBatch.Run(series: id, sampleCount: 1)], timestamps: [late],
                    values: [1]))
            #expect(outcome.storedSamples == 1)
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name, clock: clock, change)
            // The sample's day is over, and no partition of it was ever made.
            clock.advance(nanoseconds: 3_600_000_000_000)
            #expect(try await store.maintain().removedSeriesCount == 0)
            #expect(store.seriesLimitStatus().knownCount == 1)
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name, clock: clock, change)
            #expect(try await StoreVerifier(store).verify().isSound)
            await store.close()
        }
    }

    @Test(
        "rows of the log whose series is gone keep no collector from starting, and verify lists them"
    )
    func lostSeries() async throws {
        try await TestCluster.with { cluster in
            let name = "lost"
            var store = try await TestCluster.store(in: cluster, name: name)
            let ids = try await store.internPushed(
                ["a", "b"].map { definition(["__name__": $0]) }
            ).map { try #require($0) }
            // As a scrape, and as a row of its own form.
            for count in [1, 3] {
                _ = try await store.storeSamples(
                    SampleBatch(
                        runs: ids.map { SampleBatch.Run(series: $0, sampleCount: count) },
                        timestamps: ids.flatMap { _ in
                            (0..<count).map { Self.base + Int64(count * 10 + $0) }
                        },
                        values: ids.flatMap { _ in (0..<count).map { _ in 1 } }))
            }
            await store.close()
            try await TestCluster.execute(
                "DELETE FROM petrel.series WHERE metric = 'a'", on: name, in: cluster)
            store = try await TestCluster.reopen(cluster, name: name)
            let read = try await store.select(
                [
                    SeriesSelection(
                        matchers: [], after: TimestampMS(-1), through: TimestampMS(.max / 2))
                ],
                limits: ReadLimits())[0]
            #expect(read.map(\.labels.metricName) == ["b"] && read[0].timestamps.count == 4)
            let unknown = store.metricFamilies()
                .first { $0.name == "petrel_store_unknown_series_samples_total" }?.points.first?
                .value
            #expect(unknown == 4)
            let report = try await StoreVerifier(store).verify()
            #expect(report.problems.count == 2, "\(report)")
            await store.close()
        }
    }

    @Test("a removal of series that failed is finished within seconds, and its senders go on")
    func removalAgain() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "again"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let series = definition(["__name__": "m"])
            let first = try await store.internPushed([series])
            clock.advance(nanoseconds: 7 * 3_600_000_000_000)
            try await TestCluster.execute(
                """
                CREATE FUNCTION petrel.stop() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'stopping' USING ERRCODE = '57P03'; END $$;
                CREATE TRIGGER stop BEFORE DELETE ON petrel.series EXECUTE FUNCTION petrel.stop();
                """, on: name, in: cluster)
            await #expect(throws: StorageError.self) { try await store.removeEmptySeries() }
            // A seal is not kept from its work by that.
            try await store.storeOwn([
                (definition(["__name__": "own"]), Sample(TimestampMS(Self.base), 1))
            ])
            #expect(try await store.sealWhereDue() == 1)
            await #expect(throws: StorageError.self) { try await store.internPushed([series]) }
            try await TestCluster.execute(
                "DROP TRIGGER stop ON petrel.series", on: name, in: cluster)
            _ = try await store.sealWhereDue()
            let again = try await store.internPushed([series])
            #expect(again[0] != nil && again != first)
            let removed = store.metricFamilies()
                .first { $0.name == "petrel_store_removed_series_total" }?.points.first?.value
            #expect(removed == 1)
            await store.close()
        }
    }
}
