import Glibc
package import Model
package import World

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

/// What the kernel says of each flaw of the CPUs. Source: node_exporter 1.12 `cpu_vulnerabilities_linux.go`.
package struct VulnerabilityReader: NodeReader {
    package let name = "cpu_vulnerabilities"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    private static let states = ["not affected", "vulnerable", "mitigation", "unknown"]

    /// No families where the kernel or the architecture has no such folder.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("devices/system/cpu/vulnerabilities")
        var family = MetricFamily(
            "node_cpu_vulnerabilities_info", .gauge,
            help: "Details of each CPU vulnerability reported by sysfs. The value of the series "
                + "is an int encoded state of the vulnerability. The same state is stored as a "
                + "string in the label")
        for name in try tree.presentEntries(folder) {
            guard let bytes = try tree.bytesIfPresent("\(folder)/\(name)") else { continue }
            let (state, mitigation) = Self.parse(bytes)
            family.points.append(
                .init(["codename": name, "mitigation": mitigation, "state": state], 1))
        }
        return family.points.isEmpty ? [] : [family]
    }

    /// The state is what the text begins with, in any case, and the mitigation what follows its first word. Another
    /// text, such as `KVM: Mitigation: VMX disabled`, is a mitigation in an unknown state.
    private static func parse(_ bytes: [UInt8]) -> (state: String, mitigation: String) {
        var text = bytes.drop { $0 <= 32 }
        while let last = text.last, last <= 32 { text.removeLast() }
        let lowercase = text.prefix(16).map { (65...90).contains($0) ? $0 + 32 : $0 }
        guard let state = states.first(where: { lowercase.starts(with: $0.utf8) }) else {
            return ("unknown", ProcText.string(text))
        }
        guard state != "not affected" else { return (state, "") }
        let words = ProcText.fields(text).dropFirst().map(ProcText.string)
        return (state, words.joined(separator: " "))
    }
}

/// Watchdog timers. Source: node_exporter 1.12 `watchdog.go`.
package struct WatchdogReader: NodeReader {
    package let name = "watchdog"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// Files below `/sys/class/watchdog/<name>` and the metrics that they become.
    private static let numbers = [
        (file: "bootstatus", metric: "bootstatus"), (file: "fw_version", metric: "fw_version"),
        (file: "nowayout", metric: "nowayout"), (file: "timeleft", metric: "timeleft_seconds"),
        (file: "timeout", metric: "timeout_seconds"),
        (file: "pretimeout", metric: "pretimeout_seconds"),
        (file: "access_cs0", metric: "access_cs0"),
    ]
    /// Files that are labels of the info.
    private static let texts = ["identity", "options", "pretimeout_governor", "state", "status"]

    /// No families where there is no watchdog or this user may not see them. A file that can't be read is left out.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("class/watchdog")
        var families = Self.numbers.map {
            MetricFamily(
                "node_watchdog_\($0.metric)", .gauge,
                help: "Value of /sys/class/watchdog/<watchdog>/\($0.file)")
        }
        var info = MetricFamily(
            "node_watchdog_info", .gauge, help: "Info of /sys/class/watchdog/<watchdog>")
        let hidden: Set = [EPERM, EACCES, EINVAL]
        for name in try tree.presentEntries(folder, orErrors: hidden) {
            for (index, number) in Self.numbers.enumerated() {
                let path = "\(folder)/\(name)/\(number.file)"
                guard let text = tree.firstLine(path) else { continue }
                let digits = ProcText.trimmed(Array(text.utf8)[...])
                guard let value = KernelInteger.parse(digits) else {
                    throw .malformed(path: path, detail: "no whole number")
                }
                families[index].points.append(.init(.one("name", name), Double(value)))
            }
            var labels = [Label("name", name)]
            for file in Self.texts {
                guard let text = tree.firstLine("\(folder)/\(name)/\(file)") else { continue }
                let trimmed = ProcText.trimmed(Array(text.utf8)[...])
                labels.append(Label(file, ProcText.string(trimmed)))
            }
            info.points.append(.init(Labels(labels), 1))
        }
        return (families + [info]).filter { !$0.points.isEmpty }
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

extension WorldFileTree {
    /// The names in a folder, sorted; none where there is no such folder, or where listing fails with one of `codes`.
    func presentEntries(
        _ path: String, orErrors codes: Set<Int32> = []
    ) throws(ReadError) -> [String] {
        do { return try list(path).sorted(by: bytesPrecede) } catch {
            guard error.errno == ENOENT || codes.contains(error.errno) else { throw .file(error) }
            return []
        }
    }
}
