import CollectorWeb
import Gzip
import Model
import Storage
import Synchronization
import Testing

/// Parts of one text: long sums of literals take the compiler long.
private func text(_ parts: String...) -> String { parts.joined() }

/// Rules, targets, status, administration, trees of queries and federation, byte for byte.
@Suite("Prometheus API: pages")
struct PrometheusPagesTests {
    private static let alerting =
        text(
            #"{"state":"firing","name":"Down","query":"up == 0","duration":30,"keepFiringFor":0,"#,
            #""labels":{"severity":"page"},"annotations":{},"alerts":[{"labels":{"alertname":"Down","#,
            #""host":"a"},"annotations":{"summary":"a is down"},"state":"firing","#,
            #""activeAt":"2026-01-02T03:03:20.500Z","value":"1e+00"}],"health":"ok","#,
            #""evaluationTime":0.001,"lastEvaluation":"2026-01-02T03:04:00Z","type":"alerting"}"#)
    private static let recording =
        text(
            #"{"name":"up:sum","query":"sum(up)","labels":{},"health":"unknown","evaluationTime":0,"#,
            #""lastEvaluation":"0001-01-01T00:00:00Z","type":"recording"}"#)

    private static func group(_ rules: String) -> String {
        #"{"status":"success","data":{"groups":[{"name":"g","file":"f","rules":["# + rules
            + text(
                #"],"interval":15,"limit":0,"evaluationTime":0,"#,
                #""lastEvaluation":"0001-01-01T00:00:00Z"}]}}"#)
    }
    private static let none = #"{"status":"success","data":{"groups":[]}}"#

    @Test(
        "rules and their filters",
        arguments: [
            ("", group(alerting + "," + recording)), ("?type=alert", group(alerting)),
            ("?type=record", group(recording)), ("?rule_name[]=up:sum", group(recording)),
            ("?rule_group[]=h", none), ("?file[]=f&rule_name[]=Down", group(alerting)),
            ("?match[]={severity=%22page%22}", group(alerting)),
            ("?match[]={severity=~%22p.%2B%22}&match[]={x=%22y%22}", group(alerting)),
            ("?match[]={severity=%22x%22}", none),
            ("?group_limit=1", group(alerting + "," + recording)),
        ])
    func rules(query: String, body: String) async throws {
        let answer = try await FakeCollector.ask("GET /prometheus/api/v1/rules\(query)")
        #expect(answer.body == body)
    }

    @Test("alerts are left out where they are not wanted")
    func excludingAlerts() async throws {
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/rules?exclude_alerts=true")
        #expect(answer.body.contains(#""alerts":[]"#))
    }

    @Test("pages of groups follow each other by their tokens until there is none")
    func paging() async throws {
        let groups = ["a", "b", "c"].map { name in
            var group = FakeCollector.group
            group.name = name
            return group
        }
        let site = FakeCollector.site(ruleGroups: groups)
        var token = ""
        var names: [String] = []
        for _ in 0..<3 {
            let answer = try await FakeCollector.ask(
                "GET /prometheus/api/v1/rules?type=record&group_limit=1"
                    + (token.isEmpty ? "" : "&group_next_token=\(token)"), site: site)
            names += ["a", "b", "c"].filter { answer.body.contains(#""name":"\#($0)","file""#) }
            token =
                answer.body.split(separator: #""groupNextToken":""#, maxSplits: 1).dropFirst()
                .first.map { String($0.prefix { $0 != "\"" }) } ?? ""
        }
        #expect(names == ["a", "b", "c"])
        #expect(token.isEmpty)
    }

    @Test(
        "targets are the agents",
        arguments: [
            ("state=active", true, true), ("state=dropped", false, false),
            ("scrapePool=petrel-agent", true, true), ("scrapePool=other", false, false),
        ])
    func targets(query: String, hasUp: Bool, hasDown: Bool) async throws {
        let answer = try await FakeCollector.ask("GET /prometheus/api/v1/targets?\(query)")
        let up =
            text(
                #"{"discoveredLabels":{"__address__":"h1","__meta_petrel_agent_version":"1.0","#,
                #""__scheme__":"petrel","__scrape_interval__":"15s","job":"petrel-agent"},"#,
                #""labels":{"host":"h1","instance":"h1","job":"petrel-agent"},"#,
                #""scrapePool":"petrel-agent","scrapeUrl":"petrel://h1/","globalUrl":"petrel://h1/","#,
                #""lastError":"","lastScrape":"2026-01-02T03:04:00Z","lastScrapeDuration":0,"#,
                #""health":"up","scrapeInterval":"15s","scrapeTimeout":"15s"}"#)
        #expect(answer.body.contains(up) == hasUp)
        #expect(answer.body.contains(#""health":"down""#) == hasDown)
        #expect(
            answer.body.hasSuffix(
                #""droppedTargets":[],"droppedTargetCounts":{"petrel-agent":0}}}"#))
    }

    @Test(
        "pages",
        arguments: [
            (
                "targets/metadata?match_target={host=%22h1%22}",
                #"{"status":"success","data":[]}"#
            ),
            ("scrape_pools", #"{"status":"success","data":{"scrapePools":["petrel-agent"]}}"#),
            (
                "scrape_pools/config?scrapePool=petrel-agent",
                text(
                    #"{"status":"success","data":{"yaml":"job_name: petrel-agent\nscrape_interval: 15s\n"#,
                    #"scrape_timeout: 15s\n"}}"#)
            ),
            (
                "targets/relabel_steps?scrapePool=petrel-agent&labels={}",
                #"{"status":"success","data":{"steps":[]}}"#
            ),
            (
                "status/config",
                #"{"status":"success","data":{"yaml":"global:\n  scrape_interval: 15s\n"}}"#
            ),
            ("status/flags", #"{"status":"success","data":{"query.timeout":"2m"}}"#),
            (
                "status/runtimeinfo",
                text(
                    #"{"status":"success","data":{"startTime":"2026-01-02T03:00:00Z","CWD":"/data","#,
                    #""hostname":"watch","serverTime":"2026-01-02T03:04:05Z","reloadConfigSuccess":true,"#,
                    #""lastConfigTime":"2026-01-02T03:00:00Z","corruptionCount":0,"goroutineCount":0,"#,
                    #""GOMAXPROCS":2,"GOMEMLIMIT":9223372036854775807,"GOGC":"","GODEBUG":"","#,
                    #""storageRetention":"30d"}}"#)
            ),
            (
                "status/tsdb?limit=1",
                text(
                    #"{"status":"success","data":{"headStats":{"numSeries":2,"numLabelPairs":3,"#,
                    #""chunkCount":0,"minTime":9223372036854775807,"maxTime":-9223372036854775808},"#,
                    #""seriesCountByMetricName":[{"name":"up","value":2}],"#,
                    #""labelValueCountByLabelName":[{"name":"host","value":2}],"#,
                    #""memoryInBytesByLabelName":[{"name":"host","value":5}],"#,
                    #""seriesCountByLabelValuePair":[{"name":"__name__=up","value":2}]}}"#)
            ),
            ("status/tsdb/blocks", #"{"status":"success","data":{"blocks":[]}}"#),
            ("status/walreplay", #"{"status":"success","data":{"min":0,"max":0,"current":0}}"#),
            (
                "status/self_metrics?metric_name_pattern=petrel_.*",
                text(
                    #"{"status":"success","data":[{"name":"petrel_up","help":"One.","type":"GAUGE","#,
                    #""metric":[{"label":[],"gauge":{"value":1}}]}]}"#)
            ),
            ("status/self_metrics?metric_name_pattern=up", #"{"status":"success","data":[]}"#),
        ])
    func pages(path: String, body: String) async throws {
        let answer = try await FakeCollector.ask("GET /prometheus/api/v1/\(path)")
        #expect(answer.status == 200)
        #expect(answer.body == body)
    }

    @Test(
        "trees of queries",
        arguments: [
            ("1", #"{"type":"numberLiteral","val":"1"}"#),
            (#""a""#, #"{"type":"stringLiteral","val":"a"}"#),
            (
                #"up{job="a"} offset 5m"#,
                text(
                    #"{"anchored":false,"matchers":[{"name":"job","type":"=","value":"a"},"#,
                    #"{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":300000,"#,
                    #""offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"#,
                    #""type":"vectorSelector"}"#)
            ),
            (
                "rate(up[5m] @ 1.5)",
                text(
                    #"{"args":[{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"#,
                    #""name":"up","offset":0,"offsetExpr":null,"range":300000,"rangeExpr":null,"#,
                    #""smoothed":false,"startOrEnd":null,"timestamp":1500,"type":"matrixSelector"}],"#,
                    #""func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},"#,
                    #""type":"call"}"#)
            ),
            (
                "-sum by (a) (vector(1))",
                text(
                    #"{"expr":{"expr":{"args":[{"type":"numberLiteral","val":"1"}],"func":{"argTypes":["#,
                    #""scalar"],"name":"vector","returnType":"vector","variadic":0},"type":"call"},"#,
                    #""grouping":["a"],"op":"sum","param":null,"type":"aggregation","without":false},"#,
                    #""op":"-","type":"unaryExpr"}"#)
            ),
            (
                "(1 < bool 2)",
                text(
                    #"{"expr":{"bool":true,"lhs":{"type":"numberLiteral","val":"1"},"matching":null,"#,
                    #""op":"\u003c","rhs":{"type":"numberLiteral","val":"2"},"type":"binaryExpr"},"#,
                    #""type":"parenExpr"}"#)
            ),
            (
                "vector(1)[1h:5m * 2] @ end()",
                text(
                    #"{"expr":{"args":[{"type":"numberLiteral","val":"1"}],"func":{"argTypes":["scalar"],"#,
                    #""name":"vector","returnType":"vector","variadic":0},"type":"call"},"offset":0,"#,
                    #""offsetExpr":null,"range":3600000,"rangeExpr":null,"startOrEnd":"end","step":0,"#,
                    #""stepExpr":{"lhs":{"duration":true,"type":"numberLiteral","val":"300"},"op":"*","#,
                    #""rhs":{"duration":false,"type":"numberLiteral","val":"2"},"type":"durationExpr","#,
                    #""wrapped":false},"timestamp":null,"type":"subquery"}"#)
            ),
        ])
    func trees(query: String, tree: String) async throws {
        let answer = try await FakeCollector.ask(
            "POST /prometheus/api/v1/parse_query", form: "query=\(PercentCoding.encode(query))")
        #expect(answer.body == #"{"status":"success","data":"# + tree + "}")
    }

    @Test("a tree too deep to be shown is refused")
    func deepTree() async throws {
        let chain = Array(repeating: "1", count: 300).joined(separator: "%2B")
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/parse_query?query=\(chain)")
        #expect(answer.status == 422)
        #expect(answer.body.contains("nested deeper than 256 levels"))
    }

    @Test(
        "what can't be done is said, and nothing pretended",
        arguments: [
            ("admin/tsdb/delete_series", 400, "no match[] parameter provided"),
            ("admin/tsdb/delete_series?match[]={}", 400, "at least one non-empty matcher"),
            ("admin/tsdb/snapshot", 501, "pg_dump"), ("read", 501, "remote read is not offered"),
        ])
    func refusals(path: String, status: Int, text: String) async throws {
        let site = FakeCollector.site(configuration: Self.administered)
        let answer = try await FakeCollector.ask("POST /prometheus/api/v1/\(path)", site: site)
        #expect(answer.status == status)
        #expect(answer.body.contains(text))
        let foreign = try await FakeCollector.ask(
            "PUT /prometheus/api/v1/admin/tsdb/delete_series?match[]=up",
            headers: ["origin": "https://evil.example"], site: site)
        #expect(foreign.status == 403)
    }

    /// Of a proxy's name, and with administration switched on.
    private static let administered = WebConfiguration(
        hostNames: ["watch.example"], offersAdministration: true)

    @Test(
        "nothing is deleted unless it is switched on",
        arguments: ["delete_series?match[]=up", "clean_tombstones", "snapshot"])
    func administrationOff(action: String) async throws {
        let deleter = FakeSeriesDeleter()
        let answer = try await FakeCollector.ask(
            "POST /prometheus/api/v1/admin/tsdb/\(action)",
            site: FakeCollector.site(deleter: deleter))
        #expect(answer.status == 503)
        #expect(
            answer.body
                == #"{"status":"error","errorType":"unavailable","#
                + #""error":"admin APIs disabled: set http.admin to true in collector.yaml, "#
                + #"and restart the collector"}"#)
        #expect(deleter.scopes.withLock(\.isEmpty) && deleter.cleanings.withLock { $0 } == 0)
    }

    @Test("what is asked to be deleted or cleaned is")
    func deletion() async throws {
        let deleter = FakeSeriesDeleter()
        let site = FakeCollector.site(configuration: Self.administered, deleter: deleter)
        for range in ["&start=1&end=2", ""] {
            let answer = try await FakeCollector.ask(
                "PUT /prometheus/api/v1/admin/tsdb/delete_series?match[]=up\(range)", site: site)
            #expect(answer.status == 204)
        }
        let scopes = deleter.scopes.withLock { $0 }
        #expect(
            scopes.map(\.matcherSets)
                == [
                    [[LabelMatcher("__name__", .equal, "up")]],
                    [[LabelMatcher("__name__", .equal, "up")]],
                ])
        #expect(scopes.map(\.start.rawValue) == [1_000, .min])
        #expect(scopes.map(\.end.rawValue) == [2_000, .max])
        let cleaned = try await FakeCollector.ask(
            "POST /prometheus/api/v1/admin/tsdb/clean_tombstones", site: site)
        #expect(cleaned.status == 204)
        #expect(deleter.cleanings.withLock { $0 } == 1)
    }

    @Test(
        "what comes through a proxy may not delete",
        arguments: [
            ["host": "watch.example"], ["x-forwarded-for": "10.0.0.1"], ["x-real-ip": "10.0.0.1"],
            ["forwarded": "for=10.0.0.1"], ["via": "1.1 proxy"], ["x-forwarded-proto": "https"],
            ["x-forwarded-host": "watch.example"],
        ])
    func deletionThroughProxy(headers: [String: String]) async throws {
        let deleter = FakeSeriesDeleter()
        let site = FakeCollector.site(configuration: Self.administered, deleter: deleter)
        for action in ["delete_series?match[]=up", "clean_tombstones"] {
            let answer = try await FakeCollector.ask(
                "POST /prometheus/api/v1/admin/tsdb/\(action)", headers: headers, site: site)
            #expect(answer.status == 403)
            #expect(answer.body.contains("on the collector's own host alone"))
        }
        #expect(deleter.scopes.withLock(\.isEmpty) && deleter.cleanings.withLock { $0 } == 0)
    }

    @Test("federation has the newest sample of each series with its time")
    func federation() async throws {
        let site = FakeCollector.site(clock: MinuteClock())
        let answer = try await FakeCollector.ask(
            "GET /prometheus/federate?match[]=up&match[]=latency", site: site)
        #expect(
            answer.response.header("content-type") == "text/plain; version=0.0.4; charset=utf-8")
        #expect(
            answer.body
                == text(
                    "# TYPE up untyped\nup{host=\"a\",instance=\"\"} 0.1 60000\n",
                    "up{host=\"b<&>\",instance=\"\"} 0.1 60000\n"))
        #expect(try await FakeCollector.ask("GET /prometheus/federate", site: site).body.isEmpty)
        let bad = try await FakeCollector.ask("GET /prometheus/federate?match[]=up{", site: site)
        #expect(bad.status == 400)
        #expect(bad.body == "1:4: parse error: unexpected end of input inside braces\n")
    }

    private static let named: [(Labels, Double)] = [
        (["__name__": "a.b", "h.s": "1"], 1), (["__name__": "a.b", "h.s": "2", "h_s": "3"], 2),
        (["__name__": "a:b", "x:y": "z"], 3), (["__name__": "a_b", "h_s": "1"], 4),
        (["__name__": "1_\u{e9}", "__name_.": "x"], 5),
    ]

    /// Of what comes to one name under underscores the first is left, or what had that name.
    @Test(
        "names of any characters are for who asks for them",
        arguments: [
            ("", false), ("text/plain;version=0.0.4", false), ("escaping=allow-utf-8", false),
            ("text/plain;version=1.0.0;escaping=underscores", false),
            ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0", false),
            (
                "application/openmetrics-text;version=0.0.1;q=0.6,"
                    + "text/plain;version=1.0.0; escaping=allow-utf-8;q=0.5,*/*;q=0.1", true
            ),
            (#"text/plain; escaping="allow-utf-8""#, true),
        ])
    func federatedNames(accepted: String, areWhole: Bool) async throws {
        let columns = Self.named.map { labels, value in
            SeriesColumns(labels: labels, timestamps: [60_000], values: [value])
        }
        let answer = try await FakeCollector.ask(
            "GET /prometheus/federate?match[]={job=%22x%22}", headers: ["accept": accepted],
            site: FakeCollector.site(
                clock: MinuteClock(), metricReader: NamedSeries(columns: columns)))
        #expect(
            answer.response.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
                + (areWhole ? "; escaping=allow-utf-8" : ""))
        let whole = [
            "# TYPE \"1_\u{e9}\" untyped\n{\"1_\u{e9}\",\"__name_.\"=\"x\",instance=\"\"} 5 60000",
            "# TYPE \"a.b\" untyped\n{\"a.b\",\"h.s\"=\"1\",instance=\"\"} 1 60000",
            "{\"a.b\",\"h.s\"=\"2\",h_s=\"3\",instance=\"\"} 2 60000",
            "# TYPE a:b untyped\na:b{\"x:y\"=\"z\",instance=\"\"} 3 60000",
            "# TYPE a_b untyped\na_b{h_s=\"1\",instance=\"\"} 4 60000", "",
        ]
        let underscored = [
            "# TYPE ___ untyped\n___{instance=\"\"} 5 60000",
            "# TYPE a:b untyped\na:b{x_y=\"z\",instance=\"\"} 3 60000",
            "# TYPE a_b untyped\na_b{h_s=\"1\",instance=\"\"} 4 60000",
            "a_b{h_s=\"3\",instance=\"\"} 2 60000", "",
        ]
        #expect(answer.body == (areWhole ? whole : underscored).joined(separator: "\n"))
    }

    @Test(
        "what promtool and Grafana look for beside the API",
        arguments: [
            ("", 200, "<html"), ("-/healthy", 200, "ok\n"), ("-/ready", 200, "ready\n"),
            ("rules/test/test", 404, "page not found"),
        ])
    func beside(path: String, status: Int, text: String) async throws {
        let answer = try await FakeCollector.ask("GET /prometheus/\(path)")
        #expect(answer.status == status)
        #expect(answer.body.contains(text))
    }

    @Test(
        "long answers are compressed for who takes gzip",
        arguments: [
            ("gzip", true), ("deflate, gzip;q=0.5", true), ("*", true), ("gzip;q=0", false),
            ("br", false), ("", false), ("*;q=0, gzip", true), ("identity, *;q=0", false),
        ])
    func compression(accepted: String, isCompressed: Bool) async throws {
        let line =
            "GET /prometheus/api/v1/query_range?query=vector(1)&start=0&end=1000&step=1"
        let plain = try await FakeCollector.ask(line)
        let answer = try await FakeCollector.ask(line, headers: ["accept-encoding": accepted])
        #expect((answer.response.header("content-encoding") == "gzip") == isCompressed)
        let body =
            isCompressed
            ? try Gzip.decompress(answer.response.body, bytesMax: 1_000_000)
            : answer.response.body
        #expect(body == plain.response.body)
        let short = try await FakeCollector.ask(
            "GET /healthz", headers: ["accept-encoding": accepted])
        #expect(short.response.header("content-encoding") == nil)
    }
}
