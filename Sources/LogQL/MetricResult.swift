package import Model

/// When a metric query is evaluated.
package enum MetricTimes: Hashable, Sendable {
    case instant(TimestampNS)
    /// At `start`, `start + step`, … up to and including `end`; the step is at least 1.
    case range(start: TimestampNS, end: TimestampNS, stepNanoseconds: Int64)
}

/// What a metric query may cost.
package struct MetricLimits: Hashable, Sendable {
    /// Series of the answer. Source: Loki's `max_query_series`.
    package var seriesMax: Int
    /// Whether an answer that would have more series has the first of them, instead of none.
    package var isCutAtSeriesMax = false
    /// Steps of a range query. Source: Loki's HTTP handler.
    package var pointsMax: Int
    /// Length of a window, nil for any. Source: Loki's `max_query_range`.
    package var rangeNanosecondsMax: Int64?
    /// Bytes of windows, labels and results, estimated.
    package var byteCountMax: Int

    package init(
        seriesMax: Int = 500, pointsMax: Int = 11_000, rangeNanosecondsMax: Int64? = nil,
        byteCountMax: Int = 256 << 20
    ) {
        self.seriesMax = seriesMax
        self.pointsMax = pointsMax
        self.rangeNanosecondsMax = rangeNanosecondsMax
        self.byteCountMax = byteCountMax
    }
}

/// A series' value at the time of an instant query. A label may have an empty value.
package struct MetricElement: Hashable, Sendable {
    package var labels: Labels
    package var value: Double

    package init(labels: Labels, value: Double) {
        self.labels = labels
        self.value = value
    }
}

/// The answer to a metric query.
package enum MetricResult: Sendable {
    case scalar(Double, TimestampMS)
    /// Ascending by labels, or, where the query sorts, in its order.
    case vector([MetricElement], TimestampMS)
    /// Ascending by labels; a series has the times at which it has a value. `label_replace` may give a series two values
    /// at one time, as it does in Loki. A label may have an empty value.
    case matrix([SeriesColumns])
}
