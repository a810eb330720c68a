package import Model
package import World

/// Space, commits and devices of mounted Btrfs file systems from `/sys/fs/btrfs`.
/// Source: node_exporter 1.12 `btrfs_linux.go`; procfs `btrfs/get.go`. What node_exporter adds through ioctls as root
/// (a device's errors and unused bytes, its UUID as a label) is not read.
package struct BtrfsReader: NodeReader {
    package let name = "btrfs"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// No families where no Btrfs is mounted. A file that the kernel does not have counts as zero, as in node_exporter:
    /// `commit_stats` came with Linux 6.0.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families = BtrfsFamilies()
        let root = paths.sys("fs/btrfs")
        // File systems are folders named by UUID; the others have no dash in their names.
        for entry in try files.entries(root) where entry.utf8.contains(UInt8(ascii: "-")) {
            try add("\(root)/\(entry)", folder: entry, to: &families)
        }
        return families.all.filter { !$0.points.isEmpty }
    }

    private func add(
        _ path: String, folder: String, to families: inout BtrfsFamilies
    ) throws(ReadError) {
        let devices = try files.entries(path + "/devices")
        let uuid = try files.text(path + "/metadata_uuid") ?? ""
        let labels = Labels.one("uuid", uuid.isEmpty ? folder : uuid)
        let label = try files.text(path + "/label") ?? ""
        families.info.points.append(.init(labels.setting("label", label), 1))
        families.reserve.points.append(
            .init(labels, try number(path + "/allocation/global_rsv_size")))
        try addCommits(path + "/commit_stats", labels, to: &families)
        for type in ["data", "metadata", "system"] {
            let labels = labels.setting("block_group_type", type)
            let group = "\(path)/allocation/\(type)"
            families.reserved.points.append(.init(labels, try number(group + "/bytes_reserved")))
            for mode in try files.entries(group) {
                // Beside the modes' folders are files of the whole group, which have no file below them.
                guard let total = try files.unsigned("\(group)/\(mode)/total_bytes") else {
                    continue
                }
                let labels = labels.setting("mode", mode)
                families.size.points.append(.init(labels, Double(total)))
                families.used.points.append(
                    .init(labels, try number("\(group)/\(mode)/used_bytes")))
                families.ratio.points.append(
                    .init(labels, Self.ratio(mode, deviceCount: devices.count)))
            }
        }
        for device in devices {
            let sectors = try number("\(path)/devices/\(device)/size")
            families.deviceSize.points.append(
                .init(labels.setting("device", device), sectors * 512))
        }
    }

    /// The lines of `commit_stats` are a name and a number.
    private func addCommits(
        _ path: String, _ labels: Labels, to families: inout BtrfsFamilies
    ) throws(ReadError) {
        var values: [String: Double] = [:]
        for line in (try files.bytes(path) ?? []).split(separator: 10) {
            let fields = ProcText.fields(line)
            guard fields.count == 2, let value = ProcText.number(fields[1]) else {
                throw .malformed(path: path, detail: "no number: \(ProcText.string(line))")
            }
            values[ProcText.string(fields[0])] = value
        }
        families.commits.points.append(.init(labels, values["commits"] ?? 0))
        families.commitLast.points.append(.init(labels, (values["last_commit_ms"] ?? 0) / 1000))
        families.commitMax.points.append(.init(labels, (values["max_commit_ms"] ?? 0) / 1000))
        families.commitTotal.points.append(
            .init(labels, (values["total_commit_ms"] ?? 0) / 1000))
    }

    private func number(_ path: String) throws(ReadError) -> Double {
        try files.unsigned(path).map { Double($0) } ?? 0
    }

    /// Bytes on disk for each byte of data; 0 where the mode is not known.
    private static func ratio(_ mode: String, deviceCount: Int) -> Double {
        let count = Double(deviceCount)
        return switch mode {
        case "single", "raid0": 1
        case "dup", "raid1", "raid10": 2
        case "raid1c3": 3
        case "raid1c4": 4
        case "raid5": count / (count - 1)
        case "raid6": count / (count - 2)
        default: 0
        }
    }
}

private struct BtrfsFamilies {
    var info = MetricFamily("node_btrfs_info", .gauge, help: "Filesystem information")
    var reserve = MetricFamily(
        "node_btrfs_global_rsv_size_bytes", .gauge, help: "Size of global reserve.")
    var commits = MetricFamily(
        "node_btrfs_commits_total", .counter,
        help: "The total number of commits that have occurred.")
    var commitLast = MetricFamily(
        "node_btrfs_last_commit_seconds", .gauge,
        help: "Duration of the most recent commit, in seconds.")
    var commitMax = MetricFamily(
        "node_btrfs_max_commit_seconds", .gauge,
        help: "Duration of the slowest commit, in seconds.")
    var commitTotal = MetricFamily(
        "node_btrfs_commit_seconds_total", .counter,
        help: "Sum of the duration of all commits, in seconds.")
    var reserved = MetricFamily(
        "node_btrfs_reserved_bytes", .gauge, help: "Amount of space reserved for a data type")
    var used = MetricFamily(
        "node_btrfs_used_bytes", .gauge, help: "Amount of used space by a layout/data type")
    var size = MetricFamily(
        "node_btrfs_size_bytes", .gauge,
        help: "Amount of space allocated for a layout/data type")
    var ratio = MetricFamily(
        "node_btrfs_allocation_ratio", .gauge,
        help: "Data allocation ratio for a layout/data type")
    var deviceSize = MetricFamily(
        "node_btrfs_device_size_bytes", .gauge,
        help: "Size of a device that is part of the filesystem.")

    var all: [MetricFamily] {
        [
            info, reserve, commits, commitLast, commitMax, commitTotal, reserved, used, size,
            ratio, deviceSize,
        ]
    }
}
