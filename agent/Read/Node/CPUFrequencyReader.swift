package import Model
package import World

/// Frequencies and governors per CPU from sysfs; CPUs that are off and those without frequency scaling are left out.
/// Source: node_exporter 1.12 `cpufreq_linux.go`, `cpufreq_common.go`; procfs `system_cpu.go`.
package struct CPUFrequencyReader: NodeReader {
    package let name = "cpufreq"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// What is a frequency: its file in `cpufreq`, the end of the metric's name, the help.
    private static let frequencies: [(file: String, name: String, help: String)] = [
        ("cpuinfo_cur_freq", "frequency", "Current CPU thread frequency in hertz."),
        ("cpuinfo_avg_freq", "frequency_avg", "Average CPU thread frequency in hertz."),
        ("cpuinfo_min_freq", "frequency_min", "Minimum CPU thread frequency in hertz."),
        ("cpuinfo_max_freq", "frequency_max", "Maximum CPU thread frequency in hertz."),
        (
            "scaling_cur_freq", "scaling_frequency",
            "Current scaled CPU thread frequency in hertz."
        ),
        (
            "scaling_min_freq", "scaling_frequency_min",
            "Minimum scaled CPU thread frequency in hertz."
        ),
        (
            "scaling_max_freq", "scaling_frequency_max",
            "Maximum scaled CPU thread frequency in hertz."
        ),
    ]

    /// Hertz. Throws `malformed` where a frequency is no number.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("devices/system/cpu")
        let offline = Set(
            ProcText.list(Array((try tree.firstLine(folder + "/offline") ?? "").utf8)[...]))
        var families = Self.frequencies.map {
            MetricFamily("node_cpu_\($0.name)_hertz", .gauge, help: $0.help)
        }
        var governors = MetricFamily(
            "node_cpu_scaling_governor", .gauge,
            help: "Current enabled CPU frequency governor.")
        for entry in try tree.presentEntries(folder) {
            guard let cpu = entry.numbered("cpu"), let number = UInt64(cpu),
                !offline.contains(number)
            else { continue }
            let path = folder + "/" + entry + "/cpufreq"
            // One listing spares an attempt at each of the files that most drivers lack.
            let files = Set(try tree.presentEntries(path))
            guard !files.isEmpty else { continue }
            for (index, frequency) in Self.frequencies.enumerated()
            where files.contains(frequency.file) {
                guard let hertz = try hertz(path + "/" + frequency.file) else { continue }
                families[index].points.append(.init(.one("cpu", cpu), hertz))
            }
            governors.points += try self.governors(cpu, path)
        }
        return (families + [governors]).filter { !$0.points.isEmpty }
    }

    /// The frequency in a file, which has kilohertz; nil where the driver does not know it now.
    private func hertz(_ path: String) throws(ReadError) -> Double? {
        guard let text = try tree.sysText(path), !text.isEmpty, text != "<unknown>" else {
            return nil
        }
        guard let kilohertz = UInt64(text) else {
            throw .malformed(path: path, detail: "no frequency: \(text)")
        }
        return Double(kilohertz) * 1000
    }

    /// A point per governor that there is: 1 of the one that reigns, else 0.
    private func governors(
        _ cpu: String, _ path: String
    ) throws(ReadError) -> [MetricFamily.Point] {
        guard let governor = try tree.sysText(path + "/scaling_governor"), !governor.isEmpty,
            let available = try tree.sysText(path + "/scaling_available_governors")
        else { return [] }
        return ProcText.fields(Array(available.utf8)[...]).map(ProcText.string).map {
            .init(.two("cpu", cpu, "governor", $0), $0 == governor ? 1 : 0)
        }
    }
}
