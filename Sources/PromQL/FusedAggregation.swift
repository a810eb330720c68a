import Model
import PromQLSyntax

/// Aggregations that take in the columns of their operand as these are computed.
///
/// `sum(rate(x[5m]))` then holds its groups × steps and the columns under way, instead of the operand's series × steps.
/// Columns go in in the order of the series, so that every bit of the result is as if the operand had been there.
extension Evaluator {
    /// The result of an aggregation; nil where its operand has to be there as a whole: it is no selector and no range
    /// function, or has edges or native histograms.
    func fused(_ plan: AggregationPlan, _ grid: StepGrid) throws(QueryError) -> [Row]? {
        guard let fold = columnFold(plan.operation, steps: grid.count) else { return nil }
        var groups = FoldedGroups(self, plan, grid, fold)
        switch plan.operand {
        case .selector(let selector):
            guard selector.edges == .plain, hasNumbersAlone(selector) else { return nil }
            try take(selector, grid, into: &groups)
        case .rangeCall(let call):
            guard call.range.selector.edges == .plain, call.function != .absent else { return nil }
            if case .selector = call.range.source, !hasNumbersAlone(call.range.selector) {
                return nil
            }
            let series = try rangeSeries(call.range, grid)
            guard series.allSatisfy(\.histograms.isEmpty) else {
                // What a subquery has yielded is not computed again.
                let input = try withoutDroppedNames(rows(call, series, grid), of: plan.operand)
                return try aggregated(plan, input, grid)
            }
            try take(call, series, grid, into: &groups)
        case .number, .string, .time, .sampleTimes, .startTimes, .invariant, .negation, .binary,
            .aggregation, .call, .info:
            return nil
        }
        return groups.finish()
    }

    private func hasNumbersAlone(_ selector: SelectorPlan) -> Bool {
        data[selector.request].allSatisfy(\.histograms.isEmpty)
    }

    private func take(
        _ selector: SelectorPlan, _ grid: StepGrid, into groups: inout FoldedGroups
    ) throws(QueryError) {
        try hold(grid.count)
        for (number, columns) in try selected(selector).enumerated() {
            if number & 255 == 0 { try checkCancelled() }
            guard let values = instantColumn(columns, selector, grid, .values) else { continue }
            try groups.add(Row(labels: columns.labels, dropsName: false, values: values))
        }
        release(points: grid.count)
    }

    private func take(
        _ call: RangeCallPlan, _ series: [RangeSeries], _ grid: StepGrid,
        into groups: inout FoldedGroups
    ) throws(QueryError) {
        let threads = threadCount(call, series, grid)
        let batch = threads > 1 ? min(Self.fusedBatch, series.count) : 1
        let drops = dropsNamesAtOnce && !call.function.keepsName
        let mayCollide = drops && differInMetadata(series.lazy.map(\.labels))
        let needsLabels = mayCollide || groups.lookAtMetadata
        var seen: Set<Labels> = []
        try hold(series: batch, grid)
        try forEachRow(call, series, grid, threads: threads, batch: batch) {
            row throws(QueryError) in
            var row = row
            if drops {
                if needsLabels { row.labels = row.labels.droppingMetadata() }
                row.dropsName = false
                if mayCollide, !seen.insert(row.labels).inserted { throw .duplicateLabelset }
            }
            try groups.add(row)
        }
        release(series: batch, grid)
    }

    /// Series whose columns are computed together, where that is done on several threads.
    private static let fusedBatch = 64
}

/// The groups of an aggregation under way.
private struct FoldedGroups {
    private let evaluator: Evaluator
    private let grid: StepGrid
    private var grouping: Grouping
    private var fold: any ColumnFold
    /// Whether rows of one group may have different names, types or units among the labels that it keeps.
    let lookAtMetadata: Bool

    init(
        _ evaluator: Evaluator, _ plan: AggregationPlan, _ grid: StepGrid, _ fold: any ColumnFold
    ) {
        self.evaluator = evaluator
        self.grid = grid
        self.fold = fold
        grouping = Grouping(plan)
        lookAtMetadata = plan.isWithout || plan.grouping.contains(where: Labels.isMetadata)
    }

    /// Takes in a row that has a value.
    mutating func add(_ row: Row) throws(QueryError) {
        let known = grouping.labels.count
        let group = grouping.group(of: row.labels, dropsName: row.dropsName)
        if group == known {
            try evaluator.hold(rowAfter: known, grid)
            try evaluator.hold((fold.cellWeight - 1) * grid.count)
        }
        fold.add(row.values, to: group)
    }

    /// The results, in the order in which their groups came up.
    mutating func finish() -> [Row] {
        var rows: [Row] = []
        rows.reserveCapacity(grouping.labels.count)
        for (group, labels) in grouping.labels.enumerated() {
            rows.append(
                Row(
                    labels: labels, dropsName: grouping.dropsName[group],
                    values: fold.take(group)))
        }
        evaluator.release(points: rows.count * (fold.cellWeight - 1) * grid.count)
        return rows
    }
}
