import Model
import PromQLSyntax
import QueryMath

/// A bucket of a classic histogram: observations not above its bound.
struct ClassicBucket {
    var upperBound: Double
    var count: Double
}

/// The buckets of one histogram: the rows that differ in `le` only.
private struct BucketGroup {
    var labels: Labels
    var metricName: String
    var bounds: [Double] = []
    var rows: [Int] = []

    func buckets(_ input: [Row], _ step: Int) -> [ClassicBucket] {
        rows.indices.compactMap { index in
            let count = input[rows[index]].values[step]
            return Row.isAbsent(count)
                ? nil : ClassicBucket(upperBound: bounds[index], count: count)
        }.sorted { $0.upperBound < $1.upperBound }
    }
}

extension Evaluator {
    /// `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` of classic histograms.
    func classicHistogram(_ call: CallPlan, _ grid: StepGrid) throws(QueryError) -> [Row] {
        switch call.function {
        case .histogramQuantiles:
            let label = try text(call.arguments[1], grid)
            var wanted: [[Double]] = []
            for argument in call.arguments.dropFirst(2) {
                wanted.append(try scalars(argument, grid))
            }
            let input = try rows(call.arguments[0], grid)
            let groups = bucketGroups(input, grid, call.positions[0])
            var result: [Row] = []
            for (number, numbers) in wanted.enumerated() {
                remarkQuantiles(numbers, at: call.positions[number + 2])
                for row in quantileRows(groups, input, grid, numbers, call.positions[0]) {
                    var named = row
                    let text = GoFloat.openMetrics(numbers.first ?? .nan)
                    named.labels = row.labels.setting(label, text)
                    result.append(named)
                }
            }
            return result
        case .histogramFraction:
            let lower = try scalars(call.arguments[0], grid)
            let upper = try scalars(call.arguments[1], grid)
            let input = try rows(call.arguments[2], grid)
            return bucketGroups(input, grid, call.positions[2]).map { group in
                let values = (0..<grid.count).map { step in
                    let buckets = group.buckets(input, step)
                    guard !buckets.isEmpty else { return Row.absent }
                    return fraction(lower[step], upper[step], buckets)
                }
                return Row(labels: group.labels, dropsName: true, values: values)
            }.filter { !$0.isEmpty }
        default:
            let numbers = try scalars(call.arguments[0], grid)
            let input = try rows(call.arguments[1], grid)
            remarkQuantiles(numbers, at: call.positions[0])
            let groups = bucketGroups(input, grid, call.positions[1])
            return quantileRows(groups, input, grid, numbers, call.positions[1])
        }
    }

    private func remarkQuantiles(_ numbers: [Double], at position: Int) {
        for number in numbers where !(number >= 0 && number <= 1) {
            remark(
                .warning,
                "quantile value should be between 0 and 1, got \(GoFloat.general(number))",
                at: position)
        }
    }

    private func quantileRows(
        _ groups: [BucketGroup], _ input: [Row], _ grid: StepGrid, _ wanted: [Double],
        _ position: Int
    ) -> [Row] {
        groups.map { group in
            let values = (0..<grid.count).map { step in
                let buckets = group.buckets(input, step)
                guard !buckets.isEmpty else { return Row.absent }
                let (value, isForced) = bucketQuantile(wanted[step], buckets)
                if isForced { remarkForced(group.metricName, position) }
                return value
            }
            return Row(labels: group.labels, dropsName: true, values: values)
        }.filter { !$0.isEmpty }
    }

