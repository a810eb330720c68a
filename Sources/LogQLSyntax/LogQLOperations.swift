import Glibc

// What each operation takes and gives.

extension LogQLWord {
    /// The binary operation that the word names.
    var operation: BinaryOperation.Operation? { BinaryOperation.Operation(rawValue: rawValue) }
}

extension BinaryOperation.Operation {
    /// `and`, `or`, `unless`.
    package var isSetOperation: Bool {
        switch self {
        case .or, .and, .unless: true
        case .add, .subtract, .multiply, .divide, .remainder, .power, .equal, .notEqual, .greater,
            .greaterOrEqual, .less, .lessOrEqual:
            false
        }
    }

    /// Whether the result is a truth.
    package var isComparison: Bool {
        switch self {
        case .equal, .notEqual, .greater, .greaterOrEqual, .less, .lessOrEqual: true
        case .or, .and, .unless, .add, .subtract, .multiply, .divide, .remainder, .power: false
        }
    }

    /// Higher binds tighter. Source: LogQL's documentation, "Order of operations".
    var precedence: Int {
        switch self {
        case .or: 1
        case .and, .unless: 2
        case .equal, .notEqual, .greater, .greaterOrEqual, .less, .lessOrEqual: 3
        case .add, .subtract: 4
        case .multiply, .divide, .remainder: 5
        case .power: 6
        }
    }

    /// The operation between two literals: a comparison gives 1 or 0, a division by 0 NaN. Not for set operations.
    /// Source: Loki `MergeBinOp`.
    package func fold(_ left: Double, _ right: Double) -> Double {
        switch self {
        case .add: left + right
        case .subtract: left - right
        case .multiply: left * right
        case .divide: right == 0 ? .nan : left / right
        case .remainder: right == 0 ? .nan : fmod(left, right)
        case .power: pow(left, right)
        case .equal: left == right ? 1 : 0
        case .notEqual: left != right ? 1 : 0
        case .greater: left > right ? 1 : 0
        case .greaterOrEqual: left >= right ? 1 : 0
        case .less: left < right ? 1 : 0
        case .lessOrEqual: left <= right ? 1 : 0
        case .or, .and, .unless: .nan
        }
    }
}

extension RangeAggregation.Operation {
    /// Whether `by` or `without` may follow.
    var allowsGrouping: Bool {
        switch self {
        case .avgOverTime, .minOverTime, .maxOverTime, .stddevOverTime, .stdvarOverTime,
            .quantileOverTime, .firstOverTime, .lastOverTime:
            true
        case .rate, .rateCounter, .countOverTime, .bytesRate, .bytesOverTime, .sumOverTime,
            .absentOverTime:
            false
        }
    }

    /// Whether it works without `unwrap`.
    var countsLines: Bool {
        switch self {
        case .rate, .countOverTime, .bytesRate, .bytesOverTime, .absentOverTime: true
        case .rateCounter, .sumOverTime, .avgOverTime, .minOverTime, .maxOverTime,
            .stddevOverTime, .stdvarOverTime, .quantileOverTime, .firstOverTime, .lastOverTime:
            false
        }
    }

    /// Whether its numbers are of lines' bytes.
    package var countsBytes: Bool { self == .bytesRate || self == .bytesOverTime }

    /// Whether it works with `unwrap`.
    var takesValues: Bool {
        switch self {
        case .countOverTime, .bytesRate, .bytesOverTime: false
        case .rate, .rateCounter, .sumOverTime, .avgOverTime, .minOverTime, .maxOverTime,
            .stddevOverTime, .stdvarOverTime, .quantileOverTime, .firstOverTime, .lastOverTime,
            .absentOverTime:
            true
        }
    }
}

extension VectorAggregation.Operation {
    /// `topk(5, …)` and its kin.
    var takesParameter: Bool {
        switch self {
        case .topk, .bottomk, .approxTopK: true
        case .sum, .avg, .min, .max, .count, .stddev, .stdvar, .sort, .sortDescending: false
        }
    }
}
