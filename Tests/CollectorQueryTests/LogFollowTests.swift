import CollectorQuery
import LogQL
import Model
import Storage
import Synchronization
import Testing
import World

/// A clock that the test moves; who sleeps wakes when its time has come.
private final class MovedClock: WorldClock {
    private struct State {
        var nanoseconds: Int64 = 1_000_000_000_000
        var sleepers: [UInt64: (until: Int64, continuation: CheckedContinuation<Void, Never>)] = [:]
        var nextNumber: UInt64 = 0
        var cancelled: Set<UInt64> = []
    }

    private let state = Mutex(State())

    var now: TimestampNS { TimestampNS(state.withLock { $0.nanoseconds }) }
    var monotonicNanoseconds: Int64 { state.withLock { $0.nanoseconds } }
    var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    func sleep(nanoseconds: Int64) async throws {
        let number = state.withLock { state in
            state.nextNumber += 1
            return state.nextNumber
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.cancelled.contains(number) || nanoseconds <= 0 { return true }
                    state.sleepers[number] = (state.nanoseconds + nanoseconds, continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                state.cancelled.insert(number)
                return state.sleepers.removeValue(forKey: number)
            }
            sleeper?.continuation.resume()
        }
        try Task.checkCancellation()
    }

    func advance(_ nanoseconds: Int64) {
        let due = state.withLock { state in
            state.nanoseconds += nanoseconds
            let due = state.sleepers.filter { $0.value.until <= state.nanoseconds }
            for number in due.keys { state.sleepers[number] = nil }
            return due.values.map(\.continuation)
        }
        for continuation in due { continuation.resume() }
    }
}

/// Gives what the test sends to the one who follows.
private final class OneFeed: LogFeed, LogFollowing {
    private struct State {
        var batches: [LogFeedBatch] = []
        var isOver = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    let followed = Mutex(0)

    var queuedCount: Int { state.withLock { $0.batches.count } }

    func follow(_ matchers: [LabelMatcher]) throws(StorageError) -> any LogFollowing {
        followed.withLock { $0 += 1 }
        return self
    }

    func next() async throws -> LogFeedBatch? {
        while true {
            try Task.checkCancellation()
            let (batch, isOver) = state.withLock { state in
                (state.batches.isEmpty ? nil : state.batches.removeFirst(), state.isOver)
            }
            if let batch { return batch }
            if isOver { return nil }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isReady = state.withLock { state in
                        let isReady =
                            !state.batches.isEmpty || state.isOver || Task.isCancelled
                        if !isReady { state.waiting = continuation }
                        return isReady
                    }
                    if isReady { continuation.resume() }
                }
            } onCancel: {
                wake()
            }
        }
    }

    func send(_ entries: [(Int64, String)], host: String = "a") {
        let stream = LogStream(
            labels: ["host": host],
            entries: entries.map {
                LogEntry(timestamp: TimestampNS($0.0), line: Array($0.1.utf8))
            })
        send(LogFeedBatch(streams: [stream]))
    }

    func send(_ batch: LogFeedBatch) {
        state.withLock { $0.batches.append(batch) }
        wake()
    }

    func finish() {
        state.withLock { $0.isOver = true }
        wake()
    }

    private func wake() { state.withLock { $0.waiting.take() }?.resume() }
}

/// A store whose entries are committed while they are read.
private struct CommittingReader: LogReader {
    let stored: StoredLogReader
    /// Called when reading begins.
    var onRead: @Sendable () -> Void = {}

    func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        onRead()
        try await stored.forEachPage(selection, body)
    }
    func logRates(
        _ matchers: [LabelMatcher], from: TimestampNS, to: TimestampNS, grid: LogRateGrid
    ) async throws(StorageError) -> LogRatePage { LogRatePage() }
    func logTrace(
        _ id: String, from: TimestampNS, to: TimestampNS, entriesMax: Int
    ) async throws(StorageError) -> LogTrace { LogTrace(page: LogPage(), isCut: false) }
    func logLabelNames(_ scope: LabelScope) async throws(StorageError) -> [String] { [] }
    func logLabelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(StorageError) -> [String] { [] }
    func logStreams(_ scope: LabelScope) async throws(StorageError) -> [Labels] { [] }
}

