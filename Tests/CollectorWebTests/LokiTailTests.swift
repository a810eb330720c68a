import CollectorQuery
import CollectorWeb
import LogQL
import Model
import Storage
import Testing

@Suite("Loki tail")
struct LokiTailTests {
    private static let path = "/loki/api/v1/tail?query=%7Bhost%3D%22a%22%7D&start=0.0"

    private static func site(_ feed: FakeLogFeed) -> WebSite {
        FakeCollector.site(change: { $0.logFeed = feed })
    }

    @Test("what was before comes first, then what is committed, in frames as Loki's")
    func tail() async throws {
        let feed = FakeLogFeed()
        try await SocketClient.serving(Self.site(feed)) { port, _ in
            try await SocketClient.connected(port) { client in
                try await client.open(Self.path)
                let head = try await client.head()
                #expect(head.hasPrefix("http/1.1 101 switching protocols\r\n"))
                #expect(head.contains("\r\nupgrade: websocket"))
                #expect(head.contains("\r\nconnection: upgrade"))
                // Source: RFC 6455, section 1.3, the example.
                #expect(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="))
                #expect(!head.contains("transfer-encoding") && !head.contains("content-length"))
                let before = try #require(await client.frame())
                #expect(before.kind == 1)
                #expect(
                    before.text
                        == #"{"streams":[{"stream":{"detected_level":"info","host":"a","#
                        + #""trace_id":"t1"},"values":[["1","first \"x\""]]},"#
                        + "{\"stream\":{\"host\":\"a\"},\"values\":[[\"2\",\"a\u{fffd}\"],"
                        + #"["3","third"]]}]}"#)
                // Again what was read already, and something new.
                feed.send(3, "third")
                feed.send(4, "fourth")
                let after = try #require(await client.frame())
                #expect(
                    after.text
                        == #"{"streams":[{"stream":{"host":"a"},"values":[["4","fourth"]]}]}"#)
                var batch = LogFeedBatch(streams: [])
                batch.dropped = [(["host": "a"], TimestampNS(5))]
                batch.droppedCount = 1
                feed.send(batch)
                let dropped = try #require(await client.frame())
                #expect(
                    dropped.text == #"{"streams":[],"dropped_entries":"#
                        + #"[{"timestamp":"5","labels":{"host":"a"}}]}"#)
            }
        }
        #expect(feed.matchers == [[LabelMatcher("host", .equal, "a")]])
        while feed.endedCount == 0 { await Task.yield() }
    }

    @Test("stages and categories apply to what comes live")
    func stages() async throws {
        let feed = FakeLogFeed()
        let query = "%7Bhost%3D%22a%22%7D%7C%3D%22keep%22%7Clogfmt"
        try await SocketClient.serving(Self.site(feed)) { port, _ in
            try await SocketClient.connected(port) { client in
                try await client.open(
                    "/loki/api/v1/tail?query=\(query)",
                    "X-Loki-Response-Encoding-Flags: categorize-labels\r\n")
                _ = try await client.head()
                feed.send(4, "lose n=1")
                feed.send(5, "keep n=2", level: "warn")
                let frame = try #require(await client.frame())
                #expect(
                    frame.text
                        == #"{"streams":[{"stream":{"host":"a"},"values":[["5","keep n=2","#
                        + #"{"structuredMetadata":{"detected_level":"warn"},"#
                        + #""parsed":{"n":"2"}}]]}],"encodingFlags":["categorize-labels"]}"#)
            }
        }
    }

    @Test(
        "what can't be tailed is refused before the WebSocket is opened",
        arguments: [
            ("query=%7Bhost%3D%22a%22", "", 400, "parse error"),
            ("query=rate(%7Bhost%3D%22a%22%7D%5B1m%5D)", "", 400, "only log selector is supported"),
            (
                "query=%7Bhost%3D%22a%22%7D&delay_for=6", "", 400,
                "delay_for can't be greater than 5"
            ),
            ("query=%7Bhost%3D%22a%22%7D&delay_for=fw", "", 400, "strconv.Atoi"),
            ("query=%7Bhost%3D%22a%22%7D&delay_for=4294967296", "", 400, "delay_for value"),
            ("query=%7Bhost%3D%22a%22%7D&start=t", "", 400, "start"),
            ("query=%7Bhost%3D%22a%22%7D&limit=0", "", 400, "limit must be a positive value"),
            (
                "query=%7Bhost%3D%22a%22%7D",
                "Origin: http://evil.example\r\nAccept-Encoding: gzip\r\n", 403, "may not"
            ),
        ])
    func refused(query: String, header: String, status: Int, text: String) async throws {
        try await SocketClient.serving(Self.site(FakeLogFeed())) { port, _ in
            // The connection ends after such an answer.
            let answer = try await SocketClient.connected(port) { client in
                try await client.open("/loki/api/v1/tail?\(query)", header)
                return try await client.rest()
            }
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            #expect(answer.contains(text), "\(answer)")
            #expect(answer.lowercased().contains("connection: close"))
        }
    }

