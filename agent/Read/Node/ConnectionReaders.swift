package import Model
package import World

/// Neighbours that ARP knows, per device, from `/proc/net/arp`: node_exporter with `--no-collector.arp.netlink`, whose
/// counts are the same but for proxy entries, which only the file has.
/// Source: node_exporter 1.12 `arp_linux.go`, procfs `arp.go`.
package struct ARPReader: NodeReader {
    package let name = "arp"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let includes: @Sendable (String) -> Bool

    /// `includes` chooses devices by name, node_exporter's `--collector.arp.device-include` and `…device-exclude`; both
    /// are empty there by default, so all are in.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        includes: @escaping @Sendable (String) -> Bool = { _ in true }
    ) {
        self.tree = tree
        self.paths = paths
        self.includes = includes
    }

    /// Address, type, flags, hardware address, mask, device. The head of the file has nine words.
    private static let columnCount = 6
    private static let headWordCount = 9

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("net/arp")
        var counts: [ArraySlice<UInt8>: UInt64] = [:]
        for line in try tree.bytes(path).split(separator: 10) {
            let columns = ProcText.fields(line)
            guard columns.count != Self.headWordCount, !columns.isEmpty else { continue }
            guard columns.count == Self.columnCount else {
                throw .malformed(
                    path: path, detail: "\(columns.count) columns: \(ProcText.string(line))")
            }
            counts[columns[Self.columnCount - 1], default: 0] += 1
        }
        var family = MetricFamily("node_arp_entries", .gauge, help: "ARP entries by device")
        let devices = counts.map { (name: ProcText.string($0.key), count: $0.value) }
        for device in devices.sorted(by: { bytesPrecede($0.name, $1.name) })
        where includes(device.name) {
            family.points.append(.init(.one("device", device.name), Double(device.count)))
        }
        return [family]
    }
}

/// Fill and events of the connection tracking table. Source: node_exporter 1.12 `conntrack_linux.go`, procfs
/// `net_conntrackstat.go`.
package struct ConntrackReader: NodeReader {
    package let name = "conntrack"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    private struct Column {
        var index: Int
        var name: String
        var help: String
    }

    private static let columns = [
        Column(
            index: 2, name: "found", help: "Number of searched entries which were successful."),
        Column(
            index: 4, name: "invalid", help: "Number of packets seen which can not be tracked."),
        Column(
            index: 5, name: "ignore",
            help: "Number of packets seen which are already connected to a conntrack entry."),
        Column(index: 8, name: "insert", help: "Number of entries inserted into the list."),
        Column(
            index: 9, name: "insert_failed",
            help: "Number of entries for which list insertion was attempted but failed."),
        Column(
            index: 10, name: "drop", help: "Number of packets dropped due to conntrack failure."),
        Column(
            index: 11, name: "early_drop",
            help: "Number of dropped conntrack entries to make room for new ones, "
                + "if maximum table size was reached."),
        // Not in kernels before 2.6.35, where it counts 0.
        Column(
            index: 16, name: "search_restart",
            help: "Number of conntrack table lookups which had to be restarted "
                + "due to hashtable resizes."),
    ]
    private static let columnsMin = 16

    /// Nothing where the module is not loaded; without the events where the kernel has no such file
    /// (`CONFIG_NF_CONNTRACK_PROCFS`).
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        guard let count = try number("sys/net/netfilter/nf_conntrack_count") else { return [] }
        var families: [MetricFamily] = [
            .gauge(
                "node_nf_conntrack_entries",
                help: "Number of currently allocated flow entries for connection tracking.", count)
        ]
        guard let limit = try number("sys/net/netfilter/nf_conntrack_max") else { return families }
        families.append(
            .gauge(
                "node_nf_conntrack_entries_limit",
                help: "Maximum size of connection tracking table.", limit))
        guard let sums = try sums() else { return families }
        for (column, sum) in zip(Self.columns, sums) {
            families.append(
                .gauge("node_nf_conntrack_stat_\(column.name)", help: column.help, Double(sum)))
        }
        return families
    }

    private func number(_ file: String) throws(ReadError) -> Double? {
        let path = paths.proc(file)
        guard let bytes = try tree.bytesIfPresent(path) else { return nil }
        let fields = ProcText.fields(bytes[...])
        guard fields.count == 1, let value = fields.first.flatMap(ProcText.number) else {
            throw .malformed(path: path, detail: "not one number")
        }
        return value
    }

    /// The columns' sums over all CPUs, each a line after the head; nil without the file.
    private func sums() throws(ReadError) -> [UInt64]? {
        let path = paths.proc("net/stat/nf_conntrack")
        guard let bytes = try tree.bytesIfPresent(path) else { return nil }
        var sums = Self.columns.map { _ in UInt64(0) }
        for line in bytes.split(separator: 10).dropFirst() {
            let fields = ProcText.fields(line)
            guard fields.count >= Self.columnsMin else {
                throw .malformed(path: path, detail: "\(fields.count) columns in a line")
            }
            for (position, column) in Self.columns.enumerated()
            where column.index < fields.count {
                guard let value = ProcText.hexadecimal(fields[column.index]) else {
                    throw .malformed(path: path, detail: "no number: \(ProcText.string(line))")
                }
                sums[position] &+= value
            }
        }
        return sums
    }
}

/// TCP sockets by state and the bytes in their queues, asked of the kernel by netlink. Source: node_exporter 1.12
/// `tcpstat_linux.go`, off by default there.
package struct TCPStatReader: NodeReader {
    package let name = "tcpstat"
    private let host: any HostCalls

    package init(host: any HostCalls) { self.host = host }

    /// By the kernel's numbers, from 1.
    private static let states = [
        "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close",
        "close_wait", "last_ack", "listen", "closing",
    ]

    /// States without a socket have no point, and without any socket there is none for the queues: so it is there. A
    /// listening socket counts its waiting connections as received bytes and its backlog's bound as bytes to send. No
    /// families where the kernel has nothing that answers.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let counts: TCPCounts
        do throws(ReadError) { counts = try host.tcpCounts() } catch {
            guard case .system(_, let errno) = error, SocketDiagnostics.absences.contains(errno)
            else { throw error }
            return []
        }
        var points: [(state: String, value: UInt64)] = []
        for (state, count) in zip(Self.states, counts.states.dropFirst()) where count > 0 {
            points.append((state, count))
        }
        guard !points.isEmpty else { return [] }
        points.append(("rx_queued_bytes", counts.receiveQueueBytes))
        points.append(("tx_queued_bytes", counts.sendQueueBytes))
        points.sort { bytesPrecede($0.state, $1.state) }
        return [
            MetricFamily(
                "node_tcp_connection_states", .gauge, help: "Number of connection states.",
                points: points.map { .init(.one("state", $0.state), Double($0.value)) })
        ]
    }
}
