import LogQLScript
import ScriptReport
import Testing

/// Metric queries in scripts of our own: what Loki's given ones lack.
struct LogScriptOwnTests {
    @Test(arguments: [
        ("aggregations", aggregations, 23), ("rankings", rankings, 27),
        ("special values", specialValues, 19), ("label_replace", labelReplace, 16),
        ("vector", vectors, 15), ("matching", matching, 12), ("errors", errors, 16),
        ("sums", pushedSums, 9), ("empty values", emptyValues, 12),
    ])
    func script(name: String, text: String, evals: Int) {
        let report = LogScriptRunner.run(text: text, name: name)
        #expect(report.failures == [], "\(report.failures.joined(separator: "\n"))")
        #expect(report.total == evals, "evals counted otherwise: \(report.total)")
    }

    private static let aggregations = """
        load
          {app="a", host="x", zone="e"} "l" @ 10s [repeat every 10s for 1]
          {app="a", host="y", zone="e"} "l" @ 10s [repeat every 10s for 2]
          {app="b", host="x", zone="w"} "l" @ 10s [repeat every 10s for 3]
          {app="b", host="y", zone="w"} "l" @ 10s [repeat every 10s for 6]

        eval instant at 60s sum(count_over_time({app=~".+"}[1m]))
          {} 12
        eval instant at 60s sum by (app) (count_over_time({app=~".+"}[1m]))
          {app="a"} 3
          {app="b"} 9
        eval instant at 60s sum(count_over_time({app=~".+"}[1m])) by (host)
          {host="x"} 4
          {host="y"} 8
        eval instant at 60s sum without (host, zone) (count_over_time({app=~".+"}[1m]))
          {app="a"} 3
          {app="b"} 9
        eval instant at 60s sum by (none) (count_over_time({app=~".+"}[1m]))
          {} 12
        eval instant at 60s sum by () (count_over_time({app=~".+"}[1m]))
          {} 12
        eval instant at 60s sum without () (count_over_time({app="a"}[1m]))
          {app="a", host="x", zone="e"} 1
          {app="a", host="y", zone="e"} 2
        eval instant at 60s avg by (app) (count_over_time({app=~".+"}[1m]))
          {app="a"} 1.5
          {app="b"} 4.5
        eval instant at 60s min without (host) (count_over_time({app=~".+"}[1m]))
          {app="a", zone="e"} 1
          {app="b", zone="w"} 3
        eval instant at 60s max(count_over_time({app=~".+"}[1m]))
          {} 6
        eval instant at 60s count by (host) (count_over_time({app=~".+"}[1m]))
          {host="x"} 2
          {host="y"} 2
        eval instant at 60s count(count_over_time({app="none"}[1m]))
          expect empty
        eval instant at 60s stddev by (app) (count_over_time({app=~".+"}[1m]))
          {app="a"} 0.5
          {app="b"} 1.5
        eval instant at 60s stdvar(count_over_time({app=~".+"}[1m]))
          {} 3.5
        eval instant at 60s stddev(count_over_time({app="a", host="x"}[1m]))
          {} 0
        eval instant at 60s sum(max by (app) (count_over_time({app=~".+"}[1m])))
          {} 8
        eval instant at 60s max by (zone) (sum by (zone, app) (rate({app=~".+"}[1m])))
          {zone="e"} 0.05
          {zone="w"} 0.15
        eval range from 20s to 80s step 20s sum by (app) (count_over_time({app=~".+"}[20s]))
          {app="a"} 3 _ _ _
          {app="b"} 4 3 2 _
        eval range from 20s to 80s step 20s avg(count_over_time({app=~".+"}[1m]))
          {} 1.75 2.5 3 2.5
        eval range from 20s to 80s step 10s count(count_over_time({app=~".+"}[15s]))
          {} 4 3 2 1 1 1 _
        eval range from 0s to 80s step 40s stdvar by (app) (count_over_time({app=~".+"}[1m]))
          {app="a"} _ 0.25 _
          {app="b"} _ 0.25 2.25
        eval instant at 60s 100 * sum by (app) (count_over_time({app=~".+"}[1m])) / ignoring(app) group_left sum(count_over_time({app=~".+"}[1m]))
          {app="a"} 25
          {app="b"} 75
        eval instant at 60s sum(count_over_time({app=~".+"}[1m])) by (app) > 3
          {app="b"} 9

        """

