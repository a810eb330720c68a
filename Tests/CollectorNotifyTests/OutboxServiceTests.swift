import CollectorNotify
import Logging
import Model
import Routing
import Simulation
import Storage
import Synchronization
import Testing
import World

@Suite("Outbox service")
struct OutboxServiceTests {
    private let store = FakeOutbox()
    private let clock = VirtualClock(now: Sample.now.nanoseconds)
    private let sender: FakeSender

    init() { sender = FakeSender(clock: clock) }

    private func service(
        sender: FakeSender? = nil, configuration: OutboxConfiguration = OutboxConfiguration()
    ) throws -> OutboxService {
        let receiver = try Sample.receiver(
            "{name: team, webhook_configs: [{url: 'http://127.0.0.1:1/a'}, {url: 'http://127.0.0.1:1/b'}]}"
        )
        return OutboxService(
            store: store,
            directory: ReceiverDirectory([receiver]),
            sender: sender ?? self.sender, clock: clock, random: SeededRandom(seed: 7),
            configuration: configuration,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    private var sent: [OutboxMessage] { sender.state.withLock { $0.sent.map(\.message) } }
    private var attempts: [DeliveryAttempt] { store.state.withLock { $0.attempts } }
    private var verdicts: [DeliveryVerdict?] { store.state.withLock { $0.rows.map(\.verdict) } }

    private func advance(milliseconds: Int64) {
        clock.advance(nanoseconds: milliseconds * 1_000_000)
    }

    private func count(_ service: OutboxService, _ family: String) -> Double? {
        service.metrics().first { $0.name == family }?.points.first?.value
    }

    @Test("a delivered message is logged, marked and never sent again")
    func delivered() async throws {
        let service = try service()
        try await store.enqueue([Sample.message([Sample.alert()], integration: "webhook/1")])
        #expect(try await service.sendDue() == 1)
        #expect(verdicts == [.delivered])
        #expect(sender.state.withLock { $0.sent.map(\.integration) } == ["webhook/1"])
        #expect(
            attempts == [
                DeliveryAttempt(
                    messageID: Sample.id, at: Sample.now.advanced(byMilliseconds: 5), status: 200,
                    error: "", durationMilliseconds: 5)
            ])
        advance(milliseconds: 3_600_000)
        #expect(try await service.sendDue() == 0)
        #expect(count(service, "petrel_notifications_delivered_total") == 1)
    }

    @Test("a failed message waits and comes again as the same, with the same id")
    func retried() async throws {
        let service = try service()
        sender.state.withLock {
            $0.script = [.answered(500, detail: "boom"), .failed(detail: "connection refused")]
        }
        try await store.enqueue([Sample.message([Sample.alert()])])
        #expect(try await service.sendDue() == 1)
        #expect(try await service.sendDue() == 0)
        advance(milliseconds: 1_000)
        #expect(try await service.sendDue() == 1)
        advance(milliseconds: 2_000)
        #expect(try await service.sendDue() == 1)
        #expect(verdicts == [.delivered])
        #expect(sent.map(\.id) == [Sample.id, Sample.id, Sample.id])
        #expect(sent.map(\.attemptCount) == [0, 1, 2])
        #expect(attempts.map(\.status) == [500, nil, 200])
        #expect(attempts.map(\.error) == ["HTTP 500 boom", "connection refused", ""])
        #expect(count(service, "petrel_notification_attempts_failed_total") == 2)
    }

    @Test("the wait grows with the attempts that the message has behind it")
    func backOff() async throws {
        let service = try service()
        sender.state.withLock { $0.script = [.answered(500)] }
        try await store.enqueue([Sample.message([Sample.alert()], attemptCount: 9)])
        #expect(try await service.sendDue() == 1)
        let next = store.state.withLock { $0.rows[0].nextAttemptAt }
        #expect(next.rawValue - clock.now.milliseconds.rawValue >= 30_000)
    }

    @Test("a receiver's final word and a receiver that is gone give the message up")
    func abandoned() async throws {
        let service = try service()
        sender.state.withLock { $0.script = [.answered(404, detail: "no_service")] }
        try await store.enqueue([
            Sample.message([Sample.alert()]),
            Sample.message([Sample.alert()], id: "other", receiver: "left"),
        ])
        #expect(try await service.sendDue() == 2)
        #expect(verdicts == [.abandoned, .abandoned])
        // Nothing was sent to the receiver that is not there.
        #expect(sent.map(\.id) == [Sample.id])
        let errors = attempts.sorted { $0.messageID < $1.messageID }.map(\.error)
        #expect(
            errors == ["HTTP 404 no_service", "the receiver is not in alerting.yaml any more"])
        #expect(try await service.sendDue() == 0)
    }

    @Test("a message that could not be marked stays and is sent again with its id")
    func unmarked() async throws {
        let service = try service()
        store.state.withLock { $0.failedSettlements = 1 }
        try await store.enqueue([Sample.message([Sample.alert()])])
        #expect(try await service.sendDue() == 1)
        #expect(verdicts == [nil])
        // The lease holds others off, then the message is free again.
        #expect(try await service.sendDue() == 0)
        advance(milliseconds: 30_000)
        #expect(try await service.sendDue() == 1)
        #expect(verdicts == [.delivered])
        #expect(sent.map(\.id) == [Sample.id, Sample.id])
    }

    private func lane(_ count: Int, groupKey: String = "g") -> [OutboxMessage] {
        (0..<count).map {
            Sample.message(
                [Sample.alert(ended: $0 > 0)], id: "\(groupKey)\($0)", groupKey: groupKey)
        }
    }

    @Test("messages of one lane go in their order")
    func order() async throws {
        let service = try service()
        try await store.enqueue(lane(4))
        #expect(try await service.sendDue() == 4)
        #expect(sent.map(\.id) == ["g0", "g1", "g2", "g3"])
        #expect(verdicts.allSatisfy { $0 == .delivered })
    }

    @Test("a resolved does not overtake a firing that has to be tried again; other lanes go on")
    func lanes() async throws {
        let service = try service()
        try await store.enqueue(lane(2))
        sender.state.withLock { $0.script = [.answered(503)] }
        #expect(try await service.sendDue() == 2)
        #expect(sent.map(\.id) == ["g0"])
        try await store.enqueue(lane(1, groupKey: "other"))
        #expect(try await service.sendDue() == 1)
        #expect(sent.map(\.id) == ["g0", "other0"])
        advance(milliseconds: 30_000)
        #expect(try await service.sendDue() == 2)
        #expect(sent.map(\.id) == ["g0", "other0", "g0", "g1"])
        #expect(verdicts.allSatisfy { $0 == .delivered })
    }

    @Test("a lane stops before its lease ends")
    func lease() async throws {
        let slow = FakeSender(clock: clock, milliseconds: 10_000)
        let service = try service(sender: slow)
        try await store.enqueue(lane(5))
        #expect(try await service.sendDue() == 5)
        // At 0 and 10 s, not at 20 s of a lease of 30.
        #expect(slow.state.withLock { $0.sent.map(\.message.id) } == ["g0", "g1"])
    }

    @Test("no more than a claim's count at a time")
    func bounded() async throws {
        var configuration = OutboxConfiguration()
        configuration.claimCountMax = 3
        let service = try service(configuration: configuration)
        try await store.enqueue(lane(5))
        #expect(try await service.sendDue() == 3)
        #expect(try await service.sendDue() == 2)
    }

    @Test("a database that is away is the caller's to hear")
    func away() async throws {
        let service = try service()
        store.state.withLock { $0.isAway = true }
        await #expect(throws: StorageError.unavailable("down")) { try await service.sendDue() }
    }
}
