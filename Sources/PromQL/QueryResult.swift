package import Model

/// One element of an instant vector.
package struct VectorElement: Hashable, Sendable {
    package var labels: Labels
    /// Its value means nothing where there is a histogram.
    package var sample: Sample
    package var histogram: FloatHistogram?

    package init(labels: Labels, sample: Sample, histogram: FloatHistogram? = nil) {
        self.labels = labels
        self.sample = sample
        self.histogram = histogram
    }
}

/// The value of a query.
package enum QueryValue: Hashable, Sendable {
    case scalar(Sample)
    case string(String, at: TimestampMS)
    /// In the order `sort…`, `topk` and `bottomk` give it; in no particular order for other expressions.
    case vector([VectorElement])
    /// In label order; of a range query, or of an instant query for a range vector.
    case matrix([SeriesColumns])
}

extension QueryValue {
    /// What its samples weigh in memory, in samples of 16 bytes; labels are not counted.
    package var weight: Int {
        switch self {
        case .scalar, .string: 1
        case .vector(let elements):
            elements.reduce(elements.count) { $0 + ($1.histogram?.weight ?? 0) }
        case .matrix(let series):
            series.reduce(0) { sum, columns in
                columns.histograms.reduce(sum + columns.values.count) {
                    $0 + $1.histogram.weight
                }
            }
        }
    }
}

/// What a query yields: its value and what it has to say about it.
package struct QueryResult: Hashable, Sendable {
    package var value: QueryValue
    package var annotations: [Annotation]
    /// Samples read from the data given to `PreparedQuery.evaluate`.
    package var samplesRead: Int

    package init(value: QueryValue, annotations: [Annotation], samplesRead: Int) {
        self.value = value
        self.annotations = annotations
        self.samplesRead = samplesRead
    }
}
