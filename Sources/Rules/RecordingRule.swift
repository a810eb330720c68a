package import Model

/// The series that a rule wrote last time: what needs a staleness marker when it is not written again.
package struct StaleSeries: Sendable {
    private var last: Set<Labels>

    package init(_ labels: some Sequence<Labels> = []) { last = Set(labels) }

    /// Remembers `current` and returns the series that were there before and are no longer, in label order.
    package mutating func replace(with current: some Sequence<Labels>) -> [Labels] {
        let now = Set(current)
        defer { last = now }
        return last.subtracting(now).sorted()
    }
}

/// One recording rule of a group between evaluations.
package struct RecordingRuleStateMachine: Sendable {
    /// Identity of the rule, see `RuleGroup.identity(ofRuleAt:)`.
    package let identity: String
    private let metric: String
    private let labels: [(name: String, value: String)]
    private let limit: Int
    private var written = StaleSeries()

    /// Nil where the rule at `index` is an alerting rule.
    package init?(group: RuleGroup, index: Int) {
        guard case .recording(let metric) = group.rules[index].kind else { return nil }
        identity = group.identity(ofRuleAt: index)
        self.metric = metric
        labels = group.rules[index].labels.map { ($0.name, $0.source) }
        limit = group.limit
    }

    /// The samples to write at the evaluation's time, staleness markers included. Throws `duplicateLabelSet` or
    /// `limitExceeded`, after which nothing is to be written. Source: Prometheus 3.14 rules/recording.go.
    package mutating func evaluate(
        result: [EvaluatedElement]
    ) throws(RulesError) -> [RuleSample] {
        var samples: [RuleSample] = []
        var seen: Set<Labels> = []
        for element in result {
            var key = element.labels.setting(Labels.metricNameLabel, metric)
            for label in labels { key = key.setting(label.name, label.value) }
            guard seen.insert(key).inserted else { throw .duplicateLabelSet(key) }
            samples.append(
                RuleSample(labels: key, value: element.value, histogram: element.histogram))
        }
        guard limit == 0 || samples.count <= limit else {
            throw .limitExceeded(limit: limit, count: samples.count)
        }
        return samples
            + written.replace(with: samples.map(\.labels)).map {
                RuleSample(labels: $0, value: StalenessMarker.value)
            }
    }
}
