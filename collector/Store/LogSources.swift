import LogBlock
import Model
import Postgres
import Storage

/// A row that may have lines that are wanted.
struct LogSource: Sendable {
    enum Table: Sendable { case batch, block }

    var table: Table
    /// The hour or day of its partition.
    var part: Int32
    var id: Int64
    var stream: Int32
    /// Times of its first and its last line.
    var first: Int64
    var last: Int64

    var name: String { table == .batch ? "log batch \(id)" : "log block \(id)" }
}

/// What lines are wanted, in the store's terms.
struct LogDemand: Sendable {
    var streams: [Int32]
    /// Nanoseconds, `[from, to)`.
    var from: Int64
    var to: Int64
    /// Nanoseconds of the first and the last line that can be there.
    var bounds: ClosedRange<Int64>
    /// Days that may have blocks of them.
    var days: ClosedRange<Int32>
    var probe: LogProbe

    /// Streams, times and days as parameters of a statement.
    var values: [PostgresValue] {
        [
            .int4Array(streams), .int8(from), .int8(to), .int4(days.lowerBound),
            .int4(days.upperBound),
        ]
    }

    /// Nil where nothing can be wanted.
    init?(
        _ streams: [Int32], from: Int64, to: Int64, span: ClosedRange<Int64>?, probe: LogProbe
    ) {
        guard let span, from < to, !streams.isEmpty else { return nil }
        let (first, last) = (max(from, span.lowerBound), min(to - 1, span.upperBound))
        guard first <= last else { return nil }
        self.streams = streams
        self.from = from
        self.to = to
        bounds = first...last
        days = LogBlockColumns.day(of: first)...LogBlockColumns.day(of: last)
        self.probe = probe
    }
}

/// Finds the rows of a demand, and leaves out those whose filters of ids rule them out.
struct LogSourceFinder {
    let demand: LogDemand
    /// Blocks that filters of ids, or of traces, ruled out one by one; a group of blocks that was ruled out is not counted.
    private(set) var skippedCount = 0

    init(_ demand: LogDemand) { self.demand = demand }

    /// In no order. Within a transaction.
    mutating func sources(_ session: PostgresSession) throws -> [LogSource] {
        var sources = try batches(session)
        sources += try blocks(session)
        return sources
    }

    private func batches(_ session: PostgresSession) throws -> [LogSource] {
        let rows = try session.query(
            """
            SELECT recv_hour, id, stream_id, first_ns, last_ns FROM petrel.log_batch
            WHERE stream_id = ANY ($1) AND last_ns >= $2 AND first_ns < $3
            """, [.int4Array(demand.streams), .int8(demand.from), .int8(demand.to)])
        return try (0..<rows.count).map { try Self.source(rows, $0, .batch) }
    }

    private static func source(
        _ rows: PostgresRows, _ row: Int, _ table: LogSource.Table
    ) throws -> LogSource {
        LogSource(
            table: table, part: try rows.int4(row, 0), id: try rows.integer(row, 1),
            stream: try rows.int4(row, 2), first: try rows.integer(row, 3),
            last: try rows.integer(row, 4))
    }

    private mutating func blocks(_ session: PostgresSession) throws -> [LogSource] {
        let ids = demand.probe.blockIds
        let columns =
            "b.day, b.id, b.stream_id, b.first_ns, b.last_ns, b.has_long_run"
        let conditions = "b.stream_id = ANY ($1) AND b.last_ns >= $2 AND b.first_ns < $3"
        var values: [PostgresValue] = [
            .int4Array(demand.streams), .int8(demand.from), .int8(demand.to),
        ]
        let slices = Self.slices(of: "b.id_filter", ids.hashes, &values)
        let from: String
        if !demand.probe.groupIds.hashes.isEmpty {
            let ranges = try ranges(session)
            values += [
                .int4Array(ranges.map(\.day)), .int8Array(ranges.map(\.first)),
                .int8Array(ranges.map(\.last)),
            ]
            let count = values.count
            from = """
                unnest($\(count - 2)::int4[], $\(count - 1)::int8[], $\(count)::int8[])
                    AS r (day, first, last)
                JOIN petrel.log_block b ON b.day = r.day AND b.id BETWEEN r.first AND r.last
                WHERE \(conditions)
                """
        } else {
            values += [.int4(demand.days.lowerBound), .int4(demand.days.upperBound)]
            from = """
                petrel.log_block b WHERE b.day BETWEEN $\(values.count - 1) AND $\(values.count)
                    AND \(conditions)
                """
        }
        let rows = try session.query("SELECT \(columns)\(slices) FROM \(from)", values)
        var found: [LogSource] = []
        for row in 0..<rows.count {
            let mayHave = ids.mayPass(hasLongRun: rows.bool(row, 5)) { index, hash in
                rows.withBytes(row, 6 + index) { BlockFilter.mayContain(hash, inBlock: $0) }
            }
            guard mayHave else {
                skippedCount += 1
                continue
            }
            found.append(try Self.source(rows, row, .block))
        }
        return found
    }

    /// The blocks of filters that hashes are in, as columns of a query: they alone are read.
    private static func slices(
        of column: String, _ hashes: [UInt64], _ values: inout [PostgresValue]
    ) -> String {
        var columns = ""
        for hash in hashes {
            values.append(.int8(Int64(hash >> 32)))
            columns += """
                , substring(\(column) FROM 1 + 32 * (($\(values.count)::int8
                    * (octet_length(\(column)) / 32)) >> 32)::int4 FOR 32)
                """
        }
        return columns
    }

    /// Ids of blocks that the filters of traces leave, by day: those of groups that may have what is looked for, and those
    /// that are in no group yet.
    private func ranges(
        _ session: PostgresSession
    ) throws -> [(day: Int32, first: Int64, last: Int64)] {
        let ids = demand.probe.groupIds
        var values: [PostgresValue] = [
            .int4(demand.days.lowerBound), .int4(demand.days.upperBound),
        ]
        let slices = Self.slices(of: "f.filter", ids.hashes, &values)
        let rows = try session.query(
            """
            SELECT f.day, f.first_id, f.last_id, f.has_long_run\(slices)
            FROM petrel.log_trace_filter f WHERE f.day BETWEEN $1 AND $2
            """, values)
        var ranges: [(day: Int32, first: Int64, last: Int64)] = []
        var lastOf: [Int32: Int64] = [:]
        for row in 0..<rows.count {
            let day = try rows.int4(row, 0)
            let (first, last) = (try rows.integer(row, 1), try rows.integer(row, 2))
            lastOf[day] = max(lastOf[day] ?? 0, last)
            let mayHave = ids.mayPass(hasLongRun: rows.bool(row, 3)) { index, hash in
                rows.withBytes(row, 4 + index) { BlockFilter.mayContain(hash, inBlock: $0) }
            }
            if mayHave { ranges.append((day, first, last)) }
        }
        for day in demand.days { ranges.append((day, (lastOf[day] ?? 0) + 1, .max)) }
        return ranges
    }
}
