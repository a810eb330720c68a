import CollectorWeb
import Model
import RemoteWrite
import Storage
import Synchronization
import Testing

/// What senders of remote write are told, and what reaches the storage.
@Suite("Remote write API")
struct RemoteWriteAPITests {
    private static let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

    private func post(
        _ body: [UInt8], type: String? = "application/x-protobuf", encoding: String? = "snappy",
        headers: [String: String] = [:], method: String = "POST", isCompressed: Bool = true,
        to site: WebSite
    ) async -> WebResponse {
        var all = ["host": "127.0.0.1:9600"]
        all.merge(headers) { $1 }
        all["content-type"] = type
        all["content-encoding"] = encoding
        return await site.respond(
            to: WebRequest(
                method: method, path: ["prometheus", "api", "v1", "write"], headers: all,
                body: isCompressed ? SnappyBlock.compress(body) : body))
    }

    private func text(_ response: WebResponse) -> String {
        String(decoding: response.body, as: UTF8.self)
    }

    @Test("version 1: stored, answered with 204; the same again asks for no number")
    func stores() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let body = WriteMessage.v1([
            (["__name__": "up", "job": "a"], [(1_000, 1), (2_000, 0)]),
            (["__name__": "up", "job": "b"], [(1_000, 0.5)]),
        ])
        for _ in 0..<2 {
            let response = await post(body, to: site)
            #expect(response.status == 204 && response.body.isEmpty, "\(text(response))")
            #expect(response.header("x-prometheus-remote-write-samples-written") == nil)
        }
        try writer.state.withLock { state in
            #expect(state.interned == 2 && state.batches.count == 2)
            #expect(state.series.map { $0["job"] } == ["a", "b"])
            let batch = try #require(state.batches.last)
            #expect(batch == state.batches[0])
            #expect(batch.runs.map(\.sampleCount) == [2, 1])
            #expect(batch.timestamps == [1_000, 2_000, 1_000] && batch.values == [1, 0, 0.5])
        }
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        #expect(
            metrics.contains(
                #"petrel_remote_write_requests_total{code="204",version="1.0"} 2"#), "\(metrics)")
        #expect(metrics.contains(#"petrel_remote_write_samples_total{type="float"} 6"#))
        #expect(metrics.contains("petrel_remote_write_cached_series 2"))
    }

    @Test(
        "content types and encodings",
        arguments: [
            ("application/x-protobuf", "snappy", 204),
            ("application/x-protobuf; proto=prometheus.WriteRequest", "Snappy", 204),
            (nil, nil, 204),
            ("application/json", "snappy", 415),
            ("application/x-protobuf;proto=other.Message", "snappy", 415),
            ("application/x-protobuf", "gzip", 415),
        ] as [(String?, String?, Int)])
    func negotiation(type: String?, encoding: String?, status: Int) async throws {
        let body = WriteMessage.v1([(["__name__": "up"], [(1, 1)])])
        let response = await post(
            body, type: type, encoding: encoding, to: FakeCollector.site())
        #expect(response.status == status, "\(text(response))")
    }

