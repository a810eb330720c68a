package import Model
import Synchronization

/// States of systemd's units, restarts and start times of services, triggers of timers, connections of sockets.
///
/// The list of units is one call, every property another one that process 1 has to answer. So a property is read each
/// time only where it may have changed although the list shows the same state: the start time of services that run, and
/// their restarts where it has changed, the last trigger of timers, the counts of sockets that accept. What is still
/// (inactive units, services that exited, targets, sockets that only pass their listener on) is read when the unit
/// comes, when its state changes, and every `rereadEvery` readings.
/// Source: node_exporter 1.12 `systemd_linux.go`.
package struct SystemdReader: NodeReader {
    /// The flags `--collector.systemd.…` of node_exporter. Unlike there, restarts and start times are on by default.
    package struct Options: Sendable {
        /// `unit-include`; a unit is read if it is included and not excluded.
        package var includesUnit: @Sendable (String) -> Bool
        /// `unit-exclude`.
        package var excludesUnit: @Sendable (String) -> Bool
        /// `enable-task-metrics`.
        package var hasTasks: Bool
        /// `enable-restarts-metrics`.
        package var hasRestarts: Bool
        /// `enable-start-time-metrics`.
        package var hasStartTimes: Bool

        package init(
            includesUnit: @escaping @Sendable (String) -> Bool = { !$0.isEmpty },
            excludesUnit: @escaping @Sendable (String) -> Bool =
                SystemdReader.isUnitExcludedByDefault,
            hasTasks: Bool = false, hasRestarts: Bool = true, hasStartTimes: Bool = true
        ) {
            self.includesUnit = includesUnit
            self.excludesUnit = excludesUnit
            self.hasTasks = hasTasks
            self.hasRestarts = hasRestarts
            self.hasStartTimes = hasStartTimes
        }
    }

    package let name = "systemd"
    private let manager: any SystemdManager
    private let options: Options
    private let memory = SystemdMemory()

    /// Units with series of their own. Of more, failed ones are kept first, then those first by name;
    /// `node_systemd_units` counts all.
    package static let unitsMax = 4096
    /// Readings after which the properties of a still unit are read again.
    package static let rereadEvery = 8
    /// Older ones don't know the system's state and the timers' last trigger.
    private static let systemStateVersion = 212.0

    package init(manager: any SystemdManager, options: Options = Options()) {
        self.manager = manager
        self.options = options
    }

    /// Automounts, devices, mounts, scopes and slices: `.+\.(automount|device|mount|scope|slice)`.
    @Sendable package static func isUnitExcludedByDefault(_ name: String) -> Bool {
        guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")), dot > name.startIndex else {
            return false
        }
        switch name[name.index(after: dot)...] {
        case "automount", "device", "mount", "scope", "slice": return true
        default: return false
        }
    }

    /// Nothing where the host has no bus. Throws `system` where the bus or systemd does not answer.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        guard try manager.begin() else { return [] }
        var families = SystemdFamilies()
        var units: [SystemdUnit] = []
        try manager.forEachUnit { unit in
            families.count(unit.activeState)
            if unit.loadState == "loaded", options.includesUnit(unit.name),
                !options.excludesUnit(unit.name)
            {
                units.append(unit)
            }
        }
        var known = memory.take()
        defer { memory.keep(known) }
        let version = try readVersion()
        families.version.points.append(.init(.one("version", version.text), version.number))
        let virtualization = try readVirtualization(&known)
        families.virtualization.points.append(
            .init(.one("virtualization_type", virtualization), 1))
        let hasState = version.number >= Self.systemStateVersion
        if hasState,
            let state = try manager.text(.systemState, of: SystemdProperty.managerPath)
        {
            families.running.points.append(.init(.empty, state == "running" ? 1 : 0))
        }
        known.forgetUnseen()
        known.reading &+= 1
        for (index, unit) in Self.bounded(units).enumerated() {
            let facts = try facts(of: unit, index: index, hasState: hasState, &known)
            families.add(facts)
        }
        return families.all
    }

    /// At most `unitsMax`, sorted by name.
    private static func bounded(_ units: [SystemdUnit]) -> [SystemdUnit] {
        let sorted = units.sorted { bytesPrecede($0.name, $1.name) }
        guard sorted.count > unitsMax else { return sorted }
        let kept = (sorted.filter(\.isFailed) + sorted.filter { !$0.isFailed }).prefix(unitsMax)
        return kept.sorted { bytesPrecede($0.name, $1.name) }
    }

    /// The version and the first number of three digits or more in it; 0 and no text where there is none.
    private func readVersion() throws(ReadError) -> (number: Double, text: String) {
        guard let text = try manager.text(.version, of: SystemdProperty.managerPath),
            let number = Self.versionNumber(text)
        else { return (0, "") }
        return (number, text)
    }

    /// `252.39-1~deb12u1` is 252.39, `v257` is 257.
    private static func versionNumber(_ text: String) -> Double? {
        func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            rest = rest.drop { !isDigit($0) }
            let whole = rest.prefix(while: isDigit)
            rest = rest.dropFirst(whole.count)
            guard whole.count >= 3 else { continue }
            let fraction =
                rest.first == UInt8(ascii: ".") ? rest.dropFirst().prefix(while: isDigit) : []
            let number = fraction.isEmpty ? whole : whole + [UInt8(ascii: ".")] + fraction
            return ProcText.decimal(number).flatMap { $0.isFinite ? $0 : nil }
        }
        return nil
    }

    /// Can't change while the kernel runs, so it is asked for once.
    private func readVirtualization(_ known: inout SystemdMemory.State) throws(ReadError) -> String
    {
        if let virtualization = known.virtualization { return virtualization }
        guard let text = try manager.text(.virtualization, of: SystemdProperty.managerPath) else {
            return "unknown"
        }
        let virtualization = text.isEmpty ? "none" : text
        known.virtualization = virtualization
        return virtualization
    }

    /// What is known of a unit, with that read anew which may have changed.
    private func facts(
        of unit: SystemdUnit, index: Int, hasState: Bool, _ known: inout SystemdMemory.State
    ) throws(ReadError) -> SystemdFacts {
        // Ages start apart, so that the units that come together are not all read again together.
        var facts =
            known.units[unit.name]
            ?? SystemdFacts(unit: unit, age: index % Self.rereadEvery, isNew: true)
        if !facts.isNew { facts.age += 1 }
        let isStale = facts.isNew || facts.unit != unit || facts.age >= Self.rereadEvery
        if !facts.isNew, isStale { facts.age = 0 }
        facts.isNew = false
        facts.unit = unit
        facts.reading = known.reading
        switch facts.kind {
        case .service: try readService(&facts, isStale: isStale)
        case .socket: try readSocket(&facts, isStale: isStale)
        case .timer:
            if hasState, isStale || unit.activeState != "inactive" {
                facts.lastTrigger = try manager.number(.lastTrigger, of: unit.path)
            }
        case .mount:
            if isStale { facts.type = try manager.text(.mountType, of: unit.path) ?? "" }
        case .other: break
        }
        if isStale, facts.kind != .service { try readStart(&facts) }
        known.units[unit.name] = facts
        return facts
    }

    private func readService(_ facts: inout SystemdFacts, isStale: Bool) throws(ReadError) {
        let path = facts.unit.path
        if isStale { facts.type = try manager.text(.serviceType, of: path) ?? "" }
        let isInactive = facts.unit.activeState == "inactive"
        let isStill = isInactive || facts.unit.subState == "exited"
        if isStale || !isStill {
            let lastStart = facts.activeSince
            try readStart(&facts)
            // A service that restarts becomes active anew.
            let hasStayed =
                facts.unit.activeState == "active" && facts.activeSince == lastStart
                && lastStart != nil
            if options.hasRestarts, isStale || !hasStayed {
                facts.restarts = try manager.number(.restarts, of: path)
            }
        }
        // A service that exited may have left processes behind.
        guard options.hasTasks, isStale || !isInactive else { return }
        facts.tasks = try manager.number(.tasks, of: path)
        facts.tasksMax = try manager.number(.tasksMax, of: path)
    }

    /// Without `Accept=yes` the counts stay 0.
    private func readSocket(_ facts: inout SystemdFacts, isStale: Bool) throws(ReadError) {
        let path = facts.unit.path
        if isStale { facts.accepts = try manager.number(.accepts, of: path) != 0 }
        guard isStale || facts.accepts else { return }
        facts.accepted = try manager.number(.accepted, of: path)
        facts.connections = try manager.number(.connections, of: path)
        facts.refused = try manager.number(.refused, of: path)
    }

    /// 0 for units that are not active, as there.
    private func readStart(_ facts: inout SystemdFacts) throws(ReadError) {
        guard options.hasStartTimes else { return }
        facts.activeSince =
            facts.unit.activeState == "active"
            ? try manager.number(.activeSince, of: facts.unit.path) : 0
    }
}

