package import Routing

/// The receivers that are configured now, and their integrations by name.
package struct ReceiverDirectory: Sendable {
    private let receivers: [String: Receiver]

    package init(_ receivers: [Receiver]) {
        self.receivers = Dictionary(
            receivers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    package func receiver(_ name: String) -> Receiver? { receivers[name] }

    /// The integration `name` (`webhook/0`) of `receiver`; nil where the configuration has none of that name.
    package func integration(receiver: String, name: String) -> ReceiverIntegration? {
        receivers[receiver]?.integrations.first { $0.name == name }
    }
}
