import Model
import PromQLSyntax
import Testing

private let stale = SequenceValue.float(StalenessMarker.value)

@Test(
    arguments: [
        ("a 1 2.5 -3", [.float(1), .float(2.5), .float(-3)]),
        ("a 0+10x3", [.float(0), .float(10), .float(20), .float(30)]),
        ("a 5-2x1", [.float(5), .float(3)]), ("a 7x2", [.float(7), .float(7), .float(7)]),
        ("a _ _x2 1", [.omitted, .omitted, .omitted, .float(1)]), ("a stale", [stale]),
        ("a Inf -Inf NaN", [.float(.infinity), .float(-.infinity), .float(.nan)]),
        ("a 1e3+1e-1x1", [.float(1000), .float(1000.1)]), ("a", []), ("a  ", []),
    ] as [(String, [SequenceValue])])
func readsSequences(_ line: String, expect: [SequenceValue]) throws {
    let series = try SeriesDescription.parse(line)
    #expect(series.labels == ["__name__": "a"])
    #expect(series.values == expect)
}

@Test(
    arguments: [
        (#"a{b="}{",c='\''} 1"#, ["__name__": "a", "b": "}{", "c": "'"]), ("{} 1", [:]),
        (#"{"x.y", "z w"=`"`} 1"#, ["__name__": "x.y", "z w": "\""]),
        ("sum:rate5m 1", ["__name__": "sum:rate5m"]), ("offset 1", ["__name__": "offset"]),
    ] as [(String, Labels)])
func readsLabels(_ line: String, expect: Labels) throws {
    let series = try SeriesDescription.parse(line)
    #expect(series.labels == expect)
    #expect(series.values == [.float(1)])
}

@Test func readsHistograms() throws {
    let line = """
        a {{schema:1 sum:-0.3 count:7.1 z_bucket:2 z_bucket_w:0.05 buckets:[5.1 10] offset:-3 \
        n_buckets:[4.1 -5] n_offset:5 counter_reset_hint:gauge}} {{ }}-{{count:1}}x2 {{}}x1
        """
    var first = HistogramDescription()
    first.schema = 1
    first.sum = -0.3
    first.count = 7.1
    first.zeroBucket = 2
    first.zeroBucketWidth = 0.05
    first.buckets = [5.1, 10]
    first.offset = -3
    first.negativeBuckets = [4.1, -5]
    first.negativeOffset = 5
    first.counterResetHint = .gauge
    let empty = HistogramDescription()
    var one = HistogramDescription()
    one.count = 1
    #expect(
        try SeriesDescription.parse(line).values == [
            .histogram(first, increment: nil, increments: 0),
            .histogram(empty, increment: one, increments: 0),
            .histogram(empty, increment: one, increments: -1),
            .histogram(empty, increment: one, increments: -2),
            .histogram(empty, increment: nil, increments: 0),
            .histogram(empty, increment: nil, increments: 0),
        ])
}

@Test(arguments: [
    "a 1x", "a 1+2", "a 1+2x", "a stalex3", "a nonsense", "a 1,2", "a{b=\"c\"}1", "a{b=\"c\" 1",
    "a {{schema}}", "a {{schema:1 schema:1}}", "a {{nosuch:1}}", "a {{count:1", "a 0x1f",
    "a _x1000001", "a 1x999999 2", "a 1x99999999999999999999", "a {{buckets:[1 2}}", "1 2",
    "a {{}}+{{}}",
])
func refusesSeries(_ line: String) {
    #expect(throws: PromQLParseError.self) { try SeriesDescription.parse(line) }
}
