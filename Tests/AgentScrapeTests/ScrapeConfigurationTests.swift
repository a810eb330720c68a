import AgentScrape
import Exposition
import Model
import Testing
import YAMLDocument

@Suite("Scrape configuration")
struct ScrapeConfigurationTests {
    static func jobs(_ text: String) throws(YAMLError) -> [ScrapeJob] {
        var root = try YAMLMapping.parse(text, file: "agent.yaml")
        let jobs = try ScrapeJob.readAll(
            &root, interval: PrometheusDuration(milliseconds: 15_000))
        try root.finish()
        return jobs
    }

    static func targets(_ text: String) throws -> [ScrapeTarget] {
        try ScrapeTarget.all(jobs(text))
    }

    @Test("everything that a job can say")
    func whole() throws {
        let jobs = try Self.jobs(
            """
            scrape:
              - job_name: app
                scrape_interval: 30s
                scrape_timeout: 3s
                scheme: https
                metrics_path: /internal/metrics
                params: {module: [http_2xx, other], debug: [on]}
                honor_labels: true
                honor_timestamps: false
                follow_redirects: false
                basic_auth: {username: petrel, password_file: /etc/petrel/secrets/agent/app}
                tls_config:
                  ca_file: /etc/ssl/app.pem
                  server_name: app.internal
                  insecure_skip_verify: false
                sample_limit: 5000
                label_limit: 30
                label_name_length_limit: 100
                label_value_length_limit: 1000
                body_size_limit: 2MiB
                fallback_scrape_protocol: PrometheusText0.0.4
                static_configs:
                  - targets: ["10.0.0.2:8080", "[::1]:8081"]
                    labels: {team: web}
                  - targets: [app3]
                relabel_configs:
                  - {source_labels: [__address__], regex: '(.*):\\d+', target_label: host_name}
                metric_relabel_configs:
                  - {action: drop, source_labels: [__name__], regex: go_.*}
                  - {action: labeldrop, regex: pod}
              - job_name: api
                authorization: {credentials_file: /run/token}
                static_configs: [{targets: ["127.0.0.1:1"]}]
            """)
        let app = try #require(jobs.first)
        #expect(app.name == "app" && app.interval.milliseconds == 30_000)
        #expect(app.timeout.milliseconds == 3_000 && app.honorsLabels && !app.honorsTimestamps)
        #expect(!app.followsRedirects && jobs[1].followsRedirects)
        #expect(
            app.authorization
                == .basic(user: "petrel", passwordFile: "/etc/petrel/secrets/agent/app"))
        #expect(app.tls.caFile == "/etc/ssl/app.pem" && app.tls.serverName == "app.internal")
        #expect(app.sampleLimit == 5000 && app.labelLimit == 30 && app.labelNameLengthLimit == 100)
        #expect(app.labelValueLengthLimit == 1000 && app.bodyBytesMax == 2 << 20)
        #expect(app.fallbackFormat == .prometheusText && app.metricRelabelRules.count == 2)
        #expect(jobs[1].authorization == .credentials(type: "Bearer", file: "/run/token"))
        #expect(jobs[1].interval.milliseconds == 15_000 && jobs[1].timeout.milliseconds == 10_000)
        let targets = try ScrapeTarget.all(jobs)
        #expect(targets.map(\.host) == ["10.0.0.2", "::1", "app3", "127.0.0.1"])
        #expect(targets.map(\.port) == [8080, 8081, 443, 1])
        #expect(
            targets[0].labels
                == Labels([
                    "job": "app", "instance": "10.0.0.2:8080", "team": "web",
                    "host_name": "10.0.0.2",
                ]))
        #expect(targets[0].requestPath == "/internal/metrics?module=http_2xx&module=other&debug=on")
        #expect(targets[3].requestPath == "/metrics" && !targets[3].isTLS)
    }

    static let faults: [(text: String, error: String)] = [
        ("- {static_configs: [{targets: [a]}]}", "2:3: the key `job_name` is missing"),
        ("- {job_name: a}", "2:3: the key `static_configs` is missing"),
        (
            "- {job_name: a, statics: 1, static_configs: [{targets: [a]}]}",
            "2:17: unknown key `statics`"
        ),
        (
            "- {job_name: a, static_configs: [{targets: [http://a/x]}]}",
            "expected HOST:PORT, found `http://a/x`"
        ),
        (
            "- {job_name: a, scrape_interval: 5s, scrape_timeout: 6s, static_configs: []}",
            "2:54: `scrape_timeout`: expected a duration"
        ),
        (
            "- {job_name: a, basic_auth: {username: u, password: p}, static_configs: [{targets: [a]}]}",
            "2:43: unknown key `password`; expected one of username, password_file"
        ),
        (
            "- {job_name: a, basic_auth: {username: u}, authorization: {credentials_file: /x}}",
            "at most one of"
        ),
        (
            "- {job_name: a, authorization: {credentials: secret}, static_configs: [{targets: [a]}]}",
            "the key `credentials_file` is missing"
        ),
        (
            "- {job_name: a, tls_config: {cert_file: /x}, static_configs: [{targets: [a]}]}",
            "cert_file and key_file go together"
        ),
        (
            "- {job_name: a, body_size_limit: 17MiB, static_configs: [{targets: [a]}]}",
            "`body_size_limit`: expected"
        ),
        (
            "- {job_name: a, fallback_scrape_protocol: PrometheusProto}",
            "expected one of PrometheusText0.0.4"
        ),
        (
            "- {job_name: a, static_configs: [{targets: [a]}], relabel_configs: [{regex: '('}]}",
            "`regex`: missing closing )"
        ),
        (
            "- {job_name: a, static_configs: [{targets: [a]}], relabel_configs: [{action: hashmod}]}",
            "expected one of replace, keep, drop"
        ),
        (
            "- {job_name: a, static_configs: [{targets: [a]}], relabel_configs: [{regex: a}]}",
            "the action `replace` needs a `target_label`"
        ),
        (
            "- {job_name: a, static_configs: [{targets: [a]}], metric_relabel_configs: [{action: labeldrop, source_labels: [a]}]}",
            "the action `labeldrop` takes `regex` alone"
        ),
        (
            "- {job_name: a, static_configs: [{targets: [a]}]}\n- {job_name: a, static_configs: [{targets: [b]}]}",
            "`a` is listed twice"
        ),
    ]

    @Test("what is wrong is said with its place", arguments: faults)
    func wrong(_ text: String, _ error: String) throws {
        let found = #expect(throws: YAMLError.self) { try Self.jobs("scrape:\n" + text) }
        #expect(found?.description.contains(error) ?? false, "\(String(describing: found))")
    }

    @Test("more targets than an agent takes")
    func many() {
        let list = (0...ScrapeLimits.targetsMax).map { "h\($0)" }.joined(separator: ", ")
        let error = #expect(throws: YAMLError.self) {
            try Self.jobs("scrape: [{job_name: a, static_configs: [{targets: [\(list)]}]}]")
        }
        #expect(error?.description.contains("101 targets") ?? false)
    }

    @Test("relabeling may move, drop and rename a target")
    func relabeled() throws {
        let targets = try Self.targets(
            """
            scrape:
              - job_name: probe
                params: {module: [icmp]}
                static_configs: [{targets: ["a:1", "b:2", "drop-me:3"], labels: {job: own}}]
                relabel_configs:
                  - {action: drop, source_labels: [__address__], regex: drop-me.*}
                  - {source_labels: [__address__], target_label: __param_target}
                  - {source_labels: [__address__], target_label: instance}
                  - {target_label: __address__, replacement: "127.0.0.1:9115"}
                  - {target_label: __metrics_path__, replacement: /probe}
                  - {target_label: __scrape_interval__, replacement: 1m}
                  - {target_label: __meta_gone, replacement: x}
            """)
        #expect(targets.map { $0.labels["instance"] } == ["a:1", "b:2"])
        #expect(targets[0].labels == Labels(["job": "own", "instance": "a:1"]))
        #expect(targets[0].requestPath == "/probe?module=icmp&target=a%3A1")
        #expect(targets[0].port == 9115 && targets[0].intervalMilliseconds == 60_000)
        #expect(throws: TargetProblem.self) {
            try Self.targets("scrape: [{job_name: a, static_configs: [{targets: ['a:99999']}]}]")
        }
    }

    @Test(
        "a target's label that is the collector's, from the file or from relabeling",
        arguments: [
            "static_configs: [{targets: ['a:1'], labels: {host: x}}]",
            "static_configs: [{targets: ['a:1'], labels: {role: x}}]",
            "static_configs: [{targets: ['a:1']}], relabel_configs: [{target_label: host, replacement: x}]",
        ])
    func labelsOfCollector(_ keys: String) throws {
        let error = #expect(throws: TargetProblem.self) {
            try Self.targets("scrape: [{job_name: a, \(keys)}]")
        }
        #expect(error?.description.contains("is the collector's; name it otherwise") ?? false)
        #expect(error?.address == "a:1")
        // A label that the file has and relabeling takes away harms nobody.
        let targets = try Self.targets(
            """
            scrape:
              - job_name: a
                static_configs: [{targets: ['a:1'], labels: {host: x}}]
                relabel_configs: [{action: labeldrop, regex: host}]
            """)
        #expect(targets.count == 1)
    }

    @Test(
        "a path that relabeling leaves without a slash gets one",
        arguments: [("probe", "/probe"), ("", "/"), ("/a b", "/a%20b"), ("a?b", "/a%3Fb")])
    func path(_ replacement: String, _ path: String) throws {
        let targets = try Self.targets(
            """
            scrape:
              - job_name: a
                static_configs: [{targets: ['a:1']}]
                relabel_configs: [{target_label: __metrics_path__, replacement: '\(replacement)'}]
            """)
        #expect(targets.map(\.requestPath) == [path])
    }

    @Test("which targets a changed file scrapes as before")
    func changed() throws {
        let target = try #require(
            try Self.targets("scrape: [{job_name: a, static_configs: [{targets: [h]}]}]").first)
        let same = [
            "scrape: [{job_name: a, static_configs: [{targets: [h, i]}]}]",
            "scrape: [{job_name: a, scrape_interval: 15s, static_configs: [{targets: [h]}]}]",
            "scrape: [{job_name: b, static_configs: [{targets: [h]}]},"
                + " {job_name: a, static_configs: [{targets: [h]}]}]",
            "scrape: [{job_name: a, static_configs: [{targets: [h]}],"
                + " relabel_configs: [{target_label: job, replacement: a}]}]",
        ]
        let other = [
            "scrape_interval: 20s", "sample_limit: 5", "follow_redirects: false",
            "metric_relabel_configs: [{action: drop, regex: x}]", "params: {a: [b]}",
            "basic_auth: {username: x}", "tls_config: {server_name: x}", "scheme: https",
        ]
        for text in same {
            #expect(try Self.targets(text).contains { $0.isScraped(as: target) }, "\(text)")
        }
        for setting in other {
            let text = "scrape: [{job_name: a, \(setting), static_configs: [{targets: [h]}]}]"
            #expect(try Self.targets(text).allSatisfy { !$0.isScraped(as: target) }, "\(text)")
        }
    }

    @Test("targets of one interval spread over it; each keeps its place")
    func grid() throws {
        let list = (0..<40).map { "'10.0.0.\($0):9100'" }.joined(separator: ", ")
        let text = "scrape: [{job_name: a, static_configs: [{targets: [\(list)]}]}]"
        let targets = try Self.targets(text)
        let offsets = targets.map(\.offsetMilliseconds)
        #expect(offsets == (try Self.targets(text)).map(\.offsetMilliseconds))
        #expect(offsets.allSatisfy { (0..<15_000).contains($0) })
        // By chance 40 of them leave one of four quarters empty once in 25,000 times.
        #expect(Set(offsets.map { $0 / 3_750 }).count == 4)
        for target in targets {
            let grid = target.grid(from: TimestampMS(1_700_000_000_000))
            let next = grid.next(after: TimestampMS(1_700_000_000_123))
            #expect(next > TimestampMS(1_700_000_000_123))
            #expect(next.rawValue <= 1_700_000_000_123 + 15_000)
            #expect((next.rawValue - target.offsetMilliseconds) % 15_000 == 0)
            #expect(grid.next(after: next).rawValue == next.rawValue + 15_000)
        }
    }
}
