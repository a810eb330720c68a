import Model
import PromQLSyntax
import QueryMath

/// The buckets of one classic histogram: the rows that differ in `le` only.
private struct BucketGroup {
    var labels: Labels
    var metricName: String
    /// Ascending by bound.
    var members: [(bound: Double, row: Int)] = []

    /// Ascending by bound.
    func buckets(_ input: [Row], _ step: Int) -> [ClassicBucket] {
        members.compactMap { member in
            let count = input[member.row].values[step]
            return Row.isAbsent(count)
                ? nil : ClassicBucket(upperBound: member.bound, count: count)
        }
    }

    func isPresent(_ input: [Row], _ step: Int) -> Bool {
        members.contains { !Row.isAbsent(input[$0.row].values[step]) }
    }
}

/// The histograms of a vector, classic ones by their buckets.
private struct HistogramInput {
    var rows: [Row]
    var groups: [BucketGroup]
    /// The rows with native histograms, which have nothing at steps where a classic one has the same labels.
    var native: [Row]
}

extension Evaluator {
    /// `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`.
    func histogramStatistic(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        switch call.function {
        case .histogramQuantiles: return try severalQuantiles(call, grid)
        case .histogramFraction:
            let lower = try scalars(call.arguments[0], grid)
            let upper = try scalars(call.arguments[1], grid)
            let input = histograms(try rows(call.arguments[2], grid), grid, call.positions[2])
            return try statisticRows(
                input, grid,
                classic: { _, buckets, step in fraction(lower[step], upper[step], buckets) },
                native: { name, histogram, step in
                    let (value, effect) = histogram.fraction(from: lower[step], to: upper[step])
                    self.remark(effect, name, call.positions[0])
                    return value
                })
        default:
            let numbers = try scalars(call.arguments[0], grid)
            let input = try rows(call.arguments[1], grid)
            remarkQuantiles(numbers, at: call.positions[0])
            return try quantileRows(
                histograms(input, grid, call.positions[1]), grid, numbers,
                classicPosition: call.positions[1], nativePosition: call.positions[0])
        }
    }

    private func severalQuantiles(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let label = try text(call.arguments[1], grid)
        var wanted: [[Double]] = []
        for argument in call.arguments.dropFirst(2) { wanted.append(try scalars(argument, grid)) }
        let input = histograms(try rows(call.arguments[0], grid), grid, call.positions[0])
        var result: [Row] = []
        for (number, numbers) in wanted.enumerated() {
            remarkQuantiles(numbers, at: call.positions[number + 2])
            let found = try quantileRows(
                input, grid, numbers, classicPosition: call.positions[0],
                nativePosition: call.positions[0])
            try hold(series: found.count, grid)
            for var row in found {
                let text = GoFloat.openMetrics(numbers.first ?? .nan)
                if dropsNamesAtOnce {
                    // The label comes after, a name too.
                    row.labels = row.labels.droppingMetadata()
                    row.dropsName = false
                }
                row.labels = row.labels.setting(label, text)
                result.append(row)
            }
        }
        return dropsNamesAtOnce ? try joined(result) : result
    }

    /// The name that a remark on `labels` tells: none where it has gone before anything can be said.
    private func remarkedName(_ labels: Labels) -> String {
        dropsNamesAtOnce ? "" : labels.metricName
    }

    private func remarkQuantiles(_ numbers: [Double], at position: Int) {
        for number in numbers where !(number >= 0 && number <= 1) {
            remark(.invalidQuantile(number), at: position)
        }
    }

    private func quantileRows(
        _ input: HistogramInput, _ grid: StepGrid, _ wanted: [Double], classicPosition: Int,
        nativePosition: Int
    ) throws(QueryError) -> [Row] {
        try statisticRows(
            input, grid,
            classic: { name, buckets, step in
                let (value, corrections) = bucketQuantile(
                    wanted[step], buckets, at: grid.time(step))
                if let corrections {
                    self.remark(
                        .forcedMonotonicity(metric: name, corrections), at: classicPosition)
                }
                return value
            },
            native: { name, histogram, step in
                let (value, effect) = histogram.quantile(wanted[step])
                self.remark(effect, name, nativePosition)
                return value
            })
    }

    private func remark(_ effect: FloatHistogram.NaNEffect, _ metric: String, _ position: Int) {
        switch effect {
        case .none: break
        case .isResult: remark(.quantileOfNaN(metric: metric), at: position)
        case .skews: remark(.quantileSkewedByNaN(metric: metric), at: position)
        case .areExcluded: remark(.fractionWithNaN(metric: metric), at: position)
        }
    }

