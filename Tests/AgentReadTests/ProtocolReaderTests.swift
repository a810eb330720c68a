import AgentRead
import Exposition
import Glibc
import Model
import Testing
import World

/// TCP sockets on this machine's loopback address, open until `close`.
final class LoopbackSockets {
    struct Failure: Error {
        var call: String
        var errno: Int32
    }

    static let unreadBytes = 100
    static let hasIPv6: Bool = {
        guard let sockets = try? LoopbackSockets(listeners: 1, isIPv6: true) else { return false }
        sockets.close()
        return true
    }()

    private var descriptors: [Int32] = []

    /// Listeners on 127.0.0.1, or ::1, and connections to the last of 127.0.0.1, each with bytes that nobody reads.
    init(listeners: Int, connections: Int = 0, isIPv6: Bool = false) throws {
        do {
            for _ in 0..<listeners { try addListener(isIPv6: isIPv6) }
            if let listener = descriptors.last {
                for _ in 0..<connections { try addConnection(to: listener) }
            }
        } catch {
            close()
            throw error
        }
    }

    func close() {
        for descriptor in descriptors { _ = Glibc.close(descriptor) }
        descriptors = []
    }

    private func add(_ descriptor: Int32, _ call: String) throws -> Int32 {
        guard descriptor >= 0 else { throw Failure(call: call, errno: errno) }
        descriptors.append(descriptor)
        return descriptor
    }

    private func check(_ result: Int32, _ call: String) throws {
        guard result == 0 else { throw Failure(call: call, errno: errno) }
    }

