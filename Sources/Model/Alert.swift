/// An alert as it leaves rule evaluation for notification, and as the Alertmanager API shows it.
package struct Alert: Hashable, Sendable {
    /// Identity; holds `alertname`, the rule's labels and the series' labels.
    package var labels: Labels
    package var annotations: Labels
    /// When the alert began firing (not pending).
    package var startsAt: TimestampMS
    /// When it was resolved; nil while it fires.
    package var endsAt: TimestampMS?
    /// Link to what produced it; empty where there is none.
    package var generatorURL: String

    package init(
        labels: Labels, annotations: Labels, startsAt: TimestampMS, endsAt: TimestampMS? = nil,
        generatorURL: String = ""
    ) {
        self.labels = labels
        self.annotations = annotations
        self.startsAt = startsAt
        self.endsAt = endsAt
        self.generatorURL = generatorURL
    }

    package var name: String { labels["alertname"] }
    package var isFiring: Bool { endsAt == nil }
}

/// The state of one alert of a rule. Pending may become firing or inactive; firing may become inactive (resolved).
package enum AlertState: String, Hashable, Sendable {
    case inactive, pending, firing
}
