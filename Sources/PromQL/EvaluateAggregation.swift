import Model
import PromQLSyntax
import QueryMath

/// Rows by group: which group each row belongs to, found once for all steps.
struct Grouping {
    private(set) var labels: [Labels] = []
    private(set) var dropsName: [Bool] = []
    /// The group of each row.
    private(set) var ofRow: [Int] = []

    init(_ rows: [Row], _ plan: AggregationPlan) {
        var indices: [Labels: Int] = [:]
        let dropped = plan.grouping.union([Labels.metricNameLabel])
        ofRow.reserveCapacity(rows.count)
        for row in rows {
            let key: Labels
            if plan.isWithout {
                key = row.labels.dropping(dropped)
            } else {
                key = plan.grouping.isEmpty ? .empty : row.labels.keeping(plan.grouping)
            }
            let index = indices[key] ?? labels.count
            if index == labels.count {
                indices[key] = index
                labels.append(key)
                dropsName.append(false)
            }
            if row.dropsName { dropsName[index] = true }
            ofRow.append(index)
        }
    }
}

extension Evaluator {
    func evaluate(_ plan: AggregationPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        var parameters = [Double](repeating: 0, count: grid.count)
        var label = ""
        if let parameter = plan.parameter {
            if plan.operation == .countValues {
                label = try text(parameter, grid)
                guard !label.isEmpty, !label.unicodeScalars.contains("\u{fffd}") else {
                    throw .invalidLabelName("label name \(quoted(label))")
                }
            } else {
                parameters = try scalars(parameter, grid)
            }
        }
        let input = try rows(plan.operand, grid)
        let result: [Row]
        switch plan.operation {
        case .countValues: result = try countValues(plan, input, grid, label)
        case .topk, .bottomk, .limitK, .limitRatio:
            result = try selectRanked(plan, input, grid, parameters)
        case .quantile:
            remarkIgnored(input, plan)
            result = try quantiles(plan, input, grid, parameters)
        case .sum, .avg, .count, .min, .max, .group, .stddev, .stdvar:
            let grouping = Grouping(input, plan)
            try hold(series: grouping.labels.count, grid)
            if input.contains(where: \.hasHistograms) {
                result = try foldedWithHistograms(plan, input, grouping, grid)
            } else {
                result = folded(plan.operation, input, grouping, grid).filter { !$0.isEmpty }
            }
            release(series: input.count, grid)
        }
        return result
    }

    /// Remarks that histograms are left out, where there are any.
    func remarkIgnored(_ rows: [Row], _ plan: AggregationPlan) {
        if rows.contains(where: { $0.histograms.contains { $0 != nil } }) {
            remark(.ignoredInAggregation(plan.operation.rawValue), at: plan.operandPosition)
        }
    }

    /// One row a group, also for those without a number.
    func folded(
        _ operation: AggregationOperator, _ rows: [Row], _ grouping: Grouping, _ grid: StepGrid
    ) -> [Row] {
        switch operation {
        case .sum:
            return fold(rows, grouping, grid, KahanSum(), { $0.add($1) }, { $0.value })
        case .avg:
            return fold(rows, grouping, grid, KahanMean(), { $0.add($1) }, { $0.value })
        case .count: return fold(rows, grouping, grid, 0.0, { count, _ in count += 1 }, { $0 })
        case .group: return fold(rows, grouping, grid, 1.0, { _, _ in }, { $0 })
        case .min:
            return fold(
                rows, grouping, grid, Double.nan,
                { least, value in if least > value || least.isNaN { least = value } }, { $0 })
        case .max:
            return fold(
                rows, grouping, grid, Double.nan,
                { most, value in if most < value || most.isNaN { most = value } }, { $0 })
        case .stddev:
            return fold(
                rows, grouping, grid, Spread(), { $0.add($1) }, { $0.variance.squareRoot() })
        case .stdvar:
            return fold(rows, grouping, grid, Spread(), { $0.add($1) }, { $0.variance })
        case .topk, .bottomk, .quantile, .countValues, .limitK, .limitRatio:
            preconditionFailure("\(operation.rawValue) doesn't fold")
        }
    }

