package import Model
package import World

/// The agent's own process, under the names that every Prometheus client uses, and its build.
/// Source: client_golang 1.23 `process_collector_linux.go`.
package struct ProcessReader: NodeReader {
    package let name = "process"
    private let tree: any WorldFileTree
    private let version: String
    private let revision: String
    private let pageBytes: Double
    /// The start time does not change, but the clock that it is told by is set now and then.
    private let start = HeldReading()

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
        let bytes: [UInt8]
        do { bytes = try tree.piece(path) } catch { throw .file(error) }
        // The command in parentheses may hold anything: fields are counted after the last one.
        guard let close = bytes.lastIndex(of: UInt8(ascii: ")")) else {
            throw .malformed(path: path, detail: "no command")
        }
        let fields = ProcText.fields(bytes[(close + 1)...])
        guard fields.count > 21, let user = ProcText.number(fields[11]),
            let system = ProcText.number(fields[12]), let ticks = ProcText.number(fields[19]),
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
        families += start.families(now: now) { (startTime(ticks), []) }
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

    /// Of a process that began `ticks` hundredths of a second after the host.
    private func startTime(_ ticks: Double) -> [MetricFamily] {
        guard let bytes = try? tree.contents("/proc/stat") else { return [] }
        var boot: Double?
        ProcText.forEachLine(bytes) { line in
            if ProcText.hasPrefix(line, "btime ") { boot = ProcText.number(line.dropFirst(6)) }
        }
        return boot.map {
            [
                .gauge(
                    "process_start_time_seconds",
                    help: "Start time of the process since unix epoch in seconds.", $0 + ticks / 100
                )
            ]
        } ?? []
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