    @Test("a plain request, another version and a bad key are no handshakes")
    func handshakes() async throws {
        let socket = [
            "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        ]
        for (name, value, status) in [
            ("upgrade", "h2c", 400), ("connection", "keep-alive", 400),
            ("sec-websocket-version", "8", 426), ("sec-websocket-key", "short", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=*", 400), ("accept", "*/*", 101),
        ] {
            var headers = socket
            headers[name] = value
            let answer = try await FakeCollector.ask(
                "GET \(Self.path)", headers: headers, site: Self.site(FakeLogFeed()))
            #expect(answer.status == status, "\(name): \(value)")
        }
        let site = FakeCollector.site()
        let answer = try await FakeCollector.ask("GET \(Self.path)", headers: socket, site: site)
        #expect(answer.status == 503)
    }

    @Test("there are at most 32 tails; one that ends makes room")
    func placesOfTails() async throws {
        let site = Self.site(FakeLogFeed())
        let headers = [
            "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        ]
        var tails: [WebResponse] = []
        for _ in 0..<32 {
            let answer = try await FakeCollector.ask(
                "GET \(Self.path)", headers: headers, site: site)
            #expect(answer.status == 101)
            tails.append(answer.response)
        }
        let more = try await FakeCollector.ask("GET \(Self.path)", headers: headers, site: site)
        #expect(more.status == 429)
        #expect(
            more.body
                == "max concurrent tail requests limit exceeded, count > limit (33 > 32)")
        tails.removeLast()
        let again = try await FakeCollector.ask("GET \(Self.path)", headers: headers, site: site)
        #expect(again.status == 101)
        _ = tails
    }

    @Test("pings are answered, a close is answered and ends the connection")
    func control() async throws {
        let feed = FakeLogFeed()
        try await SocketClient.serving(Self.site(feed)) { port, _ in
            try await SocketClient.connected(port) { client in
                try await client.open(Self.path)
                _ = try await client.head()
                _ = try await client.frame()
                try await client.send(9, Array("hello".utf8))
                #expect(
                    try await client.frame()
                        == SocketClient.Frame(kind: 10, payload: Array("hello".utf8)))
                // What a client says is ignored.
                try await client.send(1, Array("text".utf8))
                try await client.send(8, [0x03, 0xe8])
                #expect(
                    try await client.frame() == SocketClient.Frame(kind: 8, payload: [0x03, 0xe8]))
                #expect(try await client.frame() == nil)
            }
            while feed.endedCount == 0 { await Task.yield() }
        }
    }

    @Test("a client that breaks the protocol is told so and cut")
    func violations() async throws {
        for (bytes, code) in [
            ([0x81, 0x01, 0x61], 1002), ([0x88, 0xfe, 0x00, 0x7e, 1, 2, 3, 4], 1002),
            ([0x82, 0xfe, 0x10, 0x01, 1, 2, 3, 4], 1009),
        ] as [([UInt8], Int)] {
            try await SocketClient.serving(Self.site(FakeLogFeed())) { port, _ in
                try await SocketClient.connected(port) { client in
                    try await client.open(Self.path)
                    _ = try await client.head()
                    _ = try await client.frame()
                    try await client.send(raw: bytes)
                    #expect(try await client.frame()?.code == code)
                    #expect(try await client.frame() == nil)
                }
            }
        }
    }

    @Test("a connection that has served requests can become a WebSocket")
    func afterOtherRequests() async throws {
        let feed = FakeLogFeed()
        try await SocketClient.serving(Self.site(feed)) { port, _ in
            try await SocketClient.connected(port) { client in
                try await client.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                _ = try await client.text(through: "ok\n")
                try await client.open(Self.path)
                #expect(try await client.head().hasPrefix("http/1.1 101"))
                #expect(try await client.frame()?.text.contains("third") == true)
                feed.send(9, "ninth")
                #expect(try await client.frame()?.text.contains("ninth") == true)
            }
        }
    }

    @Test("a stop, and the end of what is followed, are said to the client")
    func ends() async throws {
        for isStop in [true, false] {
            let feed = FakeLogFeed()
            try await SocketClient.serving(Self.site(feed)) { port, stop in
                try await SocketClient.connected(port) { client in
                    try await client.open(Self.path)
                    _ = try await client.head()
                    _ = try await client.frame()
                    if isStop { await stop() } else { feed.finish() }
                    #expect(try await client.frame()?.code == 1001)
                    #expect(try await client.frame() == nil)
                }
            }
        }
    }

    @Test("a client that takes nothing is cut, and what it held is free")
    func stuckClient() async throws {
        let feed = FakeLogFeed()
        try await SocketClient.serving(Self.site(feed), stallMillisecondsMax: 50) { port, _ in
            try await SocketClient.connected(port, windowBytes: 4096) { client in
                try await client.open(Self.path)
                // Before that nobody follows.
                _ = try await client.head()
                // More than the buffers of both sides take.
                let line = String(repeating: "x", count: 200_000)
                for _ in 0..<100 { feed.send(9, line) }
                while feed.endedCount == 0 { await Task.yield() }
            }
        }
    }

    @Test("a request for another protocol is answered as if it had asked for none, and is the last")
    func otherProtocols() async throws {
        try await SocketClient.serving(Self.site(FakeLogFeed())) { port, _ in
            let answer = try await SocketClient.connected(port) { client in
                try await client.write(
                    "GET /healthz HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n"
                        + "Connection: Upgrade\r\n\r\n")
                return try await client.rest()
            }
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("ok\n"))
        }
    }
}
