package import Routing
package import Storage

/// Sends one message to one integration.
package protocol NotificationSender: Sendable {
    /// Never throws for what the network or the receiver does: that is the outcome.
    func send(_ message: OutboxMessage, to integration: ReceiverIntegration) async -> AttemptOutcome
}

/// How long a receiver asks to wait.
package enum RetryAfter {
    /// Milliseconds from a `Retry-After` header in seconds (an HTTP date is not read: every service that limits a
    /// webhook sends seconds) or Discord's JSON `"retry_after": 0.3`; nil where neither is there.
    package static func milliseconds(header: String?, body: String) -> Int64? {
        if let header, let seconds = Double(header.filter { $0 != " " }) { return scaled(seconds) }
        guard let key = body.firstRange(of: "\"retry_after\"") else { return nil }
        let rest = body[key.upperBound...].drop { $0 == " " || $0 == ":" }
        let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        return Double(number).flatMap(scaled)
    }

    private static func scaled(_ seconds: Double) -> Int64? {
        guard seconds.isFinite, seconds >= 0 else { return nil }
        return Int64(min(seconds, 86_400) * 1000)
    }
}