    /// One row a histogram that has samples.
    private func statisticRows(
        _ input: HistogramInput, _ grid: StepGrid,
        classic: (String, [ClassicBucket], Int) -> Double,
        native: (String, FloatHistogram, Int) -> Double
    ) throws(QueryError) -> [Row] {
        var result = try numbers(of: input.native, grid) { row, histogram, step in
            native(remarkedName(row.labels), histogram, step)
        }
        for group in input.groups {
            var values = [Double](repeating: Row.absent, count: grid.count)
            for step in values.indices {
                if step & 63 == 0 { try checkCancelled() }
                let buckets = group.buckets(input.rows, step)
                if !buckets.isEmpty { values[step] = classic(group.metricName, buckets, step) }
            }
            let row = Row(labels: group.labels, dropsName: true, values: values)
            if !row.isEmpty { result.append(row) }
        }
        return result
    }

    /// `histogram_count`, `histogram_sum`, `histogram_avg`, `histogram_stddev` and `histogram_stdvar`.
    func histogramNumbers(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        let input = try rows(call.arguments[0], grid)
        let function = call.function
        let result = try numbers(of: input, grid) { _, histogram, _ in
            switch function {
            case .histogramCount: histogram.count
            case .histogramSum: histogram.sum
            case .histogramAvg: histogram.sum / histogram.count
            case .histogramStddev: histogram.variance.squareRoot()
            default: histogram.variance
            }
        }
        release(series: input.count - result.count, grid)
        return result
    }

    /// A number for every histogram; other samples yield nothing.
    private func numbers(
        of rows: [Row], _ grid: StepGrid, _ number: (Row, FloatHistogram, Int) -> Double
    ) throws(QueryError) -> [Row] {
        var result: [Row] = []
        for row in rows where row.hasHistograms {
            var values = [Double](repeating: Row.absent, count: grid.count)
            for step in values.indices {
                if step & 63 == 0 { try checkCancelled() }
                if let histogram = row.histograms[step] {
                    values[step] = number(row, histogram, step)
                }
            }
            let numbers = Row(labels: row.labels, dropsName: true, values: values)
            if !numbers.isEmpty { result.append(numbers) }
        }
        return result
    }

    /// The histograms among `rows`. Classic buckets whose `le` isn't a number are left out with a remark; so are, at one
    /// step, a classic and a native histogram with the same labels. Source: Prometheus 3.14 `resetHistograms`.
    private func histograms(_ rows: [Row], _ grid: StepGrid, _ position: Int) -> HistogramInput {
        var input = HistogramInput(
            rows: rows, groups: [], native: rows.filter(\.hasHistograms))
        var indices: [Labels: Int] = [:]
        for (number, row) in rows.enumerated()
        where !row.hasHistograms || row.values.contains(where: { !Row.isAbsent($0) }) {
            let text = row.labels["le"]
            guard let bound = bucketBound(text) else {
                remark(
                    .badBucketLabel(metric: remarkedName(row.labels), label: text),
                    at: position)
                continue
            }
            let key = row.labels.dropping(["le"])
            let index = indices[key] ?? input.groups.count
            if index == input.groups.count {
                indices[key] = index
                input.groups.append(BucketGroup(labels: key, metricName: remarkedName(key)))
            }
            input.groups[index].members.append((bound, number))
        }
        for index in input.groups.indices {
            input.groups[index].members.sort { $0.bound < $1.bound }
        }
        for number in input.native.indices {
            let row = input.native[number]
            guard let index = indices[row.labels] else { continue }
            let group = input.groups[index]
            for step in 0..<grid.count
            where row.histograms[step] != nil && group.isPresent(input.rows, step) {
                remark(.mixedClassicAndNative(metric: remarkedName(row.labels)), at: position)
                input.native[number].histograms[step] = nil
                for member in group.members { input.rows[member.row].values[step] = Row.absent }
            }
        }
        return input
    }
}

/// The number that `le` names; nil where it is none.
private func bucketBound(_ text: String) -> Double? {
    let body = text.utf8.first == UInt8(ascii: "+") ? String(text.dropFirst()) : text
    if ["inf", "infinity"].contains(body.lowercased()) { return .infinity }
    return Double(body)
}
