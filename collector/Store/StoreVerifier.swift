import ChunkCodec
import Model
import Postgres
package import Storage

/// What `StoreVerifier` found.
package struct StoreReport: Hashable, Sendable, CustomStringConvertible {
    package var seriesCount = 0
    package var scrapeCount = 0
    package var sampleCount = 0
    package var chunkCount = 0
    package var chunkSampleCount = 0
    package var chunkBytes = 0
    /// Samples in chunks that are deleted and not cleaned yet.
    package var deletedSampleCount = 0
    package var exemplarCount = 0
    package var logStreamCount = 0
    package var logEntryCount = 0
    package var logBlockCount = 0
    package var logBytes = 0
    package var gapRecordCount = 0
    package var outboxCount = 0
    /// What does not decode or does not add up, at most `problemsMax`; empty: all is well.
    package var problems: [String] = []

    /// Problems listed at most; further ones are left out.
    package static let problemsMax = 100

    package var isSound: Bool { problems.isEmpty }

    package var description: String {
        var lines = [
            "\(seriesCount) series, \(sampleCount) samples in \(scrapeCount) scrapes of the log",
            "\(chunkSampleCount) samples in \(chunkCount) chunks of \(chunkBytes) bytes, "
                + "\(deletedSampleCount) of them deleted",
            "\(exemplarCount) exemplars",
            "\(logStreamCount) log streams, \(logEntryCount) entries of \(logBytes) bytes, "
                + "\(logBlockCount) blocks",
            "\(gapRecordCount) records accounted for as gaps, \(outboxCount) notifications",
        ]
        lines += problems.map { "problem: \($0)" }
        lines.append(isSound ? "everything decodes" : "\(problems.count) problems")
        return lines.joined(separator: "\n")
    }

    mutating func note(_ problem: String) {
        if problems.count < Self.problemsMax { problems.append(problem) }
    }
}

