import CollectorStore
import Glibc
import Logging
import Model
import Postgres
import Storage
import Synchronization
import Testing
import World

/// A clock that stands where the test puts it; it sleeps until it is cancelled.
final class SetClock: WorldClock {
    private let time: Mutex<Int64>

    init(_ nanoseconds: Int64) { time = Mutex(nanoseconds) }

    var now: TimestampNS { TimestampNS(time.withLock { $0 }) }
    var monotonicNanoseconds: Int64 { time.withLock { $0 } }

    func advance(nanoseconds: Int64) { time.withLock { $0 += nanoseconds } }

    func sleep(nanoseconds: Int64) async throws { try await Task.sleep(for: .seconds(3600)) }
}

/// splitmix64, seeded.
final class SeededRandom: RandomSource {
    private let state: Mutex<UInt64>

    init(_ seed: UInt64) { state = Mutex(seed) }

    func next() -> UInt64 {
        state.withLock { state in
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    func bytes(count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}

/// The one private cluster of this test run; every test has a database of its own in it.
enum TestCluster {
    static let isInstalled: Bool = {
        var found = glob_t()
        defer { globfree(&found) }
        return glob("/usr/lib/postgresql/*/bin/initdb", 0, nil, &found) == 0
            || access("/usr/bin/initdb", X_OK) == 0
    }()

    static let missing: Comment =
        "SKIPPED: no PostgreSQL server programs (apt-get install postgresql)"

    /// 2026-11-22T00:30:00Z
    static let start: Int64 = 1_795_307_400_000_000_000

    /// One folder a test process, removed when the process ends.
    private static let folder: String = {
        var template = Array("/tmp/petrel-store-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else { preconditionFailure("no folder can be made in /tmp") }
        atexit { TestCluster.removeFolder() }
        return made
    }()

    private static func removeFolder() { remove(tree: folder) }

    private static func remove(tree path: String) {
        if let folder = opendir(path) {
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) { place in
                    place.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name == "." || name == ".." { continue }
                // Links are removed, not followed.
                if entry.pointee.d_type == UInt8(DT_DIR) {
                    remove(tree: path + "/" + name)
                } else {
                    unlink(path + "/" + name)
                }
            }
            closedir(folder)
        }
        rmdir(path)
    }

    /// The tests crash the server, not the machine: nothing need wait for the disk.
    private static let settings = ["fsync = off", "full_page_writes = off"]

    /// Starts the cluster, runs `body` and stops the cluster.
    static func with(_ body: (PrivateCluster) async throws -> Void) async throws {
        let folder = Self.folder
        let cluster = try await PrivateCluster.start(
            PrivateClusterConfiguration(stateDirectory: folder, settings: settings), logger: quiet)
        do {
            try await body(cluster)
        } catch {
            try await cluster.stop()
            throw error
        }
        try await cluster.stop()
    }

    static var quiet: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    /// An open store on a new database of `cluster`.
    static func store(
        in cluster: PrivateCluster, name: String, clock: SetClock = SetClock(start),
        logger: Logger = quiet, _ change: (inout StoreConfiguration) -> Void = { _ in }
    ) async throws -> CollectorStore {
        var configuration = StoreConfiguration(
            database: .url(try await makeDatabase(name, in: cluster)))
        change(&configuration)
        let store = try await CollectorStore.open(
            configuration: configuration, clock: clock, random: SeededRandom(7), logger: logger)
        try await store.takeOverMetrics()
        return store
    }

    /// Another collector on the database of an earlier one.
    static func reopen(
        _ cluster: PrivateCluster, name: String, clock: SetClock = SetClock(start),
        _ change: (inout StoreConfiguration) -> Void = { _ in }
    ) async throws -> CollectorStore {
        var configuration = StoreConfiguration(database: .url(url(of: name, in: cluster)))
        change(&configuration)
        let store = try await CollectorStore.open(
            configuration: configuration,
            clock: clock, random: SeededRandom(1), logger: quiet)
        try await store.takeOverMetrics()
        return store
    }

    /// How the owner reaches a database.
    static func url(of name: String, in cluster: PrivateCluster) -> String {
        "host='\(cluster.socketDirectory)' user=\(PrivateCluster.owner) dbname=\(name)"
    }

    /// Runs statements of text as the owner, or as another role.
    static func execute(
        _ script: String, on name: String, in cluster: PrivateCluster,
        as role: String = PrivateCluster.owner
    ) async throws {
        let url = "host='\(cluster.socketDirectory)' user=\(role) dbname=\(name)"
        try await PostgresPool.once(
            PostgresPoolConfiguration(url: url), logger: quiet
        ) { pool in try await pool.withSession { try $0.execute(script) } }
    }

    /// The integer that `sql` answers with, asked as the owner.
    static func number(
        _ sql: String, on name: String, in cluster: PrivateCluster, after settings: String = ""
    ) async throws -> Int64 {
        try await PostgresPool.once(
            PostgresPoolConfiguration(url: url(of: name, in: cluster)), logger: quiet
        ) { pool in
            try await pool.withSession { session in
                try session.execute(settings)
                return try session.query(sql).integer(0, 0)
            }
        }
    }

    /// The URL of a new, empty database.
    static func makeDatabase(_ name: String, in cluster: PrivateCluster) async throws -> String {
        try await administer(
            [
                "DROP DATABASE IF EXISTS \(name) WITH (FORCE)",
                "CREATE DATABASE \(name) OWNER \(PrivateCluster.owner)",
            ], in: cluster)
        return url(of: name, in: cluster)
    }

    /// Runs statements as the superuser.
    static func administer(_ statements: [String], in cluster: PrivateCluster) async throws {
        try await PostgresPool.once(
            PostgresPoolConfiguration(url: cluster.administratorURL), logger: quiet
        ) { pool in
            try await pool.withSession { session in
                for statement in statements { try session.execute(statement) }
            }
        }
    }
}

func host(_ name: String) throws -> HostName { try #require(HostName(name)) }

/// A metrics batch of one scrape.
func scrape(
    _ sequence: UInt64, epoch: UInt64 = 1, at timestamp: Int64, _ series: [SeriesID],
    _ values: [Double], digest: UInt8 = 0, gaps: [GapRecord] = [],
    receivedAt: Int64 = TestCluster.start
) -> IngestBatch {
    IngestBatch(
        position: BatchPosition(epoch: epoch, sequence: sequence),
        content: .metrics([
            ScrapeColumns(timestamp: TimestampMS(timestamp), series: series, values: values)
        ]), gaps: gaps, recordCount: values.count,
        digest: [UInt8](repeating: digest, count: 32), receivedAt: TimestampNS(receivedAt))
}

/// A log batch of one stream.
func lines(
    _ sequence: UInt64, epoch: UInt64 = 1, _ labels: Labels, _ entries: [LogEntry]
) -> IngestBatch {
    IngestBatch(
        position: BatchPosition(epoch: epoch, sequence: sequence),
        content: .logs([LogStream(labels: labels, entries: entries)]),
        recordCount: entries.count, digest: [UInt8](repeating: 1, count: 32),
        receivedAt: TimestampNS(TestCluster.start))
}

func definition(_ labels: Labels) -> SeriesDefinition {
    SeriesDefinition(labels: labels, metadata: MetricMetadata(type: .gauge, help: "a gauge"))
}

/// All entries of a selection, and the sizes of the pages they came in.
func allEntries(
    _ store: CollectorStore, _ selection: LogSelection
) async throws -> (entries: [(Labels, LogEntry)], pages: [Int]) {
    let found = Mutex<([(Labels, LogEntry)], [Int])>(([], []))
    try await store.forEachPage(selection) { page in
        found.withLock { found in
            for (index, entry) in zip(page.streamIndexes, page.entries) {
                found.0.append((page.streams[index], entry))
            }
            found.1.append(page.entries.count)
        }
        return true
    }
    return found.withLock { $0 }
}
