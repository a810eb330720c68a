import CollectorEvaluate
import Logging
import Model
import Rules
import Storage
import Synchronization
import Testing

@Suite("Evaluate service")
struct EvaluateServiceTests {
    private let fake = FakeCollector()
    private static let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    private static let orphan = AlertRecord(
        rule: "old.yaml;g;Gone;0", labels: ["alertname": "Gone"], state: .firing, value: 1,
        activeAt: TimestampMS(-60_000), firedAt: TimestampMS(-30_000),
        lastNotifiedAt: TimestampMS(-30_000))
    private static let current = AlertRecord(
        rule: "r.yaml;g;Busy;0", labels: ["alertname": "Busy"], state: .firing, value: 1,
        activeAt: TimestampMS(-60_000), firedAt: TimestampMS(-30_000),
        lastNotifiedAt: TimestampMS(-30_000))

    /// Runs a service over `stored` until its first wait for a tick.
    private func start(
        _ stored: [AlertRecord],
        atSleep: (@Sendable (Int, inout FakeCollector.State) throws -> Void)? = nil
    ) async throws -> EvaluateService {
        fake.state.withLock {
            $0.stored = stored
            $0.atSleep = atSleep
        }
        let groups = try RuleFile.parse(
            "groups: [{name: g, rules: [{alert: Busy, expr: load}]}]", file: "r.yaml",
            validateExpression: { _ in nil })
        let service = EvaluateService(
            groups: groups, dependencies: fake.dependencies(), logger: Self.quiet)
        try await service.run()
        return service
    }

    @Test("alerts of removed rules end at the start, in one commit with their message")
    func orphans() async throws {
        let service = try await start([Self.orphan, Self.current])
        let state = fake.state.withLock { $0.stored }
        #expect(state == [Self.current])
        let messages = fake.state.withLock { $0.messages }
        #expect(messages.map { $0.alerts.map(\.name) } == [["Gone"]])
        #expect(messages.first?.alerts.first?.endsAt == TimestampMS(0))
        #expect(fake.state.withLock { $0.transitions.map(\.to) } == [.inactive])
        #expect(service.snapshot.first?.records(ofRuleAt: 0) == [Self.current])
    }

    @Test("nothing to settle commits nothing")
    func nothing() async throws {
        _ = try await start([Self.current])
        #expect(fake.state.withLock { $0.committed.isEmpty && $0.messages.isEmpty })
    }

    @Test("a database that is away is waited for; the message is made once")
    func retried() async throws {
        fake.state.withLock {
            $0.failedLoads = 2
            $0.refusesCommits = true
        }
        let service = try await start([Self.orphan, Self.current]) { sleep, state in
            if sleep == 3 { state.refusesCommits = false }
            if sleep > 3 { throw CancellationError() }
        }
        #expect(fake.state.withLock { $0.messages.count } == 1)
        #expect(fake.state.withLock { $0.transitions.count } == 1)
        #expect(service.snapshot.first?.records(ofRuleAt: 0) == [Self.current])
    }

    @Test("the service's figures name the group and its failing rules")
    func metrics() async throws {
        let service = try await start([])
        let families = service.metrics()
        let failing = families.first { $0.name == "petrel_rules_failing" }
        #expect(
            failing?.points.map(\.labels) == [["rule_group": "r.yaml;g"]])
        #expect(families.count == 3)
    }
}