extension SystemdUnit {
    fileprivate var isFailed: Bool { activeState == "failed" }
}

/// What is known of a unit. Times are in microseconds since the epoch; nil is not known.
private struct SystemdFacts: Sendable {
    enum Kind {
        case service, socket, timer, mount, other
    }

    var unit: SystemdUnit
    let kind: Kind
    /// Readings since all properties were read.
    var age: Int
    var isNew: Bool
    /// The last reading that had the unit.
    var reading: UInt64 = 0
    var type = ""
    var accepts = false
    var activeSince: UInt64?
    var restarts: UInt64?
    var tasks: UInt64?
    var tasksMax: UInt64?
    var lastTrigger: UInt64?
    var accepted: UInt64?
    var connections: UInt64?
    var refused: UInt64?

    init(unit: SystemdUnit, age: Int, isNew: Bool) {
        self.unit = unit
        self.age = age
        self.isNew = isNew
        kind =
            if unit.name.hasSuffix(".service") {
                .service
            } else if unit.name.hasSuffix(".socket") {
                .socket
            } else if unit.name.hasSuffix(".timer") {
                .timer
            } else if unit.name.hasSuffix(".mount") {
                .mount
            } else {
                .other
            }
    }
}

/// What the reader keeps from one reading to the next; at most `SystemdReader.unitsMax` units.
private final class SystemdMemory: Sendable {
    struct State: Sendable {
        var units: [String: SystemdFacts] = [:]
        var virtualization: String?
        var reading: UInt64 = 0

