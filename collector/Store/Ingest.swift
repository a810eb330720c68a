package import Model
import Postgres
package import Storage
import Synchronization
import World

// The transaction of one `store` call, round trips by line:
//   BEGIN; SELECT cursor FOR UPDATE            fences other sessions, tells what is stored already
//   COPY rows of log lines (logs only)
//   INSERT scrapes, gaps; UPDATE cursor; INSERT exemplars (behind a lock of their own); COMMIT
// The commit answers only when the log is on disk (synchronous_commit = on). A commit whose answer was lost shows at
// the next try as a cursor that has moved: the batch is a duplicate then.

extension CollectorStore: IngestWriter {
    /// How far a scrape's time may be ahead of its receipt, milliseconds; readers skip partitions by it. Later
    /// scrapes become gap records (reason `clock`), and so do those older than the retention.
    static let aheadMillisecondsMax: Int64 = 3_600_000

    package func storageGeneration() async throws(StorageError) -> String {
        try await write { session in
            // A dump restored elsewhere has another system identifier, a recovered or promoted one another timeline.
            let rows = try session.query(
                """
                SELECT i.id::text || '-' || to_hex(s.system_identifier) || '-' || c.timeline_id
                FROM petrel.incarnation i, pg_control_system() s, pg_control_checkpoint() c
                """)
            return rows.text(0, 0)
        }
    }

    package func openSession(
        host: HostName, kind: StreamKind, epoch: UInt64
    ) async throws(StorageError) -> (session: IngestSession, lastSequence: UInt64) {
        let number = try await hostNumber(host)
        let kindNumber = Int16(kind.rawValue)
        let epochNumber = Int64(bitPattern: epoch)
        let (token, last) = try await write { session in
            try session.transaction { session in
                let rows = try session.query(
                    """
                    INSERT INTO petrel.agent_cursor AS c (host_id, kind, epoch, session)
                    VALUES ($1, $2, $3, nextval('petrel.ingest_session'))
                    ON CONFLICT (host_id, kind, epoch) DO UPDATE SET session = excluded.session
                    RETURNING session, last_seq
                    """, [.int4(number), .int2(kindNumber), .int8(epochNumber)])
                let token = try rows.integer(0, 0)
                // Sessions of other epochs are of the same stream: fenced too.
                try session.query(
                    """
                    UPDATE petrel.agent_cursor SET session = $4
                    WHERE host_id = $1 AND kind = $2 AND epoch <> $3 AND session < $4
                    """,
                    [.int4(number), .int2(kindNumber), .int8(epochNumber), .int8(token)])
                return (token, try rows.integer(0, 1))
            }
        }
        return (
            IngestSession(host: host, kind: kind, epoch: epoch, token: token),
            UInt64(bitPattern: last)
        )
    }

    package func store(
        _ batches: [IngestBatch], session: IngestSession
    ) async throws(StorageError) -> [IngestOutcome] {
        var prepared = try await prepare(batches, session)
        guard session.kind == .metrics else {
            let work = prepared
            // Beforehand: where the commit's answer is lost, the lines are found all the same.
            for taken in work.logs { logs.noteSpans(taken.rows) }
            let outcomes = try await writeData {
                try work.run($0, .committing(number: 0, writer: nil)).outcomes
            }
            for (index, outcome) in outcomes.enumerated() where outcome == .stored {
                take(work.logs[index], receivedAt: batches[index].receivedAt)
            }
            return outcomes
        }
        let minute = clock.now.milliseconds.rawValue / 60_000
        let granted = exemplarRate.take(
            prepared.exemplarCount, minute: minute, max: configuration.exemplarsPerMinuteMax)
        var stored = ExemplarRows.Outcome()
        defer { exemplarRate.giveBack(granted - stored.storedCount, minute: minute) }
        prepared.exemplarRoom = granted
        let work = prepared
        let result = try await numbered(
            of: work.seriesNumbers, { takeIn(work.scrapes(stored: $0.outcomes)) },
            { number, writer throws(StorageError) in
                try await writeData {
                    try work.run($0, .committing(number: number, writer: writer))
                }
            })
        stored = result.exemplars
        note(
            stored, untimely: result.untimelyExemplarCount,
            excess: result.excessExemplarCount + stored.freshCount - stored.storedCount)
        let outcomes = result.outcomes
        let isRepeat = outcomes.contains { outcome in
            if case .duplicate = outcome { true } else { false }
        }
        // What is acknowledged is visible: the first try was committed, and its answer may have been lost.
        if isRepeat { try await settleDoubts() }
        return outcomes
    }

