import Model
import PromQLSyntax
import QueryMath

/// What an instant selector yields of the samples it finds.
enum SelectorOutput {
    case values
    /// Their times in seconds; the rows lose their names.
    case sampleTimes
    /// Their start timestamps in seconds, 0 where they aren't known; the rows lose their names.
    case startTimes
}

extension Evaluator {
    /// One row a series that has a sample at any step: the latest one in `(reference - lookback, reference]`.
    func selectRows(
        _ selector: SelectorPlan, _ grid: StepGrid, _ output: SelectorOutput
    ) throws(QueryError) -> [Row] {
        let series = try selected(selector)
        try hold(series: series.count, grid)
        var rows: [Row] = []
        rows.reserveCapacity(series.count)
        for (number, columns) in series.enumerated() {
            if number & 255 == 0 { try checkCancelled() }
            var row = Row(labels: columns.labels, dropsName: output != .values, values: [])
            if selector.edges == .smoothed && output == .values {
                try smooth(columns, selector, grid, into: &row)
                if row.isEmpty { continue }
            } else if columns.histograms.isEmpty, output != .startTimes {
                guard let values = instantColumn(columns, selector, grid, output) else { continue }
                row.values = values
            } else {
                fill(&row, columns, selector, grid, output)
                if row.isEmpty { continue }
            }
            try hold(histogramsOf: row)
            rows.append(row)
        }
        release(series: series.count - rows.count, grid)
        return rows
    }

    /// The series read for `selector`.
    func selected(_ selector: SelectorPlan) throws(QueryError) -> [SeriesColumns] {
        let series = data[selector.request]
        guard series.count <= parameters.limits.seriesMax else {
            throw .seriesExceeded(max: parameters.limits.seriesMax)
        }
        guard selector.needsOnlyTotals, series.contains(where: { !$0.histograms.isEmpty }) else {
            return series
        }
        return series.map { columns in
            var columns = columns
            columns.histograms = totals(of: columns.histograms)
            return columns
        }
    }

    /// The histograms without their buckets, but with the counter resets that these tell.
    /// Source: Prometheus 3.14 `HistogramStatsIterator`.
    private func totals(of samples: [HistogramSample]) -> [HistogramSample] {
        var result = samples
        for index in samples.indices {
            let histogram = samples[index].histogram
            var hint = histogram.counterResetHint
            if hint == .unknown, index > 0 {
                hint = histogram.isReset(since: samples[index - 1].histogram) ? .reset : .notReset
            }
            result[index].histogram = FloatHistogram(
                schema: histogram.schema, count: histogram.count, sum: histogram.sum,
                counterResetHint: hint)
        }
        return result
    }

    /// Nil where no step has a sample. Two cursors: O(samples + steps).
    func instantColumn(
        _ columns: SeriesColumns, _ selector: SelectorPlan, _ grid: StepGrid,
        _ output: SelectorOutput
    ) -> [Double]? {
        var values = [Double](repeating: Row.absent, count: grid.count)
        var isEmpty = true
        let timestamps = columns.timestamps
        var next = 0
        for step in 0..<grid.count {
            let reference = selector.reference(at: grid.time(step))
            if selector.anchor == nil || step == 0 {
                next = firstIndex(after: reference, in: timestamps, from: next)
            }
            guard next > 0 else { continue }
            let time = timestamps[next - 1]
            let value = columns.values[next - 1]
            guard time > reference - parameters.lookbackDeltaMS,
                !StalenessMarker.isMarker(value)
            else { continue }
            values[step] = output == .values ? value : Double(time) / 1000
            isEmpty = false
        }
        return isEmpty ? nil : values
    }

