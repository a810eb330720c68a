import Logging
import Model
import Postgres
import Storage
import World

// How one table goes. It is detached concurrently, then dropped in the transaction that says what it held. On a full disk
// both may find no space for the few rows that they write, though dropping alone writes none: then it is dropped while
// still attached, and what it held is said afterwards, where what it freed leaves room for that.

extension CollectorStore {
    /// Whether everything of a partition of the log is in chunks; true for other tables.
    private func isSealed(_ partition: Partition) async throws(StorageError) -> Bool {
        guard partition.isOfArrival else { return true }
        let rest =
            partition.kind == .logBatch
            ? "SELECT 1 FROM petrel.\(partition.name)"
            : """
            SELECT 1 FROM petrel.\(partition.name) b, petrel.metric_seal m
            WHERE b.ts IS NOT NULL AND (b.number > m.number OR b.ts > m.through_ms)
            """
        return try await own { session in
            do throws(PostgresError) {
                return try session.query("SELECT NOT EXISTS (\(rest))").bool(0, 0)
            } catch {
                // Another collector was before us.
                guard error.sqlState == "42P01" else { throw error }
                return false
            }
        }
    }

    /// What became of a partition that is to go.
    enum DropOutcome {
        /// With so many samples or entries.
        case dropped(Int64)
        /// Something of it is not in chunks yet.
        case unsealed
        /// A reader or writer is in the way.
        case held
        /// Another collector took over: it keeps other days.
        case replaced
        case refused
        /// The database was away, or took too long.
        case unanswered
    }

    /// Drops a partition. What is wrong with one keeps no other from going: it is logged. Throws `cancelled` alone.
    func outcome(
        _ partition: Partition, _ reason: DropReason
    ) async throws(StorageError) -> DropOutcome {
        do throws(StorageError) {
            guard try await currentWriter() != nil else { return .replaced }
            guard try await isSealed(partition) else { return .unsealed }
            return try await drop(partition, reason).map { .dropped($0) } ?? .held
        } catch {
            if case .cancelled = error { throw error }
            logger.error(
                "retention could not drop a partition; it goes on with the others, and tries again in an hour",
                metadata: ["table": "\(partition.name)", "error": "\(error)"])
            guard case .unavailable = error else { return .refused }
            return .unanswered
        }
    }

    /// How many samples or entries went with it; nil where a reader or writer is in the way.
    private func drop(
        _ partition: Partition, _ reason: DropReason
    ) async throws(StorageError) -> Int64? {
        var partition = partition
        do throws(StorageError) {
            guard try await detach(partition) != nil else { return nil }
            partition.isAttached = false
        } catch {
            guard case .exhausted = error else { throw error }
        }
        do throws(StorageError) {
            return try await remove(partition, reason, isCounted: true)
        } catch {
            if case .cancelled = error { throw error }
            guard !partition.isOfArrival else { throw error }
            // What can't be read any more would stay for ever.
            logger.error(
                "the records of a day can't be counted: it goes all the same, and petrel.retention_drop has an estimate",
                metadata: ["table": "\(partition.name)", "error": "\(error)"])
            return try await remove(partition, reason, isCounted: false)
        }
    }

    /// Nil where a reader or writer is in the way.
    private func detach(_ partition: Partition) async throws(StorageError) -> Void? {
        guard partition.isAttached else { return () }
        return try await unlessHeld { session in
            // In no transaction: a concurrent detach allows none.
            try session.execute(
                "ALTER TABLE petrel.\(partition.parent) DETACH PARTITION petrel.\(partition.name) "
                    + (partition.isDetachPending ? "FINALIZE" : "CONCURRENTLY"))
        }
    }

    private func remove(
        _ partition: Partition, _ reason: DropReason, isCounted: Bool
    ) async throws(StorageError) -> Int64? {
        let now = clock.now.milliseconds.rawValue
        // What is attached others wait for: it is not counted under a lock.
        let counted = partition.isAttached ? try await count(attached: partition, isCounted) : nil
        let outcome = try await unlessHeld { session -> (count: Int64, isRecorded: Bool)? in
            try session.transaction { session in
                guard try Self.isFree(partition, session) else { return nil }
                let count =
                    try counted ?? Self.count(partition, isCounted: isCounted, session)
                let row = Self.row(of: partition, reason, count, at: now)
                let isRecorded = try row.map { try session.unlessFull([$0]) } ?? true
                try Self.forget(partition, session)
                if partition.isAttached {
                    try session.query("DROP TABLE petrel.\(partition.name)")
                } else {
                    try session.query(
                        "SELECT petrel.drop_detached_partition($1)", [.text(partition.name)])
                }
                return (count, isRecorded)
            }
        }
        guard case .some(.some(let (count, isRecorded))) = outcome else { return nil }
        if !isRecorded, let row = Self.row(of: partition, reason, count, at: now) {
            try await logged(
                "petrel.retention_drop has no row of \(partition.name), of which \(count) records went for \(reason.rawValue)"
            ) { () throws(StorageError) in
                try await own { session in _ = try session.pipeline([row]) }
            }
        }
        return count
    }

