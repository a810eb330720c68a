import PromQLScript
import ScriptReport
import Testing

/// Own scripts: what the engine must do at the edges of windows, staleness, matching and dropping of names.
struct OwnScriptTests {
    @Test(arguments: [
        """
        load 10s
          counter_total 0+10x10
          gauge 1 2 3 4 5 6

        # Windows are open on the left.
        eval instant at 30s count_over_time(gauge[20s])
          {} 2

        eval instant at 30s sum_over_time(gauge[20001ms])
          {} 9

        eval instant at 30s last_over_time(gauge[10s])
          gauge 4

        eval range from 0 to 50s step 10s max_over_time(gauge[20s])
          {} 1 2 3 4 5 6

        eval range from 0 to 50s step 10s min_over_time(gauge[20s])
          {} 1 1 2 3 4 5

        eval instant at 60s rate(counter_total[1m])
          expect no_info
          {} 1

        eval instant at 60s increase(counter_total[1m] offset 20s)
          {} 40
        """,
        """
        load 1m
          t{n="a"} 1 1 NaN
          t{n="b"} 1 1 NaN
          t{n="c"} 2 0 1
          t{n="d"} 2 0 1

        # Of equal ones that do not all have room the first gives way.
        eval instant at 0m topk(3, t)
          expect ordered
          t{n="d"} 2
          t{n="c"} 2
          t{n="b"} 1

        eval instant at 0m bottomk(1, t)
          t{n="a"} 1

        eval instant at 0m topk(2, t{n!="d"})
          expect ordered
          t{n="c"} 2
          t{n="b"} 1

        eval instant at 1m bottomk(2, t{n!="d"})
          expect ordered
          t{n="c"} 0
          t{n="b"} 1

        eval instant at 2m topk(3, t)
          expect ordered
          t{n="d"} 1
          t{n="c"} 1
          t{n="a"} NaN

        eval range from 0 to 1m step 1m topk(2, t{n!="d"})
          t{n="a"} _ 1
          t{n="b"} 1 1
          t{n="c"} 2 _
        """,
        """
        load 1m
          metric{a="x"} 1 stale 3
          metric{a="y"} 1 _ _ _ _ _ 7

        eval instant at 1m metric
          metric{a="y"} 1

        eval range from 0 to 3m step 1m metric{a="x"}
          metric{a="x"} 1 _ 3 3

        eval instant at 4m59s999ms metric{a="y"}
          metric{a="y"} 1

        eval instant at 5m metric{a="y"}

        # Staleness markers are no samples of a range.
        eval instant at 2m count_over_time(metric{a="x"}[5m])
          {a="x"} 2
        """,
        """
        # Dates as far as 64 bits of seconds go; beyond there are none.
        eval instant at 0 year(vector(9007199254740992))
          {} 285428751

        eval instant at 0 hour(vector(9007199254740992))
          {} 7

        eval instant at 0 day_of_month(vector(-9007199254740992))
          {} 20

        eval instant at 0 year(vector(-9.223372036854775e18))
          {} -292277022657

        eval instant at 0 minute(vector(1e19))
          {} NaN
        """,
        """
        load 1m
          a{x="1"} 0+60x10
          b{x="1"} 0+30x10

        # A comparison that filters answers with its left side, whose name is gone where a function took it.
        eval instant at 10m rate(a[5m]) > rate(b[5m])
          {x="1"} 1

        eval range from 9m to 10m step 1m ceil(a) >= b
          {x="1"} 540 600

        eval instant at 10m 2 * a > on (x) group_left () b
          {x="1"} 1200

        eval instant at 10m b < on (x) group_right () abs(a)
          {x="1"} 300

        eval instant at 10m a > on (x) group_left () rate(b[5m])
          a{x="1"} 600

        eval instant at 10m rate(a[5m]) > on (x) group_left (__name__) rate(b[5m])
          b{x="1"} 1

        eval instant at 10m a > bool b
          {x="1"} 1
        """,
        """
        load 1m
          left{host="a",cpu="0"} 1
          left{host="a",cpu="1"} 2
          right{host="a",role="db"} 10
          twin{host="a",n="1"} 1
          twin{host="a",n="2"} 2

        eval instant at 0m left * on(host) group_left(role) right
          {host="a",cpu="0",role="db"} 10
          {host="a",cpu="1",role="db"} 20

        eval instant at 0m left + on(host) right
          expect fail msg: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)

        eval instant at 0m right + on(host) twin
          expect fail regex: found duplicate series for the match group \\{host="a"\\} on the right hand-side.*many-to-many

        eval instant at 0m left - on(host, cpu) group_left left{cpu="1"}
          {host="a",cpu="1"} 0

        eval instant at 0m left unless on(cpu) left{cpu="1"}
          left{host="a",cpu="0"} 1

        eval instant at 0m {__name__=~"left|right"} * 2
          {host="a",cpu="0"} 2
          {host="a",cpu="1"} 4
          {host="a",role="db"} 20

        eval instant at 0m -{__name__=~"left|twin", cpu=~"0|"}
          {host="a",cpu="0"} -1
          {host="a",n="1"} -1
          {host="a",n="2"} -2
        """,
        """
        load 15s
          a 0+1x20
          b 0+1x20

        eval instant at 2m avg_over_time(a[1m:30s])
          {} 7

        eval range from 1m to 2m step 30s a @ 60 + b
          {} 8 10 12

        eval range from 1m to 2m step 30s time() - start()
          {} 0 30 60

        eval instant at 2m label_replace(a, "n", "$1x", "__name__", "(.*)")
          a 8

        eval instant at 2m label_replace(a, "n", "${1}x", "__name__", "(.*)")
          a{n="ax"} 8

        eval instant at 2m sort_desc({__name__=~"a|b"} * 2 or vector(100))
          expect fail

        eval instant at 2m bottomk(1, a or b)
          a 8
        """,
        """
        load 1m
          t{x="zero"} 0
          t{x="half"} 0.5
          t{x="one"} 1
          t{x="minus"} -1
          t{x="two"} 2
          t{x="nan"} NaN
          t{x="up"} Inf
          t{x="down"} -Inf

        eval instant at 0m sin(t)
          {x="zero"} 0
          {x="half"} 0.479425538604
          {x="one"} 0.841470984808
          {x="minus"} -0.841470984808
          {x="two"} 0.909297426826
          {x="nan"} NaN
          {x="up"} NaN
          {x="down"} NaN

        eval instant at 0m cos(t)
          {x="zero"} 1
          {x="half"} 0.87758256189
          {x="one"} 0.540302305868
          {x="minus"} 0.540302305868
          {x="two"} -0.416146836547
          {x="nan"} NaN
          {x="up"} NaN
          {x="down"} NaN

        eval instant at 0m tan(t)
          {x="zero"} 0
          {x="half"} 0.546302489844
          {x="one"} 1.557407724655
          {x="minus"} -1.557407724655
          {x="two"} -2.185039863262
          {x="nan"} NaN
          {x="up"} NaN
          {x="down"} NaN

        eval instant at 0m asin(t)
          {x="zero"} 0
          {x="half"} 0.523598775598
          {x="one"} 1.570796326795
          {x="minus"} -1.570796326795
          {x="two"} NaN
          {x="nan"} NaN
          {x="up"} NaN
          {x="down"} NaN

        eval instant at 0m acos(t)
          {x="zero"} 1.570796326795
          {x="half"} 1.047197551197
          {x="one"} 0
          {x="minus"} 3.14159265359
          {x="two"} NaN
          {x="nan"} NaN
          {x="up"} NaN
          {x="down"} NaN

        eval instant at 0m atan(t)
          {x="zero"} 0
          {x="half"} 0.463647609001
          {x="one"} 0.785398163397
          {x="minus"} -0.785398163397
          {x="two"} 1.107148717794
          {x="nan"} NaN
          {x="up"} 1.570796326795
          {x="down"} -1.570796326795

        eval instant at 0m sinh(t)
          {x="zero"} 0
          {x="half"} 0.521095305494
          {x="one"} 1.175201193644
          {x="minus"} -1.175201193644
          {x="two"} 3.626860407847
          {x="nan"} NaN
          {x="up"} Inf
          {x="down"} -Inf

        eval instant at 0m cosh(t)
          {x="zero"} 1
          {x="half"} 1.127625965206
          {x="one"} 1.543080634815
          {x="minus"} 1.543080634815
          {x="two"} 3.762195691084
          {x="nan"} NaN
          {x="up"} Inf
          {x="down"} Inf

        eval instant at 0m tanh(t)
          {x="zero"} 0
          {x="half"} 0.46211715726
          {x="one"} 0.761594155956
          {x="minus"} -0.761594155956
          {x="two"} 0.964027580076
          {x="nan"} NaN
          {x="up"} 1
          {x="down"} -1

        eval instant at 0m asinh(t)
          {x="zero"} 0
          {x="half"} 0.48121182506
          {x="one"} 0.88137358702
          {x="minus"} -0.88137358702
          {x="two"} 1.443635475179
          {x="nan"} NaN
          {x="up"} Inf
          {x="down"} -Inf

        eval instant at 0m acosh(t)
          {x="zero"} NaN
          {x="half"} NaN
          {x="one"} 0
          {x="minus"} NaN
          {x="two"} 1.316957896925
          {x="nan"} NaN
          {x="up"} Inf
          {x="down"} NaN

        eval instant at 0m atanh(t)
          {x="zero"} 0
          {x="half"} 0.549306144334
          {x="one"} Inf
          {x="minus"} -Inf
          {x="two"} NaN
          {x="nan"} NaN
          {x="up"} NaN
          {x="down"} NaN

        eval instant at 0m deg(t)
          {x="zero"} 0
          {x="half"} 28.647889756541
          {x="one"} 57.295779513082
          {x="minus"} -57.295779513082
          {x="two"} 114.591559026165
          {x="nan"} NaN
          {x="up"} Inf
          {x="down"} -Inf

        eval instant at 0m rad(t)
          {x="zero"} 0
          {x="half"} 0.00872664626
          {x="one"} 0.01745329252
          {x="minus"} -0.01745329252
          {x="two"} 0.03490658504
          {x="nan"} NaN
          {x="up"} Inf
          {x="down"} -Inf

        eval instant at 0m pi()
          3.141592653589793

        eval instant at 0m sin(vector(pi() / 2)) + cos(vector(pi()))
          {} 0

        eval instant at 0m rad(deg(t{x="two"}))
          {x="two"} 2

        eval instant at 0m t{x="one"} atan2 on () t{x="minus"}
          {} 2.356194490192

        """,
        """
        load 1m
          req_total{job="a",__type__="counter",__unit__="requests"} 0+60x10
          err_total{job="a",__type__="counter",__unit__="errors"} 0+30x10

        # Type and unit stay where the name stays, and go with it.
        eval instant at 10m req_total
          req_total{job="a",__type__="counter",__unit__="requests"} 600

        eval instant at 10m last_over_time(req_total[5m])
          req_total{job="a",__type__="counter",__unit__="requests"} 600

        eval instant at 10m topk(1, {job="a"})
          req_total{job="a",__type__="counter",__unit__="requests"} 600

        eval instant at 10m req_total > 1
          req_total{job="a",__type__="counter",__unit__="requests"} 600

        eval instant at 10m req_total > bool 1
          {job="a"} 1

        eval instant at 10m rate(req_total[5m])
          {job="a"} 1

        eval instant at 10m abs(req_total)
          {job="a"} 600

        eval instant at 10m timestamp(req_total)
          {job="a"} 600

        eval instant at 10m -req_total
          {job="a"} -600

        eval instant at 10m req_total * 2
          {job="a"} 1200

        # They are labels to match by, unlike the name.
        eval instant at 10m req_total / err_total

        eval instant at 10m req_total / ignoring (__unit__) err_total
          {job="a"} 2

        eval instant at 10m req_total / on (job) err_total
          {job="a"} 2

        eval instant at 10m req_total / on (__type__) err_total
          {} 2

        eval instant at 10m req_total / on (job) group_left (__unit__) err_total
          {job="a",__unit__="errors"} 2

        eval instant at 10m req_total > on (job) err_total
          {job="a"} 600

        eval instant at 10m sum by (__type__) ({job="a"})
          {__type__="counter"} 900

        eval instant at 10m sum without (job) (req_total)
          {__type__="counter",__unit__="requests"} 600

        eval instant at 10m sum by (__type__) (rate({job="a"}[5m]))
          {} 1.5

        eval instant at 10m label_replace(req_total, "kind", "$1", "__type__", "(.*)")
          req_total{job="a",__type__="counter",__unit__="requests",kind="counter"} 600

        eval instant at 10m label_replace(rate(req_total[5m]), "kind", "$1", "__type__", "(.*)")
          {job="a",kind="counter"} 1
        """,
    ])
    func passes(script: String) {
        let report = ScriptRunner.run(text: script, name: "own")
        #expect(report.failures == [])
        #expect(report.passed >= 5)
    }

