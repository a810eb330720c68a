package import Model
package import World

/// State and properties per network device from `/sys/class/net`. Source: node_exporter 1.12 `netclass_linux.go`,
/// the way without `--collector.netclass.netlink`. What seldom changes is read once a minute.
package struct NetworkClassReader: NodeReader {
    package let name = "netclass"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let ignores: @Sendable (String) -> Bool
    private let ignoresInvalidSpeed: Bool
    private let memory = KeptReadings<Seldom>()

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
        /// Whether it is of those that seldom change.
        var isHeld = false
    }

    private static let properties: [Property] = [
        Property(file: "addr_assign_type", metric: "address_assign_type", isHeld: true),
        Property(file: "carrier", metric: "carrier"),
        Property(file: "carrier_changes", metric: "carrier_changes_total", type: .counter),
        Property(file: "carrier_up_count", metric: "carrier_up_changes_total", type: .counter),
        Property(file: "carrier_down_count", metric: "carrier_down_changes_total", type: .counter),
        Property(file: "dev_id", metric: "device_id", isHeld: true),
        Property(file: "dormant", metric: "dormant"),
        Property(file: flagsFile, metric: "flags"),
        Property(file: indexFile, metric: "iface_id", isHeld: true),
        Property(file: "iflink", metric: "iface_link", isHeld: true),
        Property(file: "link_mode", metric: "iface_link_mode", isHeld: true),
        Property(file: "mtu", metric: "mtu_bytes"),
        Property(file: "name_assign_type", metric: "name_assign_type", isHeld: true),
        Property(file: "netdev_group", metric: "net_dev_group", isHeld: true),
        Property(file: "speed", metric: "speed_bytes", isSpeed: true),
        Property(file: "tx_queue_len", metric: "transmit_queue_length"),
        Property(file: "type", metric: "protocol_type", isHeld: true),
    ]
    private static let flagsFile = "flags"
    private static let indexFile = "ifindex"
    /// `IFF_UP` among a device's flags: the administrator has switched it on.
    private static let flagUp: Int64 = 1
    /// `speed` is in megabits a second: so many bytes a second each.
    private static let bytesPerMegabit = 125_000.0

    /// What seldom changes of a device. It stands for `ageMaxNanoseconds`, and for the device that has this index: another
    /// one that takes its name has another.
    private struct Seldom {
        var readAt: TimestampNS
        var numbers: [String: Int64]
        var texts: [String: String] = [:]
    }
    private static let ageMaxNanoseconds: Int64 = 60_000_000_000
    /// EPERM and EACCES.
    private static let forbidden: Set<Int32> = [1, 13]

    /// A value whose file is missing, can't be read (the kernel answers EINVAL where a device has no such value) or
    /// holds no number is left out. No families where there is no `/sys/class/net`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("class/net")
        let devices = try tree.presentEntries(folder, orErrors: Self.forbidden)
        guard !devices.isEmpty else { return [] }
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
        for device in devices where !ignores(device) {
            let path = "\(folder)/\(device)"
            // A plain file such as bonding_masters, or a device that has just gone.
            guard let operation = try tree.sysText(path + "/operstate") else { continue }
            let labels = Labels.one("device", device)
            up.points.append(.init(labels, operation == "up" ? 1 : 0))
            let seldom = try seldom(device, path, now)
            var state = "unknown"
            for (index, property) in Self.properties.enumerated() {
                let number =
                    property.isHeld
                    ? seldom.numbers[property.file] : try number("\(path)/\(property.file)")
                guard let number else { continue }
                if property.file == Self.flagsFile {
                    state = number & Self.flagUp == 0 ? "down" : "up"
                }
                if property.isSpeed, number < 0, ignoresInvalidSpeed { continue }
                let factor = property.isSpeed ? Self.bytesPerMegabit : 1
                families[index].points.append(.init(labels, Double(number) * factor))
            }
            var texts = seldom.texts
            texts["device"] = device
            texts["adminstate"] = state
            texts["operstate"] = operation
            texts["duplex"] = try tree.sysText(path + "/duplex")
            info.points.append(.init(Labels(texts), 1))
        }
        memory.keep(only: Set(devices))
        return [up, info] + families
    }

    private func seldom(
        _ device: String, _ path: String, _ now: TimestampNS
    ) throws(ReadError) -> Seldom {
        let index = try number("\(path)/\(Self.indexFile)")
        let numbers = index.map { [Self.indexFile: $0] } ?? [:]
        let kept = try memory.value(
            device,
            where: {
                // A clock that was set back makes it old.
                $0.numbers[Self.indexFile] == index && $0.readAt <= now
                    && now < $0.readAt.advanced(byNanoseconds: Self.ageMaxNanoseconds)
            },
            read: { () throws(ReadError) in
                var seldom = Seldom(readAt: now, numbers: numbers)
                for property in Self.properties
                where property.isHeld && property.file != Self.indexFile {
                    seldom.numbers[property.file] = try number("\(path)/\(property.file)")
                }
                for file in ["address", "broadcast", "ifalias"] {
                    seldom.texts[file] = try tree.sysText("\(path)/\(file)")
                }
                return seldom
            })
        return kept ?? Seldom(readAt: now, numbers: numbers)
    }

    /// A whole number, decimal or, after `0x`, hexadecimal; negative too.
    private func number(_ path: String) throws(ReadError) -> Int64? {
        guard let text = try tree.sysText(path) else { return nil }
        return text.hasPrefix("0x") ? Int64(text.dropFirst(2), radix: 16) : Int64(text)
    }
}
