import Model
import Simulation
import SwiftProtobuf
import Testing
import Wire

@Suite("payloads")
struct PayloadTests {
    static let cpu = Labels(["__name__": "cpu_seconds_total", "cpu": "0"])
    static let memory = Labels(["__name__": "memory_bytes"])

    static func metrics(_ body: (inout MetricsPayloadBuilder) -> Void) -> [UInt8] {
        var builder = MetricsPayloadBuilder(timestamp: TimestampMS(15_000))
        body(&builder)
        let bytes = builder.finish()
        #expect(bytes.count <= builder.bytesBound)
        return bytes
    }

    @Test("a metrics batch comes back; the next refers to its definitions")
    func metricsRoundTrip() throws {
        var dictionary = StreamDictionary(number: 1)
        let first = Self.metrics {
            $0.define(1, Self.cpu, .counter, help: "Time.")
            $0.define(2, Self.memory, .gauge, help: nil)
            $0.add(1, 1.5)
            $0.add(2, StalenessMarker.value)
        }
        let (good, problems) = try MetricsPayload.decode(first, dictionary: &dictionary)
        #expect(problems.isEmpty)
        #expect(good.scrapes.map(\.series) == [[1, 2]])
        #expect(
            good.scrapes[0].values.map(\.bitPattern) == [
                (1.5 as Double).bitPattern, StalenessMarker.bitPattern,
            ])
        #expect(dictionary.series(1)?.metadata == MetricMetadata(type: .counter, help: "Time."))
        #expect(dictionary.series(2)?.labels == Self.memory)
        let second = Self.metrics { $0.add(2, 7) }
        #expect(
            try MetricsPayload.decode(second, dictionary: &dictionary).good.scrapes[0].values == [7]
        )
        #expect(try MetricsPayload.decode(first, dictionary: &dictionary).problems.isEmpty)
        let messages = DictionaryMessages.make(1, metricsPayloads: [first, second, [0xff]])
        var other = StreamDictionary(number: 1)
        #expect(messages.flatMap { other.define($0) }.isEmpty)
        #expect(try MetricsPayload.decode(second, dictionary: &other).good.scrapes[0].series == [2])
    }

    @Test("bad records are named and counted, good ones kept")
    func metricsProblems() throws {
        var dictionary = StreamDictionary(number: 1)
        let payload = Self.metrics {
            $0.define(1, Self.cpu, .counter, help: nil)
            $0.define(2, Self.cpu, .counter, help: nil)
            $0.define(3, Labels(["no": "name"]), .gauge, help: nil)
            $0.define(0, Self.memory, .gauge, help: nil)
            $0.add(1, 1)
            $0.add(1, 2)
            $0.add(2, 3)
            $0.add(3, 4)
            $0.add(4_000_000, 5)
        }
        let (good, problems) = try MetricsPayload.decode(payload, dictionary: &dictionary)
        #expect(good.scrapes.map(\.values) == [[1]])
        #expect(problems.count == 4)
        #expect(problems.reduce(0) { $0 + $1.count } == 4)
    }

    static func exemplar(_ trace: String, _ value: Double, at time: Int64 = 7) -> Exemplar {
        Exemplar(
            labels: trace.isEmpty ? .empty : ["trace_id": trace], value: value,
            timestamp: TimestampMS(time))
    }

    @Test(
        "start timestamps come back beside their samples, scrape by scrape",
        arguments: [
            [[0, 0, 0]], [[5, 5, 5]], [[0, 14_000, 0], [1, 0, WireLimits.startTimestampMax]],
            [[0, 0, 0], [7, 7, 7]], [[7, 7, 7], [0, 0, 0]],
            [[-1, .min, .max], [WireLimits.startTimestampMax + 1, 3, -3]],
        ] as [[[Int64]]])
    func starts(_ scrapes: [[Int64]]) throws {
        var dictionary = StreamDictionary(number: 1)
        let payload = Self.metrics { builder in
            for id in 1...3 {
                builder.define(UInt32(id), Self.cpu.setting("n", "\(id)"), .counter, help: nil)
            }
            for (index, starts) in scrapes.enumerated() {
                builder.next(timestamp: TimestampMS(Int64(index) * 15_000))
                for (id, start) in starts.enumerated() {
                    builder.add(UInt32(id + 1), Double(id), start: start)
                }
            }
        }
        let (good, problems) = try MetricsPayload.decode(payload, dictionary: &dictionary)
        #expect(problems.isEmpty && good.sampleCount == 3 * scrapes.count)
        for (scrape, starts) in zip(good.scrapes, scrapes) {
            let known = starts.map { (1...WireLimits.startTimestampMax).contains($0) ? $0 : 0 }
            #expect(scrape.startTimestamps == (known.contains { $0 != 0 } ? known : []))
        }
    }

    @Test("samples of one beginning cost a byte each for it")
    func startBytes() {
        func bytes(_ start: Int64) -> Int {
            Self.metrics { builder in
                for id in 1...1000 { builder.add(UInt32(id), 1, start: start) }
            }.count
        }
        #expect(bytes(14_000) - bytes(0) < 1010)
    }

    @Test("exemplars and units come back; what is none is left out and counted")
    func exemplars() throws {
        var dictionary = StreamDictionary(number: 1)
        let long = String(repeating: "x", count: Exemplar.labelCharactersMax)
        let payload = Self.metrics {
            $0.define(1, Self.cpu, .counter, help: "Time.", unit: "seconds")
            $0.define(2, Self.cpu.setting("cpu", "1"), .counter, help: nil)
            $0.define(
                3, Self.memory, .gauge, help: nil,
                unit: String(repeating: "u", count: WireLimits.unitBytesMax + 1))
            $0.add(1, 1)
            $0.add(Self.exemplar("x", -0.0), of: 1)
            $0.add(Self.exemplar("", .infinity, at: .min), of: 2)
            $0.add(Self.exemplar("of none", 1), of: 9)
            $0.add(Self.exemplar(long, 1), of: 1)
        }
        let (good, problems) = try MetricsPayload.decode(payload, dictionary: &dictionary)
        #expect(problems.isEmpty && good.sampleCount == 1)
        #expect(
            good.exemplars == [
                DecodedExemplar(series: 1, exemplar: Self.exemplar("x", -0.0)),
                DecodedExemplar(series: 2, exemplar: Self.exemplar("", .infinity, at: .min)),
            ])
        #expect(good.exemplars.first?.exemplar.value.sign == .minus)
        #expect(good.rejectedExemplarCount == 2)
        let told = MetricMetadata(type: .counter, help: "Time.", unit: "seconds")
        #expect(dictionary.series(1)?.metadata == told && dictionary.series(2)?.metadata == told)
        #expect(dictionary.series(3)?.metadata == MetricMetadata(type: .gauge))
        // A new connection is told the units too.
        var other = StreamDictionary(number: 1)
        #expect(
            DictionaryMessages.make(1, metricsPayloads: [payload]).flatMap { other.define($0) }
                .isEmpty)
        #expect(other.series(2)?.metadata == told)
        let many = Self.metrics { builder in
            builder.add(1, 1)
            for value in 0..<WireLimits.exemplarsMax + 3 {
                builder.add(Self.exemplar("x", Double(value)), of: 1)
            }
        }
        let bounded = try MetricsPayload.decode(many, dictionary: &dictionary).good
        #expect(bounded.exemplars.count == WireLimits.exemplarsMax)
        #expect(bounded.rejectedExemplarCount == 3 && bounded.sampleCount == 1)
    }

    @Test("who does not know them reads the same samples, and who does not send them is read")
    func skew() throws {
        let payload = Self.metrics {
            $0.define(1, Self.cpu, .counter, help: "Time.", unit: "seconds")
            $0.add(1, 1.5, start: 9)
            $0.add(Self.exemplar("x", 1), of: 1)
        }
        // What an agent sends that has none of the fields.
        var old = try Petrel_Fleet_V1_MetricsBatch(serializedBytes: payload)
        #expect(!old.definitions[0].unit.isEmpty && !old.exemplars.isEmpty)
        old.definitions[0].unit = ""
        old.exemplars = []
        old.scrapes[0].starts = []
        var dictionary = StreamDictionary(number: 1)
        let (good, problems) = try MetricsPayload.decode(
            [UInt8](try old.serializedBytes() as [UInt8]), dictionary: &dictionary)
        #expect(problems.isEmpty && good.scrapes[0].startTimestamps.isEmpty)
        #expect(good.scrapes[0].values == [1.5] && good.exemplars.isEmpty)
        #expect(dictionary.series(1)?.metadata == MetricMetadata(type: .counter, help: "Time."))
        // Another number of them than of values says nothing of anyone.
        old.scrapes[0].starts = [1, 1]
        let odd = try MetricsPayload.decode(
            [UInt8](try old.serializedBytes() as [UInt8]), dictionary: &dictionary
        ).good.scrapes[0]
        #expect(odd.startTimestamps.isEmpty && odd.values == [1.5])
    }

    @Test("logs come back; undefined streams and long lines are counted")
    func logs() throws {
        let stream = Labels(["source": "journal", "unit": "a.service"])
        var builder = LogPayloadBuilder()
        builder.define(1, stream)
        let entry = LogEntry(
            timestamp: TimestampNS(5), line: [0xff, 0, 0xfe], level: "warn",
            metadata: Labels(["pid": "7"]))
        builder.add(1, entry)
        builder.add(2, entry)
        builder.add(
            1, LogEntry(timestamp: TimestampNS(6), line: .init(repeating: 1, count: 262_145)))
        builder.add(1, LogEntry(timestamp: TimestampNS(7), line: [], level: "loud"))
        #expect(builder.finish().count <= builder.bytesBound)
        var dictionary = StreamDictionary(number: 9)
        let (good, problems) = try LogPayload.decode(builder.finish(), dictionary: &dictionary)
        let last = LogEntry(timestamp: TimestampNS(7), line: [])
        #expect(good == [LogStream(labels: stream, entries: [entry, last])])
        #expect(problems.map(\.record) == [1, 2])
        #expect(problems.allSatisfy { $0.count == 1 })
    }

    @Test("gaps come back", arguments: GapReason.allCases)
    func gaps(reason: GapReason) throws {
        let gap = GapRecord(
            reason: reason, count: 12, from: TimestampNS(1), to: nil, source: "s", detail: "d")
        #expect(try GapPayload.decode(GapPayload.encode(gap)) == gap)
    }

    @Test("a payload that is no message, or too large, throws as a whole")
    func whole() {
        var dictionary = StreamDictionary(number: 1)
        let huge = [UInt8](repeating: 0, count: WireLimits.payloadBytesMax + 1)
        for bytes in [[0xff, 0xff, 0xff], huge] {
            #expect(throws: WireError.self) {
                try MetricsPayload.decode(bytes, dictionary: &dictionary)
            }
            #expect(throws: WireError.self) {
                try LogPayload.decode(bytes, dictionary: &dictionary)
            }
            #expect(throws: WireError.self) { try GapPayload.decode(bytes) }
        }
    }

    @Test("hostile payloads never trap", arguments: UInt64(0)..<20)
    func hostile(seed: UInt64) {
        let random = SeededRandom(seed: seed)
        let whole = Self.metrics {
            $0.define(1, Self.cpu, .counter, help: "x")
            for value in 0..<20 {
                $0.add(UInt32(value), Double(value) * 1.1, start: Int64(value) * 100)
                $0.add(Self.exemplar("t\(value)", 1), of: 1)
            }
        }
        for _ in 0..<300 {
            var bytes = whole
            for _ in 0..<(1 + random.below(4)) {
                bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
            }
            var dictionary = StreamDictionary(number: 1)
            _ = try? MetricsPayload.decode(bytes, dictionary: &dictionary)
            _ = try? LogPayload.decode(bytes, dictionary: &dictionary)
            _ = try? GapPayload.decode(bytes)
        }
    }
}
