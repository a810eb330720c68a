import FoundationEssentials
import Model
package import Storage

/// The body of a generic webhook: Alertmanager's version 4 shape, which every receiver of webhooks reads.
/// Source: Alertmanager 0.34 `notify/webhook` and `template.Data`.
package struct WebhookPayload: Encodable, Sendable {
    struct AlertBody: Encodable, Sendable {
        var status: String
        var labels: [String: String]
        var annotations: [String: String]
        var startsAt: String
        var endsAt: String
        var generatorURL: String
        var fingerprint: String
    }

    var version = "4"
    var groupKey: String
    var truncatedAlerts: Int
    var status: String
    var receiver: String
    var groupLabels: [String: String]
    var commonLabels: [String: String]
    var commonAnnotations: [String: String]
    var externalURL: String
    var alerts: [AlertBody]

    /// `alertCountMax` 0 is no limit; what it cuts is counted in `truncatedAlerts`.
    package init(_ message: OutboxMessage, externalURL: String, alertCountMax: Int) {
        let shown =
            alertCountMax > 0 ? Array(message.alerts.prefix(alertCountMax)) : message.alerts
        groupKey = message.groupKey
        truncatedAlerts = message.alerts.count - shown.count
        status = message.alerts.contains(where: \.isFiring) ? "firing" : "resolved"
        receiver = message.receiver
        groupLabels = dictionary(message.groupLabels)
        commonLabels = dictionary(NotificationText.common(message.alerts.map(\.labels)))
        commonAnnotations = dictionary(NotificationText.common(message.alerts.map(\.annotations)))
        self.externalURL = externalURL
        alerts = shown.map { alert in
            AlertBody(
                status: alert.isFiring ? "firing" : "resolved",
                labels: dictionary(alert.labels), annotations: dictionary(alert.annotations),
                startsAt: RFC3339.text(alert.startsAt),
                endsAt: alert.endsAt.map { RFC3339.text($0) } ?? "0001-01-01T00:00:00Z",
                generatorURL: alert.generatorURL,
                fingerprint: fingerprintText(alert.labels))
        }
    }

    /// The JSON, keys sorted.
    package func body() throws -> [UInt8] { try encodedBody(self) }
}

func encodedBody(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
}

private func dictionary(_ labels: Labels) -> [String: String] {
    Dictionary(labels.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
}

private func fingerprintText(_ labels: Labels) -> String {
    let text = String(labels.fingerprint, radix: 16)
    return String(repeating: "0", count: 16 - text.count) + text
}
