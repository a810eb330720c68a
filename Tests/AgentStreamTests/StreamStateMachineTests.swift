import AgentStream
import Testing

/// A machine that is welcomed with the spool holding 1...last.
private func makeStreaming(
    after lastSequence: UInt64 = 0, last: UInt64 = 100, window: UInt32 = 8
) -> StreamStateMachine {
    var machine = StreamStateMachine(storageGeneration: "", now: 0)
    _ = machine.welcome(
        lastSequence: lastSequence, generation: "g1", window: window, first: lastSequence + 1,
        last: last)
    _ = machine.sendHeartbeat(now: 0)
    return machine
}

/// Sends `count` batches of `bytes` each.
private func send(_ count: Int, bytes: Int = 10, _ machine: inout StreamStateMachine) {
    for _ in 0..<count {
        let isSent = machine.send(machine.next, bytes: bytes)
        #expect(isSent)
    }
}

private func expectAck(
    _ sequence: UInt64, _ actions: [StreamStateMachine.Action],
    _ machine: inout StreamStateMachine
) {
    let got = machine.ack(sequence)
    #expect(got == actions)
}

@Suite struct StreamStateMachineTests {
    @Test func resumesAfterTheWelcome() {
        var machine = StreamStateMachine(storageGeneration: "g1", now: 0)
        #expect(machine.send(now: 1, last: 9) == .wait(until: 15_000_000_000))
        let actions = machine.welcome(
            lastSequence: 4, generation: "g1", window: 8, first: 3, last: 9)
        #expect(actions == [.acknowledge(through: 4)])
        #expect(machine.send(now: 1, last: 9) == .heartbeat)
        _ = machine.sendHeartbeat(now: 1)
        #expect(
            machine.send(now: 2, last: 9)
                == .batches(from: 5, countMax: 8, bytesMax: StreamStateMachine.windowBytesMax))
        #expect(machine.send(now: 2, last: 4) == .wait(until: 10_000_000_001))
    }

    @Test func aProbeIsAnsweredAtOnceAndOnce() {
        var machine = makeStreaming()
        #expect(machine.send(now: 1, last: 0) == .wait(until: 10_000_000_000))
        machine.probed(77)
        #expect(machine.send(now: 1, last: 100) == .heartbeat)
        let first = machine.sendHeartbeat(now: 1)
        let second = machine.sendHeartbeat(now: 2)
        #expect(first == 77 && second == 0)
        // A rival may come before the welcome does.
        var greeting = StreamStateMachine(storageGeneration: "", now: 0)
        greeting.probed(78)
        #expect(greeting.send(now: 1, last: 0) == .heartbeat)
        let answered = greeting.sendHeartbeat(now: 1)
        #expect(answered == 78)
        #expect(greeting.send(now: 1, last: 0) == .wait(until: 15_000_000_000))
    }

    /// What repeating won't mend ends the connection for a while, with one line that says what to do.
    @Test(arguments: [ReceivedRefusal.Reason.protocol, .clone, .hello, .identity, .fenced])
    func whatRepeatingWontMendWaits(_ reason: ReceivedRefusal.Reason) {
        var machine = StreamStateMachine(storageGeneration: "", now: 0)
        let actions = machine.refusal(
            ReceivedRefusal(reason: reason, detail: "upgrade petrel-agent"), first: 1, now: 0)
        guard actions.count == 1, case .warn(let text) = actions[0] else {
            Issue.record("not one line: \(actions)")
            return
        }
        #expect(text.contains("upgrade petrel-agent"))
        #expect(machine.state == .ended(.later))
    }

    @Test func anUnansweredHelloEnds() {
        var machine = StreamStateMachine(storageGeneration: "", now: 0)
        #expect(machine.send(now: 15_000_000_000, last: 0) == .stop)
        machine.broke()
        #expect(machine.state == .ended(.again))
    }

    @Test(arguments: [(8, 10), (3, 10), (8, 3 << 20)]) func windowBounds(
        _ window: Int, _ bytes: Int
    ) {
        var machine = makeStreaming(window: UInt32(window))
        var sent = 0
        while case .batches(_, let room, _) = machine.send(now: 1, last: 100) {
            #expect(room >= 1)
            send(1, bytes: bytes, &machine)
            sent += 1
        }
        #expect(sent == (bytes > 1 << 20 ? 2 : window))
        expectAck(UInt64(sent), [.acknowledge(through: UInt64(sent))], &machine)
        #expect(machine.inFlight == 0)
    }

    @Test func staleAndForeignAcksDoNothing() {
        var machine = makeStreaming()
        send(3, &machine)
        expectAck(2, [.acknowledge(through: 2)], &machine)
        expectAck(1, [], &machine)
        expectAck(2, [], &machine)
        expectAck(4, [], &machine)
        #expect(machine.acknowledged == 2)
    }

    @Test func aPoisonBatchIsRejectedAndSentAgainAsTheSpoolHasItThen() {
        var machine = makeStreaming()
        send(5, &machine)
        let refusal = ReceivedRefusal(reason: .invalid, sequence: 3, detail: "bad")
        let actions = machine.refusal(refusal, first: 1, now: 1)
        #expect(actions == [.reject(sequence: 3, detail: "bad")])
        #expect(machine.next == 3)
        // The spool still has the poison: reading it now would send it again.
        #expect(machine.send(now: 1, last: 9) == .wait(until: 10_000_000_000))
        machine.settled()
        #expect(
            machine.send(now: 1, last: 9)
                == .batches(
                    from: 3, countMax: 6, bytesMax: StreamStateMachine.windowBytesMax - 20))
        #expect(machine.dictionary == nil)
        // What was read before the answer is not sent any more.
        let isSent = machine.send(6, bytes: 10)
        #expect(!isSent)
        send(1, &machine)
        _ = machine.refusal(refusal, first: 1, now: 1)
        send(1, &machine)
        _ = machine.refusal(refusal, first: 1, now: 1)
        #expect(machine.state == .ended(.later))
    }

    @Test func unavailableWaitsAsTold() {
        var machine = makeStreaming()
        send(4, &machine)
        _ = machine.ack(1)
        let refusal = ReceivedRefusal(reason: .unavailable, sequence: 2, retryAfterMS: 2000)
        _ = machine.refusal(refusal, first: 2, now: 5)
        #expect(machine.send(now: 6, last: 9) == .wait(until: 2_000_000_005))
        #expect(
            machine.send(now: 2_000_000_005, last: 9)
                == .batches(from: 2, countMax: 8, bytesMax: StreamStateMachine.windowBytesMax))
    }

    @Test func unavailableBeforeTheWelcomeReconnects() {
        var machine = StreamStateMachine(storageGeneration: "", now: 0)
        _ = machine.refusal(
            ReceivedRefusal(reason: .unavailable, retryAfterMS: 999_999), first: 1, now: 0)
        #expect(machine.state == .ended(.after(milliseconds: 60_000)))
    }

    @Test func outOfOrderGoesBack() {
        var machine = makeStreaming()
        send(5, &machine)
        let refusal = ReceivedRefusal(reason: .outOfOrder, sequence: 5, expectedSequence: 2)
        _ = machine.refusal(refusal, first: 1, now: 0)
        #expect(machine.next == 2)
        #expect(machine.inFlight == 1)
    }

    @Test func aRestoredStorageBehindTheSpoolBeginsAnEpoch() {
        var machine = StreamStateMachine(storageGeneration: "g1", now: 0)
        let actions = machine.welcome(
            lastSequence: 4, generation: "g2", window: 8, first: 9, last: 20)
        #expect(actions.last == .beginEpoch(lastCommitted: 4))
        #expect(actions.count == 2)
        #expect(machine.state == .ended(.again))
    }

    @Test func aRestoredStorageWithinTheSpoolGoesOn() {
        var machine = StreamStateMachine(storageGeneration: "g1", now: 0)
        let actions = machine.welcome(
            lastSequence: 8, generation: "g2", window: 8, first: 9, last: 20)
        #expect(actions.last == .acknowledge(through: 8))
        #expect(machine.next == 9)
        #expect(machine.storageGeneration == "g2")
    }

    @Test func aSpoolBehindTheCursorBeginsAnEpoch() {
        var machine = StreamStateMachine(storageGeneration: "", now: 0)
        let actions = machine.welcome(
            lastSequence: 30, generation: "g", window: 8, first: 9, last: 20)
        #expect(actions == [.beginEpoch(lastCommitted: 30)])
    }

    @Test(arguments: [ReceivedRefusal.Reason.fenced, .hello, .identity, .unknown])
    func whatRepeatingWontMendWaitsLong(_ reason: ReceivedRefusal.Reason) {
        var machine = makeStreaming()
        let actions = machine.refusal(ReceivedRefusal(reason: reason), first: 1, now: 0)
        #expect(machine.state == .ended(.later))
        #expect(actions.count == 1)
        #expect(machine.send(now: 0, last: 9) == .stop)
    }

    @Test func backoffGrowsToItsCapAndStartsOver() {
        var backoff = Backoff(capNanoseconds: 10_000_000_000)
        var longest: [Int64] = []
        for _ in 0..<50 {
            var ceiling: Int64 = 0
            for step in 0..<200 {
                var probe = backoff
                ceiling = max(
                    ceiling, probe.failed(random: UInt64(step) &* 0x9E37_79B9_7F4A_7C15))
            }
            longest.append(ceiling)
            _ = backoff.failed(random: 0)
        }
        #expect(longest[0] <= 500_000_000)
        #expect(longest[1] > 500_000_000)
        #expect(longest.allSatisfy { $0 <= 10_000_000_000 })
        #expect(longest[49] > 9_000_000_000)
        backoff.succeeded()
        let wait = backoff.failed(random: .max)
        #expect(wait <= 500_000_000)
    }
}
