import CSystemd
import Glibc
import Synchronization

/// A row of systemd's list of units.
package struct SystemdUnit: Hashable, Sendable {
    package var name: String
    /// `loaded`, `not-found`, `masked` and others.
    package var loadState: String
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading` and others.
    package var activeState: String
    /// What the unit's type calls its state, such as `running` or `exited`.
    package var subState: String
    /// The object of the unit on the bus.
    package var path: String

    package init(
        name: String, loadState: String, activeState: String, subState: String, path: String
    ) {
        self.name = name
        self.loadState = loadState
        self.activeState = activeState
        self.subState = subState
        self.path = path
    }
}

/// A property of the manager or of a unit, by interface and name.
package struct SystemdProperty: Hashable, Sendable {
    package let interface: String
    package let name: String

    init(_ type: String, _ name: String) {
        interface = "org.freedesktop.systemd1." + type
        self.name = name
    }

    package static let version = SystemdProperty("Manager", "Version")
    package static let virtualization = SystemdProperty("Manager", "Virtualization")
    package static let systemState = SystemdProperty("Manager", "SystemState")
    /// Microseconds since the epoch.
    package static let activeSince = SystemdProperty("Unit", "ActiveEnterTimestamp")
    package static let serviceType = SystemdProperty("Service", "Type")
    package static let restarts = SystemdProperty("Service", "NRestarts")
    /// `UInt64.max` where tasks are not counted.
    package static let tasks = SystemdProperty("Service", "TasksCurrent")
    /// `UInt64.max` where there is no limit.
    package static let tasksMax = SystemdProperty("Service", "TasksMax")
    /// Microseconds since the epoch.
    package static let lastTrigger = SystemdProperty("Timer", "LastTriggerUSec")
    /// 1 where a service is started for each connection.
    package static let accepts = SystemdProperty("Socket", "Accept")
    package static let accepted = SystemdProperty("Socket", "NAccepted")
    package static let connections = SystemdProperty("Socket", "NConnections")
    package static let refused = SystemdProperty("Socket", "NRefused")
    /// The file system.
    package static let mountType = SystemdProperty("Mount", "Type")

    /// The object of the manager on the bus.
    package static let managerPath = "/org/freedesktop/systemd1"
}

/// The host's service manager, as a seam for tests. Calls come from one thread at a time.
package protocol SystemdManager: Sendable {
    /// Readies for the calls of one reading, which together have a time limit. False where the host has no bus.
    func begin() throws(ReadError) -> Bool
    /// Calls `body` with each unit that is in memory, in no order.
    func forEachUnit(_ body: (SystemdUnit) -> Void) throws(ReadError)
    /// Nil where the object has no such property, or none for this user.
    func number(_ property: SystemdProperty, of path: String) throws(ReadError) -> UInt64?
    func text(_ property: SystemdProperty, of path: String) throws(ReadError) -> String?
}

/// systemd on the system bus through libsystemd. The connection is kept between readings and dropped on any error.
/// Any user may ask; no right is needed.
package final class LibsystemdManager: SystemdManager {
    private struct Handle {
        var pointer: UnsafeMutableRawPointer?
    }

    private let address: String
    /// Held during every call: libsystemd allows one thread at a time per connection.
    private let handle = Mutex(Handle())

    /// What the D-Bus specification names; the environment is not asked.
    package static let systemBus = "unix:path=/run/dbus/system_bus_socket"
    /// One call, and connecting.
    private static let callMicroseconds: UInt64 = 2_000_000
    /// All calls of a reading. With the connecting it is less than the reader's deadline of 5 s, so that a slow manager
    /// has an error of its own.
    private static let readingMicroseconds: UInt64 = 2_500_000
    private static let service = "org.freedesktop.systemd1"

    /// `address` is a D-Bus address.
    package init(address: String = LibsystemdManager.systemBus) { self.address = address }

    deinit {
        handle.withLock { if let pointer = $0.pointer { petrel_bus_close(pointer) } }
    }

    package func begin() throws(ReadError) -> Bool {
        let exists = socketExists
        return try handle.withLock { (handle) throws(ReadError) in
            if let pointer = handle.pointer {
                if exists, petrel_bus_begin(pointer, Self.readingMicroseconds) >= 0 { return true }
                petrel_bus_close(pointer)
                handle.pointer = nil
            }
            guard exists else { return false }
            if let reason = petrel_bus_load() {
                throw .system(
                    operation: "systemd: \(String(cString: reason)); install libsystemd0",
                    errno: ENOSYS)
            }
            var opened: UnsafeMutableRawPointer?
            let code = petrel_bus_open(&opened, address, Self.callMicroseconds)
            guard code >= 0, let opened else { throw failure("connect", -code) }
            handle.pointer = opened
            return try check(
                "begin", petrel_bus_begin(opened, Self.readingMicroseconds), &handle) >= 0
        }
    }

    package func forEachUnit(_ body: (SystemdUnit) -> Void) throws(ReadError) {
        try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw failure("ListUnits", EBADF) }
            _ = try check("ListUnits", petrel_bus_list_units(pointer), &handle)
            var row = petrel_bus_unit()
            while try check("ListUnits", petrel_bus_next_unit(pointer, &row), &handle) > 0 {
                guard let name = row.name, let load = row.load_state,
                    let active = row.active_state, let sub = row.sub_state, let path = row.path
                else { continue }
                body(
                    SystemdUnit(
                        name: String(cString: name), loadState: String(cString: load),
                        activeState: String(cString: active), subState: String(cString: sub),
                        path: String(cString: path)))
            }
        }
    }

    package func number(
        _ property: SystemdProperty, of path: String
    ) throws(ReadError) -> UInt64? {
        try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw failure(property.name, EBADF) }
            var value: UInt64 = 0
            let code = petrel_bus_number(
                pointer, Self.service, path, property.interface, property.name, &value)
            return try check(property.name, code, &handle) > 0 ? value : nil
        }
    }

    package func text(_ property: SystemdProperty, of path: String) throws(ReadError) -> String? {
        try handle.withLock { (handle) throws(ReadError) in
            guard let pointer = handle.pointer else { throw failure(property.name, EBADF) }
            var value: UnsafePointer<CChar>?
            let code = petrel_bus_text(
                pointer, Self.service, path, property.interface, property.name, &value)
            guard try check(property.name, code, &handle) > 0, let value else { return nil }
            return String(cString: value)
        }
    }

    /// False only where there is certainly nothing: a socket that can't be looked at is worth an error.
    private var socketExists: Bool {
        let prefix = "unix:path="
        guard address.hasPrefix(prefix) else { return true }
        let path = address.dropFirst(prefix.count).prefix { $0 != "," && $0 != ";" }
        return access(String(path), F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)
    }

    /// Drops the connection on an error.
    private func check(
        _ operation: String, _ code: Int32, _ handle: inout Handle
    ) throws(ReadError) -> Int32 {
        guard code < 0 else { return code }
        if let pointer = handle.pointer { petrel_bus_close(pointer) }
        handle.pointer = nil
        throw failure(operation, -code)
    }

    private func failure(_ operation: String, _ errno: Int32) -> ReadError {
        let remedy =
            switch errno {
            case EHOSTUNREACH, ENXIO:
                "systemd is not on the bus; where it is not process 1, turn this reader off"
            case EACCES, EPERM: "the bus refuses the agent's user; look at the D-Bus policy"
            case ECONNREFUSED: "nobody listens; start dbus"
            case ETIMEDOUT: "no answer in time; look at the load of process 1 and of dbus"
            default: "the next reading connects anew"
            }
        return .system(operation: "systemd: \(operation) at \(address): \(remedy)", errno: errno)
    }
}
