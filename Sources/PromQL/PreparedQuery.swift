package import Model
package import PromQLSyntax

/// A query made ready for its time range: what to read, and what to make of it.
///
/// Pure: reading `selections` is the caller's work, and so is measuring time.
package struct PreparedQuery: Sendable {
    /// What to read, one a distinct selector and time range; `evaluate` takes the answers in this order.
    package let selections: [SelectorRequest]
    /// Whether the result at a step is the same whatever other steps are asked for, and stays the same while no sample at
    /// or before it is added or taken away: nothing is anchored by `@`, reads ahead or depends on the query's range.
    package let isSeparable: Bool
    private let parameters: QueryParameters
    private let plan: TopPlan
    private let grid: StepGrid

    private enum TopPlan: Sendable {
        case value(Plan)
        /// An instant query for a range vector.
        case range(RangePlan)
    }

    /// Plans `expression`, as parsed, for `parameters`.
    ///
    /// Throws `invalidParameter` for impossible times or durations, `invalidRangeQueryType`, `stepsExceeded`,
    /// `depthExceeded`, `samplesExceeded` for a subquery of too many steps, `invalidRangeEdges`, `unsupported`.
    package init(
        _ expression: Expression, parameters: QueryParameters
    ) throws(QueryError) {
        self.parameters = parameters
        grid = try Self.grid(parameters)
        let rangeMS = parameters.end.rawValue - parameters.start.rawValue
        let resolved: Expression
        do throws(DurationResolutionError) {
            resolved = try expression.resolvingDurations(
                stepMS: rangeMS == 0 ? 0 : parameters.stepMS, rangeMS: rangeMS)
        } catch {
            throw .invalidParameter(name: "query", reason: error.message)
        }
        let type = resolved.valueType
        if !parameters.isInstant, type == .string || type == .matrix {
            throw .invalidRangeQueryType(type.documentedName)
        }
        var planner = Planner(parameters)
        if type == .matrix, let range = try planner.planRange(resolved, grid, depth: 0) {
            plan = .range(range)
        } else {
            plan = .value(try planner.plan(resolved, grid))
        }
        selections = planner.requests
        let usesRange: Bool
        do throws(DurationResolutionError) {
            usesRange = try expression.resolvingDurations(stepMS: 0, rangeMS: 0) != resolved
        } catch { usesRange = true }
        isSeparable = planner.isSeparable && !usesRange
    }

    /// The result over `data`, where `data[i]` are the series of `selections[i]` in ascending label order.
    ///
    /// Samples outside the requested range are allowed and ignored. `isCancelled` is asked often, also on other threads;
    /// once true, throws `canceled`. `mayHold` is asked, before so many samples and points are held in memory in all, for more each time;
    /// once false, throws `crowded`. O(samples + series × steps) for most queries.
    package func evaluate(
        _ data: [[SeriesColumns]], isCancelled: @escaping () -> Bool = { false },
        mayHold: @escaping (Int) -> Bool = { _ in true }
    ) throws(QueryError) -> QueryResult {
        precondition(data.count == selections.count, "one answer a selection")
        let samples = data.reduce(0) { sum, series in
            series.reduce(sum) { sum, columns in
                columns.histograms.reduce(sum + columns.values.count) {
                    $0 + $1.histogram.weight
                }
            }
        }
        let evaluator = Evaluator(
            data: data, parameters: parameters, isCancelled: isCancelled, mayHold: mayHold)
        try evaluator.hold(samples)
        let value: QueryValue
        switch plan {
        case .range(let range):
            value = .matrix(try rangeVector(range, evaluator))
        case .value(let plan):
            let result = try evaluator.evaluate(plan, grid)
            value =
                parameters.isInstant
                ? try instantValue(result) : try matrix(result, evaluator)
        }
        return QueryResult(
            value: value, annotations: evaluator.annotations, samplesRead: samples)
    }

    private static func grid(_ parameters: QueryParameters) throws(QueryError) -> StepGrid {
        let start = parameters.start.rawValue
        let end = parameters.end.rawValue
        guard (-timeMax...timeMax).contains(start), (-timeMax...timeMax).contains(end),
            (0...timeMax).contains(parameters.lookbackDeltaMS), parameters.stepMS <= timeMax
        else {
            throw .invalidParameter(name: "time", reason: "time out of range")
        }
        if parameters.isInstant {
            guard start == end else {
                throw .invalidParameter(name: "end", reason: "an instant query has one time")
            }
            return StepGrid(start: start, end: end, step: 1)
        }
        guard parameters.stepMS > 0 else {
            throw .invalidParameter(
                name: "step",
                reason: "zero or negative query resolution step widths are not accepted. "
                    + "Try a positive integer")
        }
        guard end >= start else {
            throw .invalidParameter(
                name: "end", reason: "end timestamp must not be before start time")
        }
        guard (end - start) / parameters.stepMS <= Int64(parameters.limits.stepsMax) else {
            throw .stepsExceeded(max: parameters.limits.stepsMax)
        }
        return StepGrid(start: start, end: end, step: parameters.stepMS)
    }

    private func instantValue(_ value: Value) throws(QueryError) -> QueryValue {
        let time = TimestampMS(grid.start)
        switch value {
        case .scalar(let numbers): return .scalar(Sample(time, numbers[0]))
        case .string(let text): return .string(text, at: time)
        case .vector(let rows):
            var seen: Set<Labels> = []
            var elements: [VectorElement] = []
            elements.reserveCapacity(rows.count)
            for row in rows where row.isPresent(0) {
                let labels = row.dropsName ? row.labels.droppingMetadata() : row.labels
                guard seen.insert(labels).inserted else { throw .duplicateLabelset }
                let histogram = row.histogram(0)
                elements.append(
                    VectorElement(
                        labels: labels,
                        sample: Sample(time, histogram == nil ? row.values[0] : .nan),
                        histogram: histogram))
            }
            return .vector(elements)
        }
    }

    /// The rows as series in label order; rows that differed in their dropped names only are joined.
    private func matrix(
        _ value: Value, _ evaluator: Evaluator
    ) throws(QueryError) -> QueryValue {
        switch value {
        case .string: return .matrix([])
        case .scalar(let numbers):
            try evaluator.hold(numbers.count)
            let row = Row(labels: .empty, dropsName: false, values: numbers)
            return .matrix([columns(row, row.pointCounts)])
        case .vector(let rows):
            let named = rows.map { row in
                var row = row
                if row.dropsName { row.labels = row.labels.droppingMetadata() }
                return row
            }
            var series: [SeriesColumns] = []
            var points = 0
            for row in try evaluator.joined(named) {
                try evaluator.checkCancelled()
                let counts = row.pointCounts
                guard counts.numbers + counts.histograms > 0 else { continue }
                try hold(counts, after: &points, evaluator)
                series.append(columns(row, counts))
            }
            return .matrix(series.sorted { $0.labels < $1.labels })
        }
    }

    /// Counts points of an answer that has `points` before as held, beside what they are made of, whose buckets they share.
    private func hold(
        _ counts: (numbers: Int, histograms: Int), after points: inout Int, _ evaluator: Evaluator
    ) throws(QueryError) {
        points += counts.numbers + counts.histograms
        guard points <= parameters.limits.pointsMax else {
            throw .pointsExceeded(max: parameters.limits.pointsMax)
        }
        try evaluator.hold(counts.numbers + counts.histograms * Row.histogramCellWeight)
    }

    private func columns(
        _ row: Row, _ counts: (numbers: Int, histograms: Int)
    ) -> SeriesColumns {
        var columns = SeriesColumns(labels: row.labels)
        columns.timestamps.reserveCapacity(counts.numbers)
        columns.values.reserveCapacity(counts.numbers)
        columns.histograms.reserveCapacity(counts.histograms)
        for step in row.values.indices where !Row.isAbsent(row.values[step]) {
            columns.timestamps.append(grid.time(step))
            columns.values.append(row.values[step])
        }
        for step in row.histograms.indices {
            guard let histogram = row.histograms[step] else { continue }
            columns.histograms.append(HistogramSample(grid.time(step), histogram))
        }
        return columns
    }

    private func rangeVector(
        _ range: RangePlan, _ evaluator: Evaluator
    ) throws(QueryError) -> [SeriesColumns] {
        let windows = Windows(range, grid)
        var result: [SeriesColumns] = []
        var points = 0
        for series in try evaluator.rangeSeries(range, grid) {
            try evaluator.checkCancelled()
            var columns = SeriesColumns(
                labels: series.dropsName ? series.labels.droppingMetadata() : series.labels)
            if range.selector.edges == .plain {
                let lower = firstIndex(after: windows.start(0), in: series.timestamps, from: 0)
                let upper = firstIndex(after: windows.end(0), in: series.timestamps, from: lower)
                columns.timestamps = Array(series.timestamps[lower..<upper])
                columns.values = Array(series.values[lower..<upper])
                columns.histograms = series.histograms.filter {
                    $0.timestamp > windows.start(0) && $0.timestamp <= windows.end(0)
                }
            } else {
                let points = try evaluator.edgedSamples(series, range, windows)
                columns.timestamps = points.map(\.timestamp.rawValue)
                columns.values = points.map(\.value)
            }
            if columns.values.isEmpty && columns.histograms.isEmpty { continue }
            try hold(
                (columns.values.count, columns.histograms.count), after: &points, evaluator)
            result.append(columns)
        }
        return result.sorted { $0.labels < $1.labels }
    }
}
