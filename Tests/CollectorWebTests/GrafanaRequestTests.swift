import CollectorWeb
import Testing

/// What Grafana's Prometheus data source and promtool send, by GET and as a form, and what they must get.
///
/// Source: grafana-prometheus-datasource, `packages/grafana-prometheus` and `pkg/promlib`; Prometheus `cmd/promtool`.
@Suite("Grafana and promtool")
struct GrafanaRequestTests {
    @Test(
        "requests by both methods",
        arguments: [
            ("query", "query=1%2B1&time=4", #""resultType":"scalar""#),
            ("query", "query=up&time=60&timeout=60s", #""resultType":"vector""#),
            ("query", "query=up%5B5m%5D&time=60", #""resultType":"matrix""#),
            ("query", "query=up%5B1h0m0s%5D&time=60", #""resultType":"matrix""#),
            ("query", "query=nosuch%20unless%20nosuch&time=60", #""result":[]"#),
            ("query_range", "query=42&start=0&end=60&step=15", #"{"metric":{},"values""#),
            ("query_range", "query=up&start=0&end=60&step=0.5", #""resultType":"matrix""#),
            (
                "query_range",
                "query=up&start=0&end=60&step=15&stats=all&dedup=true&max_samples_processed_error_threshold=5",
                #""totalQueryableSamples":"#
            ),
            // Milliseconds where seconds belong.
            (
                "query_exemplars", "query=test&start=1767323045000&end=1767323046000",
                #""data":[]"#
            ),
            ("labels", "limit=40000&start=0&end=60&match[]=up", #"["__name__","host"]"#),
            ("label/__name__/values", "limit=40000&match[]={host!=%22%22,}", #""data":["#),
            ("series", "match[]=up&match[]=x&start=-35994240&end=2000000000", #""__name__":"up""#),
            ("series", "match[]={__name__!=%22%22}&limit=1", "truncated due to limit"),
        ])
    func bothMethods(path: String, parameters: String, part: String) async throws {
        let url = "/prometheus/api/v1/\(path)"
        for (line, form) in [
            ("GET \(url)?\(parameters)", ""), ("POST \(url)", parameters),
            // Everything in the URL beside an empty form.
            ("POST \(url)?\(parameters)", ""),
        ] {
            let answer = try await FakeCollector.ask(line, form: form)
            #expect(answer.status == 200)
            #expect(answer.body.hasPrefix(#"{"status":"success","data":"#))
            #expect(answer.body.contains(part))
        }
    }

    @Test(
        "by GET",
        arguments: [
            ("status/buildinfo", #""version":"3."#), ("metadata?limit=40000", #""type":"gauge""#),
            ("metadata?metric=up", #""help":"Is it up?""#), ("rules", #""type":"recording""#),
            ("rules?exclude_alerts=true&group_limit=40", #""groups":[{"#),
            (
                "rules?file=x&file[]=x&rule_group=y&rule_group[]=y&exclude_alerts=true",
                #""groups":[]"#
            ),
            ("alerts", #""state":"firing""#),
        ])
    func byGet(path: String, part: String) async throws {
        let answer = try await FakeCollector.ask("GET /prometheus/api/v1/\(path)")
        #expect(answer.status == 200)
        #expect(answer.body.contains(part))
    }
}
