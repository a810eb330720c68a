import FoundationEssentials
import Model
import OTLP
import RemoteWrite
import Testing

/// Both encodings, as senders write them and as nobody should.
@Suite("OTLP reader")
struct ReaderTests {
    /// Every kind of metric and of field, written by `opentelemetry-proto` 1.45 for Python.
    private static let recorded = """
        CuIECi8KFgoMc2VydmljZS5uYW1lEgYKBGNhcnQKEwoJaG9zdC5uYW1lEgYKBHZwczIQARKjBAoRCgNsaWIS
        ATEaBwoBcxICEAEStgEKCHJlcXVlc3RzEgRBbGwuGgExOpYBCo8BEQDKmjsAAAAAGQCUNXcAAAAAKjgRALM/
        cQAAAAAZAAAAAAAA+D8iCAABAgMEBQYHKhAAAQIDBAUGBwgJCgsMDQ4POggKAWYSAwoBZzH7/////////zoi
        CgRsaXN0EhoqGAoLGP///////////wEKCSEAAAAAAADgPzoUCgNtYXASDTILCgkKAWISBDoC/wAQAhgBYggK
        AWsSAwoBdhItCgVkZXB0aBoBMSohChIZAJQ1dwAAAAAhAAAAAAAA8P8KCxkAXtCyAAAAAEABEmsKB2xhdGVu
        Y3kaAXNKXQpZGQCUNXcAAAAAIQMAAAAAAAAAKQAAAAAAAARAMhgBAAAAAAAAAAAAAAAAAAAAAgAAAAAAAAA6
        EAAAAAAAANA/AAAAAAAA8D9ZAAAAAAAAAABhAAAAAAAAAEAQAhJgCgR3YWl0GgFzUlUKURkAlDV3AAAAACEw
        AQAAAAAAACkAAAAAAAAEQDADOQEAAAAAAAAAQgcIBRIDAawCSgUIBBIBAmEAAAAAAAAAAGkAAAAAAAAAQHEA
        AAAAAADAPxACEkwKA3JwY1pFCkMZAJQ1dwAAAAAhAgAAAAAAAAApAAAAAAAACEAyEgkAAAAAAADgPxEAAAAA
        AADwPzISCa5H4XoUru8/EQAAAAAAAABAGglodHRwczovL3kaCWh0dHBzOi8veA==
        """

    private static let protobuf = [UInt8](
        Data(base64Encoded: recorded.filter { $0 != "\n" }) ?? Data())

