import Glibc
import Model
import PromQLSyntax

extension Evaluator {
    func evaluate(_ binary: BinaryPlan, _ grid: StepGrid) throws(QueryError) -> Value {
        let lhs = try evaluate(binary.lhs, grid)
        let rhs = try evaluate(binary.rhs, grid)
        switch (lhs, rhs) {
        case (.scalar(let left), .scalar(let right)):
            let result = zip(left, right).map { scalarResult(binary.operation, $0, $1) }
            release(series: 1, grid)
            return .scalar(result)
        case (.vector(let rows), .scalar(let numbers)):
            release(series: 1, grid)
            return .vector(try withScalars(binary, rows, numbers, isScalarLeft: false))
        case (.scalar(let numbers), .vector(let rows)):
            release(series: 1, grid)
            return .vector(try withScalars(binary, rows, numbers, isScalarLeft: true))
        case (.vector(let left), .vector(let right)):
            let matching = binary.matching ?? VectorMatching()
            let rows: [Row]
            if binary.operation.isSet {
                rows = try setOperation(binary.operation, left, right, matching, grid)
            } else {
                rows = try matchedOperation(binary, left, right, matching, grid)
            }
            release(series: left.count + right.count, grid)
            return .vector(rows)
        case (.string, _), (_, .string):
            throw .unsupported("a string operand of \(binary.operation.rawValue)")
        }
    }

    /// A vector with a scalar: the vector's samples are kept, replaced or filtered in place.
    private func withScalars(
        _ binary: BinaryPlan, _ rows: [Row], _ numbers: [Double], isScalarLeft: Bool
    ) throws(QueryError) -> [Row] {
        let operation = binary.operation
        if operation.isTrim || rows.contains(where: \.hasHistograms) {
            return try elementsWithScalars(binary, rows, numbers, isScalarLeft: isScalarLeft)
        }
        var result: [Row] = []
        result.reserveCapacity(rows.count)
        for var row in rows {
            var isEmpty = true
            for step in row.values.indices {
                let value = row.values[step]
                guard !Row.isAbsent(value) else { continue }
                let left = isScalarLeft ? numbers[step] : value
                let right = isScalarLeft ? value : numbers[step]
                if operation.isComparison {
                    let holds = compare(operation, left, right)
                    if binary.returnsBool {
                        row.values[step] = holds ? 1 : 0
                    } else if !holds {
                        row.values[step] = Row.absent
                        continue
                    }
                } else {
                    row.values[step] = calculate(operation, left, right)
                }
                isEmpty = false
            }
            if isEmpty { continue }
            if !operation.isComparison || binary.returnsBool { row.dropsName = true }
            result.append(row)
        }
        release(points: (rows.count - result.count) * numbers.count)
        return result
    }

    /// The rows of the result, counted as held.
    private func setOperation(
        _ operation: BinaryOperator, _ left: [Row], _ right: [Row], _ matching: VectorMatching,
        _ grid: StepGrid
    ) throws(QueryError) -> [Row] {
        let groups = MatchGroups(matching)
        var indices: [Labels: Int] = [:]
        let leftGroups = left.map { groups.number($0.labels, &indices) }
        let rightGroups = right.map { groups.number($0.labels, &indices) }
        var rows: [Row]
        switch operation {
        case .and, .unless:
            let present = presence(right, rightGroups, indices.count, grid)
            rows = []
            for (var row, group) in zip(left, leftGroups) {
                let other = present[group]
                for step in row.values.indices {
                    let isMatched = !other.isEmpty && other[step]
                    if isMatched != (operation == .and) { row.values[step] = Row.absent }
                }
                row.keepHistograms { (!other.isEmpty && other[$0]) == (operation == .and) }
                if row.isEmpty { continue }
                try hold(histogramsOf: row)
                rows.append(row)
            }
        default:
            let present = presence(left, leftGroups, indices.count, grid)
            rows = left
            for (var row, group) in zip(right, rightGroups) {
                let other = present[group]
                for step in other.indices where other[step] { row.values[step] = Row.absent }
                if !other.isEmpty { row.keepHistograms { !other[$0] } }
                if row.isEmpty { continue }
                try hold(histogramsOf: row)
                rows.append(row)
            }
        }
        try hold(series: rows.count, grid)
        return grid.count > 1 ? try joined(rows) : rows
    }

    /// For each match group, the steps at which any of its rows has a sample; empty for a group without rows.
    private func presence(
        _ rows: [Row], _ groups: [Int], _ count: Int, _ grid: StepGrid
    ) -> [[Bool]] {
        var present = [[Bool]](repeating: [], count: count)
        for (row, group) in zip(rows, groups) {
            if present[group].isEmpty {
                present[group] = [Bool](repeating: false, count: grid.count)
            }
            for step in row.values.indices where !Row.isAbsent(row.values[step]) {
                present[group][step] = true
            }
            for step in row.histograms.indices where row.histograms[step] != nil {
                present[group][step] = true
            }
        }
        return present
    }
}

/// The value of a scalar operation; comparisons yield 0 or 1.
private func scalarResult(_ operation: BinaryOperator, _ left: Double, _ right: Double) -> Double {
    guard operation.isComparison else { return calculate(operation, left, right) }
    return compare(operation, left, right) ? 1 : 0
}

@inline(__always)
func compare(_ operation: BinaryOperator, _ left: Double, _ right: Double) -> Bool {
    switch operation {
    case .equal: left == right
    case .notEqual: left != right
    case .less: left < right
    case .lessOrEqual: left <= right
    case .greater: left > right
    case .greaterOrEqual: left >= right
    case .or, .and, .unless, .atan2, .trimUpper, .trimLower, .add, .subtract, .multiply,
        .divide, .modulo, .power:
        preconditionFailure("\(operation.rawValue) doesn't compare")
    }
}

@inline(__always)
func calculate(_ operation: BinaryOperator, _ left: Double, _ right: Double) -> Double {
    switch operation {
    case .add: left + right
    case .subtract: left - right
    case .multiply: left * right
    case .divide: left / right
    case .modulo: fmod(left, right)
    case .power: pow(left, right)
    case .atan2: Glibc.atan2(left, right)
    case .trimUpper, .trimLower: Row.absent
    case .or, .and, .unless, .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual:
        preconditionFailure("\(operation.rawValue) doesn't calculate")
    }
}
