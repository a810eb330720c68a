import LogQLSyntax
import Model

/// An aggregation over the series of a step that gives a sample for each group.
final class AggregationNode: MetricNode {
    private struct Group {
        var count = 0.0
        /// The sum, the extreme or the sum of squared distances.
        var value = 0.0
        var mean = 0.0
        /// The step of the numbers above.
        var step = -1
    }

    private let child: MetricNode
    private let operation: VectorAggregation.Operation
    private let grouping: VectorGrouping
    private var table: LabelTable
    private var own = NumberMap()
    private var groups: [Group] = []

    init(_ child: MetricNode, _ aggregation: VectorAggregation, _ memory: MemoryMeter) {
        self.child = child
        table = LabelTable(memory)
        operation = aggregation.operation
        grouping = VectorGrouping(aggregation.grouping)
    }

    override func evaluate(_ index: Int) throws(MetricError) {
        try child.evaluate(index)
        vector.removeAll()
        for position in 0..<child.vector.count {
            let number = try group(of: child.vector.ids[position])
            add(child.vector.values[position], to: Int(number), at: index)
        }
        for position in 0..<vector.count {
            vector.values[position] = result(groups[Int(vector.ids[position])])
        }
    }

    override func labels(of id: Int32) -> Labels { table.labels[Int(id)] }

    private func group(of id: Int32) throws(MetricError) -> Int32 {
        let known = own[id]
        if known >= 0 { return known }
        let number = try table.number(of: grouping.labels(of: child.labels(of: id)))
        own.set(id, to: number)
        if groups.count < table.labels.count { groups.append(Group()) }
        return number
    }

    /// Source: Loki 3.6 `VectorAggEvaluator`; numbers are added up as they come, without compensation.
    private func add(_ value: Double, to number: Int, at index: Int) {
        guard groups[number].step == index else {
            let isSpread = operation == .stddev || operation == .stdvar
            groups[number] = Group(
                count: 1, value: isSpread ? 0 : value, mean: value, step: index)
            vector.append(Int32(number), 0)
            return
        }
        groups[number].count += 1
        let group = groups[number]
        switch operation {
        case .sum: groups[number].value += value
        case .avg:
            if group.mean.isInfinite {
                let isSame = value.isInfinite && (group.mean > 0) == (value > 0)
                if isSame || value.isFinite { return }
            }
            groups[number].mean += (value - group.mean) / group.count
        case .max:
            if group.value < value || group.value.isNaN { groups[number].value = value }
        case .min:
            if group.value > value || group.value.isNaN { groups[number].value = value }
        case .stddev, .stdvar:
            let delta = value - group.mean
            let mean = group.mean + delta / group.count
            groups[number].mean = mean
            groups[number].value += delta * (value - mean)
        case .count, .topk, .bottomk, .sort, .sortDescending, .approxTopK: break
        }
    }

    private func result(_ group: Group) -> Double {
        switch operation {
        case .sum, .max, .min, .topk, .bottomk, .sort, .sortDescending, .approxTopK: group.value
        case .avg: group.mean
        case .count: group.count
        case .stdvar: group.value / group.count
        case .stddev: (group.value / group.count).squareRoot()
        }
    }
}

/// An aggregation that picks or orders the samples of each group: `topk`, `bottomk`, `approx_topk`, `sort`, `sort_desc`.
///
/// NaN comes last in every order. Of equal values the one that came first wins.
final class RankingNode: MetricNode {
    private let child: MetricNode
    private let isAscending: Bool
    /// Samples of a group; all of them where nil.
    private let countMax: Int?
    private let grouping: VectorGrouping
    private var table: LabelTable
    private var own = NumberMap()
    /// Positions in the child's vector by group, best first.
    private var ranked: [[Int]] = []
    private var touched: [Int] = []

    init(_ child: MetricNode, _ aggregation: VectorAggregation, _ memory: MemoryMeter) {
        self.child = child
        table = LabelTable(memory)
        switch aggregation.operation {
        case .bottomk, .sort: isAscending = true
        case .topk, .sortDescending, .approxTopK, .sum, .avg, .min, .max, .count, .stddev,
            .stdvar:
            isAscending = false
        }
        countMax = aggregation.operation.ranksAll ? nil : aggregation.parameter ?? 0
        grouping = VectorGrouping(aggregation.grouping)
    }

    override func evaluate(_ index: Int) throws(MetricError) {
        try child.evaluate(index)
        vector.removeAll()
        if let countMax, countMax < 1 { return }
        touched.removeAll(keepingCapacity: true)
        for position in 0..<child.vector.count {
            let number = Int(try group(of: child.vector.ids[position]))
            if ranked[number].isEmpty { touched.append(number) }
            insert(position, into: number)
        }
        for number in touched {
            var positions = ranked[number]
            if isSorting { positions.sort(by: precedes) }
            for position in positions {
                vector.append(child.vector.ids[position], child.vector.values[position])
            }
            ranked[number].removeAll(keepingCapacity: true)
        }
    }

    override func labels(of id: Int32) -> Labels { child.labels(of: id) }

    /// Whether samples are collected first and then sorted, rather than put in their place one by one.
    private var isSorting: Bool { countMax == nil }

    private func group(of id: Int32) throws(MetricError) -> Int32 {
        let known = own[id]
        if known >= 0 { return known }
        let number = try table.number(of: grouping.labels(of: child.labels(of: id)))
        own.set(id, to: number)
        if ranked.count < table.labels.count { ranked.append([]) }
        return number
    }

    private func insert(_ position: Int, into number: Int) {
        guard let countMax else {
            ranked[number].append(position)
            return
        }
        let count = ranked[number].count
        if count == countMax {
            guard precedes(position, ranked[number][count - 1]) else { return }
            ranked[number].removeLast()
        }
        var (low, high) = (0, ranked[number].count)
        while low < high {
            let middle = (low + high) / 2
            if precedes(position, ranked[number][middle]) {
                high = middle
            } else {
                low = middle + 1
            }
        }
        ranked[number].insert(position, at: low)
    }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        let (first, second) = (child.vector.values[a], child.vector.values[b])
        if first.isNaN { return false }
        if second.isNaN { return true }
        return isAscending ? first < second : first > second
    }
}

extension VectorAggregation.Operation {
    /// `sort` and `sort_desc`.
    var ranksAll: Bool { self == .sort || self == .sortDescending }

    /// Whether samples keep their labels.
    var picks: Bool {
        switch self {
        case .topk, .bottomk, .approxTopK, .sort, .sortDescending: true
        case .sum, .avg, .min, .max, .count, .stddev, .stdvar: false
        }
    }
}

/// The labels by which series are put together. An empty value is one of its own, but `without` leaves it out of the
/// result. Source: Loki 3.6 `VectorAggEvaluator`.
struct VectorGrouping: Sendable {
    private let isWithout: Bool
    private let names: Set<String>

    init(_ grouping: Grouping?) {
        isWithout = grouping?.isWithout ?? false
        names = Set(grouping?.labels ?? [])
    }

    func labels(of labels: Labels) -> Labels {
        if !isWithout { return names.isEmpty ? .empty : labels.keeping(names) }
        return labels.withoutEmptyValues.dropping(names.union([Labels.metricNameLabel]))
    }
}
