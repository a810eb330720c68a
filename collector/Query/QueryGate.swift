import Synchronization

/// Lets a bounded number of queries run and a bounded number wait, first come, first served.
///
/// What finds the queue full is refused at once: a waiting line that grows only turns into time-outs.
package final class QueryGate: Sendable {
    private struct State {
        var runningCount = 0
        var nextTicket: UInt64 = 0
        var waiting: [(ticket: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
        /// Tickets cancelled before they stood in the queue.
        var cancelled: Set<UInt64> = []
    }

    private let runningMax: Int
    private let waitingMax: Int
    private let state = Mutex(State())

    package init(runningMax: Int = 20, waitingMax: Int = 100) {
        precondition(runningMax > 0 && waitingMax >= 0, "gate that lets nothing through")
        self.runningMax = runningMax
        self.waitingMax = waitingMax
    }

    /// Runs `body` when there is room. Throws `QueryFailure` (`unavailable`: the queue is full; `canceled`) or what
    /// `body` throws.
    package func run<Answer: Sendable>(
        _ body: @Sendable () async throws -> Answer
    ) async throws -> Answer {
        try await enter()
        defer { leave() }
        return try await body()
    }

    private enum Entry { case run, wait, refuse }

    private func enter() async throws(QueryFailure) {
        let (entry, ticket) = state.withLock { state -> (Entry, UInt64) in
            if state.runningCount < runningMax {
                state.runningCount += 1
                return (.run, 0)
            }
            guard state.waiting.count < waitingMax else { return (.refuse, 0) }
            state.nextTicket += 1
            return (.wait, state.nextTicket)
        }
        switch entry {
        case .run: return
        case .refuse:
            throw QueryFailure(
                .unavailable,
                "too many queries: \(runningMax) are running and \(waitingMax) wait; "
                    + "try again in a moment")
        case .wait:
            guard await wait(ticket) else {
                throw QueryFailure(.canceled, "query was canceled in query queue")
            }
        }
    }

    /// True once the place is ours, false when cancelled before.
    private func wait(_ ticket: UInt64) async -> Bool {
        defer { state.withLock { _ = $0.cancelled.remove(ticket) } }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> Bool? in
                    if state.cancelled.remove(ticket) != nil { return false }
                    if state.runningCount < runningMax {
                        state.runningCount += 1
                        return true
                    }
                    state.waiting.append((ticket, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let continuation = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard let index = state.waiting.firstIndex(where: { $0.ticket == ticket }) else {
                    state.cancelled.insert(ticket)
                    return nil
                }
                return state.waiting.remove(at: index).continuation
            }
            continuation?.resume(returning: false)
        }
    }

    private func leave() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst().continuation }
            state.runningCount -= 1
            return nil
        }
        next?.resume(returning: true)
    }
}
