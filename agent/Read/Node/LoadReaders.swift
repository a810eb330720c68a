package import Model
package import World

/// `/proc/loadavg`. Source: node_exporter 1.12 `loadavg.go`.
package struct LoadReader: NodeReader {
    package let name = "loadavg"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("loadavg"))
        let loads = ProcText.fields(bytes[...]).prefix(3).compactMap(ProcText.decimal)
        guard loads.count == 3 else {
            throw .malformed(path: paths.proc("loadavg"), detail: "fewer than three numbers")
        }
        return [
            .gauge("node_load1", help: "1m load average.", loads[0]),
            .gauge("node_load5", help: "5m load average.", loads[1]),
            .gauge("node_load15", help: "15m load average.", loads[2]),
        ]
    }
}

/// The lines of `/proc/stat` that are not per CPU. Source: node_exporter 1.12 `stat_linux.go`.
package struct StatReader: NodeReader {
    package let name = "stat"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let hasSoftIRQ: Bool

    /// `hasSoftIRQ` is node_exporter's `--collector.stat.softirq`, off by default there and here.
    package init(tree: any WorldFileTree, paths: NodePaths, hasSoftIRQ: Bool = false) {
        self.tree = tree
        self.paths = paths
        self.hasSoftIRQ = hasSoftIRQ
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("stat"))
        var families: [MetricFamily] = []
        ProcText.forEachLine(bytes) { line in
            // The intr line has a number per interrupt: only its first, the sum, is split off.
            let fields = line.split(
                maxSplits: ProcText.hasPrefix(line, "intr ") ? 2 : 16,
                omittingEmptySubsequences: true, whereSeparator: { $0 == 32 })
            guard fields.count >= 2, let value = ProcText.number(fields[1]) else { return }
            switch ProcText.string(fields[0]) {
            case "btime":
                families.append(
                    .gauge("node_boot_time_seconds", help: "Node boot time, in unixtime.", value))
            case "ctxt":
                families.append(
                    .counter(
                        "node_context_switches_total", help: "Total number of context switches.",
                        value))
            case "processes":
                families.append(
                    .counter("node_forks_total", help: "Total number of forks.", value))
            case "intr":
                families.append(
                    .counter(
                        "node_intr_total", help: "Total number of interrupts serviced.", value))
            case "procs_running":
                families.append(
                    .gauge(
                        "node_procs_running", help: "Number of processes in runnable state.", value
                    ))
            case "procs_blocked":
                families.append(
                    .gauge(
                        "node_procs_blocked",
                        help: "Number of processes blocked waiting for I/O to complete.", value))
            case "softirq" where hasSoftIRQ:
                families.append(softIRQ(fields.dropFirst(2)))
            default: break
            }
        }
        guard !families.isEmpty else {
            throw .malformed(path: paths.proc("stat"), detail: "no known line")
        }
        return families
    }

    private func softIRQ(_ counts: ArraySlice<ArraySlice<UInt8>>) -> MetricFamily {
        MetricFamily(
            "node_softirqs_total", .counter, help: "Number of softirq calls.",
            points: zip(Self.vectors, counts).compactMap { vector, count in
                ProcText.number(count).map { .init(.one("vector", vector), $0) }
            })
    }

    /// The kernel's order of soft interrupts in `/proc/stat`.
    private static let vectors = [
        "hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer",
        "rcu",
    ]
}

/// Time lost for want of CPU, memory and I/O, and to interrupts, from `/proc/pressure`.
/// Source: node_exporter 1.12 `pressure_linux.go`.
package struct PressureReader: NodeReader {
    package let name = "pressure"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// A line of a resource's file and the counter that it is.
    private struct Line {
        var resource: String
        /// `some`: a task or more waited; `full`: all of them did.
        var isFull = false
        var metric: String
        var help: String
    }

    private static let lines: [Line] = [
        Line(
            resource: "cpu", metric: "cpu_waiting_seconds_total",
            help: "Total time in seconds that processes have waited for CPU time"),
        Line(
            resource: "io", metric: "io_waiting_seconds_total",
            help: "Total time in seconds that processes have waited due to IO congestion"),
        Line(
            resource: "io", isFull: true, metric: "io_stalled_seconds_total",
            help: "Total time in seconds no process could make progress due to IO congestion"),
        Line(
            resource: "memory", metric: "memory_waiting_seconds_total",
            help: "Total time in seconds that processes have waited for memory"),
        Line(
            resource: "memory", isFull: true, metric: "memory_stalled_seconds_total",
            help: "Total time in seconds no process could make progress due to memory congestion"),
        Line(
            resource: "irq", isFull: true, metric: "irq_stalled_seconds_total",
            help: "Total time in seconds no process could make progress due to IRQ congestion"),
    ]

    /// A resource that the kernel has not (no file), or whose accounting is off (EOPNOTSUPP, what `psi=0` gives for all
    /// of them and newer kernels for interrupts alone), has no families.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = []
        for resource in ["cpu", "io", "memory", "irq"] {
            let path = paths.proc("pressure/\(resource)")
            guard let bytes = try files.bytes(path) else { continue }
            guard let totals = ProcText.pressureTotals(bytes) else {
                throw .malformed(path: path, detail: "no total")
            }
            for line in Self.lines where line.resource == resource {
                guard let total = line.isFull ? totals.full : totals.some else { continue }
                // Divided twice, as node_exporter does: the last bits are the same.
                families.append(
                    .counter(
                        "node_pressure_\(line.metric)", help: line.help,
                        Double(total) / 1000 / 1000))
            }
        }
        return families
    }
}

