import Model
import RemoteWrite
import Testing

/// Both messages, as senders write them and as nobody should.
@Suite("Remote write")
struct RemoteWriteTests {
    /// Two series, one with three samples and one with histograms, exemplars and metadata.
    static let v1 = MessageWriter.bytes { request in
        request.message(1) { series in
            series.labels([("__name__", "up"), ("job", "é"), ("empty", "")])
            series.sample(1_000, 1)
            series.sample(2_000, -0.0)
            series.sample(-5, StalenessMarker.value)
        }
        request.message(1) { series in
            series.labels([("instance", "a"), ("__name__", "latency")])
            series.message(3) { exemplar in
                exemplar.labels([("trace_id", "t")])
                exemplar.double(2, 0.25)
                exemplar.integer(3, 1_500)
            }
            series.integerHistogram(4, 1_000)
            series.customHistogram(4, 2_000)
        }
        request.message(3) { metadata in
            metadata.integer(1, 3)
            metadata.text(2, "latency")
            metadata.text(4, "How long.")
            metadata.text(5, "seconds")
        }
        // A field of a later version.
        request.integer(99, 7)
    }

    /// The same as version 2, symbols last.
    static func v2(created: Int64 = 0, start: Int64 = 0) -> [UInt8] {
        let symbols = [
            "", "__name__", "up", "job", "é", "latency", "instance", "a", "trace_id", "t",
            "How long.", "seconds",
        ]
        return MessageWriter.bytes { request in
            request.message(5) { series in
                series.packed(1, [1, 2, 3, 4])
                series.sample(1_000, 1, start: start)
                series.sample(2_000, -0.0)
                series.sample(-5, StalenessMarker.value)
                if created != 0 { series.integer(6, created) }
            }
            request.message(5) { series in
                // Not packed, and out of order.
                for reference in [6, 7, 1, 5] as [Int64] { series.integer(1, reference) }
                series.integerHistogram(3, 1_000, start: start)
                series.customHistogram(3, 2_000)
                series.message(4) { exemplar in
                    exemplar.packed(1, [8, 9])
                    exemplar.double(2, 0.25)
                    exemplar.integer(3, 1_500)
                }
                series.message(5) { metadata in
                    metadata.integer(1, 3)
                    metadata.integer(3, 10)
                    metadata.integer(4, 11)
                }
                if created != 0 { series.integer(6, created) }
            }
            for symbol in symbols { request.text(4, symbol) }
        }
    }

