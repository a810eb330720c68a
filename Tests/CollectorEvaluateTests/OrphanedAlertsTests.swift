import CollectorEvaluate
import Model
import Rules
import Storage
import Testing

@Suite("Alerts whose rule is gone")
struct OrphanedAlertsTests {
    private static let now = TimestampMS(90_000)

    private func groups(_ rules: String...) throws -> [RuleGroup] {
        let list = rules.enumerated().map { "{alert: \($1), expr: load > \($0)}" }
            .joined(separator: ", ")
        return try RuleFile.parse(
            "groups: [{name: g, rules: [\(list)]}]", file: "r.yaml",
            validateExpression: { _ in nil })
    }

    private func record(
        _ rule: String, _ state: AlertState, host: String = "h1", notified: Int64? = 60_000,
        resolved: Int64? = nil
    ) -> AlertRecord {
        AlertRecord(
            rule: rule, labels: ["alertname": "A", "host": host], annotations: ["summary": "s"],
            state: state, value: 2, activeAt: TimestampMS(1_000),
            firedAt: state == .pending ? nil : TimestampMS(31_000),
            resolvedAt: resolved.map { TimestampMS($0) },
            lastNotifiedAt: notified.map { TimestampMS($0) })
    }

    private func removed(_ record: AlertRecord) -> AlertRecord {
        var record = record
        record.state = .inactive
        record.resolvedAt = nil
        return record
    }

    @Test("rules that are still there keep their alerts untouched")
    func kept() throws {
        let stored = [
            record("r.yaml;g;A;0", .firing), record("r.yaml;g;A;0", .pending, host: "h2"),
        ]
        let settled = OrphanedAlerts(stored, groups: try groups("A", "B"), now: Self.now)
        #expect(settled.kept == stored)
        #expect(settled.records.isEmpty && settled.transitions.isEmpty && settled.resolved.isEmpty)
    }

    @Test("a firing alert that receivers know of ends, and they are told")
    func firing() throws {
        let stored = record("r.yaml;g;A;0", .firing)
        let settled = OrphanedAlerts(
            [stored], groups: try groups("B"), now: Self.now, generatorURL: "http://c")
        #expect(settled.kept.isEmpty)
        #expect(settled.records == [removed(stored)])
        #expect(
            settled.transitions == [
                AlertTransition(
                    rule: stored.rule, labels: stored.labels, from: .firing, to: .inactive,
                    value: 2, at: Self.now)
            ])
        #expect(
            settled.resolved == [
                Alert(
                    labels: stored.labels, annotations: stored.annotations,
                    startsAt: TimestampMS(31_000), endsAt: Self.now, generatorURL: "http://c")
            ])
    }

    @Test("a firing alert that nobody heard of ends silently")
    func untold() throws {
        let settled = OrphanedAlerts(
            [record("r.yaml;g;A;0", .firing, notified: nil)], groups: [], now: Self.now)
        #expect(settled.transitions.count == 1 && settled.records.count == 1)
        #expect(settled.resolved.isEmpty)
    }

    @Test("pending and resolved ones only go")
    func silent() throws {
        let stored = [
            record("r.yaml;g;A;0", .pending, notified: nil),
            record("r.yaml;g;A;0", .inactive, host: "h2", resolved: 80_000),
        ]
        let settled = OrphanedAlerts(stored, groups: [], now: Self.now)
        #expect(settled.records == stored.map(removed))
        #expect(settled.transitions.isEmpty && settled.resolved.isEmpty)
    }

    @Test("a rule that moved within its group takes its alerts along")
    func moved() throws {
        let stored = [
            record("r.yaml;g;A;0", .firing), record("r.yaml;g;A;0", .pending, host: "h2"),
        ]
        let settled = OrphanedAlerts(stored, groups: try groups("B", "A"), now: Self.now)
        #expect(settled.kept.map(\.rule) == ["r.yaml;g;A;1", "r.yaml;g;A;1"])
        #expect(settled.kept.map(\.state) == [.firing, .pending])
        #expect(settled.kept.map(\.lastNotifiedAt) == stored.map(\.lastNotifiedAt))
        #expect(Set(settled.records) == Set(stored.map(removed) + settled.kept))
        #expect(settled.transitions.isEmpty && settled.resolved.isEmpty)
    }

    @Test("where names repeat an index says nothing: what is gone is resolved")
    func ambiguous() throws {
        let stored = [record("r.yaml;g;A;0", .firing), record("r.yaml;g;A;1", .firing)]
        let settled = OrphanedAlerts(stored, groups: try groups("B", "A"), now: Self.now)
        #expect(settled.kept == [stored[1]])
        #expect(settled.resolved.count == 1 && settled.transitions.map(\.rule) == [stored[0].rule])
        let doubled = OrphanedAlerts(
            [stored[0]], groups: try groups("B", "A", "A"), now: Self.now)
        #expect(doubled.kept.isEmpty && doubled.resolved.count == 1)
        let merged = OrphanedAlerts(stored, groups: try groups("B", "C", "A"), now: Self.now)
        #expect(merged.kept.isEmpty && merged.resolved.count == 2)
    }

    @Test("the same name in another group or file is another rule")
    func elsewhere() throws {
        for rule in ["r.yaml;other;A;1", "x.yaml;g;A;1"] {
            let settled = OrphanedAlerts(
                [record(rule, .firing)], groups: try groups("A"), now: Self.now)
            #expect(settled.kept.isEmpty && settled.resolved.count == 1)
        }
    }
}
