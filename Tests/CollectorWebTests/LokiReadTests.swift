import CollectorQuery
import CollectorWeb
import LogQL
import Model
import Testing

/// What Drilldown, the editor and logcli read beside queries.
@Suite("Loki reading")
struct LokiReadTests {
    static let streams = [
        LogStream(
            labels: ["app": "web", "host": "a"],
            entries: [
                LogEntry(
                    timestamp: TimestampNS(5_000_000_000),
                    line: Array(#"{"a":{"b":1}}"#.utf8), level: "info",
                    metadata: ["trace_id": "t1"]),
                LogEntry(timestamp: TimestampNS(65_000_000_000), line: Array("took=3ms".utf8)),
            ]),
        LogStream(
            labels: ["app": "db", "host": "b"],
            entries: [LogEntry(timestamp: TimestampNS(66_000_000_000), line: Array("x".utf8))]),
    ]

    static func ask(_ path: String) async throws -> (status: Int, body: String) {
        let reader = StoredLogReader(streams)
        let answer = try await FakeCollector.ask(
            "GET /loki/api/v1/\(path)",
            site: FakeCollector.site(change: {
                $0.server.retention = "30d"
                $0.logs = LogQueryService(reader: reader, clock: FixedClock())
            }))
        return (answer.status, answer.body)
    }

    static let times = "start=0.0&end=120"
    static let all = "query=%7Bapp=~%22.%2B%22%7D&\(times)"

    @Test(
        "answers",
        arguments: [
            ("index/stats?\(all)", #"{"streams":2,"chunks":2,"entries":3,"bytes":22}"#),
            (
                "index/stats?query=%7B%7D&\(times)",
                #"{"streams":2,"chunks":2,"entries":3,"bytes":22}"#
            ),
            ("patterns?\(all)&step=10s", #"{"status":"success","data":[]}"#),
            (
                "detected_labels?query=&\(times)",
                #"{"detectedLabels":[{"label":"app","cardinality":2},{"label":"host","cardinality":2}]}"#
            ),
            (
                "detected_fields?\(all)",
                #"{"fields":[{"label":"a_b","type":"int","cardinality":1,"parsers":["json"],"jsonPath":["a","b"]},"#
                    + #"{"label":"detected_level","type":"string","cardinality":1,"parsers":null},"#
                    + #"{"label":"took","type":"duration","cardinality":1,"parsers":["logfmt"]},"#
                    + #"{"label":"trace_id","type":"string","cardinality":1,"parsers":null}],"limit":1000}"#
            ),
            ("detected_fields?\(all)&line_limit=1&limit=7", #"{"fields":[],"limit":7}"#),
            ("detected_fields?\(all)&line_limit=1&field_limit=7", #"{"fields":[],"limit":7}"#),
            ("detected_field/took/values?\(all)", #"{"values":["3ms"],"limit":1000}"#),
            ("detected_field/nosuch/values?\(all)", #"{"values":[],"limit":1000}"#),
            ("label/__stream_shard__/values?\(all)", #"{"status":"success","data":[]}"#),
        ])
    func answers(path: String, body: String) async throws {
        let answer = try await Self.ask(path)
        #expect(answer.status == 200)
        #expect(answer.body == body)
    }

    @Test(
        "the data of volumes",
        arguments: [
            (
                "index/volume?\(all)",
                #"{"resultType":"vector","result":[{"metric":{"app":"web"},"value":[120,"21"]},"#
                    + #"{"metric":{"app":"db"},"value":[120,"1"]}]"#
            ),
            (
                "index/volume?\(all)&limit=1",
                #"{"resultType":"vector","result":[{"metric":{"app":"web"},"value":[120,"21"]}]"#
            ),
            (
                "index/volume?\(all)&limit=0",
                #"{"resultType":"vector","result":[{"metric":{"app":"web"},"value":[120,"21"]},"#
            ),
            ("index/volume?\(all)&limit=6000", #"{"metric":{"app":"db"},"value":[120,"1"]}]"#),
            ("query_range?query=vector(1)&\(times)&limit=6000", #""resultType":"matrix""#),
            ("query?query=vector(1)&limit=6000", #""resultType":"vector""#),
            (
                "index/volume?\(all)&targetLabels=host,app",
                #""result":[{"metric":{"app":"web","host":"a"},"value":[120,"21"]},"#
            ),
            (
                "index/volume?\(all)&aggregateBy=labels",
                #""result":[{"metric":{"app":""},"value":[120,"22"]},{"metric":{"host":""},"value":[120,"22"]}]"#
            ),
            (
                "index/volume_range?\(all)&step=60",
                #"{"resultType":"matrix","result":[{"metric":{"app":"web"},"values":[[59.999,"13"],[120,"8"]]},"#
                    + #"{"metric":{"app":"db"},"values":[[120,"1"]]}]"#
            ),
            (
                "index/volume_range?\(all)&step=3600",
                #"{"resultType":"vector","result":[{"metric":{"app":"web"},"value":[120,"21"]},"#
            ),
            (
                "index/volume_range?query=%7Bapp=%22none%22%7D&\(times)&step=60",
                #"{"resultType":"vector","result":[]"#
            ),
        ])
    func volumes(path: String, part: String) async throws {
        let answer = try await Self.ask(path)
        #expect(answer.status == 200)
        #expect(answer.body.contains(part), "\(answer.body)")
    }

    @Test("Drilldown is given some of too many series, others an error")
    func tooManySeries() async throws {
        var limits = LogQueryLimits()
        limits.metric.seriesMax = 1
        let service = LogQueryService(
            reader: StoredLogReader(Self.streams), clock: FixedClock(), limits: limits)
        let query = PercentCoding.encode("sum by (app)(count_over_time({app=~\".+\"}[5m]))")
        for path in ["query?query=\(query)&time=120", "query_range?query=\(query)&\(Self.times)"] {
            for (tags, status) in [
                ("", 400), ("Source=grafana-lokiexplore-app", 200),
                ("a=b, source=Grafana-LokiExplore-App", 200), ("Source=grafana", 400),
            ] {
                let answer = try await FakeCollector.ask(
                    "GET /loki/api/v1/\(path)", headers: ["x-query-tags": tags],
                    site: FakeCollector.site(change: { $0.logs = service }))
                #expect(answer.status == status, "\(tags): \(answer.body)")
                let hasWarning = answer.body.contains(
                    #","warnings":["maximum number of series (1)"#)
                #expect(hasWarning == (status == 200))
            }
        }
    }

    @Test("limits as Drilldown reads them")
    func limits() async throws {
        let answer = try await Self.ask("drilldown-limits")
        #expect(answer.body.contains(#""max_entries_limit_per_query":5000,"max_query_series":500"#))
        #expect(answer.body.contains(#""retention_period":"30d","volume_enabled":true}"#))
        #expect(answer.body.hasSuffix(#""pattern_ingester_enabled":false,"version":"3.6.0"}"#))
        // The lists by which pushed lines are labelled.
        #expect(answer.body.contains(#""application","app_name","name""#))
        #expect(answer.body.contains(#""log_level_fields":["level","LEVEL""#))
    }

    @Test(
        "errors are plain text",
        arguments: [
            ("index/volume?\(times)", "parse error"),
            ("index/volume?\(all)&aggregateBy=x", "invalid aggregation option"),
            ("index/volume?query=%7Ba=%22b%22%7D%7C=%22x%22&\(times)", "only label matchers"),
            ("index/stats?query=%7Ba=~%22.*%22%7D", "queries require at least one"),
            ("index/stats?query=%7B%7D&start=5&end=4", "end timestamp must not be before"),
            ("index/stats?\(all)&step=0", "zero or negative"),
            ("detected_labels?start=5&end=4", "end timestamp must not be before"),
            ("detected_fields?\(all)&step=0", "zero or negative"),
            ("patterns?query=bad%7B&\(times)", "parse error"), ("patterns?\(times)", "parse error"),
            ("query_range?\(all)&limit=6000", "(6000 > 5000)"),
            ("index/volume_range?\(all)&step=0", "zero or negative"),
            ("index/volume_range?\(all)&step=1ms", "exceeded maximum resolution"),
            ("patterns?\(all)&step=1ms", "exceeded maximum resolution"),
            ("detected_fields?query=rate(%7Ba=%22b%22%7D[1m])", "only log selector"),
            ("detected_fields?\(all)&line_limit=6000", "(6000 > 5000)"),
            ("detected_fields?\(all)&limit=0", "limit must be a positive value"),
            ("detected_labels?query=%7Ba=", "parse error"),
            (
                "labels?start=1&since=abc",
                "could not parse 'since' parameter: not a valid duration string: \"abc\""
            ),
            ("series?match[]=%7B%7D&match[]=%7Ba=%22b%22%7D", "0 matchers in group: {}"),
            ("query?query=vector(1)&limit=x", "strconv.Atoi: parsing \"x\": invalid syntax"),
        ])
    func errors(path: String, text: String) async throws {
        let answer = try await Self.ask(path)
        #expect(answer.status == 400)
        #expect(answer.body.contains(text), "\(answer.body)")
    }

    @Test("Petrel's own parameters")
    func extensions() async throws {
        let plain = try await Self.ask("query_range?\(Self.all)&limit=1&direction=forward")
        #expect(!plain.body.contains("petrel"))
        let first = try await Self.ask(
            "query_range?\(Self.all)&limit=1&direction=forward&petrel_after=")
        #expect(first.body.contains(#"],"petrel":{"next":"5000000000_1"},"stats":{"#))
        let last = try await Self.ask(
            "query_range?\(Self.all)&limit=5&direction=forward&petrel_after=5000000000_1")
        #expect(last.body.contains("took=3ms"))
        #expect(!last.body.contains("t1"))
        #expect(last.body.contains(#"],"petrel":{},"stats":{"#))
        let context = try await Self.ask(
            "query_range?query=%7Bapp=%22web%22%7D%7C=%22took%22&\(Self.times)&petrel_context=1")
        #expect(context.body.contains(#""petrel_context":"before""#))
        let distinct = try await Self.ask(
            "query_range?\(Self.all)&petrel_distinct=app")
        #expect(distinct.body.contains("took=3ms"))
        #expect(!distinct.body.contains("t1"))
        for (parameter, text) in [
            ("petrel_after=x", "is no cursor"), ("petrel_context=x", "is no number"),
            ("petrel_context=1000", "between 0 and 100"),
        ] {
            let answer = try await Self.ask("query_range?\(Self.all)&\(parameter)")
            #expect(answer.status == 400)
            #expect(answer.body.contains(text))
        }
    }

    @Test("what is not there")
    func notFound() async throws {
        let ruler = try await FakeCollector.ask("GET /api/prom/rules/test/test")
        #expect(ruler.status == 404)
        #expect(ruler.body.contains("page not found"))
        #expect(try await Self.ask("rules").status == 404)
    }
}
