package import Model
package import Routing
package import Storage
package import World

/// Turns alerts that receivers have to be told of into messages: one for each integration of each group. Pure but for
/// the ids, which are random.
///
/// Alerts whose `severity` is `none` (the built-in Watchdog) reach only routes below the root that match them: the
/// default receiver is a person, and such alerts are for machines.
package struct NotificationPlanner: Sendable {
    private let root: Route
    private let directory: ReceiverDirectory
    private let random: any RandomSource

    package init(root: Route, directory: ReceiverDirectory, random: any RandomSource) {
        self.root = root
        self.directory = directory
        self.random = random
    }

    /// The messages for `alerts` at `now`, in the order of first alerts.
    package func plan(_ alerts: [Alert], now: TimestampMS) -> [OutboxMessage] {
        var groups: [(match: RouteMatch, alerts: [Alert])] = []
        var indexes: [String: Int] = [:]
        for alert in alerts {
            for match in root.route(alert.labels) where !isWithheld(alert, match) {
                let key = match.receiver + "\u{0}" + match.groupKey
                if let index = indexes[key] {
                    groups[index].alerts.append(alert)
                } else {
                    indexes[key] = groups.count
                    groups.append((match, [alert]))
                }
            }
        }
        return groups.flatMap { messages($0.match, $0.alerts, now) }
    }

    private func isWithheld(_ alert: Alert, _ match: RouteMatch) -> Bool {
        alert.labels["severity"] == "none" && match.routeKey == root.key
    }

    private func messages(
        _ match: RouteMatch, _ alerts: [Alert], _ now: TimestampMS
    ) -> [OutboxMessage] {
        let integrations = directory.receiver(match.receiver)?.integrations ?? []
        return integrations.compactMap { integration in
            let told = integration.sendsResolved ? alerts : alerts.filter(\.isFiring)
            guard !told.isEmpty else { return nil }
            return OutboxMessage(
                id: MessageID.make(random), receiver: match.receiver,
                integration: integration.name, groupKey: match.groupKey,
                groupLabels: match.groupLabels, alerts: told, createdAt: now)
        }
    }
}

/// Version 4 UUIDs (RFC 9562), lower case.
package enum MessageID {
    package static func make(_ random: any RandomSource) -> String {
        var bytes = random.bytes(count: 16)
        bytes[6] = (bytes[6] & 0x0f) | 0x40
        bytes[8] = (bytes[8] & 0x3f) | 0x80
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += byte < 16 ? "0" : ""
            text += String(byte, radix: 16)
        }
        return text
    }
}
