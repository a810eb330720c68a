import LogBlock
internal import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// Lines of days that are long over are packed once more, for half the disk. A day is packed into a table aside, which then
// takes the place of its partition in one short transaction. Readers lock `log_block` before they take their snapshot
// (`LogPageReader`), so that none sees another table than it knows.

extension CollectorStore {
    /// Blocks that are packed at once: some ten megabytes of lines.
    private static let packedPerRound = 8
    /// A day is packed anew where one in so many of its blocks is not packed: late lines came.
    private static let unpackedShare = 10
    /// Between two tries to put a packed table in its place, nanoseconds: whoever waits goes on meanwhile.
    private static let swapPauseNanoseconds: Int64 = 500_000_000

    /// Packs the oldest day that is due; how many days that are: 0 or 1. The others wait for the next rounds.
    package func packLogDays() async throws(StorageError) -> Int {
        guard let age = configuration.logPackDays else { return 0 }
        try await dropUnfinishedPacking()
        let today = day(clock.now)
        // Short blocks of the last days are merged first.
        let newest = today - max(Int32(clamping: age), Self.mergedDays + 1)
        let oldest = today - Int32(clamping: configuration.logRetentionDays)
        let due = try await read { session in
            let rows = try session.query(
                """
                SELECT day FROM petrel.log_block WHERE day BETWEEN $1 AND $2 GROUP BY day
                HAVING count(*) FILTER (WHERE packed IS NULL) * $3 >= count(*) ORDER BY day LIMIT 1
                """, [.int4(oldest), .int4(newest), .int4(Int32(Self.unpackedShare))])
            return rows.count == 1 ? try rows.int4(0, 0) : nil
        }
        // Another collector that took over has its own tables aside.
        guard let due, try await currentWriter() != nil else { return 0 }
        return try await pack(due) ? 1 : 0
    }

    /// Drops tables of rounds that did not come to their end.
    func dropUnfinishedPacking() async throws(StorageError) {
        guard try await currentWriter() != nil else { return }
        try await own { session in
            let rows = try session.query(
                """
                SELECT relname FROM pg_class WHERE relnamespace = 'petrel'::regnamespace
                    AND relkind = 'r' AND relname ~ '^log_block_d[0-9]+_packed$'
                """)
            for row in 0..<rows.count {
                try session.query("DROP TABLE IF EXISTS petrel.\(rows.text(row, 0))")
            }
        }
    }

    /// False where a reader or writer was in the way all the time.
    private func pack(_ day: Int32) async throws(StorageError) -> Bool {
        let packing = LogDayPacking(day: day)
        do throws(StorageError) {
            try await own { try packing.makeTable($0) }
            var progress = try await packBlocks(packing, after: LogDayPacking.Progress())
            for attempt in 1...max(1, configuration.logPackTriesMax) {
                if attempt > 1 {
                    do { try await clock.sleep(nanoseconds: Self.swapPauseNanoseconds) } catch {
                        throw .cancelled
                    }
                }
                let isDone = try await finish(packing, &progress)
                guard !isDone else {
                    logger.info(
                        "a day of log lines was packed",
                        metadata: ["day": "\(day)", "blocks": "\(progress.count)"])
                    return true
                }
            }
            try await dropUnfinishedPacking()
            return false
        } catch {
            // It would take the space of what comes.
            try? await dropUnfinishedPacking()
            throw error
        }
    }

    private func packBlocks(
        _ packing: LogDayPacking, after progress: LogDayPacking.Progress
    ) async throws(StorageError) -> LogDayPacking.Progress {
        var progress = progress
        while true {
            let before = progress
            progress = try await own {
                try packing.packBlocks(after: before, at: Self.packedPerRound, $0)
            }
            guard progress.count > before.count else { return progress }
            if Task.isCancelled { throw .cancelled }
        }
    }

