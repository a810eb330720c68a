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
        if operation == .topk || operation == .bottomk {
            guard parameter >= 1 else { return [] }
            var best = BestRows(
                countMax: Int(min(parameter, Double(group.count))), isTop: operation == .topk)
            for row in group {
                let value = rows[row].values[step]
                if !Row.isAbsent(value) { best.add(row, value) }
            }
            return best.inOrder
        }
        let present = group.filter { rows[$0].isPresent(step) }
        if operation == .limitRatio {
            return present.filter { isSampled(rows[$0].labels, ratio: parameter) }
        }
        guard parameter >= 1 else { return [] }
        return Array(present.prefix(Int(min(parameter, Double(present.count)))))
    }
}

/// The best rows of a group at a step, in a heap with the worst of them at its root: which of several equal ones stays
/// when there is no room for all is then the same as in Prometheus.
///
/// Source: Prometheus 3.14 `aggregationK`, `vectorByValueHeap`; Go `container/heap`.
private struct BestRows {
    private let countMax: Int
    private let isTop: Bool
    private var heap: [(row: Int, value: Double)] = []

    /// `countMax` is above 0.
    init(countMax: Int, isTop: Bool) {
        self.countMax = countMax
        self.isTop = isTop
    }

    mutating func add(_ row: Int, _ value: Double) {
        if heap.count < countMax {
            heap.append((row, value))
            siftUp()
        } else if heap[0].value.isNaN ? !value.isNaN : isWorse(heap[0].value, value) {
            heap[0] = (row, value)
            siftDown()
        }
    }

    /// Best first and NaN last.
    var inOrder: [Int] {
        heap.indices.sorted { a, b in
            let first = heap[a].value
            let second = heap[b].value
            if first.isNaN || second.isNaN {
                return first.isNaN && second.isNaN ? a > b : second.isNaN
            }
            return first == second ? a < b : isWorse(second, first)
        }.map { heap[$0].row }
    }

    private func isWorse(_ a: Double, _ b: Double) -> Bool { isTop ? a < b : a > b }

    /// NaN goes before everything, another NaN too.
    private func goesFirst(_ a: Int, _ b: Int) -> Bool {
        heap[a].value.isNaN || isWorse(heap[a].value, heap[b].value)
    }

    private mutating func siftUp() {
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard goesFirst(child, parent) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func siftDown() {
        var parent = 0
        while 2 * parent + 1 < heap.count {
            var child = 2 * parent + 1
            if child + 1 < heap.count, goesFirst(child + 1, child) { child += 1 }
            guard goesFirst(child, parent) else { return }
            heap.swapAt(child, parent)
            parent = child
        }
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