    private func count(
        attached partition: Partition, _ isCounted: Bool
    ) async throws(StorageError) -> Int64 {
        try await own { session in
            try session.transaction { session in
                try Self.count(partition, isCounted: isCounted, session)
            }
        }
    }

    /// Takes the locks for a drop, at once: of two that both looked into a table first neither could go on. False where it
    /// is to stay after all.
    private static func isFree(_ partition: Partition, _ session: PostgresSession) throws -> Bool {
        if partition.isAttached {
            // Before its partition, as whoever reads or writes.
            try session.query("LOCK TABLE ONLY petrel.\(partition.parent) IN ACCESS EXCLUSIVE MODE")
        }
        try session.query("LOCK TABLE petrel.\(partition.name) IN ACCESS EXCLUSIVE MODE")
        guard partition.kind == .logBatch else { return true }
        // Lines may have come between the look and the detach.
        let rest = try session.query("SELECT EXISTS (SELECT FROM petrel.\(partition.name))")
        guard rest.bool(0, 0) else { return true }
        if !partition.isAttached {
            try session.query(
                """
                ALTER TABLE petrel.log_batch ATTACH PARTITION petrel.\(partition.name)
                FOR VALUES FROM (\(partition.number)) TO (\(partition.number + 1))
                """)
        }
        return false
    }

    /// Runs statements that do not wait for long; nil where something held what they need.
    private func unlessHeld<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws(StorageError) -> T? {
        try await own { session in
            // The connection serves others after this.
            defer { try? session.execute("RESET lock_timeout") }
            do {
                // A detach that is finished waits with a lock for which a new partition, and so a batch, waits too.
                try session.execute("SET lock_timeout = '800ms'")
                return try body(session)
            } catch let error as PostgresError
                where ["55P03", "42P01", "55000", "40P01"].contains(error.sqlState)
            {
                // Held, or another collector is at it or was before us.
                return nil
            }
        }
    }

    /// How many records go, or where they are not counted about how many rows. Hours of the log are in chunks: 0.
    private static func count(
        _ partition: Partition, isCounted: Bool, _ session: PostgresSession
    ) throws -> Int64 {
        var counting: String
        switch partition.kind {
        case .ingest, .logBatch: return 0
        case .exemplar: counting = "count(*) FROM petrel.\(partition.name)"
        case .logBlock:
            counting = "coalesce(sum(line_count), 0)::int8 FROM petrel.\(partition.name)"
        case .chunk: counting = "coalesce(sum(sample_count), 0)::int8 FROM petrel.\(partition.name)"
        }
        if isCounted {
            // Before the connection is given up for its silence.
            try session.query("SET LOCAL statement_timeout = '\(countSecondsMax)s'")
        } else {
            counting =
                "greatest(reltuples, 0)::int8 FROM pg_class WHERE oid = 'petrel.\(partition.name)'::regclass"
        }
        return try session.query("SELECT \(counting)").integer(0, 0)
    }

    /// What is written of a drop; nil for hours of the log, which are not told of.
    private static func row(
        of partition: Partition, _ reason: DropReason, _ count: Int64, at now: Int64
    ) -> PostgresStatement? {
        guard !partition.isOfArrival else { return nil }
        var retentionClass = PostgresValue.null(.int2)
        if case .chunk(let number) = partition.kind { retentionClass = .int2(number) }
        return PostgresStatement(
            """
            INSERT INTO petrel.retention_drop (at, relation, class, day, reason, bytes, record_count)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .int8(now), .text(partition.name), retentionClass, .int4(partition.number),
                .text(reason.rawValue), .int8(Int64(partition.bytes)), .int8(count),
            ])
    }

    /// Removes what other tables hold of a partition.
    private static func forget(_ partition: Partition, _ session: PostgresSession) throws {
        switch partition.kind {
        case .ingest, .logBatch, .exemplar: break
        case .logBlock:
            try session.query(
                "DELETE FROM petrel.log_trace_filter WHERE day = $1", [.int4(partition.number)])
        case .chunk(let number):
            try session.query(
                "DELETE FROM petrel.series_day WHERE class = $1 AND day = $2",
                [.int2(number), .int4(partition.number)])
        }
    }
}

extension PostgresSession {
    /// Whether statements of a transaction found space; where they did not, it goes on without them.
    fileprivate func unlessFull(_ statements: [PostgresStatement]) throws -> Bool {
        try query("SAVEPOINT space")
        do throws(PostgresError) {
            try pipeline(statements)
            return true
        } catch {
            guard error.sqlState == "53100" else { throw error }
            try query("ROLLBACK TO SAVEPOINT space")
            return false
        }
    }
}