    private static let rankings = """
        load
          {app="a", host="x"} "l" @ 10s [repeat every 10s for 1]
          {app="a", host="y"} "l" @ 10s [repeat every 10s for 2]
          {app="b", host="x"} "l" @ 10s [repeat every 10s for 3]
          {app="b", host="y"} "l" @ 10s [repeat every 10s for 6]

        eval instant at 60s topk(1, count_over_time({app=~".+"}[1m]))
          {app="b", host="y"} 6
        eval instant at 60s topk(2, count_over_time({app=~".+"}[1m]))
          expect ordered
          {app="b", host="x"} 3
          {app="b", host="y"} 6
        eval instant at 60s topk by (app) (1, count_over_time({app=~".+"}[1m]))
          {app="a", host="y"} 2
          {app="b", host="y"} 6
        eval instant at 60s topk without (app) (1, count_over_time({app=~".+"}[1m]))
          {app="b", host="x"} 3
          {app="b", host="y"} 6
        eval instant at 60s bottomk(1, count_over_time({app=~".+"}[1m])) by (host)
          {app="a", host="x"} 1
          {app="a", host="y"} 2
        eval instant at 60s bottomk(3, count_over_time({app=~".+"}[1m]))
          {app="a", host="x"} 1
          {app="a", host="y"} 2
          {app="b", host="x"} 3
        eval instant at 60s topk(100, count_over_time({app="a"}[1m]))
          {app="a", host="x"} 1
          {app="a", host="y"} 2
        eval instant at 60s topk(0, count_over_time({app="a"}[1m]))
          expect fail msg: must be greater than 0
        eval instant at 60s bottomk(0, count_over_time({app="a"}[1m]))
          expect fail msg: must be greater than 0
        eval instant at 60s approx_topk(2, count_over_time({app=~".+"}[1m]))
          {app="b", host="x"} 3
          {app="b", host="y"} 6
        eval range from 20s to 60s step 20s approx_topk(2, count_over_time({app=~".+"}[1m]))
          expect fail
        eval instant at 60s sum(topk(2, count_over_time({app=~".+"}[1m])))
          {} 9
        eval instant at 60s topk(1, sum by (host) (count_over_time({app=~".+"}[1m])))
          {host="y"} 8
        eval range from 20s to 100s step 20s topk(1, count_over_time({app=~".+"}[25s]))
          {app="a", host="y"} 2 _ _ _ _
          {app="b", host="y"} _ 3 3 1 _
        eval range from 20s to 60s step 20s bottomk(1, count_over_time({app=~".+"}[1m]))
          {app="a", host="x"} 1 1 1
        eval instant at 60s sort(count_over_time({app=~".+"}[1m]))
          expect ordered
          {app="a", host="x"} 1
          {app="a", host="y"} 2
          {app="b", host="x"} 3
          {app="b", host="y"} 6
        eval instant at 60s sort_desc(count_over_time({app=~".+"}[1m]))
          expect ordered
          {app="b", host="y"} 6
          {app="b", host="x"} 3
          {app="a", host="y"} 2
          {app="a", host="x"} 1
        eval instant at 60s sort_desc(sum by (app) (count_over_time({app=~".+"}[1m])))
          expect ordered
          {app="b"} 9
          {app="a"} 3
        eval instant at 60s sort_desc(topk(2, count_over_time({app=~".+"}[1m])))
          expect ordered
          {app="b", host="y"} 6
          {app="b", host="x"} 3
        eval instant at 60s topk(2, sort(count_over_time({app=~".+"}[1m])))
          expect ordered
          {app="b", host="y"} 6
          {app="b", host="x"} 3
        eval instant at 60s sort_desc(count_over_time({app=~".+"}[1m])) > 2
          expect ordered
          {app="b", host="y"} 6
          {app="b", host="x"} 3
        eval instant at 60s 10 - sort_desc(count_over_time({app=~".+"}[1m]))
          expect ordered
          {app="b", host="y"} 4
          {app="b", host="x"} 7
          {app="a", host="y"} 8
          {app="a", host="x"} 9
        eval instant at 60s sort(-1 * count_over_time({app=~".+"}[1m]))
          expect ordered
          {app="b", host="y"} -6
          {app="b", host="x"} -3
          {app="a", host="y"} -2
          {app="a", host="x"} -1
        eval instant at 60s sort(count_over_time({app="none"}[1m]))
          expect empty
        eval instant at 60s topk(-1, count_over_time({app="a"}[1m]))
          expect fail
        eval instant at 60s topk(count_over_time({app="a"}[1m]))
          expect fail
        eval instant at 60s sum(2, count_over_time({app="a"}[1m]))
          expect fail

        """

