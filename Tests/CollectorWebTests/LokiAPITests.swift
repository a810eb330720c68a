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

    /// The answer of `path` (`query` or `query_range`) to a query in LogQL.
    static func ask(
        _ path: String, _ query: String, _ rest: String, headers: [String: String] = [:]
    ) async throws -> (status: Int, body: String, response: WebResponse) {
        let digits = Array("0123456789ABCDEF")
        let encoded = query.utf8.map { "%\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }
        return try await FakeCollector.ask(
            "GET /loki/api/v1/\(path)?query=\(encoded.joined())&\(rest)", headers: headers)
    }

    @Test("what parsers found stays with an entry, apart from its fields")
    func parsed() async throws {
        let answer = try await Self.ask(
            "query_range", #"{host="a"} |= "first" | regexp "(?P<word>[a-z]+)""#,
            "start=0.0&end=10",
            headers: ["x-loki-response-encoding-flags": "categorize-labels"])
        #expect(
            answer.body.contains(
                #""result":[{"stream":{"host":"a"},"values":[["1","first \"x\"","#
                    + #"{"structuredMetadata":{"detected_level":"info","trace_id":"t1"},"#
                    + #""parsed":{"word":"first"}}]]}]"#), "\(answer.body)")
    }

    @Test("lines nearer than the interval are left out")
    func interval() async throws {
        let query = #"{host="a"} | drop detected_level, trace_id"#
        let answer = try await Self.ask(
            "query_range", query, "start=0.0&end=10&direction=forward&interval=0.000000002")
        #expect(answer.body.contains(#""values":[["1","first \"x\""],["3","third"]]"#))
    }

    @Test("numbers over time are a matrix")
    func matrix() async throws {
        let answer = try await Self.ask(
            "query_range", #"sum by (detected_level) (count_over_time({host="a"}[1s])) * 1e21"#,
            "start=0.0&end=2&step=500ms")
        #expect(answer.status == 200)
        #expect(
            answer.body.hasPrefix(
                #"{"status":"success","data":{"resultType":"matrix","result":["#
                    + #"{"metric":{},"values":[[0.500,"2000000000000000000000"],"#
                    + #"[1,"2000000000000000000000"]]},"#
                    + #"{"metric":{"detected_level":"info"},"#
                    + #""values":[[0.500,"1000000000000000000000"],[1,"1000000000000000000000"]]}],"#
                    + #""stats":{"summary":{"#), "\(answer.body)")
    }

    @Test("numbers at one time are a vector, a number alone is a scalar")
    func instant() async throws {
        let query = #"sum by (host) (bytes_over_time({host="a"} != "nosuch" [1m]))"#
        let vector = try await Self.ask("query", query, "time=60")
        #expect(
            vector.body.hasPrefix(
                #"{"status":"success","data":{"resultType":"vector","result":["#
                    + #"{"metric":{"host":"a"},"value":[60,"16"]}],"stats":{"summary":{"#),
            "\(vector.body)")
        #expect(vector.body.contains(#""totalBytesProcessed":16,"totalLinesProcessed":3,"#))
        #expect(vector.body.contains(#""totalEntriesReturned":1}"#))
        let scalar = try await Self.ask("query", "1 + 0.5", "time=60.5")
        #expect(scalar.body.contains(#""resultType":"scalar","result":[60.500,"1.5"]"#))
    }

    @Test("a failure while a query runs is the client's, in Loki's words")
    func pipelineError() async throws {
        let answer = try await Self.ask(
            "query", #"sum_over_time({host="a"} | regexp "(?P<w>[a-z]+)" | unwrap w [1m])"#,
            "time=60")
        #expect(answer.status == 400)
        #expect(
            answer.body.hasPrefix("pipeline error: 'SampleExtractionErr' for series: "),
            "\(answer.body)")
    }

    @Test("a long answer is written in pieces")
    func pieces() async throws {
        let answer = try await Self.ask(
            "query_range", "vector(1.5)", "start=0.0&end=10000&step=1")
        #expect(answer.body.contains(#"[512,"1.5"],[513,"1.5"],"#))
        #expect(answer.body.contains(#"[10000,"1.5"]]}],"stats":{"#))
        #expect(answer.body.hasSuffix("}}}}") || answer.body.hasSuffix("}}}"))
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
                "index/stats?query=%7Bhost%3D%22a%22%7D&start=0.0&end=10",
                #"{"streams":1,"chunks":1,"entries":3,"bytes":16}"#
            ),
            (
                "format_query?query=%7Bfoo%3D%20%20%20%22bar%22%7D",
                #"{"status":"success","data":"{foo=\"bar\"}"}"#
            ),
            (
                "format_query?query=sum(rate(%7Bfoo%3D%22bar%22%7D%7C%3D%22x%22[5m]))",
                #"{"status":"success","data":"sum(rate({foo=\"bar\"} |= \"x\"[5m]))"}"#
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
            ("query_range?query=%7Ba%3D%22b%22%7D|nothing", 400, "parse error at line 1"),
            ("query?query=sum(1)", 400, "unexpected expr type"),
            ("query_range?query=%7Ba%3D%22b%22%7D&interval=-1", 400, "interval must be >= 0"),
            ("query_range?query=vector(1)&start=0&end=1&step=1x", 400, "to a valid duration"),
            ("query_range?query=vector(1)&start=0&end=11002&step=1", 400, "exceeded maximum"),
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
