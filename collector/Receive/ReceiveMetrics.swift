package import Identity
package import Model
internal import Synchronization

/// Counters of the receiving side. Safe from any thread.
package final class ReceiveMetrics: Sendable {
    private struct HostFigures {
        var produced: UInt64 = 0
        var gaps: UInt64 = 0
        var inSpool: UInt64 = 0
        var spoolBytes: UInt64 = 0
        var storedRecords: UInt64 = 0
        var gapRecords: UInt64 = 0
        var batches: UInt64 = 0
        var duplicates: UInt64 = 0
        var malformed: UInt64 = 0
        var exemplars: UInt64 = 0
        var rejectedExemplars: UInt64 = 0
        var skewSeconds: Double = 0
    }

    private struct StreamKey: Hashable {
        var host: HostName
        var kind: StreamKind
    }

    private struct State {
        var streams: [StreamKey: HostFigures] = [:]
        var refusals: [String: UInt64] = [:]
        var handshakes: [String: UInt64] = [:]
        var enrolments: [String: UInt64] = [:]
        var integrityAlerts: UInt64 = 0
        var auditDropped: UInt64 = 0
        var sessions: Int64 = 0
    }

    /// Most (host, stream) pairs counted apart; further ones are not counted. Hosts come from certificates, so an agent
    /// can't inflate this.
    private static let streamsMax = 8192
    private let state = Mutex(State())

    /// All counters at zero.
    package init() {}

    func batches(
        stored: UInt64, duplicates: UInt64, records: UInt64, gaps: UInt64, host: HostName,
        kind: StreamKind
    ) {
        change(host, kind) {
            $0.batches += stored
            $0.duplicates += duplicates
            $0.storedRecords += records
            $0.gapRecords += gaps
        }
    }

    func exemplars(taken: UInt64, rejected: UInt64, host: HostName, kind: StreamKind) {
        guard taken + rejected > 0 else { return }
        change(host, kind) {
            $0.exemplars += taken
            $0.rejectedExemplars += rejected
        }
    }

    func malformed(host: HostName, kind: StreamKind) { change(host, kind) { $0.malformed += 1 } }

    func reported(
        produced: UInt64, gaps: UInt64, inSpool: UInt64, spoolBytes: UInt64, host: HostName,
        kind: StreamKind
    ) {
        change(host, kind) {
            $0.produced = produced
            $0.gaps = gaps
            $0.inSpool = inSpool
            $0.spoolBytes = spoolBytes
        }
    }

    /// The agent's clock minus the collector's, seconds.
    func skew(seconds: Double, host: HostName, kind: StreamKind) {
        change(host, kind) { $0.skewSeconds = seconds }
    }

    func refusal(_ reason: String) { state.withLock { $0.refusals[reason, default: 0] += 1 } }
    func handshakeRefused(_ reason: String) {
        state.withLock { $0.handshakes[reason, default: 0] += 1 }
    }
    func enrolment(_ outcome: String) {
        state.withLock { $0.enrolments[outcome, default: 0] += 1 }
    }
    func integrityAlert() { state.withLock { $0.integrityAlerts += 1 } }
    func auditDropped() { state.withLock { $0.auditDropped += 1 } }
    func session(_ change: Int64) { state.withLock { $0.sessions += change } }

    /// Handshakes refused so far for `reason`; 0 for a reason not seen.
    package func handshakesRefused(_ reason: PeerRefusal) -> UInt64 {
        state.withLock { $0.handshakes[reason.rawValue] ?? 0 }
    }

    /// Every counter as families for `/metrics`, points ascending by labels.
    package func families() -> [MetricFamily] {
        let now = state.withLock { $0 }
        let streams = now.streams.sorted {
            ($0.key.host, $0.key.kind.rawValue) < ($1.key.host, $1.key.kind.rawValue)
        }
        func perStream(
            _ name: String, _ type: MetricType, _ help: String, _ value: (HostFigures) -> Double
        ) -> MetricFamily {
            MetricFamily(
                name, type, help: help,
                points: streams.map { key, figures in
                    let labels: Labels = ["host": key.host.text, "stream": key.kind.name]
                    return .init(labels, value(figures))
                })
        }
        return [
            perStream(
                "petrel_receive_batches_total", .counter, "Batches committed.",
                { Double($0.batches) }),
            perStream(
                "petrel_receive_duplicate_batches_total", .counter,
                "Batches that had been committed before.", { Double($0.duplicates) }),
            perStream(
                "petrel_receive_records_total", .counter,
                "Samples and log entries committed.", { Double($0.storedRecords) }),
            perStream(
                "petrel_receive_gap_records_total", .counter,
                "Records that committed gap records stand for.", { Double($0.gapRecords) }),
            perStream(
                "petrel_receive_malformed_total", .counter,
                "Messages and payloads that did not decode.", { Double($0.malformed) }),
            perStream(
                "petrel_receive_exemplars_total", .counter,
                "Exemplars in committed batches that were handed to the store.",
                { Double($0.exemplars) }),
            perStream(
                "petrel_receive_exemplars_rejected_total", .counter,
                "Exemplars in committed batches that did not decode, or had no known series or no possible time.",
                { Double($0.rejectedExemplars) }),
            perStream(
                "petrel_agent_reported_produced_records", .gauge,
                "Records the agent says it produced in its epoch.", { Double($0.produced) }),
            perStream(
                "petrel_agent_reported_gap_records", .gauge,
                "Records the agent says it lost in its epoch.", { Double($0.gaps) }),
            perStream(
                "petrel_agent_reported_spool_records", .gauge,
                "Records the agent says are in its spool.", { Double($0.inSpool) }),
            perStream(
                "petrel_agent_reported_spool_bytes", .gauge,
                "Bytes the agent says are in its spool.", { Double($0.spoolBytes) }),
            perStream(
                "petrel_agent_clock_skew_seconds", .gauge,
                "The agent's clock minus the collector's, at its last message with a time.",
                { $0.skewSeconds }),
        ] + Self.totals(now)
    }

    /// The counters that belong to no stream.
    private static func totals(_ now: State) -> [MetricFamily] {
        func perReason(
            _ name: String, _ label: String, _ help: String, _ counts: [String: UInt64]
        ) -> MetricFamily {
            MetricFamily(
                name, .counter, help: help,
                points: counts.sorted { bytesPrecede($0.key, $1.key) }.map {
                    .init([label: $0.key], Double($0.value))
                })
        }
        // Every reason from the start, so that a first refusal is an increase.
        let refusals = RefusalKind.allCases.reduce(into: now.refusals) {
            $0[$1.rawValue, default: 0] += 0
        }
        return [
            perReason(
                "petrel_receive_refused_total", "reason", "Refusals sent to agents.",
                refusals),
            perReason(
                "petrel_receive_handshakes_refused_total", "reason",
                "Connections refused at their handshake.", now.handshakes),
            perReason(
                "petrel_receive_enrolments_total", "outcome", "Enrolment calls.", now.enrolments),
            MetricFamily(
                "petrel_receive_integrity_alerts_total", .counter,
                help: "Batches repeated under their number with other content.",
                points: [.init(.empty, Double(now.integrityAlerts))]),
            MetricFamily(
                "petrel_receive_audit_dropped_total", .counter,
                help: "Audit entries dropped because their queue was full.",
                points: [.init(.empty, Double(now.auditDropped))]),
            MetricFamily(
                "petrel_receive_sessions", .gauge, help: "Live streams of agents.",
                points: [.init(.empty, Double(now.sessions))]),
        ]
    }

    private func change(_ host: HostName, _ kind: StreamKind, _ body: (inout HostFigures) -> Void) {
        let key = StreamKey(host: host, kind: kind)
        state.withLock { state in
            guard state.streams[key] != nil || state.streams.count < Self.streamsMax else { return }
            body(&state.streams[key, default: HostFigures()])
        }
    }
}
