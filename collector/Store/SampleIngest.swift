import ChunkCodec
import Model
import Postgres
package import Storage
import Synchronization
import World

// Samples that senders push: one transaction a request, numbered as those of the fleet (MetricSealing.swift). There is no
// cursor: a request that comes again stores the same samples again, and a series has one sample a time.

extension CollectorStore: SampleWriter {
    /// New series in one statement.
    private static let internMax = 10_000

    package func internPushed(
        _ series: [SeriesDefinition]
    ) async throws(StorageError) -> [SeriesID?] {
        let known = catalogue.series.withLock { state in
            series.map { definition -> MetricMetadata? in
                guard definition.metadata == MetricMetadata() else { return nil }
                let known = state.metadata[ExactText(definition.labels.metricName)] ?? []
                return known.count == 1 ? known[0] : nil
            }
        }
        var result: [SeriesID?] = []
        for start in stride(from: 0, to: series.count, by: Self.internMax) {
            let part = (start..<min(start + Self.internMax, series.count)).map { index in
                SeriesDefinition(
                    labels: series[index].labels, metadata: known[index] ?? series[index].metadata)
            }
            result += try await intern(part, from: .pushed)
        }
        return result
    }

    package func storeSamples(
        _ batch: SampleBatch
    ) async throws(StorageError) -> SampleOutcome {
        let now = clock.now
        let milliseconds = now.milliseconds
        var batch = batch
        let retained = catalogue.retention.withLock { $0 }
        let oldest = retained.oldestRange(now: milliseconds)
        let newest = milliseconds.advanced(byMilliseconds: Self.aheadMillisecondsMax).rawValue
        var outcome = batch.keep(oldest.lowerBound, through: newest)
        // Their days are dropped with those of class 0, whatever class their series are of.
        outcome.leaveOut(
            untimelyExemplars: batch.dropExemplars(
                before: retained.oldest(of: 0, now: milliseconds)))
        if let first = batch.oldest, first < oldest.upperBound {
            // Not all classes keep what is as old as that.
            let classes = catalogue.retentionClasses(of: batch.runs.map(\.series.rawValue))
            outcome.count(
                batch.keep(through: newest) { run in
                    retained.oldest(of: classes[run] ?? 0, now: milliseconds)
                })
        }
        guard batch.count > 0 || !batch.exemplars.isEmpty else {
            note(ExemplarRows.Outcome(), untimely: outcome.untimelyExemplarCount, excess: 0)
            return outcome
        }
        try await ensurePartitions(hour: hour(now))
        let minute = milliseconds.rawValue / 60_000
        let minuteMax = configuration.exemplarsPerMinuteMax
        let candidates = ExemplarRows.candidates(batch.exemplars, minuteMax: minuteMax)
        outcome.leaveOut(exemplars: batch.exemplars.count - candidates.count)
        let granted = exemplarRate.take(candidates.count, minute: minute, max: minuteMax)
        var stored = ExemplarRows.Outcome()
        defer { exemplarRate.giveBack(granted - stored.storedCount, minute: minute) }
        let exemplars = ExemplarRows(candidates, room: granted)
        for day in exemplars.days.map(\.day) { try await ensureExemplarPartition(day) }
        let rows = PushedRows(
            batch, catalogue.places(of: batch.runs.map(\.series.rawValue)))
        let data = rows.entries.isEmpty ? [] : BatchData.encode(rows.entries.map(\.column))
        stored = try await numbered(
            of: batch.runs.map(\.series.rawValue) + batch.exemplars.map(\.series.rawValue),
            { _ in
                takeIn(rows.scrapes)
                takeIn(rows.entries.map(\.series.rawValue), rows.entries.map(\.column))
            },
            { number, writer throws(StorageError) in
                try await write(
                    rows, data, exemplars, receivedAt: now, number: number, writer: writer)
            })
        outcome.leaveOut(exemplars: stored.freshCount - stored.storedCount)
        note(stored, untimely: outcome.untimelyExemplarCount, excess: outcome.excessExemplarCount)
        return outcome
    }

    private func write(
        _ rows: PushedRows, _ data: [UInt8], _ exemplars: ExemplarRows,
        receivedAt now: TimestampNS, number: Int64, writer: Int64
    ) async throws(StorageError) -> ExemplarRows.Outcome {
        let sequence = ownSamples.next()
        func key(part: Int) -> [PostgresValue] {
            [
                .int4(hour(now)), .int4(Catalogue.collectorHost), .int2(1),
                .int8(Int64(bitPattern: ownSamples.epoch)), .int8(sequence), .int4(Int32(part)),
            ]
        }
        var statements = [PostgresStatement("BEGIN")]
        for (part, scrape) in rows.scrapes.enumerated() {
            statements.append(
                PostgresStatement(
                    insertBatchSQL,
                    key(part: part) + [
                        .int8(scrape.timestamp.rawValue), .int8(now.rawValue),
                        .int4(Int32(scrape.series.count)), .bytea([]), .int8(number),
                    ] + scrape.rowColumns))
        }
        if !rows.entries.isEmpty {
            let newest = rows.entries.compactMap(\.column.last).max() ?? 0
            statements.append(
                PostgresStatement(
                    insertBatchSQL,
                    key(part: rows.scrapes.count) + [
                        .int8(newest), .int8(now.rawValue),
                        .int4(Int32(clamping: rows.entries.reduce(0) { $0 + $1.column.count })),
                        .bytea([]), .int8(number),
                        .int4Array(rows.entries.map(\.series.rawValue)), .null(.float8Array),
                        .bytea(data),
                    ]))
        }
        statements.append(PostgresStatement(requireWriterSQL, [.int8(writer)]))
        // Last, for others wait from here on.
        if !exemplars.isEmpty { statements.append(exemplars.beginning) }
        let first = statements.count
        statements += exemplars.statements(
            perSeriesMinute: configuration.exemplarsPerSeriesMinuteMax)
        statements.append(PostgresStatement("COMMIT"))
        let work = statements
        return try await writeData { session in
            try ExemplarRows.outcome(try session.pipeline(work)[first..<work.count - 1])
        }
    }
}

extension CollectorStore {
    /// Takes committed scrapes into the head.
    func takeIn(_ scrapes: [ScrapeColumns]) {
        let hour = hour(clock.now)
        for scrape in scrapes {
            guard scrape.startTimestamps.isEmpty else {
                takeIn(scrape.series.map(\.rawValue), scrape.chunkColumns)
                continue
            }
            let timestamp = scrape.timestamp.rawValue
            metrics.head.insert(
                timestamp,
                catalogue.places(
                    of: scrape.series.map(\.rawValue), at: timestamp, hour: hour), scrape.values)
        }
        if let earliest = scrapes.map(\.timestamp.rawValue).min() { note(earliest: earliest) }
    }

    /// Takes committed columns of these series into the head.
    func takeIn(_ series: [Int32], _ columns: [ChunkColumn]) {
        guard !series.isEmpty else { return }
        metrics.head.insert(
            zip(catalogue.places(of: series, columns, hour: hour(clock.now)), columns)
                .compactMap { place, column in place.map { (place: $0, column: column) } })
        if let earliest = columns.compactMap(\.first).min() { note(earliest: earliest) }
    }

    private func note(earliest: Int64) {
        metrics.history.note(earliest: earliest, now: clock.now.milliseconds.rawValue)
    }
}
