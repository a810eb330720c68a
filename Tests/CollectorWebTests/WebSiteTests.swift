import CollectorWeb
import Model
import Storage
import Testing

/// The gate, the headers, our own API and what parameters mean.
@Suite("Web site")
struct WebSiteTests {
    @Test(
        "only our own names are answered",
        arguments: [
            ("127.0.0.1:9600", 200), ("127.9.9.9", 200), ("localhost", 200), ("[::1]:9600", 200),
            ("LOCALHOST:1", 200), ("petrel.example:443", 200), ("evil.example", 421),
            ("127.0.0.1.evil.example", 421), ("127.0.0.999", 421), ("", 421), ("10.0.0.1", 421),
        ])
    func hosts(host: String, status: Int) async throws {
        let site = FakeCollector.site(
            configuration: WebConfiguration(hostNames: ["Petrel.example"]))
        let answer = try await FakeCollector.ask(
            "GET /healthz", headers: ["host": host], site: site)
        #expect(answer.status == status)
    }

    @Test(
        "pages of other sites neither read nor change",
        arguments: [
            ("https://evil.example", false), ("http://localhost:3000", true),
            ("https://grafana.example", true), ("null", false),
        ])
    func origins(origin: String, isAllowed: Bool) async throws {
        let site = FakeCollector.site(
            configuration: WebConfiguration(allowedOrigins: ["https://grafana.example"]))
        let read = try await FakeCollector.ask(
            "GET /prometheus/api/v1/labels", headers: ["origin": origin], site: site)
        #expect(
            read.response.header("access-control-allow-origin") == (isAllowed ? origin : nil))
        let change = try await FakeCollector.ask(
            "POST /api/v1/notify/test?receiver=team", headers: ["origin": origin], site: site)
        #expect(change.status == (isAllowed ? 200 : 403))
        let preflight = try await FakeCollector.ask(
            "OPTIONS /prometheus/api/v1/query", headers: ["origin": origin], site: site)
        #expect(preflight.status == 204)
    }

    @Test(
        "every answer has the security headers",
        arguments: [
            "GET /", "GET /petrel.css", "GET /healthz", "GET /nothing", "DELETE /metrics",
            "GET /prometheus/api/v1/query", "GET /loki/api/v1/query", "GET /api/v1/hosts",
        ])
    func headers(line: String) async throws {
        let response = try await FakeCollector.ask(line).response
        #expect(response.header("x-content-type-options") == "nosniff")
        #expect(response.header("content-security-policy")?.contains("default-src 'none'") == true)
        #expect(response.header("x-frame-options") == "DENY")
        #expect(response.header("referrer-policy") == "no-referrer")
    }

    @Test(
        "answers",
        arguments: [
            ("GET /healthz", 200, "ok\n"), ("GET /readyz", 200, "ready\n"),
            ("GET /ready", 200, "ready\n"), ("GET /loki/api/v1/ready", 200, "ready\n"),
            ("GET /nothing", 404, #"{"error":"no such path: /nothing"}"#),
            ("DELETE /metrics", 405, #"{"error":"method DELETE is not allowed"}"#),
            ("HEAD /healthz", 200, ""),
            (
                "GET /api/v1/hosts", 200,
                #"{"hosts":[{"host":"h1","state":"up","agentVersion":"1.0","kernel":"","operatingSystem":"","role":"","#
                    + #""enrolledAt":"1970-01-01T00:00:00Z","lastSeenAt":"2026-01-02T03:04:00Z"},"#
                    + #"{"host":"h2","state":"down","agentVersion":"","kernel":"","operatingSystem":"","role":"","#
                    + #""enrolledAt":"1970-01-01T00:00:00Z","lastSeenAt":"2026-01-02T03:03:20Z"}]}"#
            ),
            (
                "GET /api/v1/alerts", 200,
                #"{"alerts":[{"state":"firing","rule":"f;g;Down;0","labels":{"alertname":"Down","host":"a"},"#
                    + #""annotations":{"summary":"a is down"},"value":1,"activeAt":"2026-01-02T03:03:20.500Z","#
                    + #""firedAt":"2026-01-02T03:03:50Z","resolvedAt":null}]}"#
            ),
            (
                "GET /api/v1/deliveries", 200,
                #"{"deliveries":[{"at":"1970-01-01T00:00:00Z","id":"id-1","receiver":"team","#
                    + #""integration":"webhook/0","groupKey":"{}","error":"oh","status":500,"alerts":0,"#
                    + #""durationSeconds":0.25}]}"#
            ),
            (
                "GET /api/v1/deliveries?limit=0", 400,
                #"{"error":"limit must be a number within 1...1000"}"#
            ),
            (
                "POST /api/v1/notify/test?receiver=team", 200,
                #"{"outcomes":[{"integration":"webhook/0","delivered":true,"error":"","status":200}]}"#
            ),
            (
                "POST /api/v1/notify/test?receiver=who", 404,
                #"{"error":"no receiver is called who; see receivers in alerting.yaml"}"#
            ),
            (
                "GET /api/v1/notify/test?receiver=team", 404,
                #"{"error":"no such path: /api/v1/notify/test"}"#
            ),
        ])
    func answers(line: String, status: Int, body: String) async throws {
        let answer = try await FakeCollector.ask(line)
        #expect(answer.status == status)
        #expect(answer.body == body)
    }

    @Test("the collector's own metrics and those of its ways in")
    func ownMetrics() async throws {
        let body = try await FakeCollector.ask("GET /metrics").body
        #expect(body.hasSuffix("# HELP petrel_up One.\n# TYPE petrel_up gauge\npetrel_up 1\n"))
        #expect(body.contains("\npetrel_remote_write_cached_series 0\n"))
    }

    @Test("a collector without its database says so")
    func notReady() async throws {
        let site = FakeCollector.site { throw StorageError.unavailable("connection refused") }
        let answer = try await FakeCollector.ask("GET /readyz", site: site)
        #expect(answer.status == 503)
        #expect(answer.body.contains("connection refused"))
    }

    @Test("the start page has no script and links the APIs")
    func startPage() async throws {
        let answer = try await FakeCollector.ask("GET /")
        #expect(answer.response.header("content-type") == "text/html; charset=utf-8")
        #expect(!answer.body.contains("<script") && !answer.body.contains("style="))
        #expect(answer.body.contains("/prometheus/api/v1/"))
    }

    @Test(
        "forms",
        arguments: [("a=1&b=x+y%20z&a=%C3%A9", ["1", "é"]), ("a", [""]), ("&&a=b=c", ["b=c"])])
    func forms(text: String, values: [String]) throws {
        #expect(try FormParameters(text.utf8).all("a") == values)
    }

    @Test("broken forms are refused", arguments: ["a=%", "a=%4", "a=%zz", "a=%ff"])
    func brokenForms(text: String) {
        #expect(throws: WebRefusal.self) { try FormParameters(text.utf8) }
    }

    @Test("a form has a bound")
    func formBound() {
        let text = String(repeating: "a=1&", count: FormParameters.countMax + 1)
        #expect(throws: WebRefusal.self) { try FormParameters(text.utf8) }
    }

    @Test(
        "times",
        arguments: [
            ("0", 0), ("1435781451.781", 1_435_781_451_781), ("-1.5", -1500), ("1e3", 1_000_000),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51+02:00", 1_435_781_451_000),
            ("", nil), ("abc", nil), ("NaN", nil), ("1e300", nil), ("0x10", nil),
        ] as [(String, Int64?)])
    func times(text: String, milliseconds: Int64?) {
        #expect(TimeParameters.milliseconds(text)?.rawValue == milliseconds)
    }

    @Test(
        "nanoseconds",
        arguments: [
            ("1767323045000000000", 1_767_323_045_000_000_000),
            ("1767323045", 1_767_323_045_000_000_000),
            ("1.5", 1_500_000_000), ("2026-01-02T03:04:05Z", 1_767_323_045_000_000_000), ("x", nil),
        ] as [(String, Int64?)])
    func nanoseconds(text: String, expected: Int64?) {
        #expect(TimeParameters.nanoseconds(text)?.rawValue == expected)
    }

    @Test(
        "an address that is not loopback is refused",
        arguments: ["0.0.0.0", "10.0.0.1", "::", "example.org"])
    func address(address: String) {
        #expect(throws: WebError.self) { try WebConfiguration(address: address).validate() }
    }

    @Test("loopback addresses are accepted", arguments: ["127.0.0.1", "::1", "localhost"])
    func loopback(address: String) throws { try WebConfiguration(address: address).validate() }
}
