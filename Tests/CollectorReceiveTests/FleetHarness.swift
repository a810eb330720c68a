import AgentStream
import CollectorReceive
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity
import Logging
import Model
import NIOPosix
import ServiceLifecycle
import Simulation
import Testing
import Wire
import WireRPC
import World
import WorldLive

/// A collector on loopback ports of the system's choosing, over stores in memory.
struct FleetHarness: Sendable {
    let authority: CertificateAuthority
    let writer = FakeWriter()
    let registry = FakeRegistry()
    let clock: any WorldClock
    let random = LiveRandom()
    let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let log: Logger

    init(
        clock: any WorldClock = LiveClock(),
        log: Logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    ) throws {
        self.clock = clock
        self.log = log
        authority = try CertificateAuthority(
            creating: "petrel", random: LiveRandom(), now: clock.now.milliseconds)
    }

    /// Runs a collector for the time of `body`, then shuts it down and waits for its end. `polls` false: it learns of
    /// revoked certificates by an enrolment alone.
    func withCollector<Value: Sendable>(
        fleetPort: Int = 0, limits: ReceiveLimits = ReceiveLimits(), polls: Bool = true,
        _ body: (FleetReceiver) async throws -> Value
    ) async throws -> Value {
        let receiver = FleetReceiver(
            configuration: ReceiveConfiguration(
                fleet: .init(address: "127.0.0.1", port: fleetPort),
                enrolment: .init(address: "127.0.0.1", port: 0), serverNames: ["127.0.0.1"],
                limits: limits),
            authority: authority, writer: writer, registry: registry, clock: clock,
            random: random, eventLoops: eventLoops, log: log)
        let services = receiver.services.filter { polls || !($0 is RevocationService) }
        return try await running(services) {
            _ = try #require(await receiver.fleetAddress.wait(), "the port is taken")
            _ = try #require(await receiver.enrolmentAddress.wait(), "the port is taken")
            return try await body(receiver)
        }
    }

    /// Runs `services` for the time of `body`, then shuts them down and waits for their end.
    func running<Value: Sendable>(
        _ services: [any Service], _ body: () async throws -> Value
    ) async throws -> Value {
        let group = ServiceGroup(services: services, logger: log)
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let value = try await body()
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            return value
        }
    }

    func makeToken(_ host: String, _ receiver: FleetReceiver) async throws -> EnrolmentToken {
        let token = EnrolmentToken(
            host: try #require(HostName(host)), authorityKeyHash: authority.certificate.keyHash,
            fleetPort: UInt16(receiver.fleetAddress.current?.port ?? 0),
            enrolmentPort: UInt16(receiver.enrolmentAddress.current?.port ?? 0),
            collectorNames: ["127.0.0.1"], random: random)
        try await registry.createToken(
            hash: token.secretHash, host: token.host,
            expiresAt: clock.now.milliseconds.advanced(byMilliseconds: 900_000))
        return token
    }

    /// A host that joined by a token, with its state folder in memory.
    func join(_ host: String, _ receiver: FleetReceiver) async throws -> IdentityStore {
        let token = try await makeToken(host, receiver)
        let store = makeStore()
        let joined = try await Enroller(store: store, clock: clock, eventLoops: eventLoops)
            .join(token: token, collectorHost: nil)
        #expect(joined.text == host)
        return store
    }

    func makeStore() -> IdentityStore {
        IdentityStore(
            files: SimulatedFileTree(random: SeededRandom(seed: random.next())), folder: "/state")
    }

    func makeStream(
        _ spool: FakeSpool, _ store: IdentityStore, _ holder: IdentityHolder,
        _ metrics: StreamMetrics
    ) -> StreamService {
        StreamService(
            spool: spool, holder: holder, store: store, facts: HostFacts(), metrics: metrics,
            clock: clock, random: random, eventLoops: eventLoops, log: log)
    }

    /// Calls `Stream` with any certificate; `messages` are sent, and all answers returned with the call's error. `gate`
    /// keeps this side of the call open after the collector's has ended.
    func call(
        _ identity: (key: SigningKey, certificate: FleetCertificate)?, _ receiver: FleetReceiver,
        _ messages: [Petrel_Fleet_V1_AgentMessage], answersMax: Int = 100,
        into answers: Answers = Answers(), holdingOpen gate: Gate? = nil
    ) async -> (answers: [Petrel_Fleet_V1_CollectorMessage], error: RPCError?) {
        let security = HTTP2ClientTransport.Posix.TransportSecurity.tls { tls in
            tls.serverCertificateVerification = .noVerification
            guard let identity else { return }
            tls.certificateChain = [.bytes(identity.certificate.der, format: .der)]
            tls.privateKey = .bytes(Array(identity.key.pem.utf8), format: .pem)
        }
        do {
            let transport = try HTTP2ClientTransport.Posix(
                target: .ipv4(
                    address: "127.0.0.1", port: receiver.fleetAddress.current?.port ?? 0),
                transportSecurity: security, eventLoopGroup: eventLoops)
            try await withGRPCClient(transport: transport) { client in
                try await Petrel_Fleet_V1_Fleet.Client(wrapping: client).stream { writer in
                    for message in messages { try await writer.write(message) }
                    // Half-closing would end the stream: the answers decide when it is over.
                    await answers.waitForEnd()
                } onResponse: { response in
                    defer { answers.end() }
                    var failure: (any Error)?
                    do {
                        for try await message in response.messages {
                            if answers.add(message) >= answersMax { return }
                        }
                    } catch { failure = error }
                    await gate?.wait()
                    if let failure { throw failure }
                }
            }
            return (answers.all, nil)
        } catch {
            return (
                answers.all, error as? RPCError ?? RPCError(code: .unknown, message: "\(error)")
            )
        }
    }

    /// Waits until `condition` holds; false after 20 s.
    func eventually(_ condition: () -> Bool) async -> Bool {
        let end = clock.monotonicNanoseconds + 20_000_000_000
        while clock.monotonicNanoseconds < end {
            if condition() { return true }
            try? await clock.sleep(nanoseconds: 5_000_000)
        }
        return false
    }
}
