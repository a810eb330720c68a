import Model
import Storage

/// How many series there are, and which metrics and labels make them.
package struct Cardinality: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var name: String
        package var count: Int
    }

    package var seriesCount = 0
    /// Distinct pairs of label and value.
    package var pairCount = 0
    /// Each list has the largest counts first.
    package var seriesByMetric: [Entry] = []
    package var valuesByLabel: [Entry] = []
    /// Bytes of a label's values, each counted for every series that has it.
    package var bytesByLabel: [Entry] = []
    /// By `label=value`.
    package var seriesByPair: [Entry] = []
}

extension MetricQueryService {
    /// Counts every series; each list has at most `entriesMax` entries. O(labels of all series).
    /// Source: Prometheus 3.14 `index.MemPostings.Stats`.
    package func cardinality(entriesMax: Int) async throws(QueryFailure) -> Cardinality {
        let reader = reader
        return try await lookUp {
            try Self.cardinality(
                of: try await reader.series(Scope().bounded), entriesMax: entriesMax)
        }
    }

    private static func cardinality(of all: [Labels], entriesMax: Int) throws -> Cardinality {
        // By their bytes, as series are told apart.
        var byLabel: [ExactText: [ExactText: Int]] = [:]
        for (number, labels) in all.enumerated() {
            if number & 1023 == 0 { try Task.checkCancellation() }
            for label in labels {
                byLabel[ExactText(label.name), default: [:]][ExactText(label.value), default: 0] +=
                    1
            }
        }
        var result = Cardinality()
        result.seriesCount = all.count
        result.pairCount = byLabel.values.reduce(0) { $0 + $1.count }
        func largest(_ entries: some Sequence<(String, Int)>) -> [Cardinality.Entry] {
            entries.map { Cardinality.Entry(name: $0.0, count: $0.1) }
                .sorted {
                    $0.count == $1.count ? bytesPrecede($0.name, $1.name) : $0.count > $1.count
                }
                .prefix(entriesMax).map { $0 }
        }
        result.seriesByMetric = largest(
            (byLabel[ExactText(Labels.metricNameLabel)] ?? [:]).map { ($0.key.text, $0.value) })
        result.valuesByLabel = largest(byLabel.map { ($0.key.text, $0.value.count) })
        result.bytesByLabel = largest(
            byLabel.map { name, values in
                (name.text, values.reduce(0) { $0 + $1.key.text.utf8.count * $1.value })
            })
        result.seriesByPair = largest(
            byLabel.flatMap { name, values in
                values.map { ("\(name.text)=\($0.key.text)", $0.value) }
            })
        return result
    }
}