        /// Drops the units that the latest reading did not have.
        mutating func forgetUnseen() {
            let latest = reading
            guard units.contains(where: { $0.value.reading != latest }) else { return }
            units = units.filter { $0.value.reading == latest }
        }
    }

    private let state = Mutex(State())

    /// Takes what is known out, for the one reading that runs.
    func take() -> State {
        state.withLock { state in
            let taken = state
            state = State()
            return taken
        }
    }

    func keep(_ known: State) { state.withLock { $0 = known } }
}

private struct SystemdFamilies {
    var version = MetricFamily(
        "node_systemd_version", .gauge, help: "Detected systemd version")
    var virtualization = MetricFamily(
        "node_systemd_virtualization_info", .gauge, help: "Detected virtualization technology")
    var running = MetricFamily(
        "node_systemd_system_running", .gauge,
        help: "Whether the system is operational (see 'systemctl is-system-running')")
    private var state = MetricFamily("node_systemd_unit_state", .gauge, help: "Systemd unit")
    private var start = MetricFamily(
        "node_systemd_unit_start_time_seconds", .gauge,
        help: "Start time of the unit since unix epoch in seconds.")
    private var tasks = MetricFamily(
        "node_systemd_unit_tasks_current", .gauge,
        help: "Current number of tasks per Systemd unit")
    private var tasksMax = MetricFamily(
        "node_systemd_unit_tasks_max", .gauge, help: "Maximum number of tasks per Systemd unit")
    private var restarts = MetricFamily(
        "node_systemd_service_restart_total", .counter,
        help: "Service unit count of Restart triggers")
    private var lastTrigger = MetricFamily(
        "node_systemd_timer_last_trigger_seconds", .gauge,
        help: "Seconds since epoch of last trigger.")
    private var accepted = MetricFamily(
        "node_systemd_socket_accepted_connections_total", .counter,
        help: "Total number of accepted socket connections")
    private var connections = MetricFamily(
        "node_systemd_socket_current_connections", .gauge,
        help: "Current number of socket connections")
    /// A gauge by its type there, whatever the name says.
    private var refused = MetricFamily(
        "node_systemd_socket_refused_connections_total", .gauge,
        help: "Total number of refused socket connections")
    private var counts: [String: Double] = Dictionary(
        uniqueKeysWithValues: Self.states.map { ($0, 0) })

    private static let states = ["active", "activating", "deactivating", "inactive", "failed"]

    mutating func count(_ activeState: String) { counts[activeState, default: 0] += 1 }

    mutating func add(_ facts: SystemdFacts) {
        let name = facts.unit.name
        for value in Self.states {
            var labels = [Label("name", name), Label("state", value)]
            if !facts.type.isEmpty { labels.append(Label("type", facts.type)) }
            state.points.append(
                .init(
                    Labels(sortedUnchecked: labels), facts.unit.activeState == value ? 1 : 0))
        }
        let labels = Labels.one("name", name)
        func append(_ value: UInt64?, _ family: inout MetricFamily, per unit: Double = 1) {
            if let value { family.points.append(.init(labels, Double(value) / unit)) }
        }
        append(facts.activeSince, &start, per: 1e6)
        append(facts.restarts, &restarts)
        append(facts.lastTrigger, &lastTrigger, per: 1e6)
        append(facts.accepted, &accepted)
        append(facts.connections, &connections)
        append(facts.refused, &refused)
        if facts.tasks != UInt64.max { append(facts.tasks, &tasks) }
        if facts.tasksMax != UInt64.max { append(facts.tasksMax, &tasksMax) }
    }

    var all: [MetricFamily] {
        let units = MetricFamily(
            "node_systemd_units", .gauge, help: "Summary of systemd unit states",
            points: counts.sorted { bytesPrecede($0.key, $1.key) }.map {
                .init(.one("state", $0.key), $0.value)
            })
        return [
            version, virtualization, running, units, state, start, restarts, lastTrigger,
            accepted, connections, refused, tasks, tasksMax,
        ]
    }
}
