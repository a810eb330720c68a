import CollectorQuery
import Model
import Testing

@Suite("Cardinality")
struct CardinalityTests {
    @Test("series, pairs, values and bytes are counted by their bytes, the largest first")
    func counts() async throws {
        // One string to Swift.
        let composed = "\u{e9}"
        let combining = "e\u{301}"
        let sets: [Labels] = [
            ["__name__": "a", "y": composed], ["__name__": "a", "y": combining],
            ["__name__": "a", "y": combining, "z": "long"], ["__name__": "b", composed: "1"],
            ["__name__": "b", combining: "1"],
        ]
        let columns = sets.map { SeriesColumns(labels: $0, timestamps: [1], values: [1]) }
        let service = MetricQueryService(
            reader: FakeMetricReader(answer: columns), clock: FixedClock(),
            executor: globalConcurrentExecutor)
        let found = try await service.cardinality(entriesMax: 10)
        // As bytes, which a comparison of strings does not look at.
        func wanted(_ list: [(name: String, count: Int)]) -> [String] {
            list.map { entry in
                entry.name.utf8.map { String($0, radix: 16) }.joined() + " \(entry.count)"
            }
        }
        func entries(_ list: [Cardinality.Entry]) -> [String] {
            wanted(list.map { ($0.name, $0.count) })
        }
        #expect(found.seriesCount == 5)
        #expect(found.pairCount == 7)
        #expect(entries(found.seriesByMetric) == wanted([("a", 3), ("b", 2)]))
        #expect(
            entries(found.valuesByLabel)
                == wanted([("__name__", 2), ("y", 2), (combining, 1), ("z", 1), (composed, 1)]))
        #expect(
            entries(found.bytesByLabel)
                == wanted([("y", 8), ("__name__", 5), ("z", 4), (combining, 1), (composed, 1)]))
        #expect(
            entries(found.seriesByPair)
                == wanted([
                    ("__name__=a", 3), ("__name__=b", 2), ("y=\(combining)", 2),
                    ("\(combining)=1", 1), ("y=\(composed)", 1), ("z=long", 1),
                    ("\(composed)=1", 1),
                ]))
        #expect(try await service.cardinality(entriesMax: 1).seriesByPair.count == 1)
    }
}
