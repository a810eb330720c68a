import CollectorWeb
import Model
import Testing

/// Envelopes of the Prometheus API, byte for byte.
@Suite("Prometheus API")
struct PrometheusAPITests {
    @Test(
        "answers",
        arguments: [
            (
                "GET /prometheus/api/v1/query?query=1%2B1&time=4",
                #"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
            ),
            (
                "GET /prometheus/api/v1/query?query=%22hi%22&time=1.5",
                #"{"status":"success","data":{"resultType":"string","result":[1.500,"hi"]}}"#
            ),
            (
                "GET /prometheus/api/v1/query?query=up&time=60",
                #"{"status":"success","data":{"resultType":"vector","result":["#
                    + #"{"metric":{"__name__":"up","host":"a"},"value":[60,"0.1"]},"#
                    + #"{"metric":{"__name__":"up","host":"b\u003c\u0026\u003e"},"value":[60,"0.1"]}]}}"#
            ),
            (
                "GET /prometheus/api/v1/query?query=up&time=60&limit=1",
                #"{"status":"success","data":{"resultType":"vector","result":["#
                    + #"{"metric":{"__name__":"up","host":"a"},"value":[60,"0.1"]}]},"#
                    + #""warnings":["results truncated due to limit"]}"#
            ),
            (
                "GET /prometheus/api/v1/query?query=up{host=%22a%22}[1m]&time=1970-01-01T00:01:00Z",
                #"{"status":"success","data":{"resultType":"matrix","result":["#
                    + #"{"metric":{"__name__":"up","host":"a"},"values":["#
                    + #"[15,"1"],[30,"+Inf"],[45,"1e+21"],[60,"0.1"]]}]}}"#
            ),
            (
                "GET /prometheus/api/v1/query_range?query=up{host=%22a%22}&start=15&end=45&step=15s",
                #"{"status":"success","data":{"resultType":"matrix","result":["#
                    + #"{"metric":{"__name__":"up","host":"a"},"values":["#
                    + #"[15,"1"],[30,"+Inf"],[45,"1e+21"]]}]}}"#
            ),
            (
                "GET /prometheus/api/v1/query_range?query=vector(1)&start=0.1&end=0.6&step=0.5",
                #"{"status":"success","data":{"resultType":"matrix","result":["#
                    + #"{"metric":{},"values":[[0.100,"1"],[0.600,"1"]]}]}}"#
            ),
            (
                "GET /prometheus/api/v1/query?query=latency&time=60",
                #"{"status":"success","data":{"resultType":"vector","result":["#
                    + #"{"metric":{"__name__":"latency"},"histogram":[60,{"count":"8","sum":"1e+21","#
                    + #""buckets":[[1,"-4","-2","1"],[3,"-0.5","0.5","2"],[0,"1","2","3"],"#
                    + #"[0,"4","8","2"]]}]}]}}"#
            ),
            (
                "GET /prometheus/api/v1/query_range?query=latency*0&start=30&end=60&step=30",
                #"{"status":"success","data":{"resultType":"matrix","result":["#
                    + #"{"metric":{},"histograms":[[30,{"count":"0","sum":"0"}],"#
                    + #"[60,{"count":"0","sum":"0"}]]}]}}"#
            ),
            (
                "GET /prometheus/api/v1/query_exemplars?query=up&start=1767323045000&end=1767323046000",
                #"{"status":"success","data":[]}"#
            ),
            (
                "GET /prometheus/api/v1/labels?limit=1",
                #"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#
            ),
            (
                "GET /prometheus/api/v1/label/U__service_2e_name/values?match[]=up&match[]=x",
                #"{"status":"success","data":["service.name","2"]}"#
            ),
            (
                "GET /prometheus/api/v1/series?match[]=up&limit=0",
                #"{"status":"success","data":[{"__name__":"up","host":"a"},"#
                    + #"{"__name__":"up","host":"b\u003c\u0026\u003e"}]}"#
            ),
            (
                "GET /prometheus/api/v1/metadata",
                #"{"status":"success","data":{"up":[{"type":"gauge","help":"Is it up?","unit":""}]}}"#
            ),
            (
                "GET /prometheus/api/v1/format_query?query=sum(up)by(a)",
                #"{"status":"success","data":"sum by (a) (up)"}"#
            ),
            (
                "GET /prometheus/api/v1/metadata?limit=0",
                #"{"status":"success","data":{"up":[{"type":"gauge","help":"Is it up?","unit":""}]}}"#
            ),
            (
                "GET /prometheus/api/v1/alertmanagers",
                #"{"status":"success","data":{"activeAlertmanagers":[],"droppedAlertmanagers":[]}}"#
            ),
            ("GET /prometheus/api/v1/notifications", #"{"status":"success","data":[]}"#),
            (
                "GET /prometheus/api/v1/alerts",
                #"{"status":"success","data":{"alerts":[{"labels":{"alertname":"Down","host":"a"},"#
                    + #""annotations":{"summary":"a is down"},"state":"firing","#
                    + #""activeAt":"2026-01-02T03:03:20.500Z","value":"1e+00"}]}}"#
            ),
        ])
    func answers(line: String, body: String) async throws {
        let answer = try await FakeCollector.ask(line)
        #expect(answer.status == 200)
        #expect(answer.body == body)
        #expect(answer.response.header("content-type") == "application/json")
    }

    @Test(
        "errors",
        arguments: [
            (
                "query", 400, "bad_data",
                #"invalid parameter \"query\": 1:1: parse error: no expression found in input"#
            ),
            (
                "query?query=up&time=abc", 400, "bad_data",
                #"invalid parameter \"time\": invalid time value for 'time': cannot parse \"abc\" to a valid timestamp"#
            ),
            (
                "query?query=up&timeout=x", 400, "bad_data",
                #"invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"#
            ),
            (
                "query?query=up&limit=-1", 400, "bad_data",
                #"invalid parameter \"limit\": limit must be non-negative"#
            ),
            (
                "query_range?query=up&end=1&step=1", 400, "bad_data",
                #"invalid parameter \"start\": cannot parse \"\" to a valid timestamp"#
            ),
            (
                "query_range?query=up&start=2&end=1&step=1", 400, "bad_data",
                #"invalid parameter \"end\": end timestamp must not be before start time"#
            ),
            (
                "query_range?query=up&start=1&end=2&step=0", 400, "bad_data",
                #"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#
            ),
            (
                "query_range?query=up&start=0&end=11001&step=1", 400, "bad_data",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
            ),
            (
                "query_range?query=up[1m]&start=0&end=1&step=1", 400, "bad_data",
                #"invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"#
            ),
            ("series", 400, "bad_data", "no match[] parameter provided"),
            (
                "series?match[]={}", 400, "bad_data",
                #"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"#
            ),
            (
                "labels?match[]={a%3D~%22.*%22}", 400, "bad_data",
                "match[] must contain at least one non-empty matcher"
            ),
            (
                "labels?start=x", 400, "bad_data",
                #"invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp"#
            ),
            (
                "query?query=up&limit=99999999999999999999", 400, "bad_data",
                #"invalid parameter \"limit\": strconv.Atoi: parsing \"99999999999999999999\": value out of range"#
            ),
            (
                "query?query=up&lookback_delta=x", 400, "bad_data",
                #"error parsing lookback delta duration: cannot parse \"x\" to a valid duration"#
            ),
            (
                "query_range?query=up&start=1&end=2&step=1e300", 400, "bad_data",
                #"invalid parameter \"step\": cannot parse \"1e300\" to a valid duration. It overflows int64"#
            ),
            (
                "query_exemplars?query=up{&start=1&end=2", 400, "bad_data",
                "1:4: parse error: unexpected end of input inside braces"
            ),
            ("metadata?limit=x", 400, "bad_data", "limit must be a number"),
            ("metadata?limit_per_metric=x", 400, "bad_data", "limit_per_metric must be a number"),
            (
                "rules?type=x", 400, "bad_data",
                #"invalid parameter \"type\": not supported value \"x\""#
            ),
            (
                "rules?group_next_token=x", 400, "bad_data",
                #"invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups"#
            ),
            (
                "rules?group_limit=0", 400, "bad_data",
                #"invalid parameter \"group_limit\": group_limit needs to be greater than 0"#
            ),
            (
                "rules?group_limit=1&group_next_token=x", 400, "bad_data",
                #"invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?"#
            ),
            (
                "rules?exclude_alerts=x", 400, "bad_data",
                #"invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"x\": invalid syntax"#
            ),
            ("scrape_pools/config", 400, "bad_data", "no scrapePool parameter provided"),
            (
                "scrape_pools/config?scrapePool=x", 400, "bad_data",
                #"error retrieving scrape config: scrape pool \"x\" not found"#
            ),
            ("status/tsdb?limit=0", 400, "bad_data", "limit must be a positive number"),
            ("status/tsdb?limit=10001", 400, "bad_data", "limit must not exceed 10000"),
            (
                "query?query=up&timeout=0.000001", 503, "timeout",
                "query timed out in query execution"
            ),
            ("nonsense", 404, "not_found", "page not found: /prometheus/api/v1/nonsense"),
        ])
    func errors(path: String, status: Int, type: String, message: String) async throws {
        let target = path.contains("?") ? path + "&time=60" : path
        let answer = try await FakeCollector.ask("GET /prometheus/api/v1/\(target)")
        #expect(answer.status == status)
        #expect(
            answer.body
                == #"{"status":"error","errorType":"\#(type)","error":"\#(message)"}"#)
    }

    /// The newest sample is that of 60 s.
    @Test(
        "lookback_delta says how old a sample may be",
        arguments: [
            ("", true), ("&lookback_delta=30", false), ("&lookback_delta=40", false),
            ("&lookback_delta=40.001", true), ("&lookback_delta=60", true),
            ("&lookback_delta=1m", true), ("&lookback_delta=0", true), ("&lookback_delta=-5", true),
        ])
    func lookback(parameter: String, isFound: Bool) async throws {
        let site = FakeCollector.site()
        for (line, result) in [
            ("query?query=up{host=%22a%22}&time=100", #""value":[100,"0.1"]"#),
            (
                "query_range?query=up{host=%22a%22}&start=100&end=110&step=20",
                #""values":[[100,"0.1"]]"#
            ),
        ] {
            let path = "GET /prometheus/api/v1/\(line)"
            // What is kept of an answer is not taken for one with another delta.
            let usual = try await FakeCollector.ask(path, site: site)
            #expect(usual.body.contains(result))
            let answer = try await FakeCollector.ask(path + parameter, site: site)
            #expect(answer.status == 200)
            #expect(answer.body.contains(result) == isFound)
            #expect(answer.body.contains(#""result":[]"#) != isFound)
        }
    }

    /// 16,385 bytes, 129 levels, a chain of 3,000 signs and one of 200.
    @Test(
        "a query past a bound of its size is well formed and not answered",
        arguments: [
            ("a" + String(repeating: " ", count: 16_384), "exceeds the limit of 16384"),
            (
                String(repeating: "(", count: 129) + "a" + String(repeating: ")", count: 129),
                "nested deeper than 128 levels"
            ),
            ("a" + String(repeating: "+a", count: 3000), "deeper than 2048 levels"),
            ("a" + String(repeating: "+a", count: 200), "nested deeper than 128 levels"),
        ])
    func size(query: String, bound: String) async throws {
        let form = "start=0&end=60&step=15&query=\(PercentCoding.encode(query))"
        // The last is within the parser's bounds.
        let paths =
            query.utf8.count == 401
            ? ["query", "query_range"]
            : ["query", "query_range", "query_exemplars", "format_query", "parse_query"]
        for path in paths {
            let answer = try await FakeCollector.ask("POST /prometheus/api/v1/\(path)", form: form)
            #expect(answer.status == 422)
            #expect(answer.body.contains(#""errorType":"execution""#))
            #expect(answer.body.contains(bound))
        }
    }

    @Test("a selector past the bound of a query's length is well formed and not answered")
    func selectorSize() async throws {
        let form = "match[]=" + PercentCoding.encode("a" + String(repeating: " ", count: 16_384))
        for path in ["series", "labels"] {
            let answer = try await FakeCollector.ask("POST /prometheus/api/v1/\(path)", form: form)
            #expect(answer.status == 422)
            #expect(answer.body.contains("exceeds the limit of 16384"))
        }
    }

    @Test("11,000 steps are allowed, as they are in Prometheus")
    func longestRange() async throws {
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query_range?query=vector(1)&start=0&end=11000&step=1")
        #expect(answer.status == 200)
    }

    @Test("a query without a selector has no exemplars to look for")
    func exemplarsOfNothing() async throws {
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query_exemplars?query=1")
        #expect(answer.status == 204)
        #expect(answer.body.isEmpty)
    }

    @Test("what was asked for by a wrong method is told the right one")
    func methods() async throws {
        let rules = try await FakeCollector.ask("POST /prometheus/api/v1/rules")
        #expect(rules.status == 405)
        #expect(rules.response.header("allow") == "GET")
        let values = try await FakeCollector.ask("POST /prometheus/api/v1/label/host/values")
        #expect(values.status == 200)
        #expect(
            try await FakeCollector.ask("GET /prometheus/api/v1/admin/tsdb/snapshot").status
                == 405)
    }

    @Test("statistics are said where they are asked for, and odd values warned of")
    func statistics() async throws {
        let with = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query?query=up&time=60&stats=all")
        #expect(
            with.body.contains(
                #""stats":{"timings":{"evalTotalTime":0,"resultSortTime":0,"queryPreparationTime":0,"#
                    + #""innerEvalTime":0,"execQueueTime":0,"execTotalTime":0},"samples":"#
                    + #"{"totalQueryableSamples":10,"samplesRead":10,"peakSamples":10}}}"#))
        let odd = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query?query=1&time=60&stats=x")
        #expect(
            odd.body.hasSuffix(
                #","warnings":["value \"x\" for parameter \"stats\" is deprecated and will be rejected"#
                    + #" in the next major release, use \"true\" or \"all\""]}"#))
    }

    @Test("what the engine refuses is an execution error")
    func execution() async throws {
        let answer = try await FakeCollector.ask(
            "GET /prometheus/api/v1/query?query=up%2Bon(x)up&time=60")
        #expect(answer.status == 422)
        #expect(answer.body.hasPrefix(#"{"status":"error","errorType":"execution","error":"#))
    }

    @Test("a form and the URL together make the parameters, the form first")
    func forms() async throws {
        let answer = try await FakeCollector.ask(
            "POST /prometheus/api/v1/query?time=4&query=ignored", form: "query=1+%2B+2")
        #expect(
            answer.body
                == #"{"status":"success","data":{"resultType":"scalar","result":[4,"3"]}}"#)
    }

    @Test("buildinfo has a version that Grafana knows and no features")
    func buildInformation() async throws {
        let answer = try await FakeCollector.ask("GET /prometheus/api/v1/status/buildinfo")
        #expect(answer.body.contains(#""version":"3.14.0""#))
        #expect(!answer.body.contains("features"))
    }
}
