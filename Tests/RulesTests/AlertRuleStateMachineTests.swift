import GoTemplate
import Model
import Rules
import Storage
import Testing

@Suite("Alerting rules over time")
struct AlertRuleStateMachineTests {
    private static func group(_ rule: String, limit: Int = 0) throws -> RuleGroup {
        try RuleFile.parse(
            "groups:\n- name: g\n  limit: \(limit)\n  rules:\n  - \(rule)", file: "f",
            validateExpression: { _ in nil })[0]
    }

    private static func machine(
        _ rule: String, limit: Int = 0, records: [AlertRecord] = []
    ) throws -> AlertRuleStateMachine {
        try #require(
            AlertRuleStateMachine(group: group(rule, limit: limit), index: 0, records: records))
    }

    private static func environment(_ seconds: Int64) -> TemplateEnvironment {
        TemplateEnvironment(now: TimestampMS(seconds * 1000))
    }

    private static func evaluate(
        _ machine: inout AlertRuleStateMachine, at seconds: Int64, _ hosts: [String]
    ) throws -> AlertEvaluation {
        try machine.evaluate(
            result: hosts.map {
                EvaluatedElement(labels: ["__name__": "up", "host": $0], value: 0)
            },
            now: TimestampMS(seconds * 1000), environment: environment(seconds))
    }

    /// Runs a timeline for the host `a` and prints its transitions as `<second>:<from>><to>`.
    private static func timeline(_ rule: String, present: [(Int64, Bool)]) throws -> String {
        var machine = try machine(rule)
        var text: [String] = []
        for (second, isPresent) in present {
            let evaluation = try evaluate(&machine, at: second, isPresent ? ["a"] : [])
            text += evaluation.transitions.map { "\(second):\($0.from)>\($0.to)" }
        }
        return text.joined(separator: " ")
    }

    @Test(
        "transitions",
        arguments: [
            // Fires at once without `for`; resolves at the first absence.
            (
                "{alert: A, expr: x}", [(0, true), (15, true), (30, false)],
                "0:inactive>firing 30:firing>inactive"
            ),
            // Fires when now - activeAt reaches `for`, not before.
            (
                "{alert: A, expr: x, for: 30s}", [(0, true), (29, true), (30, true), (45, false)],
                "0:inactive>pending 30:pending>firing 45:firing>inactive"
            ),
            // A pending alert goes at once, and its time starts anew.
            (
                "{alert: A, expr: x, for: 30s}",
                [(0, true), (15, false), (20, true), (45, true), (50, true)],
                "0:inactive>pending 15:pending>inactive 20:inactive>pending 50:pending>firing"
            ),
            // keep_firing_for counts from the first absence.
            (
                "{alert: A, expr: x, keep_firing_for: 1m}",
                [(0, true), (10, false), (60, false), (69, false), (70, false)],
                "0:inactive>firing 70:firing>inactive"
            ),
            // A return resets it.
            (
                "{alert: A, expr: x, keep_firing_for: 1m}",
                [(0, true), (10, false), (60, true), (70, false), (129, false), (130, false)],
                "0:inactive>firing 130:firing>inactive"
            ),
            // keep_firing_for does nothing for a pending alert.
            (
                "{alert: A, expr: x, for: 30s, keep_firing_for: 1m}", [(0, true), (10, false)],
                "0:inactive>pending 10:pending>inactive"
            ),
            // A resolved alert that comes back is a new one.
            (
                "{alert: A, expr: x, for: 30s}",
                [(0, true), (30, true), (40, false), (50, true), (80, true)],
                "0:inactive>pending 30:pending>firing 40:firing>inactive 50:inactive>pending "
                    + "80:pending>firing"
            ),
        ] as [(String, [(Int64, Bool)], String)])
    func transitions(rule: String, present: [(Int64, Bool)], expected: String) throws {
        #expect(try Self.timeline(rule, present: present) == expected)
    }

    @Test("labels and annotations are expanded, the alert's name is set, the metric's goes")
    func labels() throws {
        var machine = try Self.machine(
            "{alert: Down, expr: x, labels: {sev: '{{ $labels.host }}-page', host: other}, "
                + "annotations: {s: '{{ $labels.host }}={{ $value }}'}}")
        _ = try Self.evaluate(&machine, at: 0, ["a"])
        let record = try #require(machine.records.first)
        #expect(record.labels == ["alertname": "Down", "host": "other", "sev": "a-page"])
        #expect(record.annotations == ["s": "a=0"])
        #expect(record.rule == "f;g;Down;0")
        #expect(record.alert().startsAt == TimestampMS(0))
        #expect(record.alert().isFiring)
    }

    @Test("ALERTS and ALERTS_FOR_STATE, with markers when they end")
    func samples() throws {
        var machine = try Self.machine("{alert: A, expr: x, for: 30s}")
        let pending = try Self.evaluate(&machine, at: 10, ["a"])
        let forState: Labels = ["__name__": "ALERTS_FOR_STATE", "alertname": "A", "host": "a"]
        let alerts = { (state: String) -> Labels in
            ["__name__": "ALERTS", "alertname": "A", "alertstate": state, "host": "a"]
        }
        #expect(
            pending.samples == [
                RuleSample(labels: alerts("pending"), value: 1),
                RuleSample(labels: forState, value: 10),
            ])
        let firing = try Self.evaluate(&machine, at: 40, ["a"])
        #expect(
            firing.samples.map(\.labels) == [alerts("firing"), forState, alerts("pending")])
        #expect(StalenessMarker.isMarker(firing.samples[2].value))
        let resolved = try Self.evaluate(&machine, at: 50, [])
        #expect(resolved.samples.map(\.labels) == [alerts("firing"), forState])
        #expect(resolved.samples.allSatisfy { StalenessMarker.isMarker($0.value) })
        #expect(try Self.evaluate(&machine, at: 60, []).samples.isEmpty)
    }

    @Test("only changes of state are to be committed; a resolved alert stays 15 minutes")
    func records() throws {
        var machine = try Self.machine("{alert: A, expr: x, for: 30s}")
        #expect(try Self.evaluate(&machine, at: 0, ["a"]).records.map(\.state) == [.pending])
        #expect(try Self.evaluate(&machine, at: 15, ["a"]).records.isEmpty)
        let fired = try Self.evaluate(&machine, at: 30, ["a"]).records
        #expect(fired.map(\.firedAt) == [TimestampMS(30_000)])
        let resolved = try Self.evaluate(&machine, at: 45, []).records
        #expect(resolved.map(\.resolvedAt) == [TimestampMS(45_000)])
        #expect(resolved.first?.alert().endsAt == TimestampMS(45_000))
        #expect(try Self.evaluate(&machine, at: 45 + 900, []).records.isEmpty)
        #expect(machine.records.count == 1)
        let removed = try Self.evaluate(&machine, at: 45 + 901, []).records
        #expect(removed.map(\.state) == [.inactive])
        #expect(removed.map(\.resolvedAt) == [nil])
        #expect(machine.records.isEmpty)
    }

    @Test("a restart goes on from storage exactly")
    func restore() throws {
        let rule = "{alert: A, expr: x, for: 30s, keep_firing_for: 20s}"
        var first = try Self.machine(rule)
        _ = try Self.evaluate(&first, at: 0, ["a", "b"])
        var second = try Self.machine(rule, records: first.records)
        let fired = try Self.evaluate(&second, at: 30, ["a", "b"])
        #expect(fired.transitions.map(\.to) == [.firing, .firing])
        // The markers of the series that the first one wrote are not lost.
        #expect(fired.samples.filter { StalenessMarker.isMarker($0.value) }.count == 2)
        _ = try Self.evaluate(&second, at: 40, [])
        var third = try Self.machine(rule, records: second.records)
        #expect(try Self.evaluate(&third, at: 59, []).transitions.isEmpty)
        #expect(
            try Self.evaluate(&third, at: 60, []).transitions.map(\.to) == [.inactive, .inactive])
        // Records of other rules are not taken.
        #expect(try Self.machine("{alert: B, expr: x}", records: second.records).records.isEmpty)
    }

    @Test("raising `for` puts a firing alert back to pending")
    func raisedHold() throws {
        var first = try Self.machine("{alert: A, expr: x, for: 10s}")
        _ = try Self.evaluate(&first, at: 0, ["a"])
        _ = try Self.evaluate(&first, at: 10, ["a"])
        var second = try Self.machine("{alert: A, expr: x, for: 1m}", records: first.records)
        let evaluation = try Self.evaluate(&second, at: 20, ["a"])
        #expect(evaluation.transitions.map(\.to) == [.pending])
        #expect(try Self.evaluate(&second, at: 60, ["a"]).transitions.map(\.to) == [.firing])
    }

    @Test("the same labels twice are an error that changes nothing")
    func duplicates() throws {
        var machine = try Self.machine("{alert: A, expr: x, labels: {host: same}}")
        #expect(throws: RulesError.duplicateLabelSet(["alertname": "A", "host": "same"])) {
            try Self.evaluate(&machine, at: 0, ["a", "b"])
        }
        #expect(machine.records.isEmpty)
    }

    @Test("past the limit all alerts of the rule go")
    func limit() throws {
        var machine = try Self.machine("{alert: A, expr: x}", limit: 2)
        #expect(try Self.evaluate(&machine, at: 0, ["a", "b"]).error == nil)
        let over = try Self.evaluate(&machine, at: 15, ["a", "b", "c"])
        #expect(over.error == .limitExceeded(limit: 2, count: 3))
        #expect(over.records.map(\.state) == [.inactive, .inactive])
        #expect(over.records.allSatisfy { $0.resolvedAt == nil })
        #expect(machine.records.isEmpty)
    }

    @Test("a template's query is asked for before anything changes")
    func query() throws {
        var machine = try Self.machine(
            "{alert: A, expr: x, annotations: {s: '{{ query \"up\" | first | value }}'}}")
        #expect(throws: RulesError.needsQuery("up")) { try Self.evaluate(&machine, at: 0, ["a"]) }
        #expect(machine.records.isEmpty)
        var environment = Self.environment(0)
        environment.query = TemplateEnvironment.answers([
            "up": [TemplateSample(labels: .empty, value: 7)]
        ])
        _ = try machine.evaluate(
            result: [EvaluatedElement(labels: .empty, value: 1)], now: TimestampMS(0),
            environment: environment)
        #expect(machine.records.first?.annotations == ["s": "7"])
    }

    @Test("when receivers were told is kept")
    func notified() throws {
        var machine = try Self.machine("{alert: A, expr: x}")
        _ = try Self.evaluate(&machine, at: 0, ["a", "b"])
        machine.noteNotified([["alertname": "A", "host": "a"]], at: TimestampMS(5))
        #expect(machine.records.map(\.lastNotifiedAt) == [TimestampMS(5), nil])
    }

    @Test("recording rules rename, label and mark what ended")
    func recording() throws {
        let group = try Self.group("{record: r, expr: x, labels: {l: v}}", limit: 2)
        var machine = try #require(RecordingRuleStateMachine(group: group, index: 0))
        #expect(AlertRuleStateMachine(group: group, index: 0) == nil)
        let samples = try machine.evaluate(result: [
            EvaluatedElement(labels: ["__name__": "x", "h": "a"], value: 1),
            EvaluatedElement(labels: ["h": "b", "l": "old"], value: 2),
        ])
        #expect(
            samples.map(\.labels) == [
                ["__name__": "r", "h": "a", "l": "v"], ["__name__": "r", "h": "b", "l": "v"],
            ])
        let fewer = try machine.evaluate(result: [
            EvaluatedElement(labels: ["h": "a"], value: 3)
        ])
        #expect(fewer.map(\.labels["h"]) == ["a", "b"])
        #expect(StalenessMarker.isMarker(fewer[1].value))
        #expect(throws: RulesError.duplicateLabelSet(["__name__": "r", "l": "v"])) {
            try machine.evaluate(result: [
                EvaluatedElement(labels: .empty, value: 1),
                EvaluatedElement(labels: ["l": "x"], value: 2),
            ])
        }
        #expect(throws: RulesError.limitExceeded(limit: 2, count: 3)) {
            try machine.evaluate(
                result: (0..<3).map { EvaluatedElement(labels: ["i": "\($0)"], value: 1) })
        }
    }
}
