import LogBlock
import Model
import Postgres
import Storage

/// Checks rows of log lines: that they decode, that what stands beside the lines is true of them, and that no filter
/// hides one.
struct LogVerifier {
    let known: Set<Int32>

    /// Reads both tables; memory holds a row at a time.
    func verify(_ session: PostgresSession, _ report: inout StoreReport) throws {
        try session.forEachRow(
            """
            SELECT \(logBatchColumnsSQL), stream_id, id, first_ns, last_ns, line_count, byte_count, rates
            FROM petrel.log_batch
            """, []
        ) { row in try check(row, "log batch \(try row.integer(0, 8))", &report) }
        try session.forEachRow(
            """
            SELECT \(logBlockColumnsSQL), stream_id, id, first_ns, last_ns, line_count, byte_count, rates,
                day, has_long_run, id_filter, trigram_filter
            FROM petrel.log_block
            """, []
        ) { row in
            report.logBlockCount += 1
            let name = "log block \(try row.integer(0, 8))"
            guard let entries = try check(row, name, &report) else { return }
            try checkFilters(row, entries, name, &report)
        }
    }

    /// The lines; nil where they do not decode.
    @discardableResult
    private func check(
        _ row: PostgresRows, _ name: String, _ report: inout StoreReport
    ) throws -> [LogEntry]? {
        if !known.contains(try row.int4(0, 7)) { report.note("\(name): no stream") }
        let entries: [LogEntry]
        do {
            entries = try row.logLines(0, 0, name: name).entries(name: name)
        } catch {
            report.note("\(error)")
            return nil
        }
        report.logEntryCount += entries.count
        let byteCount = entries.reduce(0) { $0 + $1.line.count }
        report.logBytes += byteCount
        let times = entries.map(\.timestamp.rawValue)
        if zip(times, times.dropFirst()).contains(where: { $0 > $1 }) {
            report.note("\(name): its lines are not in the order of time")
        }
        let isWhole =
            try times.first == row.integer(0, 9) && times.last == row.integer(0, 10)
            && Int64(entries.count) == row.integer(0, 11)
            && Int64(byteCount) == row.integer(0, 12)
        if !isWhole { report.note("\(name): its times or counts are not those of its lines") }
        let rates = try row.int4Array(0, 13)
        if entries.isEmpty || rates != LogBlockColumns(entries).rates {
            report.note("\(name): its rates are not those of its lines")
        }
        return entries
    }

    private func checkFilters(
        _ row: PostgresRows, _ entries: [LogEntry], _ name: String,
        _ report: inout StoreReport
    ) throws {
        let day = try row.int4(0, 14)
        if let entry = entries.first(where: {
            LogBlockColumns.day(of: $0.timestamp.rawValue) != day
        }) {
            report.note("\(name): a line at \(entry.timestamp.rawValue) stands on day \(day)")
        }
        guard !entries.isEmpty else { return }
        let made = BlockFilters(LogBlockColumns(entries), entries)
        if row.bool(0, 15) != made.hasLongRun || row.bytes(0, 16) != made.ids {
            report.note("\(name): its filter of ids is not that of its lines")
        }
        if row.bytes(0, 17) != made.trigrams {
            report.note("\(name): its filter of trigrams is not that of its lines")
        }
    }
}
