package import Model
import QueryMath

/// One element of an expression's instant result, as rules take it.
package struct EvaluatedElement: Hashable, Sendable {
    package var labels: Labels
    /// 0 where there is a histogram: the value that its alert has. Source: Prometheus 3.14 rules/alerting.go.
    package var value: Double
    package var histogram: FloatHistogram?

    package init(labels: Labels, value: Double) {
        self.labels = labels
        self.value = value
    }

    package init(labels: Labels, histogram: FloatHistogram) {
        self.labels = labels
        value = 0
        self.histogram = histogram
    }

    /// The histogram as templates print it; nil for a number.
    package var histogramText: String? { histogram?.text }
}
