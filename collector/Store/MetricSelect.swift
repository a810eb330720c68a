import ChunkCodec
package import Model
import Postgres
package import Storage
import Synchronization

// One statement serves all selections: the chunks of the groups concerned that touch the union of the time ranges. Of a
// chunk only the wanted slots are decoded. The head is looked at first: what a seal takes out of it in between is in the
// database by then, and what is in both is the same.

extension CollectorStore: MetricReader {
    package func select(
        _ selections: [SeriesSelection], limits: ReadLimits
    ) async throws(StorageError) -> [[SeriesColumns]] {
        let plan = try planned(selections, limits)
        guard plan.wantedCount > 0, let after = selections.map(\.after).min(),
            let through = selections.map(\.through).max(), after < through
        else { return selections.map { _ in [] } }
        let head = metrics.head.pieces(of: Array(plan.slotsByGroup.keys))
        let columns = try await read { session in
            var columns = ChunkReading(
                plan: plan, head: head, after: after.rawValue, through: through.rawValue,
                samplesMax: limits.samplesMax)
            try session.forEachRow(
                """
                SELECT grp, data FROM petrel.chunk
                WHERE day >= $1 AND day <= $2 AND grp = ANY ($3) AND last_ms > $4 AND first_ms <= $5
                ORDER BY grp, first_ms / $6, seal, first_ms
                """,
                [
                    .int4(dayOf(after.rawValue)), .int4(dayOf(through.rawValue)),
                    .int4Array(plan.slotsByGroup.keys.sorted()), .int8(after.rawValue),
                    .int8(through.rawValue), .int8(MetricHead.windowMilliseconds),
                ]
            ) { row in try columns.take(row) }
            try columns.finish()
            return columns.columns
        }
        return zip(selections, plan.bySelection).map { selection, numbers in
            numbers.compactMap { number -> SeriesColumns? in
                guard let index = plan.indices[number] else { return nil }
                let column = columns[index].cut(
                    after: selection.after.rawValue, through: selection.through.rawValue)
                guard !column.isEmpty else { return nil }
                return SeriesColumns(
                    labels: plan.labels[number] ?? .empty, timestamps: column.timestamps,
                    values: column.values, startTimestamps: column.startTimestamps,
                    histograms: column.histograms)
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
            var seriesCount = 0
            for selection in selections {
                let numbers = try state.index.matching(selection.matchers)
                seriesCount += numbers.count
                guard seriesCount <= limits.seriesMax else {
                    throw .limitExceeded(
                        limit: "limits.query_series_max", maximum: limits.seriesMax)
                }
                for number in numbers where plan.indices[number] == nil {
                    guard let place = state.places[number] else { continue }
                    plan.slotsByGroup[place.group, default: []].append(
                        (Int(place.slot), plan.wantedCount))
                    plan.indices[number] = plan.wantedCount
                    plan.labels[number] = state.index.labels(of: number)
                    plan.wantedCount += 1
                }
                plan.bySelection.append(
                    numbers.sorted { a, b in
                        (plan.labels[a] ?? .empty) < (plan.labels[b] ?? .empty)
                    })
            }
            return plan
        }
    }
}

/// Which series a read wants, and where each goes.
private struct SelectionPlan: Sendable {
    var wantedCount = 0
    /// The place of a series' column in the answer, by its number.
    var indices: [Int32: Int] = [:]
    var labels: [Int32: Labels] = [:]
    /// The wanted slots of each group, and the places of their columns.
    var slotsByGroup: [Int32: [(slot: Int, index: Int)]] = [:]
    /// Numbers of each selection in label order.
    var bySelection: [[Int32]] = []
}

/// Gathers the columns of a read out of chunks, group by group: those of a group in the order of their seals within each
/// window, and then what the head has of it.
private struct ChunkReading {
    private(set) var columns: [ChunkColumn]
    private let plan: SelectionPlan
    private let after: Int64
    private let through: Int64
    private let samplesMax: Int
    private var head: [Int32: MetricHead.Pieces]
    private var sampleCount = 0
    /// The group whose chunks are coming, and the pieces of each of its wanted slots.
    private var group: Int32?
    private var pieces: [[ChunkColumn]] = []

    init(
        plan: SelectionPlan, head: [Int32: MetricHead.Pieces], after: Int64, through: Int64,
        samplesMax: Int
    ) {
        columns = [ChunkColumn](repeating: ChunkColumn(), count: plan.wantedCount)
        self.plan = plan
        self.head = head
        self.after = after
        self.through = through
        self.samplesMax = samplesMax
    }

    /// Takes a row of `grp, data`; those of a group come together.
    mutating func take(_ row: PostgresRows) throws {
        let number = try row.int4(0, 0)
        guard let slots = plan.slotsByGroup[number] else { return }
        if number != group { try begin(number, slots.count) }
        let chunk: Chunk
        do throws(ChunkError) { chunk = try Chunk(row.bytes(0, 1)) } catch {
            throw StorageError.corrupt("a chunk of group \(number): \(error)")
        }
        for (place, wanted) in slots.enumerated() where wanted.slot < chunk.slotCount {
            let column: ChunkColumn
            do throws(ChunkError) { column = try chunk.column(slot: wanted.slot) } catch {
                throw StorageError.corrupt(
                    "a chunk of group \(number) from \(chunk.timestamps.first ?? 0) ms: \(error)")
            }
            try take(column.cut(after: after, through: through), at: place)
        }
    }

    /// Joins the last group, and takes the groups that the head alone has.
    mutating func finish() throws {
        try endGroup()
        for number in head.keys.sorted() {
            try begin(number, plan.slotsByGroup[number]?.count ?? 0)
            try endGroup()
        }
    }

    private mutating func begin(_ number: Int32, _ slotCount: Int) throws {
        try endGroup()
        group = number
        pieces = [[ChunkColumn]](repeating: [], count: slotCount)
    }

    private mutating func take(_ column: ChunkColumn, at place: Int) throws {
        if column.isEmpty { return }
        sampleCount += column.count
        guard sampleCount <= samplesMax else {
            throw StorageError.limitExceeded(limit: "limits.query_samples", maximum: samplesMax)
        }
        pieces[place].append(column)
    }

    private mutating func endGroup() throws {
        guard let number = group, let slots = plan.slotsByGroup[number] else { return }
        group = nil
        if let newest = head.removeValue(forKey: number) {
            for (place, wanted) in slots.enumerated() {
                let column: ChunkColumn
                do throws(ChunkError) {
                    column = try newest.column(slot: wanted.slot, after: after, through: through)
                } catch { throw StorageError.corrupt("the head of group \(number): \(error)") }
                try take(column, at: place)
            }
        }
        for (place, wanted) in slots.enumerated() {
            if pieces[place].count > 1 {
                columns[wanted.index].reserve(
                    pieces[place].reduce(0) { $0 + $1.timestamps.count })
            }
            for piece in pieces[place] { columns[wanted.index].merge(piece) }
            pieces[place] = []
        }
    }
}
