/// A single observation of a series that refers to something outside of the metrics, a trace above all.
/// Source: OpenMetrics 1.0, "Exemplars".
package struct Exemplar: Hashable, Sendable {
    /// `trace_id`, `span_id` and what else there is; may be empty.
    package var labels: Labels
    package var value: Double
    package var timestamp: TimestampMS

    package init(labels: Labels, value: Double, timestamp: TimestampMS) {
        self.labels = labels
        self.value = value
        self.timestamp = timestamp
    }

    /// Characters that the labels of one may have, names and values together. Source: OpenMetrics 1.0, "Exemplars".
    package static let labelCharactersMax = 128

    /// Whether these are not too long for labels of one.
    package static func mayHave(_ labels: Labels) -> Bool {
        labels.reduce(0) { count, label in
            count + label.name.unicodeScalars.count + label.value.unicodeScalars.count
        } <= labelCharactersMax
    }

    /// The trace that it is of; empty where it says none. Names in use, the first that is there.
    /// Source: OpenTelemetry specification 1.38 "Exemplars"; Grafana, Prometheus data source, "Exemplars".
    package var traceID: String {
        for name in ["trace_id", "traceID", "traceId"] {
            let value = labels[name]
            if !value.isEmpty { return value }
        }
        return ""
    }
}

/// A series' exemplars, in ascending order of time.
package struct SeriesExemplars: Hashable, Sendable {
    package var labels: Labels
    package var exemplars: [Exemplar]

    package init(labels: Labels, exemplars: [Exemplar]) {
        self.labels = labels
        self.exemplars = exemplars
    }
}
