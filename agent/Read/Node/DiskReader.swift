package import Model
package import World

/// Transfers and times per block device from `/proc/diskstats`; identity from udev's data and sysfs.
/// Source: node_exporter 1.12 `diskstats_linux.go`.
package struct DiskReader: NodeReader {
    package let name = "diskstats"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let excludes: @Sendable (String) -> Bool

    package init(
        tree: any WorldFileTree, paths: NodePaths,
        excludes: @escaping @Sendable (String) -> Bool = DiskReader.isExcludedByDefault
    ) {
        self.tree = tree
        self.paths = paths
        self.excludes = excludes
    }

    private struct Statistic {
        var name: String
        var help: String
        var type: MetricType = .counter
        var factor: Double = 1
    }

    /// The columns of `/proc/diskstats` from the fourth on. Times are milliseconds, sectors 512 bytes.
    private static let statistics: [Statistic] = [
        Statistic(
            name: "reads_completed_total",
            help: "The total number of reads completed successfully."),
        Statistic(name: "reads_merged_total", help: "The total number of reads merged."),
        Statistic(
            name: "read_bytes_total", help: "The total number of bytes read successfully.",
            factor: 512),
        Statistic(
            name: "read_time_seconds_total",
            help: "The total number of seconds spent by all reads.", factor: 0.001),
        Statistic(
            name: "writes_completed_total",
            help: "The total number of writes completed successfully."),
        Statistic(name: "writes_merged_total", help: "The number of writes merged."),
        Statistic(
            name: "written_bytes_total", help: "The total number of bytes written successfully.",
            factor: 512),
        Statistic(
            name: "write_time_seconds_total",
            help: "This is the total number of seconds spent by all writes.", factor: 0.001),
        Statistic(
            name: "io_now", help: "The number of I/Os currently in progress.", type: .gauge),
        Statistic(
            name: "io_time_seconds_total", help: "Total seconds spent doing I/Os.", factor: 0.001),
        Statistic(
            name: "io_time_weighted_seconds_total",
            help: "The weighted # of seconds spent doing I/Os.", factor: 0.001),
        Statistic(
            name: "discards_completed_total",
            help: "The total number of discards completed successfully."),
        Statistic(name: "discards_merged_total", help: "The total number of discards merged."),
        Statistic(
            name: "discarded_sectors_total",
            help: "The total number of sectors discarded successfully."),
        Statistic(
            name: "discard_time_seconds_total",
            help: "This is the total number of seconds spent by all discards.", factor: 0.001),
        Statistic(
            name: "flush_requests_total",
            help: "The total number of flush requests completed successfully"),
        Statistic(
            name: "flush_requests_time_seconds_total",
            help: "This is the total number of seconds spent by all flush requests.",
            factor: 0.001),
    ]

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("diskstats"))
        var families = Self.statistics.map {
            MetricFamily("node_disk_\($0.name)", $0.type, help: $0.help)
        }
        var identities = DiskIdentities()
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard fields.count >= 14 else { continue }
            let device = ProcText.string(fields[2])
            guard !excludes(device) else { continue }
            let labels = Labels.one("device", device)
            for (index, statistic) in Self.statistics.enumerated() where index + 3 < fields.count {
                guard let value = ProcText.number(fields[index + 3]) else { continue }
                families[index].points.append(.init(labels, value * statistic.factor))
            }
            try identities.add(
                device, major: ProcText.string(fields[0]), minor: ProcText.string(fields[1]),
                tree: tree, paths: paths)
        }
        return families + identities.families
    }

    /// node_exporter's default, `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`: partitions and memory devices.
    package static func isExcludedByDefault(_ device: String) -> Bool {
        var rest = Substring(device).utf8
        let digits = rest.reversed().prefix { (48...57).contains($0) }.count
        guard digits > 0 else { return false }
        rest = rest.dropLast(digits)
        let stem = String(Substring(rest))
        if ["ram", "zram", "loop", "fd"].contains(stem) { return true }
        if let letter = rest.last, (97...122).contains(letter),
            ["hd", "sd", "vd", "xvd"].contains(String(Substring(rest.dropLast())))
        {
            return true
        }
        guard stem.hasPrefix("nvme"), stem.hasSuffix("p") else { return false }
        let numbers = rest.dropFirst(4).dropLast().split(
            separator: UInt8(ascii: "n"), omittingEmptySubsequences: false)
        return numbers.count == 2
            && numbers.allSatisfy { !$0.isEmpty && $0.allSatisfy { (48...57).contains($0) } }
    }
}

