package import Model

extension FloatHistogram {
    /// What is wrong with a histogram that comes from outside; nil where nothing is.
    ///
    /// Results of arithmetic may be invalid in this sense: a difference has negative counts.
    /// Source: Prometheus 3.14 `FloatHistogram.Validate`.
    package var defect: String? {
        if let layoutDefect { return layoutDefect }
        if zeroCount < 0 {
            return "zero bucket has observation count of \(GoFloat.general(zeroCount))"
        }
        if count < 0 { return "observation count is \(GoFloat.general(count))" }
        for (side, buckets) in [("positive", positive), ("negative", negative)] {
            if let place = buckets.counts.firstIndex(where: { $0 < 0 }) {
                return "\(side) bucket \(buckets.indices[place]) has observation count of "
                    + GoFloat.general(buckets.counts[place])
            }
        }
        return nil
    }

    /// What is wrong with the buckets that a histogram from outside has, whatever is in them; nil where nothing is.
    ///
    /// Arithmetic is only for histograms without such a defect.
    package var layoutDefect: String? {
        if hasCustomBuckets {
            if let defect = customDefect { return defect }
        } else if Self.exponentialSchemas.contains(schema) {
            if !(zeroThreshold >= 0 && zeroThreshold.isFinite) {
                return "zero bucket reaches to \(GoFloat.general(zeroThreshold))"
            }
            if !customBounds.isEmpty { return "exponential schema with custom bounds" }
        } else {
            return "schema \(schema) is neither within -4…8 nor -53 for custom buckets"
        }
        for (side, buckets) in [("positive", positive), ("negative", negative)] {
            if zip(buckets.indices, buckets.indices.dropFirst()).contains(where: { $0 >= $1 }) {
                return "\(side) buckets out of order"
            }
            if let index = buckets.indices.first(where: { $0.magnitude > Self.indexMax }) {
                return "\(side) bucket \(index) lies beyond all numbers"
            }
        }
        return nil
    }

    /// Beyond the bucket of the greatest number in the finest schema, and that of the least.
    private static let indexMax: UInt32 = 1 << 19

    private var customDefect: String? {
        if customBounds.contains(where: \.isNaN) { return "custom bound is NaN" }
        if customBounds.last == .infinity { return "last custom bound is +Inf, which is implied" }
        if zip(customBounds, customBounds.dropFirst()).contains(where: { $0 >= $1 }) {
            return "custom bounds don't ascend"
        }
        if zeroCount != 0 || zeroThreshold != 0 { return "custom buckets with a zero bucket" }
        if !negative.isEmpty { return "custom buckets with negative buckets" }
        if let first = positive.indices.first, first < 0 { return "bucket index \(first)" }
        if let last = positive.indices.last, Int(last) > customBounds.count {
            return "\(customBounds.count) custom bounds are too few for bucket \(last)"
        }
        return nil
    }
}
