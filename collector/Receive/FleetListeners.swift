internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
package import Identity
package import Logging
internal import Model
internal import NIOCore
package import NIOPosix
internal import NIOSSL
package import ServiceLifecycle
internal import Startup
package import Storage
internal import Synchronization
internal import Wire
internal import WireRPC
package import World

/// The receiving side of the collector: both listeners and what they share.
package struct FleetReceiver: Sendable {
    package let metrics: ReceiveMetrics
    package let presence: PresenceBoard
    package let board: SessionBoard
    /// Where each listener is bound, once it is.
    package let fleetAddress: BoundAddress
    package let enrolmentAddress: BoundAddress
    /// To be run in this order and shut down in reverse.
    package let services: [any Service]

    /// Nothing listens before `services` run.
    package init(
        configuration: ReceiveConfiguration, authority: CertificateAuthority,
        writer: any IngestWriter, registry: any FleetRegistry, clock: any WorldClock,
        random: any RandomSource, eventLoops: MultiThreadedEventLoopGroup, log: Logger
    ) {
        let limits = configuration.limits
        metrics = ReceiveMetrics()
        presence = PresenceBoard()
        board = SessionBoard(sessionsMax: limits.sessionsMax)
        fleetAddress = BoundAddress()
        enrolmentAddress = BoundAddress()
        let audit = AuditTrail(registry: registry, clock: clock, metrics: metrics, log: log)
        let gate = HandshakeGate(
            verifier: PeerVerifier(authorities: [authority.certificate], fleet: authority.fleet),
            board: board, clock: clock, metrics: metrics, audit: audit, log: log)
        let parts = SessionParts(
            writer: writer, registry: registry, clock: clock, metrics: metrics,
            presence: presence, board: board, audit: audit, limits: limits, random: random,
            log: log)
        let common = ListenerParts(
            authority: authority, serverNames: configuration.serverNames, clock: clock,
            random: random, eventLoops: eventLoops, gate: gate, board: board, limits: limits,
            log: log)
        let enrolment = FleetListener(
            role: .enrolment, endpoint: configuration.enrolment, bound: enrolmentAddress,
            service: EnrolmentHandler(
                authority: authority, registry: registry, clock: clock, random: random,
                metrics: metrics, audit: audit, board: board,
                limiter: EnrolmentLimiter(limits: limits, now: clock.monotonicNanoseconds),
                log: log), parts: common)
        let fleet = FleetListener(
            role: .fleet, endpoint: configuration.fleet, bound: fleetAddress,
            service: FleetHandler(
                authority: authority, gate: gate, parts: parts, random: random), parts: common)
        let revocation = RevocationService(
            registry: registry, board: board, presence: presence, clock: clock, log: log)
        services = [audit, revocation, enrolment, fleet]
    }
}

/// Where a listener is bound: known once it listens.
package final class BoundAddress: Sendable {
    private let state = Mutex<ReceiveConfiguration.Endpoint?>(nil)
    private let announced: AsyncStream<Void>
    private let announce: AsyncStream<Void>.Continuation

    init() { (announced, announce) = AsyncStream.makeStream() }

    func set(_ endpoint: ReceiveConfiguration.Endpoint) {
        state.withLock { $0 = endpoint }
        announce.finish()
    }

    /// Nobody need wait any longer: the listener has ended, or never came to listen.
    func giveUp() { announce.finish() }

    /// Nil while the listener does not listen yet.
    package var current: ReceiveConfiguration.Endpoint? { state.withLock { $0 } }

    /// Waits until the listener listens; nil when it could not, or when cancelled before. One waiter at a time.
    package func wait() async -> ReceiveConfiguration.Endpoint? {
        for await _ in announced {}
        return current
    }
}

/// What both listeners need.
struct ListenerParts: Sendable {
    let authority: CertificateAuthority
    let serverNames: [String]
    let clock: any WorldClock
    let random: any RandomSource
    let eventLoops: MultiThreadedEventLoopGroup
    let gate: HandshakeGate
    let board: SessionBoard
    let limits: ReceiveLimits
    let log: Logger
}

/// A gRPC server with a certificate of its own, made at its start and again at half its life.
///
/// Agents trust the authority and not this certificate, so its key is never stored. Renewal restarts the server: streams
/// end as unavailable and come back at once.
struct FleetListener: Service {
    enum Role: String, Sendable {
        /// Server TLS alone: the client has no certificate yet and checks the server by its token.
        case enrolment
        /// Mutual TLS; certificates are judged by `HandshakeGate`.
        case fleet
    }

    let role: Role
    let endpoint: ReceiveConfiguration.Endpoint
    let bound: BoundAddress
    let service: any RegistrableRPCService
    let parts: ListenerParts

    /// HTTP/2 flow control window, bytes.
    static let windowBytes = 1 << 20

    func run() async throws {
        defer { bound.giveUp() }
        while try await serveOnce() {}
    }

    /// How a part of serving ended.
    private enum Step: Sendable {
        case served
        /// What remains connected after a stop had its time.
        case overdue
        case cancelled
    }