@Suite("Following logs")
struct LogFollowTests {
    private static let patience: Int64 = 10_000_000_000

    private static func stored(_ lines: [(Int64, String)]) -> StoredLogReader {
        StoredLogReader([
            LogStream(
                labels: ["host": "a"],
                entries: lines.map {
                    LogEntry(timestamp: TimestampNS($0.0), line: Array($0.1.utf8))
                })
        ])
    }

    private static func follow(
        _ request: LogFollowRequest, _ reader: any LogReader, _ feed: OneFeed,
        _ clock: MovedClock
    ) throws -> LogFollow {
        try LogFollow(
            request, logs: LogQueryService(reader: reader, clock: clock), feed: feed, clock: clock)
    }

    private static func request(
        _ text: String = #"{host=~".+"}"#, entriesMax: Int = 100
    ) -> LogFollowRequest {
        LogFollowRequest(text: text, from: TimestampNS(0), entriesMax: entriesMax)
    }

    private static func lines(_ part: LogFollowPart?) -> [String] {
        part?.entries.map { String(decoding: $0.entry.line, as: UTF8.self) } ?? []
    }

    @Test("what is committed while the past is read comes once, whether the reading saw it or not")
    func seam() async throws {
        let feed = OneFeed()
        let clock = MovedClock()
        var reader = CommittingReader(
            stored: Self.stored([(1, "old"), (2, "twice"), (2, "twice"), (3, "seen")]))
        // Both are committed after following began: the reading sees the first, and the second comes too late for it.
        reader.onRead = {
            #expect(feed.followed.withLock { $0 } == 1)
            feed.send([(2, "twice"), (3, "seen")])
            feed.send([(4, "unseen")])
        }
        let follow = try Self.follow(Self.request(), reader, feed, clock)
        var lines: [String] = []
        while lines.count < 5 {
            lines += Self.lines(try await follow.next(patienceNanoseconds: Self.patience))
        }
        #expect(lines == ["old", "twice", "twice", "seen", "unseen"])
        // Of two repeats one may be what was read as well; the other is new.
        feed.send([(2, "twice"), (2, "twice")])
        #expect(
            Self.lines(try await follow.next(patienceNanoseconds: Self.patience)) == ["twice"])
    }

    @Test(
        "what equals a line of the history is taken for it once, however late it comes; one more is new"
    )
    func afterSeam() async throws {
        let feed = OneFeed()
        let clock = MovedClock()
        let follow = try Self.follow(
            Self.request(), CommittingReader(stored: Self.stored([(1, "x")])), feed, clock)
        #expect(Self.lines(try await follow.next(patienceNanoseconds: Self.patience)) == ["x"])
        clock.advance(6_000_000_000)
        feed.send([(1, "x"), (1, "x")])
        #expect(Self.lines(try await follow.next(patienceNanoseconds: Self.patience)) == ["x"])
    }

    @Test(
        "of what was before the newest entries are given, oldest first, and none where none is asked for"
    )
    func history() async throws {
        let lines = (1...9).map { (Int64($0), "\($0)") }
        for (limit, expected) in [(3, ["7", "8", "9"]), (0, [])] {
            let feed = OneFeed()
            let follow = try Self.follow(
                Self.request(entriesMax: limit), CommittingReader(stored: Self.stored(lines)),
                feed, MovedClock())
            feed.send([(5, "late")])
            var given: [String] = []
            while given.last != "late" {
                given += Self.lines(try await follow.next(patienceNanoseconds: Self.patience))
            }
            #expect(given == expected + ["late"])
        }
    }

    @Test("stages apply, entries of one commit come in the order of time, drops are passed on")
    func stages() async throws {
        let feed = OneFeed()
        let follow = try Self.follow(
            Self.request(#"{host="a"} |= "k" | logfmt | line_format "{{.n}}""#, entriesMax: 0),
            CommittingReader(stored: Self.stored([])), feed, MovedClock())
        feed.send([(3, "k n=3"), (4, "lost"), (2, "k n=2")])
        let part = try await follow.next(patienceNanoseconds: Self.patience)
        #expect(Self.lines(part) == ["2", "3"])
        var batch = LogFeedBatch(streams: [])
        batch.dropped = [(["host": "a"], TimestampNS(7))]
        batch.droppedCount = 3
        feed.send(batch)
        let dropped = try await follow.next(patienceNanoseconds: Self.patience)
        #expect(dropped?.droppedCount == 3 && dropped?.dropped.count == 1)
        #expect(dropped?.entries.isEmpty == true)
        feed.finish()
        #expect(try await follow.next(patienceNanoseconds: Self.patience) == nil)
    }

    @Test("an empty part tells that nothing came in time, and nothing is lost by the waiting")
    func patience() async throws {
        let feed = OneFeed()
        let clock = MovedClock()
        let follow = try Self.follow(
            Self.request(entriesMax: 0), CommittingReader(stored: Self.stored([])), feed, clock)
        for number in 0..<20 {
            async let waiting = follow.next(patienceNanoseconds: Self.patience)
            while clock.sleeperCount == 0 { await Task.yield() }
            // Both at once: either is given, and what is not given now is given next.
            if number % 2 == 0 { feed.send([(Int64(number), "\(number)")]) }
            clock.advance(Self.patience)
            var part = try await waiting
            if number % 2 == 0, part?.isEmpty == true {
                part = try await follow.next(patienceNanoseconds: Self.patience)
            }
            #expect(Self.lines(part) == (number % 2 == 0 ? ["\(number)"] : []))
        }
    }

    @Test("with a delay entries of several commits come in the order of their times")
    func delay() async throws {
        let feed = OneFeed()
        let clock = MovedClock()
        var request = Self.request(entriesMax: 0)
        request.delayNanoseconds = 2_000_000_000
        let follow = try Self.follow(
            request, CommittingReader(stored: Self.stored([])), feed, clock)
        feed.send([(5, "five")])
        feed.send([(3, "three")], host: "b")
        feed.send([(4, "four")])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    // Nothing passes but what the delay takes, once all of it has been taken.
                    if feed.queuedCount == 0 { clock.advance(1_000_000_000) }
                    await Task.yield()
                }
            }
            let part = try await follow.next(patienceNanoseconds: Self.patience)
            #expect(Self.lines(part) == ["three", "four", "five"])
            group.cancelAll()
        }
    }

    @Test("long answers come in parts")
    func parts() async throws {
        let feed = OneFeed()
        let lines = (0..<1200).map { (Int64($0), "\($0)") }
        let follow = try Self.follow(
            Self.request(entriesMax: 1200), CommittingReader(stored: Self.stored(lines)), feed,
            MovedClock())
        var given: [String] = []
        while given.count < 1200 {
            let part = try await follow.next(patienceNanoseconds: Self.patience)
            #expect((1...500).contains(part?.entries.count ?? 0))
            given += Self.lines(part)
        }
        #expect(given == lines.map(\.1))
    }

    @Test(
        "what is no log query is refused",
        arguments: [
            (#"rate({a="b"}[1m])"#, "only log selector is supported"), ("{", "parse error"),
            ("{}", "at least one"),
        ])
    func refused(text: String, message: String) {
        let error = #expect(throws: QueryFailure.self) {
            _ = try Self.follow(
                Self.request(text), CommittingReader(stored: Self.stored([])), OneFeed(),
                MovedClock())
        }
        #expect(error?.kind == .badData)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }
}
