package import Model
package import World

/// What ZFS counts, from the kstat files of `/proc/spl/kstat/zfs`: the module's, each pool's and each dataset's.
/// Source: node_exporter 1.12 `zfs_linux.go`.
package struct ZFSReader: NodeReader {
    package let name = "zfs"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// Datasets of one reading, of all pools; `petrel_agent_zfs_datasets_left_out` tells how many more there are.
    package static let datasetsMax = 512

    /// No families where the module is not loaded. Files that a version of ZFS does not have are passed over, and so
    /// are those of a pool that is exported meanwhile.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let root = paths.proc("spl/kstat/zfs")
        let entries = try files.entries(root)
        var families = ZFSFamilies()
        for entry in entries {
            if let subsystem = Self.subsystems[entry] {
                try addModule("\(root)/\(entry)", file: entry, subsystem, to: &families)
            }
        }
        var datasetCount = 0
        for pool in entries where Self.subsystems[pool] == nil {
            let path = "\(root)/\(pool)"
            for file in try files.entries(path) {
                if file == "io" {
                    try addTransfers("\(path)/io", pool: pool, to: &families)
                } else if file == "state" {
                    try addState("\(path)/state", pool: pool, to: &families)
                } else if file.hasPrefix("objset-") {
                    datasetCount += 1
                    guard datasetCount <= Self.datasetsMax else { continue }
                    try addDataset("\(path)/\(file)", pool: pool, to: &families)
                }
            }
        }
        guard datasetCount > 0 else { return families.all }
        return families.all + [
            .gauge(
                "petrel_agent_zfs_datasets_left_out",
                help: "ZFS datasets that were not read because there are too many.",
                Double(max(datasetCount - Self.datasetsMax, 0)))
        ]
    }

    /// The module's files, and what their families' names begin with.
    private static let subsystems = [
        "abdstats": "zfs_abd", "arcstats": "zfs_arc", "dbufstats": "zfs_dbuf",
        "dmu_tx": "zfs_dmu_tx", "dnodestats": "zfs_dnode", "fm": "zfs_fm",
        "vdev_cache_stats": "zfs_vdev_cache", "vdev_mirror_stats": "zfs_vdev_mirror",
        "xuio_stats": "zfs_xuio", "zfetchstats": "zfs_zfetch", "zil": "zfs_zil",
    ]

    private func addModule(
        _ path: String, file: String, _ subsystem: String, to families: inout ZFSFamilies
    ) throws(ReadError) {
        for line in try named(path) {
            guard let value = try Self.value(line, path: path) else { continue }
            families.add(
                subsystem, "\(file).\(ProcText.string(line.fields[0]))", labels: .empty, value)
        }
    }

    /// A line of names, the first `nread`, and one of numbers.
    private func addTransfers(
        _ path: String, pool: String, to families: inout ZFSFamilies
    ) throws(ReadError) {
        var names: [ArraySlice<UInt8>] = []
        let labels = Labels.one("zpool", pool)
        for line in (try files.bytes(path) ?? []).split(separator: 10) {
            let fields = ProcText.fields(line)
            if names.isEmpty {
                guard fields.count >= 12, ProcText.equals(fields[0], "nread") else { continue }
                names = fields
                continue
            }
            let numbers = fields.compactMap(ProcText.number)
            guard numbers.count == names.count, fields.count == names.count else {
                throw .malformed(path: path, detail: "not a number for each name")
            }
            for (name, number) in zip(names, numbers) {
                families.add(
                    "zfs_zpool", "io.\(ProcText.string(name))", labels: labels, number)
            }
        }
    }

    private func addDataset(
        _ path: String, pool: String, to families: inout ZFSFamilies
    ) throws(ReadError) {
        var labels = Labels.one("zpool", pool)
        for line in try named(path) {
            if ProcText.equals(line.fields[0], "dataset_name") {
                // It is the first line, and may have spaces in it.
                let dataset = ProcText.string(line.bytes[line.fields[2].startIndex...])
                labels = .two("dataset", dataset, "zpool", pool)
            } else if ProcText.equals(line.fields[1], "4"),
                let value = try Self.value(line, path: path)
            {
                families.add(
                    "zfs_zpool_dataset", "objset.\(ProcText.string(line.fields[0]))",
                    labels: labels, value)
            }
        }
    }

    private func addState(
        _ path: String, pool: String, to families: inout ZFSFamilies
    ) throws(ReadError) {
        guard let bytes = try files.bytes(path) else { return }
        let state = ProcText.string(bytes.prefix { $0 != 10 }).lowercased()
        for name in [
            "online", "degraded", "faulted", "offline", "removed", "unavail", "suspended",
        ] {
            families.addState(.two("state", name, "zpool", pool), isCurrent: name == state)
        }
    }

    /// A line of a kstat with names: the name, the type and the value.
    private struct Line {
        var bytes: ArraySlice<UInt8>
        /// Three or more.
        var fields: [ArraySlice<UInt8>]
    }

    /// The lines below the one that says `name type data`; none where there is no file.
    private func named(_ path: String) throws(ReadError) -> [Line] {
        guard let bytes = try files.bytes(path) else { return [] }
        let lines = bytes.split(separator: 10).map { Line(bytes: $0, fields: ProcText.fields($0)) }
        let head = lines.firstIndex {
            $0.fields.count == 3 && ProcText.equals($0.fields[0], "name")
                && ProcText.equals($0.fields[1], "type") && ProcText.equals($0.fields[2], "data")
        }
        guard let head else {
            throw .malformed(path: path, detail: "no line says: name type data")
        }
        return lines[(head + 1)...].filter { $0.fields.count >= 3 }
    }

    /// A number of the types 3 (signed) and 4 (unsigned, 64 bits); nil for others, texts among them.
    private static func value(_ line: Line, path: String) throws(ReadError) -> Double? {
        let isSigned = ProcText.equals(line.fields[1], "3")
        guard isSigned || ProcText.equals(line.fields[1], "4") else { return nil }
        let value =
            isSigned
            ? Int64(ProcText.string(line.fields[2])).map { Double($0) }
            : ProcText.number(line.fields[2])
        guard let value else {
            throw .malformed(path: path, detail: "no number: \(ProcText.string(line.bytes))")
        }
        return value
    }
}

/// Families as they come up: which there are depends on the version of ZFS.
private struct ZFSFamilies {
    private(set) var all: [MetricFamily] = []
    private var indices: [String: Int] = [:]

    /// `key` is the file and the counter's own name, as `fm.erpt-dropped`; what follows its last dot names the family.
    mutating func add(_ subsystem: String, _ key: String, labels: Labels, _ value: Double) {
        let own = key.split(separator: ".").last ?? ""
        let name = "node_\(subsystem)_\(String(own.map { $0 == "-" ? "_" : $0 }))"
        append(name, .unknown, help: "kstat.zfs.misc.\(key)", .init(labels, value))
    }

    mutating func addState(_ labels: Labels, isCurrent: Bool) {
        append(
            "node_zfs_zpool_state", .gauge, help: "kstat.zfs.misc.state",
            .init(labels, isCurrent ? 1 : 0))
    }

    private mutating func append(
        _ name: String, _ type: MetricType, help: @autoclosure () -> String,
        _ point: MetricFamily.Point
    ) {
        if let index = indices[name] {
            all[index].points.append(point)
        } else {
            indices[name] = all.count
            all.append(MetricFamily(name, type, help: help(), points: [point]))
        }
    }
}