    /// The same in JSON.
    private static let json = Array(
        #"""
        {"unknown": [{}, null, 1.5e3, "\\u00e9"], "resourceMetrics": [{"schemaUrl": "https://x",
            "scopeMetrics": [{"scope": {"name": "lib", "version": "1", "attributes": []},
                "metrics": [
                {"name": "requests", "description": "All.", "unit": "1", "sum": {
                    "dataPoints": [{"asInt": "-5", "timeUnixNano": "2000000000",
                        "startTimeUnixNano": 1e9, "flags": null, "attributes": [
                        {"key": "list", "value": {"arrayValue": {"values": [
                            {"intValue": -1}, {"doubleValue": 0.5}]}}},
                        {"key": "map", "value": {"kvlistValue": {"values": [
                            {"key": "b", "value": {"bytesValue": "/wA"}}]}}}],
                        "exemplars": [{"asDouble": "1.5", "timeUnixNano": "1900000000",
                            "traceId": "000102030405060708090A0B0C0D0E0F",
                            "spanId": "0001020304050607", "filteredAttributes": [
                                {"key": "f", "value": {"stringValue": "g"}}]}]}],
                    "isMonotonic": true, "aggregationTemporality": 2}},
                {"name": "depth", "unit": "1", "gauge": {"dataPoints": [
                    {"asDouble": "-Infinity", "timeUnixNano": "2000000000"},
                    {"timeUnixNano": "3000000000", "flags": 1}]}},
                {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2,
                    "dataPoints": [{"count": "3", "sum": 2.5, "bucketCounts": ["1", "0", "2"],
                        "explicitBounds": [0.25, 1], "timeUnixNano": "2000000000"}]}},
                {"name": "wait", "unit": "s", "exponentialHistogram": {
                    "aggregationTemporality": 2, "dataPoints": [{"count": "304", "sum": 2.5,
                        "scale": -2, "zeroCount": "1", "zeroThreshold": 0.125,
                        "timeUnixNano": "2000000000",
                        "positive": {"offset": -3, "bucketCounts": ["1", "300"]},
                        "negative": {"offset": 2, "bucketCounts": ["2"]}}]}},
                {"name": "rpc", "summary": {"dataPoints": [{"count": "2", "sum": 3,
                    "timeUnixNano": "2000000000", "quantileValues": [
                        {"quantile": 0.5, "value": 1}, {"quantile": 0.99, "value": 2}]}]}}
                ]}],
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "cart"}},
                {"key": "host.name", "value": {"stringValue": "vps2"}}]}}]}
        """#.utf8)

    @Test("protocol buffers and JSON say the same")
    func both() throws {
        let export = try Request.export(Self.protobuf, .protobuf)
        let attributes = #"job="cart",list="[-1,0.5]",map="{"b":"/wA="}""#
        let exemplar =
            #"exemplar {f="g",span_id="0001020304050607",trace_id="000102030405060708090a0b0c0d0e0f"} 1.5 @1900"#
        #expect(
            try export.lines() == [
                "requests_total{\(attributes)} -5 @2000 from 1000 #0 \(exemplar)",
                #"depth_ratio{job="cart"} -Inf @2000 #1"#,
                #"depth_ratio{job="cart"} stale @3000 #2"#,
                #"latency_seconds_sum{job="cart"} 2.5 @2000 #3"#,
                #"latency_seconds_count{job="cart"} 3 @2000 #3"#,
                #"latency_seconds_bucket{job="cart",le="0.25"} 1 @2000 #3"#,
                #"latency_seconds_bucket{job="cart",le="1"} 1 @2000 #3"#,
                #"latency_seconds_bucket{job="cart",le="+Inf"} 3 @2000 #3"#,
                #"wait_seconds{job="cart"} histogram @2000 #4"#,
                #"rpc_sum{job="cart"} 3 @2000 #5"#, #"rpc_count{job="cart"} 2 @2000 #5"#,
                #"rpc{job="cart",quantile="0.5"} 1 @2000 #5"#,
                #"rpc{job="cart",quantile="0.99"} 2 @2000 #5"#,
                #"target_info{host_name="vps2",job="cart"} 1 @2000 #-1"#,
                #"target_info{host_name="vps2",job="cart"} 1 @3000 #-1"#,
            ])
        #expect(
            export.request.histograms.map(\.histogram) == [
                FloatHistogram(
                    schema: -2, count: 304, sum: 2.5, zeroThreshold: 0.125, zeroCount: 1,
                    positive: FloatHistogram.Buckets(indices: [-2, -1], counts: [1, 300]),
                    negative: FloatHistogram.Buckets(indices: [3], counts: [2]))
            ])
        let other = try Request.export(Self.json, .json)
        #expect(try other.lines() == export.lines())
        #expect(other.request.histograms == export.request.histograms)
        #expect(other.request.bytes == export.request.bytes)
    }

    @Test("an empty request is one", arguments: [MetricsExport.Encoding.protobuf, .json])
    func empty(encoding: MetricsExport.Encoding) throws {
        let export = try Request.export(encoding == .json ? Array(" {} ".utf8) : [], encoding)
        #expect(export.request.series.isEmpty && export.refusedCount == 0)
    }

    @Test(
        "JSON that is no request",
        arguments: [
            ("", "the body is not the JSON of a request: no JSON at byte 0"),
            ("[]", "ExportMetricsServiceRequest has a value of an object"),
            ("{} {}", "the body is not the JSON of a request: no JSON at byte 3"),
            (
                #"{"resourceMetrics": {}}"#,
                "ExportMetricsServiceRequest has a value of resourceMetrics"
            ),
            (#"{"resourceMetrics": [7]}"#, "ResourceMetrics has a value of an object"),
            (metric(#""name": 7"#), "Metric has a value of name"),
            (
                metric(#""sum": {"aggregationTemporality": "CUMULATIVE"}"#),
                "Sum has a value of aggregationTemporality"
            ),
            (metric(#""sum": {"isMonotonic": 1}"#), "Sum has a value of isMonotonic"),
            (point(#""asInt": 1.5"#), "NumberDataPoint has a value of asInt"),
            (point(#""asDouble": "0x10""#), "NumberDataPoint has a value of asDouble"),
            (point(#""asDouble": "inf""#), "NumberDataPoint has a value of asDouble"),
            (point(#""asDouble": 1e999"#), "NumberDataPoint has a value of asDouble"),
            (point(#""timeUnixNano": "-1""#), "NumberDataPoint has a value of timeUnixNano"),
            (
                point(#""timeUnixNano": "18446744073709551616""#),
                "NumberDataPoint has a value of timeUnixNano"
            ),
            (point(#""exemplars": [{"traceId": "abc"}]"#), "Exemplar has a value of traceId"),
            (point(#""exemplars": [{"spanId": "zz"}]"#), "Exemplar has a value of spanId"),
            (
                point(#""attributes": [{"value": {"bytesValue": "!"}}]"#),
                "AnyValue has a value of bytesValue"
            ),
            (point(#""asInt": 1,"#), "the body is not the JSON of a request: no JSON"),
        ])
    func badJSON(text: String, problem: String) throws {
        let error = try #require(throws: OTLPError.self) {
            try Request.export(Array(text.utf8))
        }
        #expect("\(error)".hasPrefix(problem), "\(error)")
        #expect(!error.isAboutSize)
    }

    private static func metric(_ fields: String) -> String {
        #"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{\#(fields)}]}]}]}"#
    }

    private static func point(_ fields: String) -> String {
        metric(#""gauge": {"dataPoints": [{\#(fields)}]}"#)
    }

    @Test(
        "bytes that are no request",
        arguments: [
            ([0x0a], "ExportMetricsServiceRequest ends within a field at byte 1"),
            ([0x0a, 2, 0x12], "ExportMetricsServiceRequest ends within a field at byte 3"),
            ([0x08, 1], "ExportMetricsServiceRequest has field 1 with wire type 0"),
            ([0x0b], "ExportMetricsServiceRequest has field 1 with wire type 3"),
            ([0x0a, 2, 0x0a, 9], "ResourceMetrics ends within a field at byte 4"),
            ([0x0a, 3, 0x0a, 1, 0x08], "Resource has field 1 with wire type 0"),
            (
                [0x0a, 4, 0x12, 2, 0x12, 9], "ScopeMetrics ends within a field at byte 6"
            ),
        ] as [([UInt8], String)])
    func badBytes(body: [UInt8], problem: String) throws {
        let error = try #require(throws: OTLPError.self) { try Request.export(body, .protobuf) }
        #expect("\(error)".hasPrefix(problem), "\(error)")
    }

    @Test("bounds")
    func bounds() throws {
        func refusal(_ change: (inout MetricsExport.Limits) -> Void) -> OTLPError? {
            var limits = MetricsExport.Limits()
            change(&limits)
            do throws(OTLPError) {
                _ = try MetricsExport(
                    Self.protobuf, .protobuf, bytesMax: 1 << 20, limits: limits)
            } catch { return error }
            return nil
        }
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0.pointsMax = 5 } == .tooMany("data points", max: 5))
        #expect(refusal { $0.metricsMax = 4 } == .tooMany("metrics", max: 4))
        #expect(refusal { $0.resourcesMax = 0 } == .tooMany("resources", max: 0))
        #expect(refusal { $0.attributesMax = 4 } == .tooMany("attributes", max: 4))
        #expect(refusal { $0.bucketsMax = 9 } == .tooMany("buckets", max: 9))
        #expect(refusal { $0.exemplarsMax = 0 } == .tooMany("exemplars", max: 0))
        #expect(refusal { $0.valueDepthMax = 1 } == .tooDeep(max: 1))
        for change: (inout WriteRequest.Limits) -> Void in [
            { $0.seriesMax = 13 }, { $0.samplesMax = 13 }, { $0.histogramsMax = 0 },
            { $0.exemplarsMax = 0 }, { $0.labelBytesMax = 300 }, { $0.spelledBytesMax = 500 },
        ] {
            let error = refusal { change(&$0.columns) }
            #expect(error?.isAboutSize == true, "\(String(describing: error))")
        }
        for encoding in [MetricsExport.Encoding.protobuf, .json] {
            #expect(throws: OTLPError.tooLong(max: 400)) {
                try MetricsExport(
                    encoding == .json ? Self.json : Self.protobuf, encoding, bytesMax: 400)
            }
        }
        // Short JSON that is long as protocol buffers.
        let buckets = String(repeating: "1,", count: 2_000) + "1"
        let body = Self.metric(
            #""histogram": {"dataPoints": [{"bucketCounts": [\#(buckets)]}]}"#)
        #expect(throws: OTLPError.tooLong(max: 6_000)) {
            try MetricsExport(Array(body.utf8), .json, bytesMax: 6_000)
        }
    }

    @Test("depth: as many maps as an attribute's value may have, and not one more, in JSON too")
    func depth() throws {
        func read(_ open: String, _ count: Int, _ close: String) throws {
            let value =
                String(repeating: open, count: count) + #"{"stringValue": "x"}"#
                + String(repeating: close, count: count)
            // With a name: the data points of others are counted and not read.
            let body = Self.metric(
                #"""
                "name": "m", "gauge": {"dataPoints": [{"exemplars": [
                    {"asInt": 1, "filteredAttributes": [{"key": "a", "value": \#(value)}]}]}]}
                """#)
            let export = try Request.export(Array(body.utf8))
            #expect(export.request.exemplars.count == 1)
        }
        let map = (#"{"kvlistValue": {"values": [{"key": "k", "value": "#, "}]}}")
        let array = (#"{"arrayValue": {"values": ["#, "]}}")
        for (open, close) in [map, array] {
            try read(open, 15, close)
            #expect(throws: OTLPError.tooDeep(max: 16)) { try read(open, 16, close) }
        }
        let error = try #require(throws: OTLPError.self) { try read(array.0, 1_000, array.1) }
        #expect("\(error)".contains("more than 96 levels of JSON"), "\(error)")
    }

    @Test("a metric without data points leaves nothing behind")
    func noPoints() throws {
        let metric = #"{"name": "a", "description": "What.", "unit": "s", "gauge": {}}"#
        let export = try Request.export(Request.json(metric))
        #expect(export.request.bytes.isEmpty && export.request.series.isEmpty)
    }

    /// Requests of a few megabytes that took hours while something was looked at once for each of something else.
    @Test("what a request takes grows with its length", .timeLimit(.minutes(1)))
    func effort() throws {
        func nested(_ content: [UInt8], _ fields: UInt64...) -> [UInt8] {
            fields.reversed().reduce(content) { content, field in
                var message: [UInt8] = []
                ProtobufText.append(field, content: content, to: &message)
                return message
            }
        }
        func export(name: [UInt8], _ data: [UInt8]) throws -> MetricsExport {
            let body = nested(nested(name, 1) + data, 1, 2, 2)
            return try MetricsExport(body, .protobuf, bytesMax: 32 << 20)
        }
        func repeated(_ message: [UInt8], _ count: Int) -> [UInt8] {
            var bytes: [UInt8] = []
            for _ in 0..<count { bytes += message }
            return bytes
        }
        // A name that is one character, of many data points that are refused.
        let marks = repeated(Array("\u{301}".utf8), 3_000_000)
        let refused = try export(name: [97] + marks, nested(repeated([0x0a, 0], 20_000), 7))
        #expect(refused.refusedCount == 20_000)
        #expect(refused.refusals[0].text.unicodeScalars.count < 500)
        // Attributes of one name.
        let text = [UInt8](repeating: 120, count: 450)
        let attribute = nested(nested([107], 1) + nested(nested(text, 1), 2), 7)
        let joined = try export(name: [109], nested(repeated(attribute, 60_000), 5, 1))
        #expect(joined.request.labelBytes.count > 27_000_000)
        // Exemplars above all bounds.
        let zeros = [UInt8](repeating: 0, count: 8 * 10_000)
        let histogram =
            nested(zeros, 6) + nested(zeros, 7)
            + repeated(nested([3 << 3 | 1, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], 8), 50_000)
        let one = try export(name: [109], nested([0x10, 2] + nested(histogram, 1), 9))
        #expect(one.request.series.count == 10_002 && one.request.exemplars.count == 50_000)
        #expect(one.request.series.last?.exemplarCount == 50_000)
    }

    @Test("texts that are no UTF-8 are refused where they stand, and nothing else is")
    func notUTF8() throws {
        func message(_ field: UInt8, _ content: [UInt8]) -> [UInt8] {
            [field << 3 | 2, UInt8(content.count)] + content
        }
        func point(_ key: [UInt8], _ value: [UInt8]) -> [UInt8] {
            message(1, message(7, message(1, key) + message(2, message(1, value))))
        }
        let points =
            point([0xff], [65]) + point([65], [0xc3]) + point([66], [66])
            + point([67], [0xe2, 0x82, 0xac])
        let metrics =
            message(2, message(1, [77]) + message(5, points))
            + message(2, message(1, [0xff]) + message(5, point([66], [66])))
        let export = try Request.export(message(1, message(2, metrics)), .protobuf)
        #expect(try export.lines() == [#"M{B="B"} 0 @0 #0"#, #"M{C="€"} 0 @0 #1"#])
        #expect(export.refusals.map(\.count) == [2, 1])
    }

    @Test("no cut and no flipped bit traps, and what is read stays within its columns")
    func fuzz() {
        for (body, encoding) in [
            (Self.protobuf, MetricsExport.Encoding.protobuf), (Self.json, .json),
        ] {
            for count in stride(from: 0, to: body.count, by: encoding == .json ? 3 : 1) {
                touch(Array(body[..<count]), encoding)
            }
            // Of the longer text every 13th byte, of the other every third.
            for at in stride(from: 0, to: body.count, by: encoding == .json ? 13 : 3) {
                for bit in 0..<8 {
                    var damaged = body
                    damaged[at] ^= 1 << UInt8(bit)
                    touch(damaged, encoding)
                    damaged[(at * 7 + 3) % damaged.count] &+= UInt8(bit * 31 + 1)
                    touch(damaged, encoding)
                }
            }
        }
    }

    private func touch(_ body: [UInt8], _ encoding: MetricsExport.Encoding) {
        guard let export = try? Request.export(body, encoding) else { return }
        let request = export.request
        #expect(export.points.count == request.series.count)
        #expect(export.points.allSatisfy { $0 >= -1 && $0 < Int32(export.pointCount) })
        #expect(request.timestamps.count == request.values.count)
        #expect([0, request.values.count].contains(request.startTimestamps.count))
        #expect(request.series.reduce(0) { $0 + $1.sampleCount } == request.values.count)
        for (series, point) in zip(request.series, export.points) {
            let isOne = series.sampleCount + series.histogramCount == 1
            #expect(isOne || point == -1 && series.histogramCount == 0)
        }
        #expect(request.series.reduce(0) { $0 + $1.exemplarCount } == request.exemplars.count)
    }

    @Test("answers in both encodings")
    func answers() {
        #expect(ExportResponse.full.body(.protobuf).isEmpty)
        #expect(ExportResponse.full.body(.json) == Array("{}".utf8))
        let partial = ExportResponse.partial(rejectedDataPoints: 300, message: "a\"b")
        #expect(
            partial.body(.protobuf) == [0x0a, 8, 0x08, 0xac, 2, 0x12, 3, 97, 34, 98])
        #expect(
            partial.body(.json)
                == Array(
                    #"{"partialSuccess":{"rejectedDataPoints":"300","errorMessage":"a\"b"}}"#.utf8))
        let status = ExportResponse.status(.invalidArgument, message: "no")
        #expect(status.body(.protobuf) == [0x08, 3, 0x12, 2, 110, 111])
        #expect(status.body(.json) == Array(#"{"code":3,"message":"no"}"#.utf8))
    }
}
