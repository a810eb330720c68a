package import Model
package import World

/// How many slaves a bonding device has and how many of them are up, from sysfs.
/// Source: node_exporter 1.12 `bonding_linux.go`.
package struct BondingReader: NodeReader {
    package let name = "bonding"
    private let files: DeviceFiles
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
    }

    /// No families where there is no bond. A bond that is taken apart while it is read is left out; node_exporter gives
    /// none then.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var slaves = MetricFamily(
            "node_bonding_slaves", .gauge,
            help: "Number of configured slaves per bonding interface.")
        var active = MetricFamily(
            "node_bonding_active", .gauge, help: "Number of active slaves per bonding interface.")
        let root = paths.sys("class/net")
        for bond in try names(root + "/bonding_masters") ?? [] {
            guard let members = try names("\(root)/\(bond)/bonding/slaves") else { continue }
            var upCount = 0
            var isWhole = true
            for member in members {
                // Kernels before 3.13 call the link slave_.
                let path = "\(root)/\(bond)/lower_\(member)/bonding_slave/mii_status"
                let older = "\(root)/\(bond)/slave_\(member)/bonding_slave/mii_status"
                var state = try files.text(path)
                if state == nil { state = try files.text(older) }
                if state == "up" { upCount += 1 }
                if state == nil { isWhole = false }
            }
            guard isWhole else { continue }
            let labels = Labels.one("master", bond)
            slaves.points.append(.init(labels, Double(members.count)))
            active.points.append(.init(labels, Double(upCount)))
        }
        return slaves.points.isEmpty ? [] : [slaves, active]
    }

    /// The names in a file, in the kernel's order; nil where there is no such file.
    private func names(_ path: String) throws(ReadError) -> [String]? {
        guard let bytes = try files.bytes(path) else { return nil }
        return ProcText.fields(bytes).map(ProcText.string)
    }
}
