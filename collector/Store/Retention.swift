import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// What is too old goes by whole tables, and so does the oldest where it is too much. A table is detached concurrently, which
// no reader delays and which delays no writer, and then dropped together with a row of petrel.retention_drop that says
// what it held. Whatever stops a round in between, the next one finishes what is half done first.

/// What one round of maintenance did.
package struct MaintenanceReport: Hashable, Sendable {
    /// Names of partitions that were dropped.
    package var dropped: [String]
    /// Old partitions that an open reader still holds, that are not sealed yet or that could not be dropped; the next round
    /// tries again.
    package var postponed: [String]
    /// Series of which no sample was left.
    package var removedSeriesCount = 0

    package init(dropped: [String], postponed: [String]) {
        self.dropped = dropped
        self.postponed = postponed
    }
}

/// A table of one hour or day.
struct Partition: Sendable {
    enum Kind: Hashable, Sendable {
        case ingest
        case logBatch
        case logBlock
        /// Of a retention class.
        case chunk(Int16)
        case exemplar
    }

    var name: String
    var kind: Kind
    /// Hours or days since the Unix epoch.
    var number: Int32
    /// Of what is in it, its indexes and its large values.
    var bytes: Int
    var isAttached: Bool
    /// A detach that was interrupted must be finished first.
    var isDetachPending: Bool

    /// The table that it is a partition of.
    var parent: String {
        switch kind {
        case .ingest: "ingest_batch"
        case .logBatch: "log_batch"
        case .logBlock: "log_block"
        case .chunk(let number): "chunk_c\(number)"
        case .exemplar: "exemplar"
        }
    }

    /// As metrics call it.
    var relation: String {
        switch kind {
        case .ingest: "ingest_batch"
        case .logBatch: "log_batch"
        case .logBlock: "log_block"
        case .chunk: "chunk"
        case .exemplar: "exemplar"
        }
    }

    /// Whether it is of the log of what came, which goes when all of it stands elsewhere.
    var isOfArrival: Bool { kind == .ingest || kind == .logBatch }

    /// `chunk_d20628`, `chunk_c1_d20628`, `ingest_batch_h495082`, `log_block_d20628`; nil for other names.
    static func parse(_ name: String) -> (kind: Kind, number: Int32)? {
        let parts = name.split(separator: "_")
        guard let last = parts.last, let number = Int32(last.dropFirst()) else { return nil }
        switch (parts.dropLast().joined(separator: "_"), last.first) {
        case ("ingest_batch", "h"): return (.ingest, number)
        case ("log_batch", "h"): return (.logBatch, number)
        case ("log_block", "d"): return (.logBlock, number)
        case ("chunk", "d"): return (.chunk(0), number)
        case ("exemplar", "d"): return (.exemplar, number)
        case (let parent, "d"):
            guard parent.hasPrefix("chunk_c"), let of = Int16(parent.dropFirst(7)) else {
                return nil
            }
            return (.chunk(of), number)
        default: return nil
        }
    }
}

/// Why a partition goes.
enum DropReason: String, Hashable, Sendable, CaseIterable {
    case age, size
}

/// What retention has dropped since the start, and what there is.
struct RetentionCounts: Sendable {
    struct Key: Hashable, Sendable {
        var relation: String
        var reason: DropReason
    }

    var partitions: [Key: Int] = [:]
    var records: [Key: Int64] = [:]
    /// By relation, as of the last round.
    var bytes: [String: Int] = [:]
    var postponed = 0
}

extension CollectorStore {
    /// Hours of the log that stay although they are sealed: a repeated batch is compared with what was stored.
    static let sealedHoursKept: Int32 = 3
    /// Hours of log lines as they came: those before the last two are sealed, for no line waits so long.
    static let logHoursKept: Int32 = 1
    /// Partitions that one round drops at most: a clock that jumped ahead must not empty the store.
    static let dropsPerRoundMax = 26
    /// Partitions of which the database may leave a round without an answer: then the others wait for the next one.
    static let failuresPerRoundMax = 3
    /// How long the records of a partition are counted; then it goes with an estimate.
    static let countSecondsMax = 100

