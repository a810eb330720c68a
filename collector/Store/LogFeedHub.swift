package import Model
package import Storage
import Synchronization

/// Gives out committed entries to those who follow, each of whom has a queue of its own that forgets its oldest entries
/// where its reader is too slow. Safe from any thread.
package final class LogFeedHub: LogFeed {
    /// The bounds of a hub.
    package struct Limits: Hashable, Sendable {
        /// Followers at once; one more is refused.
        package var followersMax: Int
        /// Entries that wait for one follower; the oldest are dropped and counted.
        package var queuedEntriesMax: Int
        /// Bytes of entries that wait for one follower, likewise.
        package var queuedBytesMax: Int
        /// Entries of one batch.
        package var batchEntriesMax: Int
        /// Bytes of entries of one batch, but for a single entry that has more.
        package var batchBytesMax: Int
        /// Dropped entries that a batch names; the others are only counted.
        package var namedDropsMax: Int

        package init(
            followersMax: Int = 64, queuedEntriesMax: Int = 20_000, queuedBytesMax: Int = 8 << 20,
            batchEntriesMax: Int = 2_000, batchBytesMax: Int = 1 << 20, namedDropsMax: Int = 300
        ) {
            precondition(
                followersMax > 0 && queuedEntriesMax > 0 && queuedBytesMax > 0
                    && batchEntriesMax > 0 && batchBytesMax > 0 && namedDropsMax >= 0,
                "hub without room")
            self.followersMax = followersMax
            self.queuedEntriesMax = queuedEntriesMax
            self.queuedBytesMax = queuedBytesMax
            self.batchEntriesMax = batchEntriesMax
            self.batchBytesMax = batchBytesMax
            self.namedDropsMax = namedDropsMax
        }
    }

    private struct State {
        var followers: [UInt64: LogFollowerQueue] = [:]
        var nextNumber: UInt64 = 0
        /// Nothing comes any more.
        var isOver = false
    }

    private let limits: Limits
    private let state = Mutex(State())
    /// Followers, so that to publish to nobody takes no lock.
    private let count = Atomic(0)
    private let dropped = Atomic(0)

    package init(limits: Limits = Limits()) { self.limits = limits }

    /// Those who follow now.
    package var followerCount: Int { count.load(ordering: .relaxed) }

    /// Entries dropped so far for followers that were too slow.
    package var droppedCount: Int { dropped.load(ordering: .relaxed) }

    /// To be called after the commit of `streams`, and before whoever sent them hears of it. O(1) when nobody follows.
    package func publish(_ streams: [LogStream]) {
        // Whoever follows reads what was committed before only afterwards, so that nothing falls between the two.
        guard count.load(ordering: .sequentiallyConsistent) > 0 else { return }
        let followers = state.withLock { Array($0.followers.values) }
        for follower in followers {
            let lost = follower.add(streams)
            if lost > 0 { dropped.add(lost, ordering: .relaxed) }
        }
    }

    package func follow(
        _ matchers: [LabelMatcher]
    ) throws(StorageError) -> any LogFollowing {
        var conditions: [CompiledMatcher] = []
        for matcher in matchers { conditions.append(try CompiledMatcher(matcher)) }
        let queue = LogFollowerQueue(conditions, limits)
        let number = state.withLock { state -> UInt64? in
            guard state.followers.count < limits.followersMax else { return nil }
            state.nextNumber += 1
            // Who comes after the end gets the end.
            guard !state.isOver else { return state.nextNumber }
            state.followers[state.nextNumber] = queue
            count.store(state.followers.count, ordering: .sequentiallyConsistent)
            return state.nextNumber
        }
        guard let number else {
            throw .limitExceeded(limit: "log followers", maximum: limits.followersMax)
        }
        if state.withLock({ $0.isOver }) { queue.finish() }
        return LogFollower(queue: queue) { [weak self] in self?.remove(number) }
    }

    /// Every follower gets its end after what it has not read yet; so does who follows later.
    package func finish() {
        let followers = state.withLock { state in
            state.isOver = true
            let followers = Array(state.followers.values)
            state.followers = [:]
            count.store(0, ordering: .sequentiallyConsistent)
            return followers
        }
        for follower in followers { follower.finish() }
    }

    private func remove(_ number: UInt64) {
        state.withLock { state in
            state.followers[number] = nil
            count.store(state.followers.count, ordering: .sequentiallyConsistent)
        }
    }
}

/// What the reader holds; letting it go ends the following.
private final class LogFollower: LogFollowing {
    private let queue: LogFollowerQueue
    private let onEnd: @Sendable () -> Void

    init(queue: LogFollowerQueue, onEnd: @escaping @Sendable () -> Void) {
        self.queue = queue
        self.onEnd = onEnd
    }

    deinit { onEnd() }

    func next() async throws -> LogFeedBatch? { try await queue.next() }
}

/// The entries that wait for one follower.
final class LogFollowerQueue: Sendable {
    /// Streams whose match is remembered; past them all are forgotten and learned anew.
    private static let knownStreamsMax = 10_000

    private struct State {
        /// Pieces of streams in the order of their commits; what was taken is before `first`.
        var pieces: [LogStream] = []
        var first = 0
        var entryCount = 0
        var byteCount = 0
        var drops: [(labels: Labels, timestamp: TimestampNS)] = []
        var dropCount = 0
        var isWanted: [Labels: Bool] = [:]
        var isOver = false
        var waiting: CheckedContinuation<Void, Never>?
        /// The wait was cancelled before it began.
        var isCancelled = false
    }

