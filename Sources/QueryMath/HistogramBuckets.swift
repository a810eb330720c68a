import Glibc
package import Model

/// A bucket of a native histogram with its bounds.
package struct HistogramBucket: Hashable, Sendable {
    package var lower: Double
    package var upper: Double
    package var includesLower: Bool
    package var includesUpper: Bool
    package var count: Double

    package init(
        lower: Double, upper: Double, includesLower: Bool, includesUpper: Bool, count: Double
    ) {
        self.lower = lower
        self.upper = upper
        self.includesLower = includesLower
        self.includesUpper = includesUpper
        self.count = count
    }

    /// The share of the bucket's observations that lie below `value`, which lies inside the finite bounds: evenly
    /// spread for `isLinear`, otherwise evenly over the logarithm. Source: Prometheus 3.14 `Bucket.FractionBelow`.
    func share(below value: Double, isLinear: Bool) -> Double {
        if isLinear { return (value - lower) / (upper - lower) }
        let low = log2(lower.magnitude)
        let high = log2(upper.magnitude)
        let place = log2(value.magnitude)
        return value > 0 ? (place - low) / (high - low) : 1 - (place - high) / (low - high)
    }
}

extension FloatHistogram {
    /// All listed buckets in ascending order, the zero bucket where it isn't empty; bounds don't reach into the zero
    /// bucket. Source: Prometheus 3.14 `AllBucketIterator`.
    package var allBuckets: [HistogramBucket] {
        var result: [HistogramBucket] = []
        result.reserveCapacity(negative.counts.count + positive.counts.count + 1)
        for place in negative.indices.indices.reversed() {
            result.append(bucket(negative, place, isPositive: false))
        }
        if zeroCount > 0 {
            result.append(
                HistogramBucket(
                    lower: -zeroThreshold, upper: zeroThreshold, includesLower: true,
                    includesUpper: true, count: zeroCount))
        }
        for place in positive.indices.indices {
            result.append(bucket(positive, place, isPositive: true))
        }
        return result
    }

    /// The bucket at `place` of one sign's columns, cut off at the zero bucket.
    private func bucket(
        _ buckets: Buckets, _ place: Int, isPositive: Bool
    ) -> HistogramBucket {
        var bucket = uncutBucket(buckets, place, isPositive: isPositive)
        if bucket.upper < 0, bucket.upper > -zeroThreshold {
            bucket.upper = -zeroThreshold
        } else if bucket.lower > 0, bucket.lower < zeroThreshold {
            bucket.lower = zeroThreshold
        }
        return bucket
    }

    /// The bucket at `place` with the bounds of its schema.
    func uncutBucket(_ buckets: Buckets, _ place: Int, isPositive: Bool) -> HistogramBucket {
        let index = buckets.indices[place]
        let far = bound(index)
        let near = bound(index - 1)
        let lower = isPositive ? near : -far
        let upper = isPositive ? far : -near
        return HistogramBucket(
            lower: lower, upper: upper,
            includesLower: hasCustomBuckets ? index == 0 : lower < 0,
            includesUpper: hasCustomBuckets ? true : upper > 0, count: buckets.counts[place])
    }

    /// The upper bound of the positive bucket `index`.
    func bound(_ index: Int32) -> Double {
        guard hasCustomBuckets else { return exponentialBound(index, schema: schema) }
        if index < 0 { return -.infinity }
        return Int(index) < customBounds.count ? customBounds[Int(index)] : .infinity
    }
}

/// The upper bound of the positive exponential bucket `index`, 2^(index / 2^schema).
///
/// The last bucket of finite numbers ends at the greatest of them, so that the next one holds infinity alone.
/// Source: Prometheus 3.14 `getBoundExponential`.
func exponentialBound(_ index: Int32, schema: Int32) -> Double {
    precondition(FloatHistogram.exponentialSchemas.contains(schema), "no exponential schema")
    let exponent: Int
    var fraction = 1.0
    if schema < 0 {
        exponent = Int(index) << Int(-schema)
        if exponent == 1024 { return .greatestFiniteMagnitude }
    } else {
        fraction = ExponentialBounds.fractions[Int(schema)][Int(index & ((1 << schema) - 1))]
        exponent = Int(index >> schema) + 1
        if fraction == 0.5, exponent == 1025 { return .greatestFiniteMagnitude }
    }
    return scalbn(fraction, Int32(clamping: exponent))
}

/// The bounds in `[0.5, 1)` of the schemas 0 through 8.
private enum ExponentialBounds {
    /// Every second bound is one of the schema before; the others are their lower neighbour times the ratio of the
    /// schema. The ratios are those of Prometheus' table, whose last digits differ from correctly rounded roots.
    static let fractions: [[Double]] = {
        let ratios = [
            0.7071067811865475, 0.5946035575013605, 0.5452538663326288, 0.5221368912137069,
            0.5109485743270583, 0.5054446430258502, 0.5027149505564014, 0.5013556375251013,
        ]
        var all: [[Double]] = [[0.5]]
        for ratio in ratios {
            let coarse = all[all.count - 1]
            all.append(coarse.flatMap { [$0, $0 * (ratio * 2)] })
        }
        return all
    }()
}
