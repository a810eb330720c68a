/// What a reader of a service is told to read: one way to a server.
protocol ServiceTarget: Hashable, Sendable {
    var address: ServiceAddress { get }
    /// The `server` label of its points; targets with the same label are ways to one server.
    var label: String? { get }
    /// Whether it counts as down before it was ever seen: as what somebody configured, not as what was found.
    var isExpected: Bool { get }
}

/// A server, the ways that lead to it, and what is known of it from reading to reading.
struct ServiceWays<Target: ServiceTarget>: Sendable {
    let label: String?
    /// Never empty; the one that led there last comes first.
    private(set) var targets: [Target]
    /// Whether the targets are still given.
    private var isGiven = true
    var wasSeen = false

    /// Whether it counts as down where no way leads there.
    var isKnown: Bool { wasSeen || targets.contains(where: \.isExpected) }

    /// The target at `index` led there.
    mutating func prefer(_ index: Int) { targets.swapAt(0, index) }

    /// The servers of the targets that are given now, with what is known of each, and those that were found and seen
    /// before and are found no more: these as long as there are no more than `max` in all.
    static func merged(_ known: [Self], _ given: [Target], max: Int) -> [Self] {
        var servers = known
        for index in servers.indices { servers[index].isGiven = false }
        for target in given {
            if let index = servers.firstIndex(where: { $0.label == target.label }) {
                servers[index].add(target, given)
            } else {
                servers.append(Self(label: target.label, targets: [target]))
            }
        }
        servers.removeAll { server in
            !server.isGiven
                && (!server.wasSeen || server.targets.contains(where: \.isExpected))
        }
        if servers.count > max { servers.removeAll { !$0.isGiven } }
        return servers
    }

    private init(label: String?, targets: [Target]) {
        self.label = label
        self.targets = targets
    }

    private mutating func add(_ target: Target, _ given: [Target]) {
        if !isGiven {
            let last = targets.first
            targets = given.filter { $0 == last }
            isGiven = true
        }
        if !targets.contains(target) { targets.append(target) }
    }
}

extension PostgresTarget: ServiceTarget {}
