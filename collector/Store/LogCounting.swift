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

/// How many of a row's lines are at each end of the grid, inclusive, that lies among them: found by binary search where the
/// row lies, as the times themselves are much to send. Where there are about as many ends as lines, these numbers are NULL
/// and the times are given instead. $6: an end of the grid, at or before the first that is asked for; $7: the grid's width;
/// $8: the last end. `ts[:]` is a copy, so that a row's times are decompressed once.
private let countsSQL = """
    SELECT stream_id, level_names, levels, first_end,
        CASE WHEN is_sparse THEN
            ARRAY(SELECT width_bucket(generate_series(first_end, last_end, $7), times))
        END,
        CASE WHEN NOT is_sparse THEN times END
    FROM (
        SELECT *, (last_end - first_end) / $7 < line_count / 4 AS is_sparse
        FROM (
            SELECT stream_id, level_names, levels, line_count, ts[:] AS times,
                $6 + (greatest(first_ns - $6, 0) + $7 - 1) / $7 * $7 AS first_end,
                least(last_ns, $8) AS last_end
            FROM (
                SELECT stream_id, level_names, levels, line_count, ts, first_ns, last_ns
                FROM petrel.log_batch \(rowsOfDemandSQL)
                UNION ALL
                SELECT stream_id, level_names, levels, line_count, ts, first_ns, last_ns
                FROM petrel.log_block \(rowsOfDemandSQL) AND day BETWEEN $4 AND $5
            ) AS row_of_lines
        ) AS bounded
        OFFSET 0
    ) AS judged
    """

/// The lines of a row, counted by level between ends of a grid.
private struct LevelCounter {
    private let stream: Int
    private let names: [String?]
    private let levels: [UInt8]
    /// Lines that were counted.
    private var place = 0
    private var counted: [Int]

    init(stream: Int, names: [String?], levels: [UInt8]) throws(StorageError) {
        guard levels.allSatisfy({ $0 < names.count }) else { throw Self.corrupt }
        self.stream = stream
        self.names = names
        self.levels = levels
        counted = [Int](repeating: 0, count: names.count)
    }

    static let corrupt = StorageError.corrupt(
        "the levels of a row of log lines are not those of its times")

    var lineCount: Int { levels.count }

    /// Counts the lines up to `place`, exclusive, for the time that ends at `end`; those that are not `isWanted` are left
    /// out.
    mutating func count(
        to next: Int, end: Int64, isWanted: Bool, _ builder: inout RatePageBuilder
    ) throws(StorageError) {
        guard place <= next, next <= levels.count else { throw Self.corrupt }
        defer { place = next }
        guard isWanted, place < next else { return }
        if counted.count == 1 {
            counted[0] = next - place
        } else {
            for level in levels[place..<next] { counted[Int(level)] += 1 }
        }
        for (level, count) in counted.enumerated() where count > 0 {
            counted[level] = 0
            builder.append(
                LogRate(
                    through: TimestampNS(end), streamIndex: stream,
                    level: names[level].flatMap { $0.isEmpty ? nil : $0 }, lineCount: count,
                    byteCount: 0))
        }
    }
}

/// The counts of a grid's times, from the times and levels of lines.
func counts(
    _ demand: LogDemand, _ streams: [Int32: Labels], from: Int64, to: Int64,
    _ grid: LogRateGrid, _ session: PostgresSession
) throws -> LogRatePage {
    let width = grid.widthNanoseconds
    // Nothing is before the demand's first line: its end, where `from` is long ago.
    let base = max(
        grid.end(of: from) - (grid.end(of: from) == from ? 0 : width),
        grid.end(of: demand.bounds.lowerBound))
    let isWanted = { (end: Int64) in end > from && end <= to }
    var builder = RatePageBuilder(streams)
    try session.forEachRow(
        countsSQL, demand.values + [.int8(base), .int8(width), .int8(to)]
    ) { rows in
        builder.noteRow()
        var counter = try LevelCounter(
            stream: builder.index(of: try rows.int4(0, 0)), names: try rows.textArray(0, 1),
            levels: rows.bytes(0, 2))
        var end = try rows.integer(0, 3)
        if rows.isNull(0, 4) {
            let times = try rows.int8Array(0, 5)
            guard times.count == counter.lineCount else { throw LevelCounter.corrupt }
            for (place, time) in times.enumerated() where place == 0 || time > end {
                if place > 0 {
                    try counter.count(to: place, end: end, isWanted: isWanted(end), &builder)
                }
                end = grid.end(of: time)
            }
        } else {
            for place in try rows.int4Array(0, 4) {
                try counter.count(
                    to: Int(place), end: end, isWanted: isWanted(end), &builder)
                end += width
            }
        }
        try counter.count(to: counter.lineCount, end: end, isWanted: isWanted(end), &builder)
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
