import LogBlock
internal import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// Quiet streams make short blocks, for a line waits no longer than a quarter of an hour. When a day is over, its short
// blocks become long ones. Rows of `log_entry`, as older builds wrote them, become blocks as well.

extension CollectorStore {
    /// Blocks with fewer lines and bytes are short.
    static let shortBlockLines = LogBlockColumns.linesMax / 2
    static let shortBlockBytes = LogBlockColumns.bytesMax / 2
    /// Short blocks of a stream that are merged when there are so many: a few may always be left.
    static let shortBlocksMin = 4
    /// Short blocks that one transaction merges.
    static let mergedBlocksMax = 256
    /// Bytes of their lines and fields.
    static let mergedBytesMax = 8 << 20
    /// Days before today whose short blocks are merged.
    static let mergedDays: Int32 = 3
    /// Rows of `log_entry` that one transaction moves.
    static let movedEntriesMax = 8_000

    /// Merges the short blocks of days that are over; how many there were.
    func mergeShortLogBlocks() async throws(StorageError) -> Int {
        await logs.sealing.acquire()
        defer { logs.sealing.release() }
        var count = 0
        let today = day(clock.now)
        for day in (today - Self.mergedDays)..<today {
            let groups = try await shortBlocks(day)
            for (stream, ids) in groups {
                // What is wrong with one stream keeps no other from being merged.
                try await logged("short blocks of a stream could not be merged") {
                    () throws(StorageError) in count += try await merge(day, stream, ids)
                }
                if Task.isCancelled { throw .cancelled }
            }
        }
        if count > 0 { logs.counts.withLock { $0.mergedBlocks += count } }
        return count
    }

    private func shortBlocks(
        _ day: Int32
    ) async throws(StorageError) -> [(stream: Int32, ids: [Int64])] {
        try await read { session in
            let rows = try session.query(
                """
                SELECT stream_id, array_agg(id ORDER BY first_ns, id),
                    array_agg(byte_count + coalesce(octet_length(meta), 0) ORDER BY first_ns, id)
                FROM petrel.log_block WHERE day = $1 AND line_count < $2 AND byte_count < $3
                GROUP BY stream_id HAVING count(*) >= $4 ORDER BY stream_id
                """,
                [
                    .int4(day), .int4(Int32(Self.shortBlockLines)),
                    .int4(Int32(Self.shortBlockBytes)), .int4(Int32(Self.shortBlocksMin)),
                ])
            var groups: [(stream: Int32, ids: [Int64])] = []
            for row in 0..<rows.count {
                let stream = try rows.int4(row, 0)
                var group: [Int64] = []
                var bytes = 0
                for (id, size) in zip(try rows.int8Array(row, 1), try rows.int4Array(row, 2)) {
                    if group.count == Self.mergedBlocksMax
                        || bytes + Int(size) > Self.mergedBytesMax
                    {
                        groups.append((stream, group))
                        (group, bytes) = ([], 0)
                    }
                    group.append(id)
                    bytes += Int(size)
                }
                groups.append((stream, group))
            }
            return groups.filter { $0.ids.count >= Self.shortBlocksMin }
        }
    }

    private func merge(
        _ day: Int32, _ stream: Int32, _ ids: [Int64]
    ) async throws(StorageError) -> Int {
        let known = partitions
        let (mergedCount, blocks) = try await writeData { session in
            try session.transaction { session in
                let rows = try session.query(
                    """
                    WITH gone AS (
                        DELETE FROM petrel.log_block WHERE day = $1 AND id = ANY ($2)
                        RETURNING \(logBlockColumnsSQL), id
                    ) SELECT * FROM gone ORDER BY id
                    """, [.int4(day), .int8Array(ids)])
                var entries: [LogEntry] = []
                for row in 0..<rows.count {
                    let name = "log block \(try rows.integer(row, logColumnCount))"
                    entries += try rows.logLines(row, 0, name: name).entries(name: name)
                }
                var writer = LogBlockWriter()
                writer.add(entries, of: stream)
                return (rows.count, try writer.write(session, partitions: known))
            }
        }
        note(blocks)
        return mergedCount
    }

