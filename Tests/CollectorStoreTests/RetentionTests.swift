import CollectorStore
import Dispatch
import Model
import Postgres
import Storage
import Testing

/// What goes with age, what goes for space, and what stays.
extension StoreTests {
    private static let dayNanoseconds: Int64 = 86_400_000_000_000
    private static let rules = [
        RetentionRule(
            name: "long", ageHours: 10 * 24,
            matcherSets: [
                [LabelMatcher("__name__", .matchesRegex, "slo:.*")],
                [LabelMatcher("keep", .equal, "yes")],
            ]),
        RetentionRule(
            name: "short", ageHours: 24,
            matcherSets: [[LabelMatcher("__name__", .matchesRegex, "slo:.*|debug_.*")]]),
    ]

    private static func configure(_ configuration: inout StoreConfiguration) {
        configuration.metricRetentionHours = 3 * 24
        configuration.logRetentionDays = 3
        configuration.retentionRules = rules
    }

    private static func metricNames(
        _ store: CollectorStore
    ) async throws -> [String: [Int64]] {
        let columns = try await store.select(
            [SeriesSelection(matchers: [], after: TimestampMS(-1), through: TimestampMS(.max / 2))],
            limits: ReadLimits())[0]
        return Dictionary(
            uniqueKeysWithValues: columns.map { ($0.labels.metricName, $0.timestamps) })
    }

