import AgentStream
import CollectorReceive
import GRPCCore
import Identity
import Model
import ServiceLifecycle
import Storage
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import World
import WorldLive

/// The live clocks, with a wall clock that the test moves.
private final class ShiftedClock: WorldClock {
    private let shift = Mutex<Int64>(0)
    private let live = LiveClock()

    var now: TimestampNS { TimestampNS(live.now.rawValue + shift.withLock { $0 }) }
    var monotonicNanoseconds: Int64 { live.monotonicNanoseconds }
    func sleep(nanoseconds: Int64) async throws { try await live.sleep(nanoseconds: nanoseconds) }
    func advance(days: Int64) { shift.withLock { $0 += days * 86_400_000_000_000 } }
}

/// One agent's parts over a spool of its own: what two hosts with one identity have each.
private struct Agent: Sendable {
    let spool: FakeSpool
    let metrics = StreamMetrics()
    let lines = LogLines()
    let services: [any Service]

    init(
        _ harness: FleetHarness, _ store: IdentityStore, facts: HostFacts,
        spool: FakeSpool = FakeSpool(), clock: any WorldClock = LiveClock(),
        withRenewal: Bool = false
    ) throws {
        self.spool = spool
        let holder = IdentityHolder(store: store)
        try holder.refresh()
        let stream = StreamService(
            spool: spool, holder: holder, store: store, facts: facts, metrics: metrics,
            clock: clock, random: harness.random, eventLoops: harness.eventLoops,
            log: lines.logger)
        let renewal = RenewalService(
            holder: holder, store: store, metrics: metrics, clock: clock, random: harness.random,
            eventLoops: harness.eventLoops, log: lines.logger)
        services = withRenewal ? [renewal, stream] : [stream]
    }

    func says(_ text: String) -> Bool { lines.all.contains { $0.contains(text) } }
}

private func facts(_ instance: UInt64, boot: String) -> HostFacts {
    HostFacts(machineID: "m1", bootID: boot, instance: instance)
}

private func refusals(_ reason: String, _ receiver: FleetReceiver) -> Double {
    let family = receiver.metrics.families().first { $0.name == "petrel_receive_refused_total" }
    return family?.points.first { $0.labels["reason"] == reason }?.value ?? -1
}

