import PromQLSyntax
import Testing

/// Queries over several lines, as Prometheus breaks them; lines of 10 bytes here. Source: its `prettier_test.go`.
@Suite("Pretty printer")
struct PrettyPrinterTests {
    @Test(
        "breaks what is longer than a line",
        arguments: [
            ("sum(foo)", "sum(foo)"),
            (
                #"sum by() (task:errors:rate10s{job="s"})"#,
                "sum(\n  task:errors:rate10s{job=\"s\"}\n)"
            ),
            (
                #"topk(10, ask:errors:rate10s{job="s"})"#,
                "topk(\n  10,\n  ask:errors:rate10s{job=\"s\"}\n)"
            ),
            ("a + bbbbbbbbbb", "  a\n+\n  bbbbbbbbbb"),
            (
                "a + on(x) group_left(y) bool_metric_name",
                "  a\n+ on (x) group_left (y)\n  bool_metric_name"
            ),
            (
                "(abs(bar)[5m:] offset 10m)",
                "(\n  abs(bar)[5m:] offset 10m\n)"
            ),
            (
                "sum(rate(aaaaaaaaaa[5m])) / 1",
                """
                  sum(
                    rate(
                      aaaaaaaaaa[5m]
                    )
                  )
                /
                  1
                """
            ),
            ("-(aaaaaaaaaaaa)", "-(\n  aaaaaaaaaaaa\n)"),
        ])
    func breaking(query: String, expected: String) throws {
        let expression = try PromQLParser.parse(query)
        #expect(expression.prettyDescription(lineBytesMax: 10) == expected)
    }

    @Test("a query that fits stays on its line, and a broken one parses to the same tree")
    func roundTrip() throws {
        let long =
            #"histogram_quantile(0.9, sum by (le, job) (rate(http_request_seconds_bucket{job="api", "#
            + #"code!~"5.."}[5m] offset 1h))) > bool 0.5 and on (job) up{job="api"} == 1"#
        let expression = try PromQLParser.parse(long)
        let pretty = expression.prettyDescription()
        #expect(pretty.split(separator: "\n").count > 3)
        #expect(try PromQLParser.parse(pretty).normalized() == expression.normalized())
        #expect(try PromQLParser.parse("a + b").prettyDescription() == "a + b")
    }

    @Test("a chain of a thousand operators takes no time that grows with its square")
    func longChain() throws {
        let chain = Array(repeating: "metric", count: 1000).joined(separator: " + ")
        let pretty = try PromQLParser.parse(chain).prettyDescription()
        #expect(pretty.hasSuffix("+\n  metric"))
    }
}
