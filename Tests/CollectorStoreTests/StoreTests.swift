import CollectorStore
import Model
import Postgres
import Storage
import Synchronization
import Testing

/// Everything here runs against one real PostgreSQL, in turn.
@Suite("Store", .serialized, .enabled(if: TestCluster.isInstalled, TestCluster.missing))
struct StoreTests {
    static let base: Int64 = TestCluster.start / 1_000_000

    @Test("cursor outcomes: stored, duplicate, out of order, fenced")
    func cursor() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "cursor")
            let h1 = try host("h1")
            let ids = try await store.intern(
                [definition(["__name__": "a", "host": "h1"])], host: h1)
            let id = try #require(ids[0])
            let (first, last) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            #expect(last == 0)
            let batch = { (n: UInt64) in scrape(n, at: Self.base + Int64(n), [id], [Double(n)]) }
            let stored = try await store.store([batch(1), batch(2), batch(4)], session: first)
            #expect(stored == [.stored, .stored, .outOfOrder(expected: 3)])
            let again = try await store.store(
                [batch(2), scrape(2, at: Self.base, [id], [9], digest: 7), batch(1)],
                session: first)
            #expect(
                again == [
                    .duplicate(sameDigest: true), .duplicate(sameDigest: false),
                    .duplicate(sameDigest: true),
                ])
            let (second, resumed) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            #expect(resumed == 2)
            #expect(try await store.store([batch(3)], session: first) == [.fenced])
            #expect(try await store.store([batch(3)], session: second) == [.stored])
            // Another epoch of the same stream starts at 1 and fences this one.
            let (third, fresh) = try await store.openSession(host: h1, kind: .metrics, epoch: 2)
            #expect(fresh == 0)
            #expect(try await store.store([batch(4)], session: second) == [.fenced])
            #expect(
                try await store.store(
                    [scrape(1, epoch: 2, at: Self.base + 9, [id], [9])], session: third)
                    == [.stored])
            await store.close()
        }
    }

    @Test("racing sessions store every sequence once")
    func race() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "race")
            let h1 = try host("h1")
            let id = try #require(
                try await store.intern([definition(["__name__": "a"])], host: h1)[0])
            let stored = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        var mine = 0
                        // Whoever is fenced opens again and goes on where the cursor stands.
                        var (session, last) = try await store.openSession(
                            host: h1, kind: .metrics, epoch: 1)
                        while last < 40 {
                            let outcome = try await store.store(
                                [scrape(last + 1, at: Self.base + Int64(last), [id], [1])],
                                session: session)[0]
                            switch outcome {
                            case .stored:
                                mine += 1
                                last += 1
                            case .duplicate: last += 1
                            case .outOfOrder, .fenced:
                                (session, last) = try await store.openSession(
                                    host: h1, kind: .metrics, epoch: 1)
                            }
                        }
                        return mine
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(stored == 40)
            let report = try await StoreVerifier(store).verify()
            #expect(report.sampleCount == 40 && report.isSound, "\(report)")
            await store.close()
        }
    }

    @Test("values come back bit for bit, and selections cut (after, through]")
    func select() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "sel")
            let h1 = try host("h1")
            let labels: [Labels] = [
                ["__name__": "a", "x": "1"], ["__name__": "a", "x": "2", "y": "\u{e9}"],
                ["__name__": "a", "x": "2", "y": "e\u{301}"], ["__name__": "b", "nul": "p\0q"],
            ]
            let ids = try await store.intern(labels.map(definition), host: h1).map {
                try #require($0)
            }
            #expect(Set(ids).count == 4)
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            let bits: [UInt64] = [
                StalenessMarker.bitPattern, 0x7ff8_0000_0000_0001, 0x8000_0000_0000_0000,
                0x7ff0_0000_0000_0000,
            ]
            let values = bits.map { Double(bitPattern: $0) }
            let batches = (1...3).map {
                scrape(UInt64($0), at: Self.base + Int64($0) * 1000, ids, values)
            }
            // A later row of the same time replaces the earlier.
            let last = scrape(4, at: Self.base + 3000, [ids[0]], [42])
            _ = try await store.store(batches + [last], session: session)
            func read(_ matchers: [LabelMatcher], _ after: Int64, _ through: Int64) async throws
                -> [SeriesColumns]
            {
                try await store.select(
                    [
                        SeriesSelection(
                            matchers: matchers, after: TimestampMS(Self.base + after),
                            through: TimestampMS(Self.base + through))
                    ], limits: ReadLimits())[0]
            }
            let all = try await read([], 0, 9000)
            #expect(all.map(\.labels) == labels.sorted())
            let a1 = try await read([LabelMatcher("x", .equal, "1")], 1000, 3000)
            #expect(a1.map(\.timestamps) == [[Self.base + 2000, Self.base + 3000]])
            #expect(a1[0].values.map(\.bitPattern) == [bits[0], Double(42).bitPattern])
            let b = try await read([LabelMatcher("__name__", .equal, "b")], 0, 2500)
            #expect(b[0].values.map(\.bitPattern) == [bits[3], bits[3]])
            #expect(Array(b[0].labels["nul"].utf8) == Array("p\0q".utf8))
            #expect(try await read([LabelMatcher("y", .equal, "")], 0, 9000).count == 2)
            #expect(try await read([LabelMatcher("y", .notEqual, "")], 0, 9000).count == 2)
            #expect(try await read([LabelMatcher("y", .equal, "\u{e9}")], 0, 9000).count == 1)
            #expect(try await read([LabelMatcher("x", .matchesRegex, "1|3")], 0, 9000).count == 1)
            #expect(
                try await read([LabelMatcher("x", .notMatchesRegex, "1|3")], 0, 9000).count == 3)
            #expect(try await read([], 3000, 9000).isEmpty)
            await #expect(throws: StorageError.self) {
                _ = try await store.select(
                    [
                        SeriesSelection(
                            matchers: [], after: TimestampMS(Self.base),
                            through: TimestampMS(Self.base + 9000))
                    ], limits: ReadLimits(samplesMax: 3))
            }
            await #expect(throws: StorageError.crowded) {
                _ = try await store.select(
                    [
                        SeriesSelection(
                            matchers: [], after: TimestampMS(Self.base),
                            through: TimestampMS(Self.base + 9000))
                    ], limits: ReadLimits(), share: SampleShare(of: SampleBudget(samplesMax: 3)))
            }
            #expect(
                try await read([], 0, 9000).count == 4, "the connection serves on after a limit")
            let scope = LabelScope(
                matcherSets: [[LabelMatcher("x", .equal, "2")]], start: TimestampMS(0),
                end: TimestampMS(Self.base))
            #expect(try await store.labelNames(scope) == ["__name__", "x", "y"])
            #expect(try await store.labelValues("y", scope).count == 2)
            #expect(try await store.metadata(metric: "a")["a"]?.first?.help == "a gauge")
            try await store.storeOwn([
                (definition(["__name__": "own"]), Sample(TimestampMS(Self.base + 5), 3))
            ])
            #expect(
                try await read([LabelMatcher("__name__", .equal, "own")], 0, 9).map(\.values)
                    == [[3]])
            await store.close()
        }
    }

    @Test("limits refuse new series and keep the old; numbers survive a reopening")
    func interning() async throws {
        try await TestCluster.with { cluster in
            let name = "interning"
            let store = try await TestCluster.store(in: cluster, name: name) {
                $0.seriesPerHostMax = 2
            }
            let h1 = try host("h1")
            let wanted = ["a", "b", "a", "c"].map { definition(["__name__": $0]) }
            let ids = try await store.intern(wanted, host: h1)
            #expect(ids[0] == ids[2] && ids[0] != nil && ids[1] != nil && ids[3] == nil)
            let other = try await store.intern([wanted[3]], host: try host("h2"))
            #expect(other[0] != nil)
            let generation = try await store.storageGeneration()
            await store.close()
            let reopened = try await TestCluster.reopen(cluster, name: name)
            #expect(try await reopened.intern(wanted, host: h1)[0] == ids[0])
            #expect(try await reopened.storageGeneration() == generation)
            await reopened.close()
        }
    }

    @Test("racing collectors intern one number per series")
    func interningRace() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "interning_race")
            let second = try await TestCluster.reopen(cluster, name: "interning_race")
            let h1 = try host("h1")
            let wanted = (0..<500).map { definition(["__name__": "m", "n": "\($0)"]) }
            async let a = store.intern(wanted, host: h1)
            async let b = second.intern(wanted.reversed(), host: h1)
            let (left, right) = try await (a, b)
            #expect(left == right.reversed())
            #expect(Set(left).count == 500)
            await second.close()
            await store.close()
        }
    }

    @Test("lines come back byte for byte, in order, both ways, in bounded pages")
    func logs() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "logs")
            let h1 = try host("h1")
            let (session, _) = try await store.openSession(host: h1, kind: .logs, epoch: 1)
            let odd: [[UInt8]] = [[], [0], [0xff, 0xfe], Array("a\0b\r".utf8), Array("ü".utf8)]
            let entries = (0..<5000).map { (index: Int) -> LogEntry in
                let metadata: Labels =
                    index == 7 ? ["trace_id": "t\0x", "request_id": "r"] : ["n": "\(index)"]
                return LogEntry(
                    timestamp: TimestampNS(TestCluster.start + Int64(index / 10)),
                    line: index < odd.count ? odd[index] : Array("line \(index)".utf8),
                    level: index % 2 == 0 ? "info" : nil, metadata: metadata)
            }
            let batches = (0..<10).map { (index: Int) -> IngestBatch in
                let labels: Labels = ["host": "h1", "unit": index < 5 ? "a" : "b"]
                let part = Array(entries[(index * 500)..<(index * 500 + 500)])
                return lines(UInt64(index + 1), labels, part)
            }
            #expect(
                try await store.store(batches, session: session)
                    == batches.map { _ in IngestOutcome.stored })
            let selection = { (matchers: [LabelMatcher], direction: LogSelection.Direction) in
                LogSelection(
                    matchers: matchers, from: TimestampNS(TestCluster.start),
                    to: TimestampNS(TestCluster.start + 500), direction: direction)
            }
            let forward = try await allEntries(
                store, selection([LabelMatcher("host", .equal, "h1")], .forward))
            #expect(forward.entries.map(\.1) == entries)
            #expect(forward.pages.allSatisfy { $0 <= 2000 } && forward.pages.count > 2)
            #expect(Array(forward.entries[7].1.metadata["trace_id"].utf8) == Array("t\0x".utf8))
            let backward = try await allEntries(
                store, selection([LabelMatcher("host", .matchesRegex, "h.")], .backward))
            #expect(backward.entries.map(\.1) == entries.reversed())
            let onlyB = try await allEntries(
                store, selection([LabelMatcher("unit", .equal, "b")], .forward))
            #expect(onlyB.entries.map(\.1) == Array(entries[2500...]))
            var narrow = selection([], .forward)
            narrow.needles = [Array("line 49".utf8), Array("9".utf8)]
            narrow.to = TimestampNS(TestCluster.start + 499)
            let expected = entries.prefix(4990).filter {
                String(decoding: $0.line, as: UTF8.self).contains("line 49")
            }
            #expect(try await allEntries(store, narrow).entries.map(\.1) == Array(expected))
            let pages = Mutex(0)
            try await store.forEachPage(selection([], .forward)) { _ in
                pages.withLock { $0 += 1 }
                return false
            }
            #expect(pages.withLock { $0 } == 1)
            struct Stop: Error {}
            await #expect(throws: Stop.self) {
                try await store.forEachPage(selection([], .forward)) { _ in throw Stop() }
            }
            let scope = LabelScope(start: TimestampMS(0), end: TimestampMS(Self.base))
            #expect(try await store.logLabelValues("unit", scope) == ["a", "b"])
            #expect(try await store.logStreams(scope).count == 2)
            let report = try await StoreVerifier(store).verify()
            #expect(report.logEntryCount == 5000 && report.isSound, "\(report)")
            await store.close()
        }
    }

    @Test("gaps are stored with their batch; scrapes far ahead of the clock become one")
    func gaps() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "gaps")
            let h1 = try host("h1")
            let id = try #require(
                try await store.intern([definition(["__name__": "a"])], host: h1)[0])
            let (session, _) = try await store.openSession(host: h1, kind: .metrics, epoch: 1)
            let gap = GapRecord(reason: .spoolFull, count: 12, source: "a\0b", detail: "full")
            _ = try await store.store(
                [
                    scrape(1, at: Self.base, [id], [1], gaps: [gap]),
                    scrape(2, at: Self.base + 2 * 3_600_000, [id], [2]),
                    IngestBatch(
                        position: BatchPosition(epoch: 1, sequence: 3), content: .none,
                        gaps: [gap], recordCount: 0, digest: [],
                        receivedAt: TimestampNS(TestCluster.start)),
                ], session: session)
            let report = try await StoreVerifier(store).verify()
            #expect(report.gapRecordCount == 25 && report.sampleCount == 1, "\(report)")
            await store.close()
        }
    }
}