    private static let specialValues = """
        load
          {app="a", k="nan"} "v=NaN" @ 30s
          {app="a", k="one"} "v=1" @ 30s
          {app="a", k="inf"} "v=+Inf" @ 30s
          {app="a", k="minf"} "v=-Inf" @ 30s
          {app="b", k="one"} "v=1" @ 30s
          {app="b", k="inf"} "v=+Inf" @ 30s
          {app="b", k="two"} "v=2" @ 30s

        eval instant at 60s sum(sum_over_time({app="a"} | logfmt | unwrap v [1m]))
          {} NaN
        eval instant at 60s sum(last_over_time({app="b"} | logfmt | unwrap v [1m]))
          {} Inf
        eval instant at 60s avg(last_over_time({app="b"} | logfmt | unwrap v [1m]))
          {} +Inf
        eval instant at 60s avg(last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {} NaN
        eval instant at 60s max(last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {} +Inf
        eval instant at 60s min(last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {} -Inf
        eval instant at 60s max(last_over_time({app="a", k=~"nan|one"} | logfmt | unwrap v [1m]))
          {} 1
        eval instant at 60s min(last_over_time({app="a", k="nan"} | logfmt | unwrap v [1m]))
          {} NaN
        eval instant at 60s count(last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {} 4
        eval instant at 60s stddev(last_over_time({app="b"} | logfmt | unwrap v [1m]))
          {} NaN
        eval instant at 60s topk(3, last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {app="a", k="inf"} Inf
          {app="a", k="one"} 1
          {app="a", k="minf"} -Inf
        eval instant at 60s bottomk(2, last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {app="a", k="minf"} -Inf
          {app="a", k="one"} 1
        eval instant at 60s topk(4, last_over_time({app="a"} | logfmt | unwrap v [1m]))
          {app="a", k="inf"} Inf
          {app="a", k="one"} 1
          {app="a", k="minf"} -Inf
          {app="a", k="nan"} NaN
        eval instant at 60s sort_desc(last_over_time({app="a"} | logfmt | unwrap v [1m]))
          expect ordered
          {app="a", k="inf"} Inf
          {app="a", k="one"} 1
          {app="a", k="minf"} -Inf
          {app="a", k="nan"} NaN
        eval instant at 60s last_over_time({app="b", k="two"} | logfmt | unwrap v [1m]) / 0
          {app="b", k="two"} NaN
        eval instant at 60s last_over_time({app="b", k="two"} | logfmt | unwrap v [1m]) % 0
          {app="b", k="two"} NaN
        eval instant at 60s -7 % last_over_time({app="b", k="two"} | logfmt | unwrap v [1m])
          {app="b", k="two"} -1
        eval instant at 60s 2 ^ 3 ^ last_over_time({app="b", k="two"} | logfmt | unwrap v [1m])
          {app="b", k="two"} 512
        eval instant at 60s last_over_time({app="a", k="nan"} | logfmt | unwrap v [1m]) == bool last_over_time({app="a", k="nan"} | logfmt | unwrap v [1m])
          {app="a", k="nan"} 0

        """

