import Glibc
package import Model
package import World

/// Counters of the kernel's protocols from `/proc/net/netstat`, `/proc/net/snmp` and `/proc/net/snmp6`.
/// Source: node_exporter 1.12 `netstat_linux.go`.
package struct NetstatReader: NodeReader {
    package let name = "netstat"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let includes: @Sendable (String) -> Bool

    /// `includes` chooses fields by a key such as `TcpExt_ListenDrops`; it is node_exporter's
    /// `--collector.netstat.fields`.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        includes: @escaping @Sendable (String) -> Bool = { NetstatReader.isIncludedByDefault($0) }
    ) {
        self.tree = tree
        self.paths = paths
        self.includes = includes
    }

    /// node_exporter's default regular expression as rules: errors of every protocol, and of IP, ICMP, TCP and UDP what
    /// is commonly asked. `Tcp_MaxConn` is not among them, though dashboard 1860 asks for it.
    package static func isIncludedByDefault(_ key: String) -> Bool {
        key.hasSuffix("_InErrors") || key.hasSuffix("_InErrs") || defaultKeys.contains(key)
            || key.hasPrefix("TcpExt_Listen") || key.hasPrefix("TcpExt_Syncookies")
    }

    private static let defaultKeys: Set = [
        "Ip_Forwarding", "Ip6_InOctets", "Ip6_OutOctets", "IpExt_InOctets", "IpExt_OutOctets",
        "Icmp_InMsgs", "Icmp_OutMsgs", "Icmp6_InMsgs", "Icmp6_OutMsgs",
        "TcpExt_TCPSynRetrans", "TcpExt_TCPTimeouts", "TcpExt_TCPOFOQueue", "TcpExt_TCPRcvQDrop",
        "Tcp_ActiveOpens", "Tcp_InSegs", "Tcp_OutSegs", "Tcp_OutRsts", "Tcp_PassiveOpens",
        "Tcp_RetransSegs", "Tcp_CurrEstab",
        "Udp_InDatagrams", "Udp_OutDatagrams", "Udp_NoPorts", "Udp_RcvbufErrors",
        "Udp_SndbufErrors",
        "Udp6_InDatagrams", "Udp6_OutDatagrams", "Udp6_NoPorts", "Udp6_RcvbufErrors",
        "Udp6_SndbufErrors",
    ]

    private struct Statistic {
        /// `TcpExtListenDrops`
        var title: String
        var value: Double
    }

    /// A missing `snmp6` is a kernel without IPv6; of the other two a missing one is an error.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var statistics: [String: Statistic] = [:]
        try readPairs(paths.proc("net/netstat"), into: &statistics)
        try readPairs(paths.proc("net/snmp"), into: &statistics)
        try readIPv6(paths.proc("net/snmp6"), into: &statistics)
        let sorted = statistics.sorted { bytesPrecede($0.key, $1.key) }
        return sorted.map { key, statistic in
            MetricFamily(
                "node_netstat_\(key)", .unknown, help: "Statistic \(statistic.title).",
                points: [.init(.empty, statistic.value)])
        }
    }

    /// Pairs of lines, the first with the names and the second with the values, both after `Protocol:`.
    private func readPairs(
        _ path: String, into statistics: inout [String: Statistic]
    ) throws(ReadError) {
        var names: [ArraySlice<UInt8>]?
        for line in try tree.bytes(path).split(separator: 10) {
            let fields = ProcText.fields(line)
            guard let head = names else {
                names = fields
                continue
            }
            names = nil
            guard let first = head.first, first.last == UInt8(ascii: ":"),
                head.count == fields.count
            else {
                throw .malformed(
                    path: path,
                    detail: "\(head.count) names and \(fields.count) values in a pair of lines")
            }
            let owner = ProcText.string(first.dropLast())
            for (name, value) in zip(head, fields).dropFirst() {
                try add(owner, ProcText.string(name), value, path, to: &statistics)
            }
        }
        if names != nil {
            throw .malformed(path: path, detail: "the last line of names has no line of values")
        }
    }

    /// A line a field; the protocol ends with the first 6 of the name.
    private func readIPv6(
        _ path: String, into statistics: inout [String: Statistic]
    ) throws(ReadError) {
        guard let bytes = try tree.bytesIfPresent(path) else { return }
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard fields.count >= 2, let six = fields[0].firstIndex(of: UInt8(ascii: "6")) else {
                continue
            }
            let owner = ProcText.string(fields[0][...six])
            let name = ProcText.string(fields[0][(six + 1)...])
            try add(owner, name, fields[1], path, to: &statistics)
        }
    }

    private func add(
        _ owner: String, _ name: String, _ text: ArraySlice<UInt8>, _ path: String,
        to statistics: inout [String: Statistic]
    ) throws(ReadError) {
        // Tcp MaxConn is -1 where it has no bound.
        guard let value = ProcText.signedNumber(text) else {
            throw .malformed(path: path, detail: "no number: \(owner) \(name)")
        }
        let key = "\(owner)_\(name)"
        if includes(key) { statistics[key] = Statistic(title: owner + name, value: value) }
    }
}

