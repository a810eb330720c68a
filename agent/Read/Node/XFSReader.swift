package import Model
package import World

/// What XFS counts per file system, from `/sys/fs/xfs/<device>/stats/stats`. Source: node_exporter 1.12 `xfs_linux.go`.
package struct XFSReader: NodeReader {
    package let name = "xfs"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// One column of one line of a `stats` file.
    private struct Statistic {
        var line: String
        var column: Int
        var name: String
        var help: String
    }

    /// No families where no XFS is mounted. A line that the kernel does not print counts as zeros, as in node_exporter;
    /// lines and columns that are not known here are passed over.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = []
        let root = paths.sys("fs/xfs")
        for device in try files.entries(root) {
            // The folder of all file systems' sums and the one of the error settings have no such file.
            let path = "\(root)/\(device)/stats/stats"
            guard let bytes = try files.bytes(path) else { continue }
            let counts = try Self.counts(bytes, path: path)
            if families.isEmpty {
                families = Self.statistics.map {
                    MetricFamily("node_xfs_\($0.name)", .counter, help: $0.help)
                }
            }
            let labels = Labels.one("device", device)
            for (index, statistic) in Self.statistics.enumerated() {
                var value: UInt64 = 0
                if let columns = counts[statistic.line] {
                    guard statistic.column < columns.count else {
                        throw .malformed(
                            path: path, detail: "too few columns: \(statistic.line)")
                    }
                    value = columns[statistic.column]
                }
                families[index].points.append(.init(labels, Double(value)))
            }
        }
        return families
    }

    private static let lines = Set(statistics.map(\.line))

    /// The numbers of each line that is used here by the line's name.
    private static func counts(
        _ bytes: ArraySlice<UInt8>, path: String
    ) throws(ReadError) -> [String: [UInt64]] {
        var counts: [String: [UInt64]] = [:]
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard let name = fields.first.map(ProcText.string), lines.contains(name) else {
                continue
            }
            let numbers = fields.dropFirst().compactMap(ProcText.unsigned)
            guard numbers.count == fields.count - 1 else {
                throw .malformed(path: path, detail: "no numbers: \(ProcText.string(line))")
            }
            counts[name] = numbers
        }
        return counts
    }

    private static let statistics = columns.flatMap { line, columns in
        columns.enumerated().map { column, family in
            Statistic(line: line, column: column, name: family.key, help: family.value)
        }
    }

    /// The columns of each line in the kernel's order, that of its `xfs_stats.h`, with the family that each is and its help.
    /// The names follow http://xfs.org/index.php/Runtime_Stats.
    private static let columns: KeyValuePairs<String, KeyValuePairs<String, String>> = [
        "extent_alloc": [
            "extent_allocation_extents_allocated_total":
                "Number of extents allocated for a filesystem.",
            "extent_allocation_blocks_allocated_total":
                "Number of blocks allocated for a filesystem.",
            "extent_allocation_extents_freed_total": "Number of extents freed for a filesystem.",
            "extent_allocation_blocks_freed_total": "Number of blocks freed for a filesystem.",
        ],
        "abt": [
            "allocation_btree_lookups_total":
                "Number of allocation B-tree lookups for a filesystem.",
            "allocation_btree_compares_total":
                "Number of allocation B-tree compares for a filesystem.",
            "allocation_btree_records_inserted_total":
                "Number of allocation B-tree records inserted for a filesystem.",
            "allocation_btree_records_deleted_total":
                "Number of allocation B-tree records deleted for a filesystem.",
        ],
        "blk_map": [
            "block_mapping_reads_total":
                "Number of block map for read operations for a filesystem.",
            "block_mapping_writes_total":
                "Number of block map for write operations for a filesystem.",
            "block_mapping_unmaps_total": "Number of block unmaps (deletes) for a filesystem.",
            "block_mapping_extent_list_insertions_total":
                "Number of extent list insertions for a filesystem.",
            "block_mapping_extent_list_deletions_total":
                "Number of extent list deletions for a filesystem.",
            "block_mapping_extent_list_lookups_total":
                "Number of extent list lookups for a filesystem.",
            "block_mapping_extent_list_compares_total":
                "Number of extent list compares for a filesystem.",
        ],
        "bmbt": [
            "block_map_btree_lookups_total": "Number of block map B-tree lookups for a filesystem.",
            "block_map_btree_compares_total":
                "Number of block map B-tree compares for a filesystem.",
            "block_map_btree_records_inserted_total":
                "Number of block map B-tree records inserted for a filesystem.",
            "block_map_btree_records_deleted_total":
                "Number of block map B-tree records deleted for a filesystem.",
        ],
        "dir": [
            "directory_operation_lookup_total":
                "Number of file name directory lookups which miss the operating systems "
                + "directory name lookup cache.",
            "directory_operation_create_total":
                "Number of times a new directory entry was created for a filesystem.",
            "directory_operation_remove_total":
                "Number of times an existing directory entry was created for a filesystem.",
            "directory_operation_getdents_total":
                "Number of times the directory getdents operation was performed for a "
                + "filesystem.",
        ],
        "ig": [
            "inode_operation_attempts_total":
                "Number of times the OS looked for an XFS inode in the inode cache.",
            "inode_operation_found_total":
                "Number of times the OS looked for and found an XFS inode in the inode cache.",
            "inode_operation_recycled_total":
                "Number of times the OS found an XFS inode in the cache, but could not use "
                + "it as it was being recycled.",
            "inode_operation_missed_total":
                "Number of times the OS looked for an XFS inode in the cache, but did not "
                + "find it.",
            "inode_operation_duplicates_total":
                "Number of times the OS tried to add a missing XFS inode to the inode cache, "
                + "but found it had already been added by another process.",
            "inode_operation_reclaims_total":
                "Number of times the OS reclaimed an XFS inode from the inode cache to free "
                + "memory for another purpose.",
            "inode_operation_attribute_changes_total":
                "Number of times the OS explicitly changed the attributes of an XFS inode.",
        ],
        "rw": [
            "write_calls_total": "Number of write(2) system calls made to files in a filesystem.",
            "read_calls_total": "Number of read(2) system calls made to files in a filesystem.",
        ],
        "vnodes": [
            "vnode_active_total": "Number of vnodes not on free lists for a filesystem.",
            "vnode_allocate_total": "Number of times vn_alloc called for a filesystem.",
            "vnode_get_total": "Number of times vn_get called for a filesystem.",
            "vnode_hold_total": "Number of times vn_hold called for a filesystem.",
            "vnode_release_total": "Number of times vn_rele called for a filesystem.",
            "vnode_reclaim_total": "Number of times vn_reclaim called for a filesystem.",
            "vnode_remove_total": "Number of times vn_remove called for a filesystem.",
        ],
    ]
}
