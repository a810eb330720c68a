import CollectorStore
import Dispatch
import Model
import Postgres
import Storage
import Testing

/// What a crash, a refusal, and a reader that stays leave of the writing.
extension StoreTests {
    @Test("what was acknowledged before a crash of the server is there after it, once")
    func crash() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "crash")
            let names = try ["h1", "h2", "h3"].map(host)
            let (signals, signal) = AsyncStream.makeStream(of: Void.self)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, name) in names.enumerated() {
                    group.addTask {
                        try await Self.load(store, name, through: 40) { sequence in
                            if index == 0, sequence == 10 || sequence == 25 { signal.yield() }
                        }
                        if index == 0 { signal.finish() }
                    }
                }
                group.addTask { for await _ in signals { try await cluster.crashAndRestart() } }
                try await group.waitForAll()
            }
            // A call whose answer the crash swallowed was committed all the same: it is looked for before anything is sealed.
            try await store.sealWhereDue()
            for name in names {
                let columns = try await store.select(
                    [
                        SeriesSelection(
                            matchers: [LabelMatcher("host", .equal, name.text)],
                            after: TimestampMS(Self.base), through: TimestampMS(Self.base + 100))
                    ], limits: ReadLimits())[0]
                #expect(columns.map(\.values) == [(1...40).map { Double($0) }])
                let stored = try await allEntries(
                    store,
                    LogSelection(
                        matchers: [LabelMatcher("host", .equal, name.text)],
                        from: TimestampNS(0), to: TimestampNS(.max), direction: .forward))
                #expect(
                    stored.entries.map { $0.1.timestamp.rawValue - TestCluster.start }
                        == Array(1...40))
            }
            let report = try await StoreVerifier(store).verify()
            #expect(report.scrapeCount == 120 && report.logEntryCount == 120, "\(report)")
            #expect(report.isSound, "\(report)")
            await store.close()
        }
    }

    /// Sends batches as an agent would: what is not acknowledged is sent again, from the cursor on.
    private static func load(
        _ store: CollectorStore, _ host: HostName, through end: UInt64,
        _ acknowledged: @Sendable (UInt64) -> Void
    ) async throws {
        for kind in [StreamKind.metrics, .logs] {
            var confirmed: UInt64 = 0
            for _ in 0..<200 where confirmed < end {
                do {
                    let ids = try await store.intern(
                        [definition(["__name__": "n", "host": host.text])], host: host)
                    let id = try #require(ids[0])
                    let (session, last) = try await store.openSession(
                        host: host, kind: kind, epoch: 1)
                    #expect(last >= confirmed, "an acknowledged batch is lost")
                    confirmed = last
                    while confirmed < end {
                        let next = confirmed + 1
                        let batch =
                            kind == .metrics
                            ? scrape(next, at: base + Int64(next), [id], [Double(next)])
                            : lines(
                                next, ["host": host.text],
                                [
                                    LogEntry(
                                        timestamp: TimestampNS(TestCluster.start + Int64(next)),
                                        line: [0xff])
                                ])
                        let outcome = try await store.store([batch], session: session)
                        #expect(outcome == [.stored])
                        confirmed = next
                        if kind == .metrics { acknowledged(next) }
                    }
                } catch StorageError.unavailable {
                    continue
                }
            }
            #expect(confirmed == end, "\(host) gave up at \(confirmed)")
        }
    }

    @Test("a rehearsal tells what would be refused, and leaves nothing")
    func rehearsal() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "rehearsal")
            try await TestCluster.execute(
                "ALTER TABLE petrel.log_batch ADD CHECK (strpos(lines, 'poison') = 0)",
                on: "rehearsal",
                in: cluster)
            let h1 = try host("h1")
            let (session, _) = try await store.openSession(host: h1, kind: .logs, epoch: 1)
            let batch = { (text: String) in
                lines(
                    1, ["host": "h1"],
                    [
                        LogEntry(
                            timestamp: TimestampNS(TestCluster.start), line: Array("first".utf8)),
                        LogEntry(
                            timestamp: TimestampNS(TestCluster.start + 1), line: Array(text.utf8)),
                    ])
            }
            func isRefused(_ body: () async throws -> Void) async -> Bool {
                do {
                    try await body()
                    return false
                } catch StorageError.refused {
                    return true
                } catch {
                    return false
                }
            }
            let poison = batch("poison")
            let good = batch("good")
            #expect(await isRefused { _ = try await store.store([poison], session: session) })
            #expect(await isRefused { try await store.rehearse(poison, session: session) })
            try await store.rehearse(good, session: session)
            try await store.rehearse(good, session: session)
            #expect(
                try await TestCluster.number(
                    """
                    SELECT (SELECT count(*) FROM petrel.log_batch)
                        + (SELECT count(*) FROM petrel.ingest_batch)
                        + (SELECT sum(last_seq + stored_records)::int8 FROM petrel.agent_cursor)
                    """, on: "rehearsal", in: cluster) == 0)
            #expect(try await store.store([good], session: session) == [.stored])
            await store.close()
        }
    }

    @Test("a field too long for an index is stored with its line")
    func longFields() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "long_fields")
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            // Random, so that no compression makes it fit.
            let random = SeededRandom(9)
            let long = (0..<1000).map { _ in String(random.next(), radix: 16) }.joined()
            let entry = LogEntry(
                timestamp: TimestampNS(TestCluster.start), line: [65],
                metadata: ["trace_id": long, "request_id": long])
            let batch = lines(1, ["host": "h1"], [entry])
            #expect(try await store.store([batch], session: session) == [.stored])
            let found = try await allEntries(
                store,
                LogSelection(
                    matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .forward))
            #expect(found.entries.map(\.1) == [entry])
            await store.close()
        }
    }

    @Test("two that make the same partitions at the same moment both go on")
    func partitionRace() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let one = try await TestCluster.store(in: cluster, name: "race", clock: clock)
            let two = try await TestCluster.reopen(cluster, name: "race", clock: clock)
            for _ in 0..<25 {
                // Three hours and two days of the log, three days of chunks: none is there yet.
                clock.advance(nanoseconds: 5 * 86_400_000_000_000)
                async let first = one.maintain()
                async let second = two.maintain()
                _ = try await (first, second)
            }
            await one.close()
            await two.close()
        }
    }

    @Test("a reader that holds a transaction delays neither writers nor new partitions")
    func rollover() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "rollover", clock: clock) {
                $0.metricRetentionHours = 4
                $0.logRetentionDays = 4
            }
            let h1 = try host("h1")
            let id = try #require(
                try await store.intern([definition(["__name__": "a"])], host: h1)[0])
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            _ = try await store.store(
                [scrape(1, at: Self.base, [id], [1])], session: session)
            let gate = DispatchSemaphore(value: 0)
            let (started, start) = AsyncStream.makeStream(of: Void.self)
            async let answer = heldRead(
                "SELECT count(*) FROM petrel.ingest_batch",
                url: TestCluster.url(of: "rollover", in: cluster), started: start, gate: gate)
            defer { gate.signal() }
            for await _ in started {}
            let later: Int64 = 5 * 3_600_000
            clock.advance(nanoseconds: later * 1_000_000)
            let batch = scrape(
                2, at: Self.base + later, [id], [2],
                receivedAt: TestCluster.start + later * 1_000_000)
            #expect(try await store.store([batch], session: session) == [.stored])
            let first = TestCluster.start / 3_600_000_000_000
            let old = "ingest_batch_h\(first)"
            // The log's hour is kept until its samples are sealed, and until no reader holds it.
            let unsealed = try await store.maintain()
            #expect(
                !unsealed.dropped.contains(old) && unsealed.postponed.contains(old), "\(unsealed)")
            #expect(try await store.sealWhereDue() == 1)
            let held = try await store.maintain()
            #expect(!held.dropped.contains(old) && held.postponed.contains(old), "\(held)")
            gate.signal()
            #expect(try await answer == 1)
            let freed = try await store.maintain()
            #expect(freed.dropped.contains(old) && freed.postponed.isEmpty, "\(freed)")
            let left = try await store.select(
                [
                    SeriesSelection(
                        matchers: [], after: TimestampMS(Self.base - 1),
                        through: TimestampMS(Self.base + later))
                ], limits: ReadLimits())[0]
            #expect(left.map(\.values) == [[1, 2]])
            await store.close()
        }
    }
}

/// Reads twice in one transaction: at once, then `started` ends, and again when `gate` opens.
/// Returns the second answer.
func heldRead(
    _ sql: String, url: String, started: AsyncStream<Void>.Continuation, gate: DispatchSemaphore
) async throws -> Int64 {
    let pool = PostgresPool(
        PostgresPoolConfiguration(url: url, connectionsMax: 1), logger: TestCluster.quiet,
        random: { 1 })
    defer { started.finish() }
    let answer = try await pool.withSession { session in
        try session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ") { session in
            try session.query(sql)
            started.finish()
            gate.wait()
            return try session.query(sql).integer(0, 0)
        }
    }
    await pool.close()
    return answer
}
