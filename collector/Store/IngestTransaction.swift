import Model
import Postgres
import Storage

/// One `store` call against the database; holds all it needs, so that it can run on a connection's queue.
struct IngestTransaction: Sendable {
    var host: Int32
    var session: IngestSession
    var batches: [IngestBatch]
    /// By batch and scrape, what of it is stored: the rest is too old and would be dropped at once, or too far ahead.
    var taken: [[ScrapeColumns?]]
    /// By batch, what of its exemplars is neither too old nor too far ahead.
    var exemplars: [[PushedExemplar]]
    /// Exemplars of a series in a minute of their times.
    var exemplarsPerSeriesMinuteMax: Int
    /// New exemplars of all series together in a minute.
    var exemplarsPerMinuteMax: Int
    /// How many of the latter there is room for; the newest count.
    var exemplarRoom = Int.max
    /// By batch, what of its log lines is stored.
    var logs: [TakenLogs]

    /// What becomes of the transaction.
    enum Purpose: Sendable {
        /// `number`: see `BatchNumbers`; `writer`: who may write metrics, nil where there are none.
        case committing(number: Int64, writer: Int64?)
        /// Everything is rolled back at the end.
        case rehearsing
    }

    /// What the cursor said, and what it will say.
    private struct Cursor {
        var last: UInt64
        var digest: [UInt8]
        var storedRecords: Int64 = 0
        var gapRecords: Int64 = 0
    }

    /// What became of the batches.
    struct Result: Sendable {
        /// By batch.
        var outcomes: [IngestOutcome]
        var exemplars = ExemplarRows.Outcome()
        /// Exemplars of the batches that are stored now which are too old or too far ahead.
        var untimelyExemplarCount = 0
        /// Those past what is looked for in the database.
        var excessExemplarCount = 0
    }

    /// Decides, writes and commits.
    func run(_ database: PostgresSession, _ purpose: Purpose) throws -> Result {
        let key: [PostgresValue] = [
            .int4(host), .int2(Int16(session.kind.rawValue)),
            .int8(Int64(bitPattern: session.epoch)),
        ]
        let rows = try database.pipeline([
            PostgresStatement("BEGIN"),
            PostgresStatement(
                """
                SELECT last_seq, session, digest FROM petrel.agent_cursor
                WHERE host_id = $1 AND kind = $2 AND epoch = $3 FOR UPDATE
                """, key),
        ])[1]
        guard rows.count == 1, try rows.integer(0, 1) == session.token else {
            try database.query("ROLLBACK")
            return Result(outcomes: batches.map { _ in .fenced })
        }
        var cursor = Cursor(
            last: UInt64(bitPattern: try rows.integer(0, 0)), digest: rows.bytes(0, 2))
        let outcomes = try decide(&cursor, database)
        let fresh = zip(batches, outcomes).enumerated().filter { $0.element.1 == .stored }
        guard !fresh.isEmpty else {
            try database.query("ROLLBACK")
            return Result(outcomes: outcomes)
        }
        try copyLogs(outcomes, database)
        var statements: [PostgresStatement] = []
        for (index, (batch, _)) in fresh {
            let (rows, gaps) = statementsFor(batch, taken[index], logs[index].tooOld, purpose)
            statements += rows
            cursor.storedRecords += Int64(batch.recordCount)
            for gap in gaps {
                let count = Int64(clamping: gap.count)
                cursor.gapRecords += count
                if gap.reason == .clock, !batch.gaps.contains(gap) { cursor.storedRecords -= count }
            }
        }
        statements.append(
            PostgresStatement(
                """
                UPDATE petrel.agent_cursor SET last_seq = $4, digest = $5, updated_at = $6,
                    stored_records = stored_records + $7, gap_records = gap_records + $8
                WHERE host_id = $1 AND kind = $2 AND epoch = $3
                """,
                key + [
                    .int8(Int64(bitPattern: cursor.last)), .bytea(cursor.digest),
                    .int8(fresh.map { $0.element.0.receivedAt.milliseconds.rawValue }.max() ?? 0),
                    .int8(cursor.storedRecords), .int8(cursor.gapRecords),
                ]))
        return try finish(statements, outcomes, database, purpose)
    }

