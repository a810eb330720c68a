package import Model
package import World

/// What the NFS client asked of its servers, from `/proc/net/rpc/nfs`. Source: node_exporter 1.12 `nfs_linux.go`.
package struct NFSReader: NodeReader {
    package let name = "nfs"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// No families where the kernel has no NFS client. A line or a procedure that the kernel does not print counts as
    /// zero, as in node_exporter.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("net/rpc/nfs")
        guard let statistics = try RPCStatistics(tree: tree, path: path) else { return [] }
        let network = try statistics.numbers("net", count: 4)
        let calls = try statistics.numbers("rpc", count: 3)
        var requests = MetricFamily(
            "node_nfs_requests_total", .counter, help: "Number of NFS procedures invoked.")
        try statistics.add("proc2", NFSProcedures.version2, proto: "2", to: &requests)
        try statistics.add("proc3", NFSProcedures.version3, proto: "3", to: &requests)
        try statistics.add(
            "proc4", NFSProcedures.version4Client, proto: "4", countMin: 0, to: &requests)
        return [
            MetricFamily(
                "node_nfs_packets_total", .counter,
                help: "Total NFSd network packets (sent+received) by protocol type.",
                points: [
                    .init(.one("protocol", "udp"), network[1]),
                    .init(.one("protocol", "tcp"), network[2]),
                ]),
            .counter(
                "node_nfs_connections_total", help: "Total number of NFSd TCP connections.",
                network[3]),
            .counter("node_nfs_rpcs_total", help: "Total number of RPCs performed.", calls[0]),
            .counter(
                "node_nfs_rpc_retransmissions_total",
                help: "Number of RPC transmissions performed.", calls[1]),
            .counter(
                "node_nfs_rpc_authentication_refreshes_total",
                help: "Number of RPC authentication refreshes performed.", calls[2]),
            requests,
        ]
    }
}

/// The lines of `/proc/net/rpc/nfs` and `/proc/net/rpc/nfsd`: a name and numbers. Source: procfs `nfs/parse.go`.
struct RPCStatistics {
    private let path: String
    private var lines: [String: [ArraySlice<UInt8>]] = [:]

    /// nil where there is no such file. Lines whose names are not known are kept and never asked for.
    init?(tree: any WorldFileTree, path: String) throws(ReadError) {
        self.path = path
        guard let bytes = try tree.bytesIfPresent(path) else { return nil }
        for line in bytes.split(separator: 10) {
            let fields = ProcText.fields(line)
            guard let name = fields.first else { continue }
            lines[ProcText.string(name)] = Array(fields.dropFirst())
        }
    }

    /// The first `count` numbers of a line; zeros where there is no such line. Throws `malformed` where it has fewer.
    func numbers(_ name: String, count: Int) throws(ReadError) -> [Double] {
        guard let fields = lines[name] else { return Array(repeating: 0, count: count) }
        let numbers = fields.prefix(count).compactMap(ProcText.number)
        guard numbers.count == count else { throw malformed(name) }
        return numbers
    }

    /// A point for each of `methods`, in the order of the line's numbers; an empty name is passed over. The line's
    /// first number says how many follow: fewer than `countMin` (all by default) are `malformed`, further ones passed
    /// over.
    func add(
        _ name: String, _ methods: [String], proto: String, countMin: Int? = nil,
        to family: inout MetricFamily
    ) throws(ReadError) {
        var numbers: [Double] = []
        if let fields = lines[name] {
            numbers = fields.dropFirst().compactMap(ProcText.number)
            guard let count = fields.first.flatMap(ProcText.unsigned),
                numbers.count == fields.count - 1, count == UInt64(numbers.count),
                numbers.count >= countMin ?? methods.count
            else { throw malformed(name) }
        }
        for (index, method) in methods.enumerated() where !method.isEmpty {
            family.points.append(
                .init(
                    .two("method", method, "proto", proto),
                    index < numbers.count ? numbers[index] : 0))
        }
    }

    private func malformed(_ name: String) -> ReadError {
        .malformed(path: path, detail: "not the numbers it should have: \(name)")
    }
}

/// The procedures of each version of NFS in the kernel's order, under node_exporter's names.
enum NFSProcedures {
    static let version2 = [
        "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write",
        "Create", "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
    ]

    static let version3 = [
        "Null", "GetAttr", "SetAttr", "Lookup", "Access", "ReadLink", "Read", "Write", "Create",
        "MkDir", "SymLink", "MkNod", "Remove", "RmDir", "Rename", "Link", "ReadDir", "ReadDirPlus",
        "FsStat", "FsInfo", "PathConf", "Commit",
    ]

    /// What the client counts: the kernel's own list, which grew with its releases.
    static let version4Client = [
        "Null", "Read", "Write", "Commit", "Open", "OpenConfirm", "OpenNoattr", "OpenDowngrade",
        "Close", "Setattr", "FsInfo", "Renew", "SetClientID", "SetClientIDConfirm", "Lock",
        "Lockt", "Locku", "Access", "Getattr", "Lookup", "LookupRoot", "Remove", "Rename", "Link",
        "Symlink", "Create", "Pathconf", "StatFs", "ReadLink", "ReadDir", "ServerCaps",
        "DelegReturn", "GetACL", "SetACL", "FsLocations", "ReleaseLockowner", "Secinfo",
        "FsidPresent", "ExchangeID", "CreateSession", "DestroySession", "Sequence", "GetLeaseTime",
        "ReclaimComplete", "GetDeviceInfo", "LayoutGet", "LayoutCommit", "LayoutReturn",
        "SecinfoNoName", "TestStateID", "FreeStateID", "GetDeviceList", "BindConnToSession",
        "DestroyClientID", "Seek", "Allocate", "DeAllocate", "LayoutStats", "Clone",
    ]
}
