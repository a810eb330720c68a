import Model
import PromQLSyntax
import QueryMath

/// Evaluates a plan over the data that was read for it: every node for all steps of its grid at once.
///
/// One evaluator serves one query and is used by one thread.
final class Evaluator {
    let data: [[SeriesColumns]]
    let parameters: QueryParameters
    let isCancelled: () -> Bool
    private(set) var annotations: [Annotation] = []
    private var annotationIndices: [String: Int] = [:]
    /// The last remark without details, for the one that is made again at every sample.
    private var lastRemark: (remark: Remark, position: Int)?
    /// Samples and points held at the moment.
    private var held = 0
    /// The most that were held, all of which `mayHold` granted.
    private var heldMax = 0
    private let mayHold: (Int) -> Bool

    init(
        data: [[SeriesColumns]], parameters: QueryParameters, isCancelled: @escaping () -> Bool,
        mayHold: @escaping (Int) -> Bool = { _ in true }
    ) {
        self.data = data
        self.parameters = parameters
        self.isCancelled = isCancelled
        self.mayHold = mayHold
    }

    /// The value of `plan` at each time of `grid`.
    func evaluate(_ plan: Plan, _ grid: StepGrid) throws(QueryError) -> Value {
        try checkCancelled()
        return try withoutDroppedNames(named(plan, grid), of: plan)
    }

    /// As `evaluate`, with the names still there that the plan drops.
    private func named(_ plan: Plan, _ grid: StepGrid) throws(QueryError) -> Value {
        switch plan {
        case .number(let number):
            try hold(grid.count)
            return .scalar([Double](repeating: number, count: grid.count))
        case .string(let text): return .string(text)
        case .time:
            try hold(grid.count)
            return .scalar((0..<grid.count).map { Double(grid.time($0)) / 1000 })
        case .selector(let selector): return .vector(try selectRows(selector, grid, .values))
        case .sampleTimes(let selector):
            return .vector(try selectRows(selector, grid, .sampleTimes))
        case .startTimes(let selector):
            guard parameters.usesStartTimestamps else { return .vector([]) }
            return .vector(try selectRows(selector, grid, .startTimes))
        case .invariant(let inner): return try repeated(try evaluate(inner, grid.first), grid)
        case .negation(let inner): return try negated(try evaluate(inner, grid))
        case .binary(let binary): return try evaluate(binary, grid)
        case .aggregation(let aggregation): return .vector(try evaluate(aggregation, grid))
        case .call(let call): return try evaluate(call, grid)
        case .info(let info): return .vector(try evaluate(info, grid))
        case .rangeCall(let call): return .vector(try evaluate(call, grid))
        }
    }

    /// The rows of a plan that is known to yield a vector; none for another type.
    func rows(_ plan: Plan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        guard case .vector(let rows) = try evaluate(plan, grid) else { return [] }
        return rows
    }

    /// The numbers of a plan that is known to yield a scalar; NaN for another type.
    func scalars(_ plan: Plan, _ grid: StepGrid) throws(QueryError) -> [Double] {
        guard case .scalar(let numbers) = try evaluate(plan, grid) else {
            return [Double](repeating: .nan, count: grid.count)
        }
        return numbers
    }

    /// The text of a string literal; empty for another type.
    func text(_ plan: Plan, _ grid: StepGrid) throws(QueryError) -> String {
        guard case .string(let text) = try evaluate(plan, grid) else { return "" }
        return text
    }

    /// Adds a remark; one with the same message counts as the same, wherever it is made.
    func remark(_ remark: Remark, at position: Int) {
        if let last = lastRemark, last.position == position, last.remark == remark { return }
        let annotation = remark.annotation(at: position)
        lastRemark = annotation.details == .none ? (remark, position) : nil
        if let index = annotationIndices[annotation.message] {
            annotations[index].merge(annotation)
        } else {
            annotationIndices[annotation.message] = annotations.count
            annotations.append(annotation)
        }
    }

    /// Adds what was noticed when histograms were combined.
    func remark(_ merge: HistogramMerge, in operation: Remark.Operation, at position: Int) {
        if merge.hasResetConflict { remark(.resetConflict(operation), at: position) }
        remarkBounds(merge, in: operation, at: position)
    }

    /// As `remark(_:in:at:)` where hints say nothing: a result over time looks for resets itself.
    func remarkBounds(_ merge: HistogramMerge, in operation: Remark.Operation, at position: Int) {
        if merge.hasReconciledBounds { remark(.reconciledBounds(operation), at: position) }
    }

