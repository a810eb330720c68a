import CollectorStore
import Model
import Storage
import Testing

@Suite("Log feed hub")
struct LogFeedHubTests {
    private static func stream(_ host: String, _ lines: Range<Int>) -> LogStream {
        LogStream(
            labels: ["host": host],
            entries: lines.map { number in
                LogEntry(timestamp: TimestampNS(Int64(number)), line: Array("\(number)".utf8))
            })
    }

    private static func times(_ batch: LogFeedBatch?) -> [Int64] {
        batch?.streams.flatMap { $0.entries.map(\.timestamp.rawValue) } ?? []
    }

    @Test("each follower gets the streams that satisfy its matchers, in the order of commits")
    func matchers() async throws {
        let hub = LogFeedHub()
        let a = try hub.follow([LabelMatcher("host", .equal, "a")])
        let both = try hub.follow([LabelMatcher("host", .matchesRegex, "a|b")])
        let others = try hub.follow([LabelMatcher("host", .notEqual, "a")])
        #expect(hub.followerCount == 3)
        hub.publish([Self.stream("b", 5..<7), Self.stream("a", 1..<3)])
        hub.publish([Self.stream("a", 0..<1)])
        #expect(Self.times(try await a.next()) == [1, 2, 0])
        #expect(Self.times(try await both.next()) == [5, 6, 1, 2, 0])
        #expect(Self.times(try await others.next()) == [5, 6])
    }

    @Test("a bad regular expression is refused")
    func badMatcher() {
        #expect(throws: StorageError.self) {
            _ = try LogFeedHub().follow([LabelMatcher("host", .matchesRegex, "(")])
        }
    }

    @Test("of too many entries the oldest are dropped, counted, and the first of them named")
    func drops() async throws {
        let hub = LogFeedHub(limits: .init(queuedEntriesMax: 10, namedDropsMax: 2))
        let follower = try hub.follow([])
        hub.publish([Self.stream("a", 0..<4)])
        hub.publish([Self.stream("b", 4..<11)])
        let batch = try #require(await follower.next())
        #expect(Self.times(batch) == Array(1..<11))
        #expect(batch.droppedCount == 1 && batch.dropped.map(\.timestamp) == [TimestampNS(0)])
        #expect(batch.dropped.first?.labels == ["host": "a"])
        // More in one commit than there is room for.
        hub.publish([Self.stream("a", 0..<100)])
        let next = try #require(await follower.next())
        #expect(Self.times(next) == Array(90..<100))
        #expect(next.droppedCount == 90 && next.dropped.count == 2)
        #expect(hub.droppedCount == 91)
    }

    @Test("bytes are bounded too")
    func bytes() async throws {
        let hub = LogFeedHub(limits: .init(queuedBytesMax: 3000))
        let follower = try hub.follow([])
        for number in 0..<10 {
            let entry = LogEntry(
                timestamp: TimestampNS(Int64(number)), line: Array(repeating: 65, count: 900))
            hub.publish([LogStream(labels: ["host": "a"], entries: [entry])])
        }
        let batch = try #require(await follower.next())
        #expect(Self.times(batch) == [7, 8, 9])
        #expect(batch.droppedCount == 7)
    }

    @Test("a batch is bounded; the rest comes with the next ones, and nothing twice")
    func batches() async throws {
        let hub = LogFeedHub(limits: .init(batchEntriesMax: 3))
        let follower = try hub.follow([])
        hub.publish([Self.stream("a", 0..<7)])
        hub.publish([Self.stream("b", 7..<9)])
        var sizes: [Int] = []
        var times: [Int64] = []
        while times.count < 9 {
            let batch = try #require(await follower.next())
            sizes.append(Self.times(batch).count)
            times += Self.times(batch)
        }
        #expect(times == Array(0..<9))
        #expect(sizes.allSatisfy { $0 <= 3 })
    }

    @Test("followers are bounded; one that is let go makes room")
    func followersMax() throws {
        let hub = LogFeedHub(limits: .init(followersMax: 2))
        var followers = [try hub.follow([]), try hub.follow([])]
        #expect(throws: StorageError.limitExceeded(limit: "log followers", maximum: 2)) {
            _ = try hub.follow([])
        }
        followers.removeLast()
        #expect(hub.followerCount == 1)
        followers.append(try hub.follow([]))
        #expect(hub.followerCount == 2)
        // Nobody is left to keep anything for.
        followers = []
        hub.publish([Self.stream("a", 0..<1)])
        #expect(hub.followerCount == 0)
    }

    @Test("the end comes after what is queued, and to those who come later")
    func finish() async throws {
        let hub = LogFeedHub()
        let follower = try hub.follow([])
        hub.publish([Self.stream("a", 0..<1)])
        hub.finish()
        hub.publish([Self.stream("a", 1..<2)])
        #expect(Self.times(try await follower.next()) == [0])
        #expect(try await follower.next() == nil)
        #expect(try await hub.follow([]).next() == nil)
    }

    @Test("a wait ends with an entry, with the end, and by cancellation, which loses nothing")
    func waits() async throws {
        let hub = LogFeedHub()
        let follower = try hub.follow([])
        for _ in 0..<100 {
            let cancelled = await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    do { return try await follower.next() == nil } catch { return true }
                }
                group.cancelAll()
                return await group.next() ?? false
            }
            #expect(cancelled)
        }
        async let waiting = follower.next()
        hub.publish([Self.stream("a", 0..<1)])
        #expect(Self.times(try await waiting) == [0])
        async let ending = follower.next()
        hub.finish()
        #expect(try await ending == nil)
    }

    @Test("what several publish at once arrives whole and once")
    func concurrentPublishers() async throws {
        let hub = LogFeedHub()
        let follower = try hub.follow([])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for part in 0..<4 {
                group.addTask {
                    for number in 0..<500 {
                        let first = part * 500 + number
                        hub.publish([Self.stream("h\(part)", first..<(first + 1))])
                    }
                }
            }
            var seen: Set<Int64> = []
            while seen.count < 2000 {
                let times = Self.times(try await follower.next())
                #expect(seen.isDisjoint(with: times))
                seen.formUnion(times)
            }
            try await group.waitForAll()
        }
    }
}