    /// Serves until the certificate's half life (true) or until shut down (false).
    private func serveOnce() async throws -> Bool {
        let connections = AcceptedConnections()
        let server = GRPCServer(
            transport: try transport(connections), services: [service])
        let isShuttingDown = Mutex(false)
        let (stopping, stopped) = AsyncStream.makeStream(of: Void.self)
        if role == .fleet { parts.board.reopen() }
        return try await withGracefulShutdownHandler {
            try await withThrowingTaskGroup(of: Step.self) { group in
                group.addTask {
                    try await serve(server)
                    return .served
                }
                group.addTask { await renew(server, stopped) }
                group.addTask {
                    for await _ in stopping {}
                    do {
                        try await parts.clock.sleep(nanoseconds: parts.limits.drainNanoseconds)
                    } catch {
                        return .cancelled
                    }
                    return .overdue
                }
                // Only the server's own end counts; the others are cancelled with it.
                while let step = try await group.next() {
                    guard step != .cancelled else { continue }
                    if step == .overdue {
                        // Not inside the log call: its metadata is made only where the level is logged.
                        let count = connections.closeAll()
                        parts.log.warning(
                            "the \(role.rawValue) listener cuts connections that did not end",
                            metadata: ["connections": "\(count)"])
                        continue
                    }
                    group.cancelAll()
                }
            }
            return !Task.isCancelled && !isShuttingDown.withLock { $0 }
        } onGracefulShutdown: {
            isShuttingDown.withLock { $0 = true }
            stop(server, .shutdown, stopped)
        }
    }

    /// Announces the address, and stops the server at its certificate's half life.
    private func renew(
        _ server: GRPCServer<HTTP2ServerTransport.Posix>,
        _ stopped: AsyncStream<Void>.Continuation
    ) async -> Step {
        if let address = try? await server.transport.listeningAddress { announce(address) }
        do {
            try await parts.clock.sleep(
                nanoseconds: CertificateAuthority.serverLifeMS / 2 * 1_000_000)
        } catch {
            return .cancelled
        }
        parts.log.notice("the \(role.rawValue) listener renews its certificate")
        stop(server, .restart, stopped)
        return .cancelled
    }

    private func serve(_ server: GRPCServer<HTTP2ServerTransport.Posix>) async throws {
        do {
            try await server.serve()
        } catch is CancellationError {
            return
        } catch {
            throw ReceiveError.cannotListen(
                address: endpoint.address, port: endpoint.port, detail: "\(error)")
        }
    }

    private func stop(
        _ server: GRPCServer<HTTP2ServerTransport.Posix>, _ end: SessionEnd,
        _ stopped: AsyncStream<Void>.Continuation
    ) {
        server.beginGracefulShutdown()
        if role == .fleet { parts.board.endAll(end) }
        stopped.finish()
    }

    private func announce(_ address: GRPCNIOTransportHTTP2Posix.SocketAddress) {
        if let four = address.ipv4 {
            bound.set(.init(address: four.host, port: four.port))
        } else if let six = address.ipv6 {
            bound.set(.init(address: six.host, port: six.port))
        }
    }

    private func transport(
        _ connections: AcceptedConnections
    ) throws -> HTTP2ServerTransport.Posix {
        let key = SigningKey()
        let certificate: FleetCertificate
        do {
            certificate = try parts.authority.issueServer(
                key: key, names: parts.serverNames, random: parts.random,
                now: parts.clock.now.milliseconds)
        } catch {
            throw ReceiveError.identity(error)
        }
        // The authority goes along so that a joining host can compare it with its token.
        let chain = [certificate, parts.authority.certificate].map {
            TLSConfig.CertificateSource.bytes($0.der, format: .der)
        }
        let privateKey = TLSConfig.PrivateKeySource.bytes(Array(key.pem.utf8), format: .pem)
        let security: HTTP2ServerTransport.Posix.TransportSecurity
        switch role {
        case .enrolment:
            security = .tls(certificateChain: chain, privateKey: privateKey) {
                $0.requireALPN = true
            }
        case .fleet:
            let gate = parts.gate
            security = .mTLS(certificateChain: chain, privateKey: privateKey) {
                $0.requireALPN = true
                $0.trustRoots = .certificates([
                    .bytes(parts.authority.certificate.der, format: .der)
                ])
                $0.customVerificationCallback = { gate.verify($0, $1) }
            }
        }
        return HTTP2ServerTransport.Posix(
            address: addressBytes(endpoint.address)?.count == 16
                ? .ipv6(host: endpoint.address, port: endpoint.port)
                : .ipv4(host: endpoint.address, port: endpoint.port),
            transportSecurity: security, config: transportConfiguration(connections),
            eventLoopGroup: parts.eventLoops)
    }

    /// Closes below TLS, which would wait for the peer's goodbye.
    private static func cut(_ channel: any Channel) {
        channel.eventLoop.execute {
            let below = try? channel.pipeline.syncOperations.context(
                handlerType: NIOSSLServerHandler.self)
            if let below {
                below.close(mode: .all, promise: nil)
            } else {
                channel.close(mode: .all, promise: nil)
            }
        }
    }

    private func transportConfiguration(
        _ connections: AcceptedConnections
    ) -> HTTP2ServerTransport.Posix.Config {
        .defaults {
            $0.http2.targetWindowSize = Self.windowBytes
            $0.http2.maxConcurrentStreams = 16
            $0.connection.maxIdleTime = .seconds(60)
            $0.connection.keepalive.time = .seconds(15)
            $0.connection.keepalive.timeout = .seconds(5)
            $0.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
            $0.connection.keepalive.clientBehavior.allowWithoutCalls = true
            $0.rpc.maxRequestPayloadSize =
                role == .fleet ? parts.limits.messageBytesMax : parts.limits.enrolmentBytesMax
            let gate = parts.gate
            let secondsMax = parts.limits.handshakeSecondsMax
            $0.channelDebuggingCallbacks.onAcceptTCPConnection = { channel in
                connections.add(channel) { Self.cut(channel) }
                return channel.eventLoop.makeCompletedFuture {
                    try gate.watch(channel, secondsMax: secondsMax)
                }
            }
        }
    }
}