/// Sockets in use and their memory from `/proc/net/sockstat` and `/proc/net/sockstat6`.
/// Source: node_exporter 1.12 `sockstat_linux.go`, procfs `net_sockstat.go`.
package struct SockstatReader: NodeReader {
    package let name = "sockstat"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let pageBytes: Double

    /// Bytes of the running kernel's page.
    package static let kernelPageBytes = sysconf(Int32(_SC_PAGESIZE))

    /// `pageBytes` turns the kernel's pages into `…_mem_bytes`.
    package init(
        tree: any WorldFileTree, paths: NodePaths, pageBytes: Int = SockstatReader.kernelPageBytes
    ) {
        self.tree = tree
        self.paths = paths
        self.pageBytes = Double(pageBytes)
    }

    /// The fields that become families, in this order; others are left out.
    private static let fields = ["inuse", "orphan", "tw", "alloc", "mem", "memory"]

    /// A missing file is a kernel without that version of IP and gives no family.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        try families(paths.proc("net/sockstat"), isIPv6: false)
            + families(paths.proc("net/sockstat6"), isIPv6: true)
    }

    private func families(_ path: String, isIPv6: Bool) throws(ReadError) -> [MetricFamily] {
        guard let bytes = try tree.bytesIfPresent(path) else { return [] }
        var families: [MetricFamily] = []
        for line in bytes.split(separator: 10) {
            let words = ProcText.fields(line)
            guard words.count >= 3, words.count % 2 == 1 else {
                throw .malformed(path: path, detail: "no pairs: \(ProcText.string(line))")
            }
            var values: [String: Double] = [:]
            for index in stride(from: 1, to: words.count - 1, by: 2) {
                let key = ProcText.string(words[index])
                guard let value = ProcText.signedNumber(words[index + 1]) else {
                    throw .malformed(path: path, detail: "no number: \(ProcText.string(line))")
                }
                values[key] = value
            }
            let hasColon = words[0].last == UInt8(ascii: ":")
            let owner = ProcText.string(hasColon ? words[0].dropLast() : words[0])
            guard owner != "sockets" else {
                guard !isIPv6 else { continue }
                families.append(
                    .gauge(
                        "node_sockstat_sockets_used", help: "Number of IPv4 sockets in use.",
                        values["used", default: 0]))
                continue
            }
            families += state(owner, values)
        }
        return families
    }

    private func state(_ owner: String, _ values: [String: Double]) -> [MetricFamily] {
        func family(_ field: String, _ value: Double) -> MetricFamily {
            .gauge(
                "node_sockstat_\(owner)_\(field)",
                help: "Number of \(owner) sockets in state \(field).", value)
        }
        var families = Self.fields.compactMap { field in
            // Every protocol has inuse, a line without it says 0.
            (values[field] ?? (field == "inuse" ? 0 : nil)).map { family(field, $0) }
        }
        if let pages = values["mem"] { families.append(family("mem_bytes", pages * pageBytes)) }
        return families
    }
}