    @Test(arguments: [
        ("eval instant at 0m 1 + 1\n  3", "2.0, expected 3.0"),
        ("load 1m\n  a 1\n\neval instant at 0m a\n  a 2", "expected 2.0"),
        ("load 1m\n  a 1\n\neval instant at 0m a", "unexpected series"),
        ("eval instant at 0m a\n  a 2", "not found"),
        ("eval instant at 0m 1\n  expect fail\n", "should fail"),
        ("load 1m\n  a {{count:1}}\n\neval instant at 0m a", "unexpected series"),
        (
            "load 1m\n  a {{count:1}}\n\neval instant at 0m a\n  a {{count:2}}",
            "is {{count:1}}, expected {{count:2}}"
        ),
        (
            "load 1m\n  a {{count:1}}\n\neval instant at 0m a\n  a {{count:1 "
                + "counter_reset_hint:gauge}}", "expected {{count:1 counter_reset_hint:gauge}}"
        ),
        ("load 1m\n  a {{count:1}}\n\neval instant at 0m a\n  a 1", "another kind of sample"),
        ("load 1m\n  a {{schema:9 count:1}}\n", "schema 9"),
        ("load 1m\n  a@st 1m\n", "@st line without samples"),
        ("load 1m\n  a@st 1m 1m\n  a 1\n", "@st line of another series or length"),
        ("load 1m\n  a@st 1y2\n  a 1\n", "invalid start timestamps"),
        ("load 1m\n  a 1 2\n\neval range from 0 to 1m step 1m a\n  a 1 3", "expected 3.0"),
        ("nonsense", "invalid command"),
        // What can't be computed with stops the script at its line.
        ("load 1m\n  a {{schema:9}}+{{schema:9}}x2\n", "own:2: script stopped: schema 9"),
        ("load 1m\n  a {{}}+{{schema:9}}x2\n", "own:2: script stopped: schema 9"),
        ("load 1m\n  a {{offset:1000000 buckets:[1]}}x2\n", "lies beyond all numbers"),
        ("load 1m\n  a {{n_offset:-1000000 n_buckets:[1]}}-{{}}x2\n", "beyond all numbers"),
        ("load 1m\n  a {{z_bucket_w:nan}}+{{z_bucket_w:1}}x2\n", "reaches to NaN"),
        ("load 1m\n  a {{z_bucket_w:inf}}+{{z_bucket_w:1}}x2\n", "reaches to +Inf"),
        ("load 1m\n  a {{z_bucket_w:-1}}+{{z_bucket_w:1}}x2\n", "reaches to -1"),
        ("load 1m\n  a {{schema:-53 custom_values:[2 1]}}+{{schema:-53}}x2\n", "don't ascend"),
        ("eval instant at 0m a\n  a {{schema:9}}", "own:1: schema 9"),
        ("load 1m\n  a@st 1m+99999999yx9\n  a 1\n", "own:2: script stopped: invalid start"),
        ("load 1m\n  a@st 99999999y\n  a 1\n", "invalid start timestamps 99999999y"),
        ("load 99999999y\n  a 1x999\n", "own:1: script stopped: invalid duration 99999999y"),
        ("eval instant at 99999999y 1\n  1", "own:1: invalid duration 99999999y"),
    ])
    func reportsFailures(script: String, reason: String) throws {
        let report = ScriptRunner.run(text: script, name: "own")
        #expect(report.failed == 1)
        #expect(report.passed == 0)
        let failure = try #require(report.failures.first)
        #expect(failure.contains(reason))
    }
}
