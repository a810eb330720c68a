import Glibc
package import Model

extension FloatHistogram {
    /// Which observations a trim keeps.
    package enum TrimSide: Hashable, Sendable {
        /// `</`
        case below
        /// `>/`
        case above
    }

    /// The observations on one side of `edge`.
    ///
    /// A bucket around the edge keeps the share that interpolation gives it. Where anything is cut off, the sum is
    /// estimated anew from the middles of what remains. Source: Prometheus 3.14 `FloatHistogram.TrimBuckets`.
    package func trimmed(_ side: TrimSide, of edge: Double) -> FloatHistogram {
        var trim = Trim(side: side, edge: edge, isCustom: hasCustomBuckets)
        var result = self
        var hasPositive = false
        var hasNegative = false
        for place in positive.indices.indices where positive.counts[place] != 0 {
            hasPositive = true
            let bucket = uncutBucket(positive, place, isPositive: true)
            result.positive.counts[place] = trim.keep(bucket, isPositive: true)
        }
        for place in negative.indices.indices where negative.counts[place] != 0 {
            hasNegative = true
            let bucket = uncutBucket(negative, place, isPositive: false)
            result.negative.counts[place] = trim.keep(bucket, isPositive: false)
        }
        if zeroCount > 0 {
            // Without buckets of one sign, the zero bucket has no observations of that sign either.
            result.zeroCount = trim.keepZero(
                lower: hasPositive && !hasNegative ? 0 : -zeroThreshold,
                upper: hasNegative && !hasPositive ? 0 : zeroThreshold, zeroCount)
        }
        guard trim.hasCut else { return self }
        result.count = trim.count
        result.sum = trim.sum
        return result.compacted()
    }
}

/// Keeps the books of one trim.
private struct Trim {
    let side: FloatHistogram.TrimSide
    let edge: Double
    let isCustom: Bool
    /// Of what is kept.
    var count = 0.0
    var sum = 0.0
    var hasCut = false

    init(side: FloatHistogram.TrimSide, edge: Double, isCustom: Bool) {
        self.side = side
        self.edge = edge
        self.isCustom = isCustom
    }

    /// How many of the bucket's observations are kept.
    mutating func keep(_ bucket: HistogramBucket, isPositive: Bool) -> Double {
        let isWhole = side == .below ? bucket.upper <= edge : bucket.lower >= edge
        if isWhole {
            let middle = middle(bucket.lower, bucket.upper, isPositive: isPositive)
            return note(bucket.count, of: bucket.count, middle)
        }
        let isAround = side == .below ? bucket.lower < edge : bucket.upper > edge
        guard isAround else {
            hasCut = true
            return 0
        }
        if bucket.lower == -.infinity || bucket.upper == .infinity {
            let (kept, middle) = keepOfOpen(bucket)
            return note(kept, of: bucket.count, middle)
        }
        var below = bucket.count
        if edge <= bucket.lower {
            below = 0
        } else if edge < bucket.upper {
            below *= bucket.share(below: edge, isLinear: isCustom)
        }
        let kept = side == .below ? below : bucket.count - below
        let middle =
            side == .below
            ? middle(bucket.lower, edge, isPositive: isPositive)
            : middle(edge, bucket.upper, isPositive: isPositive)
        return note(kept, of: bucket.count, middle)
    }

    /// How many of the zero bucket's observations are kept.
    mutating func keepZero(lower: Double, upper: Double, _ count: Double) -> Double {
        let isBelow = side == .below
        if edge <= lower {
            return note(isBelow ? 0 : count, of: count, isBelow ? 0 : (lower + upper) / 2)
        }
        if edge >= upper {
            return note(isBelow ? count : 0, of: count, isBelow ? (lower + upper) / 2 : 0)
        }
        let share = (isBelow ? edge - lower : upper - edge) / (upper - lower)
        let middle = ((isBelow ? lower : upper) + edge) / 2
        return note(count * share, of: count, middle)
    }

    private mutating func note(_ kept: Double, of all: Double, _ middle: Double) -> Double {
        count += kept
        sum += middle * kept
        if kept != all { hasCut = true }
        return kept
    }

    /// What is kept of a bucket without one of its bounds, and the middle of that.
    ///
    /// Nothing is known of how its observations spread, so the side that holds the open end is dropped, unless zero can
    /// stand for the missing lower bound. Source: Prometheus 3.14 `handleInfinityBuckets`.
    private func keepOfOpen(_ bucket: HistogramBucket) -> (kept: Double, middle: Double) {
        let upper = bucket.upper
        if bucket.lower == -.infinity {
            let isBounded = upper > 0 && upper != .infinity
            switch side {
            case .below:
                if edge >= upper { return (bucket.count, 0) }
                if edge > 0, isBounded { return (bucket.count * edge / upper, edge / 2) }
                if upper <= 0 { return (bucket.count, edge) }
            case .above:
                if edge <= bucket.lower { return (bucket.count, 0) }
                if edge >= 0, upper > edge, isBounded {
                    return (bucket.count * (1 - edge / upper), (edge + upper) / 2)
                }
            }
            return (0, upper.isInfinite ? 0 : upper)
        }
        if side == .above, edge >= bucket.lower { return (bucket.count, edge) }
        return (0, bucket.lower.isInfinite ? 0 : bucket.lower)
    }

    /// Where observations between the bounds lie on average.
    private func middle(_ lower: Double, _ upper: Double, isPositive: Bool) -> Double {
        if lower.isInfinite {
            if upper.isInfinite { return 0 }
            return upper > 0 ? upper / 2 : upper
        }
        if upper.isInfinite { return lower }
        if isCustom { return (lower + upper) / 2 }
        let size = (lower * upper).magnitude.squareRoot()
        return isPositive ? size : -size
    }
}
