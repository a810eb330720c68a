import AgentBatch
import Model
import Storage
import Synchronization
import Testing
import Wire

@Suite("series of the host's own readers that end")
struct HostBatchTests {
    /// What readers gave in `round`, by job: series as `family/value`, each with the round as its value.
    static func scrape(_ round: Int, _ jobs: [String: [String]]) -> [MetricScrape] {
        jobs.sorted { $0.key < $1.key }.map { job, series in
            var families: [MetricFamily] = []
            for one in series {
                let parts = one.split(separator: "/").map(String.init)
                if families.last?.name != parts[0] {
                    families.append(MetricFamily(parts[0], .gauge, help: "Of \(parts[0])."))
                }
                families[families.count - 1].points.append(
                    .init(Labels(["n": parts.count > 1 ? parts[1] : ""]), Double(round)))
            }
            return MetricScrape(
                timestamp: TimestampMS(Int64(round) * 15_000),
                targetLabels: ["job": job, "instance": "h"], families: families)
        }
    }

    private static func name(_ labels: Labels) -> String {
        let n = labels["n"].isEmpty ? "" : "/" + labels["n"]
        return labels["job"] + ":" + labels.metricName + n
    }

    /// What the collector reads of `round`: series with a value, and series that end.
    private static func read(
        _ samples: [(Labels, TimestampMS, Double)], _ round: Int
    ) -> (shown: [String], ended: [String]) {
        let now = samples.filter { $0.1.rawValue == Int64(round) * 15_000 }
        return (
            now.filter { $0.2 == Double(round) }.map { name($0.0) }.sorted(),
            now.filter { StalenessMarker.isMarker($0.2) }.map { name($0.0) }.sorted()
        )
    }