    /// Packs what came meanwhile, and puts the table in its place; false where something is in the way.
    private func finish(
        _ packing: LogDayPacking, _ progress: inout LogDayPacking.Progress
    ) async throws(StorageError) -> Bool {
        await logs.sealing.acquire()
        defer { logs.sealing.release() }
        progress = try await packBlocks(packing, after: progress)
        let all = progress
        return try await own { try packing.swap(all, $0) }
    }
}

/// One day on its way into a packed table.
struct LogDayPacking: Sendable {
    let day: Int32

    /// Blocks that are packed, and the id of the last.
    struct Progress: Hashable, Sendable {
        var count: Int64 = 0
        var last: Int64 = 0
    }

    private var table: String { "petrel.log_block_d\(day)" }
    private var aside: String { "petrel.log_block_d\(day)_packed" }

    private static let copiedColumns = [
        "day", "id", "stream_id", "first_ns", "last_ns", "line_count", "byte_count", "has_long_run",
        "rates", "level_names", "ts", "levels", "meta", "odd", "fields", "id_filter",
        "trigram_filter",
    ]

    func makeTable(_ session: PostgresSession) throws {
        try session.query(
            "CREATE TABLE \(aside) (LIKE petrel.log_block INCLUDING ALL, CHECK (day = \(day)))")
    }

    /// Packs the next `limit` blocks.
    func packBlocks(
        after progress: Progress, at limit: Int, _ session: PostgresSession
    ) throws -> Progress {
        let rows = try session.query(
            """
            SELECT id, convert_to(lines, 'UTF8'), packed FROM \(table)
            WHERE day = \(day) AND id > $1 ORDER BY id LIMIT \(limit)
            """, [.int8(progress.last)])
        guard rows.count > 0 else { return progress }
        var ids: [Int64] = []
        var texts: [[UInt8]?] = []
        for row in 0..<rows.count {
            let id = try rows.integer(row, 0)
            ids.append(id)
            do throws(LogBlockError) {
                texts.append(
                    rows.isNull(row, 2)
                        ? try PackedText.pack(rows.bytes(row, 1)) : rows.bytes(row, 2))
            } catch { throw StorageError.corrupt("log block \(id): \(error)") }
        }
        // The other columns go from table to table.
        let columns = Self.copiedColumns.joined(separator: ", ")
        let read = Self.copiedColumns.map { "b.\($0)" }.joined(separator: ", ")
        try session.query(
            """
            INSERT INTO \(aside) (\(columns), packed)
            SELECT \(read), p.packed FROM unnest($1::int8[], $2::bytea[]) AS p (id, packed)
            JOIN \(table) b ON b.day = \(day) AND b.id = p.id
            """, [.int8Array(ids), .byteaArray(texts)])
        return Progress(count: progress.count + Int64(ids.count), last: ids[ids.count - 1])
    }

    /// Puts the packed table in the place of the day's partition, unless either has other blocks than were packed, or
    /// something is in the way.
    func swap(_ all: Progress, _ session: PostgresSession) throws -> Bool {
        do {
            return try session.transaction { session in
                try session.query("SET LOCAL lock_timeout = '800ms'")
                // The other partitions are none of its business.
                try session.query(
                    "LOCK TABLE ONLY petrel.log_block, \(table), \(aside) IN ACCESS EXCLUSIVE MODE")
                for name in [table, aside] {
                    let rows = try session.query(
                        "SELECT count(*), coalesce(max(id), 0) FROM \(name)")
                    guard try rows.integer(0, 0) == all.count, try rows.integer(0, 1) == all.last
                    else { return false }
                }
                try session.query("ALTER TABLE petrel.log_block DETACH PARTITION \(table)")
                try session.query("DROP TABLE \(table)")
                try session.query("ALTER TABLE \(aside) RENAME TO log_block_d\(day)")
                try session.query(
                    """
                    ALTER TABLE petrel.log_block ATTACH PARTITION \(table)
                    FOR VALUES FROM (\(day)) TO (\(day + 1))
                    """)
                return true
            }
        } catch let error as PostgresError where ["55P03", "40P01"].contains(error.sqlState) {
            return false
        }
    }
}
