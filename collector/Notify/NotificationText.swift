package import Model
package import Storage

/// What every chat message says of a notification, before a receiver's own limits cut it.
package struct NotificationText: Hashable, Sendable {
    /// `[FIRING:2] DiskFull (h3)`.
    package var title: String
    /// One paragraph an alert: summary, labels that tell it apart, since when.
    package var paragraphs: [String]
    package var isFiring: Bool

    package init(_ message: OutboxMessage) {
        let firing = message.alerts.filter(\.isFiring)
        isFiring = !firing.isEmpty
        let status = isFiring ? "FIRING:\(firing.count)" : "RESOLVED"
        let common = Self.common(message.alerts.map(\.labels))
        let name = common["alertname"].isEmpty ? message.groupKey : common["alertname"]
        let place = [common["host"], common["instance"]].first { !$0.isEmpty } ?? ""
        title = "[\(status)] \(name)" + (place.isEmpty ? "" : " (\(place))")
        let ordered = firing + message.alerts.filter { !$0.isFiring }
        paragraphs = ordered.map { Self.paragraph($0, common: common) }
    }

    /// Labels that all of `sets` share.
    package static func common(_ sets: [Labels]) -> Labels {
        guard let first = sets.first else { return .empty }
        return Labels(
            first.filter { label in sets.allSatisfy { $0[label.name] == label.value } })
    }

    private static func paragraph(_ alert: Alert, common: Labels) -> String {
        let summary =
            [alert.annotations["summary"], alert.annotations["description"]]
            .first { !$0.isEmpty } ?? alert.name
        var text = (alert.isFiring ? "Firing: " : "Resolved: ") + summary
        if !alert.annotations["summary"].isEmpty, !alert.annotations["description"].isEmpty {
            text += "\n" + alert.annotations["description"]
        }
        let own = alert.labels.filter { $0.name != "alertname" && common[$0.name].isEmpty }
        if !own.isEmpty {
            text += "\n" + own.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
        }
        text += "\nsince " + RFC3339.text(alert.startsAt)
        if let end = alert.endsAt { text += ", until " + RFC3339.text(end) }
        if !alert.annotations["runbook_url"].isEmpty {
            text += "\n" + alert.annotations["runbook_url"]
        }
        return text
    }

    /// `text` cut to at most `count` characters, with an ellipsis where something is missing.
    package static func cut(_ text: String, to count: Int) -> String {
        text.count <= count ? text : String(text.prefix(max(count - 1, 0))) + "…"
    }
}
