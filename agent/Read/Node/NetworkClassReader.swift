import Glibc
package import Model
package import World

/// State and properties per network device from `/sys/class/net`. Source: node_exporter 1.12 `netclass_linux.go`,
/// the way without `--collector.netclass.netlink`.
package struct NetworkClassReader: NodeReader {
    package let name = "netclass"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let ignores: @Sendable (String) -> Bool
    private let ignoresInvalidSpeed: Bool

    /// `ignores` chooses the devices to leave out by name, none by default, as `--collector.netclass.ignored-devices`.
    /// `ignoresInvalidSpeed` leaves out speeds below zero, which the kernel gives where it knows none; it is
    /// `--collector.netclass.ignore-invalid-speed`, off by default there and here.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        ignores: @escaping @Sendable (String) -> Bool = { _ in false },
        ignoresInvalidSpeed: Bool = false
    ) {
        self.tree = tree
        self.paths = paths
        self.ignores = ignores
        self.ignoresInvalidSpeed = ignoresInvalidSpeed
    }

    /// A file of a device that holds one number.
    private struct Property {
        var file: String
        var metric: String
        var type: MetricType = .gauge
        var isSpeed = false
    }

    private static let properties: [Property] = [
        Property(file: "addr_assign_type", metric: "address_assign_type"),
        Property(file: "carrier", metric: "carrier"),
        Property(file: "carrier_changes", metric: "carrier_changes_total", type: .counter),
        Property(file: "carrier_up_count", metric: "carrier_up_changes_total", type: .counter),
        Property(file: "carrier_down_count", metric: "carrier_down_changes_total", type: .counter),
        Property(file: "dev_id", metric: "device_id"),
        Property(file: "dormant", metric: "dormant"),
        Property(file: flagsFile, metric: "flags"),
        Property(file: "ifindex", metric: "iface_id"),
        Property(file: "iflink", metric: "iface_link"),
        Property(file: "link_mode", metric: "iface_link_mode"),
        Property(file: "mtu", metric: "mtu_bytes"),
        Property(file: "name_assign_type", metric: "name_assign_type"),
        Property(file: "netdev_group", metric: "net_dev_group"),
        Property(file: "speed", metric: "speed_bytes", isSpeed: true),
        Property(file: "tx_queue_len", metric: "transmit_queue_length"),
        Property(file: "type", metric: "protocol_type"),
    ]
    private static let flagsFile = "flags"
    /// `IFF_UP` among a device's flags: the administrator has switched it on.
    private static let flagUp: Int64 = 1
    /// `speed` is in megabits a second: so many bytes a second each.
    private static let bytesPerMegabit = 125_000.0

    /// A value whose file is missing, can't be read (the kernel answers EINVAL where a device has no such value) or
    /// holds no number is left out. No families where there is no `/sys/class/net`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("class/net")
        let devices: [String]
        do { devices = try tree.list(folder) } catch {
            if [ENOENT, EACCES, EPERM].contains(error.errno) { return [] }
            throw .file(error)
        }
        var up = MetricFamily(
            "node_network_up", .gauge, help: "Value is 1 if operstate is 'up', 0 otherwise.")
        var info = MetricFamily(
            "node_network_info", .gauge,
            help: "Non-numeric data from /sys/class/net/<iface>, value is always 1.")
        var families = Self.properties.map {
            MetricFamily(
                "node_network_\($0.metric)", $0.type,
                help: "Network device property: \($0.metric)")
        }
        for device in devices.sorted(by: bytesPrecede) where !ignores(device) {
            let numbers = Self.properties.map { number("\(folder)/\(device)/\($0.file)") }
            let texts = texts("\(folder)/\(device)")
            // A plain file such as bonding_masters, or a device that has just gone.
            guard !texts.isEmpty || numbers.contains(where: { $0 != nil }) else { continue }
            let labels = Labels.one("device", device)
            up.points.append(.init(labels, texts["operstate"] == "up" ? 1 : 0))
            var state = "unknown"
            for (index, property) in Self.properties.enumerated() {
                guard let number = numbers[index] else { continue }
                if property.file == Self.flagsFile {
                    state = number & Self.flagUp == 0 ? "down" : "up"
                }
                if property.isSpeed, number < 0, ignoresInvalidSpeed { continue }
                let factor = property.isSpeed ? Self.bytesPerMegabit : 1
                families[index].points.append(.init(labels, Double(number) * factor))
            }
            info.points.append(.init(information(device, texts, state), 1))
        }
        return [up, info] + families
    }

    private func information(_ device: String, _ texts: [String: String], _ state: String)
        -> Labels
    {
        var pairs = texts
        pairs["device"] = device
        pairs["adminstate"] = state
        return Labels(pairs)
    }

    /// The files that are labels of the same names, those that can be read.
    private func texts(_ folder: String) -> [String: String] {
        var texts: [String: String] = [:]
        for file in ["address", "broadcast", "duplex", "ifalias", "operstate"] {
            if let text = tree.sysText("\(folder)/\(file)") { texts[file] = text }
        }
        return texts
    }

    /// A whole number, decimal or, after `0x`, hexadecimal; negative too.
    private func number(_ path: String) -> Int64? {
        guard let text = tree.sysText(path) else { return nil }
        return text.hasPrefix("0x") ? Int64(text.dropFirst(2), radix: 16) : Int64(text)
    }
}
