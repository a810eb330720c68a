import ChunkCodec
import Model
import Postgres
import Storage

/// Gathers the columns of a read out of chunks, group by group: those of a group in the order of their seals within each
/// window, wherever they come from, and then what the head has of it.
struct ChunkReading {
    /// What the slots want lies in it.
    let span: TimeSpan
    /// Retention classes of the groups that are read.
    let classes: Set<Int16>
    /// Windows of which all chunks that are read are kept for the cache.
    var remembers: ClosedRange<Int64>?
    private var columns: [(index: Int, column: ChunkColumn)] = []
    private var slotsByGroup: [Int32: [WantedSlot]] = [:]
    private let deletions: [Int32: [(slot: Int, deletion: Deletion)]]
    private let meter: SampleMeter
    /// Bytes of chunks at most that are kept for the cache.
    private let remembersMax: Int
    /// What the head has of the groups that are read.
    private var head: [Int32: MetricHead.Pieces] = [:]
    private var times = JoinedTimes()
    /// The group whose chunks are coming, its wanted slots, and the pieces of each.
    private var group: Int32?
    private var slots: [WantedSlot] = []
    private var pieces: [[ChunkColumn]] = []
    /// Windows that need not be read, of each group in descending order.
    private var cached: [Int32: [(window: Int64, chunks: [Chunk])]] = [:]
    private var memory: [ChunkWindow: [Chunk]] = [:]
    private var memoryByteCount = 0

    /// Reads of `unit` what is in `groups`, as one of `jobCount` parts of a read.
    init(
        _ unit: ReadUnit, of plan: SelectionPlan, groups: [Int32],
        head: [Int32: MetricHead.Pieces], meter: SampleMeter, jobCount: Int
    ) {
        span = unit.span
        classes = plan.classes
        deletions = plan.deletions
        self.meter = meter
        remembersMax = ChunkCache.bytesPerReadMax / jobCount
        for group in groups {
            self.head[group] = head[group]
            slotsByGroup[group] = unit.slotsByGroup[group]
        }
    }

    /// Takes what the cache found, but for the windows that will be read all the same.
    mutating func take(_ found: ChunkCache.Found) {
        cached = found.chunks.mapValues { windows in
            windows.filter { found.missing?.contains($0.window) != true }.reversed()
        }
    }

    /// Takes a row of `grp, first_ms, data, seal`; those of a group come together, in order of their windows.
    mutating func take(_ row: PostgresRows) throws {
        let number = try row.int4(0, 0)
        guard slotsByGroup[number] != nil else { return }
        if number != group { try begin(number) }
        let window = ChunkWindow(group: number, holding: try row.integer(0, 1))
        try takeCached(before: window.number)
        let chunk: Chunk
        do throws(ChunkError) { chunk = try Chunk(row.bytes(0, 2)) } catch {
            throw StorageError.corrupt("a chunk of group \(number): \(error)")
        }
        guard let deleted = deletions[number] else {
            remember(chunk, window)
            return try take(chunk)
        }
        // What is deleted is left out of what is remembered, too.
        let seal = try row.integer(0, 3)
        guard let left = try Self.without(deleted.filter { $0.deletion.seal >= seal }, chunk) else {
            return
        }
        remember(left, window)
        try take(left)
    }

    /// The chunk without what is deleted; nil where nothing is left.
    private static func without(
        _ deleted: [(slot: Int, deletion: Deletion)], _ chunk: Chunk
    ) throws(StorageError) -> Chunk? {
        guard !deleted.isEmpty else { return chunk }
        var columns: [ChunkColumn] = []
        do throws(ChunkError) {
            for slot in 0..<chunk.slotCount { columns.append(try chunk.column(slot: slot)) }
        } catch {
            throw .corrupt("a chunk from \(chunk.timestamps.first ?? 0) ms: \(error)")
        }
        for (slot, deletion) in deleted where slot < columns.count {
            columns[slot].remove(deletion.from, through: deletion.through)
        }
        return columns.allSatisfy(\.isEmpty) ? nil : Chunk(of: columns)
    }

    private mutating func remember(_ chunk: Chunk, _ window: ChunkWindow) {
        guard remembers != nil else { return }
        memoryByteCount += chunk.memoryByteCount
        guard memoryByteCount <= remembersMax else {
            remembers = nil
            memory = [:]
            return
        }
        memory[window, default: []].append(chunk)
    }

    /// For the cache: every window in `remembers` of `groups`; none where they were too many.
    func remembered(_ groups: [Int32]) -> [ChunkWindow: [Chunk]] {
        guard let remembers else { return [:] }
        var result = memory
        for group in groups {
            for number in remembers {
                let window = ChunkWindow(group: group, number: number)
                if result[window] == nil { result[window] = [] }
            }
        }
        return result
    }

    /// Joins the last group, and takes the groups that the cache and the head alone have.
    mutating func finish() throws {
        try endGroup()
        for number in head.keys.sorted() {
            try begin(number)
            try endGroup()
        }
    }

    /// The columns that are not empty, with their places in the plan; see `finish`.
    func finished() throws(StorageError) -> [(index: Int, column: ChunkColumn)] {
        var reading = self
        do { try reading.finish() } catch { throw storageError(error) }
        return reading.columns
    }

    private mutating func takeCached(before window: Int64) throws {
        guard let group else { return }
        while let next = cached[group]?.last, next.window < window {
            cached[group]?.removeLast()
            for chunk in next.chunks { try take(chunk) }
        }
    }

    private mutating func take(_ chunk: Chunk) throws {
        guard let group, chunk.overlaps(after: span.after, through: span.through) else { return }
        for (place, wanted) in slots.enumerated() where wanted.slot < chunk.slotCount {
            let span = wanted.span
            guard chunk.overlaps(after: span.after, through: span.through) else { continue }
            let column: ChunkColumn
            do throws(ChunkError) { column = try chunk.column(slot: wanted.slot) } catch {
                throw StorageError.corrupt(
                    "a chunk of group \(group) from \(chunk.timestamps.first ?? 0) ms: \(error)")
            }
            try take(column.cut(after: span.after, through: span.through), at: place)
        }
    }

    private mutating func begin(_ number: Int32) throws {
        try endGroup()
        group = number
        slots = slotsByGroup[number] ?? []
        pieces = [[ChunkColumn]](repeating: [], count: slots.count)
    }

    private mutating func take(_ column: ChunkColumn, at place: Int) throws {
        if column.isEmpty { return }
        // A histogram weighs what its buckets do.
        try meter.take(
            column.histograms.reduce(column.values.count) { $0 + $1.histogram.weight })
        pieces[place].append(column)
    }

    private mutating func endGroup() throws {
        guard let number = group else { return }
        try takeCached(before: .max)
        group = nil
        if let newest = head.removeValue(forKey: number) {
            for (place, wanted) in slots.enumerated() {
                let column: ChunkColumn
                do throws(ChunkError) {
                    column = try newest.column(
                        slot: wanted.slot, after: wanted.span.after,
                        through: wanted.span.through)
                } catch { throw StorageError.corrupt("the head of group \(number): \(error)") }
                try take(column, at: place)
            }
        }
        for (place, wanted) in slots.enumerated() where !pieces[place].isEmpty {
            columns.append((wanted.index, ChunkColumn.joined(pieces[place], &times)))
            pieces[place] = []
        }
    }
}
