import Synchronization

/// A lock that is held across `await`: who comes waits in line without a thread. Safe from any task.
///
/// The line is as long as there are tasks that ask; the callers bound them (seals, deletions: a few).
final class AsyncLock: Sendable {
    private struct State {
        var isHeld = false
        var line: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Returns once the lock is the caller's, who must call `release`.
    func acquire() async {
        await withCheckedContinuation { continuation in
            let isMine = state.withLock { state in
                guard state.isHeld else {
                    state.isHeld = true
                    return true
                }
                state.line.append(continuation)
                return false
            }
            if isMine { continuation.resume() }
        }
    }

    /// Hands the lock to the next in line.
    func release() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.line.isEmpty else {
                state.isHeld = false
                return nil
            }
            return state.line.removeFirst()
        }
        next?.resume()
    }
}
