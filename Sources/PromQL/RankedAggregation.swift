import Model
import PromQLSyntax
import QueryMath

/// The aggregations that pick series instead of computing a value: topk, bottomk, limitk and limit_ratio.
extension Evaluator {
    func selectRanked(
        _ plan: AggregationPlan, _ rows: [Row], _ grid: StepGrid, _ parameters: [Double]
    ) throws(QueryError) -> [Row] {
        try checkRank(plan, parameters)
        let grouping = Grouping(rows, plan)
        var members = [[Int]](repeating: [], count: grouping.labels.count)
        for (row, group) in grouping.ofRow.enumerated() { members[group].append(row) }
        if plan.operation == .topk || plan.operation == .bottomk {
            let ignores = rows.contains { row in
                row.hasHistograms
                    && row.histograms.indices.contains { step in
                        parameters[step] >= 1 && row.histograms[step] != nil
                    }
            }
            if ignores { remark(.ignoredInAggregation(plan.operation.rawValue), at: plan.position) }
        }
        if grid.count == 1 {
            return members.flatMap { group in
                picked(plan.operation, group, rows, 0, parameters[0]).map { rows[$0] }
            }
        }
        try hold(series: rows.count, grid)
        if plan.operation == .limitK || plan.operation == .limitRatio {
            for row in rows { try hold(histogramsOf: row) }
        }
        var result = rows.map { row in
            Row(
                labels: row.labels, dropsName: row.dropsName,
                values: [Double](repeating: Row.absent, count: grid.count))
        }
        for step in 0..<grid.count {
            if step & 63 == 0 { try checkCancelled() }
            for group in members {
                for row in picked(plan.operation, group, rows, step, parameters[step]) {
                    result[row].values[step] = rows[row].values[step]
                    if let histogram = rows[row].histogram(step) {
                        result[row].set(histogram, step)
                    }
                }
            }
        }
        release(series: rows.count, grid)
        return result.filter { !$0.isEmpty }
    }

    private func checkRank(
        _ plan: AggregationPlan, _ parameters: [Double]
    ) throws(QueryError) {
        let isRatio = plan.operation == .limitRatio
        // Where nothing can be picked no parameter is wrong.
        if isRatio ? parameters.allSatisfy({ $0 == 0 }) : parameters.allSatisfy({ $0 < 1 }) {
            return
        }
        guard !parameters.contains(where: \.isNaN) else {
            throw .invalidAggregationParameter("\(isRatio ? "Ratio" : "Parameter") value is NaN")
        }
        let least = parameters.min() ?? 0
        let most = parameters.max() ?? 0
        guard isRatio else {
            if least <= -0x1p63 {
                throw .invalidAggregationParameter(
                    "Scalar value \(GoFloat.general(least)) underflows int64")
            }
            if most >= 0x1p63 {
                throw .invalidAggregationParameter(
                    "Scalar value \(GoFloat.general(most)) overflows int64")
            }
            return
        }
        for (value, bound) in [(most, 1.0), (least, -1.0)] where value * bound > 1 {
            remark(.invalidRatio(value, bound: bound), at: plan.parameterPosition)
        }
    }

    /// The rows of `group` that the operation picks at `step`, best first.
    private func picked(
        _ operation: AggregationOperator, _ group: [Int], _ rows: [Row], _ step: Int,
        _ parameter: Double
    ) -> [Int] {
        let ranks = operation == .topk || operation == .bottomk
        let present =
            ranks
            ? group.filter { !Row.isAbsent(rows[$0].values[step]) }
            : group.filter { rows[$0].isPresent(step) }
        if operation == .limitRatio {
            return present.filter { isSampled(rows[$0].labels, ratio: parameter) }
        }
        guard parameter >= 1 else { return [] }
        let count = Int(min(parameter, Double(present.count)))
        if operation == .limitK { return Array(present.prefix(count)) }
        let isTop = operation == .topk
        let ranked = present.sorted { a, b in
            let first = rows[a].values[step]
            let second = rows[b].values[step]
            if first.isNaN || second.isNaN {
                return first.isNaN == second.isNaN ? a < b : second.isNaN
            }
            if first == second { return a < b }
            return isTop ? first > second : first < second
        }
        return Array(ranked.prefix(count))
    }
}

/// Whether a series belongs to the given share of all; a negative ratio picks the complement of `1 + ratio`.
private func isSampled(_ labels: Labels, ratio: Double) -> Bool {
    let place = Double(mixed(labels.fingerprint)) / Double(UInt64.max)
    let share = max(-1, min(1, ratio))
    return share >= 0 ? place < share : place >= 1 + share
}

/// Spreads a hash over all bits. Source: the finalizer of SplitMix64.
private func mixed(_ hash: UInt64) -> UInt64 {
    var bits = hash
    bits = (bits ^ (bits >> 30)) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ (bits >> 27)) &* 0x94d0_49bb_1331_11eb
    return bits ^ (bits >> 31)
}
