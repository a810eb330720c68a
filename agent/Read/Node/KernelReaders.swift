package import Model
package import World

/// `/proc/meminfo`, one gauge a line. Source: node_exporter 1.12 `meminfo_linux.go`.
package struct MemoryReader: NodeReader {
    package let name = "meminfo"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// Lines that say kB become `…_bytes`; `Active(anon)` becomes `Active_anon`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("meminfo"))
        var families: [MetricFamily] = []
        families.reserveCapacity(64)
        ProcText.forEachLine(bytes) { line in
            let fields = ProcText.fields(line)
            guard fields.count >= 2, let value = ProcText.number(fields[1]) else { return }
            var field = ""
            for scalar in ProcText.string(fields[0]).unicodeScalars {
                switch scalar {
                case ":", ")": break
                case "(": field.unicodeScalars.append("_")
                default: field.unicodeScalars.append(scalar)
                }
            }
            let isKilobytes = fields.count >= 3 && ProcText.equals(fields[2], "kB")
            if isKilobytes { field += "_bytes" }
            families.append(
                .gauge(
                    "node_memory_\(field)", help: "Memory information field \(field).",
                    isKilobytes ? value * 1024 : value))
        }
        guard !families.isEmpty else {
            throw .malformed(path: paths.proc("meminfo"), detail: "no field")
        }
        return families
    }
}

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
