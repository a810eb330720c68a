import AgentBatch
import Model
import Storage
import Synchronization
import Testing
import Wire

@Suite("batches of targets")
struct TargetBatchTests {
    static func series(_ name: String, _ target: Int) -> TargetSeries {
        TargetSeries(
            labels: ["__name__": name, "job": "app", "instance": "h:\(target)"], family: name,
            metadata: MetricMetadata(type: .gauge, help: "Of \(name)."))
    }

    /// Every sample that `sink` holds, as the collector reads it.
    static func samples(
        _ sink: MemorySink
    ) throws -> (
        samples: [(Labels, TimestampMS, Double)], help: [Labels: String], others: [String]
    ) {
        var dictionary = StreamDictionary(number: 0)
        var samples: [(Labels, TimestampMS, Double)] = []
        var help: [Labels: String] = [:]
        var others: [String] = []
        for held in sink.held.withLock({ $0 }) {
            if held.dictionary != dictionary.number {
                dictionary = StreamDictionary(number: held.dictionary)
            }
            let (good, problems) = try MetricsPayload.decode(held.payload, dictionary: &dictionary)
            #expect(problems.isEmpty, "\(problems)")
            #expect(good.sampleCount == held.count && good.rejectedExemplarCount == 0)
            for scrape in good.scrapes {
                for (index, id) in scrape.series.enumerated() {
                    let series = try #require(dictionary.series(id))
                    samples.append((series.labels, scrape.timestamp, scrape.values[index]))
                    help[series.labels] = series.metadata.help
                    if !scrape.startTimestamps.isEmpty {
                        others.append("\(series.labels) start \(scrape.startTimestamps[index])")
                    }
                }
            }
            for one in good.exemplars {
                let series = try #require(dictionary.series(one.series))
                others.append("\(series.labels) \(one.exemplar)")
            }
        }
        return (samples, help, others)
    }

    @Test(
        "start timestamps and exemplars go with their samples through any dictionary changes",
        arguments: [1, 2, 100])
    func others(batchesPerDictionary: Int) throws {
        let sink = MemorySink(batchesPerDictionary: batchesPerDictionary)
        var writer = MetricsBatchWriter()
        var expected: [String] = []
        for round in 0..<4 {
            let series = ["a", "b", "c"].map { Self.series($0, 0) }
            var scrape = TargetScrape(target: 0, name: "app 0", series: series)
            var shown: [String] = []
            for slot in series.indices {
                let start = Int64(slot == 1 ? 500 + round : 0)
                scrape.append(
                    .init(slot: slot, value: 1, timestamp: TimestampMS(Int64(round) * 1000)),
                    start: start)
                expected.append("\(series[slot].labels) start \(start)")
                guard slot != 0 else { continue }
                let exemplar = Exemplar(
                    labels: ["trace_id": "\(round)"], value: Double(slot),
                    timestamp: TimestampMS(5))
                scrape.append(exemplar)
                shown.append("\(series[slot].labels) \(exemplar)")
            }
            expected += shown
            #expect(try writer.write(scrape, to: sink).records == 3)
        }
        #expect(try Self.samples(sink).others == expected)
    }

