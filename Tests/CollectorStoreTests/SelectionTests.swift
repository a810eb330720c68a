import CollectorStore
import Model
import Storage
import Testing

/// What a read of several selections reads, and what of it counts.
extension StoreTests {
    @Test(
        "of selections far apart nothing in between is read, and nothing twice",
        arguments: [1, 2, 5])
    func selectionsApart(tasks: Int) async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(
                in: cluster, name: "apart\(tasks)", clock: clock
            ) { $0.readTasksMax = tasks }
            let hour: Int64 = 3_600_000
            let base = TestCluster.start / 1_000_000 / hour * hour
            let names = (0..<40).map { "p\($0)" }
            let ids = try await store.internPushed(
                names.map {
                    SeriesDefinition(labels: ["__name__": $0], metadata: MetricMetadata())
                }
            ).map { try #require($0) }
            // Ten days of every hour: nine of them sealed, the last in the head.
            let times = (0..<240).map { base - Int64($0) * hour }
            for part in [times[24...], times[..<24]] {
                let outcome = try await store.storeSamples(
                    SampleBatch(
                        runs: ids.map { SampleBatch.Run(series: $0, sampleCount: part.count) },
                        timestamps: ids.flatMap { _ in part.reversed() },
                        values: ids.indices.flatMap { index in
                            part.reversed().map { Double($0) + Double(index) }
                        }))
                #expect(outcome.storedSamples == part.count * ids.count)
                if part.first != base { #expect(try await store.sealWhereDue() > 0) }
            }
            let random = SeededRandom(UInt64(tasks))
            for round in 0..<60 {
                var selections: [SeriesSelection] = []
                var wanted: [Int: Set<Int64>] = [:]
                var answers: [[String: [Int64]]] = []
                for _ in 0...Int(random.next() % 4) {
                    let after = base - Int64(random.next() % 260) * hour + hour / 2
                    let through = after + Int64(random.next() % 30) * hour
                    let series = Int(random.next() % 50)
                    let matchers =
                        series < 40 ? [LabelMatcher("__name__", .equal, names[series])] : []
                    selections.append(
                        SeriesSelection(
                            matchers: matchers, after: TimestampMS(after),
                            through: TimestampMS(through)))
                    var answer: [String: [Int64]] = [:]
                    let inside = times.filter { $0 > after && $0 <= through }.sorted()
                    for index in series < 40 ? [series] : Array(names.indices) {
                        wanted[index, default: []].formUnion(inside)
                        if !inside.isEmpty { answer[names[index]] = inside }
                    }
                    answers.append(answer)
                }
                // What two selections want of a series counts once, what lies between them not at all.
                let needed = wanted.values.reduce(0) { $0 + $1.count }
                let found = try await store.select(
                    selections, limits: ReadLimits(samplesMax: needed))
                for (columns, answer) in zip(found, answers) {
                    let got = Dictionary(
                        uniqueKeysWithValues: columns.map {
                            ($0.labels.metricName, $0.timestamps)
                        })
                    #expect(got == answer, "round \(round)")
                    #expect(columns.map(\.labels) == columns.map(\.labels).sorted())
                    for column in columns {
                        let index = try #require(names.firstIndex(of: column.labels.metricName))
                        #expect(
                            column.values == column.timestamps.map { Double($0 + Int64(index)) })
                    }
                }
                guard needed > 0 else { continue }
                await #expect(throws: StorageError.self, "round \(round)") {
                    try await store.select(selections, limits: ReadLimits(samplesMax: needed - 1))
                }
            }
            await store.close()
        }
    }
}
