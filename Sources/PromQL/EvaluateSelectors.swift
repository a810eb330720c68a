import Model
import PromQLSyntax

/// What an instant selector yields of the samples it finds.
enum SelectorOutput {
    case values
    /// Their times in seconds; the rows lose their names.
    case sampleTimes
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
            let values =
                selector.edges == .smoothed && output == .values
                ? smoothedColumn(columns, selector, grid)
                : instantColumn(columns, selector, grid, output)
            guard let values else { continue }
            rows.append(
                Row(
                    labels: columns.labels, dropsName: output == .sampleTimes, values: values))
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
        return series
    }

    /// Nil where no step has a sample. Two cursors: O(samples + steps).
    private func instantColumn(
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

    /// The series that a range function reads, without staleness markers.
    func rangeSeries(
        _ range: RangePlan, _ grid: StepGrid
    ) throws(QueryError) -> [RangeSeries] {
        switch range.source {
        case .selector:
            return try selected(range.selector).map { columns in
                guard columns.values.contains(where: StalenessMarker.isMarker) else {
                    return RangeSeries(
                        labels: columns.labels, dropsName: false, timestamps: columns.timestamps,
                        values: columns.values)
                }
                let kept = columns.values.indices.filter {
                    !StalenessMarker.isMarker(columns.values[$0])
                }
                return RangeSeries(
                    labels: columns.labels, dropsName: false,
                    timestamps: kept.map { columns.timestamps[$0] },
                    values: kept.map { columns.values[$0] })
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
        return rows.map { row in
            let kept = row.values.indices.filter { !Row.isAbsent(row.values[$0]) }
            return RangeSeries(
                labels: row.labels, dropsName: row.dropsName,
                timestamps: kept.map { grid.time($0) }, values: kept.map { row.values[$0] })
        }
    }
}

/// The index of the first timestamp later than `time`, not before `start`.
///
/// Walks a few steps, then searches: O(1) for a sliding cursor, O(log n) for a jump.
func firstIndex(after time: Int64, in timestamps: [Int64], from start: Int) -> Int {
    var low = start
    let near = min(timestamps.count, start + 16)
    while low < near {
        if timestamps[low] > time { return low }
        low += 1
    }
    var high = timestamps.count
    while low < high {
        let middle = low + (high - low) / 2
        if timestamps[middle] > time { high = middle } else { low = middle + 1 }
    }
    return low
}
