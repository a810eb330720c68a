package import Model
internal import Synchronization

/// What went wrong last, and when.
package struct NotedError: Hashable, Sendable {
    package var text: String
    package var at: TimestampNS
}

/// How a stream stands, for a person.
package struct StreamStanding: Hashable, Sendable {
    /// When the collector welcomed the connection that lives; nil while there is none.
    package var connectedAt: TimestampNS?
    /// Why a connection did not come about or broke, or what the collector refused; it stays when all is well again.
    package var lastError: NotedError?

    package init() {}
}

/// Counters of the agent's sending side. Safe from any thread.
package final class StreamMetrics: Sendable {
    private struct Figures {
        /// Welcomed connections that live: two for the moment of a renewal.
        var live = 0
        var acknowledged: UInt64 = 0
        var connections: UInt64 = 0
        var refusals: [String: UInt64] = [:]
        var standing = StreamStanding()
    }

    private struct State {
        var streams: [StreamKind: Figures] = [:]
        var certificateNotAfter: TimestampMS?
        var renewals: UInt64 = 0
        var renewalFailures: UInt64 = 0
        var renewalError: NotedError?
    }

    private let state = Mutex(State())

    /// All counters at zero.
    package init() {}

    func connected(_ kind: StreamKind, at time: TimestampNS) {
        change(kind) {
            $0.live += 1
            $0.connections += 1
            $0.standing.connectedAt = time
        }
    }
    func disconnected(_ kind: StreamKind) {
        change(kind) {
            $0.live -= 1
            if $0.live == 0 { $0.standing.connectedAt = nil }
        }
    }
    func failed(_ kind: StreamKind, _ text: String, at time: TimestampNS) {
        change(kind) { $0.standing.lastError = NotedError(text: text, at: time) }
    }
    func acknowledged(_ kind: StreamKind, _ sequence: UInt64) {
        change(kind) { $0.acknowledged = sequence }
    }
    func refused(_ kind: StreamKind, _ reason: String) {
        change(kind) { $0.refusals[reason, default: 0] += 1 }
    }
    func certificate(notAfter: TimestampMS) {
        state.withLock { $0.certificateNotAfter = notAfter }
    }
    /// `error` is nil where the certificate was renewed.
    func renewal(_ error: NotedError?) {
        state.withLock { state in
            if error == nil { state.renewals += 1 } else { state.renewalFailures += 1 }
            state.renewalError = error
        }
    }

    /// Whether the stream has a connection that the collector welcomed.
    package func isConnected(_ kind: StreamKind) -> Bool {
        state.withLock { ($0.streams[kind]?.live ?? 0) > 0 }
    }

    package func standing(_ kind: StreamKind) -> StreamStanding {
        state.withLock { $0.streams[kind]?.standing ?? StreamStanding() }
    }

    /// Certificates renewed since the start, and why the last attempt failed, where it did.
    package var renewals: (count: UInt64, lastError: NotedError?) {
        state.withLock { ($0.renewals, $0.renewalError) }
    }

    /// Every counter as families for `/metrics`.
    package func families() -> [MetricFamily] {
        let now = state.withLock { $0 }
        let streams = StreamKind.allCases.map { ($0, now.streams[$0] ?? Figures()) }
        func perStream(
            _ name: String, _ type: MetricType, _ help: String, _ value: (Figures) -> Double
        ) -> MetricFamily {
            MetricFamily(
                name, type, help: help,
                points: streams.map { .init(["stream": $0.0.name], value($0.1)) })
        }
        let refusals = streams.flatMap { kind, figures in
            figures.refusals.sorted { bytesPrecede($0.key, $1.key) }.map { reason, count in
                MetricFamily.Point(["stream": kind.name, "reason": reason], Double(count))
            }
        }
        var families = [
            perStream(
                "petrel_agent_stream_connected", .gauge,
                "1 while the collector has welcomed the stream.", { $0.live > 0 ? 1 : 0 }),
            perStream(
                "petrel_agent_stream_acked_sequence", .gauge,
                "Highest sequence committed at the collector.", { Double($0.acknowledged) }),
            perStream(
                "petrel_agent_stream_connections_total", .counter, "Connections welcomed.",
                { Double($0.connections) }),
            perStream(
                "petrel_agent_stream_reconnects_total", .counter,
                "Connections welcomed after the first.",
                { Double($0.connections > 0 ? $0.connections - 1 : 0) }),
            MetricFamily(
                "petrel_agent_stream_refusals_total", .counter,
                help: "Refusals of the collector.", points: refusals),
            MetricFamily(
                "petrel_agent_certificate_renewals_total", .counter,
                help: "Certificates renewed, and attempts that failed.",
                points: [
                    .init(["outcome": "failed"], Double(now.renewalFailures)),
                    .init(["outcome": "renewed"], Double(now.renewals)),
                ]),
        ]
        if let end = now.certificateNotAfter {
            families.append(
                MetricFamily(
                    "petrel_agent_certificate_expiry_timestamp_seconds", .gauge,
                    help: "When the agent's certificate expires.",
                    points: [.init(.empty, end.seconds)]))
        }
        return families
    }

    private func change(_ kind: StreamKind, _ body: (inout Figures) -> Void) {
        state.withLock { body(&$0.streams[kind, default: Figures()]) }
    }
}
