import ChunkCodec
import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// A sample as a SQL user reads it.
private struct SQLSample: Hashable, Comparable, Sendable {
    /// A series' number, or a slot.
    var owner: Int64
    var timestamp: Int64
    var bits: UInt64

    static func < (a: Self, b: Self) -> Bool {
        (a.owner, a.timestamp, a.bits) < (b.owner, b.timestamp, b.bits)
    }
}

/// The database's own decoder of chunks beside the collector's.
extension StoreTests {
    /// The bits that SQL users see of a value: a signalling NaN, as the staleness marker is, comes quiet
    /// (docs/formats/storage.md).
    private static func shown(_ value: Double) -> UInt64 {
        value.isSignalingNaN ? value.bitPattern | 0x0008_0000_0000_0000 : value.bitPattern
    }

    private static let odd: [Double] = [
        .nan, -0.0, .infinity, -.infinity, StalenessMarker.value, 0.1 + 0.2, 1e300, 1e-300,
        Double(bitPattern: 0x7ff8_0000_0000_beef), Double(bitPattern: 0x7ff0_0000_0000_0001),
        Double(bitPattern: 0xfff8_0000_0000_0001), Double(bitPattern: 0xfff7_ffff_ffff_ffff),
        .leastNonzeroMagnitude, -.leastNormalMagnitude, .leastNormalMagnitude.nextDown,
        .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .pi,
    ]

    /// The rows of `owner, timestamp, float8send(value)` that each of these statements answers with, as the owner.
    private static func ask(
        _ statements: [PostgresStatement], on name: String, in cluster: PrivateCluster
    ) async throws -> [[SQLSample]] {
        let url = TestCluster.url(of: name, in: cluster)
        return try await PostgresPool.once(
            PostgresPoolConfiguration(url: url), logger: TestCluster.quiet
        ) { pool in
            try await pool.withSession { session in
                try statements.map { statement in
                    let rows = try session.query(statement.sql, statement.values)
                    return try (0..<rows.count).map { row in
                        SQLSample(
                            owner: try rows.integer(row, 0), timestamp: try rows.integer(row, 1),
                            bits: rows.bytes(row, 2).reduce(0) { $0 << 8 | UInt64($1) })
                    }
                }
            }
        }
    }

    // MARK: Chunks

    private static func times(_ count: Int) -> [Int64] {
        (0..<count).map { base + Int64($0) * 15_000 }
    }

    /// Columns of values, each meant for one way of writing them.
    private static func valueColumns() -> [[Double]] {
        let random = SeededRandom(3)
        var columns: [[Double]] = odd.map { value in [Double](repeating: value, count: 5) }
        columns.append([Double](repeating: 2.5, count: 200))
        // Integers: in a line, in a curve, at random of every width.
        columns.append((0..<200).map { (n: Int) in Double(7 * n + n % 3) })
        columns.append((0..<200).map { (n: Int) in Double(3 * n * n + 11) })
        columns.append((0..<129).map { (n: Int) in Double(-n * n * n) })
        for width in UInt64(1)...61 {
            // An odd number, so that the others are no multiples of what a double rounds them to.
            columns.append([1] + (0..<70).map { _ in Double(random.next() >> (64 - width)) })
        }
        columns.append([2.3e18, -2.3e18, 1, -2.3e18, 2.3e18, 2.3e18, 3, -2.3e18])
        // Decimals of every exponent, then with exceptions at their ends and within.
        var power = 1.0
        for _ in 0...15 {
            columns.append((0..<65).map { _ in Double(random.next() % 1_000_000_007) / power })
            power *= 10
        }
        for value in odd {
            var column = (0..<64).map { Double($0 * 31) / 100 }
            column[0] = value
            column[33] = value
            column[63] = value
            columns.append(column)
        }
        // Neither.
        columns.append((0..<100).map { _ in Double(bitPattern: random.next()) })
        columns.append((0..<100).map { _ in Double(random.next() >> 11) / 9_007_199_254_740_992 })
        columns.append(odd)
        columns.append([.pi, 0.1 + 0.2])
        columns.append([42])
        return columns
    }

    /// How the values of a chunk of one column are written: kind, and where that is decimal exponent, count of exceptions
    /// and, where there are none, order of the integers.
    private static func form(_ values: [Double]) -> [UInt8] {
        let bytes = Chunk.encode([ChunkColumn(timestamps: times(values.count), values: values)])
        // Of zeros behind the same times: a length of one byte, flags, kind and 64 bits.
        let zeros = Chunk.encode([
            ChunkColumn(timestamps: times(values.count), values: values.map { _ in 0 })
        ])
        var at = zeros.count - 11
        while bytes[at] >= 128 { at += 1 }
        let kind = bytes[at + 2]
        guard kind == 1 else { return [kind] }
        return Array(bytes[(at + 2)...(at + 4)]) + (bytes[at + 4] == 0 ? [bytes[at + 5]] : [])
    }

