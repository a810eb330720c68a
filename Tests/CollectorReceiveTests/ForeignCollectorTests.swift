import AgentStream
import CollectorReceive
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity
import Model
import SwiftProtobuf
import Testing
import Wire
import WireRPC
import World

/// A collector of another build: it answers a hello with what it was given, and goes on until the agent ends.
private struct ForeignCollector: Petrel_Fleet_V1_Fleet.SimpleServiceProtocol {
    let answers: [Petrel_Fleet_V1_CollectorMessage]
    /// Opens when the agent answers a probe.
    let probed: Gate

    func renew(
        request: Petrel_Fleet_V1_RenewRequest, context: ServerContext
    ) async throws -> Petrel_Fleet_V1_RenewResponse {
        throw RPCError(code: .unimplemented, message: "no renewal here")
    }

    func stream(
        request: RPCAsyncSequence<Petrel_Fleet_V1_AgentMessage, any Error>,
        response: RPCWriter<Petrel_Fleet_V1_CollectorMessage>, context: ServerContext
    ) async throws {
        for try await message in request {
            if message.heartbeat.probe != 0 { probed.open() }
            guard case .hello = message.message else { continue }
            for answer in answers { try await response.write(answer) }
        }
    }
}

/// What collectors of other builds may answer, over loopback mTLS.
@Suite(.serialized) struct ForeignCollectorTests {
    /// Runs an agent against a collector that answers its hellos with `answers`, until `body` returns.
    private func withAgent(
        answered answers: [Petrel_Fleet_V1_CollectorMessage], probed: Gate = Gate(),
        _ body: (FleetHarness, StreamMetrics, LogLines) async throws -> Void
    ) async throws -> StreamMetrics {
        let lines = LogLines()
        let harness = try FleetHarness(log: lines.logger)
        let store = try await harness.withCollector { try await harness.join("h1", $0) }
        let holder = IdentityHolder(store: store)
        try holder.refresh()
        let key = SigningKey()
        let certificate = try harness.authority.issueServer(
            key: key, names: ["127.0.0.1"], random: harness.random,
            now: harness.clock.now.milliseconds)
        let server = GRPCServer(
            transport: HTTP2ServerTransport.Posix(
                address: .ipv4(host: "127.0.0.1", port: 0),
                transportSecurity: .tls(
                    certificateChain: [.bytes(certificate.der, format: .der)],
                    privateKey: .bytes(Array(key.pem.utf8), format: .pem)
                ) { $0.requireALPN = true },
                eventLoopGroup: harness.eventLoops),
            services: [ForeignCollector(answers: answers, probed: probed)])
        let metrics = StreamMetrics()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            let port = try #require(await server.transport.listeningAddress.ipv4?.port)
            let stream = StreamService(
                spool: FakeSpool(), holder: holder, store: store,
                collector: CollectorAddress(name: "127.0.0.1", fleetPort: UInt16(port)),
                facts: HostFacts(), metrics: metrics, clock: harness.clock,
                random: harness.random, eventLoops: harness.eventLoops, log: lines.logger)
            try await harness.running([stream]) { try await body(harness, metrics, lines) }
            server.beginGracefulShutdown()
            try await group.waitForAll()
        }
        return metrics
    }

    @Test(.timeLimit(.minutes(1))) func aWelcomeInAForeignVersionIsRefusedAndSaid() async throws {
        let welcome = Petrel_Fleet_V1_CollectorMessage.with {
            $0.welcome.protocol = 9
            $0.welcome.storageGeneration = "g"
        }
        _ = try await withAgent(answered: [welcome]) { harness, metrics, lines in
            #expect(
                await harness.eventually {
                    lines.all.contains {
                        $0.contains("goes on in version 9") && $0.contains("this agent speaks 1:")
                    }
                })
            let family = metrics.families().first {
                $0.name == "petrel_agent_stream_refusals_total"
            }
            #expect(family?.points.map { $0.labels["reason"] } == ["protocol"])
            #expect(!metrics.isConnected(.metrics))
        }
    }

    @Test(.timeLimit(.minutes(1))) func aSecondWelcomeCountsOnce() async throws {
        let welcome = Petrel_Fleet_V1_CollectorMessage.with {
            $0.welcome.protocol = 1
            $0.welcome.storageGeneration = "g"
        }
        let probe = Petrel_Fleet_V1_CollectorMessage.with { $0.probe.number = 7 }
        let probed = Gate()
        let metrics = try await withAgent(answered: [welcome, welcome, probe], probed: probed) {
            _, metrics, _ in
            // The agent takes answers in order: it has both welcomes when it answers.
            await probed.wait()
            #expect(metrics.isConnected(.metrics))
        }
        #expect(!metrics.isConnected(.metrics))
    }
}