    /// Makes partitions ahead, drops hours of the log that are sealed, what is older than the retention, and the oldest of
    /// what is more than it may be, at most `dropsPerRoundMax` a round; removes series that have no samples left. Readers
    /// never block it and are never blocked by it: what they hold open waits for the next round. A collector that was
    /// replaced drops and removes nothing.
    ///
    /// `isShortOfSpace`: nothing is rewritten that takes space meanwhile.
    package func maintain(
        isShortOfSpace: Bool = false
    ) async throws(StorageError) -> MaintenanceReport {
        try await ensurePartitionsAhead()
        var report = MaintenanceReport(dropped: [], postponed: [])
        guard try await currentWriter() != nil else { return report }
        let found = try await partitionsThere()
        var losesChunks = false
        // A table has one partition at most that is about to be detached: the others wait for it.
        var heldTables: Set<String> = []
        var failureCount = 0
        for (partition, reason) in try await stale(found).prefix(Self.dropsPerRoundMax) {
            guard !isReplaced, !heldTables.contains(partition.parent),
                failureCount < Self.failuresPerRoundMax
            else {
                report.postponed.append(partition.name)
                continue
            }
            switch try await outcome(partition, reason) {
            case .dropped(let count):
                report.dropped.append(partition.name)
                if case .chunk = partition.kind { losesChunks = true }
                note(partition, reason, count)
                continue
            case .unsealed, .refused, .replaced: break
            case .held: heldTables.insert(partition.parent)
            case .unanswered: failureCount += 1
            }
            report.postponed.append(partition.name)
        }
        let postponed = report.postponed.count
        retention.withLock { $0.postponed = postponed }
        if !report.dropped.isEmpty { partitions.removeAll() }
        // An hour of the log goes every hour, and what was in it is in chunks.
        if losesChunks {
            metrics.cache.forget(nil)
            metrics.history.note(earliest: .min)
        }
        guard !isReplaced else { return report }
        try await forgetDays(found.filter { !report.dropped.contains($0.name) })
        if catalogue.series.withLock({ !$0.deletions.isEmpty || $0.hasStrayTombstones }) {
            try await endDeletions()
        }
        report.removedSeriesCount = try await removeEmptySeries()
        try await tidyLogs(isShortOfSpace: isShortOfSpace)
        return report
    }

    private func note(_ partition: Partition, _ reason: DropReason, _ count: Int64) {
        guard !partition.isOfArrival else { return }
        let key = RetentionCounts.Key(relation: partition.relation, reason: reason)
        retention.withLock { counts in
            counts.partitions[key, default: 0] += 1
            counts.records[key, default: 0] += count
        }
        logger.info(
            "retention dropped a day",
            metadata: [
                "table": "\(partition.name)", "reason": "\(reason.rawValue)",
                "records": "\(count)", "bytes": "\(partition.bytes)",
            ])
    }

    private func partitionsThere() async throws(StorageError) -> [Partition] {
        let found = try await own { session in
            let rows = try session.query(
                """
                SELECT c.relname, i.inhdetachpending, i.inhrelid IS NOT NULL,
                    pg_total_relation_size(c.oid)
                FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
                WHERE c.relnamespace = 'petrel'::regnamespace AND c.relkind = 'r'
                    AND c.relname ~ '_[hd][0-9]+$'
                ORDER BY c.relname
                """)
            var found: [Partition] = []
            for row in 0..<rows.count {
                guard let (kind, number) = Partition.parse(rows.text(row, 0)) else { continue }
                found.append(
                    Partition(
                        name: rows.text(row, 0), kind: kind, number: number,
                        // A table that was dropped in between has no size.
                        bytes: rows.isNull(row, 3) ? 0 : Int(try rows.integer(row, 3)),
                        isAttached: rows.bool(row, 2),
                        isDetachPending: !rows.isNull(row, 1) && rows.bool(row, 1)))
            }
            return found
        }
        retention.withLock { counts in
            counts.bytes = found.reduce(into: [:]) { $0[$1.relation, default: 0] += $1.bytes }
        }
        return found
    }

