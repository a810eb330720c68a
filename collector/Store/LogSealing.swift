import LogBlock
internal import Logging
import Model
import Postgres
internal import ServiceLifecycle
package import Storage
import Synchronization
import World

// Log lines come to rest in two steps, as samples do. `log_batch` holds what was committed, as it came. A seal takes all
// rows of a stream out of it and writes its lines as blocks, in one transaction: a reader's snapshot has each line once,
// whenever it is taken, and a crash leaves either the one or the other.

extension CollectorStore {
    /// How long a line waits at most before it is sealed.
    static let sealAgeNanoseconds: Int64 = 15 * 60_000_000_000
    /// Bytes of lines that wait together; beyond it streams with `crowdedBytesMin` or more are sealed at once.
    static let unsealedBytesMax = 32 << 20
    static let crowdedBytesMin = 64 << 10
    /// Bytes of lines that one transaction seals, about.
    static let sealBytesMax = 4 << 20
    /// Transactions for one stream when all is sealed; what is left then waits as any other line.
    static let sealAllRoundsMax = 100
    /// Blocks for which there is one filter of traces.
    static let traceFilterBlocks = 64
    private static let traceFilterBits = 13

    /// Reads from the database what waits to be sealed, and when streams had lines.
    func loadLogState() async throws(StorageError) {
        let spans = try await own { session in
            var spans: [Int32: ClosedRange<Int64>] = [:]
            try session.forEachRow(
                """
                SELECT stream_id, min(first_ns), max(last_ns) FROM (
                    SELECT stream_id, first_ns, last_ns FROM petrel.log_block
                    UNION ALL SELECT stream_id, first_ns, last_ns FROM petrel.log_batch
                ) AS b GROUP BY stream_id
                """, []
            ) { row in
                let (first, last) = (try row.integer(0, 1), try row.integer(0, 2))
                spans[try row.int4(0, 0)] = first...max(first, last)
            }
            return spans
        }
        logs.setSpans(spans)
        let fields = try await own { session in
            var fields: [Int32: [String]] = [:]
            try session.forEachRow(
                """
                SELECT stream_id, array_agg(DISTINCT name) FROM (
                    SELECT stream_id, fields FROM petrel.log_block
                    UNION ALL SELECT stream_id, fields FROM petrel.log_batch
                ) AS b CROSS JOIN LATERAL unnest(b.fields) AS f (name) GROUP BY stream_id
                """, []
            ) { row in fields[try row.int4(0, 0)] = try row.textArray(0, 1).compactMap { $0 } }
            return fields
        }
        logs.setFields(fields)
        try await loadWaiting()
    }

    /// Reads from the database what waits.
    func loadWaiting() async throws(StorageError) {
        let waiting = try await own { session in
            var waiting: [Int32: LogState.Waiting] = [:]
            try session.forEachRow(
                """
                SELECT stream_id, sum(line_count),
                    sum(byte_count + coalesce(octet_length(meta), 0)), min(received_ns)
                FROM petrel.log_batch GROUP BY stream_id
                """, []
            ) { row in
                waiting[try row.int4(0, 0)] = LogState.Waiting(
                    lineCount: Int(try row.integer(0, 1)), byteCount: Int(try row.integer(0, 2)),
                    oldest: try row.integer(0, 3))
            }
            return waiting
        }
        logs.setWaiting(waiting)
    }

    /// Seals every stream that has enough lines or whose oldest line has waited long; how many blocks that made.
    package func sealLogsWhereDue() async throws(StorageError) -> Int {
        try await sealLogs(logs.due(now: clock.now.rawValue, bytesMax: Self.sealBytesMax))
    }

    /// Seals all lines that wait.
    package func sealAllLogs() async throws(StorageError) -> Int {
        var count = 0
        for _ in 0..<Self.sealAllRoundsMax {
            try await loadWaiting()
            let streams = logs.waiting.keys.sorted()
            guard !streams.isEmpty else { break }
            count += try await sealLogs(streams.map { [$0] })
        }
        return count
    }

