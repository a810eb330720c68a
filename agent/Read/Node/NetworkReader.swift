package import Model
package import World

/// Bytes, packets and errors per network device from `/proc/net/dev`; packets without a handler from sysfs.
/// Source: node_exporter 1.12 `netdev_common.go`, the names without `--collector.netdev.enable-detailed-metrics`.
package struct NetworkReader: NodeReader {
    package let name = "netdev"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let includes: @Sendable (String) -> Bool

    /// `includes` chooses devices by name; all by default, as in node_exporter.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        includes: @escaping @Sendable (String) -> Bool = { _ in true }
    ) {
        self.tree = tree
        self.paths = paths
        self.includes = includes
    }

    /// The columns of `/proc/net/dev` after the device's name.
    private static let statistics = [
        "receive_bytes", "receive_packets", "receive_errs", "receive_drop", "receive_fifo",
        "receive_frame", "receive_compressed", "receive_multicast", "transmit_bytes",
        "transmit_packets", "transmit_errs", "transmit_drop", "transmit_fifo", "transmit_colls",
        "transmit_carrier", "transmit_compressed",
    ]

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("net/dev"))
        var families = (Self.statistics + ["receive_nohandler"]).map {
            MetricFamily(
                "node_network_\($0)_total", .counter, help: "Network device statistic \($0).")
        }
        var headLines = 2
        var malformed: String?
        var devices: [String] = []
        ProcText.forEachLine(bytes) { line in
            guard headLines == 0 else {
                headLines -= 1
                return
            }
            // The name ends at the last colon: an alias such as eth0:1 has one of its own.
            guard let colon = line.lastIndex(of: UInt8(ascii: ":")) else { return }
            let device = ProcText.string(ProcText.trimmed(line[..<colon]))
            let values = ProcText.fields(line[(colon + 1)...])
            guard values.count >= Self.statistics.count else {
                malformed = device
                return
            }
            guard includes(device) else { return }
            let labels = Labels.one("device", device)
            for index in Self.statistics.indices {
                guard let value = ProcText.number(values[index]) else { continue }
                families[index].points.append(.init(labels, value))
            }
            devices.append(device)
        }
        if let malformed {
            throw .malformed(path: paths.proc("net/dev"), detail: "too few columns: \(malformed)")
        }
        for device in devices {
            let path = paths.sys("class/net/\(device)/statistics/rx_nohandler")
            guard let count = try tree.number(path) else { continue }
            families[Self.statistics.count].points.append(
                .init(.one("device", device), Double(count)))
        }
        return families
    }
}
