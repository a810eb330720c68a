import AgentScrape
import Model
import Testing

@Suite("Services that are scraped without an entry")
struct ScrapedServiceTests {
    static let interval = PrometheusDuration(milliseconds: 5_000)

    private static func found(_ address: String, isFound: Bool = true) -> ScrapedService {
        ScrapedService(
            job: "caddy", address: address, labels: ["instance": "web1"], isFound: isFound)
    }

    @Test("one target more, bounded, led nowhere, with the agent's interval")
    func whole() throws {
        let app = try ScrapeClientTests.target("127.0.0.1:8080")
        let targets = ScrapeTarget.all(
            [app], and: [Self.found("[::1]:2019")], interval: Self.interval)
        #expect(targets.count == 2 && targets[0] == app)
        let caddy = targets[1]
        #expect(caddy.labels == ["instance": "web1", "job": "caddy"])
        #expect(caddy.host == "::1" && caddy.port == 2019 && !caddy.isTLS)
        #expect(caddy.requestPath == "/metrics" && caddy.name == "caddy [::1]:2019")
        #expect(caddy.intervalMilliseconds == 5_000 && caddy.timeoutMilliseconds == 5_000)
        #expect(!caddy.job.followsRedirects)
        #expect(caddy.job.sampleLimit == ScrapedService.samplesMax)
        let again = ScrapeTarget.all([], and: [Self.found("[::1]:2019")], interval: Self.interval)
        #expect(again[0].key == caddy.key && again[0].isScraped(as: caddy))
    }

    @Test(
        "what the configuration scrapes is not scraped twice",
        arguments: [
            ("site", "127.0.0.1:2019", true, true), ("site", "localhost:2019", true, true),
            ("site", "[::1]:2019", false, true), ("site", "LOCALHOST:2019", false, true),
            ("site", "127.0.0.1:2020", true, false), ("site", "10.0.0.1:2019", true, false),
            ("caddy", "127.0.0.1:2020", true, true), ("caddy", "127.0.0.1:2020", false, false),
        ])
    func twice(job: String, address: String, isFound: Bool, isSame: Bool) throws {
        let configured = try ScrapeClientTests.target(address) { $0.name = job }
        let targets = ScrapeTarget.all(
            [configured], and: [Self.found("127.0.0.1:2019", isFound: isFound)],
            interval: Self.interval)
        #expect(targets.map(\.name) == [configured.name] + (isSame ? [] : ["caddy 127.0.0.1:2019"]))
    }

    @Test("none past the bound, and none of an address that is none")
    func bound() throws {
        let full = try (1...ScrapeLimits.targetsMax).map {
            try ScrapeClientTests.target("127.0.0.1:\($0)")
        }
        let services = [Self.found("127.0.0.1:2019")]
        #expect(ScrapeTarget.all(full, and: services, interval: Self.interval) == full)
        #expect(
            ScrapeTarget.all(full.dropLast(), and: services, interval: Self.interval).count
                == full.count)
        #expect(ScrapeTarget.all([], and: [Self.found("a b")], interval: Self.interval) == [])
    }

    @Test("whether a target is at an address")
    func place() throws {
        let target = try ScrapeClientTests.target("localhost:2019")
        #expect(target.isScraped(at: "127.0.0.1:2019") && target.isScraped(at: "[::1]:2019"))
        #expect(!target.isScraped(at: "127.0.0.1:80") && !target.isScraped(at: "10.0.0.1:2019"))
        #expect(!target.isScraped(at: ""))
    }
}
