package import Model

/// One element of an instant vector.
package struct VectorElement: Hashable, Sendable {
    package var labels: Labels
    package var sample: Sample

    package init(labels: Labels, sample: Sample) {
        self.labels = labels
        self.sample = sample
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

/// What a query yields: its value and what it has to say about it.
package struct QueryResult: Sendable {
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

/// A remark on a result: `PromQL warning: …` or `PromQL info: …`.
package struct Annotation: Hashable, Sendable {
    package enum Severity: String, Hashable, Sendable {
        case warning, info
    }

    package var severity: Severity
    /// The text with its prefix, without the position.
    package var message: String
    /// Byte offset in the query of the expression it is about.
    package var offset: Int

    package init(_ severity: Severity, _ message: String, offset: Int) {
        self.severity = severity
        self.message = "PromQL \(severity.rawValue): \(message)"
        self.offset = offset
    }

    /// The message with `(line:column)`, both from 1, as Prometheus' API shows it.
    package func text(in query: String) -> String {
        let before = query.utf8.prefix(offset)
        let line = before.reduce(1) { $1 == 10 ? $0 + 1 : $0 }
        let column =
            before.count
            - (before.lastIndex(of: 10).map { lastBreak in
                before.distance(from: before.startIndex, to: lastBreak) + 1
            } ?? 0)
        return "\(message) (\(line):\(column + 1))"
    }
}
