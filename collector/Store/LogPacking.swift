import LogBlock
internal import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// Lines of days that are long over are packed once more, for half the disk. A day is packed into a table aside, which then
// takes the place of its partition in one short transaction: no reader sees it half done, and one that holds the day open
// puts it off to the next round.

extension CollectorStore {
    /// Blocks that are packed at once: some ten megabytes of lines.
    private static let packedPerRound = 8
    /// A day is packed anew where one in so many of its blocks is not packed: late lines came.
    private static let unpackedShare = 10

    /// Packs the days that are due, the oldest first; how many.
    package func packLogDays() async throws(StorageError) -> Int {
        guard let age = configuration.logPackDays else { return 0 }
        try await dropUnfinished()
        let today = day(clock.now)
        // Short blocks of the last days are merged first.
        let newest = today - max(Int32(clamping: age), Self.mergedDays + 1)
        let oldest = today - Int32(clamping: configuration.logRetentionDays)
        let due = try await read { session in
            let rows = try session.query(
                """
                SELECT day FROM petrel.log_block WHERE day BETWEEN $1 AND $2 GROUP BY day
                HAVING count(*) FILTER (WHERE packed IS NULL) * $3 >= count(*) ORDER BY day
                """, [.int4(oldest), .int4(newest), .int4(Int32(Self.unpackedShare))])
            return try (0..<rows.count).map { try rows.int4($0, 0) }
        }
        var count = 0
        for day in due {
            await logs.sealing.acquire()
            defer { logs.sealing.release() }
            if try await pack(day) { count += 1 }
            if Task.isCancelled { throw .cancelled }
        }
        return count
    }

    /// Drops tables of rounds that did not come to their end.
    private func dropUnfinished() async throws(StorageError) {
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

    /// False where a reader or writer was in the way.
    private func pack(_ day: Int32) async throws(StorageError) -> Bool {
        let (table, aside) = ("petrel.log_block_d\(day)", "petrel.log_block_d\(day)_packed")
        try await own { session in
            try session.query("DROP TABLE IF EXISTS \(aside)")
            try session.query(
                "CREATE TABLE \(aside) (LIKE petrel.log_block INCLUDING ALL, CHECK (day = \(day)))")
        }
        var last: Int64 = 0
        var blockCount: Int64 = 0
        while true {
            let after = last
            let (count, next) = try await own { session in
                try Self.packBlocks(of: table, into: aside, after: after, session)
            }
            guard count > 0 else { break }
            blockCount += Int64(count)
            last = next
            if Task.isCancelled { throw .cancelled }
        }
        let (wanted, newest) = (blockCount, last)
        let isDone = try await own { session in
            try Self.swap(day, table, aside, count: wanted, last: newest, session)
        }
        let bytes = try await own { session in
            if !isDone { try session.query("DROP TABLE IF EXISTS \(aside)") }
            return isDone
                ? try session.query("SELECT pg_total_relation_size('\(table)')").integer(0, 0) : 0
        }
        if isDone {
            logger.info(
                "a day of log lines was packed",
                metadata: ["day": "\(day)", "blocks": "\(blockCount)", "bytes": "\(bytes)"])
        }
        return isDone
    }

    private static let copiedColumns =
        "day, id, stream_id, first_ns, last_ns, line_count, byte_count, has_long_run, rates, "
        + "level_names, ts, levels, meta, odd, fields, id_filter, trigram_filter"

    /// Packs the next blocks of a day; how many, and the id of the last.
    private static func packBlocks(
        of table: String, into aside: String, after: Int64, _ session: PostgresSession
    ) throws -> (count: Int, last: Int64) {
        let rows = try session.query(
            """
            SELECT id, convert_to(lines, 'UTF8'), packed FROM \(table) WHERE id > $1
            ORDER BY id LIMIT \(packedPerRound)
            """, [.int8(after)])
        guard rows.count > 0 else { return (0, after) }
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
        try session.query(
            """
            INSERT INTO \(aside) (\(copiedColumns), packed)
            SELECT \(copiedColumns.split(separator: ", ").map { "b.\($0)" }.joined(separator: ", ")),
                p.packed
            FROM unnest($1::int8[], $2::bytea[]) AS p (id, packed) JOIN \(table) b USING (id)
            """, [.int8Array(ids), .byteaArray(texts)])
        return (ids.count, ids[ids.count - 1])
    }

    /// Puts the packed table in the place of the day's partition, unless something came or is in the way.
    private static func swap(
        _ day: Int32, _ table: String, _ aside: String, count: Int64, last: Int64,
        _ session: PostgresSession
    ) throws -> Bool {
        do {
            return try session.transaction { session in
                try session.query("SET LOCAL lock_timeout = '800ms'")
                try session.query("LOCK TABLE petrel.log_block, \(table) IN ACCESS EXCLUSIVE MODE")
                let rows = try session.query("SELECT count(*), max(id) FROM \(table)")
                guard try rows.integer(0, 0) == count, try rows.integer(0, 1) == last else {
                    return false
                }
                try session.query("ALTER TABLE petrel.log_block DETACH PARTITION \(table)")
                try session.query("DROP TABLE \(table)")
                try session.query("ALTER TABLE \(aside) RENAME TO log_block_d\(day)")
                try session.query(
                    "ALTER TABLE petrel.log_block ATTACH PARTITION \(table) FOR VALUES FROM (\(day)) TO (\(day + 1))"
                )
                return true
            }
        } catch let error as PostgresError where ["55P03", "40P01"].contains(error.sqlState) {
            return false
        }
    }
}
