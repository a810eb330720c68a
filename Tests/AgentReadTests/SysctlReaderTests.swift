import AgentRead
import Model
import Testing
import World

private func samples(_ reader: any NodeReader) throws -> [String: Double] {
    NodeReaderTests.samples(try reader.read(now: NodeReaderTests.now))
}

private func families(_ reader: any NodeReader) throws -> [MetricFamily] {
    try reader.read(now: NodeReaderTests.now)
}

@Suite("Node readers: sysctl")
struct SysctlReaderTests {
    static func reader(
        _ files: [String: String], include: [String] = [], includeInfo: [String] = []
    ) throws -> SysctlReader {
        var tree: [String: String] = [:]
        for (name, text) in files { tree["/proc/sys/" + name] = text }
        return try SysctlReader(
            tree: MemoryTree(tree), paths: NodePaths(), include: include, includeInfo: includeInfo)
    }

    @Test(
        "every fixture sample equals node_exporter's",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func conformance() throws {
        let reader = try SysctlReader(
            tree: PosixTree(), paths: try Conformance.paths(),
            include: ["kernel.threads-max", "fs.file-nr", "fs.file-nr:total,current,max"],
            includeInfo: ["kernel.seccomp.actions_avail"])
        try Conformance.expectEqual(
            try families(reader), owning: ["node_sysctl_"], count: 15)
    }

    @Test(
        "numbers as the kernel writes them; types and help",
        arguments: [
            ("60\n", 60), ("-1\n", -1), ("0\n", 0), ("0x1f\n", 31), ("0022\n", 18),
            ("9223372036854775807\n", 9_223_372_036_854_775_808),
        ])
    func numbers(text: String, expect: Double) throws {
        let all = try families(
            Self.reader(["vm/swappiness": text], include: ["vm.swappiness"]))
        #expect(
            all == [
                MetricFamily(
                    "node_sysctl_vm_swappiness", .unknown, help: "sysctl vm.swappiness",
                    points: [MetricFamily.Point(.empty, expect)])
            ])
    }

    @Test(
        "names become metrics as node_exporter's do",
        arguments: [
            ("net.ipv4.conf.eth0-1.rp_filter", "node_sysctl_net_ipv4_conf_eth0_1_rp_filter"),
            ("kernel/threads-max", "node_sysctl_kernel_threads_max"),
            ("a_.b", "node_sysctl_a_b"), ("a._-_b__c_", "node_sysctl_a__b__c_"),
            ("a_.__-b", "node_sysctl_a__b"), ("dev.x@0", "node_sysctl_dev_x_0"),
        ])
    func metricNames(option: String, metric: String) throws {
        let file = String(option.map { $0 == "." ? "/" : $0 })
        #expect(try samples(Self.reader([file: "1\n"], include: [option])) == [metric: 1])
    }