    /// What is to go, and why; what is half done comes first, then the oldest. Notes what goes for space before anything is
    /// detached, so that no sample is taken any more that would bring it back.
    private func stale(
        _ found: [Partition]
    ) async throws(StorageError) -> [(Partition, DropReason)] {
        let now = clock.now
        let retained = catalogue.retention.withLock { $0 }
        func oldest(_ kind: Partition.Kind) -> Int32 {
            switch kind {
            case .ingest: hour(now) - Self.sealedHoursKept
            case .logBatch: hour(now) - Self.logHoursKept
            case .logBlock: day(now) - Int32(clamping: configuration.logRetentionDays)
            case .chunk(let number):
                // A class of another collector is that one's to keep.
                retained.classes[number].map { day(now) - $0.ageDays } ?? .min
            case .exemplar: day(now) - (retained.classes[0]?.ageDays ?? 0)
            }
        }
        let tooMuch = surplus(found, retained)
        for (number, day) in tooMuch.metrics {
            try await own { session in
                _ = try session.query(
                    """
                    UPDATE petrel.retention_class SET dropped_through = $2
                    WHERE id = $1 AND dropped_through < $2
                    """, [.int2(number), .int4(day)])
            }
            catalogue.retention.withLock { $0.setDroppedThrough(day, of: number) }
        }
        let floors = catalogue.retention.withLock { $0.classes.mapValues(\.droppedThrough) }
        return found.compactMap { partition -> (Partition, DropReason)? in
            if partition.number < oldest(partition.kind) { return (partition, .age) }
            let isHalfDone = !partition.isAttached || partition.isDetachPending
            let isSurplus =
                switch partition.kind {
                case .ingest, .logBatch: false
                case .logBlock: partition.number <= tooMuch.logs
                case .chunk(let number): partition.number <= floors[number] ?? -1
                // With the samples of most series.
                case .exemplar: partition.number <= floors[0] ?? -1
                }
            return isHalfDone || isSurplus ? (partition, .size) : nil
        }.sorted { a, b in
            let (first, second) = (
                a.0.isDetachPending || !a.0.isAttached, b.0.isDetachPending || !b.0.isAttached
            )
            return first == second
                ? (a.0.parent, a.0.number) < (b.0.parent, b.0.number) : first
        }
    }

    /// The days up to which classes, and logs, must go so that what stays is not too much: of metrics those that have used up
    /// most of the age of their class go first. The day of now stays. The write-ahead log does not count: where it grows,
    /// seals fail, and dropping what is sealed would not help.
    private func surplus(
        _ found: [Partition], _ retained: RetentionClasses
    ) -> (metrics: [Int16: Int32], logs: Int32) {
        let today = day(clock.now)
        var result: (metrics: [Int16: Int32], logs: Int32) = ([:], -1)
        if let bytesMax = configuration.metricBytesMax {
            var bytes = 0
            var days: [(number: Int16, day: Int32, bytes: Int, used: Double)] = []
            for partition in found {
                guard case .chunk(let number) = partition.kind else { continue }
                bytes += partition.bytes
                guard partition.number < today else { continue }
                let age = max(1, retained.classes[number]?.ageDays ?? 1)
                days.append(
                    (
                        number, partition.number, partition.bytes,
                        Double(today - partition.number) / Double(age)
                    ))
            }
            for day in days.sorted(by: { ($1.used, $0.day) < ($0.used, $1.day) })
            where bytes > bytesMax {
                result.metrics[day.number] = max(result.metrics[day.number] ?? -1, day.day)
                bytes -= day.bytes
            }
            if bytes > bytesMax { warnOfSize("retention.metrics_size", bytesMax, bytes) }
        }
        if let bytesMax = configuration.logBytesMax {
            let logs = found.filter { $0.kind == .logBlock }.sorted { $0.number < $1.number }
            var bytes = found.reduce(0) {
                $0 + ($1.kind == .logBlock || $1.kind == .logBatch ? $1.bytes : 0)
            }
            for partition in logs where bytes > bytesMax && partition.number < today {
                result.logs = partition.number
                bytes -= partition.bytes
            }
            if bytes > bytesMax { warnOfSize("retention.logs_size", bytesMax, bytes) }
        }
        return result
    }