    private func sealLogs(_ groups: [[Int32]]) async throws(StorageError) -> Int {
        guard !groups.isEmpty else { return 0 }
        await logs.sealing.acquire()
        defer { logs.sealing.release() }
        var count = 0
        var failure: StorageError?
        // What is wrong with one stream keeps no other from being sealed.
        for group in groups {
            do throws(StorageError) {
                count += try await seal(group)
            } catch {
                logs.counts.withLock { $0.failures += 1 }
                failure = failure ?? error
            }
            if Task.isCancelled { throw .cancelled }
        }
        if let failure { throw failure }
        return count
    }

    private func seal(_ streams: [Int32]) async throws(StorageError) -> Int {
        let known = partitions
        let now = clock.now.rawValue
        let sealed = try await writeData { session in
            try session.transaction { session in
                try SealedLogs(session, streams, partitions: known)
            }
        }
        logs.sealed(sealed.taken, now: now)
        note(sealed.blocks)
        let oldest = sealed.taken.values.map(\.oldest).min() ?? now
        logs.counts.withLock { counts in
            counts.seals += 1
            counts.blocks += sealed.blocks.count
            counts.lines += sealed.taken.values.reduce(0) { $0 + $1.lineCount }
            counts.bytes += sealed.taken.values.reduce(0) { $0 + $1.byteCount }
            counts.lagNanoseconds = max(0, now - oldest)
        }
        return sealed.blocks.count
    }

    func note(_ blocks: [SealedLogs.Block]) {
        logs.traces.withLock { traces in
            for block in blocks where traces.count < Self.rememberedTracesMax {
                traces[block.id] = (block.traces, block.hasLongRun)
            }
        }
    }

    /// Blocks whose traces are in memory until they are in a filter; those of others are read from the database then.
    static let rememberedTracesMax = 1_024

    // MARK: Filters of traces

    /// Makes filters of traces for blocks that are in none, where a day has enough of them.
    package func makeTraceFilters() async throws(StorageError) {
        // Who takes a block's number must have committed it: a filter covers all numbers up to its last.
        await logs.sealing.acquire()
        defer { logs.sealing.release() }
        let known = logs.traces.withLock { Set($0.keys) }
        let (from, today) = (
            day(clock.now) - Int32(clamping: configuration.logRetentionDays), day(clock.now)
        )
        let waiting = try await read { session in
            let rows = try session.query(
                """
                SELECT b.day, array_agg(b.id ORDER BY b.id) FROM petrel.log_block b
                LEFT JOIN (
                    SELECT day, max(last_id) AS last_id FROM petrel.log_trace_filter GROUP BY day
                ) AS f ON f.day = b.day
                WHERE b.day >= $1 AND b.id > coalesce(f.last_id, 0)
                GROUP BY b.day ORDER BY b.day
                """, [.int4(from)])
            return try (0..<rows.count).map { row in
                (day: try rows.int4(row, 0), ids: try rows.int8Array(row, 1))
            }
        }
        // Blocks that were merged away, or whose day was dropped.
        let open = Set(waiting.lazy.flatMap(\.ids))
        logs.traces.withLock { traces in
            for id in known where !open.contains(id) { traces[id] = nil }
        }
        for (day, ids) in waiting {
            // Of a day that is over a shorter filter is better than none.
            let isOver = day < today - 1 && ids.count >= 8
            var rest = ids[...]
            while rest.count >= Self.traceFilterBlocks || isOver && !rest.isEmpty {
                let group = Array(rest.prefix(Self.traceFilterBlocks))
                rest = rest.dropFirst(group.count)
                try await makeTraceFilter(day, group)
            }
        }
    }

