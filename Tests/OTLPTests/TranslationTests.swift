import Model
import OTLP
import RemoteWrite
import Testing

/// Data points as Prometheus' series.
@Suite("OTLP translation")
struct TranslationTests {
    private static let target = #"instance="i-1",job="shop/cart""#

    /// A metric, and the lines of its series; `I` stands for the labels of the resource.
    @Test(
        "kinds of metrics",
        arguments: [
            (
                #"{"name": "queue.depth", "unit": "1", "gauge": {"dataPoints": [{"asInt": "7", "timeUnixNano": "2000999999"}]}}"#,
                ["queue_depth_ratio{I} 7 @2000 #0"]
            ),
            (
                #"{"name": "temp", "unit": "Cel", "gauge": {"dataPoints": [{"asDouble": "NaN", "timeUnixNano": 1000000, "flags": 1}]}}"#,
                ["temp_celsius{I} stale @1 #0"]
            ),
            (
                // Counter: `_total`, the start, attributes in order of their names.
                #"""
                {"name": "http.requests", "unit": "{request}", "sum": {"isMonotonic": true,
                    "aggregationTemporality": 2, "dataPoints": [{"asInt": 5, "timeUnixNano": "3000000000",
                    "startTimeUnixNano": "1000000000", "attributes": [
                        {"key": "http.route", "value": {"stringValue": "/a"}},
                        {"key": "code", "value": {"intValue": "200"}}]}]}}
                """#,
                [#"http_requests_total{code="200",http_route="/a",I} 5 @3000 from 1000 #0"#]
            ),
            (
                // Not monotonic: a gauge, without `_ratio`.
                #"""
                {"name": "pool.used", "unit": "1", "sum": {"dataPoints": [
                    {"asDouble": -1.5, "timeUnixNano": "3000000"}], "aggregationTemporality": 2}}
                """#,
                ["pool_used{I} -1.5 @3 #0"]
            ),
            (
                #"""
                {"name": "latency", "unit": "ms", "histogram": {"aggregationTemporality": 2,
                    "dataPoints": [{"timeUnixNano": "5000000", "count": "6", "sum": 12.5,
                        "bucketCounts": ["1", 2, "3"], "explicitBounds": [0.5, 1e3], "min": 0, "max": 9}]}}
                """#,
                [
                    "latency_milliseconds_sum{I} 12.5 @5 #0",
                    "latency_milliseconds_count{I} 6 @5 #0",
                    #"latency_milliseconds_bucket{I,le="0.5"} 1 @5 #0"#,
                    #"latency_milliseconds_bucket{I,le="1000"} 3 @5 #0"#,
                    #"latency_milliseconds_bucket{I,le="+Inf"} 6 @5 #0"#,
                ]
            ),
            (
                // No sum, no buckets; and one that became stale.
                #"""
                {"name": "size", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                    {"timeUnixNano": "5000000", "count": "6"},
                    {"timeUnixNano": "6000000", "flags": 1, "sum": 3,
                        "bucketCounts": [1, 0], "explicitBounds": [1]}]}}
                """#,
                [
                    "size_count{I} 6 @5 #0", #"size_bucket{I,le="+Inf"} 6 @5 #0"#,
                    "size_sum{I} stale @6 #1", "size_count{I} stale @6 #1",
                    #"size_bucket{I,le="1"} stale @6 #1"#,
                    #"size_bucket{I,le="+Inf"} stale @6 #1"#,
                ]
            ),
            (
                #"""
                {"name": "rpc", "unit": "s", "summary": {"dataPoints": [{"timeUnixNano": "5000000",
                    "count": "2", "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1},
                    {"quantile": 1, "value": "Infinity"}]}]}}
                """#,
                [
                    "rpc_seconds_sum{I} 3 @5 #0", "rpc_seconds_count{I} 2 @5 #0",
                    #"rpc_seconds{I,quantile="0.5"} 1 @5 #0"#,
                    #"rpc_seconds{I,quantile="1"} +Inf @5 #0"#,
                ]
            ),
            (
                #"""
                {"name": "wait", "unit": "s", "exponentialHistogram": {"aggregationTemporality": 2,
                    "dataPoints": [{"timeUnixNano": "5000000", "count": 3, "scale": 1,
                        "positive": {"offset": -1, "bucketCounts": ["3"]}},
                        {"timeUnixNano": "6000000", "flags": 1}]}}
                """#,
                ["wait_seconds{I} stale @6 #1", "wait_seconds{I} histogram @5 #0"]
            ),
            (#"{"name": "nothing", "gauge": {"dataPoints": []}}, {"name": "less"}"#, []),
            (
                // An attribute by the name of a label that the series has itself.
                #"""
                {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                    {"timeUnixNano": "1000000", "count": 1, "attributes": [
                        {"key": "le", "value": {"stringValue": "x"}},
                        {"key": "__name__", "value": {"stringValue": "evil"}},
                        {"key": "job", "value": {"stringValue": "mine"}}]}]}}
                """#,
                [#"h_count{I,le="x"} 1 @1 #0"#, #"h_bucket{I,le="+Inf"} 1 @1 #0"#]
            ),
        ])
    func kinds(metric: String, expected: [String]) throws {
        let export = try Request.export(Request.json(metric))
        let lines = expected.map { $0.replacing("{I", with: "{" + Self.target) }
            .map { $0.replacing(",I", with: "," + Self.target) }
        #expect(try export.lines().sorted() == lines.sorted())
        #expect(export.refusedCount == 0)
    }

    @Test(
        "attribute values as labels have them",
        arguments: [
            (#"{"stringValue": "é\n"}"#, "é\n"), (#"{"boolValue": true}"#, "true"),
            (#"{"intValue": "-9223372036854775808"}"#, "-9223372036854775808"),
            (#"{"doubleValue": 1e21}"#, "1e+21"), (#"{"doubleValue": 0.5}"#, "0.5"),
            (#"{"doubleValue": 1e-7}"#, "1e-7"), (#"{"doubleValue": -2.5e-9}"#, "-2.5e-9"),
            (#"{"doubleValue": 1e-10}"#, "1e-10"),
            (#"{"arrayValue": {"values": [{"doubleValue": 1e-7}]}}"#, "[1e-7]"),
            (#"{"doubleValue": "NaN"}"#, "json: unsupported value: NaN"),
            (#"{"bytesValue": "_-8="}"#, "/+8="), ("{}", ""),
            (
                #"{"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "<\""}, {}]}}"#,
                #"[1,"\u003c\"",null]"#
            ),
            (
                #"""
                {"kvlistValue": {"values": [{"key": "b", "value": {"boolValue": false}},
                    {"key": "a", "value": {"arrayValue": {}}}]}}
                """#, #"{"a":[],"b":false}"#
            ),
        ])
    func values(json: String, text: String) throws {
        let export = try Request.export(
            Request.json(
                #"""
                {"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "1000000", "asInt": 1,
                    "attributes": [{"key": "a", "value": \#(json)}]}]}}
                """#))
        let line = text.isEmpty ? "m{" : #"m{a="\#(text)","#
        #expect(try export.lines() == [line + Self.target + "} 1 @1 #0"])
    }

    @Test("attributes that become one label are joined; a name of which nothing is left is told")
    func collisions() throws {
        let export = try Request.export(
            Request.json(
                #"""
                {"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "1000000", "asInt": 1,
                    "attributes": [{"key": "a_b", "value": {"stringValue": "3"}},
                        {"key": "a.b", "value": {"stringValue": "1"}},
                        {"key": "a/b", "value": {"stringValue": "2"}},
                        {"key": "9x", "value": {"stringValue": "n"}},
                        {"key": "_u", "value": {"stringValue": "u"}}]},
                    {"timeUnixNano": "1000000", "asInt": 2,
                        "attributes": [{"key": "..", "value": {"stringValue": "3"}}]},
                    {"timeUnixNano": "2000000", "asInt": 3}]}}
                """#))
        #expect(
            try export.lines() == [
                #"m{a_b="1;2;3",\#(Self.target),key_9x="n",key_u="u"} 1 @1 #0"#,
                "m{\(Self.target)} 3 @2 #1",
            ])
        #expect(export.refusedCount == 1 && export.refusals.map(\.reason) == [.labels])
    }

    @Test("what is not cumulative is refused, each data point counted, and nothing else is")
    func delta() throws {
        func points(_ count: Int) -> String {
            (0..<count).map { #"{"timeUnixNano": "\#($0)000000", "count": 1, "asInt": 1}"# }
                .joined(separator: ",")
        }
        let export = try Request.export(
            Request.json(
                #"""
                {"name": "a", "sum": {"aggregationTemporality": 1, "dataPoints": [\#(points(3))]}},
                {"name": "b", "histogram": {"dataPoints": [\#(points(2))]}},
                {"name": "c", "exponentialHistogram": {"dataPoints": [\#(points(1))],
                    "aggregationTemporality": 1}},
                {"name": "d", "sum": {"aggregationTemporality": 2, "dataPoints": [\#(points(1))]}},
                {"name": "..", "gauge": {"dataPoints": [\#(points(1))]}},
                {"name": "coarse", "exponentialHistogram": {"aggregationTemporality": 2,
                    "dataPoints": [{"count": 1, "scale": -5}, {"count": 1, "positive":
                        {"offset": 2147483647, "bucketCounts": [1, 1]}}]}}
                """#))
        #expect(try export.lines() == ["d{\(Self.target)} 1 @0 #0"])
        #expect(export.pointCount == 1 && export.refusedCount == 9)
        #expect(export.refusals.map(\.count) == [3, 2, 1, 1, 1, 1])
        #expect(
            export.refusals.map(\.reason)
                == [.temporality, .temporality, .temporality, .name, .histogram, .histogram])
        #expect(export.refusals[0].text.hasPrefix(#"of metric "a": its aggregation temporality"#))
        #expect(export.refusals[4].text.contains("scale -5 is coarser than -4"))
    }

    @Test(
        "target_info: what the resource says beside who it is, for all the time of its data points")
    func targetInfo() throws {
        let who = #"{"key": "service.name", "value": {"stringValue": "cart"}}"#
        let what = #"{"key": "host.name", "value": {"stringValue": "vps2"}}"#
        func lines(_ resource: String, _ seconds: [Int]) throws -> [String] {
            let points = seconds.map { #"{"timeUnixNano": "\#($0)000000000", "asInt": 1}"# }
            return try Request.export(
                Request.json(
                    #"{"name": "m", "gauge": {"dataPoints": [\#(points.joined(separator: ","))]}}"#,
                    resource: resource)
            ).lines().filter { $0.hasPrefix("target_info") }
        }
        let labels = #"target_info{host_name="vps2",job="cart"} 1 @"#
        #expect(
            try lines("\(who),\(what)", [400, 100]).map { $0.replacing(labels, with: "") }
                == ["100000 #-1", "250000 #-1", "400000 #-1"])
        #expect(
            try lines("\(who),\(what)", [100, 350]).map { $0.replacing(labels, with: "") }
                == ["100000 #-1", "250000 #-1", "350000 #-1"])
        #expect(try lines("\(who),\(what)", [7]) == [labels + "7000 #-1"])
        // Nothing to say, or nobody to say it of, or no data point that was taken.
        #expect(try lines(who, [7]).isEmpty)
        #expect(try lines(what, [7]).isEmpty)
        #expect(try lines("\(who),\(what)", []).isEmpty)
        // A clock that stood at its beginning makes no sample of every 150 s since; a data point without a time none.
        let long = try lines("\(who),\(what)", [1, 1_800_000_000])
        #expect(long.count == 1_001 && long.last == labels + "1800000000000 #-1")
        #expect(long.first == labels + "1799850000000 #-1")
        #expect(try lines("\(who),\(what)", [0, 7]) == [labels + "7000 #-1"])
        #expect(try lines("\(who),\(what)", [0]).isEmpty)
    }

    @Test("target_info is one series a resource, however many samples it has")
    func targetInfoSeries() throws {
        let points = [100, 400, 9_000].map { #"{"timeUnixNano": "\#($0)000000000"}"# }
        let export = try Request.export(
            Request.json(
                #"{"name": "m", "gauge": {"dataPoints": [\#(points.joined(separator: ","))]}}"#,
                resource: #"""
                    {"key": "service.name", "value": {"stringValue": "cart"}},
                    {"key": "host.name", "value": {"stringValue": "vps2"}}
                    """#))
        #expect(export.points == [0, 1, 2, -1])
        #expect(export.request.series.map(\.sampleCount) == [1, 1, 1, 61])
    }

    @Test("labels that the series of a data point share are there once, and counted with each")
    func sharedLabels() throws {
        let text = String(repeating: "x", count: 200)
        let numbers = (1...100).map { "\($0)" }.joined(separator: ",")
        let body = Request.json(
            #"""
            {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": "1000000", "count": 0, "explicitBounds": [\#(numbers)],
                    "bucketCounts": [\#(numbers)],
                    "attributes": [{"key": "a", "value": {"stringValue": "\#(text)"}}]}]}}
            """#)
        var limits = MetricsExport.Limits()
        limits.columns.labelBytesMax = 8_000
        let lines = try Request.export(body, limits: limits).lines()
        #expect(lines.count == 102)
        #expect(lines.allSatisfy { $0.contains(#"{a="\#(text)",\#(Self.target)"#) })
        limits.columns.spelledBytesMax = 25_000
        let error = try #require(throws: OTLPError.self) {
            try Request.export(body, limits: limits)
        }
        #expect(error.isAboutSize && "\(error)".contains("25000 bytes of label sets"), "\(error)")
    }

    @Test("names that look alike are names of their own")
    func alike() throws {
        func point(_ key: String) -> String {
            #"""
            {"timeUnixNano": "1000000", "attributes": [
                {"key": "\#(key)", "value": {"stringValue": "v"}}]}
            """#
        }
        // The second has its accent as a character of its own.
        let points = [point("caf\u{e9}"), point("cafe\u{301}")].joined(separator: ",")
        let export = try Request.export(
            Request.json(#"{"name": "m", "gauge": {"dataPoints": [\#(points)]}}"#))
        #expect(
            try export.lines() == [
                #"m{caf_="v",\#(Self.target)} 0 @1 #0"#, #"m{cafe_="v",\#(Self.target)} 0 @1 #1"#,
            ])
    }

    @Test("a native histogram whose count is not that of its buckets is refused")
    func histogramCount() throws {
        func point(_ count: Int, _ more: String = "") -> String {
            #"""
            {"timeUnixNano": "1000000", "count": \#(count), "zeroCount": 1,
                "positive": {"bucketCounts": [2, 3]}, "negative": {"bucketCounts": [4]}\#(more)}
            """#
        }
        // Observations of NaN are in no bucket.
        let points = [
            point(10), point(11), point(9), point(11, #", "sum": "NaN""#),
            point(9, #", "sum": "NaN""#),
        ].joined(separator: ",")
        let export = try Request.export(
            Request.json(
                #"""
                {"name": "m", "exponentialHistogram": {"aggregationTemporality": 2,
                    "dataPoints": [\#(points)]}}
                """#))
        #expect(export.request.histograms.map(\.histogram.count) == [10, 11])
        #expect(export.refusals.map(\.count) == [1, 2])
        #expect(export.refusals.map(\.reason) == [.histogram, .histogram])
        let text = export.refusals[0].text
        #expect(text.hasSuffix("its buckets have 10 observations, its count is 11"), "\(text)")
    }

    @Test("exponential histograms as native ones: indices, merged scales, thresholds, both signs")
    func exponential() throws {
        func histogram(_ fields: String) throws -> FloatHistogram {
            let export = try Request.export(
                Request.json(
                    #"""
                    {"name": "m", "exponentialHistogram": {"aggregationTemporality": 2,
                        "dataPoints": [{"timeUnixNano": "1000000", \#(fields)}]}}
                    """#))
            return try #require(export.request.histograms.first).histogram
        }
        #expect(
            try histogram(
                #"""
                "count": "10", "sum": 4.5, "scale": 2, "zeroCount": "1", "zeroThreshold": 0.25,
                "positive": {"offset": -3, "bucketCounts": ["2", "0", "3"]},
                "negative": {"offset": 4, "bucketCounts": [4]}
                """#)
                == FloatHistogram(
                    schema: 2, count: 10, sum: 4.5, zeroThreshold: 0.25, zeroCount: 1,
                    positive: FloatHistogram.Buckets(indices: [-2, 0], counts: [2, 3]),
                    negative: FloatHistogram.Buckets(indices: [5], counts: [4])))
        // Scale 10 is four times as fine as 8: -5 … -2 become -2 and -1, and then the index of the upper bound.
        #expect(
            try histogram(
                #""count": 10, "scale": 10, "positive": {"offset": -5, "bucketCounts": [1, 2, 3, 4]}"#
            )
                == FloatHistogram(
                    schema: 8, count: 10, sum: 0, zeroThreshold: 1e-128,
                    positive: FloatHistogram.Buckets(indices: [-1, 0], counts: [1, 9])))
        #expect(
            try histogram(
                #""count": 3, "scale": 2147483647, "positive": {"offset": 9, "bucketCounts": [1, 2]}"#
            ).positive == FloatHistogram.Buckets(indices: [1], counts: [3]))
    }

    @Test(
        "exemplars: ids in hexadecimal, in their bucket, filtered attributes where they are short")
    func exemplars() throws {
        let long = String(repeating: "x", count: 100)
        let exemplars = #"""
            [{"asDouble": 0.7, "timeUnixNano": "900000000", "traceId": "5B8EFFF798038103D269B633813FC60C",
                "spanId": "eee19b7ec3c1b174",
                "filteredAttributes": [{"key": "user.id", "value": {"intValue": 7}}]},
             {"asInt": "3", "traceId": "00000000000000000000000000000000",
                "filteredAttributes": [{"key": "a", "value": {"stringValue": "\#(long)"}},
                    {"key": "b", "value": {"stringValue": "\#(long)"}}]},
             {"asDouble": 0.1}, {"timeUnixNano": "1"}]
            """#
        let trace =
            #"span_id="eee19b7ec3c1b174",trace_id="5b8efff798038103d269b633813fc60c",user.id="7""#
        let export = try Request.export(
            Request.json(
                #"""
                {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                    {"timeUnixNano": "1000000000", "count": 3, "bucketCounts": [1, 1, 1],
                        "explicitBounds": [0.5, 1], "exemplars": \#(exemplars)}]}}
                """#))
        #expect(
            try export.lines().dropFirst() == [
                #"h_bucket{\#(Self.target),le="0.5"} 1 @1000 #0 exemplar {} 0.1 @1000"#,
                #"h_bucket{\#(Self.target),le="1"} 2 @1000 #0 exemplar {\#(trace)} 0.7 @900"#,
                #"h_bucket{\#(Self.target),le="+Inf"} 3 @1000 #0 exemplar {} 3 @1000"#,
            ])
        #expect(export.refusedExemplarCount == 1)
        let sum = try Request.export(
            Request.json(
                #"""
                {"name": "c", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
                    {"timeUnixNano": "1000000000", "asInt": 3, "exemplars": \#(exemplars)}]}}
                """#))
        #expect(sum.request.series.map(\.exemplarCount) == [3])
    }

    @Test("metadata: type, help and Prometheus' unit go to every series of the metric")
    func metadata() throws {
        let export = try Request.export(
            Request.json(
                #"""
                {"name": "h", "description": "How much.", "unit": "By/s", "histogram":
                    {"aggregationTemporality": 2, "dataPoints": [{"count": 1, "sum": 1}]}},
                {"name": "c", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
                    "dataPoints": [{"asInt": 1}]}}
                """#))
        let told = try export.request.series.map { series in
            let metadata = try #require(series.metadata)
            return MetricMetadata(
                type: metadata.type, help: export.request.text(metadata.help),
                unit: export.request.text(metadata.unit))
        }
        let histogram = MetricMetadata(
            type: .histogram, help: "How much.", unit: "bytes_per_second")
        #expect(
            told == [histogram, histogram, histogram, MetricMetadata(type: .counter)])
    }
}
