package import Model
import Postgres
package import Storage
import Synchronization

// One statement serves all selections: the scrapes of the hosts concerned in the union of the time ranges, in time
// order, streamed row by row. A table from series number to column drops what nobody asked for; each selection then
// cuts its range out of the columns.

extension CollectorStore: MetricReader {
    package func select(
        _ selections: [SeriesSelection], limits: ReadLimits
    ) async throws(StorageError) -> [[SeriesColumns]] {
        let plan = try planned(selections, limits)
        guard !plan.wanted.isEmpty, let after = selections.map(\.after).min(),
            let through = selections.map(\.through).max(), after < through
        else { return selections.map { _ in [] } }
        let columns = try await read { session in
            var columns = ScrapeDecoder(plan: plan, samplesMax: limits.samplesMax)
            // A scrape is received at most an hour before its own time (`aheadMillisecondsMax`).
            let hourMin = Int32(clamping: after.rawValue / 3_600_000 - 1)
            let hosts = plan.hosts.map { PostgresValue.int4Array($0) } ?? .null(.int4Array)
            try session.forEachRow(
                """
                SELECT ts, series, vals FROM petrel.ingest_batch
                WHERE recv_hour >= $1 AND ts > $2 AND ts <= $3
                    AND ($4::int4[] IS NULL OR host_id = ANY ($4))
                ORDER BY ts, received_ns, host_id, epoch, seq, part
                """,
                [.int4(hourMin), .int8(after.rawValue), .int8(through.rawValue), hosts]
            ) { row in try columns.take(row) }
            return columns.columns
        }
        return zip(selections, plan.bySelection).map { selection, numbers in
            numbers.compactMap { number -> SeriesColumns? in
                columns[plan.slots[number]?.index ?? 0].cut(
                    labels: plan.labels[number] ?? .empty, after: selection.after.rawValue,
                    through: selection.through.rawValue)
            }
        }
    }

    package func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        var names: Set<ExactText> = []
        for labels in try await series(scope) {
            for label in labels { names.insert(ExactText(label.name)) }
        }
        return names.map(\.text).sorted(by: bytesPrecede)
    }

    package func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] {
        var values: Set<ExactText> = []
        for labels in try await series(scope) {
            let value = labels[name]
            if !value.isEmpty { values.insert(ExactText(value)) }
        }
        return values.map(\.text).sorted(by: bytesPrecede)
    }

    package func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        try catalogue.series.withLock { state throws(StorageError) in
            try state.index.matching(scope).compactMap { state.index.labels(of: $0) }
        }.sorted()
    }

    package func metadata(
        metric: String?
    ) async throws(StorageError) -> [String: [MetricMetadata]] {
        catalogue.series.withLock { state in
            guard let metric else { return state.metadata }
            return state.metadata[metric].map { [metric: $0] } ?? [:]
        }
    }

    private func planned(
        _ selections: [SeriesSelection], _ limits: ReadLimits
    ) throws(StorageError) -> SelectionPlan {
        try catalogue.series.withLock { state throws(StorageError) in
            var plan = SelectionPlan()
            var hosts: Set<Int32> = []
            var anyHost = false
            var seriesCount = 0
            for selection in selections {
                let numbers = try state.index.matching(selection.matchers)
                seriesCount += numbers.count
                guard seriesCount <= limits.seriesMax else {
                    throw .limitExceeded(
                        limit: "limits.query_series_max", maximum: limits.seriesMax)
                }
                for number in numbers where plan.slots[number] == nil {
                    plan.slots[number] = SelectionPlan.Slot(index: plan.wanted.count)
                    plan.wanted.append(number)
                    plan.labels[number] = state.index.labels(of: number)
                    if let known = state.hosts[number], let host = known {
                        hosts.insert(host)
                    } else {
                        anyHost = true
                    }
                }
                plan.bySelection.append(
                    numbers.sorted { a, b in
                        (plan.labels[a] ?? .empty) < (plan.labels[b] ?? .empty)
                    })
            }
            plan.hosts = anyHost ? nil : hosts.sorted()
            return plan
        }
    }
}