    /// Adds the exemplars of the batches that are stored, runs the statements, and ends the transaction.
    private func finish(
        _ work: [PostgresStatement], _ outcomes: [IngestOutcome], _ database: PostgresSession,
        _ purpose: Purpose
    ) throws -> Result {
        var statements = work
        if case .committing(_, let writer?) = purpose {
            statements.append(PostgresStatement(requireWriterSQL, [.int8(writer)]))
        }
        var result = Result(outcomes: outcomes)
        var timely: [PushedExemplar] = []
        for (index, outcome) in outcomes.enumerated() where outcome == .stored {
            timely += exemplars[index]
            result.untimelyExemplarCount +=
                batches[index].exemplars.count - exemplars[index].count
        }
        let candidates = ExemplarRows.candidates(timely, minuteMax: exemplarsPerMinuteMax)
        result.excessExemplarCount = timely.count - candidates.count
        let rows = ExemplarRows(candidates, room: exemplarRoom)
        // Last, for others wait from here on.
        if !rows.isEmpty { statements.append(rows.beginning) }
        let first = statements.count
        statements += rows.statements(perSeriesMinute: exemplarsPerSeriesMinuteMax)
        switch purpose {
        case .committing: statements.append(PostgresStatement("COMMIT"))
        case .rehearsing: statements.append(PostgresStatement("ROLLBACK"))
        }
        let answers = try database.pipeline(statements)
        result.exemplars = try ExemplarRows.outcome(answers[first..<statements.count - 1])
        return result
    }

    /// The outcome of each batch, and in `cursor` the last that will be stored.
    private func decide(
        _ cursor: inout Cursor, _ database: PostgresSession
    ) throws -> [IngestOutcome] {
        var outcomes: [IngestOutcome] = []
        var hole: UInt64?
        for batch in batches {
            let sequence = batch.position.sequence
            if let hole {
                outcomes.append(.outOfOrder(expected: hole))
            } else if sequence <= cursor.last {
                let known =
                    sequence == cursor.last
                    ? cursor.digest : try storedDigest(batch, database)
                outcomes.append(.duplicate(sameDigest: known == nil || known == batch.digest))
            } else if sequence == cursor.last + 1 {
                cursor.last = sequence
                cursor.digest = batch.digest
                outcomes.append(.stored)
            } else {
                hole = cursor.last + 1
                outcomes.append(.outOfOrder(expected: cursor.last + 1))
            }
        }
        return outcomes
    }

    /// The digest under which an older sequence was stored; nil where the last two hours do not hold it.
    private func storedDigest(
        _ batch: IngestBatch, _ database: PostgresSession
    ) throws -> [UInt8]? {
        let now = hour(batch.receivedAt)
        let rows = try database.query(
            """
            SELECT digest FROM petrel.ingest_batch
            WHERE recv_hour = ANY ($1) AND host_id = $2 AND kind = $3 AND epoch = $4 AND seq = $5
            LIMIT 1
            """,
            [
                .int4Array([now - 1, now]), .int4(host), .int2(Int16(session.kind.rawValue)),
                .int8(Int64(bitPattern: session.epoch)),
                .int8(Int64(bitPattern: batch.position.sequence)),
            ])
        return rows.count == 1 ? rows.bytes(0, 0) : nil
    }

    private func copyLogs(_ outcomes: [IngestOutcome], _ database: PostgresSession) throws {
        let stored = zip(zip(batches, logs), outcomes).filter { $0.1 == .stored }.map(\.0)
        try Self.copy(stored.map { (rows: $1.rows, receivedAt: $0.receivedAt) }, database)
    }

    /// Copies rows into `log_batch`.
    static func copy(
        _ received: [(rows: [LogRow], receivedAt: TimestampNS)], _ database: PostgresSession
    ) throws {
        var copy = BinaryCopyRows(columnCount: LogRow.columnCount + 2)
        for (rows, receivedAt) in received {
            for row in rows {
                copy.append(
                    row.values + [.int4(hour(receivedAt)), .int8(receivedAt.rawValue)])
            }
        }
        guard copy.count > 0 else { return }
        try database.copyIn(
            """
            COPY petrel.log_batch (\(LogRow.columnNames), recv_hour, received_ns)
            FROM STDIN (FORMAT binary)
            """, copy)
    }