    private func addListener(isIPv6: Bool) throws {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let listener = try add(socket(isIPv6 ? AF_INET6 : AF_INET, type, 0), "socket")
        if isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0[15] = 1 }
            try check(Self.with(&address) { bind(listener, $0, $1) }, "bind")
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
            try check(Self.with(&address) { bind(listener, $0, $1) }, "bind")
        }
        try check(listen(listener, 16), "listen")
    }

    private func addConnection(to listener: Int32) throws {
        var address = sockaddr_in()
        let named = Self.with(&address) { pointer, size in
            var size = size
            return getsockname(listener, pointer, &size)
        }
        try check(named, "getsockname")
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let client = try add(socket(AF_INET, type, 0), "socket")
        try check(Self.with(&address) { connect(client, $0, $1) }, "connect")
        let server = try add(accept(listener, nil, nil), "accept")
        var bytes = [UInt8](repeating: 1, count: Self.unreadBytes)
        guard send(client, bytes, bytes.count, 0) == bytes.count,
            // Waits until they have come and leaves them there.
            recv(server, &bytes, bytes.count, Int32(MSG_PEEK) | Int32(MSG_WAITALL)) == bytes.count
        else { throw Failure(call: "send", errno: errno) }
    }

    private static func with<Address>(
        _ address: inout Address, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<Address>.size))
            }
        }
    }
}

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

    // MARK: tcpstat

    @Test("tcpstat: states that have sockets, and their queues")
    func tcpstat() throws {
        var host = FakeHost()
        let tree = MemoryTree([:])
        #expect(
            try TCPStatReader(tree: tree, paths: Self.paths, host: host).read(now: Self.now) == [])
        host.tcp = TCPCounts(
            states: [99, 5, 1, 0, 0, 0, 7, 0, 0, 0, 3, 2, 88], receiveQueueBytes: 0,
            sendQueueBytes: 12)
        let families = try TCPStatReader(tree: tree, paths: Self.paths, host: host).read(
            now: Self.now)
        func key(_ state: String) -> String { "node_tcp_connection_states{state=\"\(state)\"}" }
        #expect(
            NodeReaderTests.samples(families) == [
                key("established"): 5, key("syn_sent"): 1, key("time_wait"): 7, key("listen"): 3,
                key("closing"): 2, key("rx_queued_bytes"): 0, key("tx_queued_bytes"): 12,
            ])
        #expect(
            families.map(\.metadata)
                == [MetricMetadata(type: .gauge, help: "Number of connection states.")])
    }

    /// Some sandboxes have no inet_diag.
    static let hasDiagnostics = (try? GlibcHostCalls().tcpCounts(includesIPv6: false)) != nil

    @Test(
        "the kernel's counts rise with a listener and its connections",
        .enabled(if: hasDiagnostics, "the kernel's inet_diag does not answer here"))
    func tcpLive() throws {
        // Other sockets of this machine come and go: one undisturbed try is enough.
        var hasRisen = false
        for _ in 0..<20 where !hasRisen {
            let before = try GlibcHostCalls().tcpCounts(includesIPv6: false)
            let sockets = try LoopbackSockets(listeners: 1, connections: 8)
            defer { sockets.close() }
            let after = try GlibcHostCalls().tcpCounts(includesIPv6: false)
            #expect(after.states[1] >= 16)
            #expect(after.states[10] >= 1)
            #expect(after.receiveQueueBytes >= UInt64(8 * LoopbackSockets.unreadBytes))
            hasRisen =
                after.states[1] >= before.states[1] + 16
                && after.states[10] >= before.states[10] + 1
        }
        #expect(hasRisen)
    }

    @Test(
        "IPv6 is asked for where the kernel has it",
        .enabled(if: LoopbackSockets.hasIPv6, "no IPv6 loopback address here"),
        .enabled(if: hasDiagnostics, "the kernel's inet_diag does not answer here"))
    func tcpIPv6() throws {
        let sockets = try LoopbackSockets(listeners: 64, isIPv6: true)
        defer { sockets.close() }
        func listeners(_ tree: MemoryTree) throws -> Double {
            let reader = TCPStatReader(tree: tree, paths: Self.paths, host: GlibcHostCalls())
            return try Self.samples(reader)[
                "node_tcp_connection_states{state=\"listen\"}", default: 0]
        }
        let both = try listeners(MemoryTree(["/proc/net/tcp6": ""]))
        #expect(both >= 64)
        // Half of them as room for what others open meanwhile.
        #expect(try listeners(MemoryTree([:])) + 32 <= both)
    }

    // MARK: the kernel's answers

    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }

    /// A netlink message: a header, what follows it, and zeros up to a multiple of four.
    static func message(
        _ type: UInt16, sequence: UInt32 = 7, length: Int? = nil, _ payload: [UInt8] = []
    ) -> [UInt8] {
        let head =
            bytes(UInt32(length ?? 16 + payload.count)) + bytes(type) + bytes(UInt16(2))
            + bytes(sequence) + bytes(UInt32(0))
        return head + payload + Array(repeating: 0, count: (4 - payload.count % 4) % 4)
    }

    /// The facts of a socket, 72 bytes.
    static func facts(state: UInt8, received: UInt32 = 0, toSend: UInt32 = 0) -> [UInt8] {
        [2, state, 0, 0] + Array(repeating: 0, count: 52) + bytes(received) + bytes(toSend)
            + bytes(UInt64(0))
    }

    static let (errorType, doneType, overrunType, socketType): (UInt16, UInt16, UInt16, UInt16) = (
        2, 3, 4, 20
    )

    @Test("a dump's messages are counted up to its end")
    func datagram() throws {
        var counts = TCPCounts()
        // A socket with one attribute more, one that another request asked for, one of an unknown state, no operation.
        let first =
            Self.message(
                Self.socketType, Self.facts(state: 1, received: 5, toSend: 6) + [5, 0, 8, 0, 3])
            + Self.message(Self.socketType, sequence: 6, Self.facts(state: 1, received: 9))
            + Self.message(Self.socketType, Self.facts(state: 200, received: 1, toSend: .max))
            + Self.message(1) + Self.message(Self.errorType, Self.bytes(Int32(0)))
        // From the middle of an array, as of a buffer.
        let isDone = try SocketDiagnostics.add(
            ([1, 2, 3] + first)[3...], sequence: 7, to: &counts)
        #expect(!isDone)
        #expect(counts.states == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(counts.receiveQueueBytes == 6)
        #expect(counts.sendQueueBytes == 6 + UInt64(UInt32.max))
        let last =
            Self.message(Self.socketType, Self.facts(state: 10))
            + Self.message(Self.doneType, Self.bytes(Int32(0)))
        #expect(try SocketDiagnostics.add(last[...], sequence: 7, to: &counts))
        #expect(counts.states[10] == 1)
        let oldEnd = Self.message(Self.doneType)
        #expect(try SocketDiagnostics.add(oldEnd[...], sequence: 7, to: &counts))
        #expect(try !SocketDiagnostics.add([], sequence: 7, to: &counts))
    }

    @Test(
        "errors of the kernel",
        arguments: [
            (errorType, bytes(Int32(-2)), ENOENT), (doneType, bytes(Int32(-4)), EINTR),
            (overrunType, [], ENOBUFS), (errorType, bytes(Int32.min), Int32.min),
        ] as [(UInt16, [UInt8], Int32)])
    func datagramError(type: UInt16, payload: [UInt8], expect: Int32) {
        var counts = TCPCounts()
        #expect(throws: ReadError.system(operation: "sock_diag dump", errno: expect)) {
            try SocketDiagnostics.add(
                Self.message(type, payload)[...], sequence: 7, to: &counts)
        }
    }

    @Test(
        "lengths that do not fit",
        arguments: [
            message(socketType, Array(facts(state: 1).dropLast())), message(socketType),
            message(socketType, length: 15, facts(state: 1)),
            message(socketType, length: 0, facts(state: 1)),
            message(socketType, length: 89, facts(state: 1)),
            message(socketType, length: 0xffff_ffff, facts(state: 1)),
            message(errorType, [1, 2]), message(1) + [1, 2, 3, 4],
            Array(message(1).dropLast()), [0],
        ])
    func datagramMalformed(datagram: [UInt8]) {
        var counts = TCPCounts()
        let error = #expect(throws: ReadError.self) {
            try SocketDiagnostics.add(datagram[...], sequence: 7, to: &counts)
        }
        expectMalformed(error, "netlink sock_diag")
        #expect(counts == TCPCounts())
    }
}
