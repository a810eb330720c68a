import AgentRead
import Exposition
import Glibc
import Model
import Testing
import World

@Suite("Protocol and connection readers")
struct ProtocolReaderTests {
    static let now = TimestampNS(0)
    static let paths = NodePaths()

    static func samples(_ reader: any NodeReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    // MARK: node_exporter's fixtures

    @Test(
        "arp, conntrack, sockstat, softnet and udp_queues are node_exporter's",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func conformance() throws {
        let tree = PosixTree()
        let paths = try Conformance.paths()
        let readers: [(reader: any NodeReader, prefix: String, count: Int)] = [
            (ARPReader(tree: tree, paths: paths, includes: { $0 != "nope" }), "node_arp_", 2),
            (ConntrackReader(tree: tree, paths: paths), "node_nf_conntrack_", 10),
            (SockstatReader(tree: tree, paths: paths, pageBytes: 4096), "node_sockstat_", 20),
            (SoftnetReader(tree: tree, paths: paths), "node_softnet_", 28),
            (UDPQueuesReader(tree: tree, paths: paths), "node_udp_", 2),
        ]
        for (reader, prefix, count) in readers {
            try Conformance.expectEqual(
                try reader.read(now: Self.now), owning: [prefix], count: count)
        }
    }

    @Test(
        "netstat is node_exporter's, untyped as there",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func netstatConformance() throws {
        let reader = NetstatReader(tree: PosixTree(), paths: try Conformance.paths())
        let families = try reader.read(now: Self.now)
        let theirs = try Conformance.expectedSamples(Conformance.all).filter {
            $0.key.hasPrefix("node_netstat_")
        }
        #expect(theirs.count == 41)
        #expect(NodeReaderTests.samples(families) == theirs)
        let text = String(decoding: ExpositionWriter.text(families), as: UTF8.self)
        let heads = text.split(separator: "\n").filter { $0.hasPrefix("# ") }.map {
            String($0.dropFirst(2))
        }
        let theirHeads = try Conformance.expectedHeads(Conformance.all).filter {
            $0.hasPrefix("HELP node_netstat_") || $0.hasPrefix("TYPE node_netstat_")
        }
        #expect(Set(heads) == theirHeads)
    }

    // MARK: netstat

    @Test(
        "netstat: the fields of the default",
        arguments: [
            ("Tcp_InErrs", true), ("Icmp6_InErrors", true), ("UdpLite_InErrors", true),
            ("Ip_Forwarding", true), ("Ip6_InOctets", true), ("IpExt_OutOctets", true),
            ("Icmp_InMsgs", true), ("Icmp6_OutMsgs", true), ("TcpExt_ListenDrops", true),
            ("TcpExt_Listen", true), ("TcpExt_SyncookiesSent", true),
            ("TcpExt_TCPSynRetrans", true), ("TcpExt_TCPRcvQDrop", true), ("Tcp_CurrEstab", true),
            ("Udp_NoPorts", true), ("Udp6_SndbufErrors", true),
            ("Tcp_MaxConn", false), ("Ip_InOctets", false), ("Ip6_Forwarding", false),
            ("Icmp_InErrorsX", false), ("Tcp_InCsumErrors", false), ("UdpLite_NoPorts", false),
            ("TcpExt_TCPTimeoutsX", false), ("TcpExt_TCPLoss", false), ("Tcp_ListenDrops", false),
            ("MPTcpExt_Listen", false), ("TcpExt_TCPSYNChallenge", false), ("InErrors", false),
        ])
    func netstatDefault(key: String, expect: Bool) {
        #expect(NetstatReader.isIncludedByDefault(key) == expect)
    }

    static let netstat = "TcpExt: SyncookiesSent TW\nTcpExt: 3 4\n"
    static let snmp = "Tcp: RtoMin MaxConn InErrs\nTcp: 200 -1 5\n"

    @Test("netstat: a filter, negative values, IPv6 missing, a later file wins")
    func netstatFields() throws {
        let tree = MemoryTree(["/proc/net/netstat": Self.netstat, "/proc/net/snmp": Self.snmp])
        #expect(
            try Self.samples(NetstatReader(tree: tree, paths: Self.paths)) == [
                "node_netstat_TcpExt_SyncookiesSent": 3, "node_netstat_Tcp_InErrs": 5,
            ])
        tree.create("/proc/net/snmp6", "Udp6InErrors  \t9\nNothing 1\nIp6 \nTcpExt6x 2\n")
        let all = NetstatReader(tree: tree, paths: Self.paths, includes: { _ in true })
        #expect(
            try Self.samples(all) == [
                "node_netstat_TcpExt_SyncookiesSent": 3, "node_netstat_TcpExt_TW": 4,
                "node_netstat_Tcp_RtoMin": 200, "node_netstat_Tcp_MaxConn": -1,
                "node_netstat_Tcp_InErrs": 5, "node_netstat_Udp6_InErrors": 9,
                "node_netstat_TcpExt6_x": 2,
            ])
        tree.append("/proc/net/snmp", "TcpExt: TW\nTcpExt: 44\n")
        let families = try all.read(now: Self.now)
        #expect(NodeReaderTests.samples(families)["node_netstat_TcpExt_TW"] == 44)
        #expect(Set(families.map(\.name)).count == families.count)
        #expect(
            families.first { $0.name == "node_netstat_TcpExt_TW" }?.metadata
                == MetricMetadata(type: .unknown, help: "Statistic TcpExtTW."))
    }