    /// The rows of one batch in `ingest_batch` and `gap`, and its gaps, those of times too far ahead included.
    private func statementsFor(
        _ batch: IngestBatch, _ taken: [ScrapeColumns?], _ oldLines: GapRecord?,
        _ purpose: Purpose
    ) -> ([PostgresStatement], [GapRecord]) {
        var statements: [PostgresStatement] = []
        var gaps = batch.gaps
        if let oldLines { gaps.append(oldLines) }
        var part: Int32 = 0
        if case .metrics(let scrapes) = batch.content {
            for (scrape, kept) in zip(scrapes, taken) {
                let lostCount = scrape.series.count - (kept?.series.count ?? 0)
                if lostCount > 0 {
                    let time = scrape.timestamp.nanoseconds
                    gaps.append(
                        GapRecord(
                            reason: .clock, count: UInt64(lostCount), from: time,
                            to: time,
                            detail: scrape.timestamp > batch.receivedAt.milliseconds
                                ? "samples more than an hour ahead of the collector's clock"
                                : "samples older than the retention by the collector's clock"))
                }
                guard let kept else { continue }
                statements.append(row(batch, part: part, kept, purpose))
                part += 1
            }
        }
        if part == 0 { statements.append(row(batch, part: 0, nil, purpose)) }
        for gap in gaps { statements.append(row(batch, gap)) }
        return (statements, gaps)
    }

    /// The scrapes that `outcomes` says are committed.
    func scrapes(stored outcomes: [IngestOutcome]) -> [ScrapeColumns] {
        zip(taken, outcomes).flatMap { scrapes, outcome in
            outcome == .stored ? scrapes.compactMap { $0 } : []
        }
    }

    /// The numbers of all series in it, in the order of the batches; with repeats.
    var seriesNumbers: [Int32] {
        batches.flatMap { batch -> [Int32] in
            guard case .metrics(let scrapes) = batch.content else { return [] }
            return scrapes.flatMap(\.series).map(\.rawValue)
                + batch.exemplars.map(\.series.rawValue)
        }
    }

    /// Exemplars that would be stored.
    var exemplarCount: Int { exemplars.reduce(0) { $0 + $1.count } }

    /// The days of their times.
    var exemplarDays: Set<Int32> {
        Set(exemplars.joined().map { dayOf($0.exemplar.timestamp.rawValue) })
    }

    private func row(
        _ batch: IngestBatch, part: Int32, _ scrape: ScrapeColumns?, _ purpose: Purpose
    ) -> PostgresStatement {
        var number: Int64 = 0
        if case .committing(let given, _) = purpose { number = given }
        return PostgresStatement(
            insertBatchSQL,
            [
                .int4(hour(batch.receivedAt)), .int4(host), .int2(Int16(session.kind.rawValue)),
                .int8(Int64(bitPattern: session.epoch)),
                .int8(Int64(bitPattern: batch.position.sequence)), .int4(part),
                scrape.map { .int8($0.timestamp.rawValue) } ?? .null(.int8),
                .int8(batch.receivedAt.rawValue),
                .int4(Int32(clamping: scrape?.series.count ?? batch.recordCount)),
                .bytea(batch.digest), .int8(number),
            ] + (scrape?.rowColumns ?? ScrapeColumns.noRowColumns))
    }

    private func row(_ batch: IngestBatch, _ gap: GapRecord) -> PostgresStatement {
        PostgresStatement(
            """
            INSERT INTO petrel.gap (host_id, kind, epoch, seq, reason, record_count, from_ns, to_ns,
                source, detail, received_ns)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            """,
            [
                .int4(host), .int2(Int16(session.kind.rawValue)),
                .int8(Int64(bitPattern: session.epoch)),
                .int8(Int64(bitPattern: batch.position.sequence)), .text(gap.reason.rawValue),
                .int8(Int64(clamping: gap.count)), .optional(gap.from?.rawValue),
                .optional(gap.to?.rawValue), .text(withoutNUL(gap.source)),
                .text(withoutNUL(gap.detail)), .int8(batch.receivedAt.rawValue),
            ])
    }
}
