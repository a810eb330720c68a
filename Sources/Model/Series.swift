/// A value of a series at a time.
package struct Sample: Hashable, Sendable {
    package var timestamp: TimestampMS
    /// Any bit pattern, NaN payloads included; `StalenessMarker` ends a series.
    package var value: Double

    package init(_ timestamp: TimestampMS, _ value: Double) {
        self.timestamp = timestamp
        self.value = value
    }
}

/// The NaN payload that says "this series ended here".
/// Source: Prometheus 3.14 `model/value.StaleNaN`.
package enum StalenessMarker {
    @inlinable @inline(__always) package static var bitPattern: UInt64 { 0x7ff0_0000_0000_0002 }
    package static var value: Double { Double(bitPattern: bitPattern) }

    /// Whether `value` is the marker, by bit pattern: an ordinary NaN is not.
    @inlinable @inline(__always) package static func isMarker(_ value: Double) -> Bool {
        value.bitPattern == bitPattern
    }
}

/// A series as columns: `timestamps[i]` belongs to `values[i]`.
///
/// Timestamps are milliseconds since the epoch, strictly ascending; both arrays have the same count. Native histograms
/// have a column of their own; a time has a value or a histogram, not both. A staleness marker among the values ends
/// the histograms too.
package struct SeriesColumns: Hashable, Sendable {
    package var labels: Labels
    package var timestamps: [Int64]
    package var values: [Double]
    /// When the counting of `values[i]` began, in milliseconds since the epoch, 0 where it isn't known; empty where it
    /// is known of none.
    package var startTimestamps: [Int64]
    /// In ascending order of time.
    package var histograms: [HistogramSample]

    package init(
        labels: Labels, timestamps: [Int64] = [], values: [Double] = [],
        startTimestamps: [Int64] = [], histograms: [HistogramSample] = []
    ) {
        precondition(timestamps.count == values.count, "columns of different length")
        precondition(
            startTimestamps.isEmpty || startTimestamps.count == values.count,
            "columns of different length")
        self.labels = labels
        self.timestamps = timestamps
        self.values = values
        self.startTimestamps = startTimestamps
        self.histograms = histograms
    }
}

/// The type of a metric family as its exposition declares it.
package enum MetricType: String, Hashable, Sendable {
    case counter, gauge, histogram, summary, unknown
}

/// What an exposition says of a metric family beside its samples.
package struct MetricMetadata: Hashable, Sendable {
    package var type: MetricType
    package var help: String
    package var unit: String

    package init(type: MetricType = .unknown, help: String = "", unit: String = "") {
        self.type = type
        self.help = help
        self.unit = unit
    }
}

/// A metric family of one scrape: a name, its metadata, and samples without a timestamp of their own.
package struct MetricFamily: Hashable, Sendable {
    /// One sample; `labels` has no `__name__` unless it differs from the family's (`_bucket`, `_sum`, `_count`).
    package struct Point: Hashable, Sendable {
        package var labels: Labels
        package var value: Double

        package init(_ labels: Labels = .empty, _ value: Double) {
            self.labels = labels
            self.value = value
        }
    }

    package var name: String
    package var metadata: MetricMetadata
    package var points: [Point]

    package init(_ name: String, _ type: MetricType, help: String, points: [Point] = []) {
        self.name = name
        self.metadata = MetricMetadata(type: type, help: help)
        self.points = points
    }
}
