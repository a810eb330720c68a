import AgentBatch
import Model
import Storage
import Synchronization
import Testing
import Wire

/// A sink in memory that begins a new dictionary every few batches.
final class MemorySink: SpoolSink {
    struct Held { var kind: PayloadKind, count: Int, payload: [UInt8], dictionary: UInt64 }
    let held = Mutex<[Held]>([])
    let positions = Mutex<[SourcePosition]>([])
    let gaps = Mutex<[GapRecord]>([])
    let batchesPerDictionary: Int
    init(batchesPerDictionary: Int) { self.batchesPerDictionary = batchesPerDictionary }
    var isFull: Bool { false }

    func dictionary(forPayloadBytes bytes: Int) -> SpoolDictionary {
        SpoolDictionary(
            epoch: 1, number: UInt64(held.withLock { $0.count } / batchesPerDictionary))
    }

    func append(
        _ kind: PayloadKind, recordCount: Int, payload: [UInt8], positions moved: [SourcePosition],
        dictionary key: SpoolDictionary
    ) -> SpoolAppendOutcome {
        guard key == dictionary(forPayloadBytes: 0) else {
            return .dictionaryChanged(dictionary(forPayloadBytes: 0))
        }
        positions.withLock { $0 += moved }
        return held.withLock {
            $0.append(
                .init(kind: kind, count: recordCount, payload: payload, dictionary: key.number))
            return .appended(sequence: UInt64($0.count))
        }
    }

    func append(_ gap: GapRecord, positions moved: [SourcePosition]) {
        gaps.withLock { $0.append(gap) }
        positions.withLock { $0 += moved }
    }
}

@Suite("batches")
struct BatchTests {
    static func scrape(_ round: Int, series: Int) -> MetricScrape {
        let points = (0..<series).map {
            MetricFamily.Point(Labels(["cpu": "\($0)", "job": "own"]), Double($0 + round))
        }
        let shared = Labels(["job": "node", "instance": "a"])
        return MetricScrape(
            timestamp: TimestampMS(Int64(round) * 1000), targetLabels: shared,
            families: [
                MetricFamily("empty", .gauge, help: ""),
                MetricFamily("cpu_total", .counter, help: "Time.", points: points),
                MetricFamily("up", .gauge, help: "", points: [.init(.empty, 1), .init(.empty, 2)]),
            ])
    }

