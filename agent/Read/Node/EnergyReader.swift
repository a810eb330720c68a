package import Model
package import World

/// Energy that the processor's zones used, from the RAPL counters of `/sys/class/powercap`.
/// Source: node_exporter 1.12 `rapl_linux.go`; procfs `sysfs/class_powercap.go`.
package struct EnergyReader: NodeReader {
    package let name = "rapl"
    private let files: DeviceFiles
    private let paths: NodePaths
    private let hasZoneLabel: Bool

    /// `hasZoneLabel` is node_exporter's `--collector.rapl.enable-zone-label`, off by default: one family with the zone
    /// as a label in place of a family for each zone's name.
    package init(tree: any WorldFileTree, paths: NodePaths, hasZoneLabel: Bool = false) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
        self.hasZoneLabel = hasZoneLabel
    }

    /// No families where the processor has no such counters, nor where the agent may not read them: since Linux 5.10
    /// only root may. Zones without a counter of energy are passed over.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        do {
            return try families()
        } catch .file(let error) where [1, 13].contains(error.errno) {
            return []
        }
    }

    private func families() throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = []
        var indexOfFamily: [String: Int] = [:]
        var zonesOfName: [String: Int] = [:]
        let root = paths.sys("class/powercap")
        for entry in try files.entries(root) {
            let path = "\(root)/\(entry)"
            guard let text = try files.text(path + "/name"),
                let energy = try files.unsigned(path + "/energy_uj")
            else { continue }
            let (zone, ownIndex) = Self.zone(text)
            let index = ownIndex ?? zonesOfName[zone, default: 0]
            zonesOfName[zone] = index &+ 1
            let family = hasZoneLabel ? "joules_total" : Self.metricName(zone) + "_joules_total"
            let position = indexOfFamily[family] ?? families.count
            if position == families.count {
                indexOfFamily[family] = position
                families.append(
                    MetricFamily(
                        "node_rapl_" + family, .counter,
                        help: hasZoneLabel
                            ? "Current RAPL value in joules"
                            : "Current RAPL \(zone) value in joules"))
            }
            var labels = Labels.two("index", "\(index)", "path", path)
            if hasZoneLabel { labels = labels.setting("rapl_zone", zone) }
            families[position].points.append(.init(labels, Double(energy) / 1_000_000))
        }
        return families
    }

    /// `package-0` → `package` and 0; the index is nil where the name has none (`dram`) or more than one part
    /// (`package-0-die-1`).
    private static func zone(_ name: String) -> (name: String, index: Int?) {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let index = Int(parts[1]) else { return (name, nil) }
        return (String(parts[0]), index)
    }

    /// Each run of characters that a metric's name may not have becomes one underscore, the underscores around it too.
    /// Source: node_exporter 1.12 `helper.go`, `SanitizeMetricName`.
    private static func metricName(_ text: String) -> String {
        func isAllowed(_ byte: UInt8) -> Bool {
            switch byte {
            case 48...57, 65...90, 97...122: true
            default: false
            }
        }
        var name: [UInt8] = []
        var run: [UInt8] = []
        for byte in text.utf8 {
            guard isAllowed(byte) else {
                run.append(byte)
                continue
            }
            name += closed(run)
            run = []
            name.append(byte)
        }
        return ProcText.string((name + closed(run))[...])

        /// Underscores alone stay as they are.
        func closed(_ run: [UInt8]) -> [UInt8] {
            let count = run.split(separator: UInt8(ascii: "_")).count
            return count == 0 ? run : Array(repeating: UInt8(ascii: "_"), count: count)
        }
    }
}
