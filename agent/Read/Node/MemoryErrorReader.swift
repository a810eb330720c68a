package import Model
package import World

/// Memory errors that the controllers corrected or could not, from sysfs's EDAC.
/// Source: node_exporter 1.12 `edac_linux.go`.
package struct MemoryErrorReader: NodeReader {
    package let name = "edac"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// No families where no EDAC driver is loaded, and none of rows and channels where the kernel has none (it is built
    /// without `EDAC_LEGACY_SYSFS`).
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families = MemoryErrorFamilies()
        let root = paths.sys("devices/system/edac/mc")
        for entry in try files.entries(root) {
            guard let controller = entry.numbered("mc") else { continue }
            let path = "\(root)/\(entry)"
            let labels = Labels.one("controller", controller)
            // Errors that no row is known of.
            let unknown = Labels.two("controller", controller, "csrow", "unknown")
            try add(path + "/ce_count", labels, to: &families.corrected)
            try add(path + "/ue_count", labels, to: &families.uncorrected)
            try add(path + "/ce_noinfo_count", unknown, to: &families.rowCorrected)
            try add(path + "/ue_noinfo_count", unknown, to: &families.rowUncorrected)
            for row in try files.entries(path) {
                guard let number = row.numbered("csrow") else { continue }
                let labels = Labels.two("controller", controller, "csrow", number)
                try addRow("\(path)/\(row)", labels, to: &families)
            }
        }
        return families.all.filter { !$0.points.isEmpty }
    }

    private func addRow(
        _ path: String, _ labels: Labels, to families: inout MemoryErrorFamilies
    ) throws(ReadError) {
        try add(path + "/ce_count", labels, to: &families.rowCorrected)
        try add(path + "/ue_count", labels, to: &families.rowUncorrected)
        for entry in try files.entries(path) where entry.hasSuffix("_ce_count") {
            let stem = String(entry.dropLast("_ce_count".count))
            guard let channel = stem.numbered("ch") else { continue }
            let module = try files.text("\(path)/ch\(channel)_dimm_label").map(Self.moduleLabel)
            let labels = labels.setting("channel", channel)
                .setting("dimm_label", module ?? "unknown")
            try add("\(path)/\(entry)", labels, to: &families.channelCorrected)
            // Only controllers that tell have this file.
            try add("\(path)/ch\(channel)_ue_count", labels, to: &families.channelUncorrected)
        }
    }

    private func add(
        _ path: String, _ labels: Labels, to family: inout MetricFamily
    ) throws(ReadError) {
        guard let count = try files.unsigned(path) else { return }
        family.points.append(.init(labels, Double(count)))
    }

    /// `mc#0csrow#1channel#2` → `mc0_csrow1_channel2`.
    private static func moduleLabel(_ text: String) -> String {
        let text = text.split(separator: "#").joined()
        return ["csrow", "channel"].reduce(text) { text, part in
            text.split(separator: part, omittingEmptySubsequences: false)
                .joined(separator: "_" + part)
        }
    }
}

private struct MemoryErrorFamilies {
    var corrected = MetricFamily(
        "node_edac_correctable_errors_total", .counter, help: "Total correctable memory errors.")
    var uncorrected = MetricFamily(
        "node_edac_uncorrectable_errors_total", .counter,
        help: "Total uncorrectable memory errors.")
    var rowCorrected = MetricFamily(
        "node_edac_csrow_correctable_errors_total", .counter,
        help: "Total correctable memory errors for this csrow.")
    var rowUncorrected = MetricFamily(
        "node_edac_csrow_uncorrectable_errors_total", .counter,
        help: "Total uncorrectable memory errors for this csrow.")
    var channelCorrected = MetricFamily(
        "node_edac_channel_correctable_errors_total", .counter,
        help: "Total correctable memory errors for this channel.")
    var channelUncorrected = MetricFamily(
        "node_edac_channel_uncorrectable_errors_total", .counter,
        help: "Total uncorrectable memory errors for this channel.")

    var all: [MetricFamily] {
        [
            corrected, uncorrected, rowCorrected, rowUncorrected, channelCorrected,
            channelUncorrected,
        ]
    }
}
