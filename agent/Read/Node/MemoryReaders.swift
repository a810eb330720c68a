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

/// Swap devices and files from `/proc/swaps`. Source: node_exporter 1.12 `swap_linux.go`.
package struct SwapReader: NodeReader {
    package let name = "swap"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// No families in a kernel without swap and on a host without swap devices. Spaces in a file's name stay as the
    /// kernel writes them, `\040`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("swaps")
        guard let bytes = try tree.bytesIfPresent(path) else { return [] }
        var size = MetricFamily(
            "node_swap_size_bytes", .gauge, help: "Swap device size in bytes.")
        var used = MetricFamily(
            "node_swap_used_bytes", .gauge, help: "Swap device used in bytes.")
        var priority = MetricFamily("node_swap_priority", .gauge, help: "Swap device priority.")
        var isHead = true
        var malformed: String?
        ProcText.forEachLine(bytes) { line in
            guard !isHead else {
                isHead = false
                return
            }
            let fields = ProcText.fields(line)
            guard fields.count >= 5, let sizeKilobytes = ProcText.number(fields[2]),
                let usedKilobytes = ProcText.number(fields[3]),
                let level = Int64(ProcText.string(fields[4]))
            else {
                malformed = ProcText.string(line)
                return
            }
            let labels = Labels.two(
                "device", ProcText.string(fields[0]), "swap_type", ProcText.string(fields[1]))
            size.points.append(.init(labels, sizeKilobytes * 1024))
            used.points.append(.init(labels, usedKilobytes * 1024))
            priority.points.append(.init(labels, Double(level)))
        }
        if let malformed { throw .malformed(path: path, detail: "not understood: \(malformed)") }
        return size.points.isEmpty ? [] : [size, used, priority]
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
