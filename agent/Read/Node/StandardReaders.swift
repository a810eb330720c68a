package import World

/// The readers that an agent runs unless told otherwise, with node_exporter's defaults.
package enum StandardReaders {
    /// cpu, diskstats, filesystem, loadavg, meminfo, netdev, stat, time, uname and the agent's own process.
    package static func make(
        tree: any WorldFileTree, paths: NodePaths = NodePaths(),
        host: any HostCalls = GlibcHostCalls(), version: String, revision: String = ""
    ) -> [any NodeReader] {
        [
            CPUReader(tree: tree, paths: paths),
            DiskReader(tree: tree, paths: paths),
            FileSystemReader(tree: tree, paths: paths, host: host),
            LoadReader(tree: tree, paths: paths),
            MemoryReader(tree: tree, paths: paths),
            NetworkReader(tree: tree, paths: paths),
            StatReader(tree: tree, paths: paths),
            TimeReader(tree: tree, paths: paths, host: host),
            IdentityReader(host: host),
            ProcessReader(tree: tree, version: version, revision: revision),
        ]
    }
}
