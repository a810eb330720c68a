import Model
import PromQLSyntax
import QueryMath

extension Evaluator {
    /// A range function: one row an input series that has a result at any step.
    func evaluate(_ call: RangeCallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let series = try rangeSeries(call.range, grid)
        var scalarColumns: [[Double]] = []
        for plan in call.scalars { scalarColumns.append(try scalars(plan, grid)) }
        try hold(series: series.count, grid)
        var rows: [Row] = []
        rows.reserveCapacity(series.count)
        for (number, input) in series.enumerated() {
            if number & 15 == 0 { try checkCancelled() }
            var row = Row(
                labels: input.labels, dropsName: input.dropsName || !call.function.keepsName,
                values: try column(call, input, scalarColumns, grid))
            if !input.histograms.isEmpty { overlayHistograms(call, input, grid, on: &row) }
            if row.isEmpty { continue }
            try hold(histogramsOf: row)
            rows.append(row)
            if call.function == .rate || call.function == .increase,
                !row.hasHistograms || row.values.contains(where: { !Row.isAbsent($0) })
            {
                remarkNonCounter(input.labels.metricName, call.position)
            }
        }
        try checkCancelled()
        release(series: series.count - rows.count, grid)
        guard call.function == .absent else { return rows }
        return absentRows(rows, grid, labels: call.absentLabels)
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
            let perSecond = call.function == .rate
            if input.startTimestamps.isEmpty {
                return rateColumn(input, windows, counter: true, perSecond: perSecond)
            }
            return startedRateColumn(input, windows, perSecond: perSecond) {
                self.remark(
                    .overlappingStartTime(metric: input.labels.metricName), at: call.position)
            }
        case .delta: return rateColumn(input, windows, counter: false, perSecond: false)
        case .quantile:
            let position = call.position
            return quantileColumn(input, windows, scalars[0]) { value in
                self.remark(.invalidQuantile(value), at: position)
            }
        case .predictLinear: return predictColumn(input, windows, grid, ahead: scalars[0])
        case .doubleExponentialSmoothing:
            return try smoothingColumn(input, windows, scalars[0], scalars[1])
        case .irate, .idelta, .deriv, .changes, .resets, .sum, .avg, .min, .max, .count, .first,
            .last, .present, .absent, .stddev, .stdvar, .mad, .timeOfFirst, .timeOfLast,
            .timeOfMin, .timeOfMax:
            return overTimeColumn(call.function, input, windows)
        }
    }

    private func remarkNonCounter(_ name: String, _ position: Int) {
        let endings = ["_total", "_sum", "_count", "_bucket"]
        guard !name.isEmpty, !endings.contains(where: { name.utf8.hasEnding($0) }) else { return }
        remark(.possibleNonCounter(metric: name), at: position)
    }

    /// One row of ones where no row has a sample; none where every step has one.
    func absentRows(_ rows: [Row], _ grid: StepGrid, labels: Labels) -> [Row] {
        var values = [Double](repeating: 1, count: grid.count)
        for row in rows {
            for step in row.values.indices where row.isPresent(step) { values[step] = Row.absent }
        }
        let result = Row(labels: labels, dropsName: true, values: values)
        return result.isEmpty ? [] : [result]
    }

    func smoothingColumn(
        _ input: RangeSeries, _ windows: Windows, _ factors: [Double], _ trends: [Double]
    ) throws(QueryError) -> [Double] {
        for factor in factors where !(factor > 0 && factor < 1) {
            throw .invalidAggregationParameter(
                "invalid smoothing factor. Expected: 0 < sf < 1, got: \(GoFloat.plain(factor))")
        }
        for trend in trends where !(trend > 0 && trend < 1) {
            throw .invalidAggregationParameter(
                "invalid trend factor. Expected: 0 < tf < 1, got: \(GoFloat.plain(trend))")
        }
        return slide(input, windows) { lower, upper, step in
            doubleExponentialSmoothing(
                input.values[lower..<upper], factor: factors[step], trend: trends[step])
        }
    }
}

extension String.UTF8View {
    func hasEnding(_ ending: String) -> Bool {
        suffix(ending.utf8.count).elementsEqual(ending.utf8)
    }
}

/// Holt-Winters without seasons; absent for fewer than two values.
/// Source: Prometheus 3.14 `double_exponential_smoothing`.
private func doubleExponentialSmoothing(
    _ values: ArraySlice<Double>, factor: Double, trend: Double
) -> Double {
    guard values.count > 1 else { return Row.absent }
    var older = 0.0
    var smoothed = values[values.startIndex]
    var slope = values[values.startIndex + 1] - smoothed
    for (number, value) in values.dropFirst().enumerated() {
        if number > 0 { slope = trend * (smoothed - older) + (1 - trend) * slope }
        let next = factor * value + (1 - factor) * (smoothed + slope)
        older = smoothed
        smoothed = next
    }
    return smoothed
}