    /// Chunks of one series and of many, with all times and with some.
    private static func columnSets() -> [[ChunkColumn]] {
        var sets = valueColumns().map { values in
            [ChunkColumn(timestamps: times(values.count), values: values)]
        }
        let random = SeededRandom(4)
        let all = valueColumns().filter { $0.count >= 64 }
        for slotCount in [2, 31, 32] {
            sets.append(
                (0..<slotCount).map { slot in
                    let values = all[(slot * 5 + slotCount) % all.count]
                    var column = ChunkColumn()
                    for (index, time) in times(values.count).enumerated() {
                        // Of each series other times: all, none, the first, the last, some, every second.
                        let isThere =
                            switch slot % 6 {
                            case 0: true
                            case 1: slotCount < 31
                            case 2: index == 0
                            case 3: index == values.count - 1
                            case 4: random.next() % 3 > 0
                            default: index % 2 == 1
                            }
                        if isThere { column.insert(time, values[index], start: slot == 6 ? 7 : 0) }
                    }
                    return column
                })
        }
        // A histogram alone, and one beside values: not in SQL, and not in the way.
        let histogram = HistogramSample(
            base + 7, FloatHistogram(count: 2, sum: 3, positive: .init(first: 1, counts: [2])))
        sets.append([
            ChunkColumn(histograms: [histogram]),
            ChunkColumn(timestamps: times(3), values: [1, .nan, 3], histograms: [histogram]),
            ChunkColumn(
                timestamps: times(3), values: [0.5, -0.0, 7], startTimestamps: [1, 2, 3]),
        ])
        return sets
    }

    /// The samples of these slots as the collector decodes them.
    private static func decoded(_ bytes: [UInt8], _ slots: [Int]) throws -> [SQLSample] {
        let chunk = try Chunk(bytes)
        return try slots.flatMap { slot in
            let column = try chunk.column(slot: slot)
            return zip(column.timestamps, column.values).map {
                SQLSample(owner: Int64(slot), timestamp: $0, bits: shown($1))
            }
        }
    }

    @Test("SQL decodes chunks as the collector does, bit for bit, whatever their form")
    func chunksInSQL() async throws {
        let forms = Set(Self.valueColumns().map(Self.form))
        #expect(Set(forms.map { $0[0] }) == [0, 1, 2])
        #expect(Set(forms.filter { $0[0] == 1 }.map { $0[1] }) == Set(0...15))
        #expect(forms.contains { $0[0] == 1 && $0[2] > 0 })
        #expect(Set(forms.compactMap { $0.count == 4 ? $0[3] : nil }) == [0, 1, 2])
        try await TestCluster.with { cluster in
            let name = "sqlchunks"
            try await TestCluster.store(in: cluster, name: name).close()
            let chunks = Self.columnSets().map(Chunk.encode)
            let whole = try await Self.ask(
                chunks.map { bytes in
                    PostgresStatement(
                        """
                        SELECT c.slot, c.ts, float8send(c.value)
                        FROM petrel.chunk_samples($1) AS c ORDER BY c.slot, c.ts
                        """, [.bytea(bytes)])
                }, on: name, in: cluster)
            for (number, (bytes, found)) in zip(chunks, whole).enumerated() {
                let wanted = try Self.decoded(bytes, Array(0..<Chunk(bytes).slotCount))
                #expect(found == wanted, "chunk \(number)")
            }
            // Some slots, in the order in which they are asked for; those that there are not are passed over.
            let last = try #require(chunks.dropLast().last)
            let some = try await Self.ask(
                [
                    PostgresStatement(
                        """
                        SELECT c.slot, c.ts, float8send(c.value)
                        FROM petrel.chunk_samples($1, '{31,0,NULL,32,-1,5}') AS c
                        """, [.bytea(last)]),
                    PostgresStatement(
                        """
                        SELECT 5::int2, c.ts, float8send(c.value)
                        FROM petrel.chunk_samples_of($1, 5::int2) AS c
                        """, [.bytea(last)]),
                ], on: name, in: cluster)
            #expect(try some[0] == Self.decoded(last, [31, 0, 5]) && !some[0].isEmpty)
            #expect(try some[1] == Self.decoded(last, [5]) && !some[1].isEmpty)
        }
    }

    // MARK: Stored samples

    private struct SampleKey: Hashable {
        var series: Int64
        var timestamp: Int64
    }

    /// What was stored, in its order.
    private struct Stored {
        var values: [SampleKey: [Double]] = [:]

        mutating func add(_ id: SeriesID, _ timestamp: Int64, _ value: Double) {
            let key = SampleKey(series: Int64(id.rawValue), timestamp: timestamp)
            values[key, default: []].append(value)
        }

        /// The newest of each series and time from `from` until before `to`, as SQL users see them, in order.
        func newest(_ from: Int64 = 0, _ to: Int64 = .max) -> [SQLSample] {
            values.filter { from <= $0.key.timestamp && $0.key.timestamp < to }.map { key, values in
                SQLSample(
                    owner: key.series, timestamp: key.timestamp,
                    bits: StoreTests.shown(values[values.count - 1]))
            }.sorted()
        }
    }

