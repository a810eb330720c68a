import AsyncHTTPClient
import CollectorNotify
import Glibc
import GoTemplate
import Logging
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import Routing
import Simulation
import Storage
import Synchronization
import Testing
import World

/// A clock whose waits never end by themselves, or end at once.
private struct WaitingClock: WorldClock {
    var waits = true
    var now: TimestampNS { Sample.now.nanoseconds }
    var monotonicNanoseconds: Int64 { 0 }

    func sleep(nanoseconds: Int64) async throws {
        guard waits else { return }
        // Until cancelled.
        let (stream, _) = AsyncStream<Never>.makeStream()
        for await _ in stream {}
    }
}

@Suite("HTTP sender")
struct HTTPNotificationSenderTests {
    private struct NoFile: Error {}

    /// The outcome of sending one message to the receiver that `settings` describe.
    private func send(
        _ receiver: String, clock: any WorldClock = WaitingClock(),
        secrets: [String: String] = [:]
    ) async throws -> AttemptOutcome {
        let integration = try #require(try Sample.integrations(receiver).first)
        return try await withClient { client async throws in
            await sender(client, clock, secrets)
                .send(Sample.message([Sample.alert()]), to: integration)
        }
    }

    private func sender(
        _ client: HTTPClient, _ clock: any WorldClock, _ secrets: [String: String]
    ) -> HTTPNotificationSender {
        HTTPNotificationSender(
            client: client,
            renderer: MessageRenderer(externalURL: "", regex: { .unavailable }), clock: clock,
            readSecret: {
                guard let text = secrets[$0] else { throw NoFile() }
                return text
            })
    }

    /// A client as the collector makes it: no redirects, no tries of its own.
    private func withClient<Value>(
        _ body: (HTTPClient) async throws -> Value
    ) async throws -> Value {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(
            eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            let value = try await body(client)
            try await client.shutdown()
            return value
        } catch {
            try await client.shutdown()
            throw error
        }
    }

    private func webhook(_ url: String, _ settings: String = "") -> String {
        "{name: team, webhook_configs: [{url: '\(url)'\(settings)}]}"
    }

