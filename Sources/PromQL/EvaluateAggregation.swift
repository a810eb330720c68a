import Model
import PromQLSyntax
import QueryMath

/// Rows by group: which group each row belongs to, found once for all steps.
struct Grouping {
    private(set) var labels: [Labels] = []
    private(set) var dropsName: [Bool] = []
    /// The group of each row.
    private(set) var ofRow: [Int] = []
    private var indices: [Labels: Int] = [:]
    private let isWithout: Bool
    /// The labels that groups keep, or with `without` lose.
    private let names: Set<String>

    /// No row yet.
    init(_ plan: AggregationPlan) {
        isWithout = plan.isWithout
        names = isWithout ? plan.grouping.union([Labels.metricNameLabel]) : plan.grouping
    }

    init(_ rows: [Row], _ plan: AggregationPlan) {
        self.init(plan)
        ofRow.reserveCapacity(rows.count)
        for row in rows { ofRow.append(group(of: row.labels, dropsName: row.dropsName)) }
    }

    /// The group of a row; those that come up first are counted up.
    mutating func group(of row: Labels, dropsName rowDropsName: Bool) -> Int {
        let key: Labels
        if isWithout {
            key = row.dropping(names)
        } else {
            key = names.isEmpty ? .empty : row.keeping(names)
        }
        let index = indices[key] ?? labels.count
        if index == labels.count {
            indices[key] = index
            labels.append(key)
            dropsName.append(false)
        }
        if rowDropsName { dropsName[index] = true }
        return index
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
        if let result = try fused(plan, grid) { return result }
        let input = try rows(plan.operand, grid)
        switch plan.operation {
        case .countValues: return try countValues(plan, input, grid, label)
        case .topk, .bottomk, .limitK, .limitRatio:
            return try selectRanked(plan, input, grid, parameters)
        case .quantile:
            remarkIgnored(input, plan)
            return try quantiles(plan, input, grid, parameters)
        case .sum, .avg, .count, .min, .max, .group, .stddev, .stdvar:
            return try aggregated(plan, input, grid)
        }
    }

    /// The result of an aggregation that folds, over rows that are held and given back.
    func aggregated(
        _ plan: AggregationPlan, _ input: [Row], _ grid: StepGrid
    ) throws(QueryError) -> [Row] {
        let grouping = Grouping(input, plan)
        try hold(series: grouping.labels.count, grid)
        let result: [Row]
        if input.contains(where: \.hasHistograms) {
            result = try foldedWithHistograms(plan, input, grouping, grid)
        } else {
            result = folded(plan.operation, input, grouping, grid).filter { !$0.isEmpty }
        }
        release(series: input.count, grid)
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
        guard var fold = columnFold(operation, steps: grid.count) else {
            preconditionFailure("\(operation.rawValue) doesn't fold")
        }
        for (row, group) in zip(rows, grouping.ofRow) { fold.add(row.values, to: group) }
        return grouping.labels.indices.map { group in
            Row(
                labels: grouping.labels[group], dropsName: grouping.dropsName[group],
                values: fold.take(group))
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
