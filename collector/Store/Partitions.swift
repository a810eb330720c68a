import Logging
import Model
import Postgres
import ServiceLifecycle
package import Storage
import Synchronization
import World

/// The partitions that exist for certain: asked of the database once each.
final class KnownPartitions: Sendable {
    private struct State {
        var hours: Set<Int32> = []
        var days: Set<Int32> = []
        var chunkDays: Set<Int32> = []
        var exemplarDays: Set<Int32> = []
    }

    /// Beyond it memory is forgotten, and the database is asked anew.
    private static let countMax = 10_000
    private let state = Mutex(State())

    func contains(hour: Int32, day: Int32) -> Bool {
        state.withLock { $0.hours.contains(hour) && $0.days.contains(day) }
    }

    func insert(hour: Int32, day: Int32) {
        state.withLock { state in
            if state.hours.count + state.days.count > Self.countMax { state = State() }
            state.hours.insert(hour)
            state.days.insert(day)
        }
    }

    func contains(chunkDay: Int32) -> Bool { state.withLock { $0.chunkDays.contains(chunkDay) } }

    func insert(chunkDay: Int32) {
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

    func removeAll() { state.withLock { $0 = State() } }
}

/// What one round of maintenance did.
package struct MaintenanceReport: Hashable, Sendable {
    /// Names of partitions that were dropped.
    package var dropped: [String]
    /// Old partitions that an open reader still holds, or that are not sealed yet; the next round tries again.
    package var postponed: [String]

    package init(dropped: [String], postponed: [String]) {
        self.dropped = dropped
        self.postponed = postponed
    }
}

extension CollectorStore {
    /// Partitions made ahead of need.
    static let hoursAhead: Int32 = 3
    static let daysAhead: Int32 = 2
    /// Hours of the log that stay although they are sealed: a repeated batch is compared with what was stored.
    static let sealedHoursKept: Int32 = 3
    /// Partitions that one round drops at most: a clock that jumped ahead must not empty the store.
    static let dropsPerRoundMax = 26

    /// Makes the partitions of a receipt's hour and day, once per process.
    func ensurePartitions(hour: Int32, day: Int32) async throws(StorageError) {
        guard !partitions.contains(hour: hour, day: day) else { return }
        try await write { session in
            try Self.make(
                [
                    PostgresStatement("SELECT petrel.ensure_ingest_partition($1)", [.int4(hour)]),
                    PostgresStatement("SELECT petrel.ensure_log_partition($1)", [.int4(day)]),
                ], session)
        }
        partitions.insert(hour: hour, day: day)
    }

    /// Makes the partition of a day of samples, once per process.
    func ensureChunkPartition(_ day: Int32) async throws(StorageError) {
        guard !partitions.contains(chunkDay: day) else { return }
        try await write { session in
            try Self.make(
                [PostgresStatement("SELECT petrel.ensure_chunk_partition($1)", [.int4(day)])],
                session)
        }
        partitions.insert(chunkDay: day)
    }

    /// Makes the partition of a day of exemplars, once per process.
    func ensureExemplarPartition(_ day: Int32) async throws(StorageError) {
        guard !partitions.contains(exemplarDay: day) else { return }
        try await write { session in
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
            try await ensurePartitions(hour: hour(now) + ahead, day: day(now))
        }
        for ahead in 1...Self.daysAhead {
            try await ensurePartitions(hour: hour(now), day: day(now) + ahead)
        }
        for ahead in 0...Self.daysAhead { try await ensureChunkPartition(day(now) + ahead) }
    }

    /// Makes partitions ahead, drops hours of the log that are sealed, and what is older than the retention, at most `dropsPerRoundMax` a round. Readers
    /// never block it and are never blocked by it: what they hold open waits for the next round.
    package func maintain() async throws(StorageError) -> MaintenanceReport {
        try await ensurePartitionsAhead()
        let now = clock.now
        let metricDays = Int32(clamping: (configuration.metricRetentionHours + 23) / 24)
        let oldest = [
            "ingest_batch": hour(now) - Self.sealedHoursKept,
            "log_entry": day(now) - Int32(clamping: configuration.logRetentionDays),
            "chunk": day(now) - metricDays, "exemplar": day(now) - metricDays,
        ]
        var report = MaintenanceReport(dropped: [], postponed: [])
        // A table has one partition at most that is about to be detached: the others wait for it.
        var heldTables: Set<String> = []
        for partition in try await stalePartitions(oldest).prefix(Self.dropsPerRoundMax) {
            guard !heldTables.contains(partition.parent), try await isSealed(partition) else {
                report.postponed.append(partition.name)
                continue
            }
            if try await drop(partition) {
                report.dropped.append(partition.name)
            } else {
                report.postponed.append(partition.name)
                heldTables.insert(partition.parent)
            }
        }
        if !report.dropped.isEmpty {
            partitions.removeAll()
            metrics.cache.forget(nil)
            metrics.history.note(earliest: .min)
        }
        return report
    }