/// What each CPU's receive queue took, dropped and left for later, from `/proc/net/softnet_stat`.
/// Source: node_exporter 1.12 `softnet_linux.go`, procfs `net_softnet.go`.
package struct SoftnetReader: NodeReader {
    package let name = "softnet"
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

    /// The columns that become families. The kernel has 9 since Linux 2.6.23, 10 since 2.6.39, 11 since 4.18 and 13
    /// since 5.14; one that is missing counts 0.
    private static let columns = [
        Column(index: 0, name: "processed_total", help: "Number of processed packets"),
        Column(index: 1, name: "dropped_total", help: "Number of dropped packets"),
        Column(
            index: 2, name: "times_squeezed_total",
            help: "Number of times processing packets ran out of quota"),
        Column(
            index: 8, name: "cpu_collision_total",
            help: "Number of collision occur while obtaining device lock while transmitting"),
        Column(
            index: 9, name: "received_rps_total", help: "Number of times cpu woken up received_rps"),
        Column(
            index: 10, name: "flow_limit_count_total",
            help: "Number of times flow limit has been reached"),
        Column(index: 11, name: "backlog_len", help: "Softnet backlog status"),
    ]
    private static let cpuColumn = 12
    private static let columnsMin = 9

    /// Lines that don't name their CPU are counted from 0.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("net/softnet_stat")
        let lines = try tree.bytes(path).split(separator: 10)
        var families = Self.columns.map {
            MetricFamily(
                "node_softnet_\($0.name)", $0.name.hasSuffix("_total") ? .counter : .gauge,
                help: $0.help)
        }
        for (number, line) in lines.enumerated() {
            let fields = ProcText.fields(line)
            guard fields.count >= Self.columnsMin else {
                throw .malformed(path: path, detail: "\(fields.count) columns in a line")
            }
            var values: [UInt64] = []
            for field in fields.prefix(Self.cpuColumn + 1) {
                guard let value = ProcText.hexadecimal(field), value <= UInt64(UInt32.max) else {
                    throw .malformed(path: path, detail: "no number: \(ProcText.string(field))")
                }
                values.append(value)
            }
            let cpu = values.count > Self.cpuColumn ? values[Self.cpuColumn] : UInt64(number)
            // A kernel of 12 columns has no CPU and no backlog in the twelfth.
            if values.count <= Self.cpuColumn { values = Array(values.prefix(11)) }
            let labels = Labels.one("cpu", String(cpu))
            for (position, column) in Self.columns.enumerated() {
                let value = column.index < values.count ? Double(values[column.index]) : 0
                families[position].points.append(.init(labels, value))
            }
        }
        return families
    }
}

/// Bytes that wait in the queues of all UDP sockets, from `/proc/net/udp` and `/proc/net/udp6`.
/// Source: node_exporter 1.12 `udp_queues_linux.go`, procfs `net_ip_socket.go`.
package struct UDPQueuesReader: NodeReader {
    package let name = "udp_queues"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// A missing file is a kernel without that version of IP; without both there is no family. A file has 128 bytes for
    /// each socket: one past 16 MiB, 131,072 sockets, throws `file` with EFBIG.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var family = MetricFamily(
            "node_udp_queues", .gauge,
            help: "Number of allocated memory in the kernel for UDP datagrams in bytes.")
        for (file, version) in [("net/udp", "v4"), ("net/udp6", "v6")] {
            guard let queues = try queues(paths.proc(file)) else { continue }
            family.points += [
                .init(.two("ip", version, "queue", "rx"), Double(queues.received)),
                .init(.two("ip", version, "queue", "tx"), Double(queues.sent)),
            ]
        }
        return family.points.isEmpty ? [] : [family]
    }

    private func queues(_ path: String) throws(ReadError) -> (sent: UInt64, received: UInt64)? {
        guard let bytes = try tree.bytesIfPresent(path) else { return nil }
        var (sent, received): (UInt64, UInt64) = (0, 0)
        var isHead = true
        var malformed: String?
        ProcText.forEachLine(bytes) { line in
            guard !isHead else {
                isHead = false
                return
            }
            let fields = ProcText.fields(line)
            let pair =
                fields.count >= 10
                ? fields[4].split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
                : []
            guard pair.count == 2, let toSend = ProcText.hexadecimal(pair[0]),
                let toReceive = ProcText.hexadecimal(pair[1])
            else {
                malformed = ProcText.string(line.prefix(200))
                return
            }
            sent &+= toSend
            received &+= toReceive
        }
        if let malformed { throw .malformed(path: path, detail: "no queues: \(malformed)") }
        return (sent, received)
    }
}
