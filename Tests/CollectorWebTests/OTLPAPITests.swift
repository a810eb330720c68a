import CollectorWeb
import Gzip
import Model
import Storage
import Synchronization
import Testing

/// What senders of OTLP are told, and what reaches the storage.
@Suite("OTLP API")
struct OTLPAPITests {
    private func post(
        _ body: [UInt8], type: String? = "application/json", encoding: String? = nil,
        headers: [String: String] = [:], method: String = "POST",
        path: [String] = ["otlp", "v1", "metrics"], to site: WebSite
    ) async -> WebResponse {
        var all = ["host": "127.0.0.1:9600"]
        all.merge(headers) { $1 }
        all["content-type"] = type
        all["content-encoding"] = encoding
        return await site.respond(
            to: WebRequest(method: method, path: path, headers: all, body: body))
    }

    private func text(_ response: WebResponse) -> String {
        String(decoding: response.body, as: UTF8.self)
    }

    /// A request of these metrics, of the service `cart`.
    private func json(_ metrics: String...) -> [UInt8] {
        Array(
            #"""
            {"resourceMetrics": [{"resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "cart"}}]},
                "scopeMetrics": [{"metrics": [\#(metrics.joined(separator: ","))]}]}]}
            """#.utf8)
    }

    private func gauge(_ name: String, _ seconds: Int...) -> String {
        let points = seconds.map { #"{"timeUnixNano": "\#($0)000000000", "asInt": \#($0)}"# }
        return #"{"name": "\#(name)", "description": "\#(name)?", "gauge": {"dataPoints": ["#
            + points.joined(separator: ",") + "]}}"
    }

    private let histogram = #"""
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": "5000000000", "count": 3, "sum": 1, "bucketCounts": [1, 2],
                "explicitBounds": [0.5], "exemplars": [{"asDouble": 0.1,
                    "traceId": "000102030405060708090a0b0c0d0e0f"}]}]}}
        """#

    @Test("stored, answered in the request's own encoding; the same again asks for no number")
    func stores() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let body = json(gauge("up", 1, 2), histogram)
        for encoding in ["gzip", nil, "identity"] {
            let response = await post(
                encoding == "gzip" ? try Gzip.compress(body) : body, encoding: encoding, to: site)
            #expect(response.status == 200 && text(response) == "{}")
            #expect(response.header("content-type") == "application/json")
        }
        try writer.state.withLock { state in
            #expect(state.interned == 6 && state.batches.count == 3)
            let batch = try #require(state.batches.last)
            #expect(batch == state.batches[0])
            #expect(batch.timestamps == [1_000, 2_000, 5_000, 5_000, 5_000, 5_000])
            #expect(batch.values == [1, 2, 1, 3, 1, 3])
            #expect(batch.exemplars.map(\.series.rawValue) == [3])
            #expect(
                batch.exemplars[0].exemplar
                    == Exemplar(
                        labels: ["trace_id": "000102030405060708090a0b0c0d0e0f"], value: 0.1,
                        timestamp: TimestampMS(5_000)))
            #expect(
                state.definitions[0]
                    == SeriesDefinition(
                        labels: ["__name__": "up", "job": "cart"],
                        metadata: MetricMetadata(type: .gauge, help: "up?")))
        }
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            #"petrel_otlp_requests_total{code="200",encoding="json"} 3"#,
            "petrel_otlp_data_points_total 9",
            #"petrel_otlp_samples_total{type="float"} 18"#, "petrel_otlp_exemplars_total 3",
        ] {
            #expect(metrics.contains(line), "\(line) in \(metrics)")
        }
    }

    @Test("protocol buffers are answered with protocol buffers, and an empty request with success")
    func protobuf() async throws {
        let site = FakeCollector.site()
        let stored = await post([], type: "application/x-protobuf", to: site)
        #expect(stored.status == 200 && stored.body.isEmpty)
        #expect(stored.header("content-type") == "application/x-protobuf")
        let cut = await post([0x0a, 9], type: "application/x-protobuf", to: site)
        #expect(cut.status == 400 && cut.body.prefix(3) == [0x08, 3, 0x12])
        #expect(cut.header("content-type") == "application/x-protobuf")
        let empty = await post(Array("{}".utf8), type: "application/json; charset=utf-8", to: site)
        #expect(empty.status == 200 && text(empty) == "{}")
    }

    @Test("data points that can't be stored are counted and told, the others are stored")
    func partial() async throws {
        let writer = FakeSampleWriter()
        writer.state.withLock { state in
            state.oldest = 2_000
            state.newest = 10_000
            state.seriesMax = 3
        }
        let site = FakeCollector.site(sampleWriter: writer)
        let delta = #"""
            {"name": "d", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": 1}, {}]}}
            """#
        // Of the histogram two series of four have room: it is one data point.
        let body = json(gauge("up", 1, 2, 11, 3), delta, histogram, gauge("more", 4))
        for round in 1...2 {
            let response = await post(body, to: site)
            #expect(response.status == 200)
            let text = text(response)
            #expect(text.hasPrefix(#"{"partialSuccess":{"rejectedDataPoints":"6","#), "\(text)")
            for part in [
                #"2 of metric \"d\": its aggregation temporality is not cumulative"#,
                "1 of new series past a limit of series, as of h_bucket",
                "1 of new series past a limit of series, as of more", "1 older than the retention",
                "1 more than an hour ahead",
            ] {
                #expect(text.contains(part), "\(part) in \(text)")
            }
            try writer.state.withLock { state in
                let batch = try #require(state.batches.last)
                #expect(batch.timestamps == [2_000, 3_000, 5_000, 5_000])
                #expect(state.batches.count == round)
            }
        }
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            "petrel_otlp_data_points_total 4",
            #"petrel_otlp_data_points_rejected_total{reason="temporality"} 4"#,
            #"petrel_otlp_data_points_rejected_total{reason="store"} 8"#,
            #"petrel_otlp_samples_rejected_total{reason="limit"} 6"#,
            #"petrel_otlp_exemplars_rejected_total{reason="series"} 2"#,
        ] {
            #expect(metrics.contains(line), "\(line) in \(metrics)")
        }
    }

    @Test("what a retention class drops is told of its own data points")
    func classes() async throws {
        let writer = FakeSampleWriter()
        writer.state.withLock { state in
            state.oldest = 1_000
            state.oldestOf = ["short": 4_000]
        }
        let site = FakeCollector.site(sampleWriter: writer)
        // The first is dropped before classes are looked at: what is left is numbered anew.
        let body = json(gauge("gone", 0), gauge("short", 3, 5), gauge("long", 3))
        let text = text(await post(body, to: site))
        let told = #""rejectedDataPoints":"2","errorMessage":"2 data points were rejected:"#
        #expect(text.contains(told + " 2 older than the retention"), "\(text)")
        #expect(writer.state.withLock { $0.batches[0].timestamps } == [5_000, 3_000])
    }

    @Test("target_info that is refused is a warning: no data point was rejected")
    func targetInfo() async throws {
        let writer = FakeSampleWriter()
        writer.state.withLock { $0.seriesMax = 1 }
        let body = #"""
            {"resourceMetrics": [{"resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "cart"}},
                {"key": "host.name", "value": {"stringValue": "h"}}]},
                "scopeMetrics": [{"metrics": [\#(gauge("up", 1))]}]}]}
            """#
        let response = await post(
            Array(body.utf8), to: FakeCollector.site(sampleWriter: writer))
        let told =
            #"{"partialSuccess":{"rejectedDataPoints":"0","errorMessage":"1 series of target_info "#
            + "were not stored whole: 1 of new series past a limit of series, as of target_info "
        #expect(response.status == 200 && text(response).hasPrefix(told), "\(text(response))")
        #expect(writer.state.withLock { $0.batches[0].timestamps } == [1_000])
    }

    @Test("what is no request is refused whole, by POST alone and from our pages alone")
    func refused() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let body = json(gauge("up", 1))
        func check(
            _ response: WebResponse, _ status: Int, _ part: String,
            location: SourceLocation = #_sourceLocation
        ) {
            #expect(
                response.status == status && text(response).contains(part), "\(text(response))",
                sourceLocation: location)
            #expect(text(response).hasPrefix(#"{"code":"#), sourceLocation: location)
            #expect(
                response.header("content-type") == "application/json", sourceLocation: location)
        }
        check(await post(Array(body.dropLast()), to: site), 400, "no JSON at byte")
        check(await post(body, type: "text/plain", to: site), 415, "application/x-protobuf or")
        check(await post(body, type: nil, to: site), 415, "content type none")
        check(await post(body, encoding: "deflate", to: site), 415, "deflate")
        check(await post(body, encoding: "gzip", to: site), 400, "not gzip")
        let get = await post(body, method: "GET", to: site)
        check(get, 405, "POST")
        #expect(get.header("allow") == "POST")
        check(await post(body, method: "DELETE", to: site), 405, "not allowed")
        check(
            await post(body, path: ["otlp", "v1", "traces"], to: site), 404, "/otlp/v1/metrics")
        check(
            await post(body, headers: ["origin": "https://evil.example"], to: site), 403, "page")
        check(await post(body, headers: ["host": "evil.example"], to: site), 421, "host")
        let bomb = try Gzip.compress([UInt8](repeating: 32, count: 33 << 20), level: 9)
        check(await post(bomb, encoding: "gzip", to: site), 413, "33554432 bytes")
        // Two members, of which the last says how long it is alone.
        let halves = try Gzip.compress(Array(body[..<20])) + Gzip.compress(Array(body[20...]))
        #expect(await post(halves, encoding: "gzip", to: site).status == 200)
        #expect(writer.state.withLock { $0.batches.count } == 1)
        let large = site.refuse(
            WebRefusal(413, "too long"), path: ["otlp", "v1", "metrics"],
            contentType: "application/x-protobuf")
        #expect(large.status == 413 && large.body.prefix(3) == [0x08, 8, 0x12])
    }

    @Test(
        "what may be stored later is to be sent again, also what senders would give up at 500",
        arguments: [
            (StorageError.unavailable("away"), "5"), (.exhausted("full"), "30"),
            (.cancelled, "5"), (.refused("defect"), "30"), (.corrupt("row"), "30"),
        ] as [(StorageError, String)])
    func later(failure: StorageError, after: String) async throws {
        let writer = FakeSampleWriter()
        writer.state.withLock { $0.failure = failure }
        let site = FakeCollector.site(sampleWriter: writer)
        let body = json(gauge("up", 1))
        let response = await post(body, to: site)
        #expect(response.status == 503 && response.header("retry-after") == after)
        #expect(text(response).hasPrefix(#"{"code":14,"message":"#))
        writer.state.withLock { $0.failure = nil }
        #expect(await post(body, to: site).status == 200)
        #expect(writer.state.withLock { $0.batches.count } == 1)
    }

    @Test("a new description is told once")
    func metadata() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        for (index, description) in ["First.", "First.", "Second."].enumerated() {
            let body = json(
                #"""
                {"name": "c", "description": "\#(description)", "unit": "By", "sum": {
                    "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{"asInt": 1}]}}
                """#)
            #expect(await post(body, to: site).status == 200)
            #expect(writer.state.withLock { $0.metadata.count } == [1, 1, 2][index])
        }
        #expect(
            writer.state.withLock { $0.metadata[1] } == [
                "c_bytes_total": MetricMetadata(type: .counter, help: "Second.", unit: "bytes")
            ])
    }
}
