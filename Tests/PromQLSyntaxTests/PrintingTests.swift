import PromQLSyntax
import Testing

@Test(arguments: [
    ("sum(a)by(x,y)", "sum by (x, y) (a)"), ("SUM without() (a)", "sum without () (a)"),
    (#"a{z="1",b=~'2'}"#, #"a{b=~"2",z="1"}"#),
    (#"{"a.b","c d"="e"}"#, #"{"c d"="e",__name__="a.b"}"#),
    ("a[90s]offset 1h@10", "a[1m30s] @ 10.000 offset 1h"),
    ("a[300] offset -60", "a[5m] offset -1m"),
    ("a[5m:]", "a[5m:]"), ("a[5m:30]@start()", "a[5m:30s] @ start()"),
    ("a*on(b)group_left c", "a * on (b) group_left () c"), ("a==bool 1", "a == bool 1"),
    ("a+ignoring()b", "a + b"), ("a and on() b", "a and on () b"),
    ("a+fill_left(1)fill_right(1)b", "a + fill (1) b"),
    ("a+fill_right(-Inf)b", "a + fill_right (-Inf) b"),
    ("a[5m]smoothed", "a[5m] smoothed"), ("a[step()*2]", "a[step() * 2]"),
    ("a offset -(5m+step())", "a offset -(5m + step())"), ("a[max_of(1m,2)]", "a[max_of(1m, 2)]"),
    ("1e21", "1000000000000000000000"), ("1e-7", "0.0000001"), ("1.50", "1.5"), ("-0x10", "-16"),
    ("NaN", "NaN"), ("Inf", "+Inf"), ("1h", "1h"), ("'\u{1}é\u{200b}'", #""\x01é\u200b""#),
    ("topk( 3 ,a)", "topk(3, a)"), ("# note\na # more", "a"),
])
func prints(_ query: String, expect: String) throws {
    #expect(try PromQLParser.parse(query, options: .everything).description == expect)
    try checkPrintsBack(query)
}

@Test(arguments: [
    ("a[step()]", "a[15s]"), ("a offset -(range() / 2)", "a offset -30m"),
    ("a[max_of(step(), 1m)]", "a[1m]"), ("a[min_of(step(), 1m) * 2 + 0.5]", "a[30s500ms]"),
    ("sum(a[2 ^ 3 % 5:step()])", nil), ("rate(a[5m % 7])", "rate(a[6s])"),
    ("sum_over_time((a offset (step()))[range():step()])", "sum_over_time((a offset 15s)[1h:15s])"),
])
func resolvesDurations(_ query: String, expect: String?) throws {
    guard let expect else {
        #expect(throws: PromQLParseError.self) {
            try PromQLParser.parse(query, options: .everything)
        }
        return
    }
    let tree = try PromQLParser.parse(query, options: .everything)
    let resolved = try tree.resolvingDurations(stepMS: 15_000, rangeMS: 3_600_000)
    #expect(resolved.description == expect)
}

@Test(arguments: [
    ("a[step()]", "0:9: duration must be greater than 0"),
    ("a[5m - 10m]", "0:11: duration must be greater than 0"),
    ("a[1m / step()]", "0:14: division by zero"),
    ("a offset (1m % range())", "0:23: modulo by zero"),
    ("a[10 ^ 300]", "0:11: duration is out of range"),
    ("a offset (10 ^ 400)", "0:19: duration is NaN or infinite"),
])
func refusesDurationsWithoutValue(_ query: String, message: String) throws {
    let tree = try PromQLParser.parse(query, options: .everything)
    #expect {
        try tree.resolvingDurations(stepMS: 0, rangeMS: 0)
    } throws: { error in
        #expect("\(error)" == message)
        return true
    }
}
