import Model
import PromQLSyntax
import QueryMath

/// A running result over native histograms.
private protocol HistogramAccumulator {
    init(_ first: FloatHistogram)
    mutating func add(_ histogram: FloatHistogram) throws(MixedBucketSchemas)
    var value: FloatHistogram { get }
    var merge: HistogramMerge { get }
}

extension HistogramSum: HistogramAccumulator {}
extension HistogramMean: HistogramAccumulator {}

/// Aggregations of vectors with native histograms. Source: Prometheus 3.14 `aggregation`.
extension Evaluator {
    /// `sum`, `avg`, `count` and `group` take histograms in, the others leave them out with a remark.
    func foldedWithHistograms(
        _ plan: AggregationPlan, _ rows: [Row], _ grouping: Grouping, _ grid: StepGrid
    ) throws(QueryError) -> [Row] {
        let result: [Row]
        switch plan.operation {
        case .sum: result = try merged(plan, rows, grouping, grid, HistogramSum.self)
        case .avg: result = try merged(plan, rows, grouping, grid, HistogramMean.self)
        case .count, .group:
            try hold(series: rows.count, grid)
            let present = rows.map { row in
                var row = row
                for step in row.histograms.indices where row.histograms[step] != nil {
                    row.values[step] = 0
                }
                return row
            }
            result = folded(plan.operation, present, grouping, grid)
            release(series: rows.count, grid)
        case .min, .max, .stddev, .stdvar, .topk, .bottomk, .quantile, .countValues, .limitK,
            .limitRatio:
            remarkIgnored(rows, plan)
            result = folded(plan.operation, rows, grouping, grid)
        }
        return result.filter { !$0.isEmpty }
    }

    /// The numbers folded as ever, and over them the histograms: a group that has both at one step has no result there.
    private func merged<Accumulator: HistogramAccumulator>(
        _ plan: AggregationPlan, _ rows: [Row], _ grouping: Grouping, _ grid: StepGrid,
        _ type: Accumulator.Type
    ) throws(QueryError) -> [Row] {
        var result = folded(plan.operation, rows, grouping, grid)
        var members = [[Int]](repeating: [], count: result.count)
        for (row, group) in grouping.ofRow.enumerated() { members[group].append(row) }
        for group in result.indices {
            guard members[group].contains(where: { rows[$0].hasHistograms }) else { continue }
            for step in 0..<grid.count {
                // A cell takes in all members.
                try checkCancelled()
                var cell = Cell<Accumulator>()
                for number in members[group] {
                    if let metric = cell.add(rows[number], step) {
                        remark(.mixedBuckets(metric: metric), at: plan.operandPosition)
                    }
                }
                guard cell.hasHistogram else { continue }
                result[group].values[step] = Row.absent
                var merge = cell.accumulator?.merge ?? HistogramMerge()
                if cell.hasNumber {
                    remark(.mixedAggregation, at: plan.operandPosition)
                } else if !cell.isIncompatible, let sum = cell.accumulator?.value {
                    result[group].set(sum.compacted(), step)
                }
                if cell.hasNumber || cell.isIncompatible { merge.hasResetConflict = false }
                remark(merge, in: .aggregation, at: plan.operandPosition)
            }
            try hold(histogramsOf: result[group])
        }
        return result
    }
}

/// One group at one step.
private struct Cell<Accumulator: HistogramAccumulator> {
    var accumulator: Accumulator?
    var hasNumber = false
    var hasHistogram = false
    /// Exponential and custom buckets have met: nothing counts any more.
    var isIncompatible = false

    /// The metric whose kind of buckets doesn't fit the others, where this is noticed first.
    mutating func add(_ row: Row, _ step: Int) -> String? {
        if isIncompatible { return nil }
        guard let histogram = row.histogram(step) else {
            if !Row.isAbsent(row.values[step]) { hasNumber = true }
            return nil
        }
        let isFirst = !hasNumber && !hasHistogram
        hasHistogram = true
        if isFirst { accumulator = Accumulator(histogram) }
        // Behind a number there is no sum to add to.
        if isFirst || accumulator == nil { return nil }
        do {
            try accumulator?.add(histogram)
            return nil
        } catch {
            isIncompatible = true
            return row.labels.metricName
        }
    }
}
