package import Logging
internal import Model
internal import ServiceLifecycle
package import Storage
internal import Synchronization
package import World

/// Entries on their way to the audit log: a bounded queue that no caller waits on.
///
/// Equal entries that are queued together are written once with their number, so that a flood of refused handshakes
/// can't fill the database. Past `entriesMax` different ones a new entry is dropped and counted.
package final class AuditTrail: Service, Sendable {
    private struct Queued {
        var event: AuditEvent
        var at: TimestampMS
        var count: Int
    }

    static let entriesMax = 256
    private let queue = Mutex<[Queued]>([])
    private let registry: any FleetRegistry
    private let clock: any WorldClock
    private let metrics: ReceiveMetrics
    private let log: Logger
    private static let drainNanoseconds: Int64 = 1_000_000_000

    /// Entries are written by `run`.
    package init(
        registry: any FleetRegistry, clock: any WorldClock, metrics: ReceiveMetrics, log: Logger
    ) {
        self.registry = registry
        self.clock = clock
        self.metrics = metrics
        self.log = log
    }

    /// Queues an entry. Never blocks.
    func record(_ action: String, subject: String, detail: String) {
        let event = AuditEvent(action: action, subject: subject, detail: detail)
        let now = clock.now.milliseconds
        let isQueued = queue.withLock { queue in
            if let index = queue.firstIndex(where: { $0.event == event }) {
                queue[index].count += 1
                return true
            }
            guard queue.count < Self.entriesMax else { return false }
            queue.append(Queued(event: event, at: now, count: 1))
            return true
        }
        if !isQueued { metrics.auditDropped() }
    }

    /// Writes what is queued once a second until shut down, and what is left at the end.
    package func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            while !Task.isCancelled {
                try? await clock.sleep(nanoseconds: Self.drainNanoseconds)
                if !Task.isCancelled { await drain() }
            }
        }
        await drain()
    }

    /// Writes what is queued. What can't be written is dropped, counted and logged.
    func drain() async {
        let entries = queue.withLock { queue in
            defer { queue.removeAll() }
            return queue
        }
        for entry in entries {
            var event = entry.event
            if entry.count > 1 { event.detail += " (\(entry.count) times)" }
            do {
                try await registry.audit(event, at: entry.at)
            } catch {
                metrics.auditDropped()
                log.warning("audit entry not stored: \(event.action) \(event.subject): \(error)")
            }
        }
    }
}
