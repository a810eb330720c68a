import Model
import QueryMath
import RemoteWrite

extension ExponentialPoint {
    /// Half the width of the zero bucket where the data point does not say it. Source: Prometheus 3.14
    /// `defaultZeroThreshold`.
    private static let zeroThresholdDefault = 1e-128

    /// The same as a native histogram: the bucket of index i is that of i + 1 there, whose bound is its upper one; a
    /// finer scale than 8 is merged down to it. Throws where the scale is too coarse or the buckets contradict the count.
    func nativeHistogram() throws(MetricTranslator.PointDefect) -> FloatHistogram {
        guard scale >= FloatHistogram.exponentialSchemas.lowerBound else {
            throw Self.defect(
                "its scale \(scale) is coarser than \(FloatHistogram.exponentialSchemas.lowerBound)"
            )
        }
        let schema = min(scale, FloatHistogram.exponentialSchemas.upperBound)
        let down = Int64(scale) - Int64(schema)
        let histogram = FloatHistogram(
            schema: schema, count: Double(count), sum: sum ?? 0,
            zeroThreshold: zeroThreshold > 0 ? zeroThreshold : Self.zeroThresholdDefault,
            zeroCount: Double(zeroCount), positive: try Self.merged(positive, down: down),
            negative: try Self.merged(negative, down: down))
        if let defect = histogram.defect { throw Self.defect(defect) }
        // Observations of NaN are in no bucket. Source: Prometheus 3.14 `Histogram.Validate`.
        let observed = positive.counts.reduce(negative.counts.reduce(zeroCount, &+), &+)
        let isSound = sum?.isNaN == true ? observed <= count : observed == count
        guard isSound else {
            throw Self.defect("its buckets have \(observed) observations, its count is \(count)")
        }
        return histogram
    }

    /// Buckets that have observations, 2^down neighbours as one.
    private static func merged(
        _ buckets: Buckets, down: Int64
    ) throws(MetricTranslator.PointDefect) -> FloatHistogram.Buckets {
        var indices: [Int32] = []
        var counts: [Double] = []
        for (place, count) in buckets.counts.enumerated() where count > 0 {
            let index = ((Int64(buckets.offset) + Int64(place)) >> down) + 1
            guard let index = Int32(exactly: index) else {
                throw defect("its bucket \(index) lies beyond all numbers")
            }
            if indices.last == index {
                counts[counts.count - 1] += Double(count)
            } else {
                indices.append(index)
                counts.append(Double(count))
            }
        }
        guard indices.count <= bucketsMax else {
            throw defect("it has \(indices.count) buckets, at most \(bucketsMax) are taken")
        }
        return FloatHistogram.Buckets(indices: indices, counts: counts)
    }

    /// Of one side of a data point.
    private static let bucketsMax = 4_096

    private static func defect(_ text: String) -> MetricTranslator.PointDefect {
        MetricTranslator.PointDefect(reason: .histogram, text: text)
    }
}
