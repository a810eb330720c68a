// The messages of `metrics.proto`, one data point at a time.

/// What is said of a metric before its data points.
struct MetricHeader {
    enum Kind {
        case gauge
        case sum(Temporality, isMonotonic: Bool)
        case histogram(Temporality)
        case exponentialHistogram(Temporality)
        case summary
    }

    enum Temporality {
        case delta, cumulative, unspecified

        init(_ number: UInt64) {
            switch number {
            case 1: self = .delta
            case 2: self = .cumulative
            default: self = .unspecified
            }
        }
    }

    /// Nil where it is no UTF-8.
    var name: String?
    var description: String
    var unit: String
    var kind: Kind
}

/// What every data point has.
struct PointHeader {
    var attributes: [Attribute] = []
    /// Nanoseconds since the epoch; 0 where it isn't known.
    var start: UInt64 = 0
    var time: UInt64 = 0
    /// The series has no value at that time: it became stale.
    var hasNoRecordedValue = false
    var exemplars: [ExemplarPoint] = []

    /// Bit 0 of `flags`.
    mutating func take(flags: UInt64) { hasNoRecordedValue = flags & 1 == 1 }
}

struct ExemplarPoint {
    var attributes: [Attribute] = []
    /// Nanoseconds since the epoch; 0 where it isn't known.
    var time: UInt64 = 0
    /// Nil where it has none.
    var value: Double?
    /// NaN where it has no value.
    var number: Double { value ?? .nan }
    var traceID: [UInt8] = []
    var spanID: [UInt8] = []
}

struct NumberPoint {
    var header = PointHeader()
    /// 0 where it has none, as the messages' own default is.
    var value = 0.0
}

struct HistogramPoint {
    var header = PointHeader()
    var count: UInt64 = 0
    /// Nil where it is not reported.
    var sum: Double?
    /// Observations in each bucket alone; the last has no bound.
    var counts: [UInt64] = []
    /// Upper bounds, inclusive, ascending.
    var bounds: [Double] = []
}

struct ExponentialPoint {
    /// Buckets side by side: `counts[i]` is that of index `offset + i`.
    struct Buckets {
        var offset: Int32 = 0
        var counts: [UInt64] = []
    }

    var header = PointHeader()
    var count: UInt64 = 0
    /// Nil where it is not reported.
    var sum: Double?
    /// The bucket of index i covers (2^(i / 2^scale), 2^((i + 1) / 2^scale)].
    var scale: Int32 = 0
    var zeroCount: UInt64 = 0
    /// 0 where it isn't known.
    var zeroThreshold = 0.0
    var positive = Buckets()
    var negative = Buckets()
}

struct SummaryPoint {
    var header = PointHeader()
    var count: UInt64 = 0
    var sum = 0.0
    var quantiles: [(quantile: Double, value: Double)] = []
}
