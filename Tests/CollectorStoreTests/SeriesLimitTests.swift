import CollectorStore
import Logging
import Model
import Postgres
import Storage
import Synchronization
import Testing

/// What the limits of series refuse, whom they name, and what counts.
extension StoreTests {
    private static func bomb(_ range: Range<Int>, metric: String = "bomb") -> [SeriesDefinition] {
        range.map {
            definition(["__name__": metric, "id": "\($0)", "job": "j\($0 % 3)", "host": "h1"])
        }
    }

    private static func names(_ prefix: String, _ count: Int) -> [SeriesDefinition] {
        (0..<count).map { definition(["__name__": "\(prefix)\($0)", "host": "h1"]) }
    }

    private static func value(
        _ store: CollectorStore, _ name: String, _ labels: Labels = .empty
    ) -> Double? {
        store.metricFamilies().first { $0.name == name }?.points.first { $0.labels == labels }?
            .value
    }

    @Test("the limit of a metric stops a bomb, names metric and label, and spares all others")
    func metricLimit() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "bomb", clock: clock) {
                $0.seriesPerMetricMax = 50
            }
            let h1 = try host("h1")
            let normal = try await store.intern(Self.names("m", 10), host: h1)
            let first = try await store.intern(Self.bomb(0..<200), host: h1)
            #expect(first.filter { $0 != nil }.count == 50 && first[..<50].allSatisfy { $0 != nil })
            // What is known goes on, by whichever way in; what is new is refused on each.
            #expect(try await store.intern(Self.names("m", 10), host: h1) == normal)
            #expect(try await store.intern(Self.bomb(0..<50), host: h1) == Array(first[..<50]))
            let pushed = try await store.internPushed(
                Self.bomb(190..<195) + Self.names("m", 10) + Self.names("pushed", 1))
            #expect(pushed[..<5].allSatisfy { $0 == nil })
            #expect(Array(pushed[5..<15]) == normal && pushed[15] != nil)
            let status = store.seriesLimitStatus()
            #expect(status.activeCount == 61 && status.knownCount == 61)
            #expect(status.refusals.count == 2)
            let refusal = try #require(status.refusals.first)
            #expect(refusal.scope == .metric && refusal.metric == "bomb" && refusal.label == "id")
            #expect(refusal.labelValueCount == 50 && refusal.maximum == 50)
            #expect(refusal.host == "h1" && refusal.refusedCount == 150)
            #expect(Self.value(store, "petrel_series_refused_total", ["scope": "metric"]) == 155)
            #expect(Self.value(store, "petrel_series_refused_total", ["scope": "total"]) == 0)

            // As series that a rule can watch, until ten minutes after the last refusal.
            let told = try await store.tellRefusals(after: [])
            func shown() async throws -> [SeriesColumns] {
                try await store.select(
                    [
                        SeriesSelection(
                            matchers: [
                                LabelMatcher(
                                    "__name__", .equal, "petrel_series_refused_label_values"),
                                LabelMatcher("metric", .equal, "bomb"),
                                LabelMatcher("label", .equal, "id"),
                                LabelMatcher("host", .equal, "h1"),
                            ], after: TimestampMS(0), through: TimestampMS(.max / 2))
                    ], limits: ReadLimits())[0]
            }
            #expect(try await shown().first?.values == [50])
            clock.advance(nanoseconds: 9 * 60_000_000_000)
            #expect(try await store.tellRefusals(after: told) == told)
            clock.advance(nanoseconds: 60_000_000_000)
            #expect(store.seriesLimitStatus().refusals.isEmpty)
            #expect(try await store.tellRefusals(after: told).isEmpty)
            #expect(
                try await shown().first?.values.last?.bitPattern
                    == StalenessMarker.value.bitPattern)
            #expect(try await store.tellRefusals(after: []).isEmpty)
            await store.close()
        }
    }

    @Test("the limits of a host and of all name what grew, not who comes last; alerts go on")
    func namedCulprit() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "culprit") {
                $0.seriesPerHostMax = 60
                $0.seriesMax = 100
            }
            let h1 = try host("h1")
            _ = try await store.intern(Self.names("m", 10) + Self.bomb(0..<50), host: h1)
            // An innocent is refused: the bomb is named.
            #expect(try await store.intern(Self.names("new", 1), host: h1) == [nil])
            let ofHost = try #require(store.seriesLimitStatus().refusals.first)
            #expect(ofHost.scope == .host && ofHost.metric == "bomb" && ofHost.label == "id")
            #expect(ofHost.labelValueCount == 50 && ofHost.host == "h1" && ofHost.maximum == 60)
            // Metric names grow, one series each.
            let second = try await store.intern(Self.names("n", 60), host: try host("h2"))
            #expect(second.filter { $0 != nil }.count == 40)
            let ofAll = try #require(
                store.seriesLimitStatus().refusals.first { $0.scope == .total })
            #expect(ofAll.metric.isEmpty && ofAll.label == "__name__" && ofAll.host.isEmpty)
            #expect(ofAll.labelValueCount >= 51 && ofAll.refusedCount == 20)
            // The collector's own series have a reserve: it must be able to say so.
            let told = try await store.tellRefusals(after: [])
            #expect(told.count == 4)
            let found = try await store.labelValues(
                "scope",
                LabelScope(start: TimestampMS(0), end: TimestampMS(.max / 2)))
            #expect(found == ["host", "total"])
            await store.close()
        }
    }

    @Test("only series that were seen in the last hours count")
    func activeSeries() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            var store = try await TestCluster.store(in: cluster, name: "active", clock: clock) {
                $0.seriesPerMetricMax = 10
            }
            let h1 = try host("h1")
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            let kept = try await store.intern(Self.bomb(0..<2), host: h1).compactMap { $0 }
            var known = 2
            for round in 0..<6 {
                let wanted = Self.bomb((round * 10 + 2)..<(round * 10 + 14))
                let ids = try await store.intern(wanted, host: h1)
                // Eight beside the two that go on.
                #expect(ids.filter { $0 != nil }.count == 8, "round \(round)")
                known += 8
                let now = clock.now.rawValue
                let batch = scrape(
                    UInt64(round + 1), at: now / 1_000_000, kept + ids.compactMap { $0 },
                    [Double](repeating: 1, count: 10), receivedAt: now)
                #expect(try await store.store([batch], session: session) == [.stored])
                clock.advance(nanoseconds: 2 * 3_600_000_000_000)
                let more = try await store.intern(Self.bomb(900..<901), host: h1)
                #expect(more == [nil], "two hours later they still count")
                let again = scrape(
                    UInt64(round + 1), epoch: 2, at: clock.now.rawValue / 1_000_000, kept, [2, 2],
                    receivedAt: clock.now.rawValue)
                let (other, _) = try await store.openSession(
                    host: try host("h2"), kind: .metrics, epoch: 2)
                #expect(try await store.store([again], session: other) == [.stored])
                clock.advance(nanoseconds: 2 * 3_600_000_000_000)
                #expect(store.seriesLimitStatus().activeCount == 2)
                #expect(store.seriesLimitStatus().knownCount == known)
            }
            // One that comes again counts again, and is never refused.
            let last = scrape(
                7, at: clock.now.rawValue / 1_000_000,
                try await store.intern(Self.bomb(0..<10), host: h1).compactMap { $0 },
                [Double](repeating: 3, count: 10), receivedAt: clock.now.rawValue)
            #expect(try await store.store([last], session: session) == [.stored])
            #expect(store.seriesLimitStatus().activeCount == 10)
            #expect(try await store.intern(Self.bomb(900..<901), host: h1) == [nil])
            _ = try await store.sealWhereDue()
            await store.close()
            // After a restart those in the log count.
            store = try await TestCluster.reopen(cluster, name: "active", clock: clock) {
                $0.seriesPerMetricMax = 10
            }
            #expect(try await store.intern(Self.bomb(900..<901), host: h1) == [nil])
            await store.close()
        }
    }

    @Test("a clock that was ahead and is set back: limits count and windows are sealed as before")
    func clockSetBack() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let store = try await TestCluster.store(in: cluster, name: "setback", clock: clock) {
                $0.seriesPerMetricMax = 10
            }
            let days: Int64 = 40 * 86_400_000_000_000
            func push(_ ids: [SeriesID?]) async throws {
                let ids = ids.compactMap { $0 }
                let at = clock.now.rawValue / 1_000_000
                let outcome = try await store.storeSamples(
                    SampleBatch(
                        runs: ids.map { SampleBatch.Run(series: $0, sampleCount: 1) },
                        timestamps: ids.map { _ in at }, values: ids.map { _ in 1 }))
                #expect(outcome.storedSamples == ids.count)
            }
            let first = try await store.internPushed(Self.bomb(0..<4))
            try await push(first)
            clock.advance(nanoseconds: days)
            try await push(try await store.internPushed(Self.bomb(4..<6)))
            #expect(store.seriesLimitStatus().activeCount == 2)
            #expect(try await store.sealWhereDue() > 0)
            clock.advance(nanoseconds: -days)
            // Those of before count again, those that came meanwhile from now on, and new ones with them.
            #expect(store.seriesLimitStatus().activeCount == 6)
            let more = try await store.internPushed(Self.bomb(6..<20))
            #expect(more.compactMap { $0 }.count == 4)
            try await push(first + more)
            #expect(store.seriesLimitStatus().activeCount == 10)
            clock.advance(nanoseconds: 4 * 3_600_000_000_000)
            #expect(store.seriesLimitStatus().activeCount == 0)
            #expect(try await store.sealWhereDue() > 0)
            #expect(try await store.sealWhereDue() == 0)
            try await push(first)
            #expect(store.seriesLimitStatus().activeCount == 4)
            clock.advance(nanoseconds: 4 * 3_600_000_000_000)
            #expect(try await store.sealWhereDue() > 0)
            await store.close()
        }
    }

    @Test("many limits at once cost no look at all series, and no line of the log, a call")
    func manyLimits() async throws {
        try await TestCluster.with { cluster in
            let clock = SetClock(TestCluster.start)
            let lines = LogLines()
            let store = try await TestCluster.store(
                in: cluster, name: "manylimits", clock: clock, logger: lines.logger
            ) { $0.seriesPerMetricMax = 1 }
            func count() -> Int { lines.count(of: "new series are refused: a limit is reached") }
            func refuse() async throws {
                for number in 0..<50 {
                    _ = try await store.internPushed(Self.bomb(0..<2, metric: "m\(number)"))
                }
            }
            for _ in 0..<4 {
                try await refuse()
                clock.advance(nanoseconds: 1_000_000_000)
            }
            #expect(count() == 20)
            // Each names its metric, whether there was a look or not.
            let named = Set(store.seriesLimitStatus().refusals.map(\.metric))
            #expect(named.count == 20 && named.allSatisfy { $0.hasPrefix("m") })
            let refused = Self.value(store, "petrel_series_refused_total", ["scope": "metric"])
            #expect(refused == 200)
            clock.advance(nanoseconds: 60_000_000_000)
            try await refuse()
            #expect(count() == 40)
            await store.close()
        }
    }
}

/// Keeps the messages that are logged.
private final class LogLines: Sendable {
    private struct Handler: LogHandler {
        var lines: LogLines
        var logLevel = Logger.Level.warning
        var metadata: Logger.Metadata = [:]
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.messages.withLock { $0.append("\(event.message)") } }
    }

    private let messages = Mutex<[String]>([])

    var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    func count(of message: String) -> Int { messages.withLock { $0.count { $0 == message } } }
}
