import CollectorNotify
import CollectorWeb
import Model
import Routing
import Storage
import World

/// `petrel notify test RECEIVER`: a message that says it is a test, sent at once and not through the outbox.
struct NotifyTest: Sendable {
    let directory: ReceiverDirectory
    let sender: any NotificationSender
    let clock: any WorldClock
    let random: any RandomSource

    /// How each integration of the receiver took it; nil where there is no such receiver.
    func send(to name: String) async -> [NotifyTestOutcome]? {
        guard let receiver = directory.receiver(name) else { return nil }
        var outcomes: [NotifyTestOutcome] = []
        for integration in receiver.integrations {
            let outcome = await sender.send(message(name, integration), to: integration)
            switch outcome {
            case .answered(let status, _, let detail):
                let isFine = (200..<300).contains(status)
                outcomes.append(
                    NotifyTestOutcome(
                        integration: integration.name,
                        error: isFine ? "" : "HTTP \(status) \(detail)", status: status))
            case .failed(let detail):
                outcomes.append(
                    NotifyTestOutcome(integration: integration.name, error: detail))
            case .unknownReceiver:
                outcomes.append(
                    NotifyTestOutcome(integration: integration.name, error: "not configured"))
            }
        }
        return outcomes
    }

    private func message(_ receiver: String, _ integration: ReceiverIntegration) -> OutboxMessage {
        let now = clock.now.milliseconds
        let alert = Alert(
            labels: ["alertname": "PetrelTest", "severity": "info"],
            annotations: [
                "summary": "This is a test: messages from Petrel reach this place.",
                "description": "Sent by 'petrel notify test \(receiver)'. Nothing is wrong.",
            ], startsAt: now)
        return OutboxMessage(
            id: MessageID.make(random), receiver: receiver, integration: integration.name,
            groupKey: "test", groupLabels: ["alertname": "PetrelTest"], alerts: [alert],
            createdAt: now)
    }
}