    private func remarkForced(_ name: String, _ position: Int) {
        let suffix = name.isEmpty ? "" : " for metric name \(quoted(name))"
        remark(
            .info,
            "input to histogram_quantile needed to be fixed for monotonicity (see "
                + "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                + "#histogram_quantile)\(suffix)", at: position)
    }

    /// The rows by histogram; rows whose `le` isn't a number are left out with a remark.
    private func bucketGroups(
        _ input: [Row], _ grid: StepGrid, _ position: Int
    ) -> [BucketGroup] {
        var groups: [BucketGroup] = []
        var indices: [Labels: Int] = [:]
        for (number, row) in input.enumerated() {
            let text = row.labels["le"]
            guard let bound = bucketBound(text) else {
                let name = row.labels.metricName
                let suffix = name.isEmpty ? "" : " for metric name \(quoted(name))"
                remark(
                    .warning,
                    "bucket label \"le\" is missing or has a malformed value of "
                        + quoted(text) + suffix, at: position)
                continue
            }
            let key = row.labels.dropping(["le"])
            let index = indices[key] ?? groups.count
            if index == groups.count {
                indices[key] = index
                groups.append(BucketGroup(labels: key, metricName: key.metricName))
            }
            groups[index].bounds.append(bound)
            groups[index].rows.append(number)
        }
        return groups
    }
}

/// The number that `le` names; nil where it is none.
private func bucketBound(_ text: String) -> Double? {
    let body = text.utf8.first == UInt8(ascii: "+") ? String(text.dropFirst()) : text
    if ["inf", "infinity"].contains(body.lowercased()) { return .infinity }
    return Double(body)
}

/// The quantile by linear interpolation inside its bucket, and whether counts had to be forced to rise.
///
/// `buckets` ascend by bound. Source: Prometheus 3.14 `BucketQuantile`.
func bucketQuantile(_ quantile: Double, _ buckets: [ClassicBucket]) -> (Double, Bool) {
    if quantile.isNaN { return (.nan, false) }
    if quantile < 0 { return (-.infinity, false) }
    if quantile > 1 { return (.infinity, false) }
    guard buckets[buckets.count - 1].upperBound == .infinity else { return (.nan, false) }
    var merged = coalesced(buckets)
    let isForced = makeMonotonic(&merged)
    let last = merged.count - 1
    let observations = merged[last].count
    guard last > 0, observations != 0 else { return (.nan, isForced) }
    var rank = quantile * observations
    let index = merged[..<last].firstIndex { $0.count >= rank } ?? last
    if index == last { return (merged[last - 1].upperBound, isForced) }
    if index == 0, merged[0].upperBound <= 0 { return (merged[0].upperBound, isForced) }
    var start = 0.0
    var count = merged[index].count
    if index > 0 {
        start = merged[index - 1].upperBound
        count -= merged[index - 1].count
        rank -= merged[index - 1].count
    }
    return (start + (merged[index].upperBound - start) * (rank / count), isForced)
}

/// The share of observations between `lower` and `upper`. Source: Prometheus 3.14 `BucketFraction`.
func fraction(_ lower: Double, _ upper: Double, _ buckets: [ClassicBucket]) -> Double {
    guard buckets[buckets.count - 1].upperBound == .infinity else { return .nan }
    let merged = coalesced(buckets)
    let count = merged[merged.count - 1].count
    if count == 0 || lower.isNaN || upper.isNaN { return .nan }
    if lower >= upper { return 0 }
    return (rank(of: upper, merged) - rank(of: lower, merged)) / count
}

/// How many observations lie below `bound`, by linear interpolation.
private func rank(of bound: Double, _ buckets: [ClassicBucket]) -> Double {
    let count = buckets[buckets.count - 1].count
    var rank = 0.0
    var lower = buckets[0].upperBound <= 0 ? -Double.infinity : 0
    for (index, bucket) in buckets.enumerated() {
        if index > 0 { lower = buckets[index - 1].upperBound }
        if lower >= bound { return min(rank, count) }
        if bucket.upperBound > bound {
            guard lower != -.infinity else { return min(bucket.count, count) }
            let share = (bound - lower) / (bucket.upperBound - lower)
            return min(rank + (bucket.count - rank) * share, count)
        }
        rank = bucket.count
    }
    return count
}

/// Buckets of equal bounds joined into one.
private func coalesced(_ buckets: [ClassicBucket]) -> [ClassicBucket] {
    var result: [ClassicBucket] = []
    for bucket in buckets {
        if let last = result.last, last.upperBound == bucket.upperBound {
            result[result.count - 1].count += bucket.count
        } else {
            result.append(bucket)
        }
    }
    return result
}

/// Raises counts that fall below the one before; whether any did by more than rounding.
/// Source: Prometheus 3.14 `ensureMonotonicAndIgnoreSmallDeltas`.
private func makeMonotonic(_ buckets: inout [ClassicBucket]) -> Bool {
    var isForced = false
    var previous = buckets[0].count
    for index in buckets.indices.dropFirst() {
        let count = buckets[index].count
        if count == previous { continue }
        if almostEqual(previous, count, epsilon: 1e-12) {
            buckets[index].count = previous
        } else if count < previous {
            buckets[index].count = previous
            isForced = true
        } else {
            previous = count
        }
    }
    return isForced
}
