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
    /// `isShortOfSpace`: nothing is rewritten that takes space meanwhile. Where a disk is full, what it is to drop goes all
    /// the same, and what takes space comes after.
    package func maintain(
        isShortOfSpace: Bool = false
    ) async throws(StorageError) -> MaintenanceReport {
        let hasPartitions = try await unlessFull(
            "tables of the next hours and days could not be made"
        ) { () throws(StorageError) in try await ensurePartitionsAhead() }
        var report = MaintenanceReport(dropped: [], postponed: [])
        guard try await currentWriter() != nil else { return report }
        let found = try await partitionsThere()
        let retained = catalogue.retention.withLock { $0 }
        let tooMuch = surplus(found, retained)
        for (number, day) in tooMuch.metrics {
            catalogue.retention.withLock { $0.setDroppedThrough(day, of: number) }
        }
        let hasFloors = try await unlessFull("days that go for space could not be noted") {
            () throws(StorageError) in try await noteFloors()
        }
        var losesChunks = false
        // A table has one partition at most that is about to be detached: the others wait for it.
        var heldTables: Set<String> = []
        var failureCount = 0
        for (partition, reason) in stale(found, retained, logs: tooMuch.logs)
            .prefix(Self.dropsPerRoundMax)
        {
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
        if !report.dropped.isEmpty {
            partitions.removeAll()
            space.open()
        }
        try await logged(
            "no space yet for tables of the next hours, or for notes of days that went"
        ) {
            () throws(StorageError) in
            if !hasFloors { try await noteFloors() }
            if !hasPartitions { try await ensurePartitionsAhead() }
        }
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
        try await tidyLogs(isShortOfSpace: isShortOfSpace || !hasPartitions || !hasFloors)
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

    /// Notes in the database what is held in memory: up to which day each class has gone for space. Before anything is
    /// detached, so that no sample is taken any more, after a restart either, that would bring a day back; on a full disk
    /// after it.
    private func noteFloors() async throws(StorageError) {
        let floors = catalogue.retention.withLock { $0.classes.mapValues(\.droppedThrough) }
        for (number, day) in floors where day >= 0 {
            try await own { session in
                _ = try session.query(
                    """
                    UPDATE petrel.retention_class SET dropped_through = $2
                    WHERE id = $1 AND dropped_through < $2
                    """, [.int2(number), .int4(day)])
            }
        }
    }

    /// What is to go, and why; what is half done comes first, then the oldest.
    private func stale(
        _ found: [Partition], _ retained: RetentionClasses, logs: Int32
    ) -> [(Partition, DropReason)] {
        let now = clock.now
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
        let floors = catalogue.retention.withLock { $0.classes.mapValues(\.droppedThrough) }
        return found.compactMap { partition -> (Partition, DropReason)? in
            if partition.number < oldest(partition.kind) { return (partition, .age) }
            let isHalfDone = !partition.isAttached || partition.isDetachPending
            let isSurplus =
                switch partition.kind {
                case .ingest, .logBatch: false
                case .logBlock: partition.number <= logs
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
