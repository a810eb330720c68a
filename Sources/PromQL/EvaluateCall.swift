import Glibc
import Model
import QueryMath

extension Evaluator {
    /// A function of instant vectors, scalars and strings.
    func evaluate(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> Value {
        switch call.function {
        case .pi:
            try hold(grid.count)
            return .scalar([Double](repeating: .pi, count: grid.count))
        case .minOf, .maxOf:
            let left = try scalars(call.arguments[0], grid)
            let right = try scalars(call.arguments[1], grid)
            release(series: 1, grid)
            let isMin = call.function == .minOf
            return .scalar(zip(left, right).map { isMin ? goMin($0, $1) : goMax($0, $1) })
        case .scalar: return .scalar(try singleValues(rows(call.arguments[0], grid), grid))
        case .vector:
            return .vector([
                Row(
                    labels: .empty, dropsName: false, values: try scalars(call.arguments[0], grid))
            ])
        case .absent:
            let input = try rows(call.arguments[0], grid)
            try hold(grid.count)
            release(series: input.count, grid)
            // Type and unit stay among these. Source: Prometheus 3.14 `funcAbsent`.
            return .vector(
                absentRows(input, grid, labels: call.absentLabels, dropsName: false))
        case .timestamp:
            var input = try rows(call.arguments[0], grid)
            for index in input.indices {
                input[index].dropsName = true
                for step in 0..<grid.count where input[index].isPresent(step) {
                    input[index].values[step] = Double(grid.time(step)) / 1000
                }
                input[index].histograms = []
            }
            return .vector(input)
        case .startTimestamp:
            // Only of a selector's own samples, which are planned otherwise.
            release(series: try rows(call.arguments[0], grid).count, grid)
            return .vector([])
        case .labelReplace: return .vector(try labelReplace(call, grid))
        case .labelJoin: return .vector(try labelJoin(call, grid))
        case .sort, .sortDesc, .sortByLabel, .sortByLabelDesc:
            return .vector(try sorted(call, grid))
        case .clamp, .clampMin, .clampMax, .round: return .vector(try clamped(call, grid))
        case .year, .month, .dayOfMonth, .dayOfWeek, .dayOfYear, .daysInMonth, .hour, .minute:
            return .vector(try calendar(call, grid))
        case .histogramQuantile, .histogramFraction, .histogramQuantiles:
            return .vector(try histogramStatistic(call, grid))
        case .histogramAvg, .histogramCount, .histogramSum, .histogramStddev, .histogramStdvar:
            return .vector(try histogramNumbers(call, grid))
        case .abs, .acos, .acosh, .asin, .asinh, .atan, .atanh, .ceil, .cos, .cosh, .deg, .exp,
            .floor, .ln, .log2, .log10, .rad, .sgn, .sin, .sinh, .sqrt, .tan, .tanh:
            return .vector(
                mapped(try numberRows(call.arguments[0], grid), mathematics(call.function)))
        }
    }

    /// The rows of a plan without histograms.
    private func numberRows(_ plan: Plan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let input = try rows(plan, grid)
        let result = input.numbersOnly()
        release(series: input.count - result.count, grid)
        return result
    }

    /// `scalar()`: the value where a step has exactly one sample, NaN elsewhere.
    private func singleValues(_ rows: [Row], _ grid: StepGrid) throws(QueryError) -> [Double] {
        try hold(grid.count)
        let result = (0..<grid.count).map { step in
            var found: Double?
            for row in rows where !Row.isAbsent(row.values[step]) {
                guard found == nil else { return Double.nan }
                found = row.values[step]
            }
            return found ?? .nan
        }
        release(series: rows.count, grid)
        return result
    }

    /// `clamp`, `clamp_min`, `clamp_max` and `round`, whose scalar arguments may differ by step.
    private func clamped(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        var result = try numberRows(call.arguments[0], grid)
        var numbers: [[Double]] = []
        for argument in call.arguments.dropFirst() { numbers.append(try scalars(argument, grid)) }
        for index in result.indices {
            result[index].dropsName = true
            for step in 0..<grid.count {
                let value = result[index].values[step]
                guard !Row.isAbsent(value) else { continue }
                let bounds = numbers.map { $0[step] }
                result[index].values[step] = clamp(call.function, value, bounds)
            }
        }
        return result.filter { !$0.isEmpty }
    }

    private func clamp(
        _ function: InstantFunction, _ value: Double, _ bounds: [Double]
    ) -> Double {
        switch function {
        case .clampMin: return goMax(value, bounds[0])
        case .clampMax: return goMin(value, bounds[0])
        case .clamp:
            guard !(bounds[1] < bounds[0]) else { return Row.absent }
            return goMax(bounds[0], goMin(bounds[1], value))
        default:
            // Multiplying by the inverse is more exact than dividing. Source: Prometheus 3.14 `funcRound`.
            let inverse = 1 / (bounds.first ?? 1)
            return (value * inverse + 0.5).rounded(.down) / inverse
        }
    }

    private func calendar(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let part = calendarPart(call.function)
        if let argument = call.arguments.first {
            return mapped(try numberRows(argument, grid), part)
        }
        try hold(grid.count)
        let times = (0..<grid.count).map { part(Double(grid.time($0)) / 1000) }
        return [Row(labels: .empty, dropsName: false, values: times)]
    }
}

/// The lesser number; NaN where either is. Source: Go `math.Min`.
private func goMin(_ a: Double, _ b: Double) -> Double {
    a.isNaN || b.isNaN ? .nan : Swift.min(a, b)
}

/// The greater number; NaN where either is. Source: Go `math.Max`.
private func goMax(_ a: Double, _ b: Double) -> Double {
    a.isNaN || b.isNaN ? .nan : Swift.max(a, b)
}

private func mathematics(_ function: InstantFunction) -> (Double) -> Double {
    switch function {
    case .abs: { $0.magnitude }
    case .acos: { acos($0) }
    case .acosh: { acosh($0) }
    case .asin: { asin($0) }
    case .asinh: { asinh($0) }
    case .atan: { atan($0) }
    case .atanh: { atanh($0) }
    case .ceil: { $0.rounded(.up) }
    case .cos: { cos($0) }
    case .cosh: { cosh($0) }
    case .deg: { $0 * 180 / .pi }
    case .exp: { exp($0) }
    case .floor: { $0.rounded(.down) }
    case .ln: { log($0) }
    case .log2: { log2($0) }
    case .log10: { log10($0) }
    case .rad: { $0 * .pi / 180 }
    case .sgn: { $0 < 0 ? -1 : $0 > 0 ? 1 : $0 }
    case .sin: { sin($0) }
    case .sinh: { sinh($0) }
    case .sqrt: { $0.squareRoot() }
    case .tan: { tan($0) }
    case .tanh: { tanh($0) }
    default: preconditionFailure("\(function.rawValue) isn't a function of one number")
    }
}

private func calendarPart(_ function: InstantFunction) -> (Double) -> Double {
    { seconds in
        // NaN and what no 64 bits hold have no date; Go's conversion of them depends on the processor.
        guard seconds.magnitude < 0x1p63 else { return .nan }
        let date = CivilTime(secondsSinceEpoch: Int64(seconds))
        return switch function {
        case .year: Double(date.year)
        case .month: Double(date.month)
        case .dayOfMonth: Double(date.day)
        case .dayOfWeek: Double(date.dayOfWeek)
        case .dayOfYear: Double(date.dayOfYear)
        case .daysInMonth: Double(date.daysInMonth)
        case .hour: Double(date.hour)
        default: Double(date.minute)
        }
    }
}
