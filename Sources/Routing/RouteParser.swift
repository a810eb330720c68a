internal import Model
internal import YAMLDocument

/// Reads the `route` tree and fills in what children inherit.
struct RouteParser {
    /// Most routes in one tree.
    static let routesMax = 10_000

    private let receivers: Set<String>
    private let timeIntervals: Set<String>
    private var count = 0

    init(receivers: Set<String>, timeIntervals: Set<String>) {
        self.receivers = receivers
        self.timeIntervals = timeIntervals
    }

    mutating func root(_ entry: YAMLMapping) throws(YAMLError) -> Route {
        var entry = entry
        guard entry.keys.contains("receiver") else {
            throw entry.error("the root route has no `receiver`")
        }
        for key in [
            "matchers", "match", "match_re", "continue", "mute_time_intervals",
            "active_time_intervals",
        ] where entry.keys.contains(key) {
            throw entry.error(at: key, "the root route takes every alert and can't have it")
        }
        let defaults = Route(receiver: "")
        return try route(&entry, parent: defaults, parentKey: nil)
    }

    private mutating func route(
        _ entry: inout YAMLMapping, parent: Route, parentKey: String?
    ) throws(YAMLError) -> Route {
        count += 1
        guard count <= Self.routesMax else {
            throw entry.error("more than \(Self.routesMax) routes")
        }
        var route = parent
        if let receiver = try entry.string("receiver"), !receiver.isEmpty {
            guard receivers.contains(receiver) else {
                throw entry.error(
                    at: "receiver",
                    "there is no receiver \"\(receiver)\"; expected one of "
                        + receivers.sorted().joined(separator: ", "))
            }
            route.receiver = receiver
        }
        if entry.keys.contains("group_by") { route.groupBy = try groupBy(&entry) }
        _ = entry.has("group_by")
        route.matchers = try MatcherKeys(list: "matchers", equal: "match", regex: "match_re")
            .matchers(&entry)
        route.continues = try entry.bool("continue", default: false)
        route.timings = try timings(&entry, parent.timings)
        route.muteTimeIntervals = try intervals(&entry, "mute_time_intervals")
        route.activeTimeIntervals = try intervals(&entry, "active_time_intervals")
        route.key = (parentKey.map { $0 + "/" } ?? "") + route.matchers.text
        route.children = []
        var children: [Route] = []
        for var child in try entry.mappings("routes") {
            children.append(try self.route(&child, parent: route, parentKey: route.key))
        }
        try entry.finish()
        route.children = children
        return route
    }

    private func groupBy(_ entry: inout YAMLMapping) throws(YAMLError) -> GroupBy {
        let names = try entry.strings("group_by")
        if names == ["..."] { return .all }
        guard !names.contains("...") else {
            throw entry.error(at: "group_by", "`...` groups by every label and must stand alone")
        }
        for (index, name) in names.enumerated() {
            guard !name.isEmpty else { throw entry.error(at: "group_by", "a label name is empty") }
            guard !names[..<index].contains(name) else {
                throw entry.error(at: "group_by", "the label `\(name)` stands there twice")
            }
        }
        return .labels(names.sorted(by: bytesPrecede))
    }

    private func timings(
        _ entry: inout YAMLMapping, _ inherited: RouteTimings
    ) throws(YAMLError) -> RouteTimings {
        let timings = RouteTimings(
            groupWait: try entry.duration("group_wait", default: inherited.groupWait),
            groupInterval: try entry.duration(
                "group_interval", default: inherited.groupInterval),
            repeatInterval: try entry.duration(
                "repeat_interval", default: inherited.repeatInterval))
        if timings.groupInterval.milliseconds == 0 {
            throw entry.error(at: "group_interval", "expected a duration above 0")
        }
        if timings.repeatInterval.milliseconds == 0 {
            throw entry.error(at: "repeat_interval", "expected a duration above 0")
        }
        return timings
    }

    private func intervals(
        _ entry: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> [String] {
        let names = try entry.strings(key)
        for name in names where !timeIntervals.contains(name) {
            throw entry.error(at: key, "there is no time interval \"\(name)\"")
        }
        return names
    }
}
