package import Identity
package import Logging
package import Model
package import NIOPosix
internal import ServiceLifecycle
package import Storage
package import World

/// Carries one spool to the collector: a connection of its own, made again whenever it ends.
///
/// When the identity is renewed a second connection is made with it, and the first is let go once the second is
/// welcomed.
package struct StreamService: Service {
    private let parts: StreamParts
    private let holder: IdentityHolder
    private let store: IdentityStore
    private let collector: CollectorAddress?
    private let random: any RandomSource
    private let eventLoops: MultiThreadedEventLoopGroup
    /// The metrics stream comes back within 20 s of the collector's return; the other one may take longer.
    static let metricsBackoffCapNanoseconds: Int64 = 10_000_000_000
    static let logsBackoffCapNanoseconds: Int64 = 60_000_000_000
    private static let pollNanoseconds: Int64 = 2_000_000_000

    /// `collector` overrides the address that the host learned when it joined.
    package init(
        spool: any SpoolSource, holder: IdentityHolder, store: IdentityStore,
        collector: CollectorAddress? = nil, facts: HostFacts, metrics: StreamMetrics,
        clock: any WorldClock, random: any RandomSource, eventLoops: MultiThreadedEventLoopGroup,
        log: Logger
    ) {
        parts = StreamParts(spool: spool, facts: facts, metrics: metrics, clock: clock, log: log)
        self.holder = holder
        self.store = store
        self.collector = collector
        self.random = random
        self.eventLoops = eventLoops
    }

    /// Streams until shut down; failures are logged and retried, never thrown.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            let cap =
                parts.spool.kind == .metrics
                ? Self.metricsBackoffCapNanoseconds : Self.logsBackoffCapNanoseconds
            var backoff = Backoff(capNanoseconds: cap)
            var generation = ""
            while !Task.isCancelled {
                guard let held = holder.current, let address = collector ?? store.collector()
                else {
                    // `RenewalService` says that the host has not joined, and notices when it has.
                    try? await parts.clock.sleep(nanoseconds: Self.pollNanoseconds)
                    continue
                }
                let (ended, version) = await stream(held, address, generation)
                guard !Task.isCancelled else { return }
                generation = ended.storageGeneration
                if ended.didStream { backoff.succeeded() }
                if let error = ended.error { note(error) }
                await rest(pause(after: ended.end, &backoff), unlessRenewed: version)
            }
        }
    }

    private func note(_ error: StreamError) {
        parts.metrics.failed(parts.spool.kind, "\(error)", at: parts.clock.now)
        if parts.complaints.isNews("\(error)", now: parts.clock.monotonicNanoseconds) {
            parts.log.warning("\(parts.spool.kind.name) stream: \(error)")
        }
    }

    /// Waits, but not past the moment when the host has another identity.
    private func rest(_ nanoseconds: Int64, unlessRenewed version: Int) async {
        var left = nanoseconds
        while left > 0, !Task.isCancelled, holder.current?.version == version {
            let step = min(left, Self.pollNanoseconds)
            try? await parts.clock.sleep(nanoseconds: step)
            left -= step
        }
    }

    private func pause(after end: StreamStateMachine.End, _ backoff: inout Backoff) -> Int64 {
        switch end {
        case .again, .retired: backoff.failed(random: random.next())
        case .after(let milliseconds):
            Int64(milliseconds) * 1_000_000 + backoff.failed(random: random.next()) / 4
        case .later: Backoff.long(random: random.next())
        }
    }

    private enum Event: Sendable {
        case ended(number: Int, StreamConnection.Ended)
        case renewed(IdentityHolder.Held)
        case cancelled
    }

    /// Streams over one connection, or over a row of them as the identity is renewed; returns how the newest ended, and
    /// the version of its identity.
    private func stream(
        _ held: IdentityHolder.Held, _ address: CollectorAddress, _ generation: String
    ) async -> (ended: StreamConnection.Ended, version: Int) {
        await withTaskGroup(of: Event.self) { group in
            defer { group.cancelAll() }
            var number = 1
            var version = held.version
            var newest: StreamConnection
            switch connection(held, address, generation, {}) {
            case .success(let made): newest = made
            case .failure(let error):
                let ended = StreamConnection.Ended(
                    end: .later, storageGeneration: generation, didStream: false, error: error)
                return (ended, version)
            }
            group.addTask { [newest] in .ended(number: 1, await newest.run()) }
            group.addTask { await renewal(after: held.version) }
            while let event = await group.next() {
                switch event {
                case .ended(let ended, let outcome):
                    guard ended == number else { continue }
                    return (outcome, version)
                case .renewed(let renewed):
                    let old = newest
                    let next = connection(renewed, address, generation) { old.retire() }
                    group.addTask { await renewal(after: renewed.version) }
                    guard case .success(let made) = next else { continue }
                    number += 1
                    version = renewed.version
                    newest = made
                    group.addTask { [made, number] in .ended(number: number, await made.run()) }
                case .cancelled: continue
                }
            }
            let ended = StreamConnection.Ended(
                end: .again, storageGeneration: generation, didStream: false, error: nil)
            return (ended, version)
        }
    }

    private func connection(
        _ held: IdentityHolder.Held, _ address: CollectorAddress, _ generation: String,
        _ onWelcome: @escaping @Sendable () -> Void
    ) -> Result<StreamConnection, StreamError> {
        do {
            let verifier = try PeerVerifier(authorities: held.identity.authorities)
            return .success(
                StreamConnection(
                    parts: parts,
                    connection: CollectorConnection(
                        address: address, trust: .authorities(verifier),
                        identity: held.identity, clock: parts.clock, eventLoops: eventLoops),
                    storageGeneration: generation, onWelcome: onWelcome))
        } catch {
            return .failure(.identity(error))
        }
    }

    /// Waits until the identity is another than version `version`.
    private func renewal(after version: Int) async -> Event {
        while !Task.isCancelled {
            if let held = holder.current, held.version != version { return .renewed(held) }
            try? await parts.clock.sleep(nanoseconds: Self.pollNanoseconds)
        }
        return .cancelled
    }
}
