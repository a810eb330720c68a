import CollectorQuery
import CollectorWeb
import Model
import Storage
import Testing

@Suite("Following logs by events")
struct LogFollowAPITests {
    private static let path = "/api/v1/logs/follow?query=%7Bhost%3D%22a%22%7D&start=0.0"

    private static func get(_ path: String) -> String {
        "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    }

    @Test("entries come as events: what was before, then what is committed")
    func entries() async throws {
        let feed = FakeLogFeed()
        let site = FakeCollector.site(change: { $0.logFeed = feed })
        try await SocketClient.serving(site) { port, stop in
            try await SocketClient.connected(port) { client in
                try await client.write(Self.get(Self.path))
                let head = try await client.head()
                #expect(head.hasPrefix("http/1.1 200 ok\r\n"))
                #expect(head.contains("content-type: text/event-stream"))
                let before = try await client.text(through: "\"third\"}\n\n")
                #expect(before.contains(": petrel\n\n"))
                #expect(
                    before.contains(
                        "event: entry\ndata: "
                            + #"{"ts":"1","labels":{"host":"a"},"#
                            + #""metadata":{"detected_level":"info","trace_id":"t1"},"#
                            + #""parsed":{},"level":"info","line":"first \"x\""}"# + "\n\n"))
                #expect(before.ranges(of: "event: entry").count == 3)
                feed.send(4, "a\nb\u{1b}[31m")
                let after = try await client.text(through: "\n\n")
                #expect(after.contains(#""line":"a\nb\u001b[31m"}"#), "\(after)")
                feed.send(
                    LogFeedBatch(
                        streams: [], dropped: [(["host": "a"], TimestampNS(5))], droppedCount: 7))
                let dropped = try await client.text(through: "\n\n")
                #expect(
                    dropped.contains(
                        "event: dropped\ndata: "
                            + #"{"count":7,"entries":[{"ts":"5","labels":{"host":"a"}}]}"#))
                await stop()
                // The end of the chunked body.
                #expect(try await client.rest().hasSuffix("0\r\n\r\n"))
            }
        }
        #expect(feed.endedCount == 1)
    }

    @Test("a follower that hangs up is let go")
    func hangUp() async throws {
        let feed = FakeLogFeed()
        let site = FakeCollector.site(change: { $0.logFeed = feed })
        try await SocketClient.serving(site) { port, _ in
            try await SocketClient.connected(port) { client in
                try await client.write(Self.get(Self.path + "&limit=0"))
                _ = try await client.text(through: ": petrel\n\n")
            }
            while feed.endedCount == 0 { await Task.yield() }
        }
    }

    @Test("the end of what is followed is the end of the answer")
    func ends() async throws {
        let feed = FakeLogFeed()
        let site = FakeCollector.site(change: { $0.logFeed = feed })
        try await SocketClient.serving(site) { port, _ in
            try await SocketClient.connected(port) { client in
                try await client.write(Self.get(Self.path + "&limit=0"))
                _ = try await client.text(through: ": petrel\n\n")
                feed.finish()
                _ = try await client.text(through: "0\r\n\r\n")
            }
        }
    }

    @Test(
        "what can't be followed is refused",
        arguments: [
            ("query=%7B", 400, "parse error"), ("query=vector(1)", 400, "log selector"),
            ("query=%7Ba%3D%22b%22%7D&limit=-1", 400, "limit must be a number within 0...5000"),
            ("query=%7Ba%3D%22b%22%7D&start=x", 400, "start must be"),
            ("query=%7Ba%3D%22b%22%7D&since=x", 400, "since must be a duration"),
        ])
    func refused(parameters: String, status: Int, text: String) async throws {
        let site = FakeCollector.site(change: { $0.logFeed = FakeLogFeed() })
        let answer = try await FakeCollector.ask(
            "GET /api/v1/logs/follow?\(parameters)", site: site)
        #expect(answer.status == status)
        #expect(answer.body.contains(text), "\(answer.body)")
    }

    @Test("too many followers are told so")
    func tooMany() async throws {
        let full = FakeCollector.site(change: { $0.logFeed = FakeLogFeed(countMax: 1) })
        let first = try await FakeCollector.ask("GET \(Self.path)", site: full)
        #expect(first.status == 200)
        let second = try await FakeCollector.ask("GET \(Self.path)", site: full)
        #expect(second.status == 503)
        #expect(second.body.contains("too many follow the logs already: 1"))
        _ = first
    }
}
