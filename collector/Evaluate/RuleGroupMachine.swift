package import Model
package import Rules
package import Storage

/// How a rule's last evaluation went.
package struct RuleHealth: Hashable, Sendable {
    package var lastError = ""
    package var seconds = 0.0
    /// Nil before the first evaluation.
    package var lastEvaluation: TimestampMS?

    package init() {}
}

/// The rules of one group between evaluations. A value: a copy taken before an evaluation undoes it.
///
/// Which alerts are due: those that fire and were never told or not for `repeatMilliseconds`, and those that were
/// resolved just now and had been told. Pure.
package struct RuleGroupMachine: Sendable {
    package enum RuleMachine: Sendable {
        case alerting(AlertRuleStateMachine)
        case recording(RecordingRuleStateMachine)
    }

    package let group: RuleGroup
    package var machines: [RuleMachine]
    package var health: [RuleHealth]

    /// `records` are those of storage; each rule takes its own.
    package init(group: RuleGroup, records: [AlertRecord]) {
        self.group = group
        machines = group.rules.indices.map { index in
            if let machine = AlertRuleStateMachine(group: group, index: index, records: records) {
                return .alerting(machine)
            }
            guard let machine = RecordingRuleStateMachine(group: group, index: index) else {
                preconditionFailure("a rule is either alerting or recording")
            }
            return .recording(machine)
        }
        health = Array(repeating: RuleHealth(), count: group.rules.count)
    }

    /// The alerts of the rule at `index`; none of a recording rule.
    package func records(ofRuleAt index: Int) -> [AlertRecord] {
        if case .alerting(let machine) = machines[index] { machine.records } else { [] }
    }

    /// Alerts that receivers have to be told of at `now`, given the transitions of this evaluation.
    package func due(
        _ transitions: [AlertTransition], now: TimestampMS, repeatMilliseconds: Int64
    ) -> [AlertRecord] {
        let resolved = Set(
            transitions.filter { $0.from == .firing && $0.to == .inactive }
                .map { AlertKey(rule: $0.rule, labels: $0.labels) })
        return machines.indices.flatMap { records(ofRuleAt: $0) }.filter { record in
            switch record.state {
            case .firing:
                guard let last = record.lastNotifiedAt else { return true }
                return now.rawValue - last.rawValue >= repeatMilliseconds
            case .inactive:
                return record.lastNotifiedAt != nil
                    && resolved.contains(AlertKey(rule: record.rule, labels: record.labels))
            case .pending: return false
            }
        }
    }

    /// Receivers are told of `alerts` at `now`; returns the records to commit.
    package mutating func noteNotified(_ alerts: Set<Labels>, now: TimestampMS) -> [AlertRecord] {
        var changed: [AlertRecord] = []
        for index in machines.indices {
            guard case .alerting(var machine) = machines[index] else { continue }
            let told = machine.records.filter {
                alerts.contains($0.labels) && $0.state == .firing
            }
            guard !told.isEmpty else { continue }
            machine.noteNotified(told.map(\.labels), at: now)
            machines[index] = .alerting(machine)
            let keys = Set(told.map(\.labels))
            changed += machine.records.filter { keys.contains($0.labels) }
        }
        return changed
    }
}

/// Which alert of which rule: the key of a record.
struct AlertKey: Hashable {
    var rule: String
    var labels: Labels
}
