import AgentRead
import Model
import Synchronization
import Testing

/// A service manager that answers what a test says and remembers what it was asked.
final class FakeSystemd: SystemdManager {
    enum Value: Sendable {
        case number(UInt64)
        case text(String)
    }

    private struct Key: Hashable {
        var path: String
        var property: SystemdProperty
    }

    private struct State {
        var hasBus = true
        var units: [String: SystemdUnit] = [:]
        var values: [Key: Value] = [:]
        /// The properties that were asked for since `takeAsked`, as `unit property`.
        var asked: [String] = []
        var failing: SystemdProperty?
    }

    private let state = Mutex(State())

    init(version: String? = "252.39-1~deb12u1", virtualization: String? = "kvm") {
        let path = SystemdProperty.managerPath
        if let version { set(path, .version, .text(version)) }
        if let virtualization { set(path, .virtualization, .text(virtualization)) }
        set(path, .systemState, .text("running"))
    }

    static func path(_ unit: String) -> String { "/unit/" + unit }

    /// Adds the unit, or changes its state.
    func put(
        _ name: String, _ active: String, _ sub: String, load: String = "loaded",
        _ values: [SystemdProperty: Value] = [:]
    ) {
        let unit = SystemdUnit(
            name: name, loadState: load, activeState: active, subState: sub, path: Self.path(name))
        state.withLock { $0.units[name] = unit }
        for (property, value) in values { set(Self.path(name), property, value) }
    }
    func remove(_ name: String) { state.withLock { $0.units[name] = nil } }
    func set(_ path: String, _ property: SystemdProperty, _ value: Value?) {
        state.withLock { $0.values[Key(path: path, property: property)] = value }
    }
    func setBus(_ hasBus: Bool) { state.withLock { $0.hasBus = hasBus } }
    /// Questions for this property fail; nil mends that.
    func fail(_ property: SystemdProperty?) { state.withLock { $0.failing = property } }

    /// What was asked about units since the last call, sorted.
    func takeAsked() -> [String] {
        state.withLock { state in
            defer { state.asked = [] }
            return state.asked.sorted()
        }
    }

    static let timeout = ReadError.system(operation: "systemd", errno: 110)

    func begin() throws(ReadError) -> Bool { state.withLock { $0.hasBus } }
    func forEachUnit(_ body: (SystemdUnit) -> Void) throws(ReadError) {
        for unit in state.withLock({ $0.units }).values { body(unit) }
    }
    func number(_ property: SystemdProperty, of path: String) throws(ReadError) -> UInt64? {
        guard case .number(let value)? = try ask(property, path) else { return nil }
        return value
    }
    func text(_ property: SystemdProperty, of path: String) throws(ReadError) -> String? {
        guard case .text(let value)? = try ask(property, path) else { return nil }
        return value
    }
    private func ask(_ property: SystemdProperty, _ path: String) throws(ReadError) -> Value? {
        let (value, isFailing) = state.withLock { state in
            if path != SystemdProperty.managerPath {
                state.asked.append("\(path.dropFirst(6)) \(property.name)")
            }
            return (
                state.values[Key(path: path, property: property)], state.failing == property
            )
        }
        if isFailing { throw Self.timeout }
        return value
    }
}

@Suite("systemd reader")
struct SystemdReaderTests {
    static let now = TimestampNS(1_700_000_000_000_000_000)

    /// A small host: a running service, a failed and an inactive one, a timer, sockets, a target, a mount, a device.
    static func host() -> FakeSystemd {
        let manager = FakeSystemd()
        manager.put(
            "web.service", "active", "running",
            [
                .serviceType: .text("notify"), .restarts: .number(3),
                .activeSince: .number(1_700_000_000_250_000), .tasks: .number(7),
                .tasksMax: .number(4915),
            ])
        manager.put(
            "bad.service", "failed", "failed",
            [
                .serviceType: .text("simple"), .restarts: .number(5), .tasks: .number(.max),
                .tasksMax: .number(.max),
            ])
        manager.put(
            "once.service", "inactive", "dead",
            [.serviceType: .text("oneshot"), .restarts: .number(0)])
        manager.put(
            "daily.timer", "active", "waiting",
            [.lastTrigger: .number(1_699_999_000_500_000), .activeSince: .number(2_000_000)])
        manager.put(
            "ssh.socket", "active", "listening",
            [
                .accepts: .number(1), .accepted: .number(20), .connections: .number(2),
                .refused: .number(1), .activeSince: .number(3_000_000),
            ])
        manager.put(
            "dbus.socket", "active", "running",
            [
                .accepts: .number(0), .accepted: .number(0), .connections: .number(0),
                .activeSince: .number(4_000_000),
            ])
        manager.put("basic.target", "active", "active", [.activeSince: .number(5_000_000)])
        manager.put("boot.mount", "active", "mounted", [.mountType: .text("ext4")])
        manager.put("dev-sda.device", "active", "plugged")
        manager.put("gone.service", "inactive", "dead", load: "not-found")
        manager.put("odd.target", "reloading", "reloading")
        return manager
    }

