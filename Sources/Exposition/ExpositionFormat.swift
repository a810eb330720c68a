package import Model

/// A text format of metrics that we read.
package enum ExpositionFormat: Hashable, Sendable {
    /// Prometheus text 0.0.4, and 1.0.0 with quoted names.
    case prometheusText
    /// OpenMetrics 1.0.
    case openMetrics

    /// What a scraper says it takes, best first. Source: Prometheus 3.14 `scrape.acceptHeader`, without protocol buffers.
    package static let acceptHeader =
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        + "application/openmetrics-text;version=0.0.1;q=0.4,"
        + "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        + "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"

    /// The format that a `Content-Type` header says; nil where it is none of ours. Parameters (version, charset, escaping)
    /// don't choose: both formats are told apart by their media type alone.
    package init?(contentType: String) {
        let media = contentType.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }
        switch media.lowercased() {
        case "application/openmetrics-text": self = .openMetrics
        case "text/plain": self = .prometheusText
        default: return nil
        }
    }
}

/// The type that a TYPE line says.
package enum ExpositionType: String, Hashable, Sendable, CaseIterable {
    case counter, gauge, histogram, summary, unknown
    /// OpenMetrics alone has these.
    case gaugehistogram, info, stateset

    /// What the store calls it. An info and a state set are gauges; a gauge histogram's buckets are no counters.
    package var metricType: MetricType {
        switch self {
        case .counter: .counter
        case .gauge, .info, .stateset: .gauge
        case .histogram: .histogram
        case .summary: .summary
        case .unknown, .gaugehistogram: .unknown
        }
    }

    /// The ends of the names of its samples; the family's own name is the empty one.
    var suffixes: [String] {
        switch self {
        case .counter: ["_total", "_created"]
        case .summary: ["", "_count", "_sum", "_created"]
        case .histogram: ["_bucket", "_count", "_sum", "_created"]
        case .gaugehistogram: ["_bucket", "_gcount", "_gsum"]
        case .info: ["_info"]
        case .gauge, .stateset, .unknown: [""]
        }
    }

    /// The label that tells the samples of one metric of this type apart.
    var boundLabel: String? {
        switch self {
        case .histogram, .gaugehistogram: "le"
        case .summary: "quantile"
        case .counter, .gauge, .info, .stateset, .unknown: nil
        }
    }
}