    @Test("what is no request is refused whole, by POST alone and from our pages alone")
    func refused() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let body = WriteMessage.v1([(["__name__": "up"], [(1, 1)])])
        let raw = await post(body, isCompressed: false, to: site)
        #expect(raw.status == 400 && text(raw).contains("Snappy"))
        let cut = await post(Array(body.dropLast()), to: site)
        #expect(cut.status == 400 && text(cut).contains("ends within a field"))
        // Version 1 under the name of version 2.
        let other = await post(body, type: Self.v2, to: site)
        #expect(other.status == 400 && text(other).contains("Content-Type"))
        #expect(other.header("x-prometheus-remote-write-samples-written") == "0")
        let get = await post(body, method: "GET", to: site)
        #expect(get.status == 405 && get.header("allow") == "POST")
        let page = await post(body, headers: ["origin": "https://evil.example"], to: site)
        #expect(page.status == 403)
        let bomb = await post(
            [0xff, 0xff, 0xff, 0x7f, 0], isCompressed: false, to: site)
        #expect(bomb.status == 413)
        #expect(writer.state.withLock { $0.batches.isEmpty && $0.series.isEmpty })
    }

    @Test("a part that can't be stored is told with 400, the rest is stored")
    func partial() async throws {
        let writer = FakeSampleWriter()
        writer.state.withLock { state in
            state.oldest = 100
            state.newest = 10_000
            state.seriesMax = 2
        }
        let site = FakeCollector.site(sampleWriter: writer)
        let body = WriteMessage.v1([
            (["__name__": "up"], [(1, 1), (1_000, 2), (20_000, 3), (20_001, 3)]),
            (["job": "nameless"], [(1_000, 1), (1_001, 1), (1_002, 1)]),
            (["__name__": "other"], [(1_000, 4)]),
            (["__name__": "too_many"], [(1_000, 1)]),
        ])
        for _ in 0..<2 {
            let response = await post(body, to: site)
            #expect(response.status == 400)
            let text = text(response)
            #expect(
                text.hasPrefix(
                    "7 samples were not stored and should not be sent again, 2 were stored:"),
                "\(text)")
            #expect(text.contains("3 of a series without __name__"))
            #expect(text.contains("1 of new series past a limit of series, as of too_many "))
            #expect(text.contains("1 older than the retention"))
            #expect(text.contains("2 more than an hour ahead"))
        }
        try writer.state.withLock { state in
            let batch = try #require(state.batches.last)
            #expect(batch.timestamps == [1_000, 1_000] && batch.values == [2, 4])
        }
        let metrics = try await FakeCollector.ask("GET /metrics", site: site).body
        for line in [
            #"{reason="labels"} 6"#, #"{reason="limit"} 2"#, #"{reason="too_old"} 2"#,
            #"{reason="too_far_ahead"} 4"#,
        ] {
            #expect(metrics.contains("petrel_remote_write_samples_rejected_total" + line))
        }
    }

    @Test(
        "what may be stored later is to be sent again",
        arguments: [
            (StorageError.unavailable("away"), 503, "5"), (.exhausted("full"), 503, "30"),
            (.cancelled, 503, "5"), (.refused("defect"), 500, nil),
        ] as [(StorageError, Int, String?)])
    func later(failure: StorageError, status: Int, after: String?) async throws {
        let writer = FakeSampleWriter()
        writer.state.withLock { $0.failure = failure }
        let site = FakeCollector.site(sampleWriter: writer)
        let body = WriteMessage.v1([(["__name__": "up"], [(1, 1)])])
        let response = await post(body, to: site)
        #expect(response.status == status && response.header("retry-after") == after)
        writer.state.withLock { $0.failure = nil }
        #expect(await post(body, to: site).status == 204)
        #expect(writer.state.withLock { $0.batches.count } == 1)
    }

    @Test("version 2: histograms, start timestamps, metadata with the series, written headers")
    func versionTwo() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let help = ["", "__name__", "m", "h", "First.", "Second."]
        for (index, helpReference) in [4, 4, 5].enumerated() {
            let body = WriteMessage.v2(
                symbols: help,
                [
                    WriteMessage.Series(
                        references: [1, 2], samples: [(1_000, 1, 500)], type: 1,
                        help: helpReference),
                    WriteMessage.Series(references: [1, 3], histogramTimes: [1_000, 2_000]),
                ])
            let response = await post(body, type: Self.v2, to: site)
            #expect(response.status == 204, "\(text(response))")
            #expect(response.header("x-prometheus-remote-write-samples-written") == "1")
            #expect(response.header("x-prometheus-remote-write-histograms-written") == "2")
            #expect(response.header("x-prometheus-remote-write-exemplars-written") == "0")
            try writer.state.withLock { state in
                let batch = try #require(state.batches.last)
                #expect(batch.startTimestamps == [500])
                #expect(batch.histograms.map(\.timestamp) == [1_000, 2_000])
                #expect(batch.runs.map(\.histogramCount) == [0, 2])
                // Told once when it is new, and once when it is another.
                #expect(state.metadata.count == [1, 1, 2][index])
            }
        }
        let (definition, metadata) = writer.state.withLock { ($0.definitions[0], $0.metadata) }
        #expect(definition.metadata == MetricMetadata(type: .counter, help: "First."))
        #expect(metadata[1] == ["m": MetricMetadata(type: .counter, help: "Second.")])
    }

    @Test("a histogram that makes no sense is told, those beside it are stored")
    func histogramDefect() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let body = WriteMessage.v2(
            symbols: ["", "__name__", "h"],
            [
                WriteMessage.Series(
                    references: [1, 2], histogramTimes: [1_000, 2_000], schemas: [53, 0])
            ])
        let response = await post(body, type: Self.v2, to: site)
        #expect(response.status == 400 && text(response).contains("schema 53"))
        #expect(response.header("x-prometheus-remote-write-histograms-written") == "1")
        #expect(writer.state.withLock { $0.batches[0].histograms.map(\.timestamp) } == [2_000])
    }

    @Test("what can't be read for others that are being read says when to send it again")
    func crowded() {
        let site = FakeCollector.site()
        let refusal = WebRefusal(503, "too many", retryAfter: 1)
        for path in [["prometheus", "api", "v1", "write"], ["otlp", "v1", "metrics"], ["loki"]] {
            let response = site.refuse(refusal, path: path)
            #expect(response.status == 503)
            #expect(response.headers.filter { $0.name == "retry-after" }.map(\.value) == ["1"])
        }
    }

    @Test("version 1's metadata is that of the family's series")
    func familyMetadata() async throws {
        let writer = FakeSampleWriter()
        let site = FakeCollector.site(sampleWriter: writer)
        let body = WriteMessage.bytes(3) { metadata in
            metadata += WriteMessage.varint(1 << 3) + [5]
            metadata += WriteMessage.text(2, "rpc") + WriteMessage.text(4, "Calls.")
        }
        #expect(await post(body, to: site).status == 204)
        let told = writer.state.withLock { $0.metadata.last }
        let summary = MetricMetadata(type: .summary, help: "Calls.")
        #expect(
            told == [
                "rpc": summary, "rpc_sum": summary, "rpc_count": summary, "rpc_created": summary,
            ])
    }

    @Test("the cache forgets the oldest generation and never answers with another's number")
    func cache() throws {
        var limits = SeriesNumberCache.Limits()
        limits.countMax = 50
        let cache = SeriesNumberCache(limits: limits)
        for number in Int32(0)..<500 {
            let request = try WriteRequest(
                WriteMessage.v1([(["__name__": "m\(number)"], [(1, 1)])]), .v1)
            #expect(cache.entries(of: request) == [nil])
            let entry = SeriesNumberCache.Entry(number: SeriesID(rawValue: number))
            cache.insert([(index: 0, entry: entry)], of: request)
            #expect(cache.entries(of: request) == [entry])
            #expect(cache.count <= 100)
            // What is asked for again and again stays.
            let first = try WriteRequest(WriteMessage.v1([(["__name__": "m0"], [(1, 1)])]), .v1)
            #expect(cache.entries(of: first)[0]?.number == SeriesID(rawValue: 0))
        }
    }
}