    package func rehearse(
        _ batch: IngestBatch, session: IngestSession
    ) async throws(StorageError) {
        let work = try await prepare([batch], session)
        _ = try await writeData { try work.run($0, .rehearsing) }
    }

    private func prepare(
        _ batches: [IngestBatch], _ session: IngestSession
    ) async throws(StorageError) -> IngestTransaction {
        guard batches.allSatisfy({ $0.position.epoch == session.epoch }) else {
            throw .refused("a batch of another epoch than its session's")
        }
        var labels: [Labels] = []
        for case .logs(let streams) in batches.map(\.content) { labels += streams.map(\.labels) }
        let numbers = try await internStreams(labels)
        var rest = numbers[...]
        var logs: [TakenLogs] = []
        for batch in batches {
            guard case .logs(let streams) = batch.content else {
                logs.append(TakenLogs())
                continue
            }
            logs.append(taken(streams, rest.prefix(streams.count), batch.receivedAt))
            rest = rest.dropFirst(streams.count)
        }
        for batch in batches {
            try await ensurePartitions(hour: hour(batch.receivedAt))
        }
        let work = IngestTransaction(
            host: try await hostNumber(session.host), session: session, batches: batches,
            taken: batches.map(taken), exemplars: batches.map(timelyExemplars),
            exemplarsPerSeriesMinuteMax: configuration.exemplarsPerSeriesMinuteMax,
            exemplarsPerMinuteMax: configuration.exemplarsPerMinuteMax, logs: logs)
        for day in work.exemplarDays { try await ensureExemplarPartition(day) }
        return work
    }

    /// The lines of streams with these numbers that are not too old.
    func taken(
        _ streams: [LogStream], _ numbers: ArraySlice<Int32>, _ receivedAt: TimestampNS
    ) -> TakenLogs {
        let oldestDay = day(receivedAt) - Int32(clamping: configuration.logRetentionDays)
        return TakenLogs(
            streams, numbers: numbers,
            oldest: Int64(max(0, oldestDay)) * 86_400_000_000_000,
            newest: receivedAt.rawValue + Self.aheadMillisecondsMax * 1_000_000,
            receivedAt: receivedAt)
    }

    /// These lines were committed.
    func take(_ taken: TakenLogs, receivedAt: TimestampNS) {
        logs.take(taken.rows, receivedAt: receivedAt.rawValue)
        logFeed.publish(taken.streams)
    }

    /// The exemplars of a batch that are neither too old nor too far ahead.
    private func timelyExemplars(_ batch: IngestBatch) -> [PushedExemplar] {
        guard !batch.exemplars.isEmpty else { return [] }
        let now = batch.receivedAt.milliseconds
        // Their days are dropped with those of class 0, whatever class their series are of.
        let oldest = catalogue.retention.withLock { $0.oldest(of: 0, now: now) }
        let newest = now.advanced(byMilliseconds: Self.aheadMillisecondsMax).rawValue
        return batch.exemplars.filter {
            let time = $0.exemplar.timestamp.rawValue
            return time >= oldest && time <= newest
        }
    }

    /// Of each scrape of a batch what is neither too old nor too far ahead; nil where nothing is.
    private func taken(_ batch: IngestBatch) -> [ScrapeColumns?] {
        guard case .metrics(let scrapes) = batch.content else { return [] }
        let now = batch.receivedAt.milliseconds
        let retained = catalogue.retention.withLock { $0 }
        let oldest = retained.oldestRange(now: now)
        return scrapes.map { scrape in
            let time = scrape.timestamp.rawValue
            guard scrape.timestamp <= now.advanced(byMilliseconds: Self.aheadMillisecondsMax),
                time >= oldest.lowerBound
            else { return nil }
            if time >= oldest.upperBound { return scrape }
            let classes = catalogue.retentionClasses(of: scrape.series.map(\.rawValue))
            let kept = scrape.series.indices.filter {
                time >= retained.oldest(of: classes[$0] ?? 0, now: now)
            }
            return kept.isEmpty ? nil : scrape.keeping(kept)
        }
    }

