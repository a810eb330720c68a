import Synchronization

/// The numbers of store calls, in the order of receipt, and which of them are settled: their samples are in the head, or
/// nothing was committed. A seal covers the settled ones below all others. Safe from any thread.
final class BatchNumbers: Sendable {
    private struct State {
        var next: Int64 = 0
        var open: Set<Int64> = []
        var doubtful: Set<Int64> = []
    }

    private let state = Mutex(State())

    /// The database knows numbers up to `last`.
    func start(after last: Int64) {
        state.withLock { $0.next = max($0.next, last + 1) }
    }

    /// A number for a call that begins; it must be settled, or doubted.
    func begin() -> Int64 {
        state.withLock { state in
            defer { state.next += 1 }
            state.open.insert(state.next)
            return state.next
        }
    }

    func settle(_ number: Int64) {
        state.withLock { state in
            state.open.remove(number)
            state.doubtful.remove(number)
        }
    }

    /// Nobody knows whether the call was committed: its answer was lost.
    func doubt(_ number: Int64) {
        state.withLock { state in
            state.open.remove(number)
            state.doubtful.insert(number)
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
