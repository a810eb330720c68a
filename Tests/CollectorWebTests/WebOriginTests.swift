import CollectorWeb
import Testing

/// Which texts are origins, and that a page of one of them is answered.
@Suite("Web origins")
struct WebOriginTests {
    @Test(
        "origins are as browsers send them",
        arguments: [
            ("https://grafana.example.org", "https://grafana.example.org"),
            ("HTTPS://Grafana.Example", "https://grafana.example"),
            ("http://grafana:3000", "http://grafana:3000"),
            ("https://grafana.example:443", "https://grafana.example"),
            ("http://grafana.example:80", "http://grafana.example"),
            ("http://grafana.example:443", "http://grafana.example:443"),
            ("https://10.0.0.5:65535", "https://10.0.0.5:65535"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("https://[::1]:3000", "https://[::1]:3000"),
        ])
    func origins(text: String, origin: String) {
        #expect(WebOrigin(text)?.text == origin)
    }

    @Test(
        "what is none is refused",
        arguments: [
            "", "*", "null", "grafana.example", "//grafana.example", "https://", "https:///",
            "https://grafana.example/", "https://grafana.example/path", "https://*.example",
            "https://grafana.example:", "https://grafana.example:0",
            "https://grafana.example:65536",
            "https://grafana.example:+1", "https://grafana.example:x", "ftp://grafana.example",
            "https://user@grafana.example", "https://grafana..example", "https://grafana example",
            "https://[::1", "https://[]", "https://[::g]", "https://::1",
            "https://gr\u{e4}f.example",
            "https://a.example, https://b.example", "https://a.example?x",
        ])
    func refused(text: String) { #expect(WebOrigin(text) == nil) }

    @Test("a page of an origin that is written otherwise is the same page's")
    func answered() async throws {
        let origin = try #require(WebOrigin("https://Grafana.Example:443"))
        let site = FakeCollector.site(
            configuration: WebConfiguration(allowedOrigins: [origin.text]))
        for (page, isAllowed) in [
            ("https://grafana.example", true), ("http://grafana.example", false),
            ("https://grafana.example:8443", false),
        ] {
            let answer = try await FakeCollector.ask(
                "GET /prometheus/api/v1/labels", headers: ["origin": page], site: site)
            #expect(
                answer.response.header("access-control-allow-origin") == (isAllowed ? page : nil))
        }
    }
}
