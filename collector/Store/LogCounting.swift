import Model
import Postgres
import Storage

// Counts of lines without the lines: by minute as rows have them, else from the times and levels that stand apart.

/// Counts in the making.
private struct RatePageBuilder {
    private(set) var page = LogRatePage()
    private var indexes: [Int32: Int] = [:]
    private let streams: [Int32: Labels]

    init(_ streams: [Int32: Labels]) { self.streams = streams }

    mutating func index(of stream: Int32) -> Int {
        if let known = indexes[stream] { return known }
        indexes[stream] = page.streams.count
        page.streams.append(streams[stream] ?? .empty)
        return page.streams.count - 1
    }

    mutating func append(_ rate: LogRate) { page.rates.append(rate) }

    mutating func noteRow() { page.blockCount += 1 }

    /// In the order of time.
    mutating func finish() -> LogRatePage {
        // The rates themselves are large to move about.
        let rates = page.rates
        let order = rates.indices.map { (rates[$0].through, rates[$0].streamIndex, $0) }
            .sorted { $0 < $1 }
        page.rates = order.map { rates[$0.2] }
        return page
    }
}

private let rowsOfDemandSQL = """
    WHERE stream_id = ANY ($1) AND last_ns >= $2 AND first_ns < $3
    """

/// The counts of a grid's times, from the times and levels of lines.
func counts(
    _ demand: LogDemand, _ streams: [Int32: Labels], from: Int64, to: Int64,
    _ grid: LogRateGrid, _ session: PostgresSession
) throws -> LogRatePage {
    var builder = RatePageBuilder(streams)
    try session.forEachRow(
        """
        SELECT stream_id, level_names, ts, levels FROM petrel.log_batch \(rowsOfDemandSQL)
        UNION ALL
        SELECT stream_id, level_names, ts, levels FROM petrel.log_block \(rowsOfDemandSQL)
            AND day BETWEEN $4 AND $5
        """, demand.values
    ) { rows in
        let names = try rows.textArray(0, 1)
        let times = try rows.int8Array(0, 2)
        let levels = rows.bytes(0, 3)
        guard levels.count == times.count, levels.allSatisfy({ $0 < names.count }) else {
            throw StorageError.corrupt(
                "the levels of a row of log lines are not those of its times")
        }
        builder.noteRow()
        let stream = builder.index(of: try rows.int4(0, 0))
        var counted = [Int](repeating: 0, count: names.count)
        func flush(_ end: Int64) {
            for (level, count) in counted.enumerated() where count > 0 {
                counted[level] = 0
                guard end > from, end <= to else { continue }
                builder.append(
                    LogRate(
                        through: TimestampNS(end), streamIndex: stream,
                        level: names[level].flatMap { $0.isEmpty ? nil : $0 }, lineCount: count,
                        byteCount: 0))
            }
        }
        var end = Int64.min
        for (time, level) in zip(times, levels) {
            if time > end {
                flush(end)
                end = grid.end(of: time)
            }
            counted[Int(level)] += 1
        }
        flush(end)
    }
    return builder.finish()
}

/// The counts that rows have by themselves, by minute.
func rates(
    _ demand: LogDemand, _ streams: [Int32: Labels], from: Int64, to: Int64,
    _ session: PostgresSession
) throws -> LogRatePage {
    let rows = try session.query(
        """
        SELECT stream_id, rates, level_names FROM petrel.log_batch
        \(rowsOfDemandSQL)
        UNION ALL
        SELECT stream_id, rates, level_names FROM petrel.log_block
        \(rowsOfDemandSQL) AND day BETWEEN $4 AND $5
        """, demand.values)
    var builder = RatePageBuilder(streams)
    for row in 0..<rows.count {
        let stream = try rows.int4(row, 0)
        builder.noteRow()
        let values = try rows.int4Array(row, 1)
        let names = try rows.textArray(row, 2)
        guard values.count % 4 == 0 else {
            throw StorageError.corrupt("the rates of a row of log lines are no fours")
        }
        for start in stride(from: 0, to: values.count, by: 4) {
            let through = Int64(values[start]) * LogRate.widthNanoseconds
            guard through > from, through <= to else { continue }
            let level = Int(values[start + 1])
            guard names.indices.contains(level) else {
                throw StorageError.corrupt(
                    "the rates of a row of log lines name a level that it lacks")
            }
            builder.append(
                LogRate(
                    through: TimestampNS(through), streamIndex: builder.index(of: stream),
                    level: names[level].flatMap { $0.isEmpty ? nil : $0 },
                    lineCount: Int(values[start + 2]), byteCount: Int(values[start + 3])))
        }
    }
    return builder.finish()
}
