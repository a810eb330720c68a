import AgentRead
import Exposition
import LinearRegex
import Model
import Synchronization
import Testing
import YAMLDocument

@Suite("Metrics of log lines")
struct LogMetricsTests {
    private static func item(
        _ line: String, stream: Labels = ["source": "journal", "service_name": "app"]
    ) -> LogReadChunk.Item {
        let bytes = Array(line.utf8)
        let extracted = FieldExtractor.extract(bytes)
        return LogReadChunk.Item(
            stream: stream,
            entry: LogEntry(
                timestamp: TimestampNS(1), line: bytes, level: extracted.level,
                metadata: Labels(extracted.fields)))
    }

    /// The samples as text, without HELP and TYPE.
    private static func samples(_ metrics: LogMetrics) -> [String] {
        String(decoding: ExpositionWriter.text(metrics.families()), as: UTF8.self)
            .split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
    }

    private static func access(
        _ uri: String, status: Int = 200, host: String = "shop.example", method: String = "GET",
        duration: String = "0.02"
    ) -> LogReadChunk.Item {
        item(
            """
            {"level":"info","logger":"http.log.access.log0","request":{"method":"\(method)",\
            "host":"\(host)","uri":"\(uri)"},"duration":\(duration),"status":\(status)}
            """)
    }

