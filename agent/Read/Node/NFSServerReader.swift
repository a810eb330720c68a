package import Model
package import World

/// What the kernel's NFS server did, from `/proc/net/rpc/nfsd`. Source: node_exporter 1.12 `nfsd_linux.go`.
package struct NFSServerReader: NodeReader {
    package let name = "nfsd"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// No families where the kernel has no NFS server. A line or a procedure that the kernel does not print counts as
    /// zero, as in node_exporter.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("net/rpc/nfsd")
        guard let statistics = try RPCStatistics(tree: tree, path: path) else { return [] }
        return try caches(statistics) + network(statistics) + [requests(statistics)]
    }

    private func caches(_ statistics: RPCStatistics) throws(ReadError) -> [MetricFamily] {
        let replies = try statistics.numbers("rc", count: 3)
        let handles = try statistics.numbers("fh", count: 1)
        let bytes = try statistics.numbers("io", count: 2)
        let threads = try statistics.numbers("th", count: 1)
        // Ten numbers of a histogram are between the two that are used.
        let readAhead = try statistics.numbers("ra", count: 12)
        return [
            .counter(
                "node_nfsd_reply_cache_hits_total",
                help: "Total number of NFSd Reply Cache hits (client lost server response).",
                replies[0]),
            .counter(
                "node_nfsd_reply_cache_misses_total",
                help: "Total number of NFSd Reply Cache an operation that requires caching "
                    + "(idempotent).", replies[1]),
            .counter(
                "node_nfsd_reply_cache_nocache_total",
                help: "Total number of NFSd Reply Cache non-idempotent operations "
                    + "(rename/delete/…).", replies[2]),
            .counter(
                "node_nfsd_file_handles_stale_total",
                help: "Total number of NFSd stale file handles", handles[0]),
            .counter("node_nfsd_disk_bytes_read_total", help: "Total NFSd bytes read.", bytes[0]),
            .counter(
                "node_nfsd_disk_bytes_written_total", help: "Total NFSd bytes written.", bytes[1]),
            .gauge(
                "node_nfsd_server_threads",
                help: "Total number of NFSd kernel threads that are running.", threads[0]),
            .gauge(
                "node_nfsd_read_ahead_cache_size_blocks",
                help: "How large the read ahead cache is in blocks.", readAhead[0]),
            .counter(
                "node_nfsd_read_ahead_cache_not_found_total",
                help: "Total number of NFSd read ahead cache not found.", readAhead[11]),
        ]
    }

    private func network(_ statistics: RPCStatistics) throws(ReadError) -> [MetricFamily] {
        let network = try statistics.numbers("net", count: 4)
        let calls = try statistics.numbers("rpc", count: 5)
        return [
            MetricFamily(
                "node_nfsd_packets_total", .counter,
                help: "Total NFSd network packets (sent+received) by protocol type.",
                points: [
                    .init(.one("proto", "udp"), network[1]),
                    .init(.one("proto", "tcp"), network[2]),
                ]),
            .counter(
                "node_nfsd_connections_total", help: "Total number of NFSd TCP connections.",
                network[3]),
            MetricFamily(
                "node_nfsd_rpc_errors_total", .counter,
                help: "Total number of NFSd RPC errors by error type.",
                points: [
                    .init(.one("error", "fmt"), calls[2]), .init(.one("error", "auth"), calls[3]),
                    .init(.one("error", "cInt"), calls[4]),
                ]),
            .counter("node_nfsd_server_rpcs_total", help: "Total number of NFSd RPCs.", calls[0]),
        ]
    }

    private func requests(_ statistics: RPCStatistics) throws(ReadError) -> MetricFamily {
        var requests = MetricFamily(
            "node_nfsd_requests_total", .counter,
            help: "Total number NFSd Requests by method and protocol.")
        // Of the server's, the procedure that does nothing is not shown.
        func shown(_ methods: [String]) -> [String] { methods.map { $0 == "Null" ? "" : $0 } }
        try statistics.add("proc2", shown(NFSProcedures.version2), proto: "2", to: &requests)
        try statistics.add("proc3", shown(NFSProcedures.version3), proto: "3", to: &requests)
        try statistics.add(
            "proc4ops", Self.operations, proto: "4", countMin: 39, to: &requests)
        requests.points.append(
            .init(
                .two("method", "WdelegGetattr", "proto", "4"),
                try statistics.numbers("wdeleg_getattr", count: 1)[0]))
        return requests
    }

    /// The operations of NFS 4.0 by their numbers; those that node_exporter does not show are empty.
    private static let operations = [
        "", "", "", "Access", "Close", "Commit", "Create", "DelegPurge", "DelegReturn", "GetAttr",
        "GetFH", "Link", "Lock", "Lockt", "Locku", "Lookup", "LookupRoot", "Nverify", "Open",
        "OpenAttr", "OpenConfirm", "OpenDgrd", "PutFH", "", "", "Read", "ReadDir", "ReadLink",
        "Remove", "Rename", "Renew", "RestoreFH", "SaveFH", "SecInfo", "SetAttr", "SetClientID",
        "SetClientIDConfirm", "Verify", "Write", "RelLockOwner",
    ]
}
