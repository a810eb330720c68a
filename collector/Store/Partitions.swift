import Model
import Postgres
import Storage
import Synchronization
import World

/// The partitions that exist for certain: asked of the database once each.
final class KnownPartitions: Sendable {
    private struct State {
        var hours: Set<Int32> = []
        var chunkDays: Set<SeriesDays.Key> = []
        var exemplarDays: Set<Int32> = []
        var logBlockDays: Set<Int32> = []
    }

    /// Beyond it memory is forgotten, and the database is asked anew.
    private static let countMax = 10_000
    private let state = Mutex(State())

    func contains(hour: Int32) -> Bool { state.withLock { $0.hours.contains(hour) } }

    func insert(hour: Int32) {
        state.withLock { state in
            if state.hours.count > Self.countMax { state = State() }
            state.hours.insert(hour)
        }
    }

    func contains(chunkDay: SeriesDays.Key) -> Bool {
        state.withLock { $0.chunkDays.contains(chunkDay) }
    }

    func insert(chunkDay: SeriesDays.Key) {
        state.withLock { state in
            if state.chunkDays.count > Self.countMax { state.chunkDays = [] }
            state.chunkDays.insert(chunkDay)
        }
    }

    func contains(exemplarDay: Int32) -> Bool {
        state.withLock { $0.exemplarDays.contains(exemplarDay) }
    }

    func insert(exemplarDay: Int32) {
        state.withLock { state in
            if state.exemplarDays.count > Self.countMax { state.exemplarDays = [] }
            state.exemplarDays.insert(exemplarDay)
        }
    }

    func contains(logBlockDay: Int32) -> Bool {
        state.withLock { $0.logBlockDays.contains(logBlockDay) }
    }

    func insert(logBlockDay: Int32) {
        state.withLock { state in
            if state.logBlockDays.count > Self.countMax { state.logBlockDays = [] }
            state.logBlockDays.insert(logBlockDay)
        }
    }

    func removeAll() { state.withLock { $0 = State() } }
}

extension CollectorStore {
    /// Partitions made ahead of need.
    static let hoursAhead: Int32 = 3
    static let daysAhead: Int32 = 2

    /// Makes the partitions of a receipt's hour, once per process.
    func ensurePartitions(hour: Int32, isAhead: Bool = false) async throws(StorageError) {
        guard !partitions.contains(hour: hour) else { return }
        try await writeTable(isAhead: isAhead) { session in
            try Self.make(
                [
                    PostgresStatement("SELECT petrel.ensure_ingest_partition($1)", [.int4(hour)]),
                    PostgresStatement(
                        "SELECT petrel.ensure_log_batch_partition($1)", [.int4(hour)]),
                ], session)
        }
        partitions.insert(hour: hour)
    }

    /// Makes the partition of a day of samples, once per process.
    func ensureChunkPartition(_ key: SeriesDays.Key, isAhead: Bool = false)
        async throws(StorageError)
    {
        guard !partitions.contains(chunkDay: key) else { return }
        try await writeTable(isAhead: isAhead) { session in
            try Self.make(
                [
                    PostgresStatement(
                        "SELECT petrel.ensure_chunk_partition($1, $2)",
                        [.int4(key.day), .int2(key.retentionClass)])
                ], session)
        }
        partitions.insert(chunkDay: key)
    }

    /// Makes the partition of a day of log blocks, once per process.
    func ensureLogBlockPartition(_ day: Int32, isAhead: Bool = false) async throws(StorageError) {
        guard !partitions.contains(logBlockDay: day) else { return }
        try await writeTable(isAhead: isAhead) { session in
            try Self.make(
                [PostgresStatement("SELECT petrel.ensure_log_block_partition($1)", [.int4(day)])],
                session)
        }
        partitions.insert(logBlockDay: day)
    }

    /// Makes the partition of a day of exemplars, once per process.
    func ensureExemplarPartition(_ day: Int32) async throws(StorageError) {
        guard !partitions.contains(exemplarDay: day) else { return }
        try await writeTable(isAhead: false) { session in
            try Self.make(
                [PostgresStatement("SELECT petrel.ensure_exemplar_partition($1)", [.int4(day)])],
                session)
        }
        partitions.insert(exemplarDay: day)
    }

    /// Of two that make one partition at the same moment the later waits for the earlier, and still finds none: within
    /// its transaction the server's own cache says so. Its failure to make another is the sign to look again.
    private static func make(
        _ statements: [PostgresStatement], _ session: PostgresSession
    ) throws(PostgresError) {
        do throws(PostgresError) {
            _ = try session.pipeline(statements)
        } catch {
            guard ["42P07", "23505"].contains(error.sqlState) else { throw error }
            _ = try session.pipeline(statements)
        }
    }

    func ensurePartitionsAhead() async throws(StorageError) {
        let now = clock.now
        for ahead in 0...Self.hoursAhead {
            try await ensurePartitions(hour: hour(now) + ahead, isAhead: true)
        }
        for ahead in 0...Self.daysAhead {
            try await ensureLogBlockPartition(day(now) + ahead, isAhead: true)
        }
        for number in catalogue.retention.withLock({ $0.classes.keys.sorted() }) {
            for ahead in 0...Self.daysAhead {
                try await ensureChunkPartition(
                    SeriesDays.Key(retentionClass: number, day: day(now) + ahead), isAhead: true)
            }
        }
    }
}
