import PromQLSyntax
import QueryMath

/// A number made of many, one after the other.
private protocol Accumulator {
    init()
    mutating func add(_ value: Double)
    /// The result over at least one value.
    var value: Double { get }
}

/// An aggregation of columns, each of which belongs to a group, taken in one after the other.
protocol ColumnFold {
    /// What a step of a group weighs meanwhile, in points of 16 bytes; at least 1.
    var cellWeight: Int { get }
    /// Takes in a column with a value (or `Row.absent`) for each step. A new group has the number after the last one.
    mutating func add(_ column: [Double], to group: Int)
    /// The result of `group`, absent where it has no value; gives back what the group took.
    mutating func take(_ group: Int) -> [Double]
}

/// The fold of `operation` over so many steps; nil for an aggregation that has to see all values at once.
func columnFold(_ operation: AggregationOperator, steps: Int) -> (any ColumnFold)? {
    switch operation {
    case .sum: return Fold<Sum>(steps)
    case .avg: return Fold<KahanMean>(steps)
    case .count: return Fold<Count>(steps)
    case .group: return Fold<One>(steps)
    case .min: return Fold<Least>(steps)
    case .max: return Fold<Most>(steps)
    case .stddev: return Fold<StandardDeviation>(steps)
    case .stdvar: return Fold<Spread>(steps)
    case .topk, .bottomk, .quantile, .countValues, .limitK, .limitRatio: return nil
    }
}

private struct Fold<Content: Accumulator>: ColumnFold {
    private let steps: Int
    private var cells: [[Content]] = []
    private var isSeen: [[Bool]] = []

    init(_ steps: Int) { self.steps = steps }

    var cellWeight: Int { (MemoryLayout<Content>.stride + MemoryLayout<Bool>.stride + 15) / 16 }

    // Reached through a protocol, a generic function would add each value by way of a table.
    @_specialize(where Content == Sum)
    @_specialize(where Content == KahanMean)
    @_specialize(where Content == Count)
    @_specialize(where Content == Least)
    @_specialize(where Content == Most)
    @_specialize(where Content == Spread)
    mutating func add(_ column: [Double], to group: Int) {
        if group == cells.count {
            cells.append([Content](repeating: Content(), count: steps))
            isSeen.append([Bool](repeating: false, count: steps))
        }
        // Taken out and put back: else every step would ask whether the arrays are shared.
        var content: [Content] = []
        var seen: [Bool] = []
        swap(&content, &cells[group])
        swap(&seen, &isSeen[group])
        for step in 0..<steps {
            let value = column[step]
            if Row.isAbsent(value) { continue }
            seen[step] = true
            content[step].add(value)
        }
        swap(&content, &cells[group])
        swap(&seen, &isSeen[group])
    }

    mutating func take(_ group: Int) -> [Double] {
        let result = (0..<steps).map { step in
            isSeen[group][step] ? cells[group][step].value : Row.absent
        }
        cells[group] = []
        isSeen[group] = []
        return result
    }
}

private struct Sum: Accumulator {
    private var sum = KahanSum()

    init() {}

    mutating func add(_ value: Double) { sum.add(value) }
    var value: Double { sum.value }
}

extension KahanMean: Accumulator {}

private struct Count: Accumulator {
    private(set) var value = 0.0

    init() {}

    mutating func add(_ value: Double) { self.value += 1 }
}

private struct One: Accumulator {
    init() {}

    mutating func add(_ value: Double) {}
    var value: Double { 1 }
}

private struct Least: Accumulator {
    private(set) var value = Double.nan

    init() {}

    mutating func add(_ value: Double) {
        if self.value > value || self.value.isNaN { self.value = value }
    }
}

private struct Most: Accumulator {
    private(set) var value = Double.nan

    init() {}

    mutating func add(_ value: Double) {
        if self.value < value || self.value.isNaN { self.value = value }
    }
}

/// Count, mean and squared deviations of a group, whose value is the variance.
/// Source: Prometheus 3.14 `aggregation` (stddev, stdvar).
private struct Spread: Accumulator {
    private var count = 0.0
    private var mean = 0.0
    private var squares = 0.0

    init() {}

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

    var value: Double { squares / count }
}

private struct StandardDeviation: Accumulator {
    private var spread = Spread()

    init() {}

    mutating func add(_ value: Double) { spread.add(value) }
    var value: Double { spread.value.squareRoot() }
}
