package import Model
package import Rules
package import Storage

/// What becomes of stored alerts when the rules changed while the collector was away. Pure.
///
/// An alert whose rule is in no group any more would fire for ever: nobody evaluates it. One that receivers were told
/// of is resolved and they are told; the others only go.
///
/// A rule that merely moved within its group (its identity ends in its index) is not removed: where its group has one
/// rule of that name and storage knows that name under one other index alone, its alerts go on under the new identity,
/// so nobody hears of a resolution and then of the same alert again. Where several rules of a group share a name, an
/// index says nothing certain: alerts under an index that is gone are resolved, and those that still hold begin anew.
package struct OrphanedAlerts: Sendable {
    /// The alerts that rules go on from; their `rule` is in `groups`.
    package private(set) var kept: [AlertRecord] = []
    /// What has to be committed for it; empty when every rule is still there.
    package private(set) var records: [AlertRecord] = []
    /// Alerts that fired, and do so no longer.
    package private(set) var transitions: [AlertTransition] = []
    /// What receivers have to be told of: resolved at the time of this settlement.
    package private(set) var resolved: [Alert] = []

    /// Settles the `stored` alerts for the rules of `groups` at `now`.
    package init(
        _ stored: [AlertRecord], groups: [RuleGroup], now: TimestampMS, generatorURL: String = ""
    ) {
        let known = Set(groups.flatMap { group in group.rules.indices.map(group.identity) })
        let moved = Self.moves(from: Set(stored.map(\.rule)), to: known)
        for record in stored {
            if known.contains(record.rule) {
                kept.append(record)
                continue
            }
            var removed = record
            removed.state = .inactive
            removed.resolvedAt = nil
            records.append(removed)
            if let rule = moved[record.rule] {
                var renamed = record
                renamed.rule = rule
                kept.append(renamed)
                records.append(renamed)
                continue
            }
            guard record.state == .firing else { continue }
            transitions.append(
                AlertTransition(
                    rule: record.rule, labels: record.labels, from: .firing, to: .inactive,
                    value: record.value, at: now))
            if record.lastNotifiedAt != nil {
                resolved.append(record.resolution(at: now, generatorURL: generatorURL))
            }
        }
    }

    /// New identities of rules that only moved, by their old ones.
    private static func moves(from stored: Set<String>, to known: Set<String>) -> [String: String] {
        let storedByName = Dictionary(grouping: stored, by: withoutIndex)
        let knownByName = Dictionary(grouping: known, by: withoutIndex)
        var moves: [String: String] = [:]
        for (name, old) in storedByName {
            guard old.count == 1, let new = knownByName[name], new.count == 1, old != new else {
                continue
            }
            moves[old[0]] = new[0]
        }
        return moves
    }

    /// `<file>;<group>;<alertname>` of an identity.
    private static func withoutIndex(_ identity: String) -> Substring {
        identity[..<(identity.lastIndex(of: ";") ?? identity.endIndex)]
    }
}

extension AlertRecord {
    /// The alert as receivers see its end at `now`, whatever the record says of its state.
    func resolution(at now: TimestampMS, generatorURL: String) -> Alert {
        Alert(
            labels: labels, annotations: annotations, startsAt: firedAt ?? activeAt, endsAt: now,
            generatorURL: generatorURL)
    }
}
