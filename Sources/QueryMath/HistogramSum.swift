package import Model

/// A running sum of native histograms of the same kind of buckets, with Neumaier's compensation in every number.
///
/// Source: Prometheus 3.14 `sum` and `sum_over_time`.
package struct HistogramSum: Sendable {
    private var terms: HistogramTerms
    private var hints: ResetHints
    /// What was noticed so far.
    package private(set) var merge = HistogramMerge()

    package init(_ first: FloatHistogram) {
        terms = HistogramTerms(first)
        hints = ResetHints(first.counterResetHint)
    }

    /// Adds one more. Throws where its kind of buckets is another.
    package mutating func add(_ histogram: FloatHistogram) throws(MixedBucketSchemas) {
        if hints.add(histogram.counterResetHint) { merge.hasResetConflict = true }
        guard terms.hasCustomBuckets == histogram.hasCustomBuckets else {
            throw MixedBucketSchemas()
        }
        if terms.add(HistogramTerms(histogram)) { merge.hasReconciledBounds = true }
    }

    /// The compensated sum, with empty buckets.
    package var value: FloatHistogram {
        terms.histogram(isCompensated: true, hint: hints.merged)
    }
}

/// A running mean of native histograms: the mean of a compensated sum until that would overflow, the incremental mean
/// from there on. Source: Prometheus 3.14 `avg` and `avg_over_time`.
package struct HistogramMean: Sendable {
    private var terms: HistogramTerms
    private var hints: ResetHints
    private var count = 1.0
    private var isIncremental = false
    /// No number of the sum exceeds this.
    private var sizeMax: Double
    /// What was noticed so far.
    package private(set) var merge = HistogramMerge()

    package init(_ first: FloatHistogram) {
        terms = HistogramTerms(first)
        hints = ResetHints(first.counterResetHint)
        sizeMax = first.sizeMax
    }

    /// Adds one more. Throws where its kind of buckets is another.
    package mutating func add(_ histogram: FloatHistogram) throws(MixedBucketSchemas) {
        count += 1
        if hints.add(histogram.counterResetHint) { merge.hasResetConflict = true }
        guard terms.hasCustomBuckets == histogram.hasCustomBuckets else {
            throw MixedBucketSchemas()
        }
        if !isIncremental {
            sizeMax += histogram.sizeMax
            let before = sizeMax.isFinite ? nil : terms
            if terms.add(HistogramTerms(histogram)) { merge.hasReconciledBounds = true }
            guard let before, terms.hasOverflow else { return }
            isIncremental = true
            terms = before
            terms.divide(by: count - 1)
        }
        terms.multiply(by: (count - 1) / count)
        if terms.add(HistogramTerms(histogram.divided(by: count))) {
            merge.hasReconciledBounds = true
        }
    }

    /// The mean, with empty buckets.
    package var value: FloatHistogram {
        var mean = terms
        if !isIncremental { mean.divide(by: count) }
        return mean.histogram(isCompensated: true, hint: hints.merged)
    }
}

/// The hints of the terms of a sum.
private struct ResetHints {
    private(set) var merged: FloatHistogram.CounterResetHint
    private var hasReset = false
    private var hasNoReset = false

    init(_ first: FloatHistogram.CounterResetHint) {
        merged = first
        note(first)
    }

    /// Whether a reset and its absence have both been seen, in whatever order.
    mutating func add(_ hint: FloatHistogram.CounterResetHint) -> Bool {
        note(hint)
        _ = merged.merge(hint)
        return hasReset && hasNoReset
    }

    private mutating func note(_ hint: FloatHistogram.CounterResetHint) {
        if hint == .reset { hasReset = true }
        if hint == .notReset { hasNoReset = true }
    }
}

extension FloatHistogram {
    /// The greatest magnitude among the numbers; infinite where one is no number.
    fileprivate var sizeMax: Double {
        var size = max(count.magnitude, zeroCount.magnitude)
        if !(sum.magnitude <= size) { size = sum.isNaN ? .infinity : sum.magnitude }
        for value in positive.counts where !(value.magnitude <= size) { size = value.magnitude }
        for value in negative.counts where !(value.magnitude <= size) { size = value.magnitude }
        return size.isNaN ? .infinity : size
    }
}
