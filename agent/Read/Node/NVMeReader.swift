package import Model
package import World

/// NVMe controllers and their namespaces from `/sys/class/nvme`. Source: node_exporter 1.12 `nvme_linux.go`.
package struct NVMeReader: NodeReader {
    package let name = "nvme"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// No families where the host has no NVMe. A controller that lacks a file lacks the label, and a namespace that
    /// lacks `nuse` (Linux before 6.8) its used bytes; node_exporter gives nothing at all there.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families = NVMeFamilies()
        for device in try files.entries(paths.sys("class/nvme")) {
            let path = paths.sys("class/nvme/\(device)")
            let entries = try files.entries(path)
            guard !entries.isEmpty else { continue }
            families.info.points.append(
                .init(
                    [
                        "device": device,
                        "firmware_revision": try files.text(path + "/firmware_rev") ?? "",
                        "model": try files.text(path + "/model") ?? "",
                        "serial": try files.text(path + "/serial") ?? "",
                        "state": try files.text(path + "/state") ?? "",
                        "cntlid": try files.text(path + "/cntlid") ?? "",
                    ], 1))
            for entry in entries {
                guard let id = Self.namespaceID(entry) else { continue }
                try add(namespace: id, of: device, path: "\(path)/\(entry)", to: &families)
            }
        }
        return families.all.filter { !$0.points.isEmpty }
    }

    private func add(
        namespace id: String, of device: String, path: String, to families: inout NVMeFamilies
    ) throws(ReadError) {
        guard let blocks = try files.unsigned(path + "/size"),
            let blockBytes = try files.unsigned(path + "/queue/logical_block_size")
        else { return }
        let labels = Labels.two("device", device, "nsid", id)
        let state = try files.text(path + "/ana_state") ?? "unknown"
        families.namespace.points.append(.init(labels.setting("ana_state", state), 1))
        // `size` counts sectors of 512 bytes, which node_exporter takes for logical blocks: on a drive with blocks of
        // 4 KiB both are 8 times too large. They are node_exporter's numbers all the same (docs/node.md).
        let bytes = Double(blocks &* blockBytes)
        families.capacity.points.append(.init(labels, bytes))
        families.size.points.append(.init(labels, bytes))
        families.blockSize.points.append(.init(labels, Double(blockBytes)))
        if let used = try files.unsigned(path + "/nuse") {
            families.used.points.append(.init(labels, Double(used &* blockBytes)))
        }
    }

    /// The number of a namespace's directory: `nvme0n1` → `1`; nil for others, a path of a multipath namespace
    /// (`nvme0c1n1`) among them.
    private static func namespaceID(_ entry: String) -> String? {
        guard entry.hasPrefix("nvme") else { return nil }
        let controller = entry.utf8.dropFirst(4)
        let rest = controller.drop { (48...57).contains($0) }
        guard rest.startIndex != controller.startIndex, rest.first == UInt8(ascii: "n") else {
            return nil
        }
        let digits = rest.dropFirst().prefix { (48...57).contains($0) }
        return digits.isEmpty ? nil : String(Substring(digits))
    }
}

private struct NVMeFamilies {
    var info = MetricFamily(
        "node_nvme_info", .gauge,
        help: "Non-numeric data from /sys/class/nvme/<device>, value is always 1.")
    var namespace = MetricFamily(
        "node_nvme_namespace_info", .gauge,
        help: "Information about NVMe namespaces. Value is always 1")
    var capacity = MetricFamily(
        "node_nvme_namespace_capacity_bytes", .gauge,
        help: "Capacity of the NVMe namespace in bytes. "
            + "Computed as namespace_size * namespace_logical_block_size")
    var size = MetricFamily(
        "node_nvme_namespace_size_bytes", .gauge,
        help: "Size of the NVMe namespace in bytes. "
            + "Available in /sys/class/nvme/<device>/<namespace>/size")
    var used = MetricFamily(
        "node_nvme_namespace_used_bytes", .gauge,
        help: "Used space of the NVMe namespace in bytes. "
            + "Available in /sys/class/nvme/<device>/<namespace>/nuse")
    var blockSize = MetricFamily(
        "node_nvme_namespace_logical_block_size_bytes", .gauge,
        help: "Logical block size of the NVMe namespace in bytes. Usually 4Kb. "
            + "Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size")

    var all: [MetricFamily] { [info, namespace, capacity, size, used, blockSize] }
}
