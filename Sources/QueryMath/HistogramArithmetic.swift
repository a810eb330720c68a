package import Model

/// Two native histograms can't be combined: one has exponential buckets, the other custom ones.
package struct MixedBucketSchemas: Error, Hashable, Sendable {}

/// What was noticed when native histograms were combined.
package struct HistogramMerge: Hashable, Sendable {
    /// One says that its counter was reset, another that it was not.
    package var hasResetConflict = false
    /// Custom bounds differed and were reduced to those in common.
    package var hasReconciledBounds = false

    package init() {}
}

extension FloatHistogram {
    /// The sum, whose reset hint is what both hints leave; with empty buckets. Throws where the kinds of buckets differ.
    /// Source: Prometheus 3.14 `FloatHistogram.Add`.
    package func adding(
        _ other: FloatHistogram, noting merge: inout HistogramMerge
    ) throws(MixedBucketSchemas) -> FloatHistogram {
        try combined(with: other, times: 1, noting: &merge)
    }

    /// The difference, whose reset hint is what both hints leave; with empty buckets. Throws where the kinds of buckets
    /// differ. Source: Prometheus 3.14 `FloatHistogram.Sub`.
    package func subtracting(
        _ other: FloatHistogram, noting merge: inout HistogramMerge
    ) throws(MixedBucketSchemas) -> FloatHistogram {
        try combined(with: other, times: -1, noting: &merge)
    }

    private func combined(
        with other: FloatHistogram, times factor: Double, noting merge: inout HistogramMerge
    ) throws(MixedBucketSchemas) -> FloatHistogram {
        guard hasCustomBuckets == other.hasCustomBuckets else { throw MixedBucketSchemas() }
        var hint = counterResetHint
        if hint.merge(other.counterResetHint) { merge.hasResetConflict = true }
        var terms = HistogramTerms(self)
        if terms.add(HistogramTerms(other, times: factor)) { merge.hasReconciledBounds = true }
        return terms.histogram(isCompensated: false, hint: hint)
    }

    /// Every number times `factor`; a gauge where that is negative.
    package func multiplied(by factor: Double) -> FloatHistogram {
        var result = mapped { $0 * factor }
        if factor < 0 { result.counterResetHint = .gauge }
        return result
    }

    /// Every number divided by `divisor`; without buckets where that is zero, a gauge where it is negative.
    package func divided(by divisor: Double) -> FloatHistogram {
        var result = mapped { $0 / divisor }
        if divisor == 0 {
            result.positive = Buckets()
            result.negative = Buckets()
        }
        if divisor < 0 { result.counterResetHint = .gauge }
        return result
    }

    /// The same without buckets of zero observations.
    package func compacted() -> FloatHistogram {
        var result = self
        result.positive = positive.compacted()
        result.negative = negative.compacted()
        return result
    }

    /// The same in the coarser exponential schema `target`. Both schemas are exponential.
    package func reduced(to target: Int32) -> FloatHistogram {
        guard target != schema else { return self }
        var terms = HistogramTerms(self)
        terms.reduce(to: target)
        return terms.histogram(isCompensated: false, hint: counterResetHint)
    }

    /// The same with another hint.
    package func hinted(_ hint: CounterResetHint) -> FloatHistogram {
        var result = self
        result.counterResetHint = hint
        return result
    }

    /// Whether both hold the same numbers in the same buckets, bit by bit; hints don't count.
    /// Source: Prometheus 3.14 `FloatHistogram.Equals`.
    package func hasSameData(as other: FloatHistogram) -> Bool {
        schema == other.schema && sameBits(count, other.count) && sameBits(sum, other.sum)
            && zeroThreshold == other.zeroThreshold && sameBits(zeroCount, other.zeroCount)
            && customBounds == other.customBounds
            && positive.hasSameData(as: other.positive) && negative.hasSameData(as: other.negative)
    }

    private func mapped(_ transform: (Double) -> Double) -> FloatHistogram {
        var result = self
        result.count = transform(count)
        result.sum = transform(sum)
        result.zeroCount = transform(zeroCount)
        result.positive.counts = positive.counts.map(transform)
        result.negative.counts = negative.counts.map(transform)
        return result
    }
}

extension FloatHistogram.Buckets {
    func compacted() -> FloatHistogram.Buckets {
        guard counts.contains(0) else { return self }
        let kept = counts.indices.filter { counts[$0] != 0 }
        return FloatHistogram.Buckets(
            indices: kept.map { indices[$0] }, counts: kept.map { counts[$0] })
    }

    fileprivate func hasSameData(as other: FloatHistogram.Buckets) -> Bool {
        indices == other.indices
            && zip(counts, other.counts).allSatisfy { sameBits($0, $1) }
    }
}

extension FloatHistogram.CounterResetHint {
    /// Becomes what is known of the sum of both; whether the two contradict each other.
    /// Source: Prometheus 3.14 `adjustCounterReset`.
    mutating func merge(_ other: Self) -> Bool {
        switch (self, other) {
        case (.gauge, _), (_, .gauge): self = .gauge
        case (.unknown, _), (_, .unknown): self = .unknown
        case (.reset, .reset), (.notReset, .notReset): break
        case (.reset, .notReset), (.notReset, .reset):
            self = .unknown
            return true
        }
        return false
    }
}

private func sameBits(_ a: Double, _ b: Double) -> Bool { a.bitPattern == b.bitPattern }
