import CollectorStore
import Dispatch
import Model
import Postgres
import Storage
import Synchronization
import Testing

/// Log lines between batches, blocks, filters and retention.
extension StoreTests {
    /// What a store must answer, kept in memory.
    private struct Expected {
        /// In the order in which they were stored.
        var all: [(labels: Labels, entry: LogEntry)] = []

        func answer(_ selection: LogSelection) -> [LogEntry] {
            let kept = all.enumerated().filter { _, item in
                selection.matchers.allSatisfy { item.labels[$0.name] == $0.value }
                    && item.entry.timestamp >= selection.from && item.entry.timestamp < selection.to
                    && selection.needles.allSatisfy { contains(item.entry.line, $0) }
                    && selection.metadata.allSatisfy { item.entry.metadata[$0.name] == $0.value }
            }
            return kept.sorted {
                ($0.element.entry.timestamp, $0.offset) < ($1.element.entry.timestamp, $1.offset)
            }.map(\.element.entry)
        }

        private func contains(_ line: [UInt8], _ needle: [UInt8]) -> Bool {
            needle.isEmpty
                || line.indices.contains { line[$0...].starts(with: needle) }
        }
    }

    private static let day: Int64 = 86_400_000_000_000

    private func randomEntry(_ random: SeededRandom, at time: Int64) -> LogEntry {
        func pick<T>(_ values: [T]) -> T { values[Int(random.next() % UInt64(values.count))] }
        func hex(_ length: Int) -> String {
            (0..<length).map { _ in pick(["0", "1", "7", "a", "c", "f"]) }.joined()
        }
        let trace = hex(32)
        var line = Array(
            pick([
                "GET /users/\(random.next() % 1000) trace=\(trace)", "{\"trace_id\":\"\(trace)\"}",
                "plain text \(hex(6))", "Ünïcode \(hex(40))", "",
                "job \(hex(8))-e29b-41d4-a716-\(hex(12)) done",
            ]).utf8)
        if random.next() % 15 == 0 { line += [0, 0xff, 0x1e] }
        var labels: [Label] = []
        if random.next() % 2 == 0 { labels.append(Label("trace_id", trace)) }
        if random.next() % 3 == 0 { labels.append(Label("request_id", hex(5))) }
        if random.next() % 3 == 0 { labels.append(Label("pid", pick(["1", "22", "333"]))) }
        return LogEntry(
            timestamp: TimestampNS(time), line: line, level: pick([nil, "info", "error"]),
            metadata: Labels(labels))
    }