    @Test("Caddy's access lines by status, site, method and route")
    func caddy() {
        let metrics = LogMetrics()
        metrics.observe([
            Self.access("/orders/1?x=y"), Self.access("/orders/2", host: "Shop.example:443"),
            Self.access("/orders/3", status: 500, duration: "\"1.5s\""),
            Self.access("/wp-login.php", status: 404, host: "1.2.3.4", method: "PROPFIND"),
            Self.access("/orders/4", status: 404),
            Self.item("{\"logger\":\"http.log.error\",\"status\":200,\"x\":\"http.log.access\"}"),
            Self.item("http.log.access"),
        ])
        let samples = Self.samples(metrics)
        let name = "caddy_log_http_requests_total"
        #expect(
            samples.filter { $0.hasPrefix(name) } == [
                "\(name){code=\"200\",http_host=\"shop.example\",method=\"GET\",route=\"/orders/:id\"} 2",
                "\(name){code=\"404\",http_host=\"_other\",method=\"_other\",route=\"_other\"} 1",
                "\(name){code=\"404\",http_host=\"shop.example\",method=\"GET\",route=\"/orders/:id\"} 1",
                "\(name){code=\"500\",http_host=\"shop.example\",method=\"GET\",route=\"/orders/:id\"} 1",
            ])
        let time = "caddy_log_http_request_duration_seconds"
        let (site, route) = ("http_host=\"shop.example\"", "route=\"/orders/:id\"")
        for sample in [
            "\(time)_bucket{\(site),le=\"0.01\",\(route)} 0",
            "\(time)_bucket{\(site),le=\"0.025\",\(route)} 3",
            "\(time)_bucket{\(site),le=\"2.5\",\(route)} 4",
            "\(time)_bucket{\(site),le=\"+Inf\",\(route)} 4",
            "\(time)_sum{\(site),\(route)} 1.56", "\(time)_count{\(site),\(route)} 4",
        ] {
            #expect(samples.contains(sample), "\(sample) in \(samples)")
        }
    }

    @Test(
        "routes",
        arguments: [
            ("/", "/"), ("/a/b?c=/d", "/a/b"), ("/a/12/b", "/a/:id/b"),
            ("/u/550e8400-e29b-41d4-a716-446655440000", "/u/:id"), ("/c/deadbeef01", "/c/:id"),
            ("/c/deadbeef", "/c/deadbeef"), ("/s/app.3f2a.js", "/s/*.js"), ("/.env", "/.env"),
            ("/a/b/c/d/e/f/g", "/a/b/c/d/e/*"), ("/x/abcdefghijklmnopqrst1", "/x/:id"), ("*", "*"),
        ])
    func routes(uri: String, route: String) {
        let metrics = LogMetrics()
        metrics.observe([Self.access(uri)])
        #expect(Self.samples(metrics).contains { $0.contains("route=\"\(route)\"} 1") }, "\(uri)")
    }

    @Test(
        "what a user typed hides no failed login",
        arguments: [
            "http.log.access", String(repeating: "pwd=s ", count: 300), "Cookie: a=b",
            "password 'x", "password='x", "password:[\\\"x", "password:[a,", "password:['x",
            "'password':", "\\\"password\\\":", "password=Some(", "password=\\\"x",
            "password \\\"x", "Cookie:[\\\"x", "--password ", "identified by '", "a://b:c",
            "token=$a$", "password $$", "pass=\\\\", "4111111111111111",
            "a\\\",\\\"password\\\":\\\"b",
        ])
    func hidden(typed: String) {
        let metrics = LogMetrics()
        var item = Self.item(
            """
             {"action":"login_failed","context":{"username":"\(typed)"},\
            "event":"Created Event","logger":"authentik.events.models"}
            """)
        LineRedactor().redact(&item.entry)
        #expect(item.entry.metadata["result"] == "failure")
        metrics.observe([item])
        let labels = "mfa=\"false\",provider=\"authentik\",result=\"failure\""
        #expect(Self.samples(metrics).contains("authentik_log_logins_total{\(labels)} 1"))
    }

    @Test("a counter has 1,000 series and a histogram 200; later ones are one")
    func seriesBounds() throws {
        let metrics = LogMetrics(
            try Self.read(
                """
                metrics:
                  rules:
                    - {name: c, labels: {x: x, y: y}}
                    - {name: h, type: histogram, value: v, buckets: [1], labels: {x: x, y: y}}
                """))
        for x in 0..<50 { metrics.observe((0..<30).map { Self.item("v=1 x=a\(x) y=b\($0)") }) }
        let samples = Self.samples(metrics)
        let (counters, histograms) = (
            samples.filter { $0.hasPrefix("c{") }, samples.filter { $0.hasPrefix("h_count{") }
        )
        #expect(counters.count == 1001)
        #expect(counters.contains("c{x=\"_other\",y=\"_other\"} 500"))
        #expect(histograms.count == 201)
        #expect(histograms.contains("h_count{x=\"_other\",y=\"_other\"} 1300"))
        #expect(samples.contains("h_sum{x=\"_other\",y=\"_other\"} 1300"))
    }

    @Test("a label's value has 128 bytes; a longer one is another")
    func valueBound() throws {
        let metrics = LogMetrics(try Self.read("{metrics: {rules: [{name: c, labels: {x: x}}]}}"))
        let fits = String(repeating: "a", count: 128)
        metrics.observe([Self.item("x=\(fits)"), Self.item("x=\(fits)a"), Self.item("y=1")])
        #expect(
            Self.samples(metrics) == ["c 1", "c{x=\"_other\"} 1", "c{x=\"\(fits)\"} 1"])
    }

    @Test("a change keeps the counts of rules that count as before, and of groups that stay")
    func change() throws {
        let metrics = LogMetrics(
            try Self.read(
                """
                metrics:
                  rules:
                    - {name: stays, help: A., regex: "^x"}
                    - {name: changes, regex: "^x"}
                    - {name: goes}
                """))
        metrics.observe([Self.item("x"), Self.access("/a")])
        metrics.change(
            to: try Self.read(
                """
                metrics:
                  rules:
                    - {name: comes}
                    - {name: changes, regex: "y"}
                    - {name: stays, help: B., regex: "^x"}
                """))
        metrics.observe([Self.item("x y")])
        let own = ["changes", "comes", "goes", "stays"]
        let samples = Self.samples(metrics)
        #expect(
            samples.filter { line in own.contains { line.hasPrefix($0 + " ") } }.sorted()
                == ["changes 1", "comes 1", "stays 2"])
        #expect(samples.contains { $0.hasPrefix("caddy_log_http_requests_total{") })
        #expect(metrics.families().first { $0.name == "stays" }?.metadata.help == "B.")
        metrics.change(to: try Self.read("{metrics: {disable: [caddy]}}"))
        metrics.observe([Self.access("/a")])
        #expect(Self.samples(metrics).isEmpty)
    }

    @Test("members beyond 256, and what stands behind 64 KiB, are not found")
    func lineBounds() throws {
        let metrics = LogMetrics(try Self.read("{metrics: {rules: [{name: c, labels: {x: zz}}]}}"))
        func line(_ members: Int, _ padding: Int = 0) -> LogReadChunk.Item {
            let others = (0..<members).map {
                "\"m\($0)\":\"\(String(repeating: "p", count: padding))\","
            }
            return Self.item("{\(others.joined())\"zz\":\"v\"}")
        }
        metrics.observe([line(255), line(256), line(1, 1000), line(1, 64 << 10)])
        #expect(Self.samples(metrics) == ["c 2", "c{x=\"v\"} 2"])
    }

    @Test(
        "lengths of time in seconds, as Go writes them too",
        arguments: [
            ("1.5", 1.5), ("250ms", 0.25), ("1m2.5s", 62.5), ("1h0m0s", 3600), ("3µs", 3e-6),
            ("2h45m30.25s", 9930.25), ("1e3", 1000), ("5min", 300), ("0s", 0),
            ("1m2", nil), ("1 m", nil), ("1x", nil), ("", nil), ("s", nil), ("1h-2m", nil),
            ("inf", nil), ("1e999", nil), ("--1", nil),
        ] as [(String, Double?)])
    func durations(text: String, seconds: Double?) throws {
        let metrics = LogMetrics(
            try Self.read("{metrics: {rules: [{name: c, value: v}]}}"))
        metrics.observe([Self.item("{\"v\":\"\(text)\"}")])
        let families = metrics.families()
        #expect(families.first { $0.name == "c" }?.points.first?.value == seconds)
        let unread = families.first { $0.name == "petrel_agent_log_metric_unread_total" }
        #expect(unread?.points.first?.value == (seconds == nil ? 1 : 0))
    }

    @Test("a number below zero is observed and counts for no counter")
    func negative() throws {
        let metrics = LogMetrics(
            try Self.read(
                """
                metrics:
                  rules:
                    - {name: c, value: v}
                    - {name: h, type: histogram, value: v, buckets: [0]}
                """))
        metrics.observe([Self.item("v=-1m30s")])
        #expect(
            Self.samples(metrics) == [
                "h_bucket{le=\"0\"} 1", "h_bucket{le=\"+Inf\"} 1", "h_sum -90", "h_count 1",
                "petrel_agent_log_metric_unread_total{rule=\"c\"} 1",
                "petrel_agent_log_metric_unread_total{rule=\"h\"} 0",
            ])
    }

    @Test("a label has 100 values, later ones are one")
    func bound() {
        let metrics = LogMetrics()
        let letters = Array("abcdefghijklmnopqrstuvwxyz")
        let names: [String] = (0..<300).map { (index: Int) -> String in
            "\(letters[index / 26])\(letters[index % 26])"
        }
        metrics.observe(names.map { Self.access("/\($0)") })
        let samples = Self.samples(metrics).filter { $0.hasPrefix("caddy_log_http_requests") }
        #expect(samples.count == 101)
        #expect(samples.contains { $0.hasSuffix("route=\"_other\"} 200") })
    }

    @Test("Authentik's logins by provider, method, second factor and result")
    func authentik() {
        let devices =
            "{\"mfa_devices\":[{\"pk\":3,\"model_name\":\"totpdevice\"},{\"model_name\":\"webauthndevice\"}]}"
        func event(_ action: String, _ context: String) -> LogReadChunk.Item {
            Self.item(
                """
                {"action":"\(action)","context":\(context),"event":"Created Event","level":"info",\
                "logger":"authentik.events.models","user":{"pk":5,"username":"alice"}}
                """)
        }
        let metrics = LogMetrics()
        metrics.observe([
            event("login", "{\"auth_method\":\"password\",\"auth_method_args\":\(devices)}"),
            event("login", "{\"source\":{\"name\":\"GitHub\"}}"),
            event("login_failed", "{\"username\":\"x\",\"device_class\":\"totp\"}"),
            event("login_failed", "{\"username\":\"x\"}"),
            event("logout", "{}"),
            Self.item("{\"event\":\"Created Event\",\"action\":\"login\",\"logger\":\"other\"}"),
        ])
        let name = "authentik_log_logins_total"
        #expect(
            Self.samples(metrics) == [
                "authentik_log_events_total{action=\"login\"} 2",
                "authentik_log_events_total{action=\"login_failed\"} 2",
                "authentik_log_events_total{action=\"logout\"} 1",
                "\(name){method=\"password\",mfa=\"true\",provider=\"authentik\",result=\"success\"} 1",
                "\(name){mfa=\"false\",provider=\"GitHub\",result=\"success\"} 1",
                "\(name){mfa=\"false\",provider=\"authentik\",result=\"failure\"} 1",
                "\(name){mfa=\"true\",provider=\"authentik\",result=\"failure\"} 1",
                "authentik_log_mfa_total{device=\"totp\",result=\"failure\"} 1",
                "authentik_log_mfa_total{device=\"totp\",result=\"success\"} 1",
                "authentik_log_mfa_total{device=\"webauthn\",result=\"success\"} 1",
            ])
    }

    private static func read(_ text: String) throws -> LogMetricsConfiguration {
        var logs = try YAMLMapping.parse(text, file: "agent.yaml")
        var configuration = LogMetricsConfiguration()
        try configuration.read(&logs)
        try logs.finish()
        return configuration
    }

    @Test("metrics of the user's own, by fields and groups")
    func ownRules() throws {
        let metrics = LogMetrics(
            try Self.read(
                """
                metrics:
                  disable: [caddy, authentik]
                  rules:
                    - name: app_jobs_total
                      help: Jobs done.
                      match: {service: app, level: info, fields: {action: job, meta.kind: mail}}
                      labels: {outcome: result, queue: meta.queue}
                    - name: app_sent_bytes_total
                      match: {source: journal}
                      regex: 'sent (?P<bytes>[0-9]+) bytes'
                      value: bytes
                    - name: app_wait_seconds
                      type: histogram
                      value: wait
                      buckets: [0.1, 1]
                      labels: {tier: tier}
                """))
        let job =
            "{\"level\":\"info\",\"action\":\"job\",\"result\":\"ok\",\"meta\":{\"kind\":\"mail\",\"queue\":\"fast\"}}"
        metrics.observe([
            Self.item(job), Self.item(job),
            Self.item(job, stream: ["source": "journal", "service_name": "other"]),
            Self.item(job.replacing("info", with: "warn")),
            Self.item(job.replacing("mail", with: "sms")), Self.access("/"),
            Self.item("sent 12 bytes"), Self.item("sent 30 bytes"), Self.item("sent x bytes"),
            Self.item("sent 5 bytes", stream: ["source": "file"]),
            Self.item("level=info wait=250ms tier=a"), Self.item("wait=0.1 tier=a"),
            Self.item("wait=3s tier=a"), Self.item("wait=soon tier=a"),
        ])
        #expect(
            Self.samples(metrics) == [
                "app_jobs_total{outcome=\"ok\",queue=\"fast\"} 2", "app_sent_bytes_total 42",
                "app_wait_seconds_bucket{le=\"0.1\",tier=\"a\"} 1",
                "app_wait_seconds_bucket{le=\"1\",tier=\"a\"} 2",
                "app_wait_seconds_bucket{le=\"+Inf\",tier=\"a\"} 3",
                "app_wait_seconds_sum{tier=\"a\"} 3.35", "app_wait_seconds_count{tier=\"a\"} 3",
                "petrel_agent_log_metric_unread_total{rule=\"app_sent_bytes_total\"} 0",
                "petrel_agent_log_metric_unread_total{rule=\"app_wait_seconds\"} 1",
            ])
        let families = metrics.families()
        #expect(families.first?.metadata == MetricMetadata(type: .counter, help: "Jobs done."))
    }

    @Test(
        "what the configuration refuses",
        arguments: [
            ("{disable: [x]}", "no group `x`; there are authentik, caddy"),
            ("{rules: [{}]}", "`name` is missing"),
            ("{rules: [{name: 'a b'}]}", "found `a b`"),
            ("{rules: [{name: petrel_x}]}", "the agent itself may have"),
            ("{rules: [{name: a}, {name: a}]}", "a metric `a` already"),
            (
                "{rules: [{name: x, type: histogram, value: v}, {name: x_count}]}",
                "a metric `x_count` already"
            ),
            (
                "{rules: [{name: x_bucket}, {name: x, type: histogram, value: v}]}",
                "a metric `x_bucket` already"
            ),
            ("{rules: [{name: up}]}", "the agent itself may have"),
            (
                "{rules: [\((0..<51).map { "{name: a\($0)}" }.joined(separator: ","))]}",
                "at most 50, found 51"
            ),
            (
                "{rules: [{name: a, labels: {\((0..<9).map { "l\($0): x" }.joined(separator: ","))}}]}",
                "at most 8, found 9"
            ),
            (
                "{rules: [{name: a, type: histogram, value: v, buckets: \(Array(1...31))}]}",
                "expected 1 to 30 bounds, found 31"
            ),
            ("{rules: [{name: a, type: gauge}]}", "one of counter, histogram"),
            ("{rules: [{name: a, type: histogram}]}", "needs `value`"),
            ("{rules: [{name: a, buckets: [1]}]}", "a counter has no buckets"),
            ("{rules: [{name: a, type: histogram, value: v, buckets: [2, 1]}]}", "found `1`"),
            ("{rules: [{name: a, type: histogram, value: v, buckets: []}]}", "found 0"),
            ("{rules: [{name: a, labels: {host: x}}]}", "no label can be called `host`"),
            ("{rules: [{name: a, labels: {x: }}]}", "needs a field or a group"),
            ("{rules: [{name: a, regex: '(a)'}]}", "each group needs a name"),
            ("{rules: [{name: a, regex: '('}]}", "missing closing )"),
            ("{rules: [{name: a, match: {level: warning}}]}", "one of trace, debug, info, warn"),
            ("{rules: [{name: a, match: {units: x}}]}", "did you mean `unit`"),
        ])
    func refused(text: String, part: String) {
        let error = #expect(throws: YAMLError.self) { try Self.read("metrics: " + text) }
        #expect("\(error.map { "\($0)" } ?? "")".contains(part), "\(error.map { "\($0)" } ?? "")")
    }

    @Test("any bytes are read without harm", arguments: [UInt64(11), 12])
    func anyBytes(seed: UInt64) throws {
        let metrics = LogMetrics(
            try Self.read(
                """
                metrics:
                  rules:
                    - {name: a, labels: {x: user.id, y: request}, value: level}
                    - {name: b, regex: '(?P<x>4+)', labels: {x: x}}
                """))
        var dice = LineDice(seed: seed)
        for _ in 0..<1500 {
            let body = String(decoding: dice.line(), as: UTF8.self)
            metrics.observe([
                Self.item("{\"logger\":\"http.log.access\",\"status\":200,\"request\":{\"" + body),
                Self.item(
                    "{\"event\":\"Created Event\",\"logger\":\"authentik.\",\"context\":" + body),
                Self.item(body),
            ])
        }
        for family in metrics.families() { #expect(family.points.count <= 3000) }
    }

    @Test("redaction lets a chunk grow by 256 KiB and a mark a line at most")
    func growth() {
        let line = String(repeating: "pwd=s ", count: 100)
        let items = (0..<400).map { _ in Self.item(line) }
        var chunk = LogReadChunk(items: items, position: SourcePosition(source: "x", bytes: []))
        LogRefinement().refine(&chunk)
        let grown = chunk.items.reduce(0) { $0 + $1.entry.line.count - line.utf8.count }
        #expect(grown > LogRefinement.growthBytesMax / 2)
        #expect(grown < LogRefinement.growthBytesMax + 100 * 24 + 400 * 24)
        for item in chunk.items {
            #expect(!String(decoding: item.entry.line, as: UTF8.self).contains("=s"))
        }
    }

    @Test("a source's lines are redacted before metrics are made of them")
    func refinement() throws {
        let rules = try Self.read(
            "{metrics: {rules: [{name: a, regex: 'password=(?P<p>[^ ]+)', labels: {p: p}}]}}")
        let refinement = LogRefinement(metrics: rules)
        let source = RefinedLogSource(
            ListedSource([Self.item("password=hunter2 x"), Self.item("plain")]), refinement)
        #expect(source.source == "list" && source.problems == ["one"] && source.isEmpty)
        let chunk = try #require(try source.next(max: 10, waitMilliseconds: 0))
        #expect(
            chunk.items.map { String(decoding: $0.entry.line, as: UTF8.self) } == [
                "password=[redacted:password] x", "plain",
            ])
        #expect(chunk.position == SourcePosition(source: "list", bytes: [1]))
        #expect(try source.next(max: 10, waitMilliseconds: 0) == nil)
        let text = String(decoding: ExpositionWriter.text(refinement.families()), as: UTF8.self)
        #expect(text.contains("a{p=\"[redacted:password]\"} 1"))
        #expect(text.contains("petrel_agent_log_redactions_total{rule=\"password\"} 1"))
    }
}

/// A source that has one chunk.
private final class ListedSource: LogSource {
    let source = "list"
    let problems = ["one"]
    let isEmpty = true
    private let items: Mutex<[LogReadChunk.Item]>

    init(_ items: [LogReadChunk.Item]) { self.items = Mutex(items) }

    func next(max: Int, waitMilliseconds: Int) throws(ReadError) -> LogReadChunk? {
        let taken = items.withLock { items in
            defer { items = [] }
            return items
        }
        guard !taken.isEmpty else { return nil }
        return LogReadChunk(
            items: taken, position: SourcePosition(source: source, bytes: [1]))
    }
}