    private struct StalePartition: Sendable {
        var parent: String
        var name: String
        /// A detach that was interrupted must be finished first.
        var isDetachPending: Bool
        var isAttached: Bool
    }

    /// Partitions before the oldest number of their table, counted from the Unix epoch.
    private func stalePartitions(
        _ oldest: [String: Int32]
    ) async throws(StorageError) -> [StalePartition] {
        try await own { session in
            let rows = try session.query(
                """
                SELECT c.relname, i.inhdetachpending, i.inhrelid IS NOT NULL
                FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
                WHERE c.relnamespace = 'petrel'::regnamespace AND c.relkind = 'r'
                    AND c.relname ~ '^(ingest_batch_h|log_entry_d|chunk_d|exemplar_d)[0-9]+$'
                ORDER BY i.inhdetachpending DESC NULLS LAST, c.relname
                """)
            var stale: [StalePartition] = []
            for row in 0..<rows.count {
                let name = rows.text(row, 0)
                let number = Int32(name.drop { !$0.isNumber }) ?? .max
                let parent = String(name.prefix { !$0.isNumber }.dropLast(2))
                guard let oldest = oldest[parent], number < oldest else { continue }
                stale.append(
                    StalePartition(
                        parent: parent, name: name,
                        isDetachPending: rows.bool(row, 1), isAttached: rows.bool(row, 2)))
            }
            return stale
        }
    }

    /// Whether everything of a partition of the log is in chunks; true for other tables.
    private func isSealed(_ partition: StalePartition) async throws(StorageError) -> Bool {
        guard partition.parent == "ingest_batch" else { return true }
        return try await own { session in
            do throws(PostgresError) {
                return try session.query(
                    """
                    SELECT NOT EXISTS (
                        SELECT 1 FROM petrel.\(partition.name) b, petrel.metric_seal m
                        WHERE b.ts IS NOT NULL AND (b.number > m.number OR b.ts > m.through_ms))
                    """
                ).bool(0, 0)
            } catch {
                // Another collector was before us.
                guard error.sqlState == "42P01" else { throw error }
                return false
            }
        }
    }

    /// False where a reader or writer is in the way.
    private func drop(_ partition: StalePartition) async throws(StorageError) -> Bool {
        try await own { session in
            do {
                // A detach that is finished waits with a lock for which a new partition, and so a batch, waits too.
                try session.execute("SET lock_timeout = '800ms'")
                if partition.isAttached {
                    // Each in a transaction of its own: a concurrent detach allows no other.
                    try session.execute(
                        "ALTER TABLE petrel.\(partition.parent) DETACH PARTITION petrel.\(partition.name) "
                            + (partition.isDetachPending ? "FINALIZE" : "CONCURRENTLY"))
                }
                try session.query(
                    "SELECT petrel.drop_detached_partition($1)", [.text(partition.name)])
                return true
            } catch let error as PostgresError
                where ["55P03", "42P01", "55000"].contains(error.sqlState)
            {
                // Held, or another collector is at it or was before us.
                return false
            }
        }
    }
}

/// Runs `maintain` at the start and every hour until shutdown.
package struct MaintenanceService: Service {
    static let pauseNanoseconds: Int64 = 3_600_000_000_000
    private let store: CollectorStore

    package init(store: CollectorStore) { self.store = store }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await round()
                do {
                    try await store.clock.sleep(nanoseconds: Self.pauseNanoseconds)
                } catch {
                    return
                }
            }
        }
    }

    private func round() async {
        do {
            let report = try await store.maintain()
            guard !report.dropped.isEmpty || !report.postponed.isEmpty else { return }
            store.logger.info(
                "retention",
                metadata: [
                    "dropped": "\(report.dropped.count)", "postponed": "\(report.postponed)",
                ])
        } catch {
            if Task.isCancelled { return }
            store.logger.error("maintenance failed", metadata: ["error": "\(error)"])
        }
    }
}
