import Glibc
package import Model
package import World

/// Time lost for want of CPU, memory and I/O, and to interrupts, from `/proc/pressure`.
/// Source: node_exporter 1.12 `pressure_linux.go`.
package struct PressureReader: NodeReader {
    package let name = "pressure"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// A line of a resource's file and the counter that it is.
    private struct Line {
        var resource: String
        /// `some`: a task or more waited; `full`: all of them did.
        var kind: String
        var metric: String
        var help: String
    }

    private static let lines: [Line] = [
        Line(
            resource: "cpu", kind: "some", metric: "cpu_waiting_seconds_total",
            help: "Total time in seconds that processes have waited for CPU time"),
        Line(
            resource: "io", kind: "some", metric: "io_waiting_seconds_total",
            help: "Total time in seconds that processes have waited due to IO congestion"),
        Line(
            resource: "io", kind: "full", metric: "io_stalled_seconds_total",
            help: "Total time in seconds no process could make progress due to IO congestion"),
        Line(
            resource: "memory", kind: "some", metric: "memory_waiting_seconds_total",
            help: "Total time in seconds that processes have waited for memory"),
        Line(
            resource: "memory", kind: "full", metric: "memory_stalled_seconds_total",
            help: "Total time in seconds no process could make progress due to memory congestion"),
        Line(
            resource: "irq", kind: "full", metric: "irq_stalled_seconds_total",
            help: "Total time in seconds no process could make progress due to IRQ congestion"),
    ]

    /// A resource that the kernel has not (no file), or whose accounting is off (EOPNOTSUPP, what `psi=0` gives for all
    /// of them and newer kernels for interrupts alone), has no families.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = []
        for resource in ["cpu", "io", "memory", "irq"] {
            let path = paths.proc("pressure/\(resource)")
            let totals: [String: Double]
            do { totals = try Self.totals(try tree.bytes(path), path: path) } catch {
                guard case .file(let failure) = error,
                    failure.errno == ENOENT || failure.errno == EOPNOTSUPP
                else { throw error }
                continue
            }
            for line in Self.lines where line.resource == resource {
                guard let microseconds = totals[line.kind] else { continue }
                // Divided twice, as node_exporter does: the last bits are the same.
                families.append(
                    .counter(
                        "node_pressure_\(line.metric)", help: line.help,
                        microseconds / 1000 / 1000))
            }
        }
        return families
    }

    /// The totals in microseconds by the line's first word; other words than `some` and `full` are passed over.
    private static func totals(_ bytes: [UInt8], path: String) throws(ReadError)
        -> [String: Double]
    {
        var totals: [String: Double] = [:]
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard let kind = fields.first.map(ProcText.string), ["some", "full"].contains(kind)
            else { continue }
            let total = fields.last { ProcText.hasPrefix($0, "total=") }
            guard let value = total.flatMap({ ProcText.number($0.dropFirst(6)) }) else {
                throw .malformed(path: path, detail: "no total in the line \(kind)")
            }
            totals[kind] = value
        }
        return totals
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

/// Paging counts from `/proc/vmstat`, each a family of no said type. Source: node_exporter 1.12 `vmstat_linux.go`.
package struct VirtualMemoryReader: NodeReader {
    package let name = "vmstat"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let includes: @Sendable (String) -> Bool

    /// `includes` chooses fields by name, as `--collector.vmstat.fields`.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        includes: @escaping @Sendable (String) -> Bool = VirtualMemoryReader.isIncludedByDefault
    ) {
        self.tree = tree
        self.paths = paths
        self.includes = includes
    }

    /// Throws `malformed` where a chosen field has no number, and where the file has no field at all.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("vmstat")
        let bytes = try tree.bytes(path)
        var families: [MetricFamily] = []
        var hasField = false
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard let field = fields.first.map(ProcText.string) else { continue }
            hasField = true
            guard includes(field) else { continue }
            guard fields.count >= 2, let value = ProcText.number(fields[1]) else {
                throw .malformed(path: path, detail: "no number in the field \(field)")
            }
            families.append(
                MetricFamily(
                    "node_vmstat_\(field)", .unknown,
                    help: "/proc/vmstat information field \(field).", points: [.init(.empty, value)]
                ))
        }
        guard hasField else { throw .malformed(path: path, detail: "no field") }
        return families
    }

    /// node_exporter's default, `^(oom_kill|pgpg|pswp|pg.*fault).*`.
    package static func isIncludedByDefault(_ field: String) -> Bool {
        if ["oom_kill", "pgpg", "pswp"].contains(where: field.hasPrefix) { return true }
        return field.hasPrefix("pg") && field.dropFirst(2).contains("fault")
    }
}