    private func check(_ request: WriteRequest) throws {
        #expect(request.series.map(\.sampleCount) == [3, 0])
        #expect(request.series.map(\.histogramCount) == [0, 2])
        #expect(request.series.map(\.exemplarCount) == [0, 1])
        #expect(request.timestamps == [1_000, 2_000, -5])
        let values = [1, -0.0, StalenessMarker.value]
        #expect(request.values.map(\.bitPattern) == values.map(\.bitPattern))
        #expect(try request.labels(0) == ["__name__": "up", "job": "é"])
        #expect(try request.labels(1) == ["__name__": "latency", "instance": "a"])
        #expect(
            request.histograms.map(\.histogram)
                == [MessageWriter.integerHistogram, MessageWriter.customHistogram])
        #expect(request.histograms.map(\.timestamp) == [1_000, 2_000])
        #expect(request.exemplars.map(\.value) == [0.25])
        #expect(request.exemplars.map(\.timestamp) == [1_500])
        let exemplar = try request.labelBytes.withUnsafeBytes { bytes in
            try RawLabels.labels(
                .init(UnsafeRawBufferPointer(rebasing: bytes[request.exemplars[0].labels])))
        }
        #expect(exemplar == ["trace_id": "t"])
    }

    @Test("version 1: samples, exemplars, both kinds of histograms, metadata, unknown fields")
    func versionOne() throws {
        let request = try WriteRequest(Self.v1, .v1)
        try check(request)
        #expect(request.startTimestamps.isEmpty)
        #expect(
            request.metadata == [
                WriteRequest.FamilyMetadata(
                    family: "latency",
                    metadata: MetricMetadata(
                        type: .histogram, help: "How long.", unit: "seconds"))
            ])
    }

    @Test("version 2: symbols in any place, packed or not, metadata with the series")
    func versionTwo() throws {
        let request = try WriteRequest(Self.v2(), .v2)
        try check(request)
        #expect(request.startTimestamps.isEmpty)
        let metadata = try #require(request.series[1].metadata)
        #expect(metadata.type == .histogram)
        #expect(request.text(metadata.help) == "How long.")
        #expect(request.text(metadata.unit) == "seconds")
        #expect(request.series[0].metadata == nil)
        // One spelling: a cache by these bytes serves both versions.
        let old = try WriteRequest(
            MessageWriter.bytes { request in
                request.message(1) { $0.labels([("__name__", "up"), ("job", "é")]) }
            }, .v1)
        #expect(
            request.labelBytes[request.series[0].labels] == old.labelBytes[old.series[0].labels])
    }

    @Test("start timestamps of samples go before the series' created timestamp")
    func starts() throws {
        let request = try WriteRequest(Self.v2(created: 500, start: 700), .v2)
        try check(request)
        #expect(request.startTimestamps == [700, 500, 500])
        #expect(request.histograms.map(\.startTimestamp) == [700, 500])
        #expect(try WriteRequest(Self.v2(start: 700), .v2).startTimestamps == [700, 0, 0])
        #expect(try WriteRequest(Self.v2(created: 500), .v2).startTimestamps == [500, 500, 500])
    }

    @Test("a stale histogram is a staleness marker of the series")
    func staleHistogram() throws {
        let request = try WriteRequest(
            MessageWriter.bytes { request in
                request.message(1) { series in
                    series.labels([("__name__", "h")])
                    series.message(4) { histogram in
                        histogram.double(3, StalenessMarker.value)
                        histogram.integer(15, 9)
                    }
                }
            }, .v1)
        #expect(request.series[0].sampleCount == 1 && request.histograms.isEmpty)
        #expect(request.timestamps == [9] && StalenessMarker.isMarker(request.values[0]))
    }

    @Test("labels that stand apart are one set")
    func apart() throws {
        let body = MessageWriter.bytes { request in
            for name in ["first", "second"] {
                request.message(1) { series in
                    series.labels([("__name__", name)])
                    series.sample(1, 1)
                    series.labels([("a", "b")])
                    series.sample(2, 2)
                    series.labels([("c", "d")])
                }
            }
        }
        let request = try WriteRequest(body, .v1)
        #expect(try request.labels(0) == ["__name__": "first", "a": "b", "c": "d"])
        #expect(try request.labels(1) == ["__name__": "second", "a": "b", "c": "d"])
        #expect(request.timestamps == [1, 2, 1, 2])
    }

    @Test("labels that stand apart, and exemplars' among them, are of their own set each")
    func interleaved() throws {
        let body = MessageWriter.bytes { request in
            request.message(1) { series in
                series.labels([("__name__", "m")])
                series.sample(1, 1)
                series.labels([("a", "b")])
                for id in ["t1", "t2"] {
                    series.message(3) { exemplar in
                        exemplar.labels([("trace_id", id)])
                        exemplar.double(2, 1)
                        exemplar.labels([("x", id)])
                    }
                    series.labels([(id, "v")])
                }
            }
        }
        let request = try WriteRequest(body, .v1)
        #expect(try request.labels(0) == ["__name__": "m", "a": "b", "t1": "v", "t2": "v"])
        let exemplars = try request.labelBytes.withUnsafeBytes { bytes in
            try request.exemplars.map { one in
                try RawLabels.labels(.init(UnsafeRawBufferPointer(rebasing: bytes[one.labels])))
            }
        }
        #expect(exemplars == [["trace_id": "t1", "x": "t1"], ["trace_id": "t2", "x": "t2"]])
    }

    @Test(
        "label sets that are none",
        arguments: [
            ([("a", "b")], LabelDefect.noMetricName),
            ([("__name__", "")], .noMetricName),
            ([("__name__", "m"), ("", "x")], .emptyName),
            ([("__name__", "m"), ("a", "1"), ("b", "1"), ("a", "2")], .duplicateName("a")),
            (
                [("__name__", String(repeating: "n", count: 1_025))],
                .metricNameTooLong(bytes: 1_025)
            ),
            ((0..<257).map { ("l\($0)", "v") }, .tooManyLabels(257)),
        ])
    func badLabels(pairs: [(String, String)], defect: LabelDefect) throws {
        let request = try WriteRequest(
            MessageWriter.bytes { $0.message(1) { $0.labels(pairs) } }, .v1)
        #expect(throws: defect) { try request.labels(0) }
    }

    @Test("labels that are no UTF-8, or no labels")
    func brokenLabels() throws {
        let request = try WriteRequest(
            MessageWriter.bytes { request in
                request.message(1) { $0.message(1) { $0.bytes(1, [0xff]) } }
                request.message(1) { $0.bytes(1, [0x0a, 5, 1]) }
                request.message(1) {
                    $0.labels([("__name__", String(repeating: "x", count: 70_000))])
                }
            }, .v1)
        #expect(throws: LabelDefect.notUTF8) { try request.labels(0) }
        #expect(throws: LabelDefect.self) { try request.labels(1) }
        #expect(throws: LabelDefect.self) { try request.labels(2) }
    }

    @Test("histograms that make no sense are refused one by one")
    func badHistograms() throws {
        let request = try WriteRequest(
            MessageWriter.bytes { request in
                request.message(1) { series in
                    series.labels([("__name__", "h")])
                    series.message(4) { histogram in  // more buckets than spans
                        histogram.packed(12, zigzag: [1, 2])
                    }
                    series.message(4) { histogram in  // a span of four billion
                        histogram.span(11, 0, 0xffff_ffff)
                        histogram.packed(12, zigzag: [1, 2])
                    }
                    series.message(4) { histogram in  // past 32 bits
                        histogram.span(11, 0x7fff_ffff, 2)
                        histogram.packed(12, zigzag: [1, 2])
                    }
                    series.message(4) { $0.integer(14, 4) }
                    series.message(4) { histogram in  // too many
                        histogram.span(11, 0, 5_000)
                        histogram.packed(12, zigzag: [Int64](repeating: 0, count: 5_000))
                    }
                    series.integerHistogram(4, 1)
                }
            }, .v1)
        #expect(request.series[0].refusedHistogramCount == 5)
        #expect(request.series[0].histogramCount == 1 && request.histograms.count == 1)
        #expect(request.histogramDefect?.contains("spans say 0 of its 2 buckets") == true)
    }

    /// A request of one series with a histogram of two buckets side by side; of integers 3 and 4 where it is one.
    private static func histogram(
        schema: Int64 = 0, offset: Int64 = 0, _ fields: (inout MessageWriter) -> Void
    ) throws -> WriteRequest {
        try WriteRequest(
            MessageWriter.bytes { request in
                request.message(1) { series in
                    series.labels([("__name__", "h")])
                    series.message(4) { histogram in
                        histogram.zigzag(4, schema)
                        histogram.span(11, offset, 2)
                        histogram.packed(12, zigzag: [3, 1])
                        fields(&histogram)
                    }
                }
            }, .v1)
    }

    @Test(
        "the count of a histogram of integers is that of its buckets, or more with observations of NaN",
        arguments: [
            (9, 1.0, true), (8, 1, false), (10, 1, false), (10, .nan, true), (9, .nan, true),
            (8, .nan, false),
        ] as [(Int64, Double, Bool)])
    func integerCount(count: Int64, sum: Double, isTaken: Bool) throws {
        let request = try Self.histogram { histogram in
            histogram.integer(1, count)
            histogram.double(3, sum)
            histogram.integer(6, 2)
        }
        #expect(request.series[0].histogramCount == (isTaken ? 1 : 0))
        #expect(request.series[0].refusedHistogramCount == (isTaken ? 0 : 1))
        let text = "buckets have 9 observations, its count is \(count)"
        #expect(isTaken != (request.histogramDefect?.hasSuffix(text) == true))
    }

    @Test("the count of a histogram of doubles is taken as it is, as Prometheus does")
    func doubleCount() throws {
        let request = try WriteRequest(
            MessageWriter.bytes { request in
                request.message(1) { series in
                    series.labels([("__name__", "h")])
                    series.message(4) { histogram in
                        histogram.double(2, 100)
                        histogram.span(11, 0, 1)
                        histogram.packed(13, doubles: [1])
                    }
                }
            }, .v1)
        #expect(request.histograms.map(\.histogram.count) == [100])
    }

    /// Source of the rule: bucket i of schema s + 1 is half of bucket ((i - 1) >> 1) + 1 of schema s.
    @Test(
        "schemas finer than 8 are merged down to it",
        arguments: [
            (8, 4, [4, 5], [3.0, 4]), (9, 1, [1], [7]), (9, 2, [1, 2], [3, 4]),
            (9, -1, [0], [7]), (9, 0, [0, 1], [3, 4]), (52, 2_000_000_000, [1], [7]),
            (52, -5, [0], [7]),
        ] as [(Int64, Int64, [Int32], [Double])])
    func fineSchema(
        schema: Int64, offset: Int64, indices: [Int32], counts: [Double]
    ) throws {
        let request = try Self.histogram(schema: schema, offset: offset) { $0.integer(1, 7) }
        let histogram = try #require(request.histograms.first).histogram
        #expect(histogram.schema == 8)
        #expect(histogram.positive == FloatHistogram.Buckets(indices: indices, counts: counts))
    }

    @Test("a schema finer than 52, or buckets that can't be merged for their order, are not")
    func foreignSchema() throws {
        let finer = try Self.histogram(schema: 53) { $0.integer(1, 7) }
        #expect(finer.histograms.map(\.histogram.schema) == [53])
        let crossed = try Self.histogram(schema: 9, offset: 5) { histogram in
            histogram.integer(1, 12)
            histogram.span(11, -7, 1)
            histogram.packed(12, zigzag: [1])
        }
        #expect(crossed.histogramDefect?.hasSuffix("out of order") == true)
    }

    @Test("bounds")
    func bounds() throws {
        func refused(_ change: (inout WriteRequest.Limits) -> Void) throws -> Bool {
            var limits = WriteRequest.Limits()
            change(&limits)
            do throws(RemoteWriteError) {
                _ = try WriteRequest(Self.v1, .v1, limits: limits)
                _ = try WriteRequest(Self.v2(), .v2, limits: limits)
            } catch { return error.isAboutSize }
            return false
        }
        #expect(try !refused { _ in })
        #expect(try refused { $0.seriesMax = 1 })
        #expect(try refused { $0.samplesMax = 2 })
        #expect(try refused { $0.histogramsMax = 1 })
        #expect(try refused { $0.bucketsMax = 8 })
        #expect(try refused { $0.exemplarsMax = 0 })
        #expect(try refused { $0.metadataMax = 0 })
        #expect(try refused { $0.symbolsMax = 11 })
        #expect(try refused { $0.labelBytesMax = 40 })
    }

    @Test(
        "bodies that are no such message",
        arguments: [
            ([0x0a], WriteRequest.Version.v1, "the request ends within a field at byte 1"),
            ([0x0a, 2, 0x12], .v1, "the request ends within a field at byte 3"),
            ([0x0a, 2, 0x12, 9], .v1, "TimeSeries ends within a field at byte 4"),
            ([0x08, 1], .v1, "the request has field 1 with wire type 0 before byte 1"),
            ([0x0b], .v1, "the request has field 1 with wire type 3 before byte 1"),
            ([0x00], .v1, "the request has field 0 with wire type 0 before byte 1"),
            (
                [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], .v1,
                "the request has a number of more than 64 bits before byte 10"
            ),
            ([0x2a, 2, 0x08, 3], .v2, "TimeSeries refers to symbol 3 of 0 before byte 4"),
            (
                [0x22, 0, 0x2a, 2, 0x08, 0], .v2,
                "TimeSeries has 1 label references before byte 6"
            ),
            ([0x0a, 0], .v2, "the request has field 1 with wire type 2 before byte 1"),
            ([0x2a, 0], .v1, "the request has field 5 with wire type 2 before byte 1"),
        ] as [([UInt8], WriteRequest.Version, String)])
    func malformed(body: [UInt8], version: WriteRequest.Version, text: String) throws {
        let error = try #require(throws: RemoteWriteError.self) {
            try WriteRequest(body, version)
        }
        #expect("\(error)".hasPrefix(text), "\(error)")
        #expect(!error.isAboutSize)
    }

    @Test("no cut and no flipped bit traps, and what is read stays within its columns")
    func fuzz() {
        for (body, version) in [(Self.v1, WriteRequest.Version.v1), (Self.v2(start: 3), .v2)] {
            for count in body.indices { touch(Array(body[..<count]), version) }
            for at in body.indices {
                for bit in 0..<8 {
                    var damaged = body
                    damaged[at] ^= 1 << UInt8(bit)
                    touch(damaged, version)
                    // Two faults at once, a cut among them.
                    touch(Array(damaged.dropLast(at % 11)), version)
                    damaged[(at * 7 + 3) % damaged.count] &+= UInt8(bit * 31 + 1)
                    touch(damaged, version)
                }
            }
        }
    }

    private func touch(_ body: [UInt8], _ version: WriteRequest.Version) {
        guard let request = try? WriteRequest(body, version) else { return }
        #expect(request.timestamps.count == request.values.count)
        #expect([0, request.values.count].contains(request.startTimestamps.count))
        #expect(request.series.reduce(0) { $0 + $1.sampleCount } == request.values.count)
        #expect(request.series.reduce(0) { $0 + $1.histogramCount } == request.histograms.count)
        #expect(request.series.reduce(0) { $0 + $1.exemplarCount } == request.exemplars.count)
        for index in request.series.indices {
            _ = try? request.labels(index)
            if let metadata = request.series[index].metadata { _ = request.text(metadata.help) }
        }
    }

    @Test("Snappy: round trips, bounds and damage")
    func snappy() throws {
        for body in [Self.v1, [], [UInt8](repeating: 7, count: 100_000)] {
            let packed = SnappyBlock.compress(body)
            #expect(try SnappyBlock.decompress(packed, bytesMax: body.count) == body)
            if body.count > 1 {
                #expect(throws: RemoteWriteError.tooLong(bytes: body.count, max: body.count - 1)) {
                    try SnappyBlock.decompress(packed, bytesMax: body.count - 1)
                }
            }
            for count in 0..<min(packed.count, 200) {
                #expect(throws: RemoteWriteError.notSnappy) {
                    try SnappyBlock.decompress(Array(packed[..<count]), bytesMax: 1 << 20)
                }
            }
            for at in packed.indices.prefix(300) {
                for bit in 0..<8 {
                    var damaged = packed
                    damaged[at] ^= 1 << UInt8(bit)
                    _ = try? SnappyBlock.decompress(damaged, bytesMax: 1 << 20)
                }
            }
        }
        // A few bytes that promise four gigabytes.
        #expect(throws: RemoteWriteError.self) {
            try SnappyBlock.decompress([0xff, 0xff, 0xff, 0xff, 0x0f, 0], bytesMax: 32 << 20)
        }
    }
}