    @Test("several values: indexed, mapped by keys, info")
    func severalValues() throws {
        let reader = try Self.reader(
            ["net/ipv4/tcp_rmem": "4096\t131072\t6291456\n", "kernel/hostname": "web1\n"],
            include: ["net.ipv4.tcp_rmem", "net.ipv4.tcp_rmem:min,default,max"],
            includeInfo: ["kernel.hostname", "net.ipv4.tcp_rmem"])
        let name = "name=\"net.ipv4.tcp_rmem\""
        #expect(
            try samples(reader) == [
                "node_sysctl_net_ipv4_tcp_rmem{index=\"0\"}": 4096,
                "node_sysctl_net_ipv4_tcp_rmem{index=\"1\"}": 131_072,
                "node_sysctl_net_ipv4_tcp_rmem{index=\"2\"}": 6_291_456,
                "node_sysctl_net_ipv4_tcp_rmem_min": 4096,
                "node_sysctl_net_ipv4_tcp_rmem_default": 131_072,
                "node_sysctl_net_ipv4_tcp_rmem_max": 6_291_456,
                "node_sysctl_info{index=\"0\",name=\"kernel.hostname\",value=\"web1\"}": 1,
                "node_sysctl_info{index=\"0\",\(name),value=\"4096\"}": 1,
                "node_sysctl_info{index=\"1\",\(name),value=\"131072\"}": 1,
                "node_sysctl_info{index=\"2\",\(name),value=\"6291456\"}": 1,
            ])
    }

    @Test("a sysctl that the kernel lacks is left out and told")
    func absent() throws {
        let reader = try Self.reader(
            ["vm/swappiness": "60\n"], include: ["kernel.tpyo", "vm.swappiness"],
            includeInfo: ["net.netfilter.nf_conntrack_helper"])
        #expect(try samples(reader) == ["node_sysctl_vm_swappiness": 60])
        #expect(
            reader.problems
                == ["kernel.tpyo", "net.netfilter.nf_conntrack_helper"].map {
                    "sysctl \($0): no such file; misspelt or its module is not loaded"
                })
        #expect(try families(Self.reader([:])).isEmpty)
    }

    @Test(
        "values that don't fit their option are typed errors",
        arguments: [
            ("a.b", "\n", "no values"),
            ("a.b", "none\n", "no whole numbers; include it as info or not at all"),
            ("a.b", "1 08\n", "no whole numbers; include it as info or not at all"),
            ("a.b", "9223372036854775808", "no whole numbers; include it as info or not at all"),
            ("a.b", String(repeating: "1 ", count: 257), "more than 256 values"),
            ("a.b:x,y", "1 2 3\n", "3 values, but 2 keys"),
            ("a.b:x,y", "1\n", "1 values, but 2 keys"),
        ])
    func badValues(option: String, text: String, detail: String) throws {
        let reader = try Self.reader(["a/b": text], include: [option])
        #expect(throws: ReadError.malformed(path: "/proc/sys/a/b", detail: detail)) {
            try families(reader)
        }
    }

    @Test("a sysctl that may not be read is an error")
    func forbidden() throws {
        let path = "/proc/sys/net/core/bpf_jit_harden"
        let reader = try SysctlReader(
            tree: RefusingTree(refused: [path: 13]), paths: NodePaths(),
            include: ["net.core.bpf_jit_harden"])
        #expect(
            throws: ReadError.file(FileError(operation: "open", path: path, errno: 13))
        ) { try families(reader) }
    }

    @Test(
        "options that can't be used say so",
        arguments: [
            ([""], [], SysctlOptionError.badName(option: "")),
            (["a..b"], [], .badName(option: "a..b")),
            (["/etc/shadow"], [], .badName(option: "/etc/shadow")),
            ([" a.b"], [], .badName(option: " a.b")),
            (["a.b:"], [], .badKey(option: "a.b:", key: "")),
            (["a.b:x, y"], [], .badKey(option: "a.b:x, y", key: " y")),
            (["a.b:x,,y"], [], .badKey(option: "a.b:x,,y", key: "")),
            (["a.b:x"], [], .oneKey(option: "a.b:x")),
            ([], ["a.b:x,y"], .infoWithKeys(option: "a.b:x,y")),
            (["a.b", "a-b"], [], .repeated(option: "a-b", metric: "node_sysctl_a_b")),
            (["a.b:x,x"], [], .repeated(option: "a.b:x,x", metric: "node_sysctl_a_b_x")),
            (["a.b:x,y", "a.b.y"], [], .repeated(option: "a.b.y", metric: "node_sysctl_a_b_y")),
            (["info"], [], .repeated(option: "info", metric: "node_sysctl_info")),
            ([], ["a.b", "a.b"], .repeated(option: "a.b", metric: "node_sysctl_info")),
            (
                Array(repeating: "a", count: 1025), [],
                .tooMany(count: 1025, max: SysctlReader.optionsMax)
            ),
        ] as [([String], [String], SysctlOptionError)])
    func badOptions(include: [String], includeInfo: [String], expect: SysctlOptionError) {
        #expect(throws: expect) {
            try Self.reader([:], include: include, includeInfo: includeInfo)
        }
        #expect(expect.description.hasPrefix("sysctl"))
    }

    @Test("the same sysctl as a number and as info is no clash")
    func bothKinds() throws {
        let reader = try Self.reader(["a": "1\n"], include: ["a"], includeInfo: ["a"])
        #expect(try families(reader).map(\.name) == ["node_sysctl_a", "node_sysctl_info"])
    }
}