/// Copied, replaced, revoked and expired identities over loopback mTLS.
@Suite(.serialized) struct IdentityLoopbackTests {
    @Test func aCopyIsRefusedWhileTheOriginalStreams() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let original = try Agent(harness, store, facts: facts(1, boot: "b1"))
            let copy = try Agent(harness, store, facts: facts(2, boot: "b2"))
            let now = harness.clock.now.milliseconds
            for value in 0..<5 {
                original.spool.append([Double(value)], at: now, claimingHost: "x")
                copy.spool.append([Double(1000 + value)], at: now, claimingHost: "x")
            }
            #expect(refusals("clone", receiver) == 0, "there before it is needed")
            try await harness.running(original.services) {
                #expect(await harness.eventually { original.spool.acknowledged == 5 })
                let start = harness.clock.monotonicNanoseconds
                try await harness.running(copy.services) {
                    #expect(await harness.eventually { refusals("clone", receiver) == 1 })
                    let seconds =
                        Double(harness.clock.monotonicNanoseconds - start) / 1_000_000_000
                    print("copy refused after \(seconds) s")
                    #expect(await harness.eventually { copy.says("enroll create --host NAME") })
                    original.spool.append([9], at: now, claimingHost: "x")
                    #expect(await harness.eventually { original.spool.acknowledged == 6 })
                }
            }
            #expect(copy.spool.acknowledged == 0, "mixed streams")
            #expect(harness.writer.sequences == Array(1...6))
            #expect(!original.metrics.isConnected(.metrics))
            #expect(
                await harness.eventually {
                    harness.registry.state.withLock {
                        $0.audit.filter { $0.action == "stream.clone" }.count == 1
                    }
                })
        }
    }

    /// An original whose machine is gone without a word: nobody answers for it.
    @Test func aRebootedMachineIsServedWhenItsOldSelfIsSilent() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let identity = try store.load()
            let hello = Petrel_Fleet_V1_AgentMessage.with {
                $0.hello = .init(facts(1, boot: "b1"))
                $0.hello.kind = .metrics
                $0.hello.epoch = 4
            }
            // It takes messages and never answers a probe, as a dead machine behind a living network.
            async let dead = harness.call((identity.key, identity.leaf), receiver, [hello])
            #expect(
                await harness.eventually { harness.writer.state.withLock { $0.nextToken } == 2 })
            let reborn = try Agent(harness, store, facts: facts(2, boot: "b2"))
            reborn.spool.append([1], at: harness.clock.now.milliseconds, claimingHost: "x")
            try await harness.running(reborn.services) {
                #expect(await harness.eventually { reborn.spool.acknowledged == 1 })
            }
            #expect(refusals("clone", receiver) == 0)
            let (answers, error) = await dead
            #expect(answers.map(\.probe.number).contains { $0 != 0 }, "it was never asked")
            #expect(error?.code == .unavailable)
        }
    }

    /// An original whose answers wait behind its batches, for the storage is slow, is not taken for dead.
    @Test(.timeLimit(.minutes(1))) func anOriginalThatIsNotReadIsNotTakenForDead() async throws {
        let harness = try FleetHarness()
        let gate = Gate()
        harness.writer.state.withLock { $0.gate = gate }
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let identity = try store.load()
            func hello(_ instance: UInt64) -> Petrel_Fleet_V1_AgentMessage {
                .with {
                    $0.hello = .init(facts(instance, boot: "b1"))
                    $0.hello.kind = .metrics
                    $0.hello.epoch = 4
                }
            }
            let batches = (1...30 as ClosedRange<UInt64>).map { number in
                Petrel_Fleet_V1_AgentMessage.with {
                    $0.batch.sequence = number
                    $0.batch.kind = .gap
                    $0.batch.payload = .init(
                        GapPayload.encode(GapRecord(reason: .fileLost, count: 1)))
                }
            }
            let original = Answers()
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = await harness.call(
                        (identity.key, identity.leaf), receiver, [hello(1)] + batches,
                        into: original)
                }
                #expect(
                    await harness.eventually { harness.writer.state.withLock { $0.storeCalls } > 0 }
                )
                let (answers, _) = await harness.call(
                    (identity.key, identity.leaf), receiver, [hello(2)], answersMax: 1)
                #expect(answers.map(\.refusal.reason) == [.unavailable])
                #expect(answers.first?.refusal.retryAfterMs == ReceiveLimits().retryAfterMS)
                gate.open()
                #expect(await harness.eventually { original.all.last?.ack.sequence == 30 })
                group.cancelAll()
            }
            #expect(refusals("unavailable", receiver) == 1)
            #expect(
                harness.registry.state.withLock {
                    !$0.audit.contains { $0.action.hasPrefix("stream.") }
                })
        }
    }

    /// Without the poll that would find it out a little later.
    @Test func aReplacedHostLosesItsStreamAtOnceAndTheNewOneGoesOn() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector(polls: false) { receiver in
            let oldStore = try await harness.join("h1", receiver)
            let old = try Agent(harness, oldStore, facts: facts(1, boot: "b1"))
            let now = harness.clock.now.milliseconds
            old.spool.append([1], at: now, claimingHost: "x")
            let oldSerial = try oldStore.load().leaf.serial
            try await harness.running(old.services) {
                #expect(await harness.eventually { old.spool.acknowledged == 1 })
                #expect(!receiver.board.knowsRevoked(oldSerial))
                let newStore = try await harness.join("h1", receiver)
                #expect(receiver.board.knowsRevoked(oldSerial))
                #expect(await harness.eventually { receiver.board.count == 0 })
                let spool = FakeSpool()
                spool.state.withLock { $0.epoch = 100 }
                spool.append([2], at: now, claimingHost: "x")
                let new = try Agent(
                    harness, newStore, facts: HostFacts(machineID: "m2", bootID: "c1", instance: 9),
                    spool: spool)
                try await harness.running(new.services) {
                    #expect(await harness.eventually { new.spool.acknowledged == 1 })
                    #expect(
                        await harness.eventually {
                            old.says("petrel-collector enroll create --host h1")
                        })
                }
            }
            #expect(harness.writer.labels.allSatisfy { $0["host"] == "h1" })
            #expect(harness.writer.sequences == [1, 1])
            #expect(refusals("clone", receiver) == 0)
        }
    }

    /// Who streamed as the host before an enrolment counts no more: not as a copy of who streams now either.
    @Test func joiningForgetsWhoStreamedBefore() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            func reason(
                _ instance: UInt64, _ store: IdentityStore
            ) async throws -> Petrel_Fleet_V1_RefusalReason {
                let identity = try store.load()
                let hello = Petrel_Fleet_V1_AgentMessage.with {
                    $0.hello = .init(facts(instance, boot: "b1"))
                    $0.hello.kind = .metrics
                    $0.hello.epoch = 4
                }
                let (answers, _) = await harness.call(
                    (identity.key, identity.leaf), receiver, [hello], answersMax: 1)
                #expect(await harness.eventually { receiver.board.count == 0 })
                return try #require(answers.first).refusal.reason
            }
            let first = try await harness.join("h1", receiver)
            #expect(try await reason(1, first) == .unspecified)
            #expect(try await reason(2, first) == .unspecified)
            #expect(try await reason(1, first) == .clone, "the control")
            let second = try await harness.join("h1", receiver)
            #expect(try await reason(1, second) == .unspecified)
        }
    }

    /// Both programs eight days on: nothing was renewed because the agent could not reach its collector.
    @Test func anExpiredCertificateIsSaidAndJoiningAgainLosesNothing() async throws {
        let clock = ShiftedClock()
        let harness = try FleetHarness(clock: clock)
        let spool = FakeSpool()
        let place = try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let agent = try Agent(
                harness, store, facts: facts(1, boot: "b1"), spool: spool, clock: clock)
            spool.append([1], at: clock.now.milliseconds, claimingHost: "x")
            try await harness.running(agent.services) {
                #expect(await harness.eventually { spool.acknowledged == 1 })
            }
            return (port: receiver.fleetAddress.current?.port ?? 0, store: store)
        }
        clock.advance(days: 8)
        spool.append([2], at: clock.now.milliseconds, claimingHost: "x")
        let store = place.store
        let agent = try Agent(
            harness, store, facts: facts(1, boot: "b1"), spool: spool, clock: clock,
            withRenewal: true)
        let before = spool.acknowledged
        try await harness.withCollector(fleetPort: place.port) { receiver in
            try await harness.running(agent.services) {
                #expect(await harness.eventually { agent.says("certificate ended at") })
                #expect(agent.says("`petrel-collector enroll create --host h1`"))
                #expect(agent.says("`petrel-agent join --token TOKEN`"))
                #expect(spool.acknowledged == before)
                let token = try await harness.makeToken("h1", receiver)
                _ = try await Enroller(
                    store: store, clock: clock, eventLoops: harness.eventLoops
                ).join(token: token, collectorHost: nil)
                #expect(await harness.eventually { spool.acknowledged == 2 })
            }
            #expect(harness.writer.sequences == [1, 2])
            #expect(harness.writer.gaps.isEmpty)
        }
    }

    @Test func aRevokedHostIsToldWhatToDo() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let agent = try Agent(
                harness, store, facts: facts(1, boot: "b1"), withRenewal: true)
            let now = harness.clock.now.milliseconds
            agent.spool.append([1], at: now, claimingHost: "x")
            try await harness.running(agent.services) {
                #expect(await harness.eventually { agent.spool.acknowledged == 1 })
                let host = try #require(HostName("h1"))
                _ = try await harness.registry.revoke(host: host, now: now)
                #expect(
                    await harness.eventually { agent.says("petrel-agent join --token TOKEN") })
                // It comes back without a restart once it has joined again.
                let token = try await harness.makeToken("h1", receiver)
                _ = try await Enroller(
                    store: store, clock: harness.clock, eventLoops: harness.eventLoops
                ).join(token: token, collectorHost: nil)
                agent.spool.append([2], at: now, claimingHost: "x")
                #expect(await harness.eventually { agent.spool.acknowledged == 2 })
            }
            print("revoked agent said: \(agent.lines.all)")
        }
    }

    @Test func anAgentTwoVersionsAheadIsTold() async throws {
        let lines = LogLines()
        let harness = try FleetHarness(log: lines.logger)
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let identity = try store.load()
            for (newest, oldest) in [(3, 0), (3, 0), (2, 2), (2, 2)] as [(UInt32, UInt32)] {
                let hello = Petrel_Fleet_V1_AgentMessage.with {
                    $0.hello.protocol = newest
                    $0.hello.protocolMin = oldest
                    $0.hello.kind = .logs
                    $0.hello.epoch = 4
                }
                let (answers, _) = await harness.call(
                    (identity.key, identity.leaf), receiver, [hello], answersMax: 1)
                #expect(answers.map(\.refusal.reason) == [.protocol])
                #expect(answers.first?.refusal.detail.contains("upgrade petrel-collector") == true)
            }
            #expect(refusals("protocol", receiver) == 4)
            let ahead = Petrel_Fleet_V1_AgentMessage.with {
                $0.hello.protocol = 2
                $0.hello.kind = .logs
                $0.hello.epoch = 4
            }
            let (answers, _) = await harness.call(
                (identity.key, identity.leaf), receiver, [ahead], answersMax: 1)
            #expect(answers.map(\.welcome.protocol) == [1])
        }
        // Agents repeat themselves; the audit and the log do not.
        let rows = harness.registry.state.withLock {
            $0.audit.filter { $0.action == "stream.refuse" }
        }
        #expect(rows.map(\.subject) == ["h1", "h1"])
        #expect(
            rows.allSatisfy {
                $0.detail.hasPrefix("protocol: ") && !$0.detail.hasSuffix(" times)")
            })
        #expect(lines.all.count { $0.hasPrefix("a stream is refused: ") } == 2)
    }
}