    @Test("scrapes come back through any dictionary changes", arguments: [1, 2, 3, 100])
    func metrics(batchesPerDictionary: Int) throws {
        let sink = MemorySink(batchesPerDictionary: batchesPerDictionary)
        var writer = MetricsBatchWriter()
        for round in 0..<7 {
            let written = try writer.write([Self.scrape(round, series: 10 + round % 3)], to: sink)
            // Two that were there the round before end.
            let ended = round > 0 && round % 3 == 0 ? 2 : 0
            #expect(written.records == 11 + round % 3 + ended && written.refused == 1)
        }
        var dictionary = StreamDictionary(number: 0)
        for (round, held) in sink.held.withLock({ $0 }).enumerated() {
            if held.dictionary != dictionary.number {
                dictionary = StreamDictionary(number: held.dictionary)
            }
            let (good, problems) = try MetricsPayload.decode(held.payload, dictionary: &dictionary)
            #expect(problems.isEmpty)
            #expect(good.sampleCount == held.count)
            let (id, value) = (good.scrapes[0].series[3], good.scrapes[0].values[3])
            #expect(value == Double(3 + round))
            #expect(
                dictionary.series(id)?.labels
                    == Labels([
                        "__name__": "cpu_total", "cpu": "3", "exported_job": "own", "job": "node",
                        "instance": "a",
                    ]))
            #expect(dictionary.series(id)?.metadata.help == "Time.")
        }
        #expect(sink.gaps.withLock { $0.count } == 7, "a series twice is a gap each time")
    }

    @Test("labels that target or collector set go on as exported ones, and none is lost")
    func exported() throws {
        let sink = MemorySink(batchesPerDictionary: 1)
        var writer = MetricsBatchWriter()
        let points = ["a", "b"].map {
            MetricFamily.Point(["host": $0, "role": "r", "job": "j", "exported_job": "k"], 1)
        }
        let written = try writer.write(
            [
                MetricScrape(
                    timestamp: TimestampMS(1), targetLabels: ["job": "node"],
                    families: [MetricFamily("m", .gauge, help: "", points: points)])
            ], to: sink)
        #expect(written.records == 2 && written.refused == 0)
        let held = try #require(sink.held.withLock { $0.first })
        var dictionary = StreamDictionary(number: held.dictionary)
        let (good, _) = try MetricsPayload.decode(held.payload, dictionary: &dictionary)
        let found = good.scrapes[0].series.compactMap { dictionary.series($0)?.labels }
        let expected = ["a", "b"].map {
            Labels([
                "__name__": "m", "exported_host": $0, "exported_role": "r", "job": "node",
                "exported_job": "k", "exported_exported_job": "j",
            ])
        }
        #expect(found == expected)
    }

    @Test("a large scrape is split, every sample once")
    func split() throws {
        let sink = MemorySink(batchesPerDictionary: 2)
        var writer = MetricsBatchWriter()
        let written = try writer.write([Self.scrape(1, series: 25_000)], to: sink)
        #expect(written.records == 25_001 && written.batches > 1)
        #expect(
            sink.held.withLock { $0.allSatisfy { $0.payload.count <= WireLimits.payloadBytesMax } })
    }

    static func chunk(_ first: Int, _ count: Int) -> LogReadChunk {
        LogReadChunk(
            items: (first..<(first + count)).map {
                .init(
                    stream: Labels(["unit": "u\($0 % 3)"]),
                    entry: LogEntry(timestamp: TimestampNS(Int64($0)), line: Array("\($0)".utf8)))
            }, position: SourcePosition(source: "journal", bytes: [UInt8(first + count & 255)]))
    }

    @Test("positions of what is held: the newest of each source, also of what came back")
    func heldPositions() throws {
        var collector = LogBatchCollector(.init(recordsMax: 5))
        #expect(collector.positions.isEmpty)
        var other = Self.chunk(0, 2)
        other.position = SourcePosition(source: "file:/a", bytes: [1])
        collector.add(Self.chunk(0, 4), now: 0)
        collector.add(other, now: 0)
        collector.add(Self.chunk(4, 4), now: 0)
        func held() -> [String: [UInt8]] {
            Dictionary(uniqueKeysWithValues: collector.positions.map { ($0.source, $0.bytes) })
        }
        #expect(held() == ["journal": [8], "file:/a": [1]])
        let taken = collector.drain()
        let first = try #require(taken)
        #expect(first.positions.map(\.bytes) == [[4]])
        #expect(held() == ["journal": [8], "file:/a": [1]])
        while collector.drain() != nil {}
        #expect(held().isEmpty)
        collector.putBack(first)
        #expect(held() == ["journal": [4]])
        let stored = [
            SourcePosition(source: "x", bytes: [9]), .init(source: "journal", bytes: [1]),
        ]
        #expect(
            stored.moved(by: collector.positions) == [
                SourcePosition(source: "x", bytes: [9]), .init(source: "journal", bytes: [4]),
            ])
    }

    @Test("logs wait for size or time, and positions say what a batch holds")
    func collect() throws {
        var collector = LogBatchCollector(.init(recordsMax: 10, delayNanoseconds: 200))
        #expect(collector.take(now: 0)?.items.count == nil)
        collector.add(Self.chunk(0, 4), now: 100)
        #expect(collector.take(now: 299)?.items.count == nil && collector.deadline == 300)
        collector.add(Self.chunk(4, 4), now: 150)
        collector.add(Self.chunk(8, 4), now: 160)
        let taken = collector.take(now: 160)
        let first = try #require(taken)
        #expect(first.items.count == 8 && first.positions.map(\.bytes) == [[8]])
        #expect(collector.take(now: 359)?.items.count == nil)
        let late = collector.take(now: 360)
        let second = try #require(late)
        #expect(
            second.items.count == 4 && collector.drain()?.items.count == nil
                && collector.heldBytes == 0)
        let sink = MemorySink(batchesPerDictionary: 1)
        var writer = LogBatchWriter()
        for batch in [first, second] { _ = try writer.write(batch, to: sink) }
        var lines: [String] = []
        for held in sink.held.withLock({ $0 }) {
            var dictionary = StreamDictionary(number: held.dictionary)
            let (good, problems) = try LogPayload.decode(held.payload, dictionary: &dictionary)
            #expect(problems.isEmpty)
            lines += good.flatMap(\.entries).map { String(decoding: $0.line, as: UTF8.self) }
        }
        #expect(Set(lines) == Set((0..<12).map(String.init)))
        #expect(sink.positions.withLock { $0.map(\.bytes) } == [[8], [12]])
    }
}