/// Time that tasks ran and waited per CPU from `/proc/schedstat`. Source: node_exporter 1.12 `schedstat_linux.go`.
package struct SchedulerReader: NodeReader {
    package let name = "schedstat"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// No families where the kernel is built without scheduler statistics.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("schedstat")
        guard let bytes = try tree.bytesIfPresent(path) else { return [] }
        var running = MetricFamily(
            "node_schedstat_running_seconds_total", .counter,
            help: "Number of seconds CPU spent running a process.")
        var waiting = MetricFamily(
            "node_schedstat_waiting_seconds_total", .counter,
            help: "Number of seconds spent by processing waiting for this CPU.")
        var timeslices = MetricFamily(
            "node_schedstat_timeslices_total", .counter,
            help: "Number of timeslices executed by CPU.")
        ProcText.forEachLine(bytes) { line in
            guard ProcText.hasPrefix(line, "cpu") else { return }
            // The CPU and nine numbers; the last three are nanoseconds run, nanoseconds waited and time slices.
            let fields = ProcText.fields(line)
            guard fields.count >= 10, ProcText.unsigned(fields[0].dropFirst(3)) != nil,
                let ran = ProcText.number(fields[7]), let waited = ProcText.number(fields[8]),
                let slices = ProcText.number(fields[9])
            else { return }
            let labels = Labels.one("cpu", ProcText.string(fields[0].dropFirst(3)))
            running.points.append(.init(labels, ran / 1e9))
            waiting.points.append(.init(labels, waited / 1e9))
            timeslices.points.append(.init(labels, slices))
        }
        guard !running.points.isEmpty else { throw .malformed(path: path, detail: "no cpu line") }
        return [running, waiting, timeslices]
    }
}

/// Interrupts per CPU from `/proc/interrupts`. Source: node_exporter 1.12 `interrupts_linux.go`.
package struct InterruptReader: NodeReader {
    package let name = "interrupts"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let includes: @Sendable (String) -> Bool
    private let hasZeros: Bool

    /// `includes` stands for `--collector.interrupts.name-include` and `name-exclude` and is asked with
    /// `<type>;<info>;<devices>`, such as `43;IR-PCI-MSI-edge;ahci` or `NMI;Non-maskable interrupts;`. `hasZeros` is
    /// `--collector.interrupts.include-zeros`: whether counts of zero are told.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        includes: @escaping @Sendable (String) -> Bool = { _ in true }, hasZeros: Bool = true
    ) {
        self.tree = tree
        self.paths = paths
        self.includes = includes
        self.hasZeros = hasZeros
    }

    private struct Interrupt {
        var info: String
        var devices: String
        var counts: [Double]
    }

    /// The label `cpu` is the column's number, as in node_exporter. Lines without a column for each CPU (ERR, MIS) are
    /// left out; of lines with the same name the last one counts.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("interrupts")
        let bytes = try tree.bytes(path)
        var cpus: Int?
        var found: [String: Interrupt] = [:]
        var malformed: String?
        ProcText.forEachLine(bytes) { line in
            guard let cpus else {
                let heads = ProcText.fields(line)
                cpus = heads.filter { ProcText.hasPrefix($0, "CPU") }.count
                return
            }
            // No space stands between name and counts on some machines.
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return }
            let fields = ProcText.fields(line[(colon + 1)...])
            guard fields.count > cpus else { return }
            let name = ProcText.trimmed(line[..<colon])
            let isNumbered = ProcText.unsigned(name) != nil
            let words = fields.dropFirst(cpus).map(ProcText.string)
            let interrupt = Interrupt(
                info: isNumbered ? words.first ?? "" : words.joined(separator: " "),
                devices: isNumbered ? words.dropFirst().joined(separator: " ") : "",
                counts: fields.prefix(cpus).compactMap(ProcText.number))
            let type = ProcText.string(name)
            guard includes("\(type);\(interrupt.info);\(interrupt.devices)") else { return }
            if interrupt.counts.count < cpus { malformed = type }
            found[type] = interrupt
        }
        guard let cpus, cpus > 0 else { throw .malformed(path: path, detail: "no CPU column") }
        if let malformed { throw .malformed(path: path, detail: "no count: \(malformed)") }
        return [family(found)].filter { !$0.points.isEmpty }
    }

    private func family(_ found: [String: Interrupt]) -> MetricFamily {
        var family = MetricFamily("node_interrupts_total", .counter, help: "Interrupt details.")
        for type in found.keys.sorted(by: bytesPrecede) {
            guard let interrupt = found[type] else { continue }
            for (cpu, count) in interrupt.counts.enumerated() where hasZeros || count != 0 {
                let labels = [
                    Label("cpu", "\(cpu)"), Label("devices", interrupt.devices),
                    Label("info", interrupt.info), Label("type", type),
                ]
                family.points.append(
                    .init(Labels(sortedUnchecked: labels.filter { !$0.value.isEmpty }), count))
            }
        }
        return family
    }
}
