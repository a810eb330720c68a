import CollectorWeb
import Model
import Testing

/// Envelopes of the Loki API.
@Suite("Loki API")
struct LokiAPITests {
    static let query = "query=%7Bhost%3D%22a%22%7D&start=0.000000000&end=10"

    @Test("streams with categories keep an entry's fields apart")
    func categorized() async throws {
        let answer = try await FakeCollector.ask(
            "GET /loki/api/v1/query_range?\(Self.query)&direction=FORWARD&limit=2",
            headers: ["x-loki-response-encoding-flags": "categorize-labels"])
        #expect(answer.status == 200)
        #expect(
            answer.body.hasPrefix(
                #"{"status":"success","data":{"resultType":"streams","encodingFlags":["categorize-labels"],"#
                    + #""result":[{"stream":{"host":"a"},"values":["#
                    + #"["1","first \"x\"",{"structuredMetadata":{"detected_level":"info","trace_id":"t1"}}],"#
                    + "[\"2\",\"a\u{fffd}\",{}]]}],\"stats\":{\"summary\":"))
    }

    @Test("streams without categories carry every field as a label")
    func merged() async throws {
        let answer = try await FakeCollector.ask("GET /loki/api/v1/query_range?\(Self.query)")
        #expect(
            answer.body.hasPrefix(
                #"{"status":"success","data":{"resultType":"streams","result":["#
                    + #"{"stream":{"detected_level":"info","host":"a","trace_id":"t1"},"#
                    + #""values":[["1","first \"x\""]]},"#
                    + #"{"stream":{"host":"a"},"values":[["3","third"],["#))
    }

    @Test("a line filter is heard")
    func filter() async throws {
        let answer = try await FakeCollector.ask(
            "GET /loki/api/v1/query_range?query=%7Bhost%3D%22a%22%7D|%3D%22third%22&start=0.0&end=10"
        )
        #expect(answer.body.contains(#""values":[["3","third"]]"#))
        #expect(!answer.body.contains("first"))
    }

    @Test("Grafana's health check gets its vector")
    func health() async throws {
        let answer = try await FakeCollector.ask(
            "GET /loki/api/v1/query?query=vector(1)%2Bvector(1)&time=4000000000000000000")
        #expect(
            answer.body.hasPrefix(
                #"{"status":"success","data":{"resultType":"vector","result":["#
                    + #"{"metric":{},"value":[4000000000,"2"]}]"#))
    }

    @Test(
        "answers",
        arguments: [
            ("labels", #"{"status":"success","data":["host"]}"#),
            ("label/host/values", #"{"status":"success","data":["a"]}"#),
            ("series?match=%7B%7D", #"{"status":"success","data":[{"host":"a"}]}"#),
            (
                "index/stats?query=%7Bhost%3D%22a%22%7D",
                #"{"streams":1,"chunks":0,"entries":0,"bytes":0}"#
            ),
            (
                "format_query?query=%7Bfoo%3D%20%20%20%22bar%22%7D",
                #"{"status":"success","data":"{foo=\"bar\"}"}"#
            ),
        ])
    func answers(path: String, body: String) async throws {
        let answer = try await FakeCollector.ask("GET /loki/api/v1/\(path)")
        #expect(answer.status == 200)
        #expect(answer.body == body)
    }

    @Test(
        "errors are plain text",
        arguments: [
            ("query_range?query=%7Ba%3D", 400, "parse error at line 1, col 4"),
            ("query_range?query=%7B%7D", 400, "queries require at least one"),
            ("query_range?query=%7Ba%3D%22b%22%7D|json", 400, "not supported yet"),
            ("query?query=%7Ba%3D%22b%22%7D", 400, "log queries are not supported as an instant"),
            ("query_range?query=%7Ba%3D%22b%22%7D&limit=6000", 400, "(6000 > 5000)"),
            ("query_range?query=%7Ba%3D%22b%22%7D&limit=0", 400, "limit must be a positive value"),
            ("query_range?query=%7Ba%3D%22b%22%7D&direction=up", 400, "invalid direction"),
            ("query_range?query=%7Ba%3D%22b%22%7D&start=abc", 400, "could not parse 'start'"),
            ("query_range?query=%7Ba%3D%22b%22%7D&start=2&end=1", 400, "end timestamp must not"),
            ("query_range?query=vector(1)&start=0&end=9&step=0", 400, "zero or negative"),
            ("label/a/values?query=%7Ba%3D", 400, "parse error"),
            ("nothing", 404, "no such path"),
        ])
    func errors(path: String, status: Int, text: String) async throws {
        let answer = try await FakeCollector.ask("GET /loki/api/v1/\(path)")
        #expect(answer.status == status)
        #expect(answer.body.contains(text), "\(answer.body)")
        #expect(answer.response.header("content-type") == "text/plain; charset=utf-8")
    }
}
