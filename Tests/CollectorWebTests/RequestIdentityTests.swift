import CollectorWeb
import Logging
import Model
import Storage
import Synchronization
import Testing
import World

/// Keeps what is logged.
final class LogCapture: Sendable {
    struct Line: Hashable, Sendable {
        var level: Logger.Level
        var message: String
        var metadata: [String: String]
    }

    private let kept = Mutex<[Line]>([])
    var lines: [Line] { kept.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(capture: self) }
        logger.logLevel = .info
        return logger
    }

    private struct Handler: LogHandler {
        let capture: LogCapture
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            let line = Line(
                level: event.level, message: event.message.description,
                metadata: (event.metadata ?? [:]).mapValues(\.description))
            capture.kept.withLock { $0.append(line) }
        }
    }
}

/// A clock that moves on whenever it is looked at.
final class HastyClock: WorldClock {
    let stepMilliseconds: Int64
    private let time = Mutex<Int64>(0)
    init(stepMilliseconds: Int64) { self.stepMilliseconds = stepMilliseconds }
    var now: TimestampNS { TimestampNS(1_767_323_045_000_000_000) }
    var monotonicNanoseconds: Int64 {
        time.withLock {
            $0 += stepMilliseconds * 1_000_000
            return $0
        }
    }
    func sleep(nanoseconds: Int64) async throws {}
}

@Suite("Request ids")
struct RequestIdentityTests {
    static let made = "0000000000000abc0000000000000abc"

    @Test(
        "a sane id is taken over, another is replaced",
        arguments: [
            ("req-1_2.3:4/5+6=7@8", true), (String(repeating: "a", count: 128), true),
            (String(repeating: "a", count: 129), false), ("", false), ("a b", false),
            ("a\"b", false), ("a\nb", false), ("ä", false),
        ])
    func ids(given: String, isKept: Bool) async throws {
        let answer = try await FakeCollector.ask(
            "GET /healthz", headers: ["x-request-id": given])
        #expect(answer.response.header("x-request-id") == (isKept ? given : Self.made))
    }

    @Test("every answer carries one", arguments: ["GET /", "GET /none", "PUT /", "HEAD /healthz"])
    func always(line: String) async throws {
        #expect(
            try await FakeCollector.ask(line).response.header("x-request-id") == Self.made)
    }

    @Test("a failure is logged with its id and without its parameters")
    func failure() async throws {
        let capture = LogCapture()
        let site = FakeCollector.site(
            checkReadiness: { throw StorageError.unavailable("the server is away") },
            checkHosts: { throw StorageError.unavailable("the server is away") },
            logger: capture.logger)
        _ = try await FakeCollector.ask("GET /readyz", site: site)
        #expect(capture.lines.isEmpty, "who asks for readiness asks again and again")
        let answer = try await FakeCollector.ask(
            "GET /api/v1/hosts?token=secret", headers: ["x-request-id": "r1"], site: site)
        #expect(answer.status >= 500)
        let line = try #require(capture.lines.first)
        #expect(capture.lines.count == 1 && line.level == .error)
        #expect(line.metadata["request_id"] == "r1")
        #expect(line.metadata["status"] == "\(answer.status)")
        #expect(line.metadata["path"] == "/api/v1/hosts")
        #expect(line.metadata["error"]?.contains("the server is away") == true)
        #expect(!line.metadata.values.contains { $0.contains("secret") })
    }

    @Test(
        "a failure that repeats is logged twice a minute, with how often it came; another at once")
    func repeatedFailures() async throws {
        let capture = LogCapture()
        // Three looks at the clock each: at the start, at the end, and for this.
        let site = FakeCollector.site(
            checkHosts: { throw StorageError.unavailable("the server is away") },
            clock: HastyClock(stepMilliseconds: 1_000), logger: capture.logger)
        for _ in 0..<30 { _ = try await FakeCollector.ask("GET /api/v1/hosts", site: site) }
        let lines = capture.lines.filter { $0.message == "a request failed" }
        #expect(lines.map { $0.metadata["repeated"] } == [nil, "9", "9"])
        let other = LogCapture()
        let failing = FakeCollector.site(
            checkHosts: { throw StorageError.corrupt("a row") }, logger: other.logger)
        for _ in 0..<3 { _ = try await FakeCollector.ask("GET /api/v1/hosts", site: failing) }
        #expect(other.lines.count == 3, "what is wrong is logged each time")
    }

    @Test("a slow request is logged", arguments: [(4_999, 0), (5_000, 1)] as [(Int64, Int)])
    func slow(milliseconds: Int64, count: Int) async throws {
        let capture = LogCapture()
        let site = FakeCollector.site(
            clock: HastyClock(stepMilliseconds: milliseconds), logger: capture.logger)
        _ = try await FakeCollector.ask(
            "GET /healthz?token=secret", headers: ["x-request-id": "r1"], site: site)
        #expect(capture.lines.count == count)
        guard let line = capture.lines.first else { return }
        #expect(line.level == .notice)
        #expect(
            line.metadata == [
                "request_id": "r1", "method": "GET", "path": "/healthz", "status": "200",
                "duration_ms": "\(milliseconds)",
            ])
    }
}
