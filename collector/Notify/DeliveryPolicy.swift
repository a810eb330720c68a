package import Model
package import Storage

/// What came of one attempt to deliver a message.
package enum AttemptOutcome: Hashable, Sendable {
    /// An HTTP answer; `retryAfterMilliseconds` from `Retry-After` or a Discord `retry_after` body.
    case answered(status: Int, retryAfterMilliseconds: Int64?, detail: String)
    /// No answer: refused connection, time-out, TLS failure.
    case failed(detail: String)
    /// The receiver is not in the configuration any more.
    case unknownReceiver
}

/// When a message is tried again, and when it is given up. Pure.
///
/// 2xx delivers. 429, 408, 425 and 5xx, and no answer at all, are tried again with exponential full-jitter back-off; a
/// `Retry-After` is the floor of the wait. Any other answer is the receiver's final word (a revoked webhook, a payload
/// it will never take). Messages older than `ageMaxMilliseconds` are given up.
/// Source: Alertmanager 0.34 `notify/util.go` Retrier, with Retry-After (its issue 2205) and 429 added.
package struct DeliveryPolicy: Hashable, Sendable {
    package var firstWaitMilliseconds: Int64 = 1_000
    package var waitMaxMilliseconds: Int64 = 60_000
    /// A receiver may ask for longer, up to this.
    package var retryAfterMaxMilliseconds: Int64 = 3_600_000
    package var ageMaxMilliseconds: Int64 = 24 * 3_600_000

    package init() {}

    /// `attemptCount` counts attempts made, this one included; `random` is uniform over 64 bits.
    package func verdict(
        _ outcome: AttemptOutcome, attemptCount: Int, createdAt: TimestampMS, now: TimestampMS,
        random: UInt64
    ) -> DeliveryVerdict {
        let age = now.rawValue - createdAt.rawValue
        switch outcome {
        case .unknownReceiver: return .abandoned
        case .failed: return retry(attemptCount, 0, age, now, random)
        case .answered(let status, let retryAfter, _):
            if (200..<300).contains(status) { return .delivered }
            let isPassing = status >= 500 || [408, 425, 429].contains(status)
            guard isPassing else { return .abandoned }
            return retry(attemptCount, retryAfter ?? 0, age, now, random)
        }
    }

    private func retry(
        _ attemptCount: Int, _ floor: Int64, _ age: Int64, _ now: TimestampMS, _ random: UInt64
    ) -> DeliveryVerdict {
        guard age < ageMaxMilliseconds else { return .abandoned }
        let doublings = min(max(attemptCount - 1, 0), 20)
        let ceiling = min(firstWaitMilliseconds << Int64(doublings), waitMaxMilliseconds)
        // Full jitter over the upper half: never at once, never in step with other messages.
        let wait = ceiling / 2 + Int64(random % UInt64(max(ceiling / 2, 1)))
        let asked = min(max(floor, 0), retryAfterMaxMilliseconds)
        return .retry(at: now.advanced(byMilliseconds: max(wait, asked)))
    }
}
