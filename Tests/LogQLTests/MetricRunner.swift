import LogQL
import LogQLSyntax
import Model

/// Runs a metric query over streams in memory.
enum MetricRunner {
    struct Series: Equatable {
        var labels: Labels
        /// Milliseconds.
        var times: [Int64]
        var values: [Double]
    }

    enum Outcome {
        case failure(String)
        case scalar(Double)
        case series([Series])

        var failure: String? { if case .failure(let text) = self { text } else { nil } }
        var series: [Series]? { if case .series(let series) = self { series } else { nil } }
    }

    static func outcome(
        _ query: String, _ streams: [LogStream], at times: MetricTimes,
        limits: MetricLimits = MetricLimits(), pageEntries: Int = 3
    ) -> Outcome {
        do {
            let plan = try MetricPlan(try LogQLParser.parseMetric(query), at: times, limits: limits)
            return Outcome(try result(plan, streams, pageEntries: pageEntries))
        } catch {
            return .failure("\(error)")
        }
    }

    static func result(
        _ plan: MetricPlan, _ streams: [LogStream], pageEntries: Int = 3
    ) throws(MetricError) -> MetricResult {
        let run = try MetricRun(plan)
        for (index, selection) in plan.selections.enumerated() {
            try feed(run, selection, index, streams, pageEntries)
        }
        return try run.result()
    }

    /// Gives a run all entries of a selection in `(after, through]`, all of its time where not said.
    static func feed(
        _ run: MetricRun, _ selection: MetricSelection, _ index: Int, _ streams: [LogStream],
        _ pageEntries: Int = 3, _ span: MetricSpan? = nil
    ) throws(MetricError) {
        var found: [(entry: LogEntry, stream: Int)] = []
        for (number, stream) in streams.enumerated()
        where selection.matchers.allSatisfy({ matches(stream.labels, $0) }) {
            for entry in stream.entries {
                guard entry.timestamp >= selection.from, entry.timestamp < selection.to else {
                    continue
                }
                if let span, entry.timestamp <= span.after || entry.timestamp > span.through {
                    continue
                }
                found.append((entry, number))
            }
        }
        found.sort { ($0.entry.timestamp, $0.stream) < ($1.entry.timestamp, $1.stream) }
        var start = 0
        while start < found.count {
            let page = found[start..<min(start + pageEntries, found.count)]
            try run.accept(
                page.map(\.entry), page.map(\.stream), streams.map(\.labels), selection: index)
            start += pageEntries
        }
    }

    static func isClose(_ a: Double, _ b: Double) -> Bool {
        if a.isNaN || b.isNaN { return a.isNaN && b.isNaN }
        if a.isInfinite || b.isInfinite { return a == b }
        let difference = (a - b).magnitude
        return difference <= 1e-9 || difference / max(a.magnitude, b.magnitude) <= 1e-9
    }

    /// `=` and, for the few expressions of the tables, alternatives.
    private static func matches(_ stream: Labels, _ matcher: LabelMatcher) -> Bool {
        let value = stream[matcher.name]
        switch matcher.operation {
        case .equal: return value == matcher.value
        case .notEqual: return value != matcher.value
        case .matchesRegex:
            return matcher.value.split(separator: "|").contains { $0 == value }
                || matcher.value == ".+" && !value.isEmpty
        case .notMatchesRegex: return false
        }
    }
}

extension MetricRunner.Outcome {
    init(_ result: MetricResult) {
        switch result {
        case .scalar(let value, _): self = .scalar(value)
        case .vector(let elements, let time):
            self = .series(
                elements.map {
                    MetricRunner.Series(
                        labels: $0.labels, times: [time.rawValue], values: [$0.value])
                })
        case .matrix(let columns):
            self = .series(
                columns.map {
                    MetricRunner.Series(
                        labels: $0.labels, times: $0.timestamps, values: $0.values)
                })
        }
    }
}
