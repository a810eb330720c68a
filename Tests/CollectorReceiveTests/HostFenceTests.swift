import CollectorReceive
import Model
import Testing

private func origin(_ instance: UInt64, boot: String = "b1", machine: String = "m")
    -> StreamOrigin
{
    StreamOrigin(machineID: machine, bootID: boot, instance: instance)
}

/// A fence whose changing calls may stand within an expectation.
private final class Fence {
    private var fence = HostFence()
    var holder: StreamOrigin? { fence.holder }
    var live: [UInt64] { fence.live }

    func arrive(
        _ session: UInt64, _ kind: StreamKind, from origin: StreamOrigin
    ) -> HostFence.Verdict { fence.arrive(session, kind, from: origin) }

    func arrive(
        _ session: UInt64, _ kind: StreamKind, from origin: StreamOrigin, silent probed: [UInt64]
    ) -> HostFence.Verdict { fence.arrive(session, kind, from: origin, silent: probed) }

    func answered(against origin: StreamOrigin) -> HostFence.Verdict {
        fence.answered(against: origin)
    }

    func leave(_ session: UInt64) { fence.leave(session) }
}

@Suite struct HostFenceTests {
    @Test func bothStreamsOfOneProcessAreServed() {
        let fence = Fence()
        #expect(fence.arrive(1, .metrics, from: origin(7)) == .admit(ending: []))
        #expect(fence.arrive(2, .logs, from: origin(7)) == .admit(ending: []))
        #expect(fence.live == [1, 2])
    }

    /// A connection that the network forgot is taken over without a question.
    @Test func theSameProcessTakesItsOwnPlace() {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        _ = fence.arrive(2, .logs, from: origin(7))
        #expect(fence.arrive(3, .metrics, from: origin(7)) == .admit(ending: [1]))
        #expect(fence.live == [2, 3])
    }

    @Test(arguments: [
        (origin(8), true), (origin(8, boot: "b2"), true), (origin(8, machine: "x"), true),
        // Without numbers the machine since its boot decides.
        (origin(0), false), (origin(0, boot: "b2"), true), (origin(0, machine: "x"), true),
    ])
    func anotherProcessIsComparedWithTheLivingOne(_ other: StreamOrigin, _ isAsked: Bool) {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        let verdict = fence.arrive(2, .metrics, from: other)
        #expect(verdict == (isAsked ? .probe([1]) : .admit(ending: [1])))
    }

    @Test func whileTheHolderAnswersACopyIsRefusedAndSaidOnce() {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        for isNews in [true, false, false] {
            #expect(fence.arrive(2, .metrics, from: origin(8)) == .probe([1]))
            #expect(
                fence.answered(against: origin(8)) == .refuse(holder: origin(7), isNews: isNews))
        }
        #expect(fence.holder == origin(7) && fence.live == [1])
    }

    @Test func aRebootedMachineFollowsItsDeadSelf() {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        _ = fence.arrive(2, .logs, from: origin(7))
        let reborn = origin(8, boot: "b2")
        #expect(fence.arrive(3, .metrics, from: reborn) == .probe([1, 2]))
        #expect(fence.arrive(3, .metrics, from: reborn, silent: [1, 2]) == .admit(ending: [1, 2]))
        #expect(fence.arrive(4, .logs, from: reborn) == .admit(ending: []))
        #expect(fence.live == [3, 4])
    }

    @Test func anEndedStreamIsFollowedWithoutAQuestion() {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        fence.leave(1)
        #expect(fence.arrive(2, .metrics, from: origin(8)) == .admit(ending: []))
    }

    /// Original and copy lose their connections in turn: after one change of hands nothing changes any more.
    @Test func twoAgentsDoNotTakeTurns() {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        fence.leave(1)
        _ = fence.arrive(2, .metrics, from: origin(8))
        fence.leave(2)
        #expect(
            fence.arrive(3, .metrics, from: origin(7)) == .refuse(holder: origin(8), isNews: true))
        #expect(fence.arrive(4, .metrics, from: origin(8)) == .admit(ending: []))
        #expect(
            fence.arrive(5, .logs, from: origin(7)) == .refuse(holder: origin(8), isNews: false))
        // A restart makes another process of it, which is asked about like any newcomer.
        #expect(fence.arrive(6, .logs, from: origin(9)) == .probe([4]))
    }

    /// While a rival waits for the answer of dead sessions, others may have come.
    @Test func silenceOfTheDeadSaysNothingAboutTheLiving() {
        let fence = Fence()
        _ = fence.arrive(1, .metrics, from: origin(7))
        #expect(fence.arrive(2, .metrics, from: origin(8)) == .probe([1]))
        _ = fence.arrive(3, .metrics, from: origin(7))
        #expect(fence.arrive(2, .metrics, from: origin(8), silent: [1]) == .probe([3]))
    }

    @Test func aRefusalIsNewsOnce() {
        var fence = HostFence()
        let news = ["a", "b", "a", "b"].map { fence.isNews(refusal: $0) }
        #expect(news == [true, true, false, false])
        // The oldest is forgotten, the next is not.
        for number in 1..<HostFence.rememberedMax {
            let isNews = fence.isNews(refusal: "\(number)")
            #expect(isNews)
        }
        let after = ["b", "a"].map { fence.isNews(refusal: $0) }
        #expect(after == [false, true])
    }

    @Test func memoryIsBounded() {
        let fence = Fence()
        for number in 1...UInt64(HostFence.rememberedMax + 2) {
            _ = fence.arrive(number, .metrics, from: origin(number))
            fence.leave(number)
        }
        // The oldest is forgotten, the next is not.
        #expect(fence.arrive(100, .metrics, from: origin(1)) == .admit(ending: []))
        fence.leave(100)
        guard case .refuse = fence.arrive(101, .metrics, from: origin(4)) else {
            Issue.record("forgotten too soon")
            return
        }
    }
}
