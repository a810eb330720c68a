import AgentScrape
import Model
import Synchronization
import Testing

@Suite("Redirects")
struct RedirectTests {
    /// Where a Location leads from `http://h:1/a/b?c=d`; nil where it leads nowhere.
    static let locations: [(location: String, place: String?)] = [
        ("/x", "http h 1 h:1 /x"), ("/x?y=z#part", "http h 1 h:1 /x?y=z"),
        ("x", "http h 1 h:1 /a/x"), ("x/./../y", "http h 1 h:1 /a/y"),
        ("../../../x", "http h 1 h:1 /x"), ("..", "http h 1 h:1 /"), (".", "http h 1 h:1 /a/"),
        ("?e=f", "http h 1 h:1 /a/b?e=f"), ("", "http h 1 h:1 /a/b?c=d"),
        ("#part", "http h 1 h:1 /a/b?c=d"), ("/a:b", "http h 1 h:1 /a:b"),
        ("//other/x", "http other 80 other /x"),
        ("https://other", "https other 443 other /"),
        ("HTTPS://other:8443?q", "https other 8443 other:8443 /?q"),
        ("http://[::1]:9/x", "http ::1 9 [::1]:9 /x"),
        ("http:x", nil), ("ftp://other/", nil), ("javascript:0", nil), ("http://", nil),
        ("http://user:secret@other/", nil), ("http://other:99999/", nil), ("http://a:b:c/", nil),
        ("/x y", nil), ("/\u{e9}", nil), ("/\r\nHost: x", nil),
        ("/" + String(repeating: "x", count: 8192), nil),
    ]

    @Test("where a Location leads", arguments: locations)
    func following(_ location: String, _ expected: String?) throws {
        let place = ScrapePlace(
            try ScrapeClientTests.target("h:1") {
                $0.metricsPath = "/a/b"
                $0.params = [.init("c", ["d"])]
            })
        let found: String?
        do throws(ScrapeFailure) {
            let to = try place.following(location)
            found =
                "\(to.isTLS ? "https" : "http") \(to.host) \(to.port) \(to.address) \(to.requestPath)"
        } catch {
            #expect(error.reason == "redirect")
            found = nil
        }
        #expect(found == expected)
    }

    @Test("which places are one server")
    func servers() throws {
        let place = ScrapePlace(try ScrapeClientTests.target("h:443"))
        for (location, isSame) in [
            ("/x", true), ("http://H:443/y", true), ("http://h:444/", false),
            ("https://h/", false), ("http://h.example:443/", false), ("http://i:443/", false),
        ] {
            #expect(
                try place.following(location).isSameServer(as: place) == isSame, "\(location)")
        }
    }

    /// What `path` of a server is answered with: a redirect, or a text of two samples.
    private static func answer(
        _ request: String, _ locations: [String: String], code: String = "302 Found"
    ) -> RawServer.Answer {
        let path = request.split(separator: " ")[1]
        guard let location = locations[String(path)] else { return .ok(ScrapeClientTests.text) }
        return .init(
            "HTTP/1.1 \(code)\r\nLocation: \(location)\r\nContent-Length: 0\r\n\r\n")
    }

    /// A target with time for several answers on a machine that runs all tests at once.
    private static func target(
        _ server: RawServer, _ change: (inout ScrapeJob) -> Void = { _ in }
    ) throws -> ScrapeTarget {
        try ScrapeClientTests.target("127.0.0.1:\(server.port)") {
            $0.interval = PrometheusDuration(milliseconds: 120_000)
            $0.timeout = $0.interval
            change(&$0)
        }
    }

    private static func secrets(_ server: RawServer) -> [Bool] {
        server.requests.map { $0.contains("Authorization: Bearer tok") }
    }

    @Test(
        "a redirect on the same server goes with the secrets",
        arguments: [
            "301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect",
            "308 Permanent Redirect",
        ])
    func same(_ code: String) async throws {
        let server = try await RawServer.start { request in
            Self.answer(request, ["/metrics": "/b/c", "/b/c": "d?x=y"], code: code)
        }
        let client = try ScrapeClientTests.client(["/token": "tok"])
        func scrape(_ follows: Bool) async throws -> String {
            let target = try Self.target(server) {
                $0.authorization = .credentials(type: "Bearer", file: "/token")
                $0.followsRedirects = follows
            }
            return ScrapeClientTests.reason(await ScrapeClientTests.read(client, target))
        }
        #expect(try await scrape(true) == "2 samples")
        #expect(Self.secrets(server) == [true, true, true])
        #expect(server.requests.last?.hasPrefix("GET /b/d?x=y HTTP/1.1\r\n") == true)
        #expect(try await scrape(false) == "status")
        #expect(server.requests.count == 4)
        try await server.stop()
    }

    @Test("no other server learns a secret, nor does the own one when it is named by another")
    func foreign() async throws {
        let places = Mutex<[String: String]>([:])
        let own = try await RawServer.start { request in
            Self.answer(request, places.withLock { $0 })
        }
        let other = try await RawServer.start { request in
            Self.answer(request, ["/back": "http://127.0.0.1:\(own.port)/own"])
        }
        places.withLock { $0 = ["/metrics": "http://127.0.0.1:\(other.port)/there"] }
        let client = try ScrapeClientTests.client(["/token": "tok"])
        let target = try Self.target(own) {
            $0.authorization = .credentials(type: "Bearer", file: "/token")
        }
        #expect(await ScrapeClientTests.read(client, target) == .success(2))
        #expect(Self.secrets(own) == [true] && Self.secrets(other) == [false])
        #expect(other.requests[0].contains("Host: 127.0.0.1:\(other.port)\r\n"))
        places.withLock { $0 = ["/metrics": "http://127.0.0.1:\(other.port)/back"] }
        #expect(await ScrapeClientTests.read(client, target) == .success(2))
        #expect(Self.secrets(own) == [true, true, false])
        #expect(Self.secrets(other) == [false, false])
        try await own.stop()
        try await other.stop()
    }

    @Test("a circle ends, and so does the time")
    func bounded() async throws {
        let server = try await RawServer.start { request in
            request.hasPrefix("GET /slow ")
                ? .init("", closes: false)
                : Self.answer(request, ["/metrics": "/x", "/x": "/metrics", "/late": "/slow"])
        }
        let client = try ScrapeClientTests.client()
        let circle = try Self.target(server)
        #expect(
            ScrapeClientTests.reason(await ScrapeClientTests.read(client, circle)) == "redirect")
        #expect(server.requests.count == 1 + ScrapeLimits.redirectsMax)
        let slow = try ScrapeClientTests.target("127.0.0.1:\(server.port)") {
            $0.metricsPath = "/late"
            $0.timeout = PrometheusDuration(milliseconds: 200)
        }
        #expect(ScrapeClientTests.reason(await ScrapeClientTests.read(client, slow)) == "timeout")
        try await server.stop()
    }
}