    // MARK: Rows of older builds

    /// Moves what older builds stored a row a line into blocks, and drops those tables. Lines that are not moved yet are
    /// not seen by queries.
    package func moveLogEntries() async throws(StorageError) {
        let tables = try await own { session in
            let rows = try session.query(
                """
                SELECT c.relname FROM pg_class c
                WHERE c.relnamespace = 'petrel'::regnamespace AND c.relkind = 'r'
                    AND c.relname ~ '^log_entry_d[0-9]+$' ORDER BY c.relname DESC
                """)
            return (0..<rows.count).map { rows.text($0, 0) }
        }
        for table in tables {
            var count = 0
            while case let moved = try await moveEntries(of: table), moved > 0 {
                count += moved
                if Task.isCancelled { throw .cancelled }
            }
            try await own { session in
                try session.transaction { session in
                    try session.query("SET LOCAL lock_timeout = '2s'")
                    try session.query("DROP TABLE IF EXISTS petrel.\(table)")
                }
            }
            try await loadLogState()
            guard count > 0 else { continue }
            logger.info(
                "log lines of an older build are blocks now",
                metadata: ["table": "\(table)", "lines": "\(count)"])
        }
    }

    private func moveEntries(of table: String) async throws(StorageError) -> Int {
        let known = partitions
        let now = clock.now
        await logs.sealing.acquire()
        defer { logs.sealing.release() }
        let (count, blocks) = try await own { [self] session in
            try session.transaction { session in
                let rows = try session.query(
                    """
                    WITH gone AS (
                        DELETE FROM petrel.\(table) WHERE ctid = ANY (ARRAY(
                            SELECT ctid FROM petrel.\(table) ORDER BY stream_id, ts, id
                            LIMIT \(Self.movedEntriesMax)))
                        RETURNING stream_id, ts, id, level, metadata, metadata_key, line
                    ) SELECT * FROM gone ORDER BY stream_id, ts, id
                    """)
                var writer = LogBlockWriter()
                var entries: [LogEntry] = []
                for row in 0..<rows.count {
                    let number = try rows.int4(row, 0)
                    entries.append(
                        LogEntry(
                            timestamp: TimestampNS(try rows.integer(row, 1)),
                            line: rows.bytes(row, 6), level: rows.optionalText(row, 3),
                            metadata: try oldMetadata(rows, row)))
                    let isLast = try row + 1 == rows.count || rows.int4(row + 1, 0) != number
                    guard isLast else { continue }
                    // Too old lines would go with their day at once; those of a wrong clock are moved.
                    let stream = LogStream(labels: .empty, entries: entries)
                    for kept in taken([stream], [number], now).streams {
                        writer.add(kept.entries, of: number)
                    }
                    entries = []
                }
                return (rows.count, try writer.write(session, partitions: known))
            }
        }
        note(blocks)
        return count
    }
}

/// The metadata of a row of `…, metadata (4), metadata_key (5), …`: the key is exact where there is one.
private func oldMetadata(_ rows: PostgresRows, _ row: Int) throws -> Labels {
    if !rows.isNull(row, 5) {
        guard let labels = Labels(key: rows.bytes(row, 5)) else {
            throw StorageError.corrupt("a log entry's metadata key does not decode")
        }
        return labels
    }
    guard !rows.isNull(row, 4) else { return .empty }
    let flat = try rows.textArray(row, 4)
    guard flat.count % 2 == 0 else {
        throw StorageError.corrupt("a log entry's metadata has a name without a value")
    }
    // Written from a set: sorted and unique already.
    return Labels(
        sortedUnchecked: stride(from: 0, to: flat.count, by: 2).map {
            Label(flat[$0] ?? "", flat[$0 + 1] ?? "")
        })
}
