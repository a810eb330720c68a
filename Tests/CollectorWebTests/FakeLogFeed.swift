import Model
import Storage
import Synchronization

/// Gives what the test sends to all who follow.
final class FakeLogFeed: LogFeed {
    private final class Following: LogFollowing {
        struct State {
            var batches: [LogFeedBatch] = []
            var isOver = false
            var waiting: CheckedContinuation<Void, Never>?
        }

        let state = Mutex(State())
        let onEnd: @Sendable () -> Void

        init(onEnd: @escaping @Sendable () -> Void) { self.onEnd = onEnd }

        deinit { onEnd() }

        func wake() { state.withLock { $0.waiting.take() }?.resume() }

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
    }

    private struct Weak: Sendable { weak var following: Following? }

    private struct State {
        var matchers: [[LabelMatcher]] = []
        var followings: [Weak] = []
        var ended = 0
    }

    private let state = Mutex(State())
    private let countMax: Int

    init(countMax: Int = 100) { self.countMax = countMax }

    /// What was followed so far.
    var matchers: [[LabelMatcher]] { state.withLock { $0.matchers } }
    var endedCount: Int { state.withLock { $0.ended } }

    func follow(_ matchers: [LabelMatcher]) throws(StorageError) -> any LogFollowing {
        let following = Following { [weak self] in self?.state.withLock { $0.ended += 1 } }
        let isFull = state.withLock { state in
            guard state.followings.count - state.ended < countMax else { return true }
            state.matchers.append(matchers)
            state.followings.append(Weak(following: following))
            return false
        }
        guard !isFull else { throw .limitExceeded(limit: "log followers", maximum: countMax) }
        return following
    }

    func send(_ batch: LogFeedBatch) {
        for one in state.withLock({ $0.followings }) {
            one.following?.state.withLock { $0.batches.append(batch) }
            one.following?.wake()
        }
    }

    /// One entry of `{host="a"}`.
    func send(_ timestamp: Int64, _ line: String, level: String? = nil) {
        let entry = LogEntry(
            timestamp: TimestampNS(timestamp), line: Array(line.utf8), level: level)
        send(LogFeedBatch(streams: [LogStream(labels: ["host": "a"], entries: [entry])]))
    }

    func finish() {
        for one in state.withLock({ $0.followings }) {
            one.following?.state.withLock { $0.isOver = true }
            one.following?.wake()
        }
    }
}