    /// One accumulator a group and step, fed row by row.
    private func fold<Accumulator>(
        _ rows: [Row], _ grouping: Grouping, _ grid: StepGrid, _ initial: Accumulator,
        _ add: (inout Accumulator, Double) -> Void, _ finish: (Accumulator) -> Double
    ) -> [Row] {
        let steps = grid.count
        let cells = grouping.labels.count * steps
        var accumulators = [Accumulator](repeating: initial, count: cells)
        var isSeen = [Bool](repeating: false, count: cells)
        for (number, row) in rows.enumerated() {
            let base = grouping.ofRow[number] * steps
            for step in 0..<steps {
                let value = row.values[step]
                if Row.isAbsent(value) { continue }
                isSeen[base + step] = true
                add(&accumulators[base + step], value)
            }
        }
        return grouping.labels.indices.map { group in
            let values = (0..<steps).map { step in
                let cell = group * steps + step
                return isSeen[cell] ? finish(accumulators[cell]) : Row.absent
            }
            return Row(
                labels: grouping.labels[group], dropsName: grouping.dropsName[group],
                values: values)
        }
    }

    private func quantiles(
        _ plan: AggregationPlan, _ rows: [Row], _ grid: StepGrid, _ wanted: [Double]
    ) throws(QueryError) -> [Row] {
        var odd: [Double] = []
        if let nan = wanted.first(where: \.isNaN) { odd.append(nan) }
        if let most = wanted.filter({ $0 > 1 }).max() { odd.append(most) }
        if let least = wanted.filter({ $0 < 0 }).min() { odd.append(least) }
        for value in odd {
            remark(.invalidQuantile(value), at: plan.parameterPosition)
        }
        let grouping = Grouping(rows, plan)
        var members = [[Int]](repeating: [], count: grouping.labels.count)
        for (row, group) in grouping.ofRow.enumerated() { members[group].append(row) }
        var result: [Row] = []
        for group in grouping.labels.indices {
            var row = Row(
                labels: grouping.labels[group], dropsName: grouping.dropsName[group],
                values: [Double](repeating: Row.absent, count: grid.count))
            for step in 0..<grid.count {
                if step & 63 == 0 { try checkCancelled() }
                var present = members[group].map { rows[$0].values[step] }
                present.removeAll(where: Row.isAbsent)
                guard !present.isEmpty else { continue }
                row.values[step] = quantile(wanted[step], sorted: present.sorted(by: nanFirst))
            }
            if !row.isEmpty { result.append(row) }
        }
        return result
    }

    private func countValues(
        _ plan: AggregationPlan, _ rows: [Row], _ grid: StepGrid, _ label: String
    ) throws(QueryError) -> [Row] {
        var keeping = plan
        if !plan.isWithout { keeping.grouping.insert(label) }
        let dropped = plan.grouping.union([Labels.metricNameLabel])
        var indices: [Labels: Int] = [:]
        var result: [Row] = []
        for (number, row) in rows.enumerated() {
            if number & 15 == 0 { try checkCancelled() }
            for step in row.values.indices where row.isPresent(step) {
                let text = row.histogram(step)?.text ?? GoFloat.plain(row.values[step])
                let named = row.labels.setting(label, text)
                let key =
                    plan.isWithout ? named.dropping(dropped) : named.keeping(keeping.grouping)
                let index = indices[key] ?? result.count
                if index == result.count {
                    try hold(rowAfter: result.count, grid)
                    try hold(text: text)
                    indices[key] = index
                    let empty = [Double](repeating: Row.absent, count: grid.count)
                    result.append(Row(labels: key, dropsName: false, values: empty))
                }
                let count = result[index].values[step]
                result[index].values[step] = Row.isAbsent(count) ? 1 : count + 1
            }
        }
        release(series: rows.count, grid)
        return result
    }
}

/// Count, mean and squared deviations of a group. Source: Prometheus 3.14 `aggregation` (stddev, stdvar).
private struct Spread {
    private var count = 0.0
    private var mean = 0.0
    private var squares = 0.0

    mutating func add(_ value: Double) {
        count += 1
        if count == 1 {
            mean = value
            squares = value.isFinite ? 0 : .nan
            return
        }
        let delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    }

    var variance: Double { squares / count }
}