    package func storeOwn(
        _ samples: [(SeriesDefinition, Sample)]
    ) async throws(StorageError) {
        guard !samples.isEmpty else { return }
        let ids = try await intern(samples.map(\.0), from: .own)
        var columns: [Int64: (series: [Int32], values: [Double])] = [:]
        for (id, (_, sample)) in zip(ids, samples) {
            guard let id else { continue }
            columns[sample.timestamp.rawValue, default: ([], [])].series.append(id.rawValue)
            columns[sample.timestamp.rawValue, default: ([], [])].values.append(sample.value)
        }
        let now = clock.now
        try await ensurePartitions(hour: hour(now))
        let scrapes = columns.map { time, column in
            ScrapeColumns(
                timestamp: TimestampMS(time), series: column.series.map { SeriesID(rawValue: $0) },
                values: column.values)
        }
        try await numbered(
            of: scrapes.lazy.flatMap(\.series).map(\.rawValue), { takeIn(scrapes) },
            { number, writer throws(StorageError) in
                try await storeOwn(scrapes, receivedAt: now, number: number, writer: writer)
            })
    }

    package func storeOwn(
        histograms: [(SeriesDefinition, HistogramSample)]
    ) async throws(StorageError) {
        guard !histograms.isEmpty else { return }
        let ids = try await intern(histograms.map(\.0), from: .own)
        var batch = SampleBatch(runs: [], timestamps: [], values: [])
        for (id, (_, histogram)) in zip(ids, histograms) {
            guard let id else { continue }
            batch.runs.append(SampleBatch.Run(series: id, sampleCount: 0, histogramCount: 1))
            batch.histograms.append(histogram)
        }
        _ = try await storeSamples(batch)
    }

    private func storeOwn(
        _ scrapes: [ScrapeColumns], receivedAt now: TimestampNS, number: Int64, writer: Int64
    ) async throws(StorageError) {
        let sequence = ownSamples.next()
        let epoch = Int64(bitPattern: ownSamples.epoch)
        var statements = [PostgresStatement("BEGIN")]
        for (part, scrape) in scrapes.enumerated() {
            statements.append(
                PostgresStatement(
                    insertBatchSQL,
                    [
                        .int4(hour(now)), .int4(Catalogue.collectorHost), .int2(1), .int8(epoch),
                        .int8(sequence), .int4(Int32(part)), .int8(scrape.timestamp.rawValue),
                        .int8(now.rawValue), .int4(Int32(scrape.series.count)), .bytea([]),
                        .int8(number),
                    ] + scrape.rowColumns))
        }
        statements.append(PostgresStatement(requireWriterSQL, [.int8(writer)]))
        statements.append(PostgresStatement("COMMIT"))
        let work = statements
        // Asked of a full disk too: they are few, and may find a place in a page that is there.
        try await write { session in _ = try session.pipeline(work) }
    }
}

/// A row of the log; the last three are `ScrapeColumns.rowColumns`.
let insertBatchSQL = """
    INSERT INTO petrel.ingest_batch (recv_hour, host_id, kind, epoch, seq, part, ts, received_ns,
        record_count, digest, number, series, vals, data)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    """

/// Refuses what stands before it in the transaction where another collector took over.
let requireWriterSQL = "SELECT petrel.require_writer($1)"

/// Hours since the Unix epoch.
func hour(_ time: TimestampNS) -> Int32 { Int32(clamping: time.rawValue / 3_600_000_000_000) }

/// Days since the Unix epoch.
func day(_ time: TimestampNS) -> Int32 { Int32(clamping: time.rawValue / 86_400_000_000_000) }