    private static func samplesSQL(_ from: String, _ to: String) -> PostgresStatement {
        PostgresStatement(
            """
            SELECT s.series_id, (extract(epoch FROM s.at) * 1000)::int8, float8send(s.value)
            FROM petrel.samples('m', \(from), \(to)) AS s
            """)
    }

    /// What `petrel.samples` and `petrel.sample` show beside what was stored; where all is sealed, the view has each sample
    /// once, else also what was replaced and is in the log or in a chunk.
    private static func compare(
        _ stored: Stored, isSealed: Bool, on name: String, in cluster: PrivateCluster,
        _ stage: String
    ) async throws {
        let (from, to) = (base + 30_000, base + 7 * 3_600_000)
        let found = try await ask(
            [
                samplesSQL("to_timestamp(0)", "'infinity'"),
                samplesSQL("to_timestamp(\(from) / 1000.0)", "to_timestamp(\(to) / 1000.0)"),
                PostgresStatement(
                    "SELECT series_id, at_ms, float8send(value) FROM petrel.sample WHERE metric = 'm'"
                ),
                PostgresStatement(
                    """
                    SELECT series_id, at_ms, float8send(value) FROM petrel.sample
                    WHERE metric = 'm' AND petrel.is_stale(value)
                    """),
            ], on: name, in: cluster
        ).map { $0.sorted() }
        let newest = stored.newest()
        #expect(found[0] == newest, "\(stage)")
        #expect(found[1] == stored.newest(from, to) && found[1].count < newest.count, "\(stage)")
        if isSealed { #expect(found[2] == newest, "\(stage)") }
        let ever = Set(
            stored.values.flatMap { key, values in
                values.map {
                    SQLSample(
                        owner: key.series, timestamp: key.timestamp, bits: shown($0))
                }
            })
        let seen = Set(found[2])
        #expect(seen.isSubset(of: ever) && seen.isSuperset(of: newest), "\(stage)")
        let stale = shown(StalenessMarker.value)
        #expect(found[3] == found[2].filter { $0.bits == stale } && !found[3].isEmpty, "\(stage)")
    }

    @Test("SQL shows what was stored, bit for bit: from the log and from chunks, late and replaced")
    func samplesInSQL() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let name = "sqlsamples"
            let store = try await TestCluster.store(in: cluster, name: name, clock: clock)
            let h1 = try host("h1")
            // Two groups.
            let ids = try await store.intern(
                (0..<40).map { definition(["__name__": "m", "id": "\($0)"]) }, host: h1
            ).map { try #require($0) }
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            var stored = Stored()
            var sequence: UInt64 = 0
            func value(_ index: Int, _ turn: Int) -> Double {
                index % 3 == 0
                    ? Self.odd[(index + turn) % Self.odd.count]
                    : Double(turn * 7 + index) / (index % 3 == 1 ? 1 : 100)
            }
            for round in 0..<4 {
                let now = clock.now.rawValue / 1_000_000
                // Scrapes, plain ones and such with odd values.
                for step in 0..<8 {
                    sequence += 1
                    let at = now + Int64(step) * 15_000
                    let chosen = ids.indices.filter { step % 2 == 0 || $0 % 3 > 0 }
                    let values = chosen.map { value($0, Int(sequence)) }
                    let batch = scrape(
                        sequence, at: at, chosen.map { ids[$0] }, values,
                        receivedAt: clock.now.rawValue)
                    #expect(try await store.store([batch], session: session) == [.stored])
                    for (index, value) in zip(chosen, values) { stored.add(ids[index], at, value) }
                }
                // Pushed: late ones, and others in the place of what the log and chunks have.
                var batch = SampleBatch(runs: [], timestamps: [], values: [])
                for (index, id) in ids.enumerated() where index % 2 == round % 2 {
                    let times = [now - 5 * 3_600_000, now + 15_000, now - 3 * 3_600_000]
                    batch.runs.append(SampleBatch.Run(series: id, sampleCount: times.count))
                    for (turn, time) in times.enumerated() {
                        batch.timestamps.append(time)
                        batch.values.append(value(index, round * 31 + turn + 5))
                        stored.add(id, time, batch.values[batch.values.count - 1])
                    }
                }
                #expect(try await store.storeSamples(batch).storedSamples == batch.values.count)
                try await Self.compare(
                    stored, isSealed: false, on: name, in: cluster, "log of round \(round)")
                clock.advance(nanoseconds: 3 * 3_600_000_000_000)
                #expect(try await store.sealWhereDue() > 0)
                let waiting = store.metricFamilies().first {
                    $0.name == "petrel_store_head_samples"
                }
                #expect(waiting?.points.first?.value == 0)
                try await Self.compare(
                    stored, isSealed: true, on: name, in: cluster, "chunks of round \(round)")
            }
            #expect(stored.values.values.contains { $0.count > 1 })
            await store.close()
        }
    }
}
