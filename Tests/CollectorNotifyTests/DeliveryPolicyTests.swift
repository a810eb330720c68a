import CollectorNotify
import Model
import Storage
import Testing

@Suite("Delivery policy")
struct DeliveryPolicyTests {
    private let policy = DeliveryPolicy()
    private let created = TimestampMS(1_000_000)

    private func verdict(
        _ outcome: AttemptOutcome, attempt: Int = 1, ageMilliseconds: Int64 = 0, random: UInt64 = 0
    ) -> DeliveryVerdict {
        policy.verdict(
            outcome, attemptCount: attempt, createdAt: created,
            now: created.advanced(byMilliseconds: ageMilliseconds), random: random)
    }

    @Test("delivered", arguments: [200, 204, 299])
    func delivered(status: Int) {
        #expect(
            verdict(.answered(status: status, retryAfterMilliseconds: nil, detail: ""))
                == .delivered)
    }

    @Test("final", arguments: [301, 400, 401, 403, 404, 410])
    func final(status: Int) {
        #expect(
            verdict(.answered(status: status, retryAfterMilliseconds: nil, detail: ""))
                == .abandoned)
    }

    @Test("tried again within bounds", arguments: 1...40)
    func retries(attempt: Int) {
        for random: UInt64 in [0, 1, .max / 2, .max] {
            let outcome = AttemptOutcome.answered(
                status: 500, retryAfterMilliseconds: nil, detail: "")
            guard case .retry(let at) = verdict(outcome, attempt: attempt, random: random) else {
                Issue.record("not retried")
                return
            }
            let wait = at.rawValue - created.rawValue
            #expect((500...60_000).contains(wait))
        }
    }

    @Test("Retry-After is the floor of the wait")
    func retryAfter() {
        let outcome = AttemptOutcome.answered(
            status: 429, retryAfterMilliseconds: 7_000, detail: "")
        #expect(verdict(outcome) == .retry(at: created.advanced(byMilliseconds: 7_000)))
    }

    @Test("old messages and unknown receivers are given up")
    func abandoned() {
        #expect(verdict(.failed(detail: "x"), ageMilliseconds: 25 * 3_600_000) == .abandoned)
        #expect(verdict(.unknownReceiver) == .abandoned)
    }

    @Test(
        "how long a receiver asks to wait",
        arguments: [
            ("3", "", 3000), ("0.5", "", 500),
            (nil, "{\"retry_after\": 1.25, \"global\":false}", 1250),
            ("soon", "", nil), (nil, "{}", nil), ("-1", "", nil),
        ] as [(String?, String, Int64?)])
    func asks(header: String?, body: String, milliseconds: Int64?) {
        #expect(RetryAfter.milliseconds(header: header, body: body) == milliseconds)
    }
}
