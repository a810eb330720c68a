import LinearRegex
package import YAMLDocument

/// Why an option of the node readers can't be taken.
package enum NodeOptionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Neither a reader nor an option has this name.
    case unknown(String)
    /// node_exporter reads this, Petrel does not.
    case notRead(String)
    /// The value is not what the option takes.
    case value(option: String, value: String, expected: String)
    /// Two options that leave no sense together.
    case exclusive(String, String)

    package var description: String {
        switch self {
        case .unknown(let name): "no node reader has the option '\(name)'"
        case .notRead(let name): "node_exporter's '\(name)' has no counterpart here"
        case .value(let option, let value, let expected):
            "\(option): expected \(expected), found '\(value)'"
        case .exclusive(let first, let second): "\(first) and \(second) exclude each other"
        }
    }
}

/// Which node readers run, and how. Names and values are those of node_exporter's `--collector.…` flags.
package struct NodeOptions: Sendable {
    private var turned: [String: Bool] = [:]
    private var values: [String: [String]] = [:]
    private var defaultsAreOff = false

    package init() {}

    // MARK: - Setting

    /// One flag as node_exporter takes it: `--collector.arp`, `--no-collector.arp`, `--collector.cpu.info`,
    /// `--no-collector.stat.softirq`, `--collector.diskstats.device-exclude=REGEX` or, for no reader but those that
    /// other flags turn on, `--collector.disable-defaults`.
    package mutating func apply(flag: String) throws(NodeOptionError) {
        var name = flag[...]
        while name.first == "-" { name.removeFirst() }
        let isOn = !name.hasPrefix("no-")
        if !isOn { name.removeFirst(3) }
        guard name.hasPrefix("collector.") else { throw .unknown(flag) }
        name.removeFirst("collector.".count)
        let parts = name.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let option = String(parts[0])
        guard parts.count < 2 else { return try set(option, to: String(parts[1])) }
        guard option != "disable-defaults" else {
            defaultsAreOff = isOn
            return
        }
        guard option.contains(".") else { return try turn(option, on: isOn) }
        try set(option, to: isOn ? "true" : "false")
    }

    /// The keys `disable` and `options` of a configuration's section.
    package mutating func read(_ section: inout YAMLMapping) throws(YAMLError) {
        for name in try section.strings("disable") {
            do throws(NodeOptionError) {
                try turn(name, on: false)
            } catch { throw section.error(at: "disable", "\(error)") }
        }
        var options = try section.section("options")
        for option in options.keys {
            guard let node = options.node(option) else { continue }
            let texts: [String]
            if case .scalar(let scalar) = node.content {
                texts = [scalar.text]
            } else {
                texts = try options.strings(option)
            }
            for text in texts {
                do throws(NodeOptionError) {
                    try set(option, to: text)
                } catch { throw options.error(at: option, "\(error)") }
            }
        }
        try options.finish()
    }

    /// Turns the reader `name` on or off.
    package mutating func turn(_ name: String, on isOn: Bool) throws(NodeOptionError) {
        guard Self.readers[name] != nil else {
            throw Self.isKnownElsewhere(name) ? .notRead(name) : .unknown(name)
        }
        turned[name] = isOn
    }

    /// Sets `READER.OPTION`; an option that takes several values gets one more.
    package mutating func set(_ option: String, to value: String) throws(NodeOptionError) {
        guard let kind = Self.options[option] else {
            throw Self.isKnownElsewhere(option) ? .notRead(option) : .unknown(option)
        }
        switch kind {
        case .flag:
            guard ["true", "false"].contains(value) else {
                throw .value(option: option, value: value, expected: "true or false")
            }
            values[option] = [value]
        case .regex:
            do throws(LinearRegexError) {
                _ = try LinearRegex(value, anchored: false)
            } catch {
                throw .value(
                    option: option, value: value, expected: "a regular expression (\(error))")
            }
            values[option] = [value]
        case .texts:
            values[option, default: []].append(value)
            if option.hasPrefix("sysctl.") { try checkSysctls(option, value) }
        }
        for (include, exclude) in Self.pairs
        where !(values[include]?[0] ?? "").isEmpty && !(values[exclude]?[0] ?? "").isEmpty {
            throw .exclusive(include, exclude)
        }
    }

    private func checkSysctls(_ option: String, _ value: String) throws(NodeOptionError) {
        do throws(SysctlOptionError) {
            _ = try SysctlReader.choices(
                include: texts("sysctl.include") ?? [],
                includeInfo: texts("sysctl.include-info") ?? [])
        } catch {
            throw .value(option: option, value: value, expected: "a sysctl (\(error))")
        }
    }

    // MARK: - What is set

    /// Whether the reader `name` runs.
    package func isOn(_ name: String) -> Bool {
        turned[name] ?? (defaultsAreOff ? false : Self.readers[name] ?? false)
    }

    /// Whether `reader` runs, and how, as under `other`.
    package func isSame(_ reader: String, as other: NodeOptions) -> Bool {
        let prefix = (reader == "powersupplyclass" ? "powersupply" : reader) + "."
        func own(_ options: NodeOptions) -> [String: [String]] {
            options.values.filter { $0.key.hasPrefix(prefix) }
        }
        // The CPU's reader leaves frequencies out where their own reader is off.
        return isOn(reader) == other.isOn(reader) && own(self) == own(other)
            && (reader != "cpu" || isOn("cpufreq") == other.isOn("cpufreq"))
    }

    func flag(_ option: String, default value: Bool = false) -> Bool {
        values[option].map { $0[0] == "true" } ?? value
    }

    /// All values of an option; nil where none is set.
    func texts(_ option: String) -> [String]? { values[option] }

    /// A filter by a regular expression that matches anywhere in a name, or with `anchored` the whole, as node_exporter's
    /// do; nil where none is set, and for an empty one, which filters nothing there.
    func matcher(_ option: String, anchored: Bool = false) -> (@Sendable (String) -> Bool)? {
        guard let pattern = values[option]?[0], !pattern.isEmpty,
            let regex = try? LinearRegex(pattern, anchored: anchored)
        else { return nil }
        return { regex.matches($0) }
    }

    /// What is left out by `READER.WHAT-exclude` or not taken in by `READER.WHAT-include`; `standard` where neither is set.
    func excludes(
        _ option: String, default standard: @escaping @Sendable (String) -> Bool = { _ in false }
    ) -> @Sendable (String) -> Bool {
        if let included = matcher(option + "-include") { return { !included($0) } }
        // Set to nothing, it excludes nothing.
        if values[option + "-exclude"]?[0].isEmpty == true { return { _ in false } }
        return matcher(option + "-exclude") ?? standard
    }

    // MARK: - What there is

    private enum Kind { case flag, regex, texts }

    /// Every reader and whether it runs where nothing else is said.
    private static let readers: [String: Bool] = {
        let on = [
            "arp", "bonding", "btrfs", "cgroups", "conntrack", "container", "cpu",
            "cpu_vulnerabilities", "cpufreq", "diskstats", "dmi", "edac", "entropy",
            "filefd", "filesystem", "hwmon", "interrupts", "ipvs", "kernel_hung",
            "loadavg", "mdadm", "meminfo", "netclass", "netdev", "netstat", "nfs",
            "nfsd", "nvme", "os", "powersupplyclass", "pressure", "processes",
            "rapl", "schedstat", "sockstat", "softnet", "stat", "swap", "sysctl",
            "systemd", "tcpstat", "textfile", "thermal_zone", "time", "timex",
            "udp_queues", "uname", "vmstat", "watchdog", "xfs", "zfs",
        ]
        return Dictionary(uniqueKeysWithValues: on.map { ($0, true) })
    }()

    private static let options: [String: Kind] = [
        "arp.device-include": .regex, "arp.device-exclude": .regex,
        "container.all-of-units": .flag, "cpu.info": .flag, "cpu.info.flags-include": .regex,
        "cpu.info.bugs-include": .regex,
        "diskstats.device-include": .regex, "diskstats.device-exclude": .regex,
        "filesystem.mount-points-include": .regex, "filesystem.mount-points-exclude": .regex,
        "filesystem.fs-types-include": .regex, "filesystem.fs-types-exclude": .regex,
        "hwmon.chip-include": .regex, "hwmon.chip-exclude": .regex,
        "hwmon.sensor-include": .regex, "hwmon.sensor-exclude": .regex,
        "interrupts.name-include": .regex, "interrupts.name-exclude": .regex,
        "interrupts.include-zeros": .flag,
        "netclass.ignored-devices": .regex, "netclass.ignore-invalid-speed": .flag,
        "netdev.device-include": .regex, "netdev.device-exclude": .regex,
        "netstat.fields": .regex, "powersupply.ignored-supplies": .regex,
        "processes.thread-states": .flag, "rapl.enable-zone-label": .flag, "stat.softirq": .flag,
        "sysctl.include": .texts,
        "sysctl.include-info": .texts, "systemd.unit-include": .regex,
        "systemd.unit-exclude": .regex, "systemd.enable-task-metrics": .flag,
        "systemd.enable-restarts-metrics": .flag, "systemd.enable-start-time-metrics": .flag,
        "textfile.directory": .texts, "vmstat.fields": .regex,
    ]

    private static let pairs = options.keys.filter { $0.hasSuffix("-include") }.map {
        ($0, String($0.dropLast("include".count)) + "exclude")
    }

    /// Whether node_exporter has this reader or option.
    private static func isKnownElsewhere(_ name: String) -> Bool {
        othersOptions.contains(name) || othersReaders.contains(String(name.prefix { $0 != "." }))
    }

    /// Options of node_exporter 1.12 that this program has not, of readers that it has.
    private static let othersOptions: Set<String> = [
        "arp.netlink", "cpu.guest", "filesystem.mount-timeout", "filesystem.stat-workers",
        "ipvs.backend-labels", "netclass.netlink", "netdev.address-info",
        "netdev.enable-detailed-metrics", "netdev.label-ifalias", "netdev.netlink",
        "systemd.private",
    ]

    /// Readers of node_exporter 1.12 that this program has not.
    private static let othersReaders: Set<String> = [
        "bcache", "bcachefs", "buddyinfo", "dmmultipath", "drbd", "drm", "ethtool",
        "fibrechannel", "infiniband", "ksmd", "lnstat", "logind", "meminfo_numa",
        "mountstats", "network_route", "ntp", "nvmesubsystem", "pcidevice", "perf",
        "powersupply", "qdisc", "runit", "selinux", "slabinfo", "softirqs",
        "supervisord", "tapestats", "wifi", "xfrm", "zoneinfo",
    ]
}
