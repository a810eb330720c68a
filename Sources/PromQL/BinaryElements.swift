import Model
import PromQLSyntax
import QueryMath

/// One operand of a binary operator at one step.
enum Element {
    case number(Double)
    case histogram(FloatHistogram)

    var typeName: String {
        switch self {
        case .number: "float"
        case .histogram: "histogram"
        }
    }
}

/// What becomes of two operands.
enum ElementResult {
    /// A sample, or the left operand that a comparison lets through.
    case sample(Element)
    /// A comparison doesn't hold.
    case filtered
    /// The operands can't be combined.
    case failed
}

/// The result of an operator on two elements, and what there is to say about it.
///
/// Source: Prometheus 3.14 `vectorElemBinop`.
func combine(
    _ operation: BinaryOperator, _ left: Element, _ right: Element
) -> (result: ElementResult, remark: Remark?) {
    switch (left, right) {
    case (.number(let a), .number(let b)):
        if operation.isComparison {
            return (compare(operation, a, b) ? .sample(left) : .filtered, nil)
        }
        if !operation.isTrim { return (.sample(.number(calculate(operation, a, b))), nil) }
    case (.number(let factor), .histogram(let histogram)):
        if operation == .multiply { return scaled(histogram.multiplied(by: factor)) }
    case (.histogram(let histogram), .number(let number)):
        switch operation {
        case .multiply: return scaled(histogram.multiplied(by: number))
        case .divide: return scaled(histogram.divided(by: number))
        case .trimUpper: return (.sample(.histogram(histogram.trimmed(.below, of: number))), nil)
        case .trimLower: return (.sample(.histogram(histogram.trimmed(.above, of: number))), nil)
        case .or, .and, .unless, .atan2, .equal, .notEqual, .less, .lessOrEqual, .greater,
            .greaterOrEqual, .add, .subtract, .modulo, .power:
            break
        }
    case (.histogram(let a), .histogram(let b)):
        switch operation {
        case .add, .subtract: return sum(operation, a, b)
        case .equal, .notEqual:
            let isEqual = a.compacted().hasSameData(as: b.compacted())
            return (isEqual == (operation == .equal) ? .sample(left) : .filtered, nil)
        case .or, .and, .unless, .atan2, .less, .lessOrEqual, .greater, .greaterOrEqual,
            .trimUpper, .trimLower, .multiply, .divide, .modulo, .power:
            break
        }
    }
    return (
        .failed,
        .incompatibleTypes(
            left: left.typeName, operation: operation.rawValue, right: right.typeName)
    )
}

private func scaled(_ histogram: FloatHistogram) -> (result: ElementResult, remark: Remark?) {
    (.sample(.histogram(histogram.compacted())), nil)
}

private func sum(
    _ operation: BinaryOperator, _ a: FloatHistogram, _ b: FloatHistogram
) -> (result: ElementResult, remark: Remark?) {
    var merge = HistogramMerge()
    let name: Remark.Operation = operation == .add ? .addition : .subtraction
    do {
        var result: FloatHistogram
        if operation == .add {
            result = try a.adding(b, noting: &merge)
        } else {
            result = try a.subtracting(b, noting: &merge).hinted(.gauge)
        }
        // Counters of which only one was reset have no sum.
        if merge.hasResetConflict { return (.failed, .resetConflict(name)) }
        result = result.compacted()
        return (
            .sample(.histogram(result)), merge.hasReconciledBounds ? .reconciledBounds(name) : nil
        )
    } catch {
        return (.failed, .incompatibleBuckets(operation: operation.rawValue))
    }
}

extension Row {
    func element(_ step: Int) -> Element? {
        if let histogram = histogram(step) { return .histogram(histogram) }
        return Row.isAbsent(values[step]) ? nil : .number(values[step])
    }

    mutating func set(_ element: Element, _ step: Int) {
        switch element {
        case .number(let value):
            values[step] = value
            if !histograms.isEmpty { histograms[step] = nil }
        case .histogram(let histogram): set(histogram, step)
        }
    }
}

extension Evaluator {
    /// A vector with a scalar where histograms are among the samples. Source: Prometheus 3.14 `VectorscalarBinop`.
    func elementsWithScalars(
        _ binary: BinaryPlan, _ rows: [Row], _ numbers: [Double], isScalarLeft: Bool
    ) throws(QueryError) -> [Row] {
        let operation = binary.operation
        var result: [Row] = []
        for (number, var row) in rows.enumerated() {
            if number & 15 == 0 { try checkCancelled() }
            for step in row.values.indices {
                guard let element = row.element(step) else { continue }
                let scalar = Element.number(numbers[step])
                let (outcome, remark) = combine(
                    operation, isScalarLeft ? scalar : element, isScalarLeft ? element : scalar)
                if case .failed = outcome {
                    if let remark { self.remark(remark, at: binary.position) }
                    row.clear(step)
                    continue
                }
                if binary.returnsBool {
                    row.set(.number(outcome.holds ? 1 : 0), step)
                } else if case .sample(let sample) = outcome {
                    // A comparison keeps the vector's element, whichever side it stands on.
                    row.set(operation.isComparison ? element : sample, step)
                } else {
                    row.clear(step)
                }
            }
            if row.isEmpty { continue }
            try hold(histogramsOf: row)
            let changes = !operation.isComparison && !operation.isTrim
            if changes || binary.returnsBool { row.dropsName = true }
            result.append(row)
        }
        release(points: (rows.count - result.count) * numbers.count)
        return result
    }
}

extension ElementResult {
    /// Whether there is a sample.
    var holds: Bool {
        if case .sample = self { true } else { false }
    }
}