    @Test("through the outbox: 500, then 429 with Retry-After, then 200, one id")
    func retried() async throws {
        let script: [LoopbackReceiver.Answer] = [
            .init(status: .internalServerError, body: "first line\nsecond"),
            .init(status: .tooManyRequests, headers: [("Retry-After", "7")], body: ""),
        ]
        try await LoopbackReceiver.serving(script) { receiver in
            let clock = VirtualClock(now: Sample.now.nanoseconds)
            let store = FakeOutbox()
            try await store.enqueue([Sample.message([Sample.alert()])])
            let configured = try Sample.receiver(webhook(receiver.url + "/hook"))
            try await withClient { client async throws in
                let service = OutboxService(
                    store: store, directory: ReceiverDirectory([configured]),
                    sender: sender(client, clock, [:]), clock: clock,
                    random: SeededRandom(seed: 3),
                    logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
                #expect(try await service.sendDue() == 1)
                clock.advance(nanoseconds: 1_000_000_000)
                #expect(try await service.sendDue() == 1)
                let asked = store.state.withLock { $0.rows[0].nextAttemptAt }
                #expect(asked.rawValue - clock.now.milliseconds.rawValue == 7_000)
                clock.advance(nanoseconds: 7_000_000_000)
                #expect(try await service.sendDue() == 1)
            }
            #expect(store.state.withLock { $0.rows[0].verdict } == .delivered)
            let attempts = store.state.withLock { $0.attempts }
            #expect(attempts.map(\.status) == [500, 429, 200])
            #expect(attempts.first?.error.hasPrefix("HTTP 500") == true)
            let ids = receiver.requests.map { $0.head.headers["Idempotency-Key"] }
            #expect(ids == [[Sample.id], [Sample.id], [Sample.id]])
            #expect(Set(receiver.requests.map(\.body)).count == 1)
        }
    }

    @Test("what a request is")
    func request() async throws {
        try await LoopbackReceiver.serving([]) { receiver in
            let outcome = try await send(
                webhook(
                    receiver.url + "/hook?x=1",
                    ", http_config: {authorization: {credentials_file: /run/token}}"),
                secrets: ["/run/token": "t0ken"])
            #expect(outcome == .answered(200, detail: "ok"))
            let request = try #require(receiver.requests.first)
            #expect(request.head.method == .POST && request.head.uri == "/hook?x=1")
            #expect(request.head.headers["Authorization"] == ["Bearer t0ken"])
            #expect(request.head.headers["Content-Type"] == ["application/json"])
            #expect(request.head.headers["webhook-id"] == [Sample.id])
            #expect(String(decoding: request.body, as: UTF8.self).hasPrefix("{\"alerts\":[{"))
        }
    }

    @Test("basic authorization")
    func basic() async throws {
        try await LoopbackReceiver.serving([]) { receiver in
            _ = try await send(
                webhook(
                    receiver.url, ", http_config: {basic_auth: {username: u, password: p}}"))
            #expect(receiver.requests.first?.head.headers["Authorization"] == ["Basic dTpw"])
        }
    }

    @Test("a redirect is an answer, not followed")
    func redirect() async throws {
        try await LoopbackReceiver.serving([]) { elsewhere in
            let answer = LoopbackReceiver.Answer(
                status: .temporaryRedirect, headers: [("Location", elsewhere.url + "/there")],
                body: "moved")
            try await LoopbackReceiver.serving([answer]) { receiver in
                let outcome = try await send(webhook(receiver.url))
                #expect(outcome == .answered(307, detail: "moved"))
            }
            #expect(elsewhere.requests.isEmpty)
        }
    }

    @Test("no answer within the receiver's time-out")
    func timeout() async throws {
        try await LoopbackReceiver.serving([.init(status: .ok, isGiven: false)]) { receiver in
            let outcome = try await send(webhook(receiver.url, ", timeout: 50ms"))
            guard case .failed(let detail) = outcome else {
                Issue.record("not failed: \(outcome)")
                return
            }
            #expect(detail.lowercased().contains("deadline"))
        }
    }

    @Test("a refused connection says so, and not where to")
    func refused() async throws {
        // Bound and never listened on: connections are refused, and no other test can take the port.
        let held = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(held) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(held, $0, length) == 0 && getsockname(held, $0, &length) == 0
            }
        }
        #expect(isBound)
        let port = UInt16(bigEndian: address.sin_port)
        let outcome = try await send(webhook("http://127.0.0.1:\(port)/T0KEN"))
        guard case .failed(let detail) = outcome else {
            Issue.record("not failed: \(outcome)")
            return
        }
        #expect(detail.contains("refused") && !detail.contains("T0KEN"))
    }

    @Test("of a longer answer only the beginning is read")
    func bounded() async throws {
        let body = "{\"retry_after\": 0.5} " + String(repeating: "x", count: 4_000_000)
        try await LoopbackReceiver.serving([.init(status: .tooManyRequests, body: body)]) {
            receiver in
            let outcome = try await send(webhook(receiver.url))
            guard case .answered(429, 500, let detail) = outcome else {
                Issue.record("not read: \(outcome)")
                return
            }
            #expect(detail.count == 200 && detail.hasPrefix("{\"retry_after\": 0.5} xxx"))
        }
    }

    @Test("an answer that never ends is not waited for")
    func endless() async throws {
        let answer = LoopbackReceiver.Answer(status: .badGateway, body: "part", ends: false)
        try await LoopbackReceiver.serving([answer]) { receiver in
            let outcome = try await send(
                webhook(receiver.url), clock: WaitingClock(waits: false))
            guard case .answered(502, nil, _) = outcome else {
                Issue.record("not answered: \(outcome)")
                return
            }
        }
    }

    @Test("an answer that repeats the address or the credential is logged without them")
    func echoes() async throws {
        let answer = LoopbackReceiver.Answer(
            status: .notFound, body: "no route for /services/T0/S3CRET, token p4ss\u{1b}[31m")
        try await LoopbackReceiver.serving([answer]) { receiver in
            let outcome = try await send(
                webhook(
                    receiver.url + "/services/T0/S3CRET",
                    ", http_config: {bearer_token: p4ss}"))
            #expect(
                outcome == .answered(404, detail: "no route for <secret>, token <secret>[31m"))
        }
    }

    @Test(
        "errors name what to do and hold no secret",
        arguments: [
            ("{name: team, webhook_configs: [{url_file: /run/missing}]}", "/run/missing"),
            ("{name: team, webhook_configs: [{url_file: /run/bad}]}", ""),
            ("{name: team, slack_configs: [{api_url: 'http:///S3CRET'}]}", ""),
        ])
    func errors(receiver: String, names: String) async throws {
        let outcome = try await send(receiver, secrets: ["/run/bad": "S3CRET not an address"])
        guard case .failed(let detail) = outcome else {
            Issue.record("not failed: \(outcome)")
            return
        }
        #expect(!detail.isEmpty && !detail.contains("S3CRET"))
        #expect(names.isEmpty || detail.contains(names))
    }
}