    @Test(
        "classes: each keeps its own days, late samples and an open reader or not; drops are told")
    func retentionClasses() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let random = SeededRandom(3)
            let name = "classes"
            var store = try await TestCluster.store(
                in: cluster, name: name, clock: clock, Self.configure)
            let names = ["slo:a", "debug_b", "plain_c", "kept_d"]
            let ages = ["slo:a": 10, "kept_d": 10, "debug_b": 1, "plain_c": 3]
            let definitions = names.map {
                definition($0 == "kept_d" ? ["__name__": $0, "keep": "yes"] : ["__name__": $0])
            }
            var stored: [String: Set<Int64>] = [:]
            var storedCount: Int64 = 0
            // Too old before they were sealed; counted by each start anew.
            var expiredCount: Int64 = 0
            func expired(_ store: CollectorStore) -> Int64 {
                let families = store.metricFamilies()
                let name = "petrel_store_expired_samples_total"
                return Int64(families.first { $0.name == name }?.points.first?.value ?? 0)
            }
            for round in 0..<30 {
                let now = clock.now.rawValue / 1_000_000
                // A millisecond of its own each.
                let at = now - Int64(random.next() % 12) * 86_400_000 + Int64(round)
                // Asked anew: a series that has nothing left is gone.
                let ids = try await store.internPushed(definitions).map { try #require($0) }
                let expected = names.filter { at >= now - Int64(ages[$0] ?? 0) * 86_400_000 }
                let outcome = try await store.storeSamples(
                    SampleBatch(
                        runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 1) },
                        timestamps: ids.map { _ in at }, values: ids.map { _ in 1 }))
                #expect(outcome.storedSamples == expected.count)
                #expect(outcome.tooOldCount == names.count - expected.count)
                for metric in expected where stored[metric, default: []].insert(at).inserted {
                    storedCount += 1
                }
                clock.advance(nanoseconds: Self.dayNanoseconds / 2)
                _ = try await store.sealWhereDue()
                if round == 13 {
                    // An open reader of everything: nothing is dropped, nothing waits for it.
                    let gate = DispatchSemaphore(value: 0)
                    let (started, start) = AsyncStream.makeStream(of: Void.self)
                    async let answer = heldRead(
                        "SELECT count(*) FROM petrel.chunk",
                        url: TestCluster.url(of: name, in: cluster), started: start, gate: gate)
                    defer { gate.signal() }
                    for await _ in started {}
                    let held = try await store.maintain()
                    #expect(!held.postponed.isEmpty)
                    let own = clock.now.rawValue / 1_000_000
                    try await store.storeOwn([
                        (definition(["__name__": "own"]), Sample(TimestampMS(own), 1))
                    ])
                    gate.signal()
                    #expect(try await answer > 0)
                    stored["own"] = [own]
                    storedCount += 1
                }
                while true {
                    let report = try await store.maintain()
                    #expect(report.postponed.isEmpty, "\(report)")
                    if report.dropped.isEmpty { break }
                }
                let today = clock.now.rawValue / Self.dayNanoseconds
                for (metric, times) in stored {
                    let oldest = today - Int64(ages[metric] ?? 3)
                    stored[metric] = times.filter { $0 / 86_400_000 >= oldest }
                }
                #expect(
                    try await Self.metricNames(store).mapValues(Set.init)
                        == stored.filter { !$0.value.isEmpty }, "round \(round)")
                if round % 10 == 8 {
                    expiredCount += expired(store)
                    await store.close()
                    store = try await TestCluster.reopen(
                        cluster, name: name, clock: clock, Self.configure)
                }
            }
            let left = Int64(stored.values.reduce(0) { $0 + $1.count })
            let told = try await TestCluster.number(
                "SELECT sum(record_count)::int8 FROM petrel.retention_drop WHERE reason = 'age'",
                on: name, in: cluster)
            #expect(told + expiredCount + expired(store) == storedCount - left)
            let inSQL = try await TestCluster.number(
                "SELECT count(DISTINCT (series_id, at_ms)) FROM petrel.sample", on: name,
                in: cluster)
            #expect(inSQL == left)
            #expect(try await StoreVerifier(store).verify().isSound)
            let counted = store.metricFamilies()
                .first { $0.name == "petrel_retention_dropped_records_total" }?.points
                .first { $0.labels["relation"] == "chunk" && $0.labels["reason"] == "age" }
            #expect((counted?.value ?? 0) > 0)
            await store.close()
        }
    }

    @Test(
        "the class of a series stays when the rules change, and so does the age of a class that went"
    )
    func classesStay() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(
                in: cluster, name: "classes_stay", clock: clock, Self.configure)
            let slo = definition(["__name__": "slo:a"])
            try await store.storeOwn([(slo, Sample(TimestampMS(Self.base), 1))])
            await store.close()
            let later = try await TestCluster.reopen(cluster, name: "classes_stay", clock: clock) {
                $0.metricRetentionHours = 3 * 24
            }
            try await later.storeOwn([(slo, Sample(TimestampMS(Self.base + 1), 1))])
            try await later.storeOwn([
                (definition(["__name__": "slo:b"]), Sample(TimestampMS(Self.base), 1))
            ])
            clock.advance(nanoseconds: 6 * Self.dayNanoseconds)
            _ = try await later.sealWhereDue()
            while try await !later.maintain().dropped.isEmpty {}
            #expect(try await Self.metricNames(later) == ["slo:a": [Self.base, Self.base + 1]])
            await later.close()
        }
    }

    @Test("too much: the oldest days go, and never come back")
    func retentionSize() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let random = SeededRandom(9)
            let name = "size"
            let limit = { @Sendable (configuration: inout StoreConfiguration) in
                configuration.metricRetentionHours = 30 * 24
                configuration.metricBytesMax = 3_000_000
            }
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock, limit)
            let ids = try await store.internPushed(
                (0..<64).map { definition(["__name__": "m\($0)"]) }
            ).map { try #require($0) }
            for _ in 0..<8 {
                let now = clock.now.rawValue / 1_000_000
                // Noise, which doesn't pack: about half a megabyte a day.
                _ = try await store.storeSamples(
                    SampleBatch(
                        runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 1_000) },
                        timestamps: ids.flatMap { _ in (0..<1_000).map { now + Int64($0) } },
                        values: ids.flatMap { _ in
                            (0..<1_000).map { _ in Double(bitPattern: random.next() >> 2) }
                        }))
                clock.advance(nanoseconds: Self.dayNanoseconds)
                _ = try await store.sealWhereDue()
            }
            while try await !store.maintain().dropped.isEmpty {}
            let days = try await TestCluster.number(
                "SELECT count(DISTINCT day) FROM petrel.chunk", on: name, in: cluster)
            #expect((2...6).contains(days), "\(days) days are left")
            let bytes = try await TestCluster.number(
                """
                SELECT sum(pg_total_relation_size(oid))::int8 FROM pg_class
                WHERE relnamespace = 'petrel'::regnamespace AND relkind = 'r'
                    AND relname ~ '^chunk_.*[0-9]$'
                """, on: name, in: cluster)
            #expect(bytes <= 3_000_000)
            let newest = try await TestCluster.number(
                "SELECT max(day) FROM petrel.retention_drop WHERE reason = 'size'", on: name,
                in: cluster)
            let oldest = try await TestCluster.number(
                "SELECT min(day) FROM petrel.chunk", on: name, in: cluster)
            #expect(newest + 1 == oldest)
            // A late sample of a day that went is too old, after a restart without the limit as well.
            await store.close()
            store = try await TestCluster.reopen(cluster, name: name, clock: clock) {
                $0.metricRetentionHours = 30 * 24
            }
            let late = try await store.storeSamples(
                SampleBatch(
                    runs: [SampleBatch.Run(series: ids[0], sampleCount: 2)],
                    timestamps: [newest * 86_400_000 + 5, oldest * 86_400_000], values: [1, 2]))
            #expect(late.tooOldCount == 1 && late.storedSamples == 1)
            #expect(try await StoreVerifier(store).verify().isSound)
            await store.close()
        }
    }

    @Test("a drop that was interrupted is finished, and told once")
    func interruptedDrop() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "interrupted"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            try await store.storeOwn([
                (definition(["__name__": "m"]), Sample(TimestampMS(Self.base), 1)),
                (definition(["__name__": "m"]), Sample(TimestampMS(Self.base + 86_400_000), 1)),
            ])
            clock.advance(nanoseconds: 3 * Self.dayNanoseconds)
            _ = try await store.sealWhereDue()
            await store.close()
            let day = Self.base / 86_400_000
            try await TestCluster.execute(
                "ALTER TABLE petrel.chunk_c0 DETACH PARTITION petrel.chunk_d\(day)", on: name,
                in: cluster)
            let next = try await TestCluster.reopen(cluster, name: name, clock: clock)
            let report = try await next.maintain()
            #expect(report.dropped.contains("chunk_d\(day)"))
            #expect(next.historyChange(since: 1).earliest == TimestampMS(.min))
            #expect(try await !next.maintain().dropped.contains("chunk_d\(day)"))
            let told = try await TestCluster.number(
                "SELECT count(*) FROM petrel.retention_drop WHERE record_count = 1", on: name,
                in: cluster)
            #expect(told == 1)
            #expect(
                try await Self.metricNames(next) == ["m": [Self.base + 86_400_000]])
            await next.close()
        }
    }

    @Test(
        "a day that can't be read goes all the same, and one that can't be dropped keeps no other")
    func damagedDays() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start + 3 * Self.dayNanoseconds)
            let name = "damaged"
            let store = try await TestCluster.store(
                in: cluster, name: name, clock: clock, Self.configure)
            let first = Self.base / 86_400_000
            for day in first..<first + 3 {
                try await store.storeOwn([
                    (definition(["__name__": "plain"]), Sample(TimestampMS(day * 86_400_000), 1)),
                    (definition(["__name__": "slo:a"]), Sample(TimestampMS(day * 86_400_000), 1)),
                ])
            }
            clock.advance(nanoseconds: 10_800_000_000_000)
            #expect(try await store.sealWhereDue() > 0)
            // Any look at a row fails, as at a page that the disk lost.
            try await TestCluster.execute(
                """
                ANALYZE petrel.chunk_d\(first);
                ALTER TABLE petrel.chunk_d\(first) ENABLE ROW LEVEL SECURITY;
                ALTER TABLE petrel.chunk_d\(first) FORCE ROW LEVEL SECURITY;
                CREATE POLICY lost ON petrel.chunk_d\(first) USING (1 / (day - day) = 1);
                """, on: name, in: cluster)
            try await TestCluster.execute(
                "ALTER TABLE petrel.chunk_d\(first + 1) OWNER TO postgres", on: name, in: cluster,
                as: "postgres")
            clock.advance(nanoseconds: 20 * Self.dayNanoseconds)
            var report = MaintenanceReport(dropped: [], postponed: [])
            for _ in 0..<2 {
                let round = try await store.maintain()
                report.dropped += round.dropped
                report.postponed = round.postponed
            }
            let went =
                [first, first + 2].map { "chunk_d\($0)" }
                + (first..<first + 3).map { "chunk_c1_d\($0)" }
            #expect(Set(report.dropped).isSuperset(of: went), "\(report)")
            #expect(report.postponed == ["chunk_d\(first + 1)"])
            for (day, count) in [(first, 1), (first + 2, 1)] {
                let told = try await TestCluster.number(
                    "SELECT record_count FROM petrel.retention_drop WHERE relation = 'chunk_d\(day)'",
                    on: name, in: cluster)
                #expect(told == count)
            }
            await store.close()
        }
    }

    @Test("the short patience of retention is not that of whoever has its connection next")
    func patience() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "patience"
            let store = try await TestCluster.store(
                in: cluster, name: name, clock: clock, Self.configure)
            try await store.storeOwn([
                (definition(["__name__": "plain"]), Sample(TimestampMS(Self.base), 1))
            ])
            clock.advance(nanoseconds: Self.dayNanoseconds)
            #expect(try await store.sealWhereDue() == 1)
            #expect(try await !store.maintain().dropped.isEmpty)
            let holder = PostgresPool(
                PostgresPoolConfiguration(
                    url: TestCluster.url(of: name, in: cluster), connectionsMax: 1),
                logger: TestCluster.quiet, random: { 1 })
            let (started, start) = AsyncStream.makeStream(of: Void.self)
            async let held: Void = holder.withSession { session in
                defer { start.finish() }
                try session.transaction { session in
                    try session.query("LOCK TABLE petrel.tombstone IN SHARE MODE")
                    start.finish()
                    // Longer than a round of retention waits for anything.
                    try session.query("SELECT pg_sleep(1.5)::text")
                }
            }
            for await _ in started {}
            let scope = LabelScope(
                matcherSets: [[LabelMatcher("__name__", .equal, "plain")]],
                start: TimestampMS(.min), end: TimestampMS(.max))
            #expect(try await store.deleteSeries(scope) == 1)
            try await held
            await holder.close()
            await store.close()
        }
    }

    @Test(
        "past 99 classes a new one takes the number of one that nothing is left of, or is refused")
    func manyClasses() async throws {
        try await TestCluster.with { cluster in
            let name = "manyclasses"
            func rule(_ name: String) -> RetentionRule {
                RetentionRule(
                    name: name, ageHours: 48, matcherSets: [[LabelMatcher("class", .equal, name)]])
            }
            func open(_ names: [String]) async throws -> CollectorStore {
                try await TestCluster.reopen(cluster, name: name) {
                    $0.retentionRules = names.map(rule)
                }
            }
            try await TestCluster.store(in: cluster, name: name).close()
            try await TestCluster.execute(
                "SELECT petrel.ensure_retention_class('old' || n, 24) FROM generate_series(1, 99) AS n",
                on: name, in: cluster)
            // The first has a series, the second is configured still.
            var store = try await open(["old1", "old2"])
            _ = try await store.internPushed([definition(["__name__": "m", "class": "old1"])])
            await store.close()
            store = try await open(["new", "old2"])
            _ = try await store.internPushed([definition(["__name__": "n", "class": "new"])])
            await store.close()
            for (sql, number) in [
                ("SELECT class FROM petrel.series WHERE metric = 'm'", 1),
                ("SELECT class FROM petrel.series WHERE metric = 'n'", 3),
                ("SELECT age_hours FROM petrel.retention_class WHERE name = 'new'", 48),
                ("SELECT count(*) FROM petrel.retention_class", 100),
            ] {
                #expect(
                    try await TestCluster.number(sql, on: name, in: cluster) == number, "\(sql)")
            }
            try await TestCluster.execute(
                """
                INSERT INTO petrel.series (fingerprint, label_key, labels, metric, type, help, unit,
                    grp, slot, class)
                SELECT 0, n::text::bytea, '{}', '', '', '', '', 1000 + n, 0, n
                FROM generate_series(1, 99) AS n
                """, on: name, in: cluster)
            await #expect {
                _ = try await open(["newer"])
            } throws: { error in
                if case StorageError.refused(let text) = error {
                    text.contains("newer")
                } else {
                    false
                }
            }
        }
    }
}
