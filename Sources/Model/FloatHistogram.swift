/// A native histogram: how many observations fell in each bucket of a fixed layout.
///
/// Two layouts exist. An *exponential* schema n (-4 … 8) divides each power of two into 2^n buckets on both sides of
/// zero, with a zero bucket `[-zeroThreshold, zeroThreshold]` between them; the positive bucket of index i ends at
/// 2^(i / 2^n). *Custom* buckets (schema -53) end at `customBounds`, ascending, the last bucket at +Inf; they have
/// neither negative buckets nor a zero bucket. Counts are absolute and may be fractional (a rate), negative
/// (a difference) or infinite. Source: Prometheus 3.14 `model/histogram.FloatHistogram`.
package struct FloatHistogram: Hashable, Sendable {
    /// What is known of the sample before this one.
    package enum CounterResetHint: UInt8, Hashable, Sendable {
        /// Whether the counter was reset since has to be found out from the buckets.
        case unknown
        /// The counter was reset.
        case reset
        /// The counter was not reset.
        case notReset
        /// The histogram is a gauge, or a result that is no counter any more.
        case gauge
    }

    /// The buckets of one sign: `counts[i]` observations in the bucket of index `indices[i]`.
    ///
    /// Indices ascend strictly; buckets that aren't listed are empty, and listed ones may be.
    package struct Buckets: Hashable, Sendable {
        package var indices: [Int32]
        package var counts: [Double]

        package init(indices: [Int32] = [], counts: [Double] = []) {
            precondition(indices.count == counts.count, "bucket columns of different length")
            self.indices = indices
            self.counts = counts
        }

        /// Neighbouring buckets from index `first` on.
        package init(first: Int32, counts: [Double]) {
            self.init(indices: counts.indices.map { first + Int32($0) }, counts: counts)
        }

        package var isEmpty: Bool { indices.isEmpty }
    }

    /// The schema of custom buckets.
    package static let customSchema: Int32 = -53
    /// The schemas of exponential buckets.
    package static let exponentialSchemas: ClosedRange<Int32> = -4...8

    package var schema: Int32
    /// Half the width of the zero bucket.
    package var zeroThreshold: Double
    package var zeroCount: Double
    package var count: Double
    package var sum: Double
    package var positive: Buckets
    /// The bucket of index i mirrors the positive one.
    package var negative: Buckets
    /// The upper bounds of custom buckets, finite and ascending; empty for exponential ones.
    package var customBounds: [Double]
    package var counterResetHint: CounterResetHint

    package init(
        schema: Int32 = 0, count: Double = 0, sum: Double = 0, zeroThreshold: Double = 0,
        zeroCount: Double = 0, positive: Buckets = Buckets(), negative: Buckets = Buckets(),
        customBounds: [Double] = [], counterResetHint: CounterResetHint = .unknown
    ) {
        self.schema = schema
        self.zeroThreshold = zeroThreshold
        self.zeroCount = zeroCount
        self.count = count
        self.sum = sum
        self.positive = positive
        self.negative = negative
        self.customBounds = customBounds
        self.counterResetHint = counterResetHint
    }

    package var hasCustomBuckets: Bool { schema == Self.customSchema }

    /// How many samples of eight bytes and a timestamp weigh as much: for bounds on memory.
    package var weight: Int {
        let bucketBytes = (positive.counts.count + negative.counts.count) * 12
        return (112 + bucketBytes + customBounds.count * 8) / 16
    }
}

/// A native histogram of a series at a time.
package struct HistogramSample: Hashable, Sendable {
    /// Milliseconds since the epoch.
    package var timestamp: Int64
    package var histogram: FloatHistogram
    /// When the counting began, in milliseconds since the epoch; 0 where it isn't known.
    package var startTimestamp: Int64

    package init(_ timestamp: Int64, _ histogram: FloatHistogram, startTimestamp: Int64 = 0) {
        self.timestamp = timestamp
        self.histogram = histogram
        self.startTimestamp = startTimestamp
    }
}