    @Test(
        "what a scrape no longer brings ends at its time, once, through any dictionary changes",
        arguments: [1, 2, 100])
    func ends(batchesPerDictionary: Int) throws {
        let sink = MemorySink(batchesPerDictionary: batchesPerDictionary)
        var writer = MetricsBatchWriter()
        let rounds: [[String: [String]]] = [
            ["node": ["up", "disk/a", "disk/b"], "postgres": ["db/x", "db/y"]],
            // A mount is gone, and a database.
            ["node": ["up", "disk/b"], "postgres": ["db/y"]],
            // All of a reader, and so its job.
            ["node": ["up", "disk/b"]],
            // What ended does not end again; what comes again goes on.
            ["node": ["up", "disk/b"]],
            ["node": ["new", "up", "disk/a", "disk/b"], "postgres": ["db/y"]],
            // Another in the place of one.
            ["node": ["new", "up", "disk/c", "disk/b"], "postgres": ["db/y"]],
            ["node": []],
        ]
        for (round, jobs) in rounds.enumerated() {
            #expect(try writer.write(Self.scrape(round, jobs), to: sink).refused == 0)
        }
        let (samples, help, _) = try TargetBatchTests.samples(sink)
        let ended = (0..<rounds.count).map { Self.read(samples, $0).ended }
        #expect(
            ended == [
                [], ["node:disk/a", "postgres:db/x"], ["postgres:db/y"], [], [], ["node:disk/a"],
                ["node:disk/b", "node:disk/c", "node:new", "node:up", "postgres:db/y"],
            ])
        for (round, jobs) in rounds.enumerated() {
            let expected = jobs.flatMap { job, series in series.map { job + ":" + $0 } }.sorted()
            #expect(Self.read(samples, round).shown == expected)
        }
        #expect(
            help[["__name__": "disk", "n": "b", "job": "node", "instance": "h"]] == "Of disk.")
        #expect(writer.hostSeries.isEmpty)
    }

    @Test("any readers that come and go", arguments: [1, 3, 1_000])
    func random(batchesPerDictionary: Int) throws {
        let sink = MemorySink(batchesPerDictionary: batchesPerDictionary)
        var writer = MetricsBatchWriter()
        var state: UInt64 = 7
        func roll(_ sides: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % sides
        }
        var before: Set<String> = []
        var expected: [(shown: Set<String>, ended: Set<String>)] = []
        for round in 1...120 {
            var jobs: [String: [String]] = ["node": []]
            for job in ["node", "a", "b"] where job == "node" || roll(4) > 0 {
                let families = (0..<4).map { "f\($0)" }
                let order = roll(2) == 0 ? families : families.reversed()
                jobs[job] = order.filter { _ in roll(5) > 0 }.flatMap { family in
                    (0..<5).filter { _ in roll(3) > 0 }.map { "\(family)/\($0)" }
                }
            }
            _ = try writer.write(Self.scrape(round, jobs), to: sink)
            let now = Set(jobs.flatMap { job, series in series.map { job + ":" + $0 } })
            expected.append((now, before.subtracting(now)))
            before = now
        }
        let (samples, _, _) = try TargetBatchTests.samples(sink)
        for (index, round) in expected.enumerated() {
            let read = Self.read(samples, index + 1)
            #expect(read.shown == round.shown.sorted())
            #expect(read.ended == round.ended.sorted())
        }
        #expect(Set(writer.hostSeries.map(Self.name)) == before)
    }

    @Test("what the process before had ends where the first scrape does not bring it")
    func inherited() throws {
        let sink = MemorySink(batchesPerDictionary: 100)
        var before = MetricsBatchWriter()
        _ = try before.write(Self.scrape(0, ["node": ["up", "gone/a"], "old": ["x"]]), to: sink)
        var writer = MetricsBatchWriter()
        writer.inherit(before.hostSeries)
        #expect(Set(writer.hostSeries) == Set(before.hostSeries))
        let later = MemorySink(batchesPerDictionary: 100)
        for round in 1...2 {
            _ = try writer.write(Self.scrape(round, ["node": ["up", "new"]]), to: later)
        }
        let (samples, help, _) = try TargetBatchTests.samples(later)
        #expect(Self.read(samples, 1).shown == ["node:new", "node:up"])
        #expect(Self.read(samples, 1).ended == ["node:gone/a", "old:x"])
        #expect(Self.read(samples, 2).ended == [])
        #expect(help[["__name__": "up", "job": "node", "instance": "h"]] == "Of up.")
    }

    /// A sink that refuses while `isRefusing`.
    final class RefusingSink: SpoolSink {
        struct Refusal: Error {}
        let inner = MemorySink(batchesPerDictionary: 100)
        let isRefusing = Mutex(false)
        var isFull: Bool { false }

        func dictionary(forPayloadBytes bytes: Int) -> SpoolDictionary {
            inner.dictionary(forPayloadBytes: bytes)
        }

        func append(
            _ kind: PayloadKind, recordCount: Int, payload: [UInt8], positions: [SourcePosition],
            dictionary: SpoolDictionary
        ) throws -> SpoolAppendOutcome {
            guard !isRefusing.withLock({ $0 }) else { throw Refusal() }
            return inner.append(
                kind, recordCount: recordCount, payload: payload, positions: positions,
                dictionary: dictionary)
        }

        func append(_ gap: GapRecord, positions: [SourcePosition]) {
            inner.append(gap, positions: positions)
        }
    }

    @Test("what ends in a scrape that the spool refuses ends with the next one")
    func refused() throws {
        let sink = RefusingSink()
        var writer = MetricsBatchWriter()
        _ = try writer.write(Self.scrape(0, ["node": ["up", "gone"]]), to: sink)
        sink.isRefusing.withLock { $0 = true }
        #expect(throws: BatchError.self) {
            try writer.write(Self.scrape(1, ["node": ["up"]]), to: sink)
        }
        sink.isRefusing.withLock { $0 = false }
        _ = try writer.write(Self.scrape(2, ["node": ["up"]]), to: sink)
        let (samples, _, _) = try TargetBatchTests.samples(sink.inner)
        #expect(Self.read(samples, 2).ended == ["node:gone"])
        #expect(Self.read(samples, 2).shown == ["node:up"])
    }

    @Test("a scrape of nobody ends nothing, and what can't be sent has no end")
    func nothing() throws {
        let sink = MemorySink(batchesPerDictionary: 100)
        var writer = MetricsBatchWriter()
        let long = String(repeating: "x", count: WireLimits.labelValueBytesMax + 1)
        let written = try writer.write(
            Self.scrape(1, ["node": ["up", "bad/" + long]]), to: sink)
        #expect(written.records == 1 && written.refused == 1)
        let gap = try #require(sink.gaps.withLock { $0 }.first)
        #expect(gap.source == "node" && gap.detail.hasPrefix("bad:"))
        #expect(try writer.write([MetricScrape](), to: sink) == WrittenBatch())
        let next = try writer.write(Self.scrape(2, ["node": ["up"]]), to: sink)
        #expect(next.records == 1 && next.refused == 0)
    }
}
