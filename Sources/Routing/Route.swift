package import Model

/// Which labels make a group of alerts.
package enum GroupBy: Hashable, Sendable {
    /// `['...']`: every label, so no grouping.
    case all
    /// In byte order; empty puts all alerts of the route into one group.
    case labels([String])

    /// The labels of an alert that name its group; a label it lacks is left out.
    package func groupLabels(of labels: Labels) -> Labels {
        switch self {
        case .all: labels
        case .labels(let names): labels.keeping(Set(names))
        }
    }
}

/// When a group's notifications go out.
package struct RouteTimings: Hashable, Sendable {
    /// How long a new group waits for more alerts.
    package var groupWait: PrometheusDuration
    /// How long until a changed group is told of again; above 0.
    package var groupInterval: PrometheusDuration
    /// How long until an unchanged group is told of again; above 0.
    package var repeatInterval: PrometheusDuration

    /// Alertmanager's: 30 s, 5 min, 4 h.
    package static let standard = RouteTimings(
        groupWait: PrometheusDuration(milliseconds: 30_000),
        groupInterval: PrometheusDuration(milliseconds: 300_000),
        repeatInterval: PrometheusDuration(milliseconds: 14_400_000))

    package init(
        groupWait: PrometheusDuration, groupInterval: PrometheusDuration,
        repeatInterval: PrometheusDuration
    ) {
        self.groupWait = groupWait
        self.groupInterval = groupInterval
        self.repeatInterval = repeatInterval
    }
}

/// A node of the route tree, with everything it inherits filled in.
package struct Route: Sendable {
    package var receiver: String
    package var groupBy: GroupBy
    /// Its own, sorted by name, value and operation; not those of its parents.
    package var matchers: [AlertMatcher]
    /// Whether the siblings after it are tried too when it matches.
    package var continues: Bool
    package var timings: RouteTimings
    /// Names of time intervals; not inherited.
    package var muteTimeIntervals: [String]
    package var activeTimeIntervals: [String]
    /// The matchers from the root down: `{}/{severity="page"}`. Source: Alertmanager Route.Key.
    package var key: String
    package var children: [Route]

    package init(
        receiver: String, groupBy: GroupBy = .labels([]), matchers: [AlertMatcher] = [],
        continues: Bool = false, timings: RouteTimings = .standard,
        muteTimeIntervals: [String] = [], activeTimeIntervals: [String] = [], key: String = "{}",
        children: [Route] = []
    ) {
        self.receiver = receiver
        self.groupBy = groupBy
        self.matchers = matchers
        self.continues = continues
        self.timings = timings
        self.muteTimeIntervals = muteTimeIntervals
        self.activeTimeIntervals = activeTimeIntervals
        self.key = key
        self.children = children
    }

    /// Where an alert with `labels` goes, in the order of the file; empty only where the root's matchers refuse it.
    ///
    /// Depth first: the first child that matches wins, with `continue` the next ones are tried too; a node none of
    /// whose children match takes the alert itself. Source: Alertmanager 0.34 dispatch/route.go.
    package func route(_ labels: Labels) -> [RouteMatch] {
        matches(labels).map { RouteMatch(route: $0, labels: labels) }
    }

    private func matches(_ labels: Labels) -> [Route] {
        guard matchers.allMatch(labels) else { return [] }
        var found: [Route] = []
        for child in children {
            let below = child.matches(labels)
            found += below
            if !below.isEmpty, !child.continues { break }
        }
        return found.isEmpty ? [self] : found
    }
}

/// A place that an alert goes to.
package struct RouteMatch: Hashable, Sendable {
    package var receiver: String
    package var routeKey: String
    /// `{}/{severity="page"}:{alertname="X"}`; alerts with the same one are told of together.
    package var groupKey: String
    package var groupLabels: Labels
    package var timings: RouteTimings
    package var muteTimeIntervals: [String]
    package var activeTimeIntervals: [String]

    init(route: Route, labels: Labels) {
        receiver = route.receiver
        routeKey = route.key
        groupLabels = route.groupBy.groupLabels(of: labels)
        timings = route.timings
        muteTimeIntervals = route.muteTimeIntervals
        activeTimeIntervals = route.activeTimeIntervals
        groupKey = "\(route.key):\(Self.text(groupLabels))"
    }

    /// `{a="b", c="d"}`. Source: Prometheus common model.LabelSet.String.
    private static func text(_ labels: Labels) -> String {
        let pairs = labels.map { label in
            var value = ""
            for character in label.value {
                switch character {
                case "\\": value += "\\\\"
                case "\"": value += "\\\""
                case "\n": value += "\\n"
                case "\t": value += "\\t"
                default: value.append(character)
                }
            }
            return "\(label.name)=\"\(value)\""
        }
        return "{" + pairs.joined(separator: ", ") + "}"
    }
}
