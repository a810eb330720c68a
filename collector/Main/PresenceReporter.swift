import CollectorReceive
import Logging
import Model
import ServiceLifecycle
import Storage
import World

/// Turns heartbeats into the series `petrel_agent_up` that AgentDown watches, and into last-seen times.
///
/// A host is down after 30 s without any message, measured by the monotonic clock. A host that was not heard from since
/// the collector started gets the same 30 s, so that a restart of the collector accuses nobody.
struct PresenceReporter: Service {
    static let intervalNanoseconds: Int64 = 5_000_000_000
    static let silenceMaxNanoseconds: Int64 = 30_000_000_000

    let board: PresenceBoard
    let registry: any FleetRegistry
    let writer: any IngestWriter
    let clock: any WorldClock
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown { await report() }
    }

    private func report() async {
        let started = clock.monotonicNanoseconds
        var failing = false
        while !Task.isCancelled {
            do {
                try await reportOnce(started: started)
                failing = false
            } catch {
                if !failing { logger.warning("presence: could not be stored: \(error)") }
                failing = true
            }
            do { try await clock.sleep(nanoseconds: Self.intervalNanoseconds) } catch { return }
        }
    }

    private func reportOnce(started: Int64) async throws(StorageError) {
        let hosts = try await registry.hosts()
        let sightings = board.snapshot()
        let now = clock.now.milliseconds
        let monotonic = clock.monotonicNanoseconds
        var samples: [(SeriesDefinition, Sample)] = []
        for host in hosts where !host.revoked {
            let last = sightings[host.host]?.monotonicNanoseconds ?? started
            let isUp = Self.isUp(lastHeard: last, now: monotonic)
            let neverSeen = host.lastSeenAt == nil && sightings[host.host] == nil
            guard !neverSeen else { continue }
            samples.append((Self.definition(host.host), Sample(now, isUp ? 1 : 0)))
        }
        if !samples.isEmpty { try await writer.storeOwn(samples) }
        if !sightings.isEmpty { try await registry.recordPresence(sightings.mapValues(\.at)) }
    }

    /// Whether a host counts as up at `now`; both monotonic nanoseconds.
    static func isUp(lastHeard: Int64, now: Int64) -> Bool {
        now - lastHeard < silenceMaxNanoseconds
    }

    private static func definition(_ host: HostName) -> SeriesDefinition {
        SeriesDefinition(
            labels: [
                Labels.metricNameLabel: "petrel_agent_up", "host": host.text,
                "instance": host.text, "job": "petrel-agent",
            ],
            metadata: MetricMetadata(
                type: .gauge, help: "1 while the agent was heard from within 30 s."))
    }
}