/// Decodes everything that is stored and checks it against the cursors (`petrel-collector verify`).
package struct StoreVerifier: Sendable {
    private let store: CollectorStore

    package init(_ store: CollectorStore) { self.store = store }

    /// Reads all data once, in one snapshot; memory stays bounded. What is wrong is in the report, not thrown.
    package func verify() async throws(StorageError) -> StoreReport {
        try await store.own { session in
            try session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") { session in
                var report = StoreReport()
                let series = try verifyKeys("series", session, &report)
                let streams = try verifyKeys("log_stream", session, &report)
                report.seriesCount = series.count
                report.logStreamCount = streams.count
                try verifyScrapes(series, session, &report)
                try verifyChunks(session, &report)
                try verifyExemplars(series, session, &report)
                try LogVerifier(known: streams).verify(session, &report)
                try verifyCursors(session, &report)
                try verifyOutbox(session, &report)
                return report
            }
        }
    }

    private func verifyKeys(
        _ table: String, _ session: PostgresSession, _ report: inout StoreReport
    ) throws -> Set<Int32> {
        var numbers: Set<Int32> = []
        try session.forEachRow("SELECT id, label_key FROM petrel.\(table)", []) { row in
            let number = try row.int4(0, 0)
            numbers.insert(number)
            if Labels(key: row.bytes(0, 1)) == nil {
                report.note("\(table) \(number): the label key does not decode")
            }
        }
        return numbers
    }

    private func verifyScrapes(
        _ known: Set<Int32>, _ session: PostgresSession, _ report: inout StoreReport
    ) throws {
        try session.forEachRow(
            """
            SELECT host_id, epoch, seq, part, series, vals, record_count, data, ts
            FROM petrel.ingest_batch WHERE ts IS NOT NULL
            """, []
        ) { row in
            let series = try row.int4Array(0, 4)
            let name =
                "scrape of host \(try row.integer(0, 0)), sequence \(try row.integer(0, 2)), "
                + "part \(try row.integer(0, 3))"
            let counted = try row.integer(0, 6)
            report.scrapeCount += 1
            let count = try verifyRow(row, name, entryCount: series.count, &report)
            report.sampleCount += count
            if Int64(count) != counted {
                report.note("\(name): \(count) samples, it says \(counted)")
            }
            if let stray = series.first(where: { !known.contains($0) }) {
                report.note("\(name): series \(stray) is unknown")
            }
        }
    }

    /// The samples of a row of `…, vals (5), record_count, data, ts`, whichever form it has.
    private func verifyRow(
        _ row: PostgresRows, _ name: String, entryCount: Int, _ report: inout StoreReport
    ) throws -> Int {
        guard !row.isNull(0, 7) else {
            let values = try row.float8Array(0, 5)
            if values.count != entryCount { report.note("\(name): columns of unequal length") }
            return values.count
        }
        do throws(StorageError) {
            let columns = try BatchData.decode(row.bytes(0, 7), count: entryCount)
            if columns.compactMap(\.last).max() != (try? row.integer(0, 8)) {
                report.note("\(name): its newest sample has another time than it says")
            }
            return columns.reduce(0) { $0 + $1.count }
        } catch {
            report.note("\(name): \(error)")
            return 0
        }
    }

    private func verifyChunks(_ session: PostgresSession, _ report: inout StoreReport) throws {
        var verifier = try ChunkVerifier(session, &report)
        try session.forEachRow(ChunkVerifier.rowsSQL, []) { try verifier.take($0, &report) }
        verifier.finish(&report)
    }

    /// Every exemplar is of a series, lies on its day, and has labels that decode; what is derived of them is of them.
    private func verifyExemplars(
        _ known: Set<Int32>, _ session: PostgresSession, _ report: inout StoreReport
    ) throws {
        // A dump is text, in which every NaN reads NaN: the digest of one says nothing.
        try session.forEachRow(
            """
            SELECT series_id, ts, day, label_key, trace_id, value = 'NaN' OR digest
                = substring(sha256(label_key || float8send(value)) FOR 8)
            FROM petrel.exemplar
            """, []
        ) { row in
            report.exemplarCount += 1
            let series = try row.int4(0, 0)
            let time = try row.integer(0, 1)
            let name = "exemplar of series \(series) at \(time)"
            if !known.contains(series) { report.note("\(name): the series is unknown") }
            let day = try row.int4(0, 2)
            if day != dayOf(time) { report.note("\(name): it stands on day \(day)") }
            if !row.bool(0, 5) { report.note("\(name): its digest is that of another") }
            guard let labels = Labels(key: row.bytes(0, 3)) else {
                report.note("\(name): the label key does not decode")
                return
            }
            let exemplar = Exemplar(labels: labels, value: 0, timestamp: TimestampMS(time))
            if row.text(0, 4) != withoutNUL(exemplar.traceID) {
                report.note("\(name): another trace than its labels say")
            }
        }
    }

    /// What a cursor counts must be there, but for what the retention has dropped: so only too much is a problem.
    private func verifyCursors(_ session: PostgresSession, _ report: inout StoreReport) throws {
        let rows = try session.query(
            """
            SELECT b.host_id, b.kind, b.epoch, max(b.seq), c.last_seq
            FROM petrel.ingest_batch b LEFT JOIN petrel.agent_cursor c
                ON c.host_id = b.host_id AND c.kind = b.kind AND c.epoch = b.epoch
            WHERE b.host_id <> 0 GROUP BY b.host_id, b.kind, b.epoch, c.last_seq
            HAVING c.last_seq IS NULL OR max(b.seq) > c.last_seq
            """)
        for row in 0..<rows.count {
            report.note(
                "host \(try rows.integer(row, 0)): sequence \(try rows.integer(row, 3)) is past its cursor"
            )
        }
        let gaps = try session.query(
            "SELECT coalesce(sum(record_count), 0)::int8 FROM petrel.gap")
        report.gapRecordCount = Int(try gaps.integer(0, 0))
    }

    private func verifyOutbox(_ session: PostgresSession, _ report: inout StoreReport) throws {
        try session.forEachRow(
            """
            SELECT id, receiver, integration, group_key, group_label_key, alerts, created_at,
                attempt_count FROM petrel.outbox
            """, []
        ) { row in
            report.outboxCount += 1
            do {
                _ = try message(row, 0)
            } catch {
                report.note("\(error)")
            }
        }
    }
}
