import QueryMath

/// A bucket of a classic histogram: observations not above its bound.
struct ClassicBucket {
    var upperBound: Double
    var count: Double
}

/// The quantile by linear interpolation inside its bucket, and where counts had to be forced to rise.
///
/// `buckets` ascend by bound; `time` is when they were counted. Source: Prometheus 3.14 `BucketQuantile`.
func bucketQuantile(
    _ quantile: Double, _ buckets: [ClassicBucket], at time: Int64
) -> (value: Double, corrections: Corrections?) {
    if quantile.isNaN { return (.nan, nil) }
    if quantile < 0 { return (-.infinity, nil) }
    if quantile > 1 { return (.infinity, nil) }
    guard buckets[buckets.count - 1].upperBound == .infinity else { return (.nan, nil) }
    var merged = coalesced(buckets)
    let corrections = makeMonotonic(&merged, at: time)
    let last = merged.count - 1
    let observations = merged[last].count
    guard last > 0, observations != 0 else { return (.nan, corrections) }
    var rank = quantile * observations
    let index = merged[..<last].firstIndex { $0.count >= rank } ?? last
    if index == last { return (merged[last - 1].upperBound, corrections) }
    if index == 0, merged[0].upperBound <= 0 { return (merged[0].upperBound, corrections) }
    var start = 0.0
    var count = merged[index].count
    if index > 0 {
        start = merged[index - 1].upperBound
        count -= merged[index - 1].count
        rank -= merged[index - 1].count
    }
    return (start + (merged[index].upperBound - start) * (rank / count), corrections)
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

/// Raises counts that fall below the one before; where any did by more than rounding.
/// Source: Prometheus 3.14 `ensureMonotonicAndIgnoreSmallDeltas`.
private func makeMonotonic(_ buckets: inout [ClassicBucket], at time: Int64) -> Corrections? {
    var corrections: Corrections?
    var previous = buckets[0].count
    for index in buckets.indices.dropFirst() {
        let count = buckets[index].count
        if count == previous { continue }
        if almostEqual(previous, count, epsilon: 1e-12) {
            buckets[index].count = previous
        } else if count < previous {
            buckets[index].count = previous
            let bound = buckets[index].upperBound
            corrections = Corrections(
                firstTime: time, lastTime: time,
                lowestBound: min(bound, corrections?.lowestBound ?? bound),
                highestBound: max(bound, corrections?.highestBound ?? bound),
                greatestDifference: max(previous - count, corrections?.greatestDifference ?? 0))
        } else {
            previous = count
        }
    }
    return corrections
}
