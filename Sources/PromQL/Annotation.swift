/// A remark on a result: `PromQL warning: …` or `PromQL info: …`.
package struct Annotation: Hashable, Sendable {
    package enum Severity: String, Hashable, Sendable {
        case warning, info
    }

    /// What is told of all occurrences of a remark together.
    package enum Details: Hashable, Sendable {
        case none
        /// How many series it is about.
        case series(Int)
        case corrections(Corrections)
    }

    package var severity: Severity
    /// The text with its prefix, without details and position; two remarks with the same are one.
    package var message: String
    package var details: Details
    /// Byte offset in the query of the expression it is about.
    package var offset: Int
    /// Whether it is about samples at some of the query's steps; other remarks are about names and the query itself.
    package var isOfSamples: Bool

    package init(
        _ severity: Severity, _ message: String, details: Details = .none, offset: Int,
        isOfSamples: Bool = true
    ) {
        self.severity = severity
        self.message = "PromQL \(severity.rawValue): \(message)"
        self.details = details
        self.offset = offset
        self.isOfSamples = isOfSamples
    }

    /// The remarks on an answer of two parts, `later` behind `earlier`.
    package static func joined(
        _ earlier: [Annotation], _ later: [Annotation]
    ) -> [Annotation] {
        var all = earlier
        var indices: [String: Int] = [:]
        for (index, annotation) in all.enumerated() { indices[annotation.message] = index }
        for annotation in later {
            if let index = indices[annotation.message] {
                all[index].merge(annotation)
            } else {
                indices[annotation.message] = all.count
                all.append(annotation)
            }
        }
        return all
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
        return "\(message)\(details.text) (\(line):\(column + 1))"
    }

    /// Takes over the details of `other`, a remark with the same message, and its place.
    /// Source: Prometheus 3.14 `annotations.Add`.
    mutating func merge(_ other: Annotation) {
        offset = other.offset
        switch (details, other.details) {
        case (.series(let count), .series(let more)): details = .series(count + more)
        case (.corrections(let some), .corrections(let more)):
            details = .corrections(some.merged(more))
        case (.none, _), (.series, _), (.corrections, _): details = other.details
        }
    }
}

/// Where the counts of classic buckets were corrected to rise.
package struct Corrections: Hashable, Sendable {
    /// Milliseconds since the epoch.
    package var firstTime: Int64
    package var lastTime: Int64
    package var lowestBound: Double
    package var highestBound: Double
    package var greatestDifference: Double
    package var count = 1

    func merged(_ other: Corrections) -> Corrections {
        Corrections(
            firstTime: min(firstTime, other.firstTime), lastTime: max(lastTime, other.lastTime),
            lowestBound: min(lowestBound, other.lowestBound),
            highestBound: max(highestBound, other.highestBound),
            greatestDifference: max(greatestDifference, other.greatestDifference),
            count: count + other.count)
    }
}
