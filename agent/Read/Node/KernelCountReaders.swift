package import Model
package import World

/// The random number generator's pool. Source: node_exporter 1.12 `entropy_linux.go`.
package struct EntropyReader: NodeReader {
    package let name = "entropy"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let available = paths.proc("sys/kernel/random/entropy_avail")
        let size = paths.proc("sys/kernel/random/poolsize")
        return [
            .gauge(
                "node_entropy_available_bits", help: "Bits of available entropy.",
                try KernelFile.number(try tree.bytes(available), path: available)),
            .gauge(
                "node_entropy_pool_size_bits", help: "Bits of entropy pool.",
                try KernelFile.number(try tree.bytes(size), path: size)),
        ]
    }
}

/// Open files of the whole host from `/proc/sys/fs/file-nr`. Source: node_exporter 1.12 `filefd_linux.go`.
package struct FileDescriptorReader: NodeReader {
    package let name = "filefd"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("sys/fs/file-nr")
        // The second number, free files, has been zero since Linux 2.6.
        let fields = ProcText.fields(try tree.bytes(path)[...])
        guard fields.count >= 3, let allocated = ProcText.number(fields[0]),
            let maximum = ProcText.number(fields[2])
        else { throw .malformed(path: path, detail: "fewer than three numbers") }
        return [
            .gauge(
                "node_filefd_allocated", help: "File descriptor statistics: allocated.", allocated),
            .gauge("node_filefd_maximum", help: "File descriptor statistics: maximum.", maximum),
        ]
    }
}

/// Tasks that the kernel has found hung since it booted. Source: node_exporter 1.12 `kernel_hung_linux.go`.
package struct HungTaskReader: NodeReader {
    package let name = "kernel_hung"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// The count under a second name too, `node_kernel_hung_tasks`, which node_exporter has not: Grafana's dashboard 1860
    /// asks for that one. No families where the kernel keeps no such count: an older one, or without
    /// `CONFIG_DETECT_HUNG_TASK`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("sys/kernel/hung_task_detect_count")
        guard let bytes = try tree.bytesIfPresent(path) else { return [] }
        let count = try KernelFile.number(bytes, path: path)
        let help = "Total number of tasks that have been detected as hung since the system booted."
        return [
            .counter("node_kernel_hung_tasks_total", help: help, count),
            .counter("node_kernel_hung_tasks", help: help, count),
        ]
    }
}

/// Control groups per controller from `/proc/cgroups`. Source: node_exporter 1.12 `cgroups_linux.go`.
package struct ControlGroupReader: NodeReader {
    package let name = "cgroups"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// No families in a kernel without control groups.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("cgroups")
        guard let bytes = try tree.bytesIfPresent(path) else { return [] }
        // node_exporter tells both with the same words.
        let help = "Current cgroup number of the subsystem."
        var groups = MetricFamily("node_cgroups_cgroups", .gauge, help: help)
        var enabled = MetricFamily("node_cgroups_enabled", .gauge, help: help)
        var malformed: String?
        ProcText.forEachLine(bytes) { line in
            guard line.first != UInt8(ascii: "#") else { return }
            // Controller, hierarchy, number of groups, enabled.
            let fields = ProcText.fields(line)
            guard fields.count >= 4, ProcText.unsigned(fields[1]) != nil,
                let count = ProcText.number(fields[2]), let flag = ProcText.number(fields[3])
            else {
                malformed = ProcText.string(line)
                return
            }
            let labels = Labels.one("subsys_name", ProcText.string(fields[0]))
            groups.points.append(.init(labels, count))
            enabled.points.append(.init(labels, flag))
        }
        if let malformed { throw .malformed(path: path, detail: "not understood: \(malformed)") }
        return groups.points.isEmpty ? [] : [groups, enabled]
    }
}

/// Small files of the kernel. Source: Prometheus' procfs library, `internal/util`.
private enum KernelFile {
    /// The one whole number that the file's content is.
    static func number(_ bytes: [UInt8], path: String) throws(ReadError) -> Double {
        guard let number = ProcText.number(ProcText.stripped(bytes[...])) else {
            throw .malformed(path: path, detail: "no whole number")
        }
        return number
    }
}
