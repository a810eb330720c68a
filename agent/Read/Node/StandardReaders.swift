package import World

/// The readers that an agent runs, with node_exporter's defaults unless told otherwise.
package enum StandardReaders {
    /// Where `textfile` looks unless told otherwise: Debian's folder for node_exporter's files, and
    /// the root helper's.
    private static let textFileFolders = ["/var/lib/prometheus/node-exporter", "/run/petrel"]

    /// The readers that `options` leave, and the agent's own process. `report` hears what is wrong with files that others
    /// write.
    package static func make(
        tree: any WorldFileTree, paths: NodePaths = NodePaths(),
        options: NodeOptions = NodeOptions(),
        host: any HostCalls = GlibcHostCalls(), containers: any ContainerNames = NoContainerNames(),
        version: String, revision: String = "",
        report: @escaping @Sendable (ReadError) -> Void = { _ in }
    ) -> [any NodeReader] {
        let all: [any NodeReader] =
            processors(tree, paths, options, host) + memory(tree, paths, options)
            + storage(tree, paths, options, host) + network(tree, paths, options, host)
            + hardware(tree, paths, options) + services(tree, paths, options, containers, report)
            + [
                TimeReader(tree: tree, paths: paths, host: host), ClockReader(host: host),
                IdentityReader(host: host), OSReleaseReader(tree: tree, paths: paths),
            ]
        return all.filter { options.isOn($0.name) }
            + [ProcessReader(tree: tree, version: version, revision: revision)]
    }

    private static func processors(
        _ tree: any WorldFileTree, _ paths: NodePaths, _ options: NodeOptions,
        _ host: any HostCalls
    ) -> [any NodeReader] {
        let excludesInterrupt = options.excludes("interrupts.name")
        return [
            CPUReader(
                tree: tree, paths: paths,
                options: .init(
                    hasInfo: options.flag("cpu.info"), hasFrequency: options.isOn("cpufreq"),
                    includesFlag: options.matcher("cpu.info.flags-include"),
                    includesBug: options.matcher("cpu.info.bugs-include"))),
            CPUFrequencyReader(tree: tree, paths: paths),
            VulnerabilityReader(tree: tree, paths: paths),
            InterruptReader(
                tree: tree, paths: paths, includes: { !excludesInterrupt($0) },
                hasZeros: options.flag("interrupts.include-zeros", default: true)),
            LoadReader(tree: tree, paths: paths),
            SchedulerReader(tree: tree, paths: paths),
            StatReader(tree: tree, paths: paths, hasSoftIRQ: options.flag("stat.softirq")),
            PressureReader(tree: tree, paths: paths),
            ProcessesReader(
                tree: tree, paths: paths, hasThreadStates: options.flag("processes.thread-states")),
            HungTaskReader(tree: tree, paths: paths),
        ]
    }

    private static func memory(
        _ tree: any WorldFileTree, _ paths: NodePaths, _ options: NodeOptions
    ) -> [any NodeReader] {
        [
            MemoryReader(tree: tree, paths: paths),
            SwapReader(tree: tree, paths: paths),
            VirtualMemoryReader(
                tree: tree, paths: paths,
                includes: options.matcher("vmstat.fields")
                    ?? VirtualMemoryReader.isIncludedByDefault),
            EntropyReader(tree: tree, paths: paths),
            FileDescriptorReader(tree: tree, paths: paths),
            MemoryErrorReader(tree: tree, paths: paths),
        ]
    }

    private static func storage(
        _ tree: any WorldFileTree, _ paths: NodePaths, _ options: NodeOptions,
        _ host: any HostCalls
    ) -> [any NodeReader] {
        [
            DiskReader(
                tree: tree, paths: paths,
                excludes: options.excludes(
                    "diskstats.device", default: DiskReader.isExcludedByDefault)),
            FileSystemReader(
                tree: tree, paths: paths, host: host,
                excludesMountPoint: options.excludes(
                    "filesystem.mount-points", default: MountTable.isMountPointExcludedByDefault),
                excludesType: options.excludes(
                    "filesystem.fs-types", default: MountTable.isTypeExcludedByDefault)),
            RAIDReader(tree: tree, paths: paths),
            NVMeReader(tree: tree, paths: paths),
            XFSReader(tree: tree, paths: paths),
            BtrfsReader(tree: tree, paths: paths),
            ZFSReader(tree: tree, paths: paths),
        ]
    }

    /// node_exporter's, and one more that its most used dashboard asks for.
    @Sendable private static func isProtocolKeyIncluded(_ key: String) -> Bool {
        NetstatReader.isIncludedByDefault(key) || key == "Tcp_MaxConn"
    }

    private static func network(
        _ tree: any WorldFileTree, _ paths: NodePaths, _ options: NodeOptions,
        _ host: any HostCalls
    ) -> [any NodeReader] {
        let excludesNeighbor = options.excludes("arp.device")
        let excludesDevice = options.excludes("netdev.device")
        return [
            ARPReader(tree: tree, paths: paths, includes: { !excludesNeighbor($0) }),
            BondingReader(tree: tree, paths: paths),
            ConntrackReader(tree: tree, paths: paths),
            IPVSReader(tree: tree, paths: paths),
            NetworkClassReader(
                tree: tree, paths: paths,
                ignores: options.matcher("netclass.ignored-devices") ?? { _ in false },
                ignoresInvalidSpeed: options.flag("netclass.ignore-invalid-speed")),
            NetworkReader(tree: tree, paths: paths, includes: { !excludesDevice($0) }),
            NetstatReader(
                tree: tree, paths: paths,
                includes: options.matcher("netstat.fields") ?? isProtocolKeyIncluded),
            NFSReader(tree: tree, paths: paths),
            NFSServerReader(tree: tree, paths: paths),
            SockstatReader(tree: tree, paths: paths),
            SoftnetReader(tree: tree, paths: paths),
            TCPStatReader(host: host),
            UDPQueuesReader(tree: tree, paths: paths),
        ]
    }

    private static func hardware(
        _ tree: any WorldFileTree, _ paths: NodePaths, _ options: NodeOptions
    ) -> [any NodeReader] {
        [
            DMIReader(tree: tree, paths: paths),
            EnergyReader(
                tree: tree, paths: paths, hasZoneLabel: options.flag("rapl.enable-zone-label")),
            HardwareMonitorReader(
                tree: tree, paths: paths, excludesChip: options.excludes("hwmon.chip"),
                excludesSensor: options.excludes("hwmon.sensor")),
            PowerSupplyReader(
                tree: tree, paths: paths,
                excludes: options.matcher("powersupply.ignored-supplies") ?? { _ in false }),
            ThermalReader(tree: tree, paths: paths),
            WatchdogReader(tree: tree, paths: paths),
        ]
    }

    private static func services(
        _ tree: any WorldFileTree, _ paths: NodePaths, _ options: NodeOptions,
        _ containers: any ContainerNames, _ report: @escaping @Sendable (ReadError) -> Void
    ) -> [any NodeReader] {
        let units = SystemdReader.Options(
            includesUnit: options.matcher("systemd.unit-include", anchored: true)
                ?? { !$0.isEmpty },
            excludesUnit: options.matcher("systemd.unit-exclude", anchored: true)
                ?? SystemdReader.isUnitExcludedByDefault,
            hasTasks: options.flag("systemd.enable-task-metrics"),
            hasRestarts: options.flag("systemd.enable-restarts-metrics", default: true),
            hasStartTimes: options.flag("systemd.enable-start-time-metrics", default: true))
        let folders = options.texts("textfile.directory")
        // Options that are wrong were refused when they were set.
        let sysctls = try? SysctlReader(
            tree: tree, paths: paths, include: options.texts("sysctl.include") ?? [],
            includeInfo: options.texts("sysctl.include-info") ?? [])
        return (sysctls.map { [$0] } ?? [])
            + [
                ContainerReader(
                    tree: tree, paths: paths, names: containers,
                    tellsAllOfUnits: options.flag("container.all-of-units")),
                ControlGroupReader(tree: tree, paths: paths),
                SystemdReader(manager: LibsystemdManager(), options: units),
                TextFileReader(
                    tree: tree, directories: folders ?? textFileFolders,
                    mayBeAbsent: folders == nil, report: report),
            ]
    }
}