    private static let labelReplace = """
        load
          {app="web-1", zone="e"} "l" @ 30s [repeat every 10s for 2]
          {app="web-2", zone="w"} "l" @ 30s [repeat every 10s for 3]

        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "kind", "$1", "app", "([a-z]+)-.*")
          {app="web-1", kind="web", zone="e"} 2
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "kind", "${n}!", "app", "web-(?P<n>.*)")
          {app="web-1", kind="1!", zone="e"} 2
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "zone", "z", "app", ".*")
          {app="web-1", zone="z"} 2
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "zone", "", "app", ".*")
          {app="web-1"} 2
        # Anchored at both ends.
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "kind", "x", "app", "web")
          {app="web-1", zone="e"} 2
        # A label that is not there is empty.
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "new", "x", "none", "")
          {app="web-1", new="x", zone="e"} 2
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "new", "x", "none", ".+")
          {app="web-1", zone="e"} 2
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "app", "$1$1", "app", ".*-(.)")
          {app="11", zone="e"} 2
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "kind", "$3|$$", "app", "(.*)-(.*)")
          {app="web-1", kind="|$", zone="e"} 2
        eval instant at 60s sum by (kind) (label_replace(count_over_time({app=~".+"}[1m]), "kind", "$1", "app", "(web)-.*"))
          {kind="web"} 5
        eval instant at 60s sum by (app) (label_replace(rate({app=~".+"}[1m]), "app", "web", "zone", ".*"))
          {app="web"} 0.08333333333
        eval instant at 60s label_replace(sum(count_over_time({app=~".+"}[1m])), "all", "yes", "", "")
          {all="yes"} 5
        eval range from 30s to 50s step 10s label_replace(sum by (zone) (count_over_time({app=~".+"}[1m])), "zone", "to-$1", "zone", "(e)")
          {zone="to-e"} 1 2 2
          {zone="w"} 1 2 3
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "a", "x", "app", "(")
          expect fail msg: invalid regex in label_replace
        eval instant at 60s label_replace(vector(4), "a", "x", "b", ".*")
          {a="x"} 4
        eval instant at 60s label_replace(count_over_time({app="web-1"}[1m]), "a", "x", "app")
          expect fail msg: syntax error

        """

    private static let vectors = """
        load
          {app="a"} "l" @ 30s [repeat every 10s for 2]

        eval instant at 60s vector(3)
          {} 3
        eval instant at 60s vector(1) + vector(1)
          {} 2
        eval instant at 60s 2 * vector(3) - 1
          {} 5
        eval range from 0s to 60s step 30s vector(0.5)
          {} 0.5 0.5 0.5
        eval range from 0s to 60s step 30s 7
          {} 7 7 7
        eval range from 0s to 60s step 30s vector(2) ^ vector(3)
          {} 8x2
        eval instant at 60s vector(2) > vector(1)
          {} 2
        eval instant at 60s vector(1) > vector(2)
          expect empty
        eval instant at 60s vector(1) > bool vector(2)
          {} 0
        eval range from 0s to 80s step 40s sum(count_over_time({app="a"}[20s])) or vector(0)
          {} 0 2 0
        eval range from 0s to 80s step 40s vector(1) unless sum(count_over_time({app="a"}[20s]))
          {} 1 _ 1
        eval range from 0s to 80s step 40s sum(count_over_time({app="a"}[20s])) and vector(0)
          {} _ 2 _
        eval instant at 60s sum(vector(4))
          {} 4
        eval instant at 60s topk(1, vector(4))
          {} 4
        eval instant at 60s vector(abc)
          expect fail

        """

