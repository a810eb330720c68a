import CollectorWeb
import Model
import Storage
import Testing

/// What agents scrape, as targets of a pool for each job.
@Suite("Prometheus API: scraped targets")
struct ScrapedTargetTests {
    private static func column(_ name: String, _ labels: Labels, _ value: Double) -> SeriesColumns {
        SeriesColumns(
            labels: labels.setting("__name__", name), timestamps: [30_000, 45_000],
            values: [0.5, value])
    }

    private static let db: Labels = ["host": "h1", "instance": "db:9187", "job": "postgres"]
    private static let web: Labels = ["instance": "web:80", "job": "app"]
    private static let all: [SeriesColumns] = [
        column("up", db, 0), column("up", web, 1), column("scrape_duration_seconds", web, 0.25),
        column("up", ["instance": "odd:1", "job": "app"], .infinity),
        // Ended, and of nobody.
        column("up", ["instance": "gone:1", "job": "app"], StalenessMarker.value),
        column("up", ["host": "h1"], 1), column("up", ["job": "app"], 1),
    ]

    private static func site(_ columns: [SeriesColumns] = all) -> WebSite {
        FakeCollector.site(clock: MinuteClock(), metricReader: NamedSeries(columns: columns))
    }

    private static let dbText = [
        #"{"discoveredLabels":{"__address__":"db:9187","__meta_petrel_host":"h1","job":"postgres"},"#,
        #""labels":{"host":"h1","instance":"db:9187","job":"postgres"},"scrapePool":"postgres","#,
        #""scrapeUrl":"","globalUrl":"","lastError":"the scrape failed; the log of the agent on h1 says why","#,
        #""lastScrape":"1970-01-01T00:00:45Z","lastScrapeDuration":0,"health":"down","#,
        #""scrapeInterval":"","scrapeTimeout":""}"#,
    ].joined()
    private static let webText = [
        #"{"discoveredLabels":{"__address__":"web:80","job":"app"},"#,
        #""labels":{"instance":"web:80","job":"app"},"scrapePool":"app","#,
        #""scrapeUrl":"","globalUrl":"","lastError":"","lastScrape":"1970-01-01T00:00:45Z","#,
        #""lastScrapeDuration":0.25,"health":"up","scrapeInterval":"","scrapeTimeout":""}"#,
    ].joined()

    @Test(
        "a pool for each job",
        arguments: [
            ("", true, true), ("?state=active", true, true), ("?state=dropped", false, false),
            ("?scrapePool=app", true, false), ("?scrapePool=postgres", false, true),
            ("?scrapePool=petrel-agent", false, false), ("?scrapePool=other", false, false),
        ])
    func targets(query: String, hasWeb: Bool, hasDB: Bool) async throws {
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/targets\(query)", site: Self.site())
        #expect(answer.status == 200)
        #expect(answer.body.contains(Self.webText) == hasWeb)
        #expect(answer.body.contains(Self.dbText) == hasDB)
        #expect(answer.body.contains(#""instance":"odd:1""#) == hasWeb)
        #expect(!answer.body.contains("gone:1") && !answer.body.contains("warnings"))
        #expect(answer.body.contains(#""health":"unknown""#) == hasWeb)
        if query.isEmpty {
            // The agents first, then by pool; nothing without a job and an instance.
            let pools = answer.body.split(separator: #""scrapePool":""#).dropFirst()
                .map { $0.prefix { $0 != "\"" } }
            #expect(pools == ["petrel-agent", "petrel-agent", "app", "app", "postgres"])
        }
    }

    @Test("pools are listed, and asked for how they are scraped it is said where that stands")
    func pools() async throws {
        let pools = try await FakeCollector.ask(
            "GET /prometheus/api/v1/scrape_pools", site: Self.site())
        #expect(
            pools.body
                == #"{"status":"success","data":{"scrapePools":["app","petrel-agent","postgres"]}}"#
        )
        for path in [
            "scrape_pools/config?scrapePool=app",
            "targets/relabel_steps?scrapePool=app&labels={}",
        ] {
            let answer = try await FakeCollector.ask(
                "GET /prometheus/api/v1/\(path)", site: Self.site())
            #expect(answer.status == 422)
            #expect(answer.body.contains("`scrape` in the agent.yaml"))
        }
    }

    @Test("no more than 10,000 are shown, with a warning")
    func bound() async throws {
        let many = (0...10_000).map { number in
            Self.column("up", ["instance": "i\(number)", "job": "app"], 1)
        }
        for (count, isCut) in [(10_000, false), (10_001, true)] {
            let answer = try await FakeCollector.ask(
                "GET /prometheus/api/v1/targets?scrapePool=app",
                site: Self.site(Array(many.prefix(count))))
            #expect(answer.body.split(separator: #""scrapePool":"app""#).count == 10_001)
            #expect(
                answer.body.hasSuffix(#","warnings":["results truncated due to limit"]}"#) == isCut)
        }
    }
}

/// Series by the name that a selection asks for.
struct NamedSeries: MetricReader {
    var columns: [SeriesColumns]

    func select(
        _ selections: [SeriesSelection], limits: ReadLimits, share: SampleShare
    ) async throws(StorageError) -> [[SeriesColumns]] {
        selections.map { selection in
            let name = selection.matchers.first { $0.name == "__name__" }?.value
            return columns.filter { name == nil || $0.labels.metricName == name }
        }
    }
    func labelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
    func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { [] }
    func series(_ scope: LabelScope) async throws(StorageError) -> [Labels] {
        columns.map(\.labels)
    }
    func metadata(
        metric: String?
    ) async throws(StorageError) -> [ExactText: [MetricMetadata]] { [:] }
}
