import AgentStream
import CollectorReceive
import Identity
import Model
import SwiftProtobuf
import Testing
import Wire
import WireRPC
import World

/// Several copies of one disk at once: each asks whether the original lives, which answers the newest question alone.
@Suite(.serialized) struct ConcurrentClaimTests {
    @Test(.timeLimit(.minutes(1))) func oneAnswerRefusesEveryRival() async throws {
        let harness = try FleetHarness()
        try await harness.withCollector { receiver in
            let store = try await harness.join("h1", receiver)
            let identity = try store.load()
            let spool = FakeSpool()
            spool.append([1], at: harness.clock.now.milliseconds, claimingHost: "x")
            let holder = IdentityHolder(store: store)
            try holder.refresh()
            let original = StreamMetrics()
            let stream = harness.makeStream(spool, store, holder, original)
            try await harness.running([stream]) {
                #expect(await harness.eventually { spool.acknowledged == 1 })
                let reasons = await withTaskGroup(
                    of: [Petrel_Fleet_V1_RefusalReason].self
                ) { group in
                    for number in 1...6 as ClosedRange<UInt64> {
                        let hello = Petrel_Fleet_V1_AgentMessage.with {
                            $0.hello.protocol = 1
                            $0.hello.kind = number % 2 == 0 ? .metrics : .logs
                            $0.hello.epoch = 4
                            $0.hello.machineID = "copy"
                            $0.hello.instance = number
                        }
                        group.addTask {
                            await harness.call(
                                (identity.key, identity.leaf), receiver, [hello], answersMax: 1
                            ).answers.map(\.refusal.reason)
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(reasons == Array(repeating: [.clone], count: 6))
                #expect(original.isConnected(.metrics))
            }
        }
    }
}
