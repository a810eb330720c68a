package import Model

extension FloatHistogram {
    /// Whether the counter was reset between `previous` and this histogram: the hint says so, or any count fell, or the
    /// layout changed as only a reset changes it (a finer schema, a narrower zero bucket, one that cuts a populated
    /// bucket). Source: Prometheus 3.14 `FloatHistogram.DetectReset`.
    package func isReset(since previous: FloatHistogram) -> Bool {
        switch counterResetHint {
        case .reset: return true
        case .notReset: return false
        case .unknown, .gauge: break
        }
        if count < previous.count { return true }
        if hasCustomBuckets {
            guard previous.hasCustomBuckets else { return true }
            return hasFallenCustomBucket(since: previous)
        }
        if previous.hasCustomBuckets || schema > previous.schema { return true }
        if zeroThreshold < previous.zeroThreshold { return true }
        var old = HistogramTerms(previous)
        old.widenZero(to: zeroThreshold)
        guard old.zeroThreshold == zeroThreshold, !(zeroCount < old.zero.sum) else { return true }
        old.reduce(to: schema)
        return hasFallen(positive, since: old.positive) || hasFallen(negative, since: old.negative)
    }

    private func hasFallenCustomBucket(since previous: FloatHistogram) -> Bool {
        if customBounds == previous.customBounds {
            return hasFallen(positive, since: BucketSums(previous.positive))
        }
        let common = intersection(customBounds, previous.customBounds)
        var old = HistogramTerms(previous)
        var new = HistogramTerms(self)
        old.restrict(toBounds: common)
        new.restrict(toBounds: common)
        return hasFallen(new.positive.buckets(isCompensated: false), since: old.positive)
    }
}

/// Whether a bucket is less than it was, or is missing though it wasn't empty.
private func hasFallen(_ buckets: FloatHistogram.Buckets, since previous: BucketSums) -> Bool {
    var place = 0
    for (index, count) in zip(previous.indices, previous.sums) {
        while place < buckets.indices.count, buckets.indices[place] < index { place += 1 }
        if place < buckets.indices.count, buckets.indices[place] == index {
            if buckets.counts[place] < count { return true }
        } else if count != 0 {
            return true
        }
    }
    return false
}
