import Model
import PromQLSyntax
import QueryMath

extension Evaluator {
    /// A range function: one row an input series that has a result at any step.
    func evaluate(_ call: RangeCallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        try rows(call, rangeSeries(call.range, grid), grid)
    }

    /// The rows of `call` over `series`, counted as held.
    func rows(
        _ call: RangeCallPlan, _ series: [RangeSeries], _ grid: StepGrid
    ) throws(QueryError) -> [Row] {
        try hold(series: series.count, grid)
        var result: [Row] = []
        result.reserveCapacity(series.count)
        try forEachRow(
            call, series, grid, threads: threadCount(call, series, grid), batch: series.count
        ) { row throws(QueryError) in result.append(row) }
        release(series: series.count - result.count, grid)
        guard call.function == .absent else { return result }
        try hold(series: 1, grid)
        let absent = absentRows(
            result, grid, labels: call.absentLabels, dropsName: !dropsNamesAtOnce)
        release(series: 1 + result.count - absent.count, grid)
        return absent
    }

    /// Hands each row of `call` that has a sample to `body`, in the order of `series`. Where there are several threads,
    /// they compute `batch` columns at a time. What the rows hold is the caller's to count, but for histograms.
    func forEachRow(
        _ call: RangeCallPlan, _ series: [RangeSeries], _ grid: StepGrid, threads: Int, batch: Int,
        _ body: (Row) throws(QueryError) -> Void
    ) throws(QueryError) {
        var scalarColumns: [[Double]] = []
        for plan in call.scalars { scalarColumns.append(try scalars(plan, grid)) }
        var columns: [[Double]] = []
        for (number, input) in series.enumerated() {
            if number & 15 == 0 { try checkCancelled() }
            if threads > 1, number % batch == 0 {
                columns = []
                let end = min(series.count, number + batch)
                columns = columnsInParallel(call, series[number..<end], grid, threads: threads)
            }
            var row = Row(
                labels: input.labels, dropsName: input.dropsName || !call.function.keepsName,
                values: threads > 1
                    ? columns[number % batch] : try column(call, input, scalarColumns, grid))
            if !input.histograms.isEmpty { overlayHistograms(call, input, grid, on: &row) }
            if row.isEmpty { continue }
            try hold(histogramsOf: row)
            try body(row)
            if call.function == .rate || call.function == .increase,
                !row.hasHistograms || row.values.contains(where: { !Row.isAbsent($0) })
            {
                remarkNonCounter(input.labels.metricName, call.position)
            }
        }
        try checkCancelled()
    }

    /// The result of `call` for one series at every step.
    private func column(
        _ call: RangeCallPlan, _ input: RangeSeries, _ scalars: [[Double]], _ grid: StepGrid
    ) throws(QueryError) -> [Double] {
        if call.range.selector.edges != .plain {
            return extendedColumn(call, input, grid)
        }
        let windows = Windows(call.range, grid, isCancelled: isCancelled)
        switch call.function {
        case .rate, .increase:
            if input.startTimestamps.isEmpty {
                return plainColumn(call.function, input, windows)
            }
            return startedRateColumn(input, windows, perSecond: call.function == .rate) {
                self.remark(
                    .overlappingStartTime(metric: input.labels.metricName), at: call.position)
            }
        case .quantile:
            let position = call.position
            return quantileColumn(input, windows, scalars[0]) { value in
                self.remark(.invalidQuantile(value), at: position)
            }
        case .predictLinear: return predictColumn(input, windows, grid, ahead: scalars[0])
        case .doubleExponentialSmoothing:
            return try smoothingColumn(input, windows, scalars[0], scalars[1])
        case .delta, .irate, .idelta, .deriv, .changes, .resets, .sum, .avg, .min, .max, .count,
            .first, .last, .present, .absent, .stddev, .stdvar, .mad, .timeOfFirst, .timeOfLast,
            .timeOfMin, .timeOfMax:
            return plainColumn(call.function, input, windows)
        }
    }

    private func remarkNonCounter(_ name: String, _ position: Int) {
        let endings = ["_total", "_sum", "_count", "_bucket"]
        guard !name.isEmpty, !endings.contains(where: { name.utf8.hasEnding($0) }) else { return }
        remark(.possibleNonCounter(metric: name), at: position)
    }

    /// One row of ones where no row has a sample; none where every step has one.
    func absentRows(
        _ rows: [Row], _ grid: StepGrid, labels: Labels, dropsName: Bool
    ) -> [Row] {
        var values = [Double](repeating: 1, count: grid.count)
        for row in rows {
            for step in row.values.indices where row.isPresent(step) { values[step] = Row.absent }
        }
        let result = Row(labels: labels, dropsName: dropsName, values: values)
        return result.isEmpty ? [] : [result]
    }

    func smoothingColumn(
        _ input: RangeSeries, _ windows: Windows, _ factors: [Double], _ trends: [Double]
    ) throws(QueryError) -> [Double] {
        for factor in factors where factor <= 0 || factor >= 1 {
            throw .invalidAggregationParameter(
                "invalid smoothing factor. Expected: 0 < sf < 1, got: \(GoFloat.plain(factor))")
        }
        for trend in trends where trend <= 0 || trend >= 1 {
            throw .invalidAggregationParameter(
                "invalid trend factor. Expected: 0 < tf < 1, got: \(GoFloat.plain(trend))")
        }
        return smoothedColumn(input, windows, factors, trends)
    }
}

extension String.UTF8View {
    func hasEnding(_ ending: String) -> Bool {
        suffix(ending.utf8.count).elementsEqual(ending.utf8)
    }
}