/// Which series a read wants, and where each goes.
private struct SelectionPlan: Sendable {
    struct Slot: Sendable {
        var index: Int
    }

    var wanted: [Int32] = []
    var slots: [Int32: Slot] = [:]
    var labels: [Int32: Labels] = [:]
    /// Hosts whose rows can hold them; nil: all.
    var hosts: [Int32]?
    /// Numbers of each selection in label order.
    var bySelection: [[Int32]] = []
}

/// Samples of one series: ascending times, one value each.
private struct SampleColumn: Sendable {
    var timestamps: [Int64] = []
    var values: [Double] = []

    /// The samples in (after, through]; nil where there are none.
    func cut(labels: Labels, after: Int64, through: Int64) -> SeriesColumns? {
        let low = firstIndex { $0 > after }
        let high = firstIndex { $0 > through }
        guard low < high else { return nil }
        if low == 0, high == timestamps.count {
            return SeriesColumns(labels: labels, timestamps: timestamps, values: values)
        }
        return SeriesColumns(
            labels: labels, timestamps: Array(timestamps[low..<high]),
            values: Array(values[low..<high]))
    }

    private func firstIndex(where isPast: (Int64) -> Bool) -> Int {
        var low = 0
        var high = timestamps.count
        while low < high {
            let middle = (low + high) / 2
            if isPast(timestamps[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Turns scrape rows into columns.
private struct ScrapeDecoder {
    private(set) var columns: [SampleColumn]
    /// By series number; -1: not wanted.
    private var slotOf: [Int32]
    private var samplesLeft: Int
    private let samplesMax: Int

    init(plan: SelectionPlan, samplesMax: Int) {
        columns = [SampleColumn](repeating: SampleColumn(), count: plan.wanted.count)
        slotOf = [Int32](repeating: -1, count: Int(plan.wanted.max() ?? 0) + 1)
        for (index, number) in plan.wanted.enumerated() { slotOf[Int(number)] = Int32(index) }
        samplesLeft = samplesMax
        self.samplesMax = samplesMax
    }

    /// Takes a row of `ts, series, vals`. Rows come in time order; of one time the last wins.
    mutating func take(_ row: PostgresRows) throws {
        let timestamp = try row.integer(0, 0)
        let isSound = row.withBytes(0, 1) { series in
            row.withBytes(0, 2) { values in take(timestamp, series, values) }
        }
        guard isSound else {
            throw StorageError.corrupt(
                "the scrape at \(timestamp) ms has columns of unequal length")
        }
        guard samplesLeft >= 0 else {
            throw StorageError.limitExceeded(limit: "limits.query_samples_max", maximum: samplesMax)
        }
    }

    /// False where the arrays are malformed or of different length.
    private mutating func take(
        _ timestamp: Int64, _ series: UnsafeRawBufferPointer, _ values: UnsafeRawBufferPointer
    ) -> Bool {
        guard let count = PostgresArray.count(series), PostgresArray.count(values) == count,
            count == 0
                || (series.count == PostgresArray.headerBytes + 8 * count
                    && values.count == PostgresArray.headerBytes + 12 * count)
        else { return false }
        for index in 0..<count {
            // Past each element's length word.
            let at = PostgresArray.headerBytes + 4
            let number = Int(
                Int32(
                    bigEndian: series.loadUnaligned(fromByteOffset: at + 8 * index, as: Int32.self))
            )
            guard number >= 0, number < slotOf.count, slotOf[number] >= 0 else { continue }
            let value = Double(
                bitPattern: UInt64(
                    bigEndian: values.loadUnaligned(
                        fromByteOffset: at + 12 * index, as: UInt64.self)))
            append(timestamp, value, to: Int(slotOf[number]))
        }
        return true
    }

    private mutating func append(_ timestamp: Int64, _ value: Double, to slot: Int) {
        if columns[slot].timestamps.last == timestamp {
            columns[slot].values[columns[slot].values.count - 1] = value
            return
        }
        samplesLeft -= 1
        columns[slot].timestamps.append(timestamp)
        columns[slot].values.append(value)
    }
}
