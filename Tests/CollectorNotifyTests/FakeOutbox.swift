import CollectorNotify
import Model
import Routing
import Storage
import Synchronization
import World

/// An outbox in memory with the promises of `OutboxStore`: leases, due times, one row a message.
final class FakeOutbox: OutboxStore {
    struct Row {
        var message: OutboxMessage
        var nextAttemptAt: TimestampMS
        var leasedUntil = TimestampMS(0)
        var verdict: DeliveryVerdict?
    }
    struct State {
        var rows: [Row] = []
        var attempts: [DeliveryAttempt] = []
        /// Settlements that fail before one succeeds.
        var failedSettlements = 0
        var isAway = false
    }
    let state = Mutex(State())

    func enqueue(_ messages: [OutboxMessage]) async throws(StorageError) {
        state.withLock { state in
            state.rows += messages.map { Row(message: $0, nextAttemptAt: $0.createdAt) }
        }
    }

    func claim(
        now: TimestampMS, limit: Int, leaseMilliseconds: Int64
    ) async throws(StorageError) -> [OutboxMessage] {
        guard !state.withLock({ $0.isAway }) else { throw .unavailable("down") }
        return state.withLock { state in
            let due = state.rows.indices.filter { index in
                let row = state.rows[index]
                let isSettled = row.verdict == .delivered || row.verdict == .abandoned
                return !isSettled && row.nextAttemptAt <= now && row.leasedUntil <= now
            }.prefix(limit)
            for index in due {
                state.rows[index].leasedUntil = now.advanced(byMilliseconds: leaseMilliseconds)
            }
            return due.map { state.rows[$0].message }
        }
    }

    func settle(
        _ attempt: DeliveryAttempt, _ verdict: DeliveryVerdict
    ) async throws(StorageError) {
        let isRefused = state.withLock { state in
            guard state.failedSettlements > 0 else { return false }
            state.failedSettlements -= 1
            return true
        }
        guard !isRefused else { throw .unavailable("down") }
        state.withLock { state in
            state.attempts.append(attempt)
            for index in state.rows.indices
            where state.rows[index].message.id == attempt.messageID {
                state.rows[index].verdict = verdict
                state.rows[index].message.attemptCount += 1
                state.rows[index].leasedUntil = TimestampMS(0)
                if case .retry(let at) = verdict { state.rows[index].nextAttemptAt = at }
            }
        }
    }

    func deliveries(
        limit: Int
    ) async throws(StorageError) -> [(message: OutboxMessage, attempt: DeliveryAttempt)] { [] }
}

/// A sender that answers by a script, then with 200; keeps what it was given.
final class FakeSender: NotificationSender {
    struct State {
        var script: [AttemptOutcome] = []
        var sent: [(message: OutboxMessage, integration: String)] = []
    }
    let state = Mutex(State())
    private let clock: any WorldClock
    private let milliseconds: Int64

    /// Each attempt takes `milliseconds` of `clock`.
    init(clock: any WorldClock, milliseconds: Int64 = 5) {
        self.clock = clock
        self.milliseconds = milliseconds
    }

    func send(
        _ message: OutboxMessage, to integration: ReceiverIntegration
    ) async -> AttemptOutcome {
        try? await clock.sleep(nanoseconds: milliseconds * 1_000_000)
        return state.withLock { state in
            state.sent.append((message, integration.name))
            return state.script.isEmpty ? .answered(200) : state.script.removeFirst()
        }
    }
}

extension AttemptOutcome {
    static func answered(_ status: Int, detail: String = "") -> Self {
        .answered(status: status, retryAfterMilliseconds: nil, detail: detail)
    }
}
