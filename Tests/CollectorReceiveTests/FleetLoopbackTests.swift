import AgentStream
import CollectorReceive
import GRPCCore
import Identity
import Model
import Storage
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import World
import WorldLive

@Suite(.serialized) struct FleetLoopbackTests {
    private func hello(epoch: UInt64 = 5) -> Petrel_Fleet_V1_AgentMessage {
        .with {
            $0.hello.protocol = 1
            $0.hello.kind = .metrics
            $0.hello.epoch = epoch
        }
    }

    private func gap(_ sequence: UInt64) -> Petrel_Fleet_V1_AgentMessage {
        .with {
            $0.batch.sequence = sequence
            $0.batch.kind = .gap
            $0.batch.payload = .init(GapPayload.encode(GapRecord(reason: .fileLost, count: 3)))
        }
    }

    private func makeIdentity(
        _ authority: CertificateAuthority, _ harness: FleetHarness, host: String = "h1",
        lifeMS: Int64 = 3_600_000, ageMS: Int64 = 0
    ) throws -> (key: SigningKey, certificate: FleetCertificate) {
        let key = SigningKey()
        let certificate = try authority.issueAgent(
            request: key.signingRequest(), host: #require(HostName(host)), random: harness.random,
            now: harness.clock.now.milliseconds.advanced(byMilliseconds: -ageMS), lifeMS: lifeMS)
        return (key, certificate)
    }