    @Test(
        "what is asked of batches and blocks in any mixture is what was stored, whatever filters skip"
    )
    func logBlocks() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "log_blocks", clock: clock)
            let random = SeededRandom(41)
            var expected = Expected()
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            for sequence in 1...40 {
                let labels: Labels = ["host": "h1", "unit": ["a", "b", "c"][sequence % 3]]
                // Two days, late lines among them, many at one time.
                let entries = (0..<200).map { _ -> LogEntry in
                    let back = Int64(random.next() % 40) * Self.day / 20 + Int64(random.next() % 3)
                    return randomEntry(random, at: TestCluster.start - back)
                }
                #expect(
                    try await store.store(
                        [lines(UInt64(sequence), labels, entries)], session: session) == [.stored])
                // A block has its lines in the order of time; at one time in that of arrival.
                expected.all += entries.map { (labels, $0) }
                if sequence % 11 == 0 { _ = try await store.sealAllLogs() }
            }
            try await check(store, expected, random)
            let all = LogSelection(
                matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .forward)
            let before = try await allEntries(store, all).entries.map(\.1)
            _ = try await store.sealAllLogs()
            #expect(try await allEntries(store, all).entries.map(\.1) == before)
            _ = try await store.maintain()
            #expect(try await allEntries(store, all).entries.map(\.1) == before)
            let report = try await StoreVerifier(store).verify()
            #expect(report.isSound && report.logEntryCount == 8_000, "\(report)")
            #expect(report.logBlockCount > 5)
            try await store.makeTraceFilters()
            try await check(store, expected, random)
            await store.close()
            store = try await TestCluster.reopen(cluster, name: "log_blocks", clock: clock)
            try await check(store, expected, random)
            await store.close()
        }
    }

    private func check(
        _ store: CollectorStore, _ expected: Expected, _ random: SeededRandom
    ) async throws {
        for round in 0..<60 {
            let item = expected.all[Int(random.next() % UInt64(expected.all.count))]
            var selection = LogSelection(
                matchers: round % 3 == 0 ? [LabelMatcher("unit", .equal, "b")] : [],
                from: TimestampNS(TestCluster.start - Int64(random.next() % 48) * Self.day / 24),
                to: TimestampNS(TestCluster.start + 1 - Int64(random.next() % 3) * Self.day / 3),
                direction: round % 2 == 0 ? .forward : .backward)
            if round % 4 > 0 {
                let line = item.entry.line
                let start = line.isEmpty ? 0 : Int(random.next() % UInt64(line.count))
                let end = start + Int(random.next() % UInt64(line.count - start + 1))
                selection.needles = [Array(line[start..<end])]
            }
            if round % 5 == 0, let field = item.entry.metadata.first {
                selection.metadata = [field]
            }
            let found = try await allEntries(store, selection).entries.map(\.1)
            // Metadata is to skip by: what is left over is for the query to tell apart.
            let kept = found.filter { entry in
                selection.metadata.allSatisfy { entry.metadata[$0.name] == $0.value }
            }
            let wanted = expected.answer(selection)
            let inOrder = selection.direction == .forward ? kept : kept.reversed()
            #expect(inOrder.map(\.timestamp) == wanted.map(\.timestamp), "round \(round)")
            #expect(Set(inOrder) == Set(wanted), "round \(round)")
        }
        for _ in 0..<20 {
            let item = expected.all[Int(random.next() % UInt64(expected.all.count))]
            let id = item.entry.metadata["trace_id"]
            guard !id.isEmpty else { continue }
            let trace = try await store.logTrace(
                id, from: TimestampNS(0), to: TimestampNS(.max), entriesMax: 100)
            #expect(trace.page.entries.contains(item.entry) && !trace.isCut)
            #expect(trace.page.entries.allSatisfy { $0.metadata["trace_id"] == id })
        }
        let from = TestCluster.start - 2 * Self.day
        let rates = try await store.logRates(
            [LabelMatcher("unit", .equal, "a")], from: TimestampNS(from),
            to: TimestampNS(TestCluster.start + 60_000_000_000), grid: .minutes)
        let wanted = expected.all.filter {
            $0.labels["unit"] == "a" && $0.entry.timestamp.rawValue > from
        }
        #expect(rates.rates.reduce(0) { $0 + $1.lineCount } == wanted.count)
        #expect(
            rates.rates.reduce(0) { $0 + $1.byteCount }
                == wanted.reduce(0) { $0 + $1.entry.line.count })
        #expect(
            rates.rates.filter { $0.level == "error" }.reduce(0) { $0 + $1.lineCount }
                == wanted.count { $0.entry.level == "error" })
        try await expectCounts(of: store, expected, random, from: from)
    }

    /// Any other grid than that of minutes counts times, without bytes: grids of fewer and of more times than rows have
    /// lines, from ends of the grid and from between.
    private func expectCounts(
        of store: CollectorStore, _ expected: Expected, _ random: SeededRandom, from first: Int64
    ) async throws {
        struct Count: Hashable {
            let end: Int64
            let labels: Labels
            let level: String?
        }
        let widths: [Int64] = [1_000_000, 7_000_000_000, 900_000_000_000, 3 * Self.day]
        for round in 0..<24 {
            let width = widths[round % widths.count] + Int64(random.next() % 1_000_000)
            let grid = LogRateGrid(
                widthNanoseconds: width, phaseNanoseconds: Int64(random.next() % UInt64(width)))
            var from = round % 5 == 0 ? Int64(0) : first + Int64(random.next() % UInt64(Self.day))
            var to = TestCluster.start + Int64(random.next() % UInt64(Self.day)) - Self.day / 2
            if round % 3 > 0 { (from, to) = (grid.end(of: from), grid.end(of: to)) }
            let counted = try await store.logRates(
                [LabelMatcher("unit", .equal, "a")], from: TimestampNS(from), to: TimestampNS(to),
                grid: grid)
            var wanted: [Count: Int] = [:]
            for item in expected.all where item.labels["unit"] == "a" {
                let end = grid.end(of: item.entry.timestamp.rawValue)
                guard end > from, end <= to else { continue }
                wanted[
                    Count(end: end, labels: item.labels, level: item.entry.level), default: 0] += 1
            }
            var found: [Count: Int] = [:]
            for rate in counted.rates {
                let labels = counted.streams[rate.streamIndex]
                found[
                    Count(end: rate.through.rawValue, labels: labels, level: rate.level),
                    default: 0] += rate.lineCount
            }
            #expect(found == wanted, "round \(round)")
            #expect(
                zip(counted.rates, counted.rates.dropFirst())
                    .allSatisfy { $0.through <= $1.through })
        }
    }

    @Test("SQL shows the same lines, fields and traces")
    func logSQL() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "log_sql")
            let random = SeededRandom(6)
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            let entries = (0..<600).map { randomEntry(random, at: TestCluster.start - Int64($0)) }
            for part in 0..<3 {
                _ = try await store.store(
                    [
                        lines(
                            UInt64(part + 1), ["host": "h1"],
                            Array(entries[(part * 200)..<(part * 200 + 200)]))
                    ],
                    session: session)
                if part == 1 { _ = try await store.sealAllLogs() }
            }
            let url = TestCluster.url(of: "log_sql", in: cluster)
            let traced = try #require(entries.first { !$0.metadata["trace_id"].isEmpty })
            let trace = traced.metadata["trace_id"]
            try await PostgresPool.once(
                PostgresPoolConfiguration(url: url), logger: TestCluster.quiet
            ) { pool in
                try await pool.withSession { session in
                    try session.execute("SET ROLE petrel_query")
                    let rows = try session.query(
                        """
                        SELECT at_ns, line_bytes, level, metadata->>'trace_id', metadata->>'pid',
                            metadata->>'request_id', line FROM petrel.log ORDER BY at_ns DESC
                        """)
                    #expect(rows.count == 600)
                    for row in 0..<rows.count {
                        let entry = entries[row]
                        #expect(try rows.integer(row, 0) == entry.timestamp.rawValue)
                        #expect(rows.bytes(row, 1) == entry.line)
                        #expect(rows.optionalText(row, 2) == entry.level)
                        for (column, name) in [(3, "trace_id"), (4, "pid"), (5, "request_id")] {
                            #expect((rows.optionalText(row, column) ?? "") == entry.metadata[name])
                        }
                    }
                    let found = try session.query(
                        "SELECT at_ns FROM petrel.log_trace($1)", [.text(trace)])
                    #expect(found.count == 1)
                    #expect(try found.integer(0, 0) == traced.timestamp.rawValue)
                    let grep = try session.query(
                        """
                        SELECT count(*) FROM petrel.log_grep('plain', '2000-01-01', '2100-01-01',
                            '{"host": "h1"}')
                        """)
                    let plain = entries.count {
                        String(decoding: $0.line, as: UTF8.self).contains("plain")
                    }
                    #expect(try grep.integer(0, 0) == Int64(plain))
                    let hidden = try session.query(
                        """
                        SELECT count(*) FROM petrel.log_block b
                        CROSS JOIN LATERAL petrel.log_lines(b.ts, b.levels, b.level_names, b.lines, b.meta) l
                        CROSS JOIN LATERAL jsonb_each_text(l.metadata) f
                        WHERE NOT petrel.log_filter_has(
                            b.id_filter, petrel.log_hash(convert_to(f.value, 'UTF8')))
                        """)
                    #expect(try hidden.integer(0, 0) == 0)
                }
            }
            await store.close()
        }
    }

    @Test(
        "late lines are taken, older ones than the retention are a gap, those of a wrong clock keep their time beside them"
    )
    func logTimes() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "log_times") {
                $0.logRetentionDays = 5
            }
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            let times =
                [-6, -4, 0].map { TestCluster.start + $0 * Self.day } + [
                    TestCluster.start + Self.day
                ]
            let entries = times.map { LogEntry(timestamp: TimestampNS($0), line: Array("x".utf8)) }
            let outcome = try await store.store(
                [lines(1, ["host": "h1"], entries)], session: session)
            #expect(outcome == [.stored])
            // Maintenance must not forget lines whose day has no table yet.
            _ = try await store.maintain()
            _ = try await store.sealAllLogs()
            let found = try await allEntries(
                store,
                LogSelection(
                    matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .forward)
            ).entries.map(\.1)
            #expect(
                found.map(\.timestamp.rawValue) == [times[1], times[2], TestCluster.start])
            #expect(found.last?.metadata["petrel_original_timestamp"] == "2026-11-23T00:30:00Z")
            #expect(
                try await TestCluster.number(
                    """
                    SELECT g.record_count * 1000 + c.stored_records * 10 + c.gap_records
                    FROM petrel.gap g, petrel.agent_cursor c WHERE g.reason = 'clock'
                    """, on: "log_times", in: cluster) == 1031)
            await store.close()
        }
    }

    @Test("a packed day answers as it did, in half the space; a reader that holds it puts it off")
    func packedDays() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "log_packed", clock: clock) {
                $0.logPackTriesMax = 1
            }
            let random = SeededRandom(12)
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            let entries = (0..<9_000).map {
                randomEntry(random, at: TestCluster.start + Int64($0 / 3))
            }
            for part in 0..<9 {
                _ = try await store.store(
                    [
                        lines(
                            UInt64(part + 1), ["host": "h1"],
                            Array(entries[(part * 1_000)..<(part * 1_000 + 1_000)]))
                    ], session: session)
            }
            _ = try await store.sealAllLogs()
            let all = LogSelection(
                matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .forward)
            let before = try await allEntries(store, all).entries.map(\.1)
            #expect(before.count == 9_000)
            let size = "SELECT pg_total_relation_size('petrel.log_block_d20779')"
            let unpacked = try await TestCluster.number(size, on: "log_packed", in: cluster)
            #expect(try await store.packLogDays() == 0)
            clock.advance(nanoseconds: 8 * Self.day)
            let gate = DispatchSemaphore(value: 0)
            let (started, start) = AsyncStream.makeStream(of: Void.self)
            async let answer = heldRead(
                "SELECT count(*) FROM petrel.log_block",
                url: TestCluster.url(of: "log_packed", in: cluster), started: start, gate: gate)
            defer { gate.signal() }
            for await _ in started {}
            #expect(try await store.packLogDays() == 0)
            gate.signal()
            #expect(try await answer > 1)
            #expect(try await store.packLogDays() == 1)
            #expect(try await store.packLogDays() == 0)
            #expect(try await allEntries(store, all).entries.map(\.1) == before)
            let packed = try await TestCluster.number(size, on: "log_packed", in: cluster)
            // The lines are short and random, and filters stay as they are.
            #expect(packed < unpacked * 9 / 10, "\(packed) of \(unpacked)")
            let report = try await StoreVerifier(store).verify()
            #expect(report.isSound && report.logEntryCount == 9_000, "\(report)")
            // Times and levels stay readable, the lines are not shown.
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.log WHERE line IS NULL AND at_ns > 0",
                    on: "log_packed", in: cluster, after: "SET ROLE petrel_query") == 9_000)
            await store.close()
        }
    }

    @Test("a push that comes twice is stored once; a genuine repeat stays")
    func logPushes() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "log_push", clock: clock)
            let entry = LogEntry(timestamp: TimestampNS(TestCluster.start), line: Array("x".utf8))
            let push = LogPush(
                streams: [LogStream(labels: ["app": "a"], entries: [entry, entry])],
                digest: [UInt8](repeating: 7, count: 32))
            #expect(try await store.storeLogs(push) == .stored(entryCount: 2, tooOldCount: 0))
            #expect(try await store.storeLogs(push) == .repeated)
            async let one = store.storeLogs(
                LogPush(streams: push.streams, digest: [UInt8](repeating: 8, count: 32)))
            async let two = store.storeLogs(
                LogPush(streams: push.streams, digest: [UInt8](repeating: 8, count: 32)))
            let both = try await [one, two]
            #expect(
                both.contains(.repeated) && both.contains(.stored(entryCount: 2, tooOldCount: 0)))
            let all = LogSelection(
                matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .forward)
            #expect(try await allEntries(store, all).entries.count == 4)
            clock.advance(nanoseconds: 2 * Self.day)
            _ = try await store.maintain()
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.log_push", on: "log_push", in: cluster) == 0)
            await store.close()
        }
    }

    @Test("short blocks of a day that is over become long ones; days go by age with their filters")
    func logMaintenance() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "log_maint", clock: clock) {
                $0.logRetentionDays = 3
            }
            let random = SeededRandom(2)
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            for part in 0..<70 {
                let entries = (0..<20).map {
                    randomEntry(random, at: TestCluster.start + Int64(part * 20 + $0))
                }
                _ = try await store.store(
                    [lines(UInt64(part + 1), ["host": "h1"], entries)], session: session)
                _ = try await store.sealAllLogs()
            }
            try await store.makeTraceFilters()
            let count = { (table: String) in
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.\(table)", on: "log_maint", in: cluster)
            }
            let shortCount = try await count("log_block")
            #expect(shortCount == 70)
            #expect(try await count("log_trace_filter") == 1)
            clock.advance(nanoseconds: Self.day)
            _ = try await store.maintain()
            #expect(try await count("log_block") == 1)
            let all = LogSelection(
                matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .forward)
            let entries = try await allEntries(store, all).entries.map(\.1)
            #expect(entries.count == 1_400)
            #expect(try await StoreVerifier(store).verify().isSound)
            for entry in entries where !entry.metadata["trace_id"].isEmpty {
                let trace = try await store.logTrace(
                    entry.metadata["trace_id"], from: TimestampNS(0), to: TimestampNS(.max),
                    entriesMax: 9)
                #expect(trace.page.entries.contains(entry))
            }
            clock.advance(nanoseconds: 3 * Self.day)
            let report = try await store.maintain()
            #expect(report.dropped.contains("log_block_d20779"), "\(report)")
            #expect(try await count("log_block") == 0)
            #expect(try await count("log_trace_filter") == 0)
            #expect(try await allEntries(store, all).entries.isEmpty)
            #expect(
                try await store.logStreams(
                    LabelScope(start: TimestampMS(0), end: TimestampMS(1 << 42))
                ).isEmpty)
            await store.close()
        }
    }

    @Test("rows of older builds become blocks")
    func oldLogEntries() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "log_old")
            let push = LogPush(
                streams: [
                    LogStream(
                        labels: ["app": "a"],
                        entries: [
                            LogEntry(
                                timestamp: TimestampNS(TestCluster.start), line: Array("new".utf8))
                        ])
                ], digest: [1])
            _ = try await store.storeLogs(push)
            try await TestCluster.execute(
                """
                SELECT petrel.ensure_log_partition(20779);
                INSERT INTO petrel.log_entry (recv_day, stream_id, ts, epoch, seq, level, metadata, line)
                SELECT 20779, s.id, \(TestCluster.start) - n, 1, 1, 'info', ARRAY['pid', n::text],
                    convert_to('old ' || n, 'UTF8')
                FROM generate_series(1, 20000) n, petrel.log_stream s
                """, on: "log_old", in: cluster)
            try await store.moveLogEntries()
            let all = LogSelection(
                matchers: [], from: TimestampNS(0), to: TimestampNS(.max), direction: .backward)
            let found = try await allEntries(store, all).entries.map(\.1)
            #expect(found.count == 20_001)
            #expect(found.dropFirst().enumerated().allSatisfy { $1.metadata["pid"] == "\($0 + 1)" })
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM pg_class WHERE relname LIKE 'log_entry_d%' AND relkind = 'r'",
                    on: "log_old", in: cluster) == 0)
            await store.close()
        }
    }
}