    private func makeTraceFilter(_ day: Int32, _ ids: [Int64]) async throws(StorageError) {
        var hashes: Set<UInt64> = []
        var hasLongRun = false
        var missing: [Int64] = []
        logs.traces.withLock { traces in
            for id in ids {
                guard let known = traces[id] else {
                    missing.append(id)
                    continue
                }
                hashes.formUnion(known.hashes)
                hasLongRun = hasLongRun || known.hasLongRun
            }
        }
        for id in missing {
            let tokens = try await read { session in
                let rows = try session.query(
                    "SELECT \(logBlockColumnsSQL) FROM petrel.log_block WHERE day = $1 AND id = $2",
                    [.int4(day), .int8(id)])
                guard rows.count == 1 else { return LogTokens() }
                return try rows.logLines(0, 0, name: "log block \(id)").tokens(
                    name: "log block \(id)")
            }
            hashes.formUnion(tokens.traces)
            hasLongRun = hasLongRun || tokens.hasLongRun
        }
        let filter = BlockFilter(hashes, bitsPerHash: Self.traceFilterBits).bytes
        let isLong = hasLongRun
        try await writeData { session in
            _ = try session.query(
                """
                INSERT INTO petrel.log_trace_filter (day, first_id, last_id, has_long_run, filter)
                VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
                """,
                [
                    .int4(day), .int8(ids[0]), .int8(ids[ids.count - 1]), .bool(isLong),
                    .bytea(filter),
                ])
        }
        logs.traces.withLock { traces in for id in ids { traces[id] = nil } }
    }
}

extension LogBlockLines {
    /// The ids of all lines and fields. Throws `corrupt`.
    func tokens(name: String) throws(StorageError) -> LogTokens {
        let entries = try entries(name: name)
        var text: [UInt8] = []
        for entry in entries {
            text += entry.line
            text.append(LogBlockColumns.terminator)
        }
        return BlockFilters.tokens(text, [], entries.lazy.map(\.metadata))
    }
}

/// One transaction's seal: the lines of streams leave `log_batch` and become blocks.
struct SealedLogs: Sendable {
    struct Block: Sendable {
        var id: Int64
        var traces: Set<UInt64>
        var hasLongRun: Bool
    }

    var blocks: [Block] = []
    var taken: [Int32: LogState.Waiting] = [:]

    /// Within a transaction.
    init(
        _ session: PostgresSession, _ streams: [Int32], partitions: KnownPartitions
    ) throws {
        var entries: [Int32: [(id: Int64, entries: [LogEntry])]] = [:]
        let rows = try session.query(
            """
            DELETE FROM petrel.log_batch WHERE stream_id = ANY ($1) AND id IN (
                SELECT id FROM (
                    SELECT id, size, sum(size) OVER (ORDER BY id) AS total
                    FROM (
                        SELECT id, byte_count + coalesce(octet_length(meta), 0) AS size
                        FROM petrel.log_batch WHERE stream_id = ANY ($1)) AS a) AS b
                WHERE total - size < \(CollectorStore.sealBytesMax))
            RETURNING \(logBatchColumnsSQL), stream_id, id, received_ns,
                byte_count + coalesce(octet_length(meta), 0)
            """, [.int4Array(streams)])
        for row in 0..<rows.count {
            let stream = try rows.int4(row, logColumnCount)
            let id = try rows.integer(row, logColumnCount + 1)
            let name = "log batch \(id)"
            let lines = try rows.logLines(row, 0, name: name)
            entries[stream, default: []].append((id, try lines.entries(name: name)))
            var waiting = taken[stream] ?? LogState.Waiting()
            waiting.lineCount += lines.count
            waiting.byteCount += Int(try rows.integer(row, logColumnCount + 3))
            waiting.oldest = min(waiting.oldest, try rows.integer(row, logColumnCount + 2))
            taken[stream] = waiting
        }
        var writer = LogBlockWriter()
        for (stream, parts) in entries.sorted(by: { $0.key < $1.key }) {
            // In the order in which they were stored.
            writer.add(parts.sorted { $0.id < $1.id }.flatMap(\.entries), of: stream)
        }
        blocks = try writer.write(session, partitions: partitions)
    }
}

