import ChunkCodec
package import Model
import Postgres
package import Storage
import Synchronization

// One statement serves all selections of about the same times: the windows of the groups concerned that the cache lacks;
// none is needed where all that is asked for is newer than any chunk. What lies between two times far from each other is not
// read. A long read is several statements, of a part of the groups each, which are decoded beside each other. Of a chunk only
// the wanted slots are decoded. The head is looked at first, once: what a seal takes out of it in between is in the database
// by then, and what is in both is the same.

extension CollectorStore: MetricReader {
    package func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]] {
        // Before the plan, which knows what is deleted: what is read by it may be older than that.
        let generation = metrics.cache.generation
        let plan = try planned(selections, limits)
        // Before the chunks: what a seal takes out of the head in between is in the database by then.
        let (head, sealedThrough) = metrics.head.pieces(of: plan.groups.sorted())
        let meter = SampleMeter(samplesMax: limits.samplesMax, share: share)
        var jobs: [(unit: ReadUnit, groups: [Int32])] = []
        for unit in plan.units() {
            for run in unit.runs(taskCount(unit)) { jobs.append((unit, run)) }
        }
        let jobCount = jobs.count
        let columns = try await gathered(jobs, plan.wanted.count) {
            unit, run throws(StorageError) in
            let reading = ChunkReading(
                unit, of: plan, groups: run, head: head, meter: meter, jobCount: jobCount)
            return try await self.columns(
                reading, run, sealedThrough: min(sealedThrough ?? .max, unit.span.through),
                generation: generation)
        }
        return zip(selections, plan.bySelection).map { selection, places in
            places.compactMap { place -> SeriesColumns? in
                let column = columns[place].cut(
                    after: selection.after.rawValue, through: selection.through.rawValue)
                guard !column.isEmpty else { return nil }
                return SeriesColumns(
                    labels: plan.wanted[place].labels, timestamps: column.timestamps,
                    values: column.values, startTimestamps: column.startTimestamps,
                    histograms: column.histograms)
            }
        }
    }

    private typealias PlacedColumns = [(index: Int, column: ChunkColumn)]

    /// How many tasks a read is worth: a chunk comes with all its series, whichever are wanted.
    private func taskCount(_ unit: ReadUnit) -> Int {
        let windows = unit.span.length / MetricHead.windowMilliseconds + 1
        let (work, overflow) = Int64(unit.slotsByGroup.count * Chunk.slotsMax)
            .multipliedReportingOverflow(by: windows)
        guard !overflow else { return configuration.readTasksMax }
        return Int(min(Int64(configuration.readTasksMax), 1 + work / Self.windowsPerTask))
    }

    /// The columns that `body` finds in all `jobs`, by their places in the plan; as many jobs at once as a read may have tasks.
    private func gathered(
        _ jobs: [(unit: ReadUnit, groups: [Int32])], _ count: Int,
        _ body: @escaping @Sendable (ReadUnit, [Int32]) async throws(StorageError) -> PlacedColumns
    ) async throws(StorageError) -> [ChunkColumn] {
        var pieces = [[ChunkColumn]](repeating: [], count: count)
        func take(_ columns: PlacedColumns) {
            for (index, column) in columns { pieces[index].append(column) }
        }
        if jobs.count == 1 {
            take(try await body(jobs[0].unit, jobs[0].groups))
        } else {
            do {
                try await withThrowingTaskGroup(of: PlacedColumns.self) { group in
                    for (number, job) in jobs.enumerated() {
                        if number >= configuration.readTasksMax, let found = try await group.next()
                        {
                            take(found)
                        }
                        group.addTask { try await body(job.unit, job.groups) }
                    }
                    for try await found in group { take(found) }
                }
            } catch { throw storageError(error) }
        }
        var times = JoinedTimes()
        return pieces.map { ChunkColumn.joined($0, &times) }
    }

    /// The columns that `reading` wants of `groups`, out of the cache and, where windows lack there, the database.
    private func columns(
        _ reading: ChunkReading, _ groups: [Int32], sealedThrough: Int64, generation: UInt64
    ) async throws(StorageError) -> PlacedColumns {
        // Samples are neither older than the epoch nor newer than the year 9999.
        let first = ChunkWindow.number(of: max(reading.span.after, -1) + 1)
        let last = ChunkWindow.number(of: min(sealedThrough, Self.timeMax))
        guard reading.span.after < sealedThrough, first <= last else {
            return try reading.finished()
        }
        guard (last - first + 1) * Int64(groups.count) <= Self.cachedWindowsMax else {
            return try await fetched(reading, groups, first...last).finished()
        }
        let found = metrics.cache.windows(first...last, of: groups)
        var cached = reading
        cached.take(found)
        guard let missing = found.missing else { return try cached.finished() }
        cached.remembers = missing
        let complete = try await fetched(cached, groups, missing)
        metrics.cache.put(complete.remembered(groups), generation: generation)
        return try complete.finished()
    }

    /// Whole windows of the database.
    private func fetched(
        _ reading: ChunkReading, _ groups: [Int32], _ windows: ClosedRange<Int64>
    ) async throws(StorageError) -> ChunkReading {
        let from = windows.lowerBound * MetricHead.windowMilliseconds
        let through = (windows.upperBound + 1) * MetricHead.windowMilliseconds - 1
        return try await read { session in
            var reading = reading
            try session.forEachRow(
                """
                SELECT grp, first_ms, data, seal FROM petrel.chunk
                WHERE class = ANY ($7) AND day >= $1 AND day <= $2 AND grp = ANY ($3)
                    AND first_ms >= $4 AND first_ms <= $5
                ORDER BY grp, first_ms / $6, seal, first_ms
                """,
                [
                    .int4(dayOf(from)), .int4(dayOf(through)), .int4Array(groups), .int8(from),
                    .int8(through), .int8(MetricHead.windowMilliseconds),
                    .int4Array(reading.classes.sorted().map { Int32($0) }),
                ]
            ) { row in try reading.take(row) }
            try reading.finish()
            return reading
        }
    }

    private static let timeMax: Int64 = 253_402_300_799_999
    /// Reads of more windows pass the cache by: it would not take them in.
    private static let cachedWindowsMax: Int64 = 1024
    /// Windows of series that are read (about 480 samples each) for which another task is worth its while.
    private static let windowsPerTask: Int64 = 1024

    package func historyChange(since version: UInt64) -> HistoryChange {
        metrics.history.change(since: version)
    }

    package func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] {
        try catalogue.series.withLock { state throws(StorageError) in
            let stored = state.days.union(scope.days)
            if scope.matcherSets.isEmpty { return state.index.names { stored.contains($0) } }
            var names: Set<ExactText> = []
            for number in try state.index.matching(scope) where stored.contains(number) {
                for label in state.index.labels(of: number) ?? .empty {
                    names.insert(ExactText(label.name))
                }
            }
            return names.map(\.text)
        }.sorted(by: bytesPrecede)
    }

    package func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] {
        try catalogue.series.withLock { state throws(StorageError) in
            let stored = state.days.union(scope.days)
            if scope.matcherSets.isEmpty {
                return state.index.values(of: name) { stored.contains($0) }
            }
            var values: Set<ExactText> = []
            for number in try state.index.matching(scope) where stored.contains(number) {
                let value = state.index.labels(of: number)?[name] ?? ""
                if !value.isEmpty { values.insert(ExactText(value)) }
            }
            return values.map(\.text)
        }.sorted(by: bytesPrecede)
    }

    package func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        try catalogue.series.withLock { state throws(StorageError) in
            let stored = state.days.union(scope.days)
            return try state.index.matching(scope).filter { stored.contains($0) }
                .compactMap { state.index.labels(of: $0) }
        }.sorted()
    }

    package func metadata(
        metric: String?
    ) async throws(StorageError) -> [ExactText: [MetricMetadata]] {
        catalogue.series.withLock { state in
            guard let metric = metric.map({ ExactText($0) }) else { return state.metadata }
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
                // A series without a sample on these days costs nothing, not even its share of the limit.
                let stored = state.days.union(
                    dayOf(
                        selection.after.rawValue)...max(
                            dayOf(selection.after.rawValue), dayOf(selection.through.rawValue)))
                let numbers = try state.index.matching(selection.matchers).filter {
                    stored.contains($0)
                }
                seriesCount += numbers.count
                guard seriesCount <= limits.seriesMax else {
                    throw .limitExceeded(
                        limit: "limits.query_series", maximum: limits.seriesMax)
                }
                let span = TimeSpan(
                    after: selection.after.rawValue, through: selection.through.rawValue)
                guard span.after < span.through else {
                    plan.bySelection.append([])
                    continue
                }
                let places = numbers.compactMap { number in
                    plan.want(number, in: span) {
                        guard let place = state.places[number] else { return nil }
                        return (
                            place, state.index.labels(of: number) ?? .empty,
                            state.places.retentionClass(of: place.group)
                        )
                    }
                }
                plan.bySelection.append(
                    places.sorted { plan.wanted[$0].labels < plan.wanted[$1].labels })
            }
            plan.deletions = state.deletions(in: plan.groups)
            return plan
        }
    }
}

extension LabelScope {
    /// The days that it touches, since the Unix epoch.
    fileprivate var days: ClosedRange<Int32> {
        dayOf(start.rawValue)...max(dayOf(start.rawValue), dayOf(end.rawValue))
    }
}
