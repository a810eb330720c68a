import CollectorStore
import Glibc
import Model
import Postgres
import Storage
import Testing

/// Days of scrapes, seals and retention with a clock that is moved, and a `pg_dump` that lasts through some of them.
///
/// `PETREL_STORE_DAYS` says how many days (6; 30 for the long form), `PETREL_STORE_DUMP_HOURS` how many hours of them the
/// dump lasts (8; 240), `PETREL_STORE_SERIES` how many series each of the two hosts has (40).
extension StoreTests {
    private static func setting(_ name: String, _ fallback: Int) -> Int {
        getenv(name).flatMap { Int(String(cString: $0)) } ?? fallback
    }

    @Test(
        "days of sealing and retention beside a pg_dump: nothing waits, nothing swells, nothing changes",
        .enabled(if: access("/usr/bin/pg_dump", X_OK) == 0, "SKIPPED: no pg_dump"))
    func daysOfRetention() async throws {
        let hours = 24 * max(6, Self.setting("PETREL_STORE_DAYS", 6))
        let dumpHours = min(hours / 3, Self.setting("PETREL_STORE_DUMP_HOURS", 8))
        try await TestCluster.with { cluster in
            var run = try await RetentionRun(
                cluster, name: "retention", seriesCount: Self.setting("PETREL_STORE_SERIES", 40))
            try await run.hours(hours / 2)
            #expect(run.postponedCount == 0)
            let before = try await run.pages()
            let dump = try Dump(TestCluster.url(of: "retention", in: cluster))
            let (asDumped, dumpedAt) = (run.expected, run.now)
            try await run.hours(dumpHours)
            #expect(run.postponedCount > 0, "the dump held nothing that was due: it tests nothing")
            let held = try await run.pages()
            let file = "/tmp/petrel-dump-\(getpid()).sql"
            defer { unlink(file) }
            try dump.finish(into: file)
            try await run.hours(hours - hours / 2 - dumpHours)
            let after = try await run.pages()
            let report = try await run.verify()
            print(
                "\(hours / 24) days, a dump of \(dumpHours) h, \(run.storedCount) samples: store calls took "
                    + "\(run.longest) at most; before the dump \(before), at its end \(held), at last \(after)"
            )
            #expect(report.isSound, "\(report)")
            #expect(run.longest < .seconds(1))
            // What the dump held is gone, and no table is larger than what its days take.
            #expect(after.partitions <= before.partitions + 2)
            #expect(after.data <= before.data * 5 / 4)
            // Rows that are written over: their dead versions are used again once the dump is over.
            #expect(after.cursors <= held.cursors + 2)
            await run.close()
            try await Self.restores(file, asDumped, at: dumpedAt, cluster)
        }
    }

    /// What was dumped while all that went on is what was stored at that moment, to a collector that begins with it.
    private static func restores(
        _ file: String, _ expected: [String: [Int64: UInt64]], at time: Int64,
        _ cluster: PrivateCluster
    ) async throws {
        _ = try await TestCluster.makeDatabase("restored", in: cluster)
        let url = "host='\(cluster.socketDirectory)' user=postgres dbname=restored"
        #expect(system("psql -qX -v ON_ERROR_STOP=1 -d \"\(url)\" -f \(file) >/dev/null") == 0)
        let store = try await TestCluster.reopen(
            cluster, name: "restored", clock: SetClock(time))
        let after = time / 1_000_000 - 43_200_000
        let found = try await RetentionRun.everything(store, after: after)
        let wanted = expected.mapValues { $0.filter { $0.key > after } }
        #expect(found == wanted)
        #expect(try await StoreVerifier(store).verify().isSound)
        await store.close()
    }
}

/// A `pg_dump` that has begun, and whose output nobody reads: it holds its snapshot and its locks.
private struct Dump {
    struct Failed: Error {}

    private let pipe: UnsafeMutablePointer<FILE>
    private let first: [UInt8]

    init(_ url: String) throws {
        guard let pipe = popen("exec pg_dump -d \"\(url)\"", "r") else { throw Failed() }
        self.pipe = pipe
        // Its first words come after it has locked all tables.
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = fread(&bytes, 1, bytes.count, pipe)
        guard count > 0 else { throw Failed() }
        first = Array(bytes.prefix(count))
    }

    func finish(into path: String) throws {
        guard let file = fopen(path, "w") else { throw Failed() }
        defer { fclose(file) }
        var bytes = first
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while !bytes.isEmpty {
            guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw Failed() }
            let count = fread(&buffer, 1, buffer.count, pipe)
            bytes = Array(buffer.prefix(count))
        }
        guard pclose(pipe) == 0 else { throw Failed() }
    }
}

