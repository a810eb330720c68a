import GoTemplate
import Model
import Routing
import Storage

/// Alerts, messages and receivers that the tests speak of.
enum Sample {
    static let id = "0f1e2d3c-4b5a-4678-89ab-cdef01234567"
    static let now = TimestampMS(1_763_784_000_000)

    static func alert(
        _ name: String = "Busy", _ labels: Labels = ["host": "h1"],
        annotations: Labels = ["summary": "load is 7"], ended: Bool = false
    ) -> Alert {
        Alert(
            labels: labels.setting("alertname", name), annotations: annotations,
            startsAt: TimestampMS(1_763_780_400_000),
            endsAt: ended ? TimestampMS(1_763_783_999_500) : nil, generatorURL: "")
    }

    static func message(
        _ alerts: [Alert], id: String = id, receiver: String = "team",
        integration: String = "webhook/0", groupKey: String = "{}:{alertname=\"Busy\"}",
        attemptCount: Int = 0
    ) -> OutboxMessage {
        OutboxMessage(
            id: id, receiver: receiver, integration: integration, groupKey: groupKey,
            groupLabels: ["alertname": "Busy"], alerts: alerts, createdAt: now,
            attemptCount: attemptCount)
    }

    /// A receiver called `team` from its YAML, as an item of `receivers`.
    static func receiver(_ yaml: String) throws -> Receiver {
        try AlertingConfiguration.parse(
            "route: {receiver: team}\nreceivers:\n  - \(yaml)", file: "alerting.yaml"
        ).receivers[0]
    }

    /// The integrations of such a receiver.
    static func integrations(_ yaml: String) throws -> [ReceiverIntegration] {
        try receiver(yaml).integrations
    }
}
