import Glibc
package import Model

extension FloatHistogram {
    /// What observations of NaN do to a statistic: they are counted, but in no bucket.
    package enum NaNEffect: Hashable, Sendable {
        case none
        /// The quantile lies above all buckets and is NaN.
        case isResult
        /// They count as the greatest observations.
        case skews
        /// They belong to no fraction.
        case areExcluded
    }

    /// The quantile: linear inside custom buckets and the zero bucket, exponential inside the others.
    ///
    /// A histogram with buckets of one sign has no observations of the other in its zero bucket. NaN for no
    /// observations or a NaN quantile, -Inf below 0 and +Inf above 1. Source: Prometheus 3.14 `HistogramQuantile`.
    package func quantile(_ quantile: Double) -> (value: Double, effect: NaNEffect) {
        if quantile < 0 { return (-.infinity, .none) }
        if quantile > 1 { return (.infinity, .none) }
        if count == 0 || quantile.isNaN { return (.nan, .none) }
        // Observations of NaN lie behind the last bucket, so that only counting from below is right.
        let isForward = sum.isNaN || quantile < 0.5
        let buckets = isForward ? allBuckets : allBuckets.reversed()
        let rank = (isForward ? quantile : 1 - quantile) * count
        var passed = 0.0
        var next = 0
        var bucket = HistogramBucket(
            lower: 0, upper: 0, includesLower: true, includesUpper: true, count: 0)
        while next < buckets.count {
            bucket = buckets[next]
            next += 1
            if bucket.count == 0 { continue }
            passed += bucket.count
            if passed >= rank { break }
        }
        if let edge = openEdge(&bucket) { return (edge, .none) }
        passed = min(passed, count)
        if passed < rank { return sum.isNaN ? (.nan, .isResult) : (bucket.upper, .none) }
        let inside = isForward ? rank - (passed - bucket.count) : passed - rank
        var effect = NaNEffect.none
        if sum.isNaN {
            let all = buckets[next...].reduce(passed) { $0 + $1.count }
            if all < count { effect = .skews }
        }
        return (interpolated(bucket, inside / bucket.count), effect)
    }

    /// Cuts an open or one-sided bucket to where its observations may be; the result where nothing is known of it.
    private func openEdge(_ bucket: inout HistogramBucket) -> Double? {
        guard hasCustomBuckets else {
            if bucket.lower < 0, bucket.upper > 0 { cutZero(&bucket) }
            return nil
        }
        if bucket.lower == -.infinity {
            if bucket.upper <= 0 { return bucket.upper }
            bucket.lower = 0
        } else if bucket.upper == .infinity {
            return bucket.lower
        }
        return nil
    }

    /// Takes the side without buckets from the zero bucket.
    private func cutZero(_ bucket: inout HistogramBucket) {
        if negative.isEmpty, !positive.isEmpty { bucket.lower = 0 }
        if positive.isEmpty, !negative.isEmpty { bucket.upper = 0 }
    }

    /// The value behind the `share` of the bucket's observations.
    private func interpolated(_ bucket: HistogramBucket, _ share: Double) -> Double {
        if hasCustomBuckets || bucket.lower <= 0 && bucket.upper >= 0 {
            return bucket.lower + (bucket.upper - bucket.lower) * share
        }
        let lower = log2(bucket.lower.magnitude)
        let upper = log2(bucket.upper.magnitude)
        if bucket.lower > 0 { return exp2(lower + (upper - lower) * share) }
        return -exp2(upper + (lower - upper) * (1 - share))
    }

    /// The share of all observations between `lower` and `upper`. NaN for no observations or a NaN bound.
    /// Source: Prometheus 3.14 `HistogramFraction`.
    package func fraction(from lower: Double, to upper: Double) -> (
        value: Double, effect: NaNEffect
    ) {
        if count == 0 || lower.isNaN || upper.isNaN { return (.nan, .none) }
        if lower >= upper { return (0, .none) }
        let buckets = allBuckets
        var counted = count
        var effect = NaNEffect.none
        if sum.isNaN {
            counted = buckets.reduce(0) { $0 + $1.count }
            if counted < count { effect = .areExcluded }
        }
        let below = min(rank(of: lower, buckets) ?? counted, counted)
        let through = min(rank(of: upper, buckets) ?? counted, counted)
        return ((through - below) / count, effect)
    }

    /// How many observations lie below `value`; nil where it lies above all buckets.
    private func rank(of value: Double, _ buckets: [HistogramBucket]) -> Double? {
        var rank = 0.0
        for bucket in buckets {
            var bucket = bucket
            let isZero = bucket.lower <= 0 && bucket.upper >= 0
            if isZero { cutZero(&bucket) }
            if bucket.lower >= value { return rank }
            if bucket.upper > value {
                // Inside a bucket without lower bound nothing can be told apart: all of it lies below.
                if bucket.lower == -.infinity, hasCustomBuckets || isZero { return bucket.count }
                let isLinear = hasCustomBuckets || isZero
                return rank + bucket.count * bucket.share(below: value, isLinear: isLinear)
            }
            rank += bucket.count
        }
        return nil
    }

    /// The variance of the observations, each taken to lie in the middle of its bucket: the arithmetic mean of the
    /// bounds of custom buckets, the geometric of exponential ones, zero in the zero bucket.
    /// Source: Prometheus 3.14 `histogramVariance`.
    package var variance: Double {
        let mean = sum / count
        var squares = KahanSum()
        for bucket in allBuckets where bucket.count != 0 {
            var middle = 0.0
            if hasCustomBuckets {
                middle = (bucket.upper + bucket.lower) / 2
            } else if !(bucket.lower <= 0 && bucket.upper >= 0) {
                middle = (bucket.upper * bucket.lower).squareRoot()
                if bucket.upper < 0 { middle = -middle }
            }
            let distance = middle - mean
            squares.add(bucket.count * distance * distance)
        }
        return squares.value / count
    }
}
