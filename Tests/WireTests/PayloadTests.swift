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
        #expect(good.map(\.series) == [[1, 2]])
        #expect(
            good[0].values.map(\.bitPattern) == [
                (1.5 as Double).bitPattern, StalenessMarker.bitPattern,
            ])
        #expect(dictionary.series(1)?.metadata == MetricMetadata(type: .counter, help: "Time."))
        #expect(dictionary.series(2)?.labels == Self.memory)
        let second = Self.metrics { $0.add(2, 7) }
        #expect(try MetricsPayload.decode(second, dictionary: &dictionary).good[0].values == [7])
        #expect(try MetricsPayload.decode(first, dictionary: &dictionary).problems.isEmpty)
        let messages = DictionaryMessages.make(1, metricsPayloads: [first, second, [0xff]])
        var other = StreamDictionary(number: 1)
        #expect(messages.flatMap { other.define($0) }.isEmpty)
        #expect(try MetricsPayload.decode(second, dictionary: &other).good[0].series == [2])
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
        #expect(good.map(\.values) == [[1]])
        #expect(problems.count == 4)
        #expect(problems.reduce(0) { $0 + $1.count } == 4)
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
            for value in 0..<20 { $0.add(UInt32(value), Double(value) * 1.1) }
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