    @Test func joinsAndStreamsAThousandBatches() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let spool = FakeSpool()
            let now = harness.clock.now.milliseconds
            for batch in 0..<1000 {
                spool.append(
                    [Double(batch), 1], at: now.advanced(byMilliseconds: Int64(batch) - 1000),
                    claimingHost: "somebody-else")
            }
            let holder = IdentityHolder(store: store)
            try holder.refresh()
            let metrics = StreamMetrics()
            let stream = harness.makeStream(spool, store, holder, metrics)
            try await harness.running([stream]) {
                #expect(await harness.eventually { spool.acknowledged == 1000 })
            }
            #expect(harness.writer.records == 2000)
            #expect(harness.writer.sequences == Array(1...1000))
            #expect(harness.writer.gaps.isEmpty)
            // Whatever the agent claims to be, the certificate says.
            #expect(harness.writer.labels.map { $0["host"] } == ["h1", "h1"])
            // Queued batches share commits.
            #expect(harness.writer.state.withLock { $0.storeCalls } < 1000)
            #expect(receiver.presence.snapshot().keys.map(\.text) == ["h1"])
        }
    }

    @Test func oneOfTwoRacingEnrolmentsWins() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let token = try await harness.makeToken("h1", receiver)
            let outcomes = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        let enroller = Enroller(
                            store: harness.makeStore(), clock: harness.clock,
                            eventLoops: harness.eventLoops)
                        return (try? await enroller.join(token: token, collectorHost: nil)) != nil
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(outcomes.filter { $0 }.count == 1)
            #expect(harness.registry.state.withLock { $0.certificates.count } == 1)
            // The pin of another fleet is not this one's.
            var foreign = try await harness.makeToken("h2", receiver)
            foreign.authorityKeyHash = [UInt8](repeating: 1, count: 32)
            let enroller = Enroller(
                store: harness.makeStore(), clock: harness.clock, eventLoops: harness.eventLoops)
            let wrong = foreign
            await #expect(throws: StreamError.self) {
                try await enroller.join(token: wrong, collectorHost: nil)
            }
            #expect(harness.registry.state.withLock { $0.certificates.count } == 1)
        }
    }

    @Test(arguments: [
        PeerRefusal.noCertificate, .wrongAuthority, .expired, .wrongUsage, .revoked,
    ])
    func badCertificatesAreRefusedAndCounted(_ refusal: PeerRefusal) async throws {
        let harness = try FleetHarness()
        var identity: (key: SigningKey, certificate: FleetCertificate)?
        switch refusal {
        case .wrongAuthority:
            let other = try CertificateAuthority(
                creating: "petrel", random: harness.random, now: harness.clock.now.milliseconds)
            identity = try makeIdentity(other, harness)
        case .expired:
            identity = try makeIdentity(
                harness.authority, harness, lifeMS: 1000, ageMS: 10_000)
        case .wrongUsage:
            let key = SigningKey()
            let certificate = try harness.authority.issueServer(
                key: key, names: [], random: harness.random, now: harness.clock.now.milliseconds)
            identity = (key, certificate)
        case .revoked:
            let made = try makeIdentity(harness.authority, harness)
            harness.registry.state.withLock { _ = $0.revoked.insert(made.certificate.serial) }
            identity = made
        default: identity = nil
        }
        let shown = identity
        let first = hello()
        try await harness.withCollector { receiver in
            if let serial = shown?.certificate.serial, refusal == .revoked {
                #expect(await harness.eventually { receiver.board.knowsRevoked(serial) })
            }
            let (answers, error) = await harness.call(shown, receiver, [first])
            #expect(answers.isEmpty)
            #expect(error != nil)
            #expect(await harness.eventually { receiver.metrics.handshakesRefused(refusal) > 0 })
            #expect(
                await harness.eventually {
                    harness.registry.state.withLock {
                        $0.audit.contains { $0.detail.hasPrefix(refusal.rawValue) }
                    }
                })
        }
    }

    @Test func revokingClosesTheLiveStream() async throws {
        let harness = try FleetHarness()
        let first = hello()
        try await harness.withCollector { receiver in
            let made = try makeIdentity(harness.authority, harness)
            async let outcome = harness.call(made, receiver, [first])
            #expect(await harness.eventually { receiver.board.count == 1 })
            let start = harness.clock.monotonicNanoseconds
            harness.registry.state.withLock { _ = $0.revoked.insert(made.certificate.serial) }
            let (answers, error) = await outcome
            let seconds = Double(harness.clock.monotonicNanoseconds - start) / 1e9
            print("revoked stream closed after \(seconds) s")
            #expect(answers.first?.welcome.host == "h1")
            #expect(error?.code == .unauthenticated)
            #expect(receiver.board.count == 0)
        }
    }

    /// The listener waits for its streams to end on both sides; this client keeps its own open until the collector is gone.
    @Test(.timeLimit(.minutes(1))) func aClientThatNeverEndsDoesNotHoldUpTheStop() async throws {
        let harness = try FleetHarness()
        let first = hello()
        let made = try makeIdentity(harness.authority, harness)
        var limits = ReceiveLimits()
        limits.drainNanoseconds = 200_000_000
        let gate = Gate()
        try await withThrowingTaskGroup(of: Void.self) { group in
            try await harness.withCollector(limits: limits) { receiver in
                let answers = Answers()
                group.addTask {
                    _ = await harness.call(
                        made, receiver, [first], into: answers, holdingOpen: gate)
                }
                #expect(await harness.eventually { !answers.all.isEmpty })
            }
            gate.open()
            try await group.waitForAll()
        }
    }

    /// The kind of stream is what its hello says; before one it counts as metrics.
    @Test(arguments: [StreamKind.logs, .metrics]) func whatIsNoMessageIsCountedAndSaid(
        _ kind: StreamKind
    ) async throws {
        let lines = LogLines()
        let harness = try FleetHarness(log: lines.logger)
        var messages = [Petrel_Fleet_V1_AgentMessage()]
        if kind == .logs {
            var first = hello()
            first.hello.kind = .logs
            messages.insert(first, at: 0)
        }
        let sent = messages
        try await harness.withCollector { receiver in
            let made = try makeIdentity(harness.authority, harness)
            let (_, error) = await harness.call(made, receiver, sent)
            #expect(error?.code == .invalidArgument)
            let family = receiver.metrics.families().first {
                $0.name == "petrel_receive_malformed_total"
            }
            let counted = (family?.points ?? []).filter { $0.value > 0 }
            #expect(counted.map { $0.labels["stream"] } == [kind.name])
            #expect(
                lines.all.contains(
                    "a stream sent what is no message error=it is of no known kind host=h1 "
                        + "stream=\(kind.name)"))
        }
    }

    @Test func aStreamEndsWithItsCertificate() async throws {
        let harness = try FleetHarness()
        let first = hello()
        try await harness.withCollector { receiver in
            let made = try makeIdentity(harness.authority, harness, lifeMS: 2000)
            let (answers, error) = await harness.call(made, receiver, [first])
            #expect(answers.count == 1)
            #expect(error?.code == .unauthenticated)
        }
    }

    @Test func holesAndRepeatsAreAnswered() async throws {
        let harness = try FleetHarness()
        let messages = [hello(), gap(1), gap(2), gap(4), gap(5), gap(3), gap(2)]
        try await harness.withCollector { receiver in
            let made = try makeIdentity(harness.authority, harness)
            let (answers, _) = await harness.call(made, receiver, messages, answersMax: 4)
            let refusals = answers.filter { $0.refusal.reason != .unspecified }.map(\.refusal)
            #expect(refusals.map(\.reason) == [.outOfOrder])
            #expect(refusals.map(\.expectedSequence) == [3])
            #expect(await harness.eventually { harness.writer.sequences == [1, 2, 3] })
        }
    }

    @Test func aNewerConnectionFencesTheOlder() async throws {
        let harness = try FleetHarness()
        let first = hello()
        try await harness.withCollector { receiver in
            let made = try makeIdentity(harness.authority, harness)
            async let older = harness.call(made, receiver, [first])
            #expect(await harness.eventually { receiver.board.count == 1 })
            let (answers, _) = await harness.call(made, receiver, [first, gap(1)], answersMax: 2)
            #expect(answers.last?.ack.sequence == 1)
            let (welcome, error) = await older
            #expect(welcome.count == 1 && error?.code == .unavailable)
        }
    }

    @Test func aMalformedPayloadBecomesAGapAndTheStreamGoesOn() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let spool = FakeSpool()
            let now = harness.clock.now.milliseconds
            for value in 0..<5 { spool.append([Double(value)], at: now, claimingHost: "x") }
            spool.append(garbage: [0xff, 0xff, 0xff], records: 7)
            for value in 0..<5 { spool.append([Double(value)], at: now, claimingHost: "x") }
            let holder = IdentityHolder(store: store)
            try holder.refresh()
            let metrics = StreamMetrics()
            let stream = harness.makeStream(spool, store, holder, metrics)
            try await harness.running([stream]) {
                #expect(await harness.eventually { spool.acknowledged == 11 })
                #expect(metrics.isConnected(.metrics))
                #expect(metrics.standing(.metrics).connectedAt != nil)
                #expect(metrics.standing(.logs) == StreamStanding())
            }
            #expect(metrics.standing(.metrics).connectedAt == nil)
            #expect(harness.writer.records == 10)
            #expect(harness.writer.gaps.map(\.count) == [7])
            #expect(spool.state.withLock { $0.rejected } == [6])
        }
    }

    @Test func whatTheStorageRefusesIsFoundAndReplacedByAGap() async throws {
        let harness = try FleetHarness()
        harness.writer.state.withLock { $0.poison = 666 }
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let spool = FakeSpool()
            var values = (0..<100).map(Double.init)
            values[37] = 666
            spool.append(values, at: harness.clock.now.milliseconds, claimingHost: "x")
            let holder = IdentityHolder(store: store)
            try holder.refresh()
            let stream = harness.makeStream(spool, store, holder, StreamMetrics())
            try await harness.running([stream]) {
                #expect(await harness.eventually { spool.acknowledged == 1 })
            }
            #expect(harness.writer.records == 99)
            #expect(harness.writer.gaps.map(\.count) == [1])
        }
    }

    @Test func anAwayStorageAndARestartedCollectorLoseNothing() async throws {
        let harness = try FleetHarness()
        let spool = FakeSpool()
        let now = harness.clock.now.milliseconds
        for value in 0..<50 { spool.append([Double(value)], at: now, claimingHost: "x") }
        harness.writer.state.withLock { $0.failures = 1 }
        let (port, store) = try await harness.withCollector { receiver in
            (
                receiver.fleetAddress.current?.port ?? 0, try await harness.join("h1", receiver)
            )
        }
        let holder = IdentityHolder(store: store)
        try holder.refresh()
        let stream = harness.makeStream(spool, store, holder, StreamMetrics())
        try await harness.running([stream]) {
            try await harness.withCollector(fleetPort: port) { _ in
                #expect(await harness.eventually { spool.acknowledged == 50 })
            }
            for value in 0..<50 { spool.append([Double(value)], at: now, claimingHost: "x") }
            try await harness.withCollector(fleetPort: port) { _ in
                #expect(await harness.eventually { spool.acknowledged == 100 })
            }
        }
        #expect(harness.writer.sequences == Array(1...100))
        #expect(harness.writer.records == 100)
    }

    @Test func renewalGoesOnUnderTheNewCertificate() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let holder = IdentityHolder(store: store)
            try holder.refresh()
            let before = try store.load()
            let spool = FakeSpool()
            let now = harness.clock.now.milliseconds
            spool.append([1], at: now, claimingHost: "x")
            let metrics = StreamMetrics()
            let stream = harness.makeStream(spool, store, holder, metrics)
            let renewal = RenewalService(
                holder: holder, store: store, metrics: metrics, clock: harness.clock,
                random: harness.random, eventLoops: harness.eventLoops, log: harness.log)
            try await harness.running([stream]) {
                #expect(await harness.eventually { spool.acknowledged == 1 })
                try await renewal.renew(before)
                let after = try store.load()
                #expect(after.leaf != before.leaf && after.host?.text == "h1")
                // The old certificate goes; the stream that lives on is the new one's.
                #expect(
                    await harness.eventually { harness.writer.state.withLock { $0.nextToken } == 3 }
                )
                harness.registry.state.withLock { _ = $0.revoked.insert(before.leaf.serial) }
                #expect(
                    await harness.eventually { receiver.board.knowsRevoked(before.leaf.serial) })
                spool.append([2], at: now, claimingHost: "x")
                #expect(await harness.eventually { spool.acknowledged == 2 })
                #expect(harness.writer.state.withLock { $0.nextToken } == 3)
            }
        }
    }
}
