package import Model

/// What reached a limit of series, and what grew there.
package struct SeriesRefusal: Hashable, Sendable {
    /// Which limit was reached; the raw value is the label `scope` of metrics and alerts.
    package enum Scope: String, Hashable, Sendable, CaseIterable {
        /// `limits.series_max`: active series at all.
        case total
        /// `limits.series_per_host_max`: active series of one host.
        case host
        /// `limits.series_per_metric_max`: active series of one metric.
        case metric
        /// Eight times `limits.series_max`: series that have samples within the retention, active or not.
        case known

        /// The key in collector.yaml.
        package var limit: String {
            switch self {
            case .total, .known: "limits.series_max"
            case .host: "limits.series_per_host_max"
            case .metric: "limits.series_per_metric_max"
            }
        }
    }

    package var scope: Scope
    /// The metric that has grown most; empty where it is the number of metrics that grew.
    package var metric: String
    /// The label with most values among the metric's series; empty where none has several.
    package var label: String
    /// Distinct values of `label`.
    package var labelValueCount: Int
    /// The sender, where it is one host; otherwise empty.
    package var host: String
    /// Series that the limit allows.
    package var maximum: Int
    /// Refusals since the first: a series that is sent again is refused again.
    package var refusedCount: UInt64
    package var firstAt: TimestampMS
    package var lastAt: TimestampMS

    package init(
        scope: Scope, metric: String, label: String, labelValueCount: Int, host: String,
        maximum: Int, refusedCount: UInt64, firstAt: TimestampMS, lastAt: TimestampMS
    ) {
        self.scope = scope
        self.metric = metric
        self.label = label
        self.labelValueCount = labelValueCount
        self.host = host
        self.maximum = maximum
        self.refusedCount = refusedCount
        self.firstAt = firstAt
        self.lastAt = lastAt
    }
}

/// How many series there are, how many may be, and what was refused lately.
package struct SeriesLimitStatus: Hashable, Sendable {
    /// Series that had a sample in the last hours; these count.
    package var activeCount: Int
    /// Series that have samples within the retention.
    package var knownCount: Int
    /// By scope.
    package var maxima: [SeriesRefusal.Scope: Int]
    /// The largest first.
    package var refusals: [SeriesRefusal]

    package init(
        activeCount: Int, knownCount: Int, maxima: [SeriesRefusal.Scope: Int],
        refusals: [SeriesRefusal]
    ) {
        self.activeCount = activeCount
        self.knownCount = knownCount
        self.maxima = maxima
        self.refusals = refusals
    }
}
