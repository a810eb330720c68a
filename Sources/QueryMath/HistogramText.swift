package import Model

extension FloatHistogram {
    /// As `count_values` names a histogram: `{count:4, sum:3, (0.5,1]:4}`, empty buckets left out.
    /// Source: Prometheus 3.14 `FloatHistogram.String`.
    package var text: String {
        var parts = ["count:\(GoFloat.general(count))", "sum:\(GoFloat.general(sum))"]
        for bucket in allUncutBuckets where bucket.count != 0 { parts.append(bucket.text) }
        return "{\(parts.joined(separator: ", "))}"
    }

    /// As test scripts write a histogram: `{{schema:1 count:4 sum:3 offset:1 buckets:[4]}}`.
    /// Source: Prometheus 3.14 `FloatHistogram.TestExpression`.
    package var scriptText: String {
        var parts: [String] = []
        if schema != 0 { parts.append("schema:\(schema)") }
        if count != 0 { parts.append("count:\(GoFloat.general(count))") }
        if sum != 0 { parts.append("sum:\(GoFloat.general(sum))") }
        if zeroCount != 0 { parts.append("z_bucket:\(GoFloat.general(zeroCount))") }
        if zeroThreshold != 0 { parts.append("z_bucket_w:\(GoFloat.general(zeroThreshold))") }
        if hasCustomBuckets { parts.append("custom_values:\(list(customBounds))") }
        switch counterResetHint {
        case .unknown: break
        case .reset: parts.append("counter_reset_hint:reset")
        case .notReset: parts.append("counter_reset_hint:not_reset")
        case .gauge: parts.append("counter_reset_hint:gauge")
        }
        for (buckets, prefix) in [(positive.compacted(), ""), (negative.compacted(), "n_")] {
            guard let first = buckets.indices.first, let last = buckets.indices.last else {
                continue
            }
            if first != 0 { parts.append("\(prefix)offset:\(first)") }
            var counts = [Double](repeating: 0, count: Int(last) - Int(first) + 1)
            for (index, count) in zip(buckets.indices, buckets.counts) {
                counts[Int(index - first)] = count
            }
            parts.append("\(prefix)buckets:\(list(counts))")
        }
        return "{{\(parts.joined(separator: " "))}}"
    }

    private func list(_ numbers: [Double]) -> String {
        "[" + numbers.map { GoFloat.general($0) }.joined(separator: " ") + "]"
    }

    /// All buckets in ascending order, the zero bucket included, with the bounds of their schema.
    private var allUncutBuckets: [HistogramBucket] {
        var all = negative.indices.indices.reversed().map {
            uncutBucket(negative, $0, isPositive: false)
        }
        if zeroCount != 0 {
            all.append(
                HistogramBucket(
                    lower: -zeroThreshold, upper: zeroThreshold, includesLower: true,
                    includesUpper: true, count: zeroCount))
        }
        return all + positive.indices.indices.map { uncutBucket(positive, $0, isPositive: true) }
    }
}

extension HistogramBucket {
    /// In mathematical notation: `(0.5,1]:4`.
    fileprivate var text: String {
        "\(includesLower ? "[" : "(")\(GoFloat.general(lower)),\(GoFloat.general(upper))"
            + "\(includesUpper ? "]" : ")"):\(GoFloat.general(count))"
    }
}