    private func warnOfSize(_ key: String, _ maximum: Int, _ bytes: Int) {
        logger.warning(
            "a single day takes more than the retention allows: it stays until it is over; allow more, or send less",
            metadata: ["key": "\(key)", "bytes_max": "\(maximum)", "bytes": "\(bytes)"])
    }

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
    private enum DropOutcome {
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
    private func outcome(
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
        guard try await detach(partition) != nil else { return nil }
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
        let outcome = try await unlessHeld { session -> Int64? in
            try session.transaction { session -> Int64? in
                // At once: of two that both looked into it first neither could go on.
                try session.query("LOCK TABLE petrel.\(partition.name) IN ACCESS EXCLUSIVE MODE")
                if partition.kind == .logBatch {
                    // Lines may have come between the look and the detach.
                    let rest = try session.query(
                        "SELECT EXISTS (SELECT FROM petrel.\(partition.name))")
                    if rest.bool(0, 0) {
                        try session.query(
                            """
                            ALTER TABLE petrel.log_batch ATTACH PARTITION petrel.\(partition.name)
                            FOR VALUES FROM (\(partition.number)) TO (\(partition.number + 1))
                            """)
                        return nil
                    }
                }
                let count = try Self.record(
                    partition, reason, isCounted: isCounted, at: now, session)
                try session.query(
                    "SELECT petrel.drop_detached_partition($1)", [.text(partition.name)])
                return count
            }
        }
        return outcome ?? nil
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

    /// Says what goes, in the transaction in which it goes: how many records, or where they are not counted about how many
    /// rows. Hours of the log are in chunks and are not told of.
    private static func record(
        _ partition: Partition, _ reason: DropReason, isCounted: Bool, at now: Int64,
        _ session: PostgresSession
    ) throws -> Int64 {
        var counting: String
        switch partition.kind {
        case .ingest, .logBatch: return 0
        case .exemplar: counting = "count(*) FROM petrel.\(partition.name)"
        case .logBlock:
            counting = "coalesce(sum(line_count), 0) FROM petrel.\(partition.name)"
        case .chunk: counting = "coalesce(sum(sample_count), 0) FROM petrel.\(partition.name)"
        }
        if isCounted {
            // Before the connection is given up for its silence.
            try session.query("SET LOCAL statement_timeout = '\(countSecondsMax)s'")
        } else {
            counting =
                "greatest(reltuples, 0) FROM pg_class WHERE oid = 'petrel.\(partition.name)'::regclass"
        }
        var retentionClass = PostgresValue.null(.int2)
        if case .chunk(let number) = partition.kind { retentionClass = .int2(number) }
        let count = try session.query(
            """
            INSERT INTO petrel.retention_drop (at, relation, class, day, reason, bytes, record_count)
            SELECT $1, $2, $3, $4, $5, $6, \(counting) RETURNING record_count
            """,
            [
                .int8(now), .text(partition.name), retentionClass, .int4(partition.number),
                .text(reason.rawValue), .int8(Int64(partition.bytes)),
            ]
        ).integer(0, 0)
        if partition.kind == .logBlock {
            try session.query(
                "DELETE FROM petrel.log_trace_filter WHERE day = $1", [.int4(partition.number)])
        }
        if case .chunk(let number) = partition.kind {
            try session.query(
                "DELETE FROM petrel.series_day WHERE class = $1 AND day = $2",
                [.int2(number), .int4(partition.number)])
        }
        return count
    }

    /// Merges short blocks, packs days that are long over, and forgets what is of days that are too old, and old pushes.
    /// What fails is logged: the rest goes on, and the next round tries again. Throws `cancelled` alone.
    private func tidyLogs(isShortOfSpace: Bool) async throws(StorageError) {
        let oldest = day(clock.now) - Int32(clamping: configuration.logRetentionDays)
        logs.forget(before: Int64(max(0, oldest)) * 86_400_000_000_000)
        try await logged("pushes could not be forgotten") { () throws(StorageError) in
            try await forgetPushes()
            try await dropUnfinishedPacking()
        }
        guard !isShortOfSpace else { return }
        try await logged("short blocks of log lines could not be merged") {
            () throws(StorageError) in _ = try await mergeShortLogBlocks()
        }
        try await logged("a day of log lines could not be packed") { () throws(StorageError) in
            _ = try await packLogDays()
        }
    }

    /// Runs `body` and logs what it throws, but for `cancelled`.
    func logged(
        _ problem: Logger.Message, _ body: () async throws(StorageError) -> Void
    ) async throws(StorageError) {
        do throws(StorageError) { try await body() } catch {
            if case .cancelled = error { throw error }
            logger.error(problem, metadata: ["error": "\(error)"])
        }
    }

    /// Forgets which series had samples on days of which no partition is left.
    private func forgetDays(_ left: [Partition]) async throws(StorageError) {
        var there: Set<SeriesDays.Key> = []
        for partition in left {
            guard case .chunk(let number) = partition.kind else { continue }
            there.insert(SeriesDays.Key(retentionClass: number, day: partition.number))
        }
        let retained = catalogue.retention.withLock { $0 }
        let now = clock.now.milliseconds
        let gone = catalogue.series.withLock { state in
            state.days.sets.keys.filter { key in
                key.day < retained.firstDay(of: key.retentionClass, now: now)
                    && !there.contains(key)
            }.sorted()
        }
        guard !gone.isEmpty else { return }
        try await own { session in
            _ = try session.query(
                """
                DELETE FROM petrel.series_day d USING unnest($1::int4[], $2::int4[]) AS g (class, day)
                WHERE d.class = g.class AND d.day = g.day
                """,
                [.int4Array(gone.map { Int32($0.retentionClass) }), .int4Array(gone.map(\.day))])
        }
        catalogue.series.withLock { state in
            for key in gone {
                state.days.drop(key)
                state.unmark(day: key.day)
            }
        }
    }
}
