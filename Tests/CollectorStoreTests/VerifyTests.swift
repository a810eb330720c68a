import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// What is done to a database, what undoes it, and what the problems then say, one each.
private struct Damage {
    var sql: String
    /// Nil: the same again.
    var undo: String?
    var told: [String]
}

/// What `petrel-collector verify` says of damaged chunks, rows of the log and days.
extension StoreTests {
    private static let day = base / 86_400_000
    private static let group0 = "chunk of group 0 at \(base), seal 1: "
    private static let group1 = "chunk of group 1 at \(base), seal 1: "

    /// Of 40 series in two groups, three samples each in chunks, and three each in the log a day later.
    private static func damages(_ id: Int32) -> [Damage] {
        // The newest row of the log: what is before it is sealed.
        let newest = "number = (SELECT max(number) FROM petrel.ingest_batch)"
        return [
            Damage(
                sql: """
                    UPDATE petrel.chunk SET data = set_byte(data, octet_length(data) - 1,
                        get_byte(data, octet_length(data) - 1) # 1) WHERE grp = 0
                    """, told: [group0 + "the checksum does not match"]),
            Damage(
                sql: "UPDATE petrel.chunk SET data = set_byte(data, 0, get_byte(data, 0) # 3)",
                told: [group0 + "a chunk of version 2", group1 + "a chunk of version 2"]),
            Damage(
                sql: "UPDATE petrel.chunk SET sample_count = sample_count + 1 WHERE grp = 1",
                undo: "UPDATE petrel.chunk SET sample_count = sample_count - 1 WHERE grp = 1",
                told: [group1 + "24 samples, its row says another number"]),
            Damage(
                sql: "UPDATE petrel.chunk SET last_ms = last_ms + 1 WHERE grp = 1",
                undo: "UPDATE petrel.chunk SET last_ms = last_ms - 1 WHERE grp = 1",
                told: [group1 + "other times than its row says"]),
            Damage(
                sql: "UPDATE petrel.series SET class = 1 WHERE grp = 0",
                undo: "UPDATE petrel.series SET class = 0 WHERE grp = 0",
                told: [group0 + "it is of class 0, its series are of class 1, where queries look"]),
            Damage(
                sql: "UPDATE petrel.series SET slot = 31 WHERE grp = 1 AND slot = 7",
                undo: "UPDATE petrel.series SET slot = 7 WHERE grp = 1 AND slot = 31",
                told: [group1 + "slot 7 belongs to no series"]),
            Damage(
                sql: """
                    UPDATE petrel.ingest_batch SET data = set_byte(data, octet_length(data) - 1,
                        get_byte(data, octet_length(data) - 1) # 255) WHERE \(newest)
                    """,
                told: ["the checksum does not match", "0 samples, it says 120"]),
            Damage(
                sql: "UPDATE petrel.ingest_batch SET record_count = 121 WHERE \(newest)",
                undo: "UPDATE petrel.ingest_batch SET record_count = 120 WHERE \(newest)",
                told: ["120 samples, it says 121"]),
            Damage(
                sql: "UPDATE petrel.ingest_batch SET ts = ts + 1 WHERE \(newest)",
                undo: "UPDATE petrel.ingest_batch SET ts = ts - 1 WHERE \(newest)",
                told: ["its newest sample has another time than it says"]),
            Damage(
                sql: "UPDATE petrel.series_day SET series = set_bit(series, \(id), 0)",
                undo: "UPDATE petrel.series_day SET series = set_bit(series, \(id), 1)",
                told: [lacking(1, "(\(id))")]),
        ]
    }

    private static func lacking(_ count: Int, _ named: String) -> String {
        "series_day of class 0, day \(day): it lacks \(count) series that have samples then \(named), "
            + "which no query finds"
    }

    /// As docs/formats/storage.md says under "A damaged series_day".
    private static let mend = """
        BEGIN;
        DELETE FROM petrel.series_day WHERE class = 0 AND day = \(day);
        INSERT INTO petrel.series_day (class, day, seal, series)
        SELECT 0, \(day), (SELECT max(seal) FROM petrel.chunk WHERE class = 0 AND day = \(day)),
            string_agg(set_byte('\\x00', 0, coalesce(m.mask, 0)), ''::bytea ORDER BY b.at)
        FROM generate_series(0, (SELECT max(id) / 8 FROM petrel.series)) AS b (at)
        LEFT JOIN (
            SELECT s.id / 8 AS at, bit_or(1 << (s.id % 8)) AS mask FROM petrel.series s
            WHERE s.grp IN (SELECT grp FROM petrel.chunk WHERE class = 0 AND day = \(day)) GROUP BY 1
        ) AS m USING (at);
        COMMIT;
        """