    @Test(
        "netstat: broken pairs of lines",
        arguments: [
            "Tcp: A B\nTcp: 1\n", "Tcp: A\nTcp: x\n", "Tcp: A\n", "Tcp A\nTcp 1\n",
            "Tcp: A\nTcp: \n", "Tcp: A\nTcp: -\n",
        ])
    func netstatBroken(text: String) {
        let tree = MemoryTree(["/proc/net/netstat": Self.netstat, "/proc/net/snmp": text])
        let error = #expect(throws: ReadError.self) {
            try NetstatReader(tree: tree, paths: Self.paths).read(now: Self.now)
        }
        expectMalformed(error, "/proc/net/snmp")
        tree.delete("/proc/net/snmp")
        #expect(throws: missing("/proc/net/snmp")) {
            try NetstatReader(tree: tree, paths: Self.paths).read(now: Self.now)
        }
        tree.create("/proc/net/snmp", Self.snmp)
        tree.create("/proc/net/snmp6", "Ip6InReceives seven\n")
        let broken = #expect(throws: ReadError.self) {
            try NetstatReader(tree: tree, paths: Self.paths).read(now: Self.now)
        }
        expectMalformed(broken, "/proc/net/snmp6")
    }

    private func missing(_ path: String) -> ReadError {
        .file(FileError(operation: "open", path: path, errno: ENOENT))
    }

    private func expectMalformed(
        _ error: ReadError?, _ expect: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        guard case .malformed(let path, _)? = error else {
            Issue.record("no malformed file", sourceLocation: sourceLocation)
            return
        }
        #expect(path == expect, sourceLocation: sourceLocation)
    }

    // MARK: sockstat, softnet, udp_queues

    @Test("sockstat: pages of another size, other fields, one version of IP")
    func sockstat() throws {
        let tree = MemoryTree([
            "/proc/net/sockstat": "sockets: used 7\nTCP: inuse 1 mem 3 other 9\nRAW: mem -1\n"
        ])
        let reader = SockstatReader(tree: tree, paths: Self.paths, pageBytes: 16_384)
        #expect(
            try Self.samples(reader) == [
                "node_sockstat_sockets_used": 7, "node_sockstat_TCP_inuse": 1,
                "node_sockstat_TCP_mem": 3, "node_sockstat_TCP_mem_bytes": 49_152,
                "node_sockstat_RAW_inuse": 0, "node_sockstat_RAW_mem": -1,
                "node_sockstat_RAW_mem_bytes": -16_384,
            ])
        tree.delete("/proc/net/sockstat")
        #expect(try reader.read(now: Self.now) == [])
        tree.create("/proc/net/sockstat6", "sockets: used 7\nTCP6: inuse 2\n")
        #expect(try Self.samples(reader) == ["node_sockstat_TCP6_inuse": 2])
        #expect(SockstatReader.kernelPageBytes >= 4096)
    }

    @Test(
        "sockstat: broken lines",
        arguments: ["TCP: inuse\n", "TCP: inuse 1 mem\n", "TCP: inuse one\n", "sockets:\n"])
    func sockstatBroken(text: String) {
        let tree = MemoryTree(["/proc/net/sockstat": text])
        let error = #expect(throws: ReadError.self) {
            try SockstatReader(tree: tree, paths: Self.paths).read(now: Self.now)
        }
        expectMalformed(error, "/proc/net/sockstat")
    }

    @Test("softnet: a CPU that is off, the columns of old and new kernels")
    func softnet() throws {
        let tree = MemoryTree([
            "/proc/net/softnet_stat": """
            0000000a 00000001 00000002 0 0 0 0 0 00000003 00000004 00000005 00000006 00000000 0 0
            FFFFFFFF 00000001 00000002 0 0 0 0 0 00000003 00000004 00000005 00000007 0000000b 0 0

            """
        ])
        let reader = SoftnetReader(tree: tree, paths: Self.paths)
        let samples = try Self.samples(reader)
        #expect(samples.count == 14)
        #expect(samples["node_softnet_processed_total{cpu=\"0\"}"] == 10)
        #expect(samples["node_softnet_processed_total{cpu=\"11\"}"] == 4_294_967_295)
        #expect(samples["node_softnet_dropped_total{cpu=\"11\"}"] == 1)
        #expect(samples["node_softnet_times_squeezed_total{cpu=\"11\"}"] == 2)
        #expect(samples["node_softnet_cpu_collision_total{cpu=\"11\"}"] == 3)
        #expect(samples["node_softnet_received_rps_total{cpu=\"11\"}"] == 4)
        #expect(samples["node_softnet_flow_limit_count_total{cpu=\"11\"}"] == 5)
        #expect(samples["node_softnet_backlog_len{cpu=\"11\"}"] == 7)
        tree.create("/proc/net/softnet_stat", "1 0 0 0 0 0 0 0 9\n2 0 0 0 0 0 0 0 8\n")
        let old = try Self.samples(reader)
        #expect(old["node_softnet_processed_total{cpu=\"1\"}"] == 2)
        #expect(old["node_softnet_cpu_collision_total{cpu=\"1\"}"] == 8)
        #expect(old["node_softnet_received_rps_total{cpu=\"1\"}"] == 0)
        #expect(old.count == 14)
    }

    @Test(
        "softnet: broken lines",
        arguments: [
            "1 2 3 4 5 6 7 8\n", "1 2 3 4 5 6 7 8 g\n", "100000000 2 3 4 5 6 7 8 9\n",
            "0x1 2 3 4 5 6 7 8 9\n",
        ])
    func softnetBroken(text: String) {
        let tree = MemoryTree(["/proc/net/softnet_stat": text])
        let reader = SoftnetReader(tree: tree, paths: Self.paths)
        let error = #expect(throws: ReadError.self) { try reader.read(now: Self.now) }
        expectMalformed(error, "/proc/net/softnet_stat")
        tree.delete("/proc/net/softnet_stat")
        #expect(throws: missing("/proc/net/softnet_stat")) { try reader.read(now: Self.now) }
    }

    @Test("udp_queues: sums over the sockets of both versions of IP")
    func udpQueues() throws {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue ...\n"
        func line(_ queues: String) -> String {
            "  1: 0100007F:0035 00000000:0000 07 \(queues) 00:00000000 00000000 0 0 9 2 0 0\n"
        }
        let tree = MemoryTree([
            "/proc/net/udp": head + line("00000010:0000000A") + line("00000001:00000100")
        ])
        let reader = UDPQueuesReader(tree: tree, paths: Self.paths)
        let samples = try Self.samples(reader)
        #expect(
            samples == [
                "node_udp_queues{ip=\"v4\",queue=\"tx\"}": 17,
                "node_udp_queues{ip=\"v4\",queue=\"rx\"}": 266,
            ])
        tree.create("/proc/net/udp6", head)
        #expect(try Self.samples(reader)["node_udp_queues{ip=\"v6\",queue=\"rx\"}"] == 0)
        for text in [line("00000010"), line("1:2:3"), line("1:x"), line(":1"), "1: 2 3\n"] {
            tree.create("/proc/net/udp6", head + text)
            let error = #expect(throws: ReadError.self) { try reader.read(now: Self.now) }
            expectMalformed(error, "/proc/net/udp6")
        }
        tree.delete("/proc/net/udp")
        tree.delete("/proc/net/udp6")
        #expect(try reader.read(now: Self.now) == [])
        // More than the agent has memory for.
        tree.create("/proc/net/udp", bytes: Array(repeating: 10, count: (16 << 20) + 1))
        #expect(
            throws: ReadError.file(
                FileError(operation: "read", path: "/proc/net/udp", errno: EFBIG))
        ) { try reader.read(now: Self.now) }
    }

    // MARK: arp, conntrack

    @Test("arp: counts by device, sorted, filtered; hardware addresses of any kind")
    func arp() throws {
        let path = "/proc/net/arp"
        let tree = MemoryTree([
            path: """
            IP address       HW type     Flags       HW address            Mask     Device
            192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        wg0
            192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0
            192.0.2.2        0x308       0x2         0a:00                 *        eth0

            """
        ])
        let reader = ARPReader(tree: tree, paths: Self.paths)
        let families = try reader.read(now: Self.now)
        #expect(families.first?.points.map(\.value) == [2, 1])
        let filtered = ARPReader(tree: tree, paths: Self.paths, includes: { $0 != "eth0" })
        #expect(try Self.samples(filtered) == ["node_arp_entries{device=\"wg0\"}": 1])
        tree.append(path, bytes: Array("1.1.1.1 0x1 0x2 00 * ".utf8) + [0xff, 10])
        #expect(try Self.samples(reader)["node_arp_entries{device=\"\u{fffd}\"}"] == 1)
        tree.append(path, "192.0.2.3 0x1 0x2\n")
        let error = #expect(throws: ReadError.self) { try reader.read(now: Self.now) }
        expectMalformed(error, path)
        tree.delete(path)
        #expect(throws: missing(path)) { try reader.read(now: Self.now) }
    }

    @Test("conntrack: absent modules, files and columns")
    func conntrack() throws {
        let tree = MemoryTree([:])
        let reader = ConntrackReader(tree: tree, paths: Self.paths)
        #expect(try reader.read(now: Self.now) == [])
        tree.create("/proc/sys/net/netfilter/nf_conntrack_count", "12\n")
        #expect(try Self.samples(reader) == ["node_nf_conntrack_entries": 12])
        tree.create("/proc/sys/net/netfilter/nf_conntrack_max", "262144\n")
        #expect(
            try Self.samples(reader) == [
                "node_nf_conntrack_entries": 12, "node_nf_conntrack_entries_limit": 262_144,
            ])
        // The lines of a kernel before search_restart: sixteen columns.
        let stat = "/proc/net/stat/nf_conntrack"
        tree.create(stat, "entries ...\n0 1 2 3 4 5 6 7 8 9 a b c d e f\n")
        tree.append(stat, "0 1 2 3 4 5 6 7 8 9 a FF c d e f 10\n")
        let samples = try Self.samples(reader)
        #expect(samples.count == 10)
        for (name, value) in [
            ("found", 4), ("invalid", 8), ("ignore", 10), ("insert", 16), ("insert_failed", 18),
            ("drop", 20), ("early_drop", 266), ("search_restart", 16),
        ] {
            #expect(samples["node_nf_conntrack_stat_\(name)"] == Double(value), "\(name)")
        }
        for line in ["0 1 2\n", "0 1 x 3 4 5 6 7 8 9 a b c d e f\n"] {
            tree.create(stat, "entries ...\n" + line)
            let error = #expect(throws: ReadError.self) { try reader.read(now: Self.now) }
            expectMalformed(error, stat)
        }
        let limit = "/proc/sys/net/netfilter/nf_conntrack_max"
        tree.create(limit, "many\n")
        let error = #expect(throws: ReadError.self) { try reader.read(now: Self.now) }
        expectMalformed(error, limit)
    }
}