    static func samples(_ reader: SystemdReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    static func states(_ samples: [String: Double]) -> [String] {
        samples.keys.filter { $0.hasPrefix("node_systemd_unit_state{") }
    }

    @Test("names, labels and values of a host")
    func values() throws {
        let samples = try Self.samples(
            SystemdReader(manager: Self.host(), options: .init(hasTasks: true)))
        let others = samples.filter { !$0.key.hasPrefix("node_systemd_unit_state{") }
        let expected: [String: Double] = [
            "version{version=\"252.39-1~deb12u1\"}": 252.39,
            "virtualization_info{virtualization_type=\"kvm\"}": 1,
            "system_running": 1,
            "units{state=\"active\"}": 7,
            "units{state=\"activating\"}": 0,
            "units{state=\"deactivating\"}": 0,
            "units{state=\"failed\"}": 1,
            "units{state=\"inactive\"}": 2,
            "units{state=\"reloading\"}": 1,
            "unit_start_time_seconds{name=\"web.service\"}": 1_700_000_000.25,
            "unit_start_time_seconds{name=\"bad.service\"}": 0,
            "unit_start_time_seconds{name=\"once.service\"}": 0,
            "unit_start_time_seconds{name=\"daily.timer\"}": 2,
            "unit_start_time_seconds{name=\"ssh.socket\"}": 3,
            "unit_start_time_seconds{name=\"dbus.socket\"}": 4,
            "unit_start_time_seconds{name=\"basic.target\"}": 5,
            "unit_start_time_seconds{name=\"odd.target\"}": 0,
            "unit_tasks_current{name=\"web.service\"}": 7,
            "unit_tasks_max{name=\"web.service\"}": 4915,
            "service_restart_total{name=\"web.service\"}": 3,
            "service_restart_total{name=\"bad.service\"}": 5,
            "service_restart_total{name=\"once.service\"}": 0,
            "timer_last_trigger_seconds{name=\"daily.timer\"}": 1_699_999_000.5,
            "socket_accepted_connections_total{name=\"ssh.socket\"}": 20,
            "socket_current_connections{name=\"ssh.socket\"}": 2,
            "socket_refused_connections_total{name=\"ssh.socket\"}": 1,
            "socket_accepted_connections_total{name=\"dbus.socket\"}": 0,
            "socket_current_connections{name=\"dbus.socket\"}": 0,
        ]
        for (name, value) in expected {
            #expect(others["node_systemd_" + name] == value, "\(name)")
        }
        #expect(
            Set(others.keys).subtracting(expected.keys.map { "node_systemd_" + $0 }).sorted() == [])

        // Eight units with five states each.
        #expect(Self.states(samples).count == 40)
        #expect(Self.states(samples).filter { samples[$0] == 1 }.count == 7)
        let state = "node_systemd_unit_state"
        #expect(
            samples["\(state){name=\"web.service\",state=\"active\",type=\"notify\"}"] == 1)
        #expect(
            samples["\(state){name=\"bad.service\",state=\"failed\",type=\"simple\"}"] == 1)
        #expect(
            samples["\(state){name=\"bad.service\",state=\"active\",type=\"simple\"}"] == 0)
        #expect(samples["\(state){name=\"daily.timer\",state=\"active\"}"] == 1)
        // A state that is none of the five: all are 0.
        #expect(samples["\(state){name=\"odd.target\",state=\"active\"}"] == 0)
    }

    @Test("types and help are node_exporter's")
    func heads() throws {
        let families = try SystemdReader(manager: Self.host(), options: .init(hasTasks: true)).read(
            now: Self.now)
        #expect(families.count == 13)
        let types = Dictionary(uniqueKeysWithValues: families.map { ($0.name, $0.metadata.type) })
        #expect(
            types.filter { $0.value != .gauge } == [
                "node_systemd_service_restart_total": .counter,
                "node_systemd_socket_accepted_connections_total": .counter,
            ])
        let help = Dictionary(uniqueKeysWithValues: families.map { ($0.name, $0.metadata.help) })
        #expect(help["node_systemd_unit_state"] == "Systemd unit")
        #expect(
            help["node_systemd_system_running"]
                == "Whether the system is operational (see 'systemctl is-system-running')")
        #expect(
            help["node_systemd_timer_last_trigger_seconds"]
                == "Seconds since epoch of last trigger.")
        // In the same order each time, by name.
        let names = families.filter { $0.name == "node_systemd_unit_start_time_seconds" }.flatMap(
            \.points)
        #expect(names == names.sorted { $0.labels < $1.labels } && names.count == 8)
    }

    @Test(
        "units left out by default",
        arguments: [
            ("a.mount", true), ("a.automount", true), ("a.device", true), ("a.scope", true),
            ("a.slice", true), ("a.b.slice", true), ("-.mount", true), (".mount", false),
            ("mount", false), ("a.mounts", false), ("a.mount.service", false), ("a.", false),
            ("", false), ("a.service", false), ("a.target", false), ("ä.slice", true),
        ])
    func exclusion(name: String, isExcluded: Bool) {
        #expect(SystemdReader.isUnitExcludedByDefault(name) == isExcluded)
    }

    @Test("include and exclude")
    func filters() throws {
        let samples = try Self.samples(
            SystemdReader(
                manager: Self.host(),
                options: .init(
                    includesUnit: { $0.hasPrefix("b") }, excludesUnit: { $0 == "basic.target" })))
        // The mount has its file system as type.
        #expect(
            samples["node_systemd_unit_state{name=\"boot.mount\",state=\"active\",type=\"ext4\"}"]
                == 1)
        #expect(
            samples[
                "node_systemd_unit_state{name=\"bad.service\",state=\"failed\",type=\"simple\"}"]
                == 1)
        #expect(Self.states(samples).count == 10)
        #expect(samples["node_systemd_units{state=\"active\"}"] == 7)
    }

    @Test("without options only states, timers and sockets are there, and nothing else is asked")
    func plain() throws {
        let manager = Self.host()
        let samples = try Self.samples(
            SystemdReader(
                manager: manager, options: .init(hasRestarts: false, hasStartTimes: false)))
        let names = Set(samples.keys.map { $0.prefix { $0 != "{" } })
        #expect(!names.contains("node_systemd_service_restart_total"))
        #expect(!names.contains("node_systemd_unit_start_time_seconds"))
        #expect(!names.contains("node_systemd_unit_tasks_current"))
        #expect(names.contains("node_systemd_timer_last_trigger_seconds"))
        let asked = manager.takeAsked()
        #expect(asked.filter { $0.hasPrefix("web.service") } == ["web.service Type"])
        #expect(asked.filter { $0.hasPrefix("basic.target") } == [])
    }

    /// What may change unseen in `host`.
    static let live = [
        "bad.service NRestarts", "daily.timer LastTriggerUSec", "ssh.socket NAccepted",
        "ssh.socket NConnections", "ssh.socket NRefused", "web.service ActiveEnterTimestamp",
    ]

    @Test("a reading asks for what may have changed")
    func cost() throws {
        let manager = Self.host()
        // With `exited`, which is still.
        manager.put(
            "set.service", "active", "exited",
            [.serviceType: .text("oneshot"), .activeSince: .number(1_000_000)])
        let reader = SystemdReader(manager: manager)
        _ = try Self.samples(reader)
        let all = Set(manager.takeAsked())
        #expect(all.isSuperset(of: Self.live))
        #expect(all.contains("set.service NRestarts") && all.contains("once.service Type"))
        // Of a service that goes on running it does not change.
        #expect(all.contains("web.service NRestarts"))
        // Inactive units have no start time.
        #expect(!all.contains("once.service ActiveEnterTimestamp"))
        var asked: [String] = []
        for _ in 0..<SystemdReader.rereadEvery {
            let samples = try Self.samples(reader)
            #expect(
                samples["node_systemd_unit_start_time_seconds{name=\"set.service\"}"] == 1)
            let now = manager.takeAsked()
            #expect(Set(now).isSuperset(of: Self.live))
            asked += now
        }
        // In the course of these readings each unit was read wholly once, at different times.
        let still = all.subtracting(Self.live)
        #expect(still.count >= 10)
        for question in still { #expect(asked.filter { $0 == question }.count == 1, "\(question)") }
    }

    @Test("still units are not all read again in the same reading")
    func spread() throws {
        let manager = FakeSystemd()
        for number in 0..<80 {
            manager.put("u\(number).target", "active", "active", [.activeSince: .number(1_000_000)])
        }
        let reader = SystemdReader(manager: manager)
        _ = try Self.samples(reader)
        #expect(manager.takeAsked().count == 80)
        for _ in 0..<(2 * SystemdReader.rereadEvery) {
            _ = try Self.samples(reader)
            #expect(manager.takeAsked().count == 10)
        }
    }

    @Test("values follow the host")
    func changes() throws {
        let manager = Self.host()
        let reader = SystemdReader(manager: manager)
        _ = try Self.samples(reader)
        let path = FakeSystemd.path("web.service")
        manager.set(path, .restarts, .number(4))
        manager.set(path, .activeSince, .number(9_000_000))
        manager.put(
            "once.service", "active", "running",
            [.serviceType: .text("exec"), .restarts: .number(1), .activeSince: .number(6_000_000)])
        manager.put("basic.target", "inactive", "dead")
        manager.remove("bad.service")
        let samples = try Self.samples(reader)
        #expect(samples["node_systemd_service_restart_total{name=\"web.service\"}"] == 4)
        #expect(samples["node_systemd_unit_start_time_seconds{name=\"web.service\"}"] == 9)
        #expect(samples["node_systemd_service_restart_total{name=\"once.service\"}"] == 1)
        #expect(samples["node_systemd_unit_start_time_seconds{name=\"once.service\"}"] == 6)
        #expect(
            samples["node_systemd_unit_state{name=\"once.service\",state=\"active\",type=\"exec\"}"]
                == 1)
        #expect(samples["node_systemd_unit_start_time_seconds{name=\"basic.target\"}"] == 0)
        #expect(samples.keys.filter { $0.contains("bad.service") } == [])

        // A unit that was away is read wholly when it is back.
        _ = try Self.samples(reader)
        _ = manager.takeAsked()
        manager.put("bad.service", "failed", "failed", [.serviceType: .text("forking")])
        let back = try Self.samples(reader)
        #expect(
            back["node_systemd_unit_state{name=\"bad.service\",state=\"failed\",type=\"forking\"}"]
                == 1)
        #expect(manager.takeAsked().contains("bad.service Type"))
    }

    @Test("a service that stops has no restarts left out and no tasks kept")
    func stop() throws {
        let manager = Self.host()
        let reader = SystemdReader(manager: manager, options: .init(hasTasks: true))
        _ = try Self.samples(reader)
        manager.put("web.service", "inactive", "dead", [.tasks: .number(.max)])
        let samples = try Self.samples(reader)
        #expect(samples["node_systemd_unit_tasks_current{name=\"web.service\"}"] == nil)
        #expect(samples["node_systemd_service_restart_total{name=\"web.service\"}"] == 3)
        #expect(samples["node_systemd_unit_start_time_seconds{name=\"web.service\"}"] == 0)
    }

    @Test("no bus is no family; a failure is an error, and what was read before it is known")
    func failures() throws {
        let manager = Self.host()
        let reader = SystemdReader(manager: manager)
        manager.setBus(false)
        #expect(try reader.read(now: Self.now) == [])
        #expect(manager.takeAsked() == [])

        manager.setBus(true)
        manager.fail(.accepted)
        #expect(throws: FakeSystemd.timeout) { try reader.read(now: Self.now) }
        _ = manager.takeAsked()
        manager.fail(nil)
        let samples = try Self.samples(reader)
        #expect(
            samples["node_systemd_socket_accepted_connections_total{name=\"ssh.socket\"}"] == 20)
        let asked = manager.takeAsked()
        #expect(!asked.contains("basic.target ActiveEnterTimestamp"))
        #expect(asked.contains("dbus.socket Accept"))

        manager.fail(.version)
        #expect(throws: FakeSystemd.timeout) { try reader.read(now: Self.now) }
    }

    @Test("properties that are not there leave their samples out")
    func absent() throws {
        let manager = FakeSystemd()
        manager.put("a.service", "active", "running")
        manager.put("a.timer", "active", "waiting")
        manager.put("a.socket", "active", "listening", [.accepted: .number(1)])
        let samples = try Self.samples(SystemdReader(manager: manager))
        #expect(samples["node_systemd_unit_state{name=\"a.service\",state=\"active\"}"] == 1)
        #expect(
            Set(samples.keys).filter { !$0.contains("state=") && $0.contains("name=") } == [
                "node_systemd_socket_accepted_connections_total{name=\"a.socket\"}"
            ])
    }

    @Test(
        "version",
        arguments: [
            ("252.39-1~deb12u1", 252.39), ("252", 252), ("v257.1", 257.1),
            ("systemd 249.11-0", 249.11),
            ("21 257~rc2", 257), ("256.", 256),
        ])
    func version(text: String, number: Double) throws {
        let samples = try Self.samples(SystemdReader(manager: FakeSystemd(version: text)))
        #expect(samples["node_systemd_version{version=\"\(text)\"}"] == number)
        #expect(samples["node_systemd_system_running"] == 1)
    }

    @Test(
        "an old version, or none, has neither the system's state nor timers",
        arguments: [("204", 204), ("none", 0), ("1.25", 0), (nil, 0)] as [(String?, Double)])
    func oldVersion(text: String?, number: Double) throws {
        let manager = FakeSystemd(version: text)
        manager.put("a.timer", "active", "waiting", [.lastTrigger: .number(1)])
        let samples = try Self.samples(SystemdReader(manager: manager))
        #expect(
            samples.filter { $0.key.hasPrefix("node_systemd_version") }.map(\.value) == [number])
        #expect((samples["node_systemd_version"] != nil) == (number == 0))
        #expect(samples["node_systemd_system_running"] == nil)
        #expect(samples["node_systemd_timer_last_trigger_seconds{name=\"a.timer\"}"] == nil)
    }

    @Test(
        "virtualization and the system's state",
        arguments: [("kvm", "kvm"), ("", "none"), (nil, "unknown")] as [(String?, String)])
    func virtualization(text: String?, label: String) throws {
        let manager = FakeSystemd(virtualization: text)
        manager.set(SystemdProperty.managerPath, .systemState, .text("degraded"))
        let samples = try Self.samples(SystemdReader(manager: manager))
        let name = "node_systemd_virtualization_info"
        #expect(samples["\(name){virtualization_type=\"\(label)\"}"] == 1)
        #expect(samples["node_systemd_system_running"] == 0)
    }

    @Test("of more units than the bound the failed come first, then those first by name")
    func bound() throws {
        let manager = FakeSystemd()
        for number in 0..<SystemdReader.unitsMax {
            manager.put("u\(10_000 + number).target", "active", "active")
        }
        manager.put("z.target", "failed", "failed")
        let samples = try Self.samples(
            SystemdReader(manager: manager, options: .init(hasStartTimes: false)))
        #expect(Self.states(samples).count == 5 * SystemdReader.unitsMax)
        #expect(samples["node_systemd_unit_state{name=\"z.target\",state=\"failed\"}"] == 1)
        #expect(samples["node_systemd_unit_state{name=\"u10000.target\",state=\"active\"}"] == 1)
        let last = "u\(10_000 + SystemdReader.unitsMax - 1).target"
        #expect(samples["node_systemd_unit_state{name=\"\(last)\",state=\"active\"}"] == nil)
        #expect(samples["node_systemd_units{state=\"active\"}"] == Double(SystemdReader.unitsMax))
    }

    @Test("the live manager: no socket is no bus, a socket that nobody serves is an error")
    func live() throws {
        #expect(try !LibsystemdManager(address: "unix:path=/nonexistent/bus").begin())
        #expect(try !LibsystemdManager(address: "unix:path=/etc/passwd/bus,guid=0").begin())
        let reader = SystemdReader(manager: LibsystemdManager(address: "unix:path=/etc/passwd"))
        let error = #expect(throws: ReadError.self) { try reader.read(now: Self.now) }
        let text = try #require(error).description
        #expect(text.contains("/etc/passwd") || text.contains("libsystemd"))
    }
}