    @Test(
        "more exemplars than a batch may have go in several; a refused series takes its own along")
    func manyExemplars() throws {
        let sink = MemorySink(batchesPerDictionary: 1000)
        var writer = MetricsBatchWriter()
        let count = 2 * WireLimits.exemplarsMax + 10
        var series = (0..<count).map { Self.series("m\($0)", 0) }
        series[3].labels = series[3].labels.setting(
            "l", String(repeating: "x", count: WireLimits.labelValueBytesMax + 1))
        var scrape = TargetScrape(target: 0, name: "app", series: series)
        for slot in series.indices {
            scrape.append(.init(slot: slot, value: 1, timestamp: TimestampMS(5)))
            scrape.append(
                Exemplar(
                    labels: ["trace_id": String(repeating: "é", count: 120)],
                    value: Double(slot), timestamp: TimestampMS(5)))
        }
        let written = try writer.write(scrape, to: sink)
        #expect(written.records == count - 1 && written.refused == 1 && written.batches == 3)
        #expect(try Self.samples(sink).others.count == count - 1)
        #expect(
            sink.held.withLock { $0.allSatisfy { $0.payload.count <= WireLimits.payloadBytesMax } })
    }

    @Test("targets and the host's readers share a dictionary", arguments: [1, 2, 5, 100])
    func shared(batchesPerDictionary: Int) throws {
        let sink = MemorySink(batchesPerDictionary: batchesPerDictionary)
        var writer = MetricsBatchWriter()
        var expected: [String] = []
        for round in 0..<6 {
            let time = TimestampMS(Int64(round) * 1000)
            _ = try writer.write([BatchTests.scrape(round, series: 4)], to: sink)
            for target in 0..<2 {
                // From round 3 on the slots hold other series, one of which both targets say is theirs.
                let names = round < 3 ? ["a", "b", "c"] : ["c", "d", "a"]
                var series = names.map { Self.series($0, target) }
                series.append(Self.series("same", 9))
                let rows = series.indices.map {
                    TargetScrape.Row(slot: $0, value: Double(round * 10 + $0), timestamp: time)
                }
                let written = try writer.write(
                    TargetScrape(
                        target: target, name: "app \(target)", series: series, rows: rows), to: sink
                )
                #expect(written.records == 4 && written.refused == 0)
                expected += rows.map { "\(series[$0.slot].labels) \(time.rawValue) \($0.value)" }
            }
        }
        let (samples, help, _) = try Self.samples(sink)
        let found = samples.filter { $0.0["job"] == "app" }.map {
            "\($0.0) \($0.1.rawValue) \($0.2)"
        }
        #expect(found == expected)
        #expect(help[Self.series("d", 1).labels] == "Of d.")
    }

    @Test("two spellings of one text are two series")
    func spellings() throws {
        let sink = MemorySink(batchesPerDictionary: 100)
        var writer = MetricsBatchWriter()
        let texts = ["caf\u{e9}", "cafe\u{301}"]
        let series = texts.map { TargetSeries(labels: ["__name__": "m", "n": $0], family: "m") }
        let rows = series.indices.map {
            TargetScrape.Row(slot: $0, value: Double($0), timestamp: TimestampMS(1))
        }
        _ = try writer.write(
            TargetScrape(target: 0, name: "a", series: series, rows: rows), to: sink)
        let found = try Self.samples(sink).samples.map { Array($0.0["n"].utf8) }
        #expect(found == texts.map { Array($0.utf8) })
    }

    @Test("samples with times of their own go in as many scrapes as there are times")
    func times() throws {
        let sink = MemorySink(batchesPerDictionary: 1000)
        var writer = MetricsBatchWriter()
        let count = 3 * 64 + 5
        let rows = (0..<count).map {
            TargetScrape.Row(slot: $0 % 2, value: Double($0), timestamp: TimestampMS(Int64($0 / 2)))
        }
        let written = try writer.write(
            TargetScrape(
                target: 0, name: "app", series: [Self.series("a", 0), Self.series("b", 0)],
                rows: rows), to: sink)
        #expect(written.records == count && written.batches == 2)
        let (samples, _, _) = try Self.samples(sink)
        #expect(samples.map(\.2) == rows.map(\.value))
        #expect(samples.map(\.1) == rows.map(\.timestamp))
    }

    @Test("what can't be sent becomes a gap that names the target")
    func gap() throws {
        let sink = MemorySink(batchesPerDictionary: 1000)
        var writer = MetricsBatchWriter()
        var bad = Self.series("bad", 0)
        bad.labels = bad.labels.setting(
            "l", String(repeating: "x", count: WireLimits.labelValueBytesMax + 1))
        let rows = [0, 1].map {
            TargetScrape.Row(slot: $0, value: 1, timestamp: TimestampMS(5))
        }
        let written = try writer.write(
            TargetScrape(
                target: 0, name: "app h:0", series: [bad, Self.series("good", 0)], rows: rows),
            to: sink)
        #expect(written.records == 1 && written.refused == 1)
        let gap = try #require(sink.gaps.withLock { $0 }.first)
        #expect(gap.source == "app h:0" && gap.count == 1 && gap.detail.hasPrefix("bad:"))
    }

    @Test("a large target goes in several batches")
    func large() throws {
        let sink = MemorySink(batchesPerDictionary: 1000)
        var writer = MetricsBatchWriter()
        let series = (0..<25_000).map { Self.series("m\($0)", 0) }
        let rows = series.indices.map {
            TargetScrape.Row(slot: $0, value: 1, timestamp: TimestampMS(5))
        }
        let scrape = TargetScrape(target: 0, name: "app", series: series, rows: rows)
        #expect(try writer.write(scrape, to: sink).records == 25_000)
        // The second time nothing is defined: a sample is a few bytes.
        let before = sink.held.withLock { $0.count }
        #expect(try writer.write(scrape, to: sink).batches == 2)
        let bytes = sink.held.withLock { $0[before...].reduce(0) { $0 + $1.payload.count } }
        #expect(bytes < 25_000 * 4)
        #expect(try Self.samples(sink).samples.count == 50_000)
    }
}