    /// Counts `points` more as held; call it before allocating them.
    func hold(_ points: Int) throws(QueryError) {
        held += points
        guard held <= parameters.limits.samplesMax else {
            throw .samplesExceeded(max: parameters.limits.samplesMax)
        }
        guard held > heldMax else { return }
        guard mayHold(held) else { throw .crowded }
        heldMax = held
    }

    /// Counts `series` columns of `grid` more as held.
    func hold(series: Int, _ grid: StepGrid) throws(QueryError) {
        guard series <= parameters.limits.seriesMax else {
            throw .seriesExceeded(max: parameters.limits.seriesMax)
        }
        let (points, overflow) = series.multipliedReportingOverflow(by: grid.count)
        guard !overflow else { throw .samplesExceeded(max: parameters.limits.samplesMax) }
        try hold(points)
    }

    /// Counts a column of `grid` more as held, for one more row of a result that has `rows`.
    func hold(rowAfter rows: Int, _ grid: StepGrid) throws(QueryError) {
        guard rows < parameters.limits.seriesMax else {
            throw .seriesExceeded(max: parameters.limits.seriesMax)
        }
        try hold(grid.count)
    }

    /// Counts the columns of operands as given back.
    func release(series: Int, _ grid: StepGrid) { release(points: series * grid.count) }

    func release(points: Int) { held -= points }

    /// Counts the histograms of `row` as held, for the rest of the query: they are few and large. Call it for each row
    /// as soon as it is made.
    func hold(histogramsOf row: Row) throws(QueryError) {
        if row.hasHistograms { try hold(row.histogramWeight) }
    }

    /// Counts a text that becomes part of a result's labels as held, for the rest of the query; a point is 16 bytes, so
    /// that a short one is nothing beside its row.
    func hold(text: String) throws(QueryError) { try hold(text.utf8.count / 16) }

    func checkCancelled() throws(QueryError) {
        if isCancelled() { throw .canceled }
    }

    private func repeated(_ value: Value, _ grid: StepGrid) throws(QueryError) -> Value {
        switch value {
        case .string: return value
        case .scalar(let numbers):
            try hold(grid.count)
            return .scalar([Double](repeating: numbers.first ?? .nan, count: grid.count))
        case .vector(var rows):
            try hold(series: rows.count, grid)
            for index in rows.indices {
                let value = rows[index].values.first ?? Row.absent
                rows[index].values = [Double](repeating: value, count: grid.count)
                if let histogram = rows[index].histograms.first {
                    // All share the buckets of one.
                    try hold(grid.count * Row.histogramCellWeight)
                    rows[index].histograms = Array(repeating: histogram, count: grid.count)
                }
            }
            return .vector(rows)
        }
    }

    private func negated(_ value: Value) throws(QueryError) -> Value {
        switch value {
        case .string: return value
        case .scalar(let numbers): return .scalar(numbers.map { -$0 })
        case .vector(let rows):
            var result = mapped(rows) { -$0 }
            for index in result.indices where result[index].hasHistograms {
                result[index].histograms = result[index].histograms.map { $0?.multiplied(by: -1) }
                try hold(histogramsOf: result[index])
            }
            return .vector(result)
        }
    }

    /// `rows` with `transform` applied to every number, without their names; histograms stay as they are.
    func mapped(_ rows: consuming [Row], _ transform: (Double) -> Double) -> [Row] {
        for index in rows.indices {
            rows[index].dropsName = true
            for step in rows[index].values.indices {
                let value = rows[index].values[step]
                if !Row.isAbsent(value) { rows[index].values[step] = transform(value) }
            }
        }
        return rows
    }

    /// Rows with equal labels joined into one where they don't overlap; the columns saved count as given back.
    ///
    /// Throws `duplicateLabelset` where they do. Source: Prometheus 3.14 `rangeEval`.
    func joined(_ rows: [Row]) throws(QueryError) -> [Row] {
        var indices: [Labels: Int] = [:]
        indices.reserveCapacity(rows.count)
        var result: [Row] = []
        result.reserveCapacity(rows.count)
        for row in rows {
            guard let index = indices[row.labels] else {
                indices[row.labels] = result.count
                result.append(row)
                continue
            }
            for step in row.values.indices where row.isPresent(step) {
                guard !result[index].isPresent(step) else { throw .duplicateLabelset }
                result[index].values[step] = row.values[step]
                if let histogram = row.histogram(step) { result[index].set(histogram, step) }
            }
            release(points: row.values.count)
        }
        return result
    }
}