    private static func push(
        _ store: CollectorStore, _ ids: [SeriesID], at time: Int64
    ) async throws {
        let times = (0..<3).map { time + Int64($0) * 15_000 }
        let outcome = try await store.storeSamples(
            SampleBatch(
                runs: ids.map { SampleBatch.Run(series: $0, sampleCount: times.count) },
                timestamps: ids.flatMap { _ in times },
                values: ids.flatMap { id in times.map { Double($0 % 1_000) + Double(id.rawValue) } }
            ))
        #expect(outcome.storedSamples == 3 * ids.count)
    }

    /// Series with samples at the first times of all.
    private static func shownCount(_ store: CollectorStore) async throws -> Int {
        let selection = SeriesSelection(
            matchers: [], after: TimestampMS(base - 1), through: TimestampMS(base + 60_000))
        return try await store.select([selection], limits: ReadLimits())[0].count
    }

    /// Forty series: sealed, and a day later in the log.
    private static func fill(
        _ store: CollectorStore, _ clock: SetClock
    ) async throws -> [SeriesID] {
        let ids = try await store.internPushed(
            (0..<40).map { definition(["__name__": "m", "id": "\($0)"]) }
        ).map { try #require($0) }
        try await push(store, ids, at: base)
        clock.advance(nanoseconds: 3 * 3_600_000_000_000)
        #expect(try await store.sealWhereDue() == 2)
        clock.advance(nanoseconds: 27 * 3_600_000_000_000)
        try await push(store, ids, at: clock.now.rawValue / 1_000_000)
        return ids
    }

    @Test("verify finds damaged chunks and rows of the log, and days that lack a series")
    func verifyDamage() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "verify_damage"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let ids = try await Self.fill(store, clock)
            let sound = try await StoreVerifier(store).verify()
            #expect(sound.isSound && sound.chunkSampleCount == 120, "\(sound)")
            for damage in Self.damages(ids[11].rawValue) {
                try await TestCluster.execute(damage.sql, on: name, in: cluster)
                let problems = try await StoreVerifier(store).verify().problems
                #expect(problems.count == damage.told.count, "\(damage.sql): \(problems)")
                for text in damage.told {
                    #expect(problems.contains { $0.contains(text) }, "\(text): \(problems)")
                }
                try await TestCluster.execute(damage.undo ?? damage.sql, on: name, in: cluster)
                let after = try await StoreVerifier(store).verify()
                #expect(after.isSound, "\(damage.sql): \(after)")
            }
            await store.close()
        }
    }

    @Test("days that series_day lost hide samples, verify lists them, and they can be written anew")
    func lostDays() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "lost_days"
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let ids = try await Self.fill(store, clock)
            func restart() async throws {
                await store.close()
                store = try await TestCluster.reopen(cluster, name: name, clock: clock)
            }
            func execute(_ sql: String) async throws {
                try await TestCluster.execute(sql, on: name, in: cluster)
            }
            try await execute("DELETE FROM petrel.series_day")
            try await restart()
            #expect(try await Self.shownCount(store) == 0)
            let problems = try await StoreVerifier(store).verify().problems
            #expect(problems.count == 1)
            #expect(
                problems.first?.hasPrefix("series_day of class 0, day \(Self.day): it lacks 40 ")
                    == true)
            #expect(problems.first?.contains(" …)") == true, "\(problems)")
            try await execute(Self.mend)
            try await restart()
            #expect(try await Self.shownCount(store) == 40)
            #expect(try await StoreVerifier(store).verify().isSound)

            // A series that was deleted lacks nowhere; its samples that came later do where their row is lost.
            let scope = LabelScope(
                matcherSets: [[LabelMatcher("id", .equal, "0")]], start: TimestampMS(.min),
                end: TimestampMS(.max))
            #expect(try await store.deleteSeries(scope) == 1)
            var report = try await StoreVerifier(store).verify()
            #expect(report.isSound && report.deletedSampleCount == 3, "\(report)")
            #expect(try await Self.shownCount(store) == 39)
            let again = try #require(
                try await store.internPushed([definition(["__name__": "m", "id": "0"])])[0])
            #expect(again == ids[0])
            try await Self.push(store, [again], at: Self.base)
            clock.advance(nanoseconds: 3 * 3_600_000_000_000)
            #expect(try await store.sealWhereDue() == 3)
            report = try await StoreVerifier(store).verify()
            #expect(report.isSound && report.deletedSampleCount == 3, "\(report)")
            try await execute(
                """
                DELETE FROM petrel.series_day d WHERE day = \(Self.day)
                    AND seal = (SELECT max(seal) FROM petrel.series_day WHERE day = d.day)
                """)
            try await restart()
            #expect(try await Self.shownCount(store) == 39)
            let left = try await StoreVerifier(store).verify().problems
            #expect(left.count == 1)
            #expect(
                left.first?.hasPrefix(Self.lacking(1, "(\(again.rawValue))")) == true, "\(left)")
            try await execute(Self.mend)
            try await restart()
            #expect(try await Self.shownCount(store) == 40)
            #expect(try await StoreVerifier(store).verify().isSound)
            await store.close()
        }
    }
}
