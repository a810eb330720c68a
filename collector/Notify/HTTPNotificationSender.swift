package import AsyncHTTPClient
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
package import Routing
package import Storage
import Synchronization
package import World

/// Sends over HTTP, through the one outbound client of the collector: no redirects, bounded answers, bounded time.
package struct HTTPNotificationSender: NotificationSender {
    /// Bytes of an answer that are read, for the error text and Discord's retry_after.
    package static let answerBytesMax = 16 * 1024
    /// Milliseconds for one attempt where the receiver names no time-out.
    package static let timeoutMilliseconds: Int64 = 10_000

    /// Milliseconds that the rest of an answer may take once its status is known.
    package static let answerMilliseconds: Int64 = 2_000

    private let client: HTTPClient
    private let renderer: MessageRenderer
    private let clock: any WorldClock
    private let readSecret: @Sendable (String) throws -> String

    /// `client` must not follow redirects, and should not try a refused connection again by itself (the outbox does);
    /// `readSecret` reads the text of a secret's file.
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
        let settings = HTTPSettings(integration)
        do {
            let url = try reveal(settings.url)
            var hidden = Self.hidden(url: url)
            var request = HTTPClientRequest(url: url)
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/json")
            request.headers.add(name: "User-Agent", value: "petrel-collector")
            // The same on every attempt and repeat, so that a receiver can drop what it has seen.
            request.headers.add(name: "Idempotency-Key", value: message.id)
            request.headers.add(name: "webhook-id", value: message.id)
            switch settings.authorization {
            case .none: break
            case .scheme(let scheme, let secret):
                let credential = try reveal(secret)
                hidden.append(credential)
                request.headers.add(name: "Authorization", value: "\(scheme) \(credential)")
            case .basic(let username, let password):
                let credential = try reveal(password)
                hidden.append(credential)
                request.setBasicAuth(username: username, password: credential)
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
                detail: Self.detail(text, hiding: hidden))
        } catch {
            return .failed(detail: Self.describe(error))
        }
    }

    /// A secret's file that can't be read.
    private struct UnreadableSecret: Error {
        var path: String
    }

    private func reveal(_ secret: Secret) throws -> String {
        switch secret {
        case .text(let text): return text
        case .file(let path):
            do { return try readSecret(path) } catch { throw UnreadableSecret(path: path) }
        }
    }

    /// What of a webhook's address an answer may not repeat: all of it, and its path, where the token is.
    private static func hidden(url: String) -> [String] {
        guard let scheme = url.firstRange(of: "://"),
            let slash = url[scheme.upperBound...].firstIndex(of: "/")
        else { return [url] }
        return [url, String(url[slash...])]
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

    /// The first `answerBytesMax` bytes of the body; nothing where they did not come within `answerMilliseconds`: the
    /// client's own deadline ends with the head, and a body that never ends must not hold the outbox.
    private func answer(_ response: HTTPClientResponse) async -> String {
        let body = response.body
        let clock = clock
        let bytes = await withTaskGroup(of: [UInt8].self) { group in
            group.addTask {
                var bytes: [UInt8] = []
                var parts = body.makeAsyncIterator()
                while bytes.count < Self.answerBytesMax, let part = try? await parts.next() {
                    bytes += part.readableBytesView.prefix(Self.answerBytesMax - bytes.count)
                }
                return bytes
            }
            group.addTask {
                try? await clock.sleep(nanoseconds: Self.answerMilliseconds * 1_000_000)
                return []
            }
            let first = await group.next() ?? []
            group.cancelAll()
            return first
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The answer's first line without control characters and secrets, for the delivery log.
    private static func detail(_ text: String, hiding hidden: [String]) -> String {
        var clean = text
        // A path of one character is no secret, and is in every text.
        for secret in hidden where secret.utf8.count > 1 {
            clean = clean.replacing(secret, with: "<secret>")
        }
        let line = clean.prefix { !$0.isNewline }.prefix(200)
        return String(line.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 })
    }

    /// What went wrong, without the URL: it is the credential.
    private static func describe(_ error: any Error) -> String {
        if let error = error as? HTTPClientError { return error.shortDescription }
        if let error = error as? UnreadableSecret {
            return
                "the secret's file \(error.path) can't be read: check that it exists and its owner"
        }
        if let error = error as? NIOConnectionError {
            guard let first = error.connectionErrors.first else {
                return "the receiver's host name does not resolve"
            }
            return describe(first.error)
        }
        // `connect(…): Connection refused (errno: 111)`
        if let error = error as? IOError { return error.description }
        return String(describing: type(of: error))
    }
}