/// Write requests for the tests.
enum WriteMessage {
    struct Series {
        var references: [UInt64]
        /// Time, value, start.
        var samples: [(Int64, Double, Int64)] = []
        var histogramTimes: [Int64] = []
        var schemas: [UInt64] = []
        var type: UInt8 = 0
        var help = 0
    }

    static func varint(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    static func bytes(_ field: UInt64, _ body: (inout [UInt8]) -> Void) -> [UInt8] {
        var content: [UInt8] = []
        body(&content)
        return varint(field << 3 | 2) + varint(UInt64(content.count)) + content
    }

    static func text(_ field: UInt64, _ text: String) -> [UInt8] {
        bytes(field) { $0 += Array(text.utf8) }
    }

    static func double(_ field: UInt64, _ value: Double) -> [UInt8] {
        varint(field << 3 | 1)
            + (0..<8).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt64($0))) }
    }

    private static func integer(_ field: UInt64, _ value: Int64) -> [UInt8] {
        varint(field << 3) + varint(UInt64(bitPattern: value))
    }

    /// Version 1: label sets with their samples, time before value.
    static func v1(_ series: [(labels: Labels, samples: [(Int64, Double)])]) -> [UInt8] {
        series.flatMap { labels, samples in
            bytes(1) { series in
                for label in labels {
                    series += bytes(1) { $0 += text(1, label.name) + text(2, label.value) }
                }
                for (time, value) in samples {
                    series += bytes(2) { $0 += double(1, value) + integer(2, time) }
                }
            }
        }
    }

    static func v2(symbols: [String], _ series: [Series]) -> [UInt8] {
        symbols.flatMap { text(4, $0) }
            + series.flatMap { one in
                bytes(5) { series in
                    series += bytes(1) { $0 += one.references.flatMap(varint) }
                    for (time, value, start) in one.samples {
                        series += bytes(2) {
                            $0 += double(1, value) + integer(2, time) + integer(3, start)
                        }
                    }
                    for (index, time) in one.histogramTimes.enumerated() {
                        series += bytes(3) { histogram in
                            histogram += integer(1, 3) + double(3, 4.5)
                            if !one.schemas.isEmpty {
                                histogram += varint(4 << 3) + varint(one.schemas[index] * 2)
                            }
                            histogram += bytes(11) { $0 += integer(2, 1) }
                            histogram += bytes(12) { $0 += varint(6) }
                            histogram += integer(15, time)
                        }
                    }
                    if one.help != 0 {
                        series += bytes(5) {
                            $0 += integer(1, Int64(one.type)) + integer(3, Int64(one.help))
                        }
                    }
                }
            }
    }
}
