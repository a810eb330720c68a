package import Model
package import World

/// Space and inodes per mount. A mount that hangs is marked `device_error` and left alone until its call returns.
/// Source: node_exporter 1.12 `filesystem_linux.go`.
package struct FileSystemReader: NodeReader {
    package let name = "filesystem"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let prober: MountProber
    private let excludesMountPoint: @Sendable (String) -> Bool
    private let excludesType: @Sendable (String) -> Bool

    /// `mountTimeoutMilliseconds` bounds one `statvfs`; keep it well below the deadline of the reader.
    package init(
        tree: any WorldFileTree, paths: NodePaths, host: any HostCalls,
        mountTimeoutMilliseconds: Int32 = 1000,
        excludesMountPoint: @escaping @Sendable (String) -> Bool =
            MountTable.isMountPointExcludedByDefault,
        excludesType: @escaping @Sendable (String) -> Bool = MountTable.isTypeExcludedByDefault
    ) {
        self.tree = tree
        self.paths = paths
        self.prober = MountProber(host: host, timeoutMilliseconds: mountTimeoutMilliseconds)
        self.excludesMountPoint = excludesMountPoint
        self.excludesType = excludesType
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        // A point mounted over twice is one series: the labels tell no difference.
        var seen: Set<[String]> = []
        let mounts = try table().filter {
            !excludesMountPoint($0.mountPoint) && !excludesType($0.type)
                && seen.insert([$0.device, $0.mountPoint, $0.type]).inserted
        }
        let results = try prober.probe(mounts.map { path(of: $0) })
        var families = FileSystemFamilies()
        for (mount, result) in zip(mounts, results) { families.add(mount, result) }
        return families.all
    }

    /// The mounts of process 1, the host's own; of this process where process 1 is hidden (hidepid).
    private func table() throws(ReadError) -> [Mount] {
        let first = paths.proc("1/mountinfo")
        if let bytes = try tree.bytesIfReadable(first, bytesMax: 16 << 20) {
            return try MountTable.parse(bytes, path: first, rootfs: paths.rootfs)
        }
        let own = paths.proc("self/mountinfo")
        return try MountTable.parse(tree.bytes(own), path: own, rootfs: paths.rootfs)
    }

    private func path(of mount: Mount) -> String {
        paths.rootfs.isEmpty ? mount.mountPoint : paths.rootfs + mount.mountPoint
    }
}

private struct FileSystemFamilies {
    private var size = MetricFamily(
        "node_filesystem_size_bytes", .gauge, help: "Filesystem size in bytes.")
    private var free = MetricFamily(
        "node_filesystem_free_bytes", .gauge, help: "Filesystem free space in bytes.")
    private var available = MetricFamily(
        "node_filesystem_avail_bytes", .gauge,
        help: "Filesystem space available to non-root users in bytes.")
    private var files = MetricFamily(
        "node_filesystem_files", .gauge, help: "Filesystem total file nodes.")
    private var filesFree = MetricFamily(
        "node_filesystem_files_free", .gauge, help: "Filesystem total free file nodes.")
    private var readOnly = MetricFamily(
        "node_filesystem_readonly", .gauge, help: "Filesystem read-only status.")
    private var deviceError = MetricFamily(
        "node_filesystem_device_error", .gauge,
        help: "Whether an error occurred while getting statistics for the given device.")
    private var mountInfo = MetricFamily(
        "node_filesystem_mount_info", .gauge, help: "Filesystem mount information.")

    var all: [MetricFamily] {
        [size, free, available, files, filesFree, readOnly, deviceError, mountInfo]
    }

    mutating func add(_ mount: Mount, _ result: MountProber.Outcome) {
        var labels: Labels = [
            "device": mount.device, "fstype": mount.type, "mountpoint": mount.mountPoint,
        ]
        mountInfo.points.append(
            .init(
                [
                    "device": mount.device, "major": mount.major, "minor": mount.minor,
                    "mountpoint": mount.mountPoint,
                ], 1))
        switch result {
        case .answered(let facts):
            deviceError.points.append(.init(labels, 0))
            readOnly.points.append(.init(labels, mount.isReadOnly || facts.isReadOnly ? 1 : 0))
            size.points.append(.init(labels, facts.size))
            free.points.append(.init(labels, facts.free))
            available.points.append(.init(labels, facts.available))
            files.points.append(.init(labels, facts.files))
            filesFree.points.append(.init(labels, facts.filesFree))
        case .failed(let errno):
            labels = labels.setting("device_error", "errno \(errno)")
            deviceError.points.append(.init(labels, 1))
            readOnly.points.append(.init(labels, mount.isReadOnly ? 1 : 0))
        case .stuck:
            labels = labels.setting("device_error", "mountpoint timeout")
            deviceError.points.append(.init(labels, 1))
            readOnly.points.append(.init(labels, mount.isReadOnly ? 1 : 0))
        }
    }
}