    /// As `instantColumn`, for a series with histograms or for start timestamps: the later of the last number and the last
    /// histogram is the sample.
    private func fill(
        _ row: inout Row, _ columns: SeriesColumns, _ selector: SelectorPlan, _ grid: StepGrid,
        _ output: SelectorOutput
    ) {
        row.values = [Double](repeating: Row.absent, count: grid.count)
        let histogramTimes = columns.histograms.map(\.timestamp)
        var next = 0
        var nextHistogram = 0
        for step in 0..<grid.count {
            let reference = selector.reference(at: grid.time(step))
            if selector.anchor == nil || step == 0 {
                next = firstIndex(after: reference, in: columns.timestamps, from: next)
                nextHistogram = firstIndex(
                    after: reference, in: histogramTimes, from: nextHistogram)
            }
            let numberTime = next > 0 ? columns.timestamps[next - 1] : .min
            let histogramTime = nextHistogram > 0 ? histogramTimes[nextHistogram - 1] : .min
            let time = max(numberTime, histogramTime)
            guard time > reference - parameters.lookbackDeltaMS else { continue }
            let isHistogram = histogramTime > numberTime
            if !isHistogram, StalenessMarker.isMarker(columns.values[next - 1]) { continue }
            switch output {
            case .values:
                if isHistogram {
                    row.set(columns.histograms[nextHistogram - 1].histogram, step)
                } else {
                    row.values[step] = columns.values[next - 1]
                }
            case .sampleTimes: row.values[step] = Double(time) / 1000
            case .startTimes:
                let start =
                    isHistogram
                    ? columns.histograms[nextHistogram - 1].startTimestamp
                    : columns.startTimestamps.isEmpty ? 0 : columns.startTimestamps[next - 1]
                row.values[step] = Double(start) / 1000
            }
        }
    }

    /// The series that a range function reads, without staleness markers.
    func rangeSeries(
        _ range: RangePlan, _ grid: StepGrid
    ) throws(QueryError) -> [RangeSeries] {
        switch range.source {
        case .selector:
            let wantsStart = parameters.usesStartTimestamps
            return try selected(range.selector).map { columns in
                var series = RangeSeries(
                    labels: columns.labels, dropsName: false, timestamps: columns.timestamps,
                    values: columns.values,
                    startTimestamps: wantsStart ? columns.startTimestamps : [],
                    histogramTimestamps: columns.histograms.map(\.timestamp),
                    histograms: columns.histograms)
                if columns.values.contains(where: { StalenessMarker.isMarker($0) }) {
                    series.keepValues { !StalenessMarker.isMarker($0) }
                }
                return series
            }
        case .subquery(let plan, let inner):
            return try columns(of: try evaluate(plan, inner), inner)
        }
    }

    /// The samples of an intermediate result as series.
    private func columns(
        of value: Value, _ grid: StepGrid
    ) throws(QueryError) -> [RangeSeries] {
        let rows: [Row]
        switch value {
        case .string: return []
        case .scalar(let numbers):
            rows = [Row(labels: .empty, dropsName: false, values: numbers)]
        case .vector(let found): rows = found
        }
        // Times and values of their own, which outlive the rows.
        try hold(series: rows.count, grid)
        var result: [RangeSeries] = []
        result.reserveCapacity(rows.count)
        for row in rows {
            // The buckets are those of the rows.
            try hold(row.histograms.count * Row.histogramCellWeight)
            let kept = row.values.indices.filter { !Row.isAbsent(row.values[$0]) }
            var series = RangeSeries(
                labels: row.labels, dropsName: row.dropsName,
                timestamps: kept.map { grid.time($0) }, values: kept.map { row.values[$0] })
            for step in row.histograms.indices {
                guard var histogram = row.histograms[step] else { continue }
                // A sample may be missing before this one, or be here twice: what its hint says of the sample before
                // doesn't hold. Source: Prometheus 3.14 `evalSubquery`.
                if histogram.counterResetHint != .gauge { histogram.counterResetHint = .unknown }
                series.histogramTimestamps.append(grid.time(step))
                series.histograms.append(HistogramSample(grid.time(step), histogram))
            }
            result.append(series)
        }
        return result
    }
}

extension RangeSeries {
    /// Drops the values (not the histograms) that `isKept` refuses.
    fileprivate mutating func keepValues(_ isKept: (Double) -> Bool) {
        let kept = values.indices.filter { isKept(values[$0]) }
        timestamps = kept.map { timestamps[$0] }
        if !startTimestamps.isEmpty { startTimestamps = kept.map { startTimestamps[$0] } }
        values = kept.map { values[$0] }
    }
}

/// The index of the first timestamp later than `time`, not before `start`.
///
/// Walks a few steps, then gallops and searches: O(1) for a sliding cursor, O(log of the distance) for a jump.
func firstIndex(after time: Int64, in timestamps: [Int64], from start: Int) -> Int {
    var low = start
    let near = min(timestamps.count, start + 16)
    while low < near {
        if timestamps[low] > time { return low }
        low += 1
    }
    var stride = 16
    var high = low
    while high < timestamps.count, timestamps[high] <= time {
        low = high + 1
        high += stride
        stride *= 2
    }
    high = min(high, timestamps.count)
    while low < high {
        let middle = low + (high - low) / 2
        if timestamps[middle] > time { high = middle } else { low = middle + 1 }
    }
    return low
}
