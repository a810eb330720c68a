import PromQLScript
import ScriptReport
import Testing

/// Two series of one label set.
private let twins =
    "expect fail msg: vector cannot contain metrics with the same labelset"
/// Two results of one label set in one match group.
private let ambiguous =
    "expect fail msg: multiple matches for labels: grouping labels must ensure unique matches"

/// Names that functions drop: at once, as Prometheus does by default, and from the result alone, as it does with
/// `promql-delayed-name-removal`.
struct NameRemovalTests {
    private static let data = """
        load 1m
          a_total{x="1"} 0+60x20
          b_total{x="1"} 0+30x20
          typed_total{y="1",__type__="counter",__unit__="bytes"} 0+60x20
          g1_bucket{le="1"} 1x20
          g1_bucket{le="+Inf"} 2x20
          g2_bucket{le="1"} 1x20
          g2_bucket{le="+Inf"} 2x20

        """

    /// What `query` yields at ten minutes, in the words of a script; lines are apart by `;`.
    private func check(_ query: String, _ expected: String, isDelayed: Bool) {
        let lines = expected.split(separator: ";").map { "  \($0)\n" }.joined()
        let report = ScriptRunner.run(
            text: "\(Self.data)\neval instant at 10m \(query)\n\(lines)", name: "names",
            delaysNameRemoval: isDelayed)
        #expect(report.failures == [])
        #expect(report.passed == 1)
    }

    @Test(
        "the two ways differ",
        arguments: [
            // The three expressions of docs/grafana.md.
            (#"sum(rate({__name__=~"a_total|b_total"}[5m]))"#, twins, "{} 1.5"),
            ("rate(a_total[5m]) / on(__name__) rate(b_total[5m])", "{} 2", ""),
            (
                #"label_replace(rate(a_total[5m]), "__name__", "$1:rate", "__name__", "(.+)")"#,
                #"{x="1"} 1"#, #"a_total:rate{x="1"} 1"#
            ),
            (
                #"label_join(rate(a_total[5m]), "m", "-", "__name__", "x")"#,
                #"{x="1",m="-1"} 1"#, #"{x="1",m="a_total-1"} 1"#
            ),
            (#"sum(-{x="1"})"#, twins, "{} -900"),
            (#"count(abs({x="1"}))"#, twins, "{} 2"),
            (#"count({x="1"} * 2)"#, twins, "{} 2"),
            (#"count(2 > bool {x="1"})"#, twins, "{} 2"),
            (#"count(timestamp({x="1"}))"#, twins, "{} 2"),
            (#"count(max_over_time(abs({x="1"})[5m:1m]))"#, twins, "{} 2"),
            (#"count(stddev(rate({x="1"}[5m])))"#, twins, "{} 1"),
            (#"count(topk(5, ceil({x="1"})))"#, twins, "{} 2"),
            (#"count(histogram_quantile(0.5, {__name__=~"g[12]_bucket"}))"#, twins, "{} 2"),
            (
                #"label_replace(max by (__name__) (abs(a_total)), "m", "$1", "__name__", "(.+)")"#,
                "{} 600", #"{m="a_total"} 600"#
            ),
            (
                #"label_replace(abs(typed_total), "kind", "$1", "__type__", "(.+)")"#,
                #"{y="1"} 600"#, #"{y="1",kind="counter"} 600"#
            ),
            // Where the operator sees no names its own rule speaks first.
            (#"{x="1"} > bool on (x) group_left () a_total"#, ambiguous, twins),
            (
                #"absent_over_time(typed_total{z="1",__type__="g"}[5m])"#,
                #"{z="1",__type__="g"} 1"#, #"{z="1"} 1"#
            ),
            // What is included comes after the name has gone.
            (
                "a_total > bool on(x) group_left(__name__) b_total", #"b_total{x="1"} 1"#,
                #"{x="1"} 1"#
            ),
            (
                #"histogram_quantiles(g1_bucket, "__name__", 0, 1)"#,
                #"{__name__="0.0"} 0;{__name__="1.0"} 1"#, twins
            ),
        ])
    func differ(query: String, atOnce: String, delayed: String) {
        check(query, atOnce, isDelayed: false)
        check(query, delayed, isDelayed: true)
    }

    @Test(
        "the two ways agree",
        arguments: [
            ("-a_total", #"{x="1"} -600"#), (#"-{x="1"}"#, twins), (#"{x="1"} * 2"#, twins),
            (#"{x="1"} > bool 1"#, twins), (#"rate({x="1"}[5m])"#, twins),
            (#"sum by (__name__) ({x="1"})"#, "a_total 600;b_total 300"),
            ("sum by (__name__) (rate(a_total[5m]))", "{} 1"),
            ("sum by (__type__) (rate(typed_total[5m]))", "{} 1"),
            ("sum without (y) (typed_total)", #"{__type__="counter",__unit__="bytes"} 600"#),
            (#"sum by (__name__) (rate({x="1"}[5m]))"#, twins),
            ("topk(1, sum by (__name__, x) (rate(a_total[5m])))", #"{x="1"} 1"#),
            (#"topk(1, {x="1"})"#, #"a_total{x="1"} 600"#),
            (#"topk(5, {x="1"} * 2)"#, twins),
            (#"{x="1"} > 1"#, #"a_total{x="1"} 600;b_total{x="1"} 300"#),
            (#"last_over_time({x="1"}[5m])"#, #"a_total{x="1"} 600;b_total{x="1"} 300"#),
            ("last_over_time(abs(a_total)[5m:1m])", #"{x="1"} 600"#),
            (#"absent_over_time({x="1"}[5m])"#, ""),
            (#"absent(typed_total{z="1",__type__="g"})"#, #"{z="1",__type__="g"} 1"#),
            ("rate(a_total[5m]) > rate(b_total[5m])", #"{x="1"} 1"#),
            ("a_total - on(x) group_left(__name__) b_total", #"b_total{x="1"} 300"#),
            (#"{x="1"} + on(__name__) {x="1"}"#, twins),
        ])
    func agree(query: String, expected: String) {
        check(query, expected, isDelayed: false)
        check(query, expected, isDelayed: true)
    }

    /// Series of one label set that have no step in common: a function of instant vectors and the unary minus make one of
    /// them, a range function finds two.
    @Test(
        "series that take turns",
        arguments: [
            (#"abs({__name__=~"one|two"})"#, "{} 1 2 2", "{} 1 2 2"),
            (#"-{__name__=~"one|two"}"#, "{} -1 -2 -2", "{} -1 -2 -2"),
            (#"sum_over_time({__name__=~"one|two"}[1m])"#, twins, "{} 1 2 2"),
            (#"max(sum_over_time({__name__=~"one|two"}[1m]))"#, twins, "{} 1 2 2"),
            ("-one or -two", "{} -1 -2 -2", "{} -1 -2 -2"),
        ])
    func turns(query: String, atOnce: String, delayed: String) {
        for (isDelayed, expected) in [(false, atOnce), (true, delayed)] {
            let report = ScriptRunner.run(
                text: """
                    load 10m
                      one 1 _ _
                      two _ 2 2

                    eval range from 0 to 20m step 10m \(query)
                      \(expected)
                    """, name: "turns", delaysNameRemoval: isDelayed)
            #expect(report.failures == [])
            #expect(report.passed == 1)
        }
    }
}
