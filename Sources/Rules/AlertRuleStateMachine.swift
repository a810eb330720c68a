package import GoTemplate
package import Model
package import Storage

/// What one evaluation of an alerting rule changed and what it writes.
package struct AlertEvaluation: Sendable {
    /// Records whose state or times changed, in label order: to be committed. One that is inactive without
    /// `resolvedAt` is to be removed. A change of the value or the annotations alone is not among them.
    package var records: [AlertRecord] = []
    /// The changes of state, in label order.
    package var transitions: [AlertTransition] = []
    /// `ALERTS` and `ALERTS_FOR_STATE` at the evaluation's time, staleness markers for those that ended included.
    package var samples: [RuleSample] = []
    /// Set where the group's limit was exceeded: the rule's alerts are all gone, and its health is bad.
    package var error: RulesError?
}

/// A sample that a rule makes; its time is the evaluation's.
package struct RuleSample: Hashable, Sendable {
    /// With `__name__`.
    package var labels: Labels
    /// Means nothing where there is a histogram.
    package var value: Double
    package var histogram: FloatHistogram?

    package init(labels: Labels, value: Double, histogram: FloatHistogram? = nil) {
        self.labels = labels
        self.value = value
        self.histogram = histogram
    }
}

/// The alerts of one alerting rule. Pure: the caller evaluates the expression, commits the records, tells receivers.
///
/// States of an alert: pending may become firing (the expression held for `for`) or go; firing may become inactive
/// (resolved; kept 15 minutes) or pending again (`for` was raised); inactive may become pending.
/// Source: Prometheus 3.14 rules/alerting.go. Unlike Prometheus, records are restored exactly from storage.
package struct AlertRuleStateMachine: Sendable {
    /// How long a resolved alert is kept, in milliseconds.
    package static let resolvedRetentionMilliseconds: Int64 = 15 * 60_000

    /// Identity of the rule, see `RuleGroup.identity(ofRuleAt:)`.
    package let identity: String
    private let rule: AlertingRule
    private let labels: [RuleText]
    private let limit: Int
    private var alerts: [Labels: AlertRecord] = [:]
    private var written: StaleSeries

    /// A machine for a rule of `group`, going on from the `records` of storage that are this rule's.
    /// Nil where the rule at `index` is a recording rule.
    package init?(group: RuleGroup, index: Int, records: [AlertRecord] = []) {
        guard case .alerting(let alerting) = group.rules[index].kind else { return nil }
        identity = group.identity(ofRuleAt: index)
        rule = alerting
        labels = group.rules[index].labels
        limit = group.limit
        for record in records where record.rule == identity { alerts[record.labels] = record }
        written = StaleSeries(
            alerts.values.filter { $0.state != .inactive }.flatMap(Self.samples).map(\.labels))
    }

    /// The alerts, resolved ones included, in label order.
    package var records: [AlertRecord] { alerts.values.sorted { $0.labels < $1.labels } }

    /// Receivers were told of the alerts with these labels.
    package mutating func noteNotified(_ labels: [Labels], at now: TimestampMS) {
        for key in labels { alerts[key]?.lastNotifiedAt = now }
    }

    /// Takes the expression's result at `now`. Throws `duplicateLabelSet` or `needsQuery`, both with the state
    /// untouched.
    package mutating func evaluate(
        result: [EvaluatedElement], now: TimestampMS,
        environment: TemplateEnvironment
    ) throws(RulesError) -> AlertEvaluation {
        let found = try self.found(result, now, environment)
        let before = alerts
        for (key, fresh) in found {
            if let known = alerts[key], known.state != .inactive {
                alerts[key]?.value = fresh.value
                alerts[key]?.annotations = fresh.annotations
            } else {
                alerts[key] = fresh
            }
        }
        var activeCount = 0
        for key in alerts.keys {
            advance(key, isPresent: found[key] != nil, now)
            if let state = alerts[key]?.state, state != .inactive { activeCount += 1 }
        }
        var evaluation = AlertEvaluation()
        if limit > 0, activeCount > limit {
            alerts = [:]
            evaluation.error = .limitExceeded(limit: limit, count: activeCount)
        }
        describeChanges(since: before, now, &evaluation)
        let current = records.filter { $0.state != .inactive }.flatMap(Self.samples)
        evaluation.samples =
            current
            + written.replace(with: current.map(\.labels)).map {
                RuleSample(labels: $0, value: StalenessMarker.value)
            }
        return evaluation
    }

    /// The result as pending alerts, templates expanded.
    private func found(
        _ result: [EvaluatedElement], _ now: TimestampMS,
        _ environment: TemplateEnvironment
    ) throws(RulesError) -> [Labels: AlertRecord] {
        var found: [Labels: AlertRecord] = [:]
        for element in result {
            var values: [String: String] = [:]
            for label in element.labels where label.name != Labels.metricNameLabel {
                values[label.name] = label.value
            }
            for text in labels { values[text.name] = try expand(text, element, environment) }
            values["alertname"] = rule.name
            var annotations: [String: String] = [:]
            for text in rule.annotations {
                annotations[text.name] = try expand(text, element, environment)
            }
            let key = Labels(values)
            let record = AlertRecord(
                rule: identity, labels: key, annotations: Labels(annotations), state: .pending,
                value: element.value, activeAt: now)
            guard found.updateValue(record, forKey: key) == nil else {
                throw .duplicateLabelSet(key)
            }
        }
        return found
    }

    private func expand(
        _ text: RuleText, _ element: EvaluatedElement,
        _ environment: TemplateEnvironment
    ) throws(RulesError) -> String {
        do throws(GoTemplateError) {
            return try text.template.expandOrExplain(
                labels: element.labels, value: element.value,
                histogramText: element.histogramText, environment)
        } catch {
            guard case .needsQuery(let expression) = error else {
                return "<error expanding template: \(error)>"
            }
            throw .needsQuery(expression)
        }
    }

    /// Moves one alert to where it stands at `now`.
    private mutating func advance(_ key: Labels, isPresent: Bool, _ now: TimestampMS) {
        guard var alert = alerts[key] else { return }
        defer { alerts[key] = alert }
        if isPresent {
            alert.keepFiringSince = nil
            let isHeld =
                now.rawValue - alert.activeAt.rawValue >= rule.hold.milliseconds
            if alert.state == .pending, isHeld {
                alert.state = .firing
                alert.firedAt = now
            } else if alert.state == .firing, !isHeld {
                // `for` was raised.
                alert.state = .pending
                alert.firedAt = nil
            }
            return
        }
        switch alert.state {
        case .pending:
            alert.state = .inactive
            alert.resolvedAt = nil
        case .firing:
            if rule.keepFiring.milliseconds > 0 {
                let since = alert.keepFiringSince ?? now
                alert.keepFiringSince = since
                if now.rawValue - since.rawValue < rule.keepFiring.milliseconds { return }
            }
            alert.state = .inactive
            alert.resolvedAt = now
        case .inactive:
            let resolved = alert.resolvedAt?.rawValue ?? .min / 2
            if now.rawValue - resolved > Self.resolvedRetentionMilliseconds {
                alert.resolvedAt = nil
            }
        }
    }

    /// Fills in the records and transitions, and forgets alerts that are to be removed.
    private mutating func describeChanges(
        since before: [Labels: AlertRecord], _ now: TimestampMS,
        _ evaluation: inout AlertEvaluation
    ) {
        for key in Set(before.keys).union(alerts.keys).sorted() {
            let old = before[key]
            var new = alerts[key]
            if new == nil, var gone = old {
                gone.state = .inactive
                gone.resolvedAt = nil
                new = gone
            }
            guard let new else { continue }
            let isGone = new.state == .inactive && new.resolvedAt == nil
            if isGone { alerts[key] = nil }
            let from = old?.state ?? .inactive
            if from != new.state {
                // An alert that fires at once was pending for no time: one transition says it.
                evaluation.transitions.append(
                    AlertTransition(
                        rule: identity, labels: key, from: from, to: new.state,
                        value: new.value, at: now))
            }
            let isChanged =
                from != new.state || old?.activeAt != new.activeAt
                || old?.keepFiringSince != new.keepFiringSince || isGone
            if isChanged, old != nil || !isGone { evaluation.records.append(new) }
        }
    }

    /// The series that an active alert shows as.
    private static func samples(_ alert: AlertRecord) -> [RuleSample] {
        [
            RuleSample(
                labels: alert.labels.setting(Labels.metricNameLabel, "ALERTS")
                    .setting("alertstate", alert.state.rawValue), value: 1),
            RuleSample(
                labels: alert.labels.setting(Labels.metricNameLabel, "ALERTS_FOR_STATE"),
                value: (alert.activeAt.seconds).rounded(.down)),
        ]
    }
}

extension AlertRecord {
    /// The alert as receivers see it: it starts when it fired and ends when it was resolved.
    package func alert(generatorURL: String = "") -> Alert {
        Alert(
            labels: labels, annotations: annotations, startsAt: firedAt ?? activeAt,
            endsAt: resolvedAt, generatorURL: generatorURL)
    }
}
