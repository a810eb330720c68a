import Synchronization

/// The numbers of store calls, in the order of receipt, and which of them are settled: their samples are in the head, or
/// nothing was committed. A seal covers the settled ones below all others. Safe from any thread.
final class BatchNumbers: Sendable {
    private struct State {
        var next: Int64 = 0
        var open: Set<Int64> = []
        var doubtful: Set<Int64> = []
        /// New calls wait.
        var isHeld = false
        /// Those new calls: as many as there are senders.
        var blocked: [CheckedContinuation<Void, Never>] = []
        /// Who waits until no number up to `through` is open; a few at most.
        var waiters: [(through: Int64, continuation: CheckedContinuation<Void, Never>)] = []

        /// Those who need wait no longer.
        mutating func released() -> [CheckedContinuation<Void, Never>] {
            guard !waiters.isEmpty else { return [] }
            let oldest = open.min() ?? .max
            let ready = waiters.filter { $0.through < oldest }
            waiters.removeAll { $0.through < oldest }
            return ready.map(\.continuation)
        }
    }

    private let state = Mutex(State())

    /// The database knows numbers up to `last`.
    func start(after last: Int64) {
        state.withLock { $0.next = max($0.next, last + 1) }
    }

    /// A number for a call that begins; it must be settled, or doubted.
    func begin() async -> Int64 {
        while true {
            let number = state.withLock { state -> Int64? in
                guard !state.isHeld else { return nil }
                defer { state.next += 1 }
                state.open.insert(state.next)
                return state.next
            }
            if let number { return number }
            await withCheckedContinuation { continuation in
                let isFree = state.withLock { state in
                    guard state.isHeld else { return true }
                    state.blocked.append(continuation)
                    return false
                }
                if isFree { continuation.resume() }
            }
        }
    }

    /// Keeps new calls waiting and returns when none is open any more; `release` must follow. One holder at a time.
    func hold() async {
        state.withLock { $0.isHeld = true }
        await endOfOpenCalls()
    }

    /// New calls may begin.
    func release() {
        let blocked = state.withLock { state in
            state.isHeld = false
            defer { state.blocked = [] }
            return state.blocked
        }
        for continuation in blocked { continuation.resume() }
    }

    /// The number of the newest call.
    var last: Int64 { state.withLock { $0.next - 1 } }

    func settle(_ number: Int64) {
        let released = state.withLock { state in
            state.open.remove(number)
            state.doubtful.remove(number)
            return state.released()
        }
        for continuation in released { continuation.resume() }
    }

    /// Nobody knows whether the call was committed: its answer was lost.
    func doubt(_ number: Int64) {
        let released = state.withLock { state in
            state.open.remove(number)
            state.doubtful.insert(number)
            return state.released()
        }
        for continuation in released { continuation.resume() }
    }

    /// Waits until every call that is open now was settled or doubted: no longer than a statement may run.
    func endOfOpenCalls() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                guard !state.open.isEmpty else { return true }
                state.waiters.append((state.next - 1, continuation))
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    /// Ascending.
    var doubtful: [Int64] { state.withLock { $0.doubtful.sorted() } }

    /// All numbers up to this are settled.
    var settledThrough: Int64 {
        state.withLock { state in
            min(state.open.min() ?? state.next, state.doubtful.min() ?? state.next) - 1
        }
    }
}