/// Two hosts that scrape every ten minutes, and what a reader should get.
private struct RetentionRun {
    struct Pages: CustomStringConvertible {
        var partitions: Int64
        /// Of chunks and the log, 8 KiB each.
        var data: Int64
        /// Of the tables whose rows are written over.
        var cursors: Int64
        var description: String { "(\(partitions) partitions, data \(data), cursors \(cursors))" }
    }

    static let retentionHours = 48
    private static let stepNanoseconds: Int64 = 600_000_000_000

    private let cluster: PrivateCluster
    private let name: String
    private let store: CollectorStore
    private let clock = SetClock(TestCluster.start)
    private var ids: [[SeriesID]] = []
    private var sessions: [IngestSession] = []
    private var sequence: UInt64 = 0
    private(set) var expected: [String: [Int64: UInt64]] = [:]
    private(set) var longest = Duration.zero
    private(set) var storedCount = 0
    private(set) var postponedCount = 0

    init(_ cluster: PrivateCluster, name: String, seriesCount: Int) async throws {
        self.cluster = cluster
        self.name = name
        store = try await TestCluster.store(in: cluster, name: name, clock: clock) {
            $0.metricRetentionHours = Self.retentionHours
            $0.logRetentionDays = 2
        }
        for number in 0..<2 {
            let sender = try host("h\(number)")
            let definitions = (0..<seriesCount).map {
                definition(["__name__": "m\($0)_\(number)", "job": "node"])
            }
            ids.append(
                try await store.intern(definitions, host: sender).map { try #require($0) })
            sessions.append(
                try await store.openSession(host: sender, kind: .metrics, epoch: 1).0)
        }
    }

    /// Hours of scrapes, each with its round of retention beside them, and a seal every second one.
    mutating func hours(_ count: Int) async throws {
        for hour in 1...count {
            let store = store
            async let maintained = store.maintain()
            for _ in 0..<6 { try await scrapes() }
            async let sealed = store.sealWhereDue()
            if hour % 2 == 0 { try await scrapes() }
            _ = try await sealed
            postponedCount += try await maintained.postponed.count
            if hour % 12 == 0 || hour == count { try await check() }
        }
    }

    private mutating func check() async throws {
        let oldest = now / 1_000_000 - Int64(Self.retentionHours) * 3_600_000
        for (metric, samples) in expected {
            expected[metric] = samples.filter { $0.key > oldest }
        }
        #expect(try await Self.everything(store, after: oldest) == expected)
    }

    /// Nanoseconds since the epoch.
    var now: Int64 { clock.now.rawValue }

    private mutating func scrapes() async throws {
        clock.advance(nanoseconds: Self.stepNanoseconds)
        sequence += 1
        let now = clock.now
        for (number, session) in sessions.enumerated() {
            let at = now.milliseconds.rawValue + Int64(number)
            let values = ids[number].indices.map { index in
                index == 3 ? StalenessMarker.value : Double(sequence) * 0.01 + Double(index)
            }
            let batch = scrape(sequence, at: at, ids[number], values, receivedAt: now.rawValue)
            let started = ContinuousClock.now
            #expect(try await store.store([batch], session: session) == [.stored])
            longest = max(longest, ContinuousClock.now - started)
            storedCount += values.count
            for (index, value) in values.enumerated() {
                expected["m\(index)_\(number)", default: [:]][at] = value.bitPattern
            }
        }
    }

    static func everything(
        _ store: CollectorStore, after: Int64
    ) async throws -> [String: [Int64: UInt64]] {
        let selection = SeriesSelection(
            matchers: [], after: TimestampMS(after), through: TimestampMS(.max / 2))
        var result: [String: [Int64: UInt64]] = [:]
        for column in try await store.select([selection], limits: ReadLimits())[0] {
            result[column.labels.metricName] = Dictionary(
                uniqueKeysWithValues: zip(column.timestamps, column.values.map(\.bitPattern)))
        }
        return result
    }

    func pages() async throws -> Pages {
        func number(_ sql: String) async throws -> Int64 {
            try await TestCluster.number(sql, on: name, in: cluster)
        }
        let ofParts =
            "FROM pg_class WHERE relnamespace = 'petrel'::regnamespace AND relkind = 'r' AND relname"
        return Pages(
            partitions: try await number("SELECT count(*) \(ofParts) ~ '_[hd][0-9]+$'"),
            data: try await number(
                "SELECT coalesce(sum(pg_total_relation_size(oid)) / 8192, 0)::int8 \(ofParts) ~ '^(chunk|ingest_batch)_[hd][0-9]+$'"
            ),
            cursors: try await number(
                "SELECT coalesce(sum(pg_relation_size(oid)) / 8192, 0)::int8 \(ofParts) IN ('agent_cursor', 'metric_seal')"
            ))
    }

    func verify() async throws -> StoreReport { try await StoreVerifier(store).verify() }

    func close() async { await store.close() }
}
