package import Model
package import World

/// `node_uname_info`, whose `nodename` ties dashboards to a host. Source: node_exporter 1.12 `uname.go`.
package struct IdentityReader: NodeReader {
    package let name = "uname"
    private let host: any HostCalls

    package init(host: any HostCalls) { self.host = host }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let identity = try host.identity()
        return [
            MetricFamily(
                "node_uname_info", .gauge,
                help: "Labeled system information as provided by the uname system call.",
                points: [
                    .init(
                        [
                            "sysname": identity.system, "release": identity.release,
                            "version": identity.version, "machine": identity.machine,
                            "nodename": identity.node, "domainname": identity.domain,
                        ], 1)
                ])
        ]
    }
}

/// The wall clock, the zone and the kernel's clock sources. Source: node_exporter 1.12 `time.go`.
package struct TimeReader: NodeReader {
    package let name = "time"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let host: any HostCalls

    package init(tree: any WorldFileTree, paths: NodePaths, host: any HostCalls) {
        self.tree = tree
        self.paths = paths
        self.host = host
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let zone = host.zone(at: now)
        var available = MetricFamily(
            "node_time_clocksource_available_info", .gauge,
            help: "Available clocksources read from '/sys/devices/system/clocksource'.")
        var current = MetricFamily(
            "node_time_clocksource_current_info", .gauge,
            help: "Current clocksource read from '/sys/devices/system/clocksource'.")
        let folder = paths.sys("devices/system/clocksource")
        for entry in ((try? tree.list(folder)) ?? []).sorted(by: bytesPrecede) {
            guard entry.hasPrefix("clocksource") else { continue }
            let device = String(entry.dropFirst("clocksource".count))
            let names = tree.firstLine("\(folder)/\(entry)/available_clocksource") ?? ""
            for name in names.split(separator: " ") {
                available.points.append(
                    .init(.two("clocksource", String(name), "device", device), 1))
            }
            if let name = tree.firstLine("\(folder)/\(entry)/current_clocksource"), !name.isEmpty {
                current.points.append(.init(.two("clocksource", name, "device", device), 1))
            }
        }
        return [
            .gauge(
                "node_time_seconds", help: "System time in seconds since epoch (1970).",
                Double(now.rawValue) / 1e9),
            MetricFamily(
                "node_time_zone_offset_seconds", .gauge,
                help: "System time zone offset in seconds.",
                points: [.init(.one("time_zone", zone.name), Double(zone.offsetSeconds))]),
            available, current,
        ]
    }
}

/// The agent's own process, under the names that every Prometheus client uses, and its build.
/// Source: client_golang 1.23 `process_collector_linux.go`.
package struct ProcessReader: NodeReader {
    package let name = "process"
    private let tree: any WorldFileTree
    private let version: String
    private let revision: String
    private let pageBytes: Double

    /// The agent sees itself below `/proc` whatever the host's paths are. `pageBytes` is the kernel's page.
    package init(
        tree: any WorldFileTree, version: String, revision: String = "", pageBytes: Int = 4096
    ) {
        self.tree = tree
        self.version = version
        self.revision = revision
        self.pageBytes = Double(pageBytes)
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = "/proc/self/stat"
        let bytes = try tree.bytes(path)
        // The command in parentheses may hold anything: fields are counted after the last one.
        guard let close = bytes.lastIndex(of: UInt8(ascii: ")")) else {
            throw .malformed(path: path, detail: "no command")
        }
        let fields = ProcText.fields(bytes[(close + 1)...])
        guard fields.count > 21, let user = ProcText.number(fields[11]),
            let system = ProcText.number(fields[12]), let start = ProcText.number(fields[19]),
            let virtual = ProcText.number(fields[20]), let resident = ProcText.number(fields[21])
        else { throw .malformed(path: path, detail: "fewer than 24 fields") }
        var families: [MetricFamily] = [
            .counter(
                "process_cpu_seconds_total",
                help: "Total user and system CPU time spent in seconds.", (user + system) / 100),
            .gauge(
                "process_resident_memory_bytes", help: "Resident memory size in bytes.",
                resident * pageBytes),
            .gauge(
                "process_virtual_memory_bytes", help: "Virtual memory size in bytes.", virtual),
        ]
        if let boot = bootSeconds() {
            families.append(
                .gauge(
                    "process_start_time_seconds",
                    help: "Start time of the process since unix epoch in seconds.",
                    boot + start / 100))
        }
        if let descriptors = try? tree.list("/proc/self/fd") {
            families.append(
                .gauge(
                    "process_open_fds", help: "Number of open file descriptors.",
                    Double(descriptors.count)))
        }
        families += limits()
        families += build()
        return families
    }

    private func bootSeconds() -> Double? {
        guard let bytes = try? tree.contents("/proc/stat") else { return nil }
        var boot: Double?
        ProcText.forEachLine(bytes) { line in
            if ProcText.hasPrefix(line, "btime ") { boot = ProcText.number(line.dropFirst(6)) }
        }
        return boot
    }

    private func limits() -> [MetricFamily] {
        guard let bytes = try? tree.contents("/proc/self/limits") else { return [] }
        var families: [MetricFamily] = []
        ProcText.forEachLine(bytes) { line in
            func soft(_ words: Int) -> Double? {
                let fields = ProcText.fields(line)
                guard fields.count > words else { return nil }
                return ProcText.number(fields[words])
                    ?? (ProcText.equals(fields[words], "unlimited") ? Double(UInt64.max) : nil)
            }
            if ProcText.hasPrefix(line, "Max open files"), let value = soft(3) {
                families.append(
                    .gauge(
                        "process_max_fds", help: "Maximum number of open file descriptors.", value))
            }
            if ProcText.hasPrefix(line, "Max address space"), let value = soft(3) {
                families.append(
                    .gauge(
                        "process_virtual_memory_max_bytes",
                        help: "Maximum amount of virtual memory available in bytes.", value))
            }
        }
        return families
    }

    /// Dashboards choose hosts by `node_exporter_build_info`, so it is here beside the agent's own name.
    private func build() -> [MetricFamily] {
        let labels: Labels = ["version": version, "revision": revision]
        return [
            MetricFamily(
                "petrel_agent_build_info", .gauge,
                help: "Always 1; the labels say which agent this is.", points: [.init(labels, 1)]),
            MetricFamily(
                "node_exporter_build_info", .gauge,
                help: "Always 1; the labels say which agent serves node_exporter's metrics.",
                points: [.init(labels, 1)]),
        ]
    }
}