    private static let matching = """
        load
          {app="a", host="x"} "l" @ 30s [repeat every 10s for 2]
          {app="a", host="y"} "l" @ 30s [repeat every 10s for 1]
          {app="b", host="x"} "l" @ 30s [repeat every 10s for 3]
          {one="1", app="a", team="t"} "l" @ 30s [repeat every 10s for 3]

        eval instant at 60s count_over_time({host=~".+"}[1m]) * on (app) group_left (team) count_over_time({one="1"}[1m])
          {app="a", host="x", team="t"} 6
          {app="a", host="y", team="t"} 3
        eval instant at 60s count_over_time({one="1"}[1m]) - on (app) group_right count_over_time({host=~".+"}[1m])
          {app="a", host="x"} 1
          {app="a", host="y"} 2
        eval instant at 60s count_over_time({host="x"}[1m]) / on (app) count_over_time({one="1"}[1m])
          {app="a"} 0.66666666667
        eval instant at 60s count_over_time({host="x"}[1m]) / ignoring (host, one, team) count_over_time({one="1"}[1m])
          {app="a"} 0.66666666667
        eval instant at 60s count_over_time({host=~".+"}[1m]) / on (app) count_over_time({one="1"}[1m])
          expect fail msg: many-to-one matching must be explicit
        eval instant at 60s count_over_time({one="1"}[1m]) / on (app) count_over_time({host=~".+"}[1m])
          expect fail msg: found duplicate series on the right hand-side
        eval instant at 60s count_over_time({host=~".+"}[1m]) unless on (app) count_over_time({one="1"}[1m])
          {app="b", host="x"} 3
        eval instant at 60s count_over_time({host=~".+"}[1m]) and on (app) count_over_time({one="1"}[1m])
          {app="a", host="x"} 2
          {app="a", host="y"} 1
        eval instant at 60s count_over_time({one="1"}[1m]) or on (app) count_over_time({host=~".+"}[1m])
          {app="a", one="1", team="t"} 3
          {app="b", host="x"} 3
        eval instant at 60s count_over_time({host="x"}[1m]) + count_over_time({host="x"}[1m]) == 2 * count_over_time({host="x"}[1m])
          {app="a", host="x"} 4
          {app="b", host="x"} 6
        eval range from 30s to 90s step 20s count_over_time({host="x"}[30s]) + on () group_left sum(count_over_time({host="y"}[30s]))
          {app="a", host="x"} 2 3 _ _
          {app="b", host="x"} 2 4 _ _
        eval instant at 90s sum(count_over_time({host="x"}[30s] offset 30s)) / sum(count_over_time({host="x"}[1m]))
          {} 1

        """

    private static let errors = """
        load
          {app="a"} "v=1" @ 10s
          {app="a"} "v=x" @ 30s
          {app="a"} "v=2" @ 50s
          {app="j"} "no json" @ 30s

        eval instant at 20s sum_over_time({app="a"} | logfmt | unwrap v [20s])
          {app="a"} 1
        eval instant at 60s sum_over_time({app="a"} | logfmt | unwrap v [1m])
          expect fail msg: pipeline error: 'SampleExtractionErr' for series: '{__error__="SampleExtractionErr", __error_details__="strconv.ParseFloat: parsing \\"x\\": invalid syntax", app="a", v="x"}'
        eval instant at 60s sum_over_time({app="a"} | logfmt | unwrap v | __error__="" [1m])
          {app="a"} 3
        eval instant at 60s sum_over_time({app="a"} | logfmt | unwrap v | __error__!="SampleExtractionErr" [1m])
          {app="a"} 3
        # Dropped before the value is taken, the error comes back.
        eval instant at 60s sum_over_time({app="a"} | logfmt | drop __error__ | unwrap v [1m])
          expect fail
        # Outside of every window it does no harm.
        eval range from 10s to 50s step 40s sum_over_time({app="a"} | logfmt | unwrap v [10s])
          {app="a"} 1 2
        eval range from 10s to 50s step 20s sum_over_time({app="a"} | logfmt | unwrap v [10s])
          expect fail msg: SampleExtractionErr
        eval instant at 60s sum(count_over_time({app="j"} | json [1m]))
          {} 1
        eval instant at 60s count_over_time({app="j"} | json [1m])
          expect fail msg: Use a label filter to intentionally skip this error. (e.g | __error__!="JSONParserErr")
        eval instant at 60s count_over_time({app="j"} | json | drop __error__, __error_details__ [1m])
          {app="j"} 1
        # Details without their error are no label.
        eval instant at 60s count_over_time({app="j"} | json | drop __error__ [1m])
          {app="j"} 1
        eval instant at 60s vector(1_000)
          {} 1000
        eval instant at 60s absent_over_time({app="j"} | json | __error__="" [1m])
          {app="j"} 1
        eval instant at 60s topk(1, count_over_time({app="j"} | json [1m]))
          expect fail msg: JSONParserErr
        eval instant at 60s max_over_time({app="a"} | logfmt | unwrap duration(v) | __error__="" [1m])
          expect empty
        eval instant at 60s count_over_time({app="a"} | line_format "{{ div 1 0 }}" [1m])
          {app="a"} 3

        """

