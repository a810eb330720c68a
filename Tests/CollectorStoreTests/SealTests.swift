import ChunkCodec
import CollectorStore
import Dispatch
import Model
import Postgres
import Storage
import Testing

/// How samples come from the log into chunks, and what crashes, losers and late comers leave of them.
extension StoreTests {
    /// The samples of every series after `after` as a reader sees them, by metric name.
    private static func everything(
        _ store: CollectorStore, after: Int64 = -1
    ) async throws -> [String: [Int64: UInt64]] {
        let selection = SeriesSelection(
            matchers: [], after: TimestampMS(after), through: TimestampMS(.max / 2))
        let columns = try await store.select([selection], limits: ReadLimits())[0]
        var result: [String: [Int64: UInt64]] = [:]
        for column in columns {
            result[column.labels.metricName] = Dictionary(
                uniqueKeysWithValues: zip(column.timestamps, column.values.map(\.bitPattern)))
        }
        return result
    }

    @Test("sealing changes no answer: in time, late, overwritten, odd values, over several days")
    func sealing() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "sealing", clock: clock)
            let h1 = try host("h1")
            // More than one group, and two targets.
            let definitions = (0..<70).map {
                definition(["__name__": "m\($0)", "job": $0 < 40 ? "a" : "b"])
            }
            let ids = try await store.intern(definitions, host: h1).map { try #require($0) }
            var (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            let odd: [Double] = [
                .nan, -0.0, .infinity, StalenessMarker.value, 0.1 + 0.2, 1e300,
                Double(bitPattern: 0x7ff8_0000_0000_beef),
            ]
            var expected: [String: [Int64: UInt64]] = [:]
            var sealed = 0
            for sequence in UInt64(1)...120 {
                let now = clock.now
                // Every tenth scrape is hours late, and every fifteenth comes again with other values.
                let shift: Int64 = sequence % 10 == 0 ? 9 * 3_600_000 : 0
                let at =
                    (sequence % 15 == 0 ? now.rawValue - 1_800_000_000_000 : now.rawValue)
                    / 1_000_000 - shift
                let values = ids.indices.map { index in
                    index % 9 == 0
                        ? odd[(index + Int(sequence)) % odd.count]
                        : Double(sequence) * 0.01 + Double(index)
                }
                let batch = scrape(sequence, at: at, ids, values, receivedAt: now.rawValue)
                #expect(try await store.store([batch], session: session) == [.stored])
                for (index, value) in values.enumerated() {
                    expected["m\(index)", default: [:]][at] = value.bitPattern
                }
                clock.advance(nanoseconds: 1_800_000_000_000)
                sealed += try await store.sealWhereDue()
                // Whether the head alone answers, or chunks that an answer before has left in memory, or the database.
                for hours in [Int64(sequence % 6), 40] {
                    let after = at - hours * 3_600_000 + 1
                    let wanted = expected.mapValues { $0.filter { $0.key > after } }
                    #expect(
                        try await Self.everything(store, after: after)
                            == wanted.filter { !$0.value.isEmpty })
                }
                guard sequence % 30 == 0 else { continue }
                let hits = store.metricFamilies().first {
                    $0.name == "petrel_store_chunk_cache_hits_total"
                }
                #expect(try #require(hits?.points.first).value > 100)
                #expect(try await Self.everything(store) == expected)
                // Another start reads what is not sealed again.
                await store.close()
                store = try await TestCluster.reopen(cluster, name: "sealing", clock: clock)
                (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
                #expect(try await Self.everything(store) == expected)
            }
            #expect(sealed > 60)
            let report = try await StoreVerifier(store).verify()
            #expect(report.isSound && report.chunkCount >= sealed, "\(report)")
            // What is sealed leaves the log.
            let history = store.historyChange(since: 0).version
            let dropped = try await store.maintain().dropped
            #expect(dropped.count > 10 && dropped.allSatisfy { $0.hasPrefix("ingest_batch_h") })
            #expect(
                store.historyChange(since: history).earliest == nil, "the past is as it was")
            #expect(try await Self.everything(store) == expected)
            let inSQL = try await TestCluster.number(
                "SELECT count(*) FROM (SELECT DISTINCT series_id, at_ms FROM petrel.sample) s",
                on: "sealing", in: cluster)
            #expect(inSQL == Int64(expected.values.reduce(0) { $0 + $1.count }))
            await store.close()
        }
    }

    private static func figure(_ store: CollectorStore, _ name: String) -> Double? {
        store.metricFamilies().first { $0.name == name }?.points.first?.value
    }

    @Test(
        "a collector that was replaced stores, seals, drops and deletes nothing; the new one has all"
    )
    func takeOver() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "takeover"
            // It keeps a day, and knows of no class.
            let old = try await TestCluster.store(in: cluster, name: name, clock: clock) {
                $0.metricRetentionHours = 24
            }
            let h1 = try host("h1")
            let id = try #require(
                try await old.intern([definition(["__name__": "m"])], host: h1)[0])
            let (session, _) = try await old.openSession(host: h1, kind: .metrics, epoch: 1)
            let first = scrape(1, at: Self.base, [id], [1])
            _ = try await old.store([first], session: session)
            let new = try await TestCluster.reopen(cluster, name: name, clock: clock) {
                $0.metricRetentionHours = 30 * 24
                $0.retentionRules = [
                    RetentionRule(
                        name: "long", ageHours: 60 * 24,
                        matcherSets: [[LabelMatcher("__name__", .equal, "long")]])
                ]
            }
            // Two calls whose outcome the old one does not know, and whose numbers the new one uses.
            await #expect(throws: StorageError.self) {
                try await old.store(
                    [scrape(2, at: Self.base + 1, [id], [2])], session: session)
            }
            await #expect(throws: StorageError.self) {
                try await old.storeOwn([
                    (definition(["__name__": "own"]), Sample(TimestampMS(Self.base), 1))
                ])
            }
            let days = Self.base - 5 * 86_400_000
            for metric in ["long", "plain"] {
                try await new.storeOwn([
                    (definition(["__name__": metric]), Sample(TimestampMS(days), 7))
                ])
            }
            // A repeat looks for what has no answer; the rows of another are none of its.
            await #expect {
                try await old.store([first], session: session)
            } throws: { error in
                if case StorageError.unavailable = error { true } else { false }
            }
            clock.advance(nanoseconds: 10 * 3_600_000_000_000)
            let (again, last) = try await new.openSession(host: h1, kind: .metrics, epoch: 1)
            #expect(last == 1)
            let batch = scrape(
                2, at: Self.base + 1, [id], [3], receivedAt: clock.now.rawValue)
            #expect(try await new.store([batch], session: again) == [.stored])
            let sealedCount = try await new.sealWhereDue()
            #expect(sealedCount == 3)
            // As of a deletion of the new one that is under way.
            try await TestCluster.execute(
                "INSERT INTO petrel.tombstone SELECT id, 1000000 FROM petrel.series", on: name,
                in: cluster)
            #expect(try await old.maintain() == MaintenanceReport(dropped: [], postponed: []))
            for _ in 0..<2 {
                await #expect(throws: StorageError.self) { try await old.sealWhereDue() }
                await #expect(throws: StorageError.self) { try await old.cleanTombstones() }
                await #expect(throws: StorageError.self) {
                    try await old.deleteSeries(
                        LabelScope(start: TimestampMS(0), end: TimestampMS(1)))
                }
            }
            #expect(Self.figure(old, "petrel_store_head_samples") == 1)
            let tombstones = try await TestCluster.number(
                "SELECT count(*) FROM petrel.tombstone", on: name, in: cluster)
            #expect(tombstones >= 3)
            #expect(
                try await Self.everything(new) == [
                    "m": [Self.base: 1.0.bitPattern, Self.base + 1: 3.0.bitPattern],
                    "long": [days: 7.0.bitPattern], "plain": [days: 7.0.bitPattern],
                ])
            #expect(try await StoreVerifier(new).verify().isSound)
            await old.close()
            await new.close()
        }
    }

    @Test("a head that is full is sealed at once, the newest samples too")
    func full() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "brimful", clock: clock) {
                $0.headSamplesMax = 100
            }
            let h1 = try host("h1")
            let ids = try await store.intern(
                (0..<60).map { definition(["__name__": "m\($0)"]) }, host: h1
            ).map { try #require($0) }
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            for sequence in UInt64(1)...3 {
                let batch = scrape(
                    sequence, at: Self.base + Int64(sequence), ids, ids.map { _ in 1 })
                #expect(try await store.store([batch], session: session) == [.stored])
            }
            let batch = scrape(4, at: Self.base + 4, ids, ids.map { _ in 1 })
            #expect(try await store.store([batch], session: session) == [.stored])
            // Twice what is allowed: nothing more is taken until it is sealed.
            await #expect(throws: StorageError.self) {
                try await store.store(
                    [scrape(5, at: Self.base + 5, ids, ids.map { _ in 1 })], session: session)
            }
            #expect(try await store.sealWhereDue() == 2)
            #expect(
                try await store.store(
                    [scrape(5, at: Self.base + 5, ids, ids.map { _ in 1 })], session: session)
                    == [.stored])
            #expect(try await Self.everything(store).values.allSatisfy { $0.count == 5 })
            await store.close()
        }
    }

    @Test("a log of far more than the head may hold does not keep a collector from starting")
    func longReplay() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "longreplay", clock: clock)
            let h1 = try host("h1")
            let ids = try await store.intern(
                (0..<60).map { definition(["__name__": "m\($0)"]) }, host: h1
            ).map { try #require($0) }
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            for sequence in UInt64(1)...50 {
                let batch = scrape(
                    sequence, at: Self.base + Int64(sequence), ids,
                    ids.map { _ in Double(sequence) })
                #expect(try await store.store([batch], session: session) == [.stored])
            }
            let expected = try await Self.everything(store)
            await store.close()
            // Twice: what the first start put into chunks is read by the second again.
            for _ in 0..<2 {
                let next = try await TestCluster.reopen(
                    cluster, name: "longreplay", clock: clock
                ) { $0.headSamplesMax = 100 }
                #expect(try await Self.everything(next) == expected)
                #expect(try await StoreVerifier(next).verify().isSound)
                await next.close()
            }
            let chunks = try await TestCluster.number(
                "SELECT count(*) FROM petrel.chunk", on: "longreplay", in: cluster)
            #expect(chunks > 2)
        }
    }

    /// What each call asks last before its commit fails so that the collector can't tell whether it was committed.
    private static let unanswered = """
        CREATE OR REPLACE FUNCTION petrel.require_writer(wanted int8) RETURNS void
        LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '57P03'; END $$;
        """
    private static let answered = """
        CREATE OR REPLACE FUNCTION petrel.require_writer(wanted int8) RETURNS void
        LANGUAGE plpgsql AS $$ BEGIN END $$;
        """

    @Test("a call whose answer was lost is found however long the database was away")
    func lateAnswer() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "lateanswer"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let series = definition(["__name__": "m"])
            try await store.storeOwn([(series, Sample(TimestampMS(Self.base), 1))])
            try await TestCluster.execute(Self.unanswered, on: name, in: cluster)
            await #expect(throws: StorageError.self) {
                try await store.storeOwn([(series, Sample(TimestampMS(Self.base + 1), 2))])
            }
            #expect(Self.figure(store, "petrel_store_doubtful_calls") == 1)
            // As where its commit went through and the answer did not.
            try await TestCluster.execute(
                Self.answered + """
                    INSERT INTO petrel.ingest_batch (recv_hour, host_id, kind, epoch, seq, part, ts,
                        received_ns, record_count, digest, number, series, vals)
                    SELECT recv_hour, host_id, kind, epoch, seq + 1, part, ts + 1, received_ns,
                        record_count, digest, number + 1, series, '{2}' FROM petrel.ingest_batch;
                    """, on: name, in: cluster)
            clock.advance(nanoseconds: 30 * 3_600_000_000_000)
            #expect(try await store.sealWhereDue() == 1)
            #expect(
                try await Self.everything(store)
                    == ["m": [Self.base: 1.0.bitPattern, Self.base + 1: 2.0.bitPattern]])
            await store.close()
        }
    }

    @Test("a clock that jumps ahead of the retention costs nothing of what waits to be sealed")
    func jumpedClock() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "jumped"
            var store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let series = definition(["__name__": "m"])
            var expected: [Int64: UInt64] = [:]
            // By a tick of the seals, and by a start whose log does not fit into the head.
            for isStart in [false, true] {
                for step in 0..<Int64(3) {
                    let at = Self.base + step + (isStart ? 3 : 0)
                    try await store.storeOwn([(series, Sample(TimestampMS(at), Double(step)))])
                    expected[at] = Double(step).bitPattern
                }
                clock.advance(nanoseconds: 400 * 86_400_000_000_000)
                if !isStart {
                    #expect(try await store.sealWhereDue() == 1)
                } else {
                    await store.close()
                    store = try await TestCluster.reopen(cluster, name: name, clock: clock) {
                        $0.headSamplesMax = 1
                    }
                }
                #expect(Self.figure(store, "petrel_store_expired_samples_total") == 0)
                #expect(try await Self.everything(store) == ["m": expected])
            }
            await store.close()
        }
    }

    @Test(
        "a deletion, and a removal of series, wait for a collector that takes over, and are refused then"
    )
    func takeOverBeside() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "takeoverbeside"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock) {
                $0.metricRetentionHours = 24
            }
            try await store.storeOwn([
                (definition(["__name__": "m"]), Sample(TimestampMS(Self.base), 1))
            ])
            // Its series has nothing left, and may go.
            _ = try await store.internPushed([definition(["__name__": "empty"])])
            clock.advance(nanoseconds: 7 * 3_600_000_000_000)
            let scope = LabelScope(
                matcherSets: [[LabelMatcher("__name__", .equal, "m")]],
                start: TimestampMS(.min), end: TimestampMS(.max))
            let gate = DispatchSemaphore(value: 0)
            let (started, start) = AsyncStream.makeStream(of: Void.self)
            async let takeOver = heldRead(
                "UPDATE petrel.metric_seal SET writer = writer + 1 RETURNING writer",
                url: TestCluster.url(of: name, in: cluster), started: start, gate: gate)
            defer { gate.signal() }
            for await _ in started {}
            async let deleted = Self.isUnavailable { _ = try await store.deleteSeries(scope) }
            async let removed = Self.isUnavailable { _ = try await store.removeEmptySeries() }
            // Both wait for the row; where they did not, they would have ended.
            var waiting: Int64 = 0
            for _ in 0..<2_000 where waiting < 2 {
                waiting = try await TestCluster.number(
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'
                    """, on: name, in: cluster)
            }
            #expect(waiting == 2)
            gate.signal()
            _ = try await takeOver
            let refused = await [deleted, removed]
            #expect(refused == [true, true])
            for (sql, count) in [
                ("SELECT count(*) FROM petrel.deletion", 0),
                ("SELECT count(*) FROM petrel.series", 2),
            ] {
                #expect(try await TestCluster.number(sql, on: name, in: cluster) == count)
            }
            await store.close()
        }
    }

    private static func isUnavailable(_ body: @Sendable () async throws -> Void) async -> Bool {
        do {
            try await body()
            return false
        } catch StorageError.unavailable {
            return true
        } catch {
            return false
        }
    }

    @Test(
        "the extent of what is stored: chunks of every day, the last time of the newest, and the head"
    )
    func extent() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "extent"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            #expect(try await store.chunkExtent() == nil)
            let series = definition(["__name__": "m"])
            func told() async throws -> [Int64] {
                let extent = try #require(try await store.chunkExtent())
                return [Int64(extent.chunkCount), extent.first, extent.last]
            }
            func put(_ times: [Int64]) async throws {
                try await store.storeOwn(times.map { (series, Sample(TimestampMS($0), 1)) })
                clock.advance(nanoseconds: 3 * 3_600_000_000_000)
            }
            try await put([Self.base - 86_400_000, Self.base - 1, Self.base, Self.base + 5_000])
            #expect(try await store.sealWhereDue() == 2)
            try await put([Self.base + 1])
            let now = clock.now.rawValue / 1_000_000
            let first = Self.base - 86_400_000
            #expect(try await told() == [2, first, Self.base + 5_000])
            // Of two chunks of the newest day the one that begins last is not the one that ends last.
            #expect(try await store.sealWhereDue() == 1)
            // Told again for half a minute.
            #expect(try await told() == [2, first, Self.base + 5_000])
            clock.advance(nanoseconds: 30_000_000_000)
            try await put([now])
            #expect(try await told() == [3, first, now])
            await store.close()
        }
    }
}
