package import AsyncHTTPClient
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
package import Routing
package import Storage
package import World

/// Sends one message to one integration.
package protocol NotificationSender: Sendable {
    /// Never throws for what the network or the receiver does: that is the outcome.
    func send(_ message: OutboxMessage, to integration: ReceiverIntegration) async -> AttemptOutcome
}

/// Sends over HTTP, through the one outbound client of the collector: no redirects, bounded answers, bounded time.
package struct HTTPNotificationSender: NotificationSender {
    /// Bytes of an answer that are read, for the error text and Discord's retry_after.
    package static let answerBytesMax = 16 * 1024
    /// Milliseconds for one attempt where the receiver names no time-out.
    package static let timeoutMilliseconds: Int64 = 10_000

    private let client: HTTPClient
    private let renderer: MessageRenderer
    private let clock: any WorldClock
    private let readSecret: @Sendable (String) throws -> String

    /// `client` must not follow redirects; `readSecret` reads the text of a secret's file.
    package init(
        client: HTTPClient, renderer: MessageRenderer, clock: any WorldClock,
        readSecret: @escaping @Sendable (String) throws -> String
    ) {
        self.client = client
        self.renderer = renderer
        self.clock = clock
        self.readSecret = readSecret
    }

    package func send(
        _ message: OutboxMessage, to integration: ReceiverIntegration
    ) async -> AttemptOutcome {
        do {
            let settings = HTTPSettings(integration)
            var request = HTTPClientRequest(url: try reveal(settings.url))
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/json")
            request.headers.add(name: "User-Agent", value: "petrel-collector")
            // The same on every attempt and repeat, so that a receiver can drop what it has seen.
            request.headers.add(name: "Idempotency-Key", value: message.id)
            request.headers.add(name: "webhook-id", value: message.id)
            switch settings.authorization {
            case .none: break
            case .scheme(let scheme, let secret):
                request.headers.add(
                    name: "Authorization", value: "\(scheme) \(try reveal(secret))")
            case .basic(let username, let password):
                request.setBasicAuth(username: username, password: try reveal(password))
            }
            request.body = .bytes(
                ByteBuffer(
                    bytes: try renderer.body(
                        message, integration, now: clock.now.milliseconds)))
            let response = try await client.execute(
                request, timeout: .milliseconds(settings.timeoutMilliseconds))
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

    private func reveal(_ secret: Secret) throws -> String {
        switch secret {
        case .text(let text): text
        case .file(let path): try readSecret(path)
        }
    }

    private struct HTTPSettings {
        var url: Secret
        var authorization: ReceiverHTTP.Authorization
        var timeoutMilliseconds: Int64

        init(_ integration: ReceiverIntegration) {
            let timeout: PrometheusDuration?
            switch integration.kind {
            case .webhook(let webhook):
                (url, authorization) = (webhook.url, webhook.http.authorization)
                timeout = webhook.timeout
            case .slack(let slack):
                (url, authorization) = (slack.url, slack.http.authorization)
                timeout = slack.timeout
            case .discord(let discord):
                (url, authorization) = (discord.url, discord.http.authorization)
                timeout = nil
            }
            let asked = timeout?.milliseconds ?? 0
            timeoutMilliseconds =
                asked > 0
                ? min(asked, HTTPNotificationSender.timeoutMilliseconds)
                : HTTPNotificationSender.timeoutMilliseconds
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