    private static let pushedSums = """
        load
          {app="a"} "v=1 k=p" @ 10s [repeat every 10s for 3]
          {app="a"} "v=2 k=q" @ 15s [repeat every 10s for 3]
          {app="b"} "v=4 k=p" @ 10s [repeat every 10s for 3] [metadata m="1"]

        eval instant at 60s sum by (k) (sum_over_time({app=~".+"} | logfmt | unwrap v [1m]))
          {k="p"} 15
          {k="q"} 6
        eval instant at 60s sum(sum_over_time({app=~".+"} | logfmt | unwrap v [1m]))
          {} 21
        eval instant at 60s sum without (app, k) (sum_over_time({app=~".+"} | logfmt | unwrap v [1m]))
          {} 9
          {m="1"} 12
        eval instant at 60s sum by (m) (bytes_over_time({app=~".+"}[1m]))
          {} 42
          {m="1"} 21
        eval instant at 60s sum by (k) (max_over_time({app=~".+"} | logfmt | unwrap v [1m]) by (app, k))
          {k="p"} 5
          {k="q"} 2
        eval instant at 60s sum(avg_over_time({app=~".+"} | logfmt | unwrap v [1m]) by (app))
          {} 5.5
        eval instant at 60s sum(avg_over_time({app=~".+"} | logfmt | unwrap v [1m]) without (k, m))
          {} 5.5
        eval instant at 60s avg_over_time({app=~".+"} | logfmt | unwrap v [1m]) by ()
          {} 2.3333333333
        eval range from 20s to 40s step 10s sum by (k) (rate({app=~".+"} | logfmt | unwrap v [10s]))
          {k="p"} 0.5 0.5 _
          {k="q"} 0.2 0.2 0.2

        """

    private static let emptyValues = """
        load
          {app="a"} `{"k":"p"}` @ 10s [repeat every 10s for 3]
          {app="a"} `{"n":"q"}` @ 15s [repeat every 10s for 2]

        eval instant at 60s count_over_time({app="a"} | json k="k" [1m])
          {app="a", k="p"} 3
          {app="a", k=""} 2
        eval instant at 60s sum by (k) (count_over_time({app="a"} | json k="k" [1m]))
          {k="p"} 3
          {k=""} 2
        eval instant at 60s max by (k) (count_over_time({app="a"} | json k="k" [1m]))
          {k="p"} 3
          {k=""} 2
        eval instant at 60s max without (app) (count_over_time({app="a"} | json k="k" [1m]))
          {k="p"} 3
          {} 2
        eval instant at 60s count_over_time({app="a"} | json k="k" [1m]) * 2
          {app="a", k="p"} 6
          {app="a", k=""} 4
        eval instant at 60s count_over_time({app="a"} | json k="k" [1m]) > 2
          {app="a", k="p"} 3
        eval instant at 60s count_over_time({app="a"} | json k="k" [1m]) + count_over_time({app="a"} | json k="k" [1m])
          {app="a", k="p"} 6
          {app="a"} 4
        eval instant at 60s count_over_time({app="a"} | json k="k" [1m]) and count_over_time({app="a"} | json k="k" [1m])
          {app="a", k="p"} 3
          {app="a", k=""} 2
        eval instant at 60s topk(1, count_over_time({app="a"} | json k="k" | k="" [1m]))
          {app="a", k=""} 2
        eval instant at 60s label_replace(count_over_time({app="a"} | json k="k" [1m]), "l", "$1", "k", "(.*)")
          {app="a", k="p", l="p"} 3
          {app="a"} 2
        eval instant at 60s label_replace(count_over_time({app="a"} | json k="k" [1m]), "l", "$1", "k", "(.+)")
          {app="a", k="p", l="p"} 3
          {app="a", k=""} 2
        eval range from 20s to 60s step 20s sum by (k) (count_over_time({app="a"} | json k="k" [20s]))
          {k="p"} 2 1 _
          {k=""} 1 1 _

        """
}