/// What udev and sysfs say of each disk, as info families.
private struct DiskIdentities {
    private var info = MetricFamily(
        "node_disk_info", .gauge, help: "Info of /sys/block/<block_device>.")
    private var fileSystem = MetricFamily(
        "node_disk_filesystem_info", .gauge, help: "Info about disk filesystem.")
    private var mapper = MetricFamily(
        "node_disk_device_mapper_info", .gauge, help: "Info about disk device mapper.")
    private var writeCache = MetricFamily(
        "node_disk_ata_write_cache", .gauge, help: "ATA disk has a write cache.")
    private var writeCacheEnabled = MetricFamily(
        "node_disk_ata_write_cache_enabled", .gauge, help: "ATA disk has its write cache enabled.")
    private var rotationRate = MetricFamily(
        "node_disk_ata_rotation_rate_rpm", .gauge,
        help: "ATA disk rotation rate in RPMs (0 for SSDs).")

    var families: [MetricFamily] {
        [info, fileSystem, mapper, writeCache, writeCacheEnabled, rotationRate]
    }

    mutating func add(
        _ device: String, major: String, minor: String, tree: any WorldFileTree, paths: NodePaths
    ) throws(ReadError) {
        let udev = try properties(tree, "\(paths.udevData)/b\(major):\(minor)")
        let serial =
            udev["SCSI_IDENT_SERIAL"] ?? udev["ID_SERIAL_SHORT"] ?? udev["ID_SERIAL"] ?? ""
        let rotational = try tree.number(paths.sys("block/\(device)/queue/rotational")) ?? 0
        info.points.append(
            .init(
                [
                    "device": device, "major": major, "minor": minor,
                    "model": udev["ID_MODEL"] ?? "", "path": udev["ID_PATH"] ?? "",
                    "revision": udev["ID_REVISION"] ?? "", "rotational": "\(rotational)",
                    "serial": serial, "wwn": udev["ID_WWN"] ?? "",
                ], 1))
        if let type = udev["ID_FS_TYPE"], !type.isEmpty {
            fileSystem.points.append(
                .init(
                    [
                        "device": device, "type": type, "usage": udev["ID_FS_USAGE"] ?? "",
                        "uuid": udev["ID_FS_UUID"] ?? "", "version": udev["ID_FS_VERSION"] ?? "",
                    ], 1))
        }
        if let name = udev["DM_NAME"], !name.isEmpty {
            mapper.points.append(
                .init(
                    [
                        "device": device, "name": name, "uuid": udev["DM_UUID"] ?? "",
                        "vg_name": udev["DM_VG_NAME"] ?? "", "lv_name": udev["DM_LV_NAME"] ?? "",
                        "lv_layer": udev["DM_LV_LAYER"] ?? "",
                    ], 1))
        }
        guard udev["ID_ATA"].map({ !$0.isEmpty }) == true else { return }
        let labels = Labels.one("device", device)
        func number(_ key: String) -> Double? { udev[key].flatMap { Double($0) } }
        if let value = number("ID_ATA_WRITE_CACHE") {
            writeCache.points.append(.init(labels, value))
        }
        if let value = number("ID_ATA_WRITE_CACHE_ENABLED") {
            writeCacheEnabled.points.append(.init(labels, value))
        }
        if let value = number("ID_ATA_ROTATION_RATE_RPM") {
            rotationRate.points.append(.init(labels, value))
        }
    }

    /// The `E:KEY=value` lines of a udev database file that are used here; empty where there is no file.
    private func properties(
        _ tree: any WorldFileTree, _ path: String
    ) throws(ReadError) -> [String: String] {
        guard let bytes = try tree.bytesIfReadable(path, bytesMax: 1 << 20) else { return [:] }
        var found: [String: String] = [:]
        ProcText.forEachLine(bytes) { line in
            guard ProcText.hasPrefix(line, "E:"),
                let equals = line.firstIndex(of: UInt8(ascii: "="))
            else { return }
            let key = line[(line.startIndex + 2)..<equals]
            let isUsed =
                ProcText.hasPrefix(key, "DM_") || ProcText.hasPrefix(key, "ID_")
                || ProcText.equals(key, "SCSI_IDENT_SERIAL")
            if isUsed { found[ProcText.string(key)] = ProcText.string(line[(equals + 1)...]) }
        }
        return found
    }
}
