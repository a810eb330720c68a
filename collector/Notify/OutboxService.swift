package import Logging
package import Model
import ServiceLifecycle
package import Storage
import Synchronization
package import World

/// Bounds of the outbox worker.
package struct OutboxConfiguration: Sendable {
    /// Messages taken at a time; each lane is sent on its own, so one slow receiver holds nobody up for longer than
    /// half a lease and its own time-out.
    package var claimCountMax = 16
    /// Longer than any integration's time-out: after a crash a claimed message is free again after this.
    package var leaseMilliseconds: Int64 = 30_000
    package var pollMilliseconds: Int64 = 250
    package var policy = DeliveryPolicy()

    package init() {}
}

/// Takes due messages out of the outbox, sends them and settles them.
///
/// At least once: a crash between sending and settling repeats the message, with the same id.
package final class OutboxService: Service {
    private let store: any OutboxStore
    private let directory: ReceiverDirectory
    private let sender: any NotificationSender
    private let clock: any WorldClock
    private let random: any RandomSource
    private let configuration: OutboxConfiguration
    private let logger: Logger
    private let counts = Mutex(Counts())

    private struct Counts {
        var delivered: [String: UInt64] = [:]
        var failed: [String: UInt64] = [:]
        var abandoned: [String: UInt64] = [:]
    }

    package init(
        store: any OutboxStore, directory: ReceiverDirectory, sender: any NotificationSender,
        clock: any WorldClock, random: any RandomSource,
        configuration: OutboxConfiguration = OutboxConfiguration(), logger: Logger
    ) {
        self.store = store
        self.directory = directory
        self.sender = sender
        self.clock = clock
        self.random = random
        self.configuration = configuration
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.work() }
    }

    private func work() async {
        var unavailable = false
        while !Task.isCancelled {
            do {
                let sent = try await sendDue()
                unavailable = false
                if sent > 0 { continue }
            } catch {
                if !unavailable {
                    logger.error("outbox: the database does not answer; messages wait: \(error)")
                }
                unavailable = true
            }
            do {
                try await clock.sleep(nanoseconds: configuration.pollMilliseconds * 1_000_000)
            } catch { return }
        }
    }

    private struct Lane: Hashable {
        var receiver: String
        var integration: String
        var groupKey: String
    }

    /// Sends what is due now, once; returns how many messages were claimed.
    ///
    /// Messages of one lane (receiver, integration, group) go one after another, oldest first, and none after one that
    /// has to be tried again, so a resolved never overtakes its firing. What is left of a lane stays claimed until its
    /// lease ends; a lane stops after half of it, so that nobody else sends the same.
    package func sendDue() async throws(StorageError) -> Int {
        let messages = try await store.claim(
            now: clock.now.milliseconds, limit: configuration.claimCountMax,
            leaseMilliseconds: configuration.leaseMilliseconds)
        guard !messages.isEmpty else { return 0 }
        let claimed = clock.monotonicNanoseconds
        let lanes = Dictionary(grouping: messages) {
            Lane(receiver: $0.receiver, integration: $0.integration, groupKey: $0.groupKey)
        }
        await withTaskGroup(of: Void.self) { group in
            for lane in lanes.values {
                group.addTask { await self.deliver(lane, claimedAt: claimed) }
            }
        }
        return messages.count
    }

    private func deliver(_ lane: [OutboxMessage], claimedAt: Int64) async {
        for message in lane {
            let elapsed = (clock.monotonicNanoseconds - claimedAt) / 1_000_000
            guard elapsed < configuration.leaseMilliseconds / 2, !Task.isCancelled else { return }
            if case .retry = await deliver(message) { return }
        }
    }

    /// Tries one message and settles it.
    private func deliver(_ message: OutboxMessage) async -> DeliveryVerdict {
        let started = clock.monotonicNanoseconds
        let outcome: AttemptOutcome
        if let integration = directory.integration(
            receiver: message.receiver, name: message.integration)
        {
            outcome = await sender.send(message, to: integration)
        } else {
            outcome = .unknownReceiver
        }
        let now = clock.now.milliseconds
        let verdict = configuration.policy.verdict(
            outcome, attemptCount: message.attemptCount + 1, createdAt: message.createdAt,
            now: now, random: random.next())
        let attempt = DeliveryAttempt(
            messageID: message.id, at: now, status: outcome.status, error: outcome.errorText,
            durationMilliseconds: (clock.monotonicNanoseconds - started) / 1_000_000)
        record(message, outcome, verdict)
        do {
            try await store.settle(attempt, verdict)
        } catch {
            // The lease runs out and the message is sent again with the same id.
            logger.error("outbox: \(message.id) was tried but could not be marked: \(error)")
        }
        return verdict
    }

    private func record(
        _ message: OutboxMessage, _ outcome: AttemptOutcome, _ verdict: DeliveryVerdict
    ) {
        let lane = "\(message.receiver)/\(message.integration)"
        switch verdict {
        case .delivered:
            counts.withLock { $0.delivered[lane, default: 0] += 1 }
            logger.info("outbox: \(message.id) delivered to \(lane)")
        case .retry(let at):
            counts.withLock { $0.failed[lane, default: 0] += 1 }
            logger.warning(
                "outbox: \(message.id) to \(lane) failed (\(outcome.errorText)); again at \(RFC3339.text(at))"
            )
        case .abandoned:
            counts.withLock { $0.abandoned[lane, default: 0] += 1 }
            logger.error(
                "outbox: \(message.id) to \(lane) is given up: \(outcome.errorText); check the receiver in alerting.yaml"
            )
        }
    }

    /// The worker's own metrics.
    package func metrics() -> [MetricFamily] {
        let now = counts.withLock { $0 }
        func family(_ name: String, _ help: String, _ values: [String: UInt64]) -> MetricFamily {
            MetricFamily(
                name, .counter, help: help,
                points: values.sorted { bytesPrecede($0.key, $1.key) }.map {
                    MetricFamily.Point(["integration": $0.key], Double($0.value))
                })
        }
        return [
            family(
                "petrel_notifications_delivered_total", "Messages that a receiver accepted.",
                now.delivered),
            family(
                "petrel_notification_attempts_failed_total",
                "Attempts that failed and are tried again.", now.failed),
            family(
                "petrel_notifications_abandoned_total", "Messages given up.", now.abandoned),
        ]
    }
}

extension AttemptOutcome {
    var status: Int? {
        if case .answered(let status, _, _) = self { status } else { nil }
    }

    var errorText: String {
        switch self {
        case .answered(let status, _, let detail):
            (200..<300).contains(status) ? "" : "HTTP \(status) \(detail)"
        case .failed(let detail): detail
        case .unknownReceiver: "the receiver is not in alerting.yaml any more"
        }
    }
}
