package import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
package import Storage

/// Sends one message to one integration.
package protocol NotificationSender: Sendable {
    /// Never throws for what the network or the receiver does: that is the outcome.
    func send(_ message: OutboxMessage, to integration: Integration) async -> AttemptOutcome
}

/// Sends over HTTP, through the one outbound client of the collector: no redirects, bounded answers, bounded time.
package struct HTTPNotificationSender: NotificationSender {
    /// Bytes of an answer that are read, for the error text and Discord's retry_after.
    package static let answerBytesMax = 16 * 1024

    private let client: HTTPClient
    private let externalURL: String

    /// `client` must not follow redirects; `externalURL` is where a person finds the collector, empty for nowhere.
    package init(client: HTTPClient, externalURL: String) {
        self.client = client
        self.externalURL = externalURL
    }

    package func send(_ message: OutboxMessage, to integration: Integration) async -> AttemptOutcome
    {
        do {
            var request = HTTPClientRequest(url: integration.url)
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/json")
            request.headers.add(name: "User-Agent", value: "petrel-collector")
            // The same on every attempt and repeat, so that a receiver can drop what it has seen.
            request.headers.add(name: "Idempotency-Key", value: message.id)
            request.headers.add(name: "webhook-id", value: message.id)
            if let authorization = integration.authorization {
                request.headers.add(name: "Authorization", value: authorization)
            }
            request.body = .bytes(ByteBuffer(bytes: try body(message, integration.shape)))
            let response = try await client.execute(
                request, timeout: .milliseconds(integration.timeoutMilliseconds))
            let text = await answer(response)
            return .answered(
                status: Int(response.status.code),
                retryAfterMilliseconds: RetryAfter.milliseconds(
                    header: response.headers.first(name: "Retry-After"), body: text),
                detail: Self.detail(text))
        } catch {
            return .failed(detail: Self.describe(error))
        }
    }

    private func body(_ message: OutboxMessage, _ shape: Integration.Shape) throws -> [UInt8] {
        switch shape {
        case .webhook(let alertCountMax):
            try WebhookPayload(
                message, externalURL: externalURL, alertCountMax: alertCountMax
            ).body()
        case .slack(let channel, let username):
            try SlackPayload(
                message, channel: channel, username: username, externalURL: externalURL
            ).body()
        case .discord(let username, let avatarURL, let content):
            try DiscordPayload(
                message, username: username, avatarURL: avatarURL, content: content
            ).body()
        }
    }

    private func answer(_ response: HTTPClientResponse) async -> String {
        guard let buffer = try? await response.body.collect(upTo: Self.answerBytesMax) else {
            return ""
        }
        return String(buffer: buffer)
    }

    /// The answer's first line without control characters, for the delivery log.
    private static func detail(_ text: String) -> String {
        let line = text.prefix { !$0.isNewline }.prefix(200)
        return String(line.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 })
    }

    /// What went wrong, without the URL: it is the credential.
    private static func describe(_ error: any Error) -> String {
        if let error = error as? HTTPClientError { return error.shortDescription }
        if error is NIOConnectionError { return "connection refused or host unreachable" }
        return String(describing: type(of: error))
    }
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