    private let conditions: [CompiledMatcher]
    private let limits: LogFeedHub.Limits
    private let state = Mutex(State())

    init(_ conditions: [CompiledMatcher], _ limits: LogFeedHub.Limits) {
        self.conditions = conditions
        self.limits = limits
    }

    /// Queues what of `streams` is wanted; how many older entries had to go for it.
    func add(_ streams: [LogStream]) -> Int {
        let (lost, waiting) = state.withLock { state in
            let before = state.dropCount
            var isNew = false
            for stream in streams where !stream.entries.isEmpty {
                guard !state.isOver, wants(stream.labels, &state) else { continue }
                append(stream, &state)
                isNew = true
            }
            trim(&state)
            let waiting = isNew ? state.waiting.take() : nil
            return (state.dropCount - before, waiting)
        }
        waiting?.resume()
        return lost
    }

    func finish() {
        let waiting = state.withLock { state in
            state.isOver = true
            return state.waiting.take()
        }
        waiting?.resume()
    }

    /// One caller at a time.
    func next() async throws -> LogFeedBatch? {
        while true {
            try Task.checkCancellation()
            let (batch, isOver) = state.withLock { state in (take(&state), state.isOver) }
            if let batch { return batch }
            if isOver { return nil }
            await wait()
        }
    }

    /// Returns when there is something to look at, or by cancellation.
    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    precondition(state.waiting == nil, "two wait for one follower's entries")
                    if state.isCancelled || state.isOver || state.entryCount > 0
                        || state.dropCount > 0
                    {
                        return true
                    }
                    state.waiting = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                state.isCancelled = true
                return state.waiting.take()
            }
            waiting?.resume()
        }
        state.withLock { $0.isCancelled = false }
    }

    private func wants(_ labels: Labels, _ state: inout State) -> Bool {
        if let known = state.isWanted[labels] { return known }
        if state.isWanted.count >= Self.knownStreamsMax { state.isWanted = [:] }
        let isWanted = conditions.allSatisfy { $0.accepts(labels[$0.name]) }
        state.isWanted[labels] = isWanted
        return isWanted
    }

    private func append(_ stream: LogStream, _ state: inout State) {
        var piece = LogStream(labels: stream.labels)
        var byteCount = 0
        for entry in stream.entries {
            let size = Self.size(entry)
            let isFull =
                piece.entries.count == limits.batchEntriesMax
                || byteCount + size > limits.batchBytesMax
            if isFull, !piece.entries.isEmpty {
                state.pieces.append(piece)
                piece.entries = []
                byteCount = 0
            }
            piece.entries.append(entry)
            byteCount += size
            state.byteCount += size
        }
        state.entryCount += stream.entries.count
        state.pieces.append(piece)
    }

    /// Drops the oldest until the rest is within bounds.
    private func trim(_ state: inout State) {
        while isTooMuch(state) {
            let piece = state.pieces[state.first]
            // The newest piece alone may be too much: then its oldest entries go.
            var kept = piece.entries[...]
            while isTooMuch(state), let entry = kept.popFirst() {
                drop(entry, of: piece.labels, &state)
            }
            if kept.isEmpty {
                state.pieces[state.first] = LogStream(labels: .empty)
                state.first += 1
            } else {
                state.pieces[state.first].entries = Array(kept)
            }
        }
        compact(&state)
    }

    private func isTooMuch(_ state: State) -> Bool {
        state.entryCount > limits.queuedEntriesMax || state.byteCount > limits.queuedBytesMax
    }

    private func drop(_ entry: LogEntry, of labels: Labels, _ state: inout State) {
        state.entryCount -= 1
        state.byteCount -= Self.size(entry)
        state.dropCount += 1
        if state.drops.count < limits.namedDropsMax {
            state.drops.append((labels, entry.timestamp))
        }
    }

    /// The oldest entries as a batch, and what was dropped before them; nil where there is neither.
    private func take(_ state: inout State) -> LogFeedBatch? {
        guard state.entryCount > 0 || state.dropCount > 0 else { return nil }
        var batch = LogFeedBatch(
            streams: [], dropped: state.drops, droppedCount: state.dropCount)
        state.drops = []
        state.dropCount = 0
        var entryCount = 0
        var byteCount = 0
        while state.first < state.pieces.count {
            let piece = state.pieces[state.first]
            let size = piece.entries.reduce(0) { $0 + Self.size($1) }
            let isFull =
                entryCount + piece.entries.count > limits.batchEntriesMax
                || byteCount + size > limits.batchBytesMax
            if isFull, entryCount > 0 { break }
            batch.streams.append(piece)
            state.pieces[state.first] = LogStream(labels: .empty)
            state.first += 1
            entryCount += piece.entries.count
            byteCount += size
        }
        state.entryCount -= entryCount
        state.byteCount -= byteCount
        compact(&state)
        return batch
    }

    private func compact(_ state: inout State) {
        if state.first == state.pieces.count {
            state.pieces = []
            state.first = 0
        } else if state.first > 1000 {
            state.pieces.removeFirst(state.first)
            state.first = 0
        }
    }

    /// About what an entry takes in memory.
    private static func size(_ entry: LogEntry) -> Int {
        entry.metadata.reduce(entry.line.count + 96) {
            $0 + $1.name.utf8.count + $1.value.utf8.count + 32
        }
    }
}
