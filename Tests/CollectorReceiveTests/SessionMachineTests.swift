import CollectorReceive
import Model
import Storage
import Testing
import Wire

private func makeOpen(after last: UInt64 = 0) throws -> SessionMachine {
    var machine = SessionMachine()
    let verdict = machine.hello(
        HelloFacts(versions: FleetProtocol(newest: 1), kind: .logs, epoch: 7))
    #expect(verdict == .open(kind: .logs, epoch: 7, version: 1))
    let host = try #require(HostName("h1"))
    machine.opened(
        IngestSession(host: host, kind: .logs, epoch: 7, token: 1), lastSequence: last)
    return machine
}

private func take(_ sequences: ClosedRange<UInt64>, _ machine: inout SessionMachine) {
    for sequence in sequences {
        let verdict = machine.batch(sequence: sequence)
        #expect(verdict == .take)
    }
}

@Suite struct SessionMachineTests {
    @Test(arguments: [
        HelloFacts(versions: FleetProtocol(newest: 1), kind: nil, epoch: 1),
        HelloFacts(versions: FleetProtocol(newest: 1), kind: .logs, epoch: 0),
    ])
    func badHellosEnd(_ hello: HelloFacts) {
        var machine = SessionMachine()
        guard case .refuse(let notice) = machine.hello(hello) else {
            Issue.record("accepted")
            return
        }
        #expect(notice.kind == .hello)
        #expect(machine.isEnded)
    }

    /// Collector's version, the agent's newest and oldest, what they settle on or which side to upgrade.
    @Test(
        arguments: [
            (1, 1, 1, 1, ""), (1, 0, 0, 1, ""), (1, 2, 0, 1, ""), (1, 2, 1, 1, ""),
            (5, 4, 3, 4, ""), (5, 5, 4, 5, ""), (5, 6, 5, 5, ""), (5, 6, 0, 5, ""),
            (5, 4, 0, 4, ""), (5, 9, 2, 5, ""), (1, 2, 2, nil, "petrel-collector"),
            (1, 3, 0, nil, "petrel-collector"), (5, 3, 2, nil, "petrel-agent"),
            (5, 7, 6, nil, "petrel-collector"), (5, 0, 0, nil, "petrel-agent"),
        ] as [(UInt32, UInt32, UInt32, UInt32?, String)])
    func oneVersionApartWorks(
        _ collector: UInt32, _ newest: UInt32, _ oldest: UInt32, _ chosen: UInt32?,
        _ remedy: String
    ) {
        var machine = SessionMachine(versions: FleetProtocol(newest: collector))
        let verdict = machine.hello(
            HelloFacts(
                versions: FleetProtocol(newest: newest, oldest: oldest), kind: .logs, epoch: 1,
                agentVersion: "9.9"))
        switch verdict {
        case .open(_, _, let version): #expect(version == chosen)
        case .refuse(let notice):
            #expect(chosen == nil && notice.kind == .protocol)
            #expect(notice.detail.contains("upgrade \(remedy)"))
            #expect(notice.detail.contains("petrel-agent 9.9 speaks"))
            #expect(machine.isEnded)
        }
    }

    @Test func aBatchBeforeTheHelloEnds() {
        var machine = SessionMachine()
        guard case .refuse = machine.batch(sequence: 1) else {
            Issue.record("accepted")
            return
        }
        #expect(machine.isEnded)
    }

    @Test func aHoleIsRefusedOnceAndTheRestDropped() throws {
        var machine = try makeOpen(after: 4)
        take(5...6, &machine)
        guard case .refuse(let notice) = machine.batch(sequence: 8) else {
            Issue.record("accepted")
            return
        }
        #expect(notice.kind == .outOfOrder && notice.expectedSequence == 7)
        for sequence: UInt64 in [9, 10, 3] {
            let verdict = machine.batch(sequence: sequence)
            #expect(verdict == .drop)
        }
        take(7...9, &machine)
    }

    @Test func repeatsGoToTheStorageWhichKnowsThem() throws {
        var machine = try makeOpen()
        take(1...3, &machine)
        let verdict = machine.batch(sequence: 2)
        #expect(verdict == .take)
        let settlement = machine.settle(
            [1, 2, 3, 2],
            [.stored, .stored, .duplicate(sameDigest: false), .duplicate(sameDigest: true)])
        #expect(settlement.stored == [0, 1] && settlement.duplicates == [2, 3])
        #expect(settlement.integrityAlerts == 1)
    }

    @Test func refusedBatchesAreAwaited() throws {
        var machine = try makeOpen()
        take(1...4, &machine)
        machine.refused(2)
        let verdict = machine.batch(sequence: 5)
        #expect(verdict == .drop)
        take(2...5, &machine)
    }

    @Test func aFenceEndsAfterWhatWasStored() throws {
        var machine = try makeOpen()
        take(1...3, &machine)
        let settlement = machine.settle([1, 2, 3], [.stored, .fenced, .fenced])
        #expect(settlement.ackThrough == 1)
        #expect(settlement.refusal?.kind == .fenced)
        #expect(machine.isEnded)
    }

    @Test func theStoragesOrderIsFollowed() throws {
        var machine = try makeOpen()
        take(1...3, &machine)
        let settlement = machine.settle(
            [1, 2, 3], [.stored, .outOfOrder(expected: 1), .outOfOrder(expected: 1)])
        #expect(settlement.ackThrough == 1)
        #expect(settlement.refusal?.expectedSequence == 1)
        take(1...1, &machine)
    }

    @Test(arguments: [
        (1, [0]), (8, []), (8, [3]), (100, [0, 99]), (100, [17, 18, 60]), (1000, [511]),
    ])
    func poisonIsFound(_ count: Int, _ poison: [Int]) {
        var search = PoisonSearch(itemCount: count, trialsMax: 64)
        var trials = 0
        while let range = search.next {
            trials += 1
            search.report(isAccepted: !poison.contains { range.contains($0) })
        }
        #expect(search.poison == poison)
        #expect(trials <= 64)
    }

    @Test func theSearchIsBounded() {
        var search = PoisonSearch(itemCount: 10_000, trialsMax: 64)
        var trials = 0
        while search.next != nil {
            trials += 1
            search.report(isAccepted: false)
        }
        #expect(trials == 64)
        #expect(search.poison == Array(0..<10_000))
    }

    @Test func callsAreLimitedPerAddressAndInSum() {
        var limiter = RateLimiter(perKeyPerMinute: 2, perMinute: 5, keysMax: 4, now: 0)
        func admitted(_ key: String, _ now: Int64) -> Bool { limiter.admit(key, now: now) }
        #expect([1, 2, 3].map { _ in admitted("a", 0) } == [true, true, false])
        #expect([1, 2, 3].map { _ in admitted("b", 0) } == [true, true, false])
        #expect([1, 2].map { _ in admitted("c", 0) } == [true, false])
        // Half a minute later: one token each for a and b, two and a half in sum.
        #expect(
            ["a", "a", "b", "c"].map { admitted($0, 30_000_000_000) } == [true, false, true, false])
        // A flood of addresses neither passes nor resets anyone.
        var passed = 0
        for number in 0..<1000 where admitted("x\(number)", 30_000_000_000) { passed += 1 }
        #expect(passed == 0)
        #expect(!admitted("a", 30_000_000_000))
    }
}