/// Blocks in the making.
struct LogBlockWriter {
    private var blocks: [(row: LogRow, filters: BlockFilters)] = []

    /// Adds entries of one stream, in any order.
    mutating func add(_ entries: [LogEntry], of stream: Int32) {
        for part in LogBlockColumns.cut(LogRow.inTimeOrder(entries)) {
            let row = LogRow(stream: stream, columns: LogBlockColumns(part))
            blocks.append((row, BlockFilters(row.columns, part)))
        }
    }

    /// Writes them within a transaction.
    func write(
        _ session: PostgresSession, partitions: KnownPartitions
    ) throws -> [SealedLogs.Block] {
        guard !blocks.isEmpty else { return [] }
        let days = Set(blocks.map { Self.day($0.row) })
        for day in days.sorted() where !partitions.contains(logBlockDay: day) {
            try session.query("SELECT petrel.ensure_log_block_partition($1)", [.int4(day)])
        }
        let ids = try session.query(
            "SELECT nextval('petrel.log_row_id') FROM generate_series(1, $1)",
            [.int4(Int32(blocks.count))])
        var copy = BinaryCopyRows(columnCount: LogRow.columnCount + 5)
        var written: [SealedLogs.Block] = []
        for (index, (row, filters)) in blocks.enumerated() {
            let id = try ids.integer(index, 0)
            copy.append(
                row.values + [
                    .int4(Self.day(row)), .int8(id), .bool(filters.hasLongRun),
                    .bytea(filters.ids), .bytea(filters.trigrams),
                ])
            written.append(
                SealedLogs.Block(
                    id: id, traces: filters.traces, hasLongRun: filters.hasLongRun))
        }
        try session.copyIn(
            """
            COPY petrel.log_block (\(LogRow.columnNames), day, id, has_long_run, id_filter,
                trigram_filter) FROM STDIN (FORMAT binary)
            """, copy)
        return written
    }

    private static func day(_ row: LogRow) -> Int32 {
        LogBlockColumns.day(of: row.columns.timestamps.first ?? 0)
    }
}

/// Seals log lines that are due, every few seconds until shutdown, and tries again where it failed.
package struct LogSealService: Service {
    static let pauseNanoseconds: Int64 = 5_000_000_000
    /// Rounds after which what waits is read from the database anew: a commit's answer may have been lost.
    static let roundsPerReading = 12
    private let store: CollectorStore

    package init(store: CollectorStore) { self.store = store }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await moveLogEntries() }
                group.addTask { await seal() }
            }
        }
    }

    private func moveLogEntries() async {
        try? await store.logged("log lines of an older build could not be moved") {
            () throws(StorageError) in try await store.moveLogEntries()
        }
    }

    private func seal() async {
        var roundsToReading = 0
        // Blocks without a filter when it was last looked.
        var unfiltered = 0
        while !Task.isCancelled {
            do throws(StorageError) {
                var isReading = roundsToReading == 0
                if isReading { try await store.loadWaiting() }
                // There may be more at once than a round's worth.
                repeat {
                    let count = store.logs.traces.withLock { $0.count }
                    guard isReading || count >= unfiltered + CollectorStore.traceFilterBlocks
                    else { continue }
                    try await store.makeTraceFilters()
                    unfiltered = store.logs.traces.withLock { $0.count }
                    isReading = false
                } while try await store.sealLogsWhereDue() > 0 && !Task.isCancelled
                roundsToReading =
                    (roundsToReading == 0 ? Self.roundsPerReading : roundsToReading) - 1
            } catch {
                if Task.isCancelled { return }
                if !store.isReplaced {
                    store.logger.error(
                        "log lines could not be sealed; they stay in petrel.log_batch, where queries find them",
                        metadata: ["error": "\(error)"])
                }
            }
            do { try await store.clock.sleep(nanoseconds: Self.pauseNanoseconds) } catch { return }
        }
    }
}
