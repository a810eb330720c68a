import AgentRead
import Testing
import YAMLDocument

@Suite("Options of the node readers")
struct NodeOptionsTests {
    private static func names(_ options: NodeOptions) -> Set<String> {
        Set(
            StandardReaders.make(
                tree: MemoryTree([:]), options: options, host: FakeHost(), version: "1"
            ).map(\.name))
    }

    private static func error(_ text: String) -> String {
        do {
            var section = try YAMLMapping.parse(text, file: "agent.yaml")
            var options = NodeOptions()
            try options.read(&section)
            try section.finish()
            return ""
        } catch { return "\(error)" }
    }

    @Test("every reader that can be turned off is there, and can be")
    func readers() throws {
        let all = Self.names(NodeOptions())
        #expect(all.count > 30 && all.isSuperset(of: ["arp", "cpu", "process", "uname"]))
        for name in all where name != "process" {
            var options = NodeOptions()
            try options.apply(flag: "--no-collector." + name)
            #expect(Self.names(options) == all.subtracting([name]))
            try options.apply(flag: "--collector." + name)
            #expect(Self.names(options) == all)
        }
    }

    @Test(
        "which readers an option is about",
        arguments: [
            ("--no-collector.arp", ["arp"]), ("--collector.arp.device-include=eth0", ["arp"]),
            ("--collector.powersupply.ignored-supplies=x", ["powersupplyclass"]),
            ("--no-collector.cpufreq", ["cpu", "cpufreq"]), ("--collector.cpu.info", ["cpu"]),
            ("--collector.textfile.directory=/a", ["textfile"]), ("--collector.uname", []),
        ])
    func isSame(flag: String, changed: [String]) throws {
        var options = NodeOptions()
        try options.apply(flag: flag)
        let names = Self.names(NodeOptions())
        #expect(
            names.filter { !options.isSame($0, as: NodeOptions()) } == Set(changed))
        #expect(names.allSatisfy { options.isSame($0, as: options) })
    }

    @Test("node_exporter's flags")
    func flags() throws {
        var options = NodeOptions()
        for flag in [
            "--collector.cpu.info", "--no-collector.stat.softirq",
            "--collector.diskstats.device-exclude=^sd[a-z]$",
            "--collector.textfile.directory=/a=b", "--collector.textfile.directory=/c",
        ] { try options.apply(flag: flag) }
        for (flag, expected) in [
            ("--collector.nothing", "no node reader has the option 'nothing'"),
            ("--collector.drbd", "node_exporter's 'drbd' has no counterpart here"),
            ("--collector.qdisc.device-include=x", "'qdisc.device-include' has no counterpart"),
            ("--no-collector.arp.netlink", "'arp.netlink' has no counterpart here"),
            ("--no-collector.netdev.netlink", "'netdev.netlink' has no counterpart here"),
            ("--collector.cpu.infos", "no node reader has the option 'cpu.infos'"),
            ("--collector.cpu.info=yes", "cpu.info: expected true or false, found 'yes'"),
            (
                "--collector.netstat.fields=(", "netstat.fields: expected a regular expression"
            ),
            (
                "--collector.diskstats.device-include=x",
                "diskstats.device-include and diskstats.device-exclude exclude each other"
            ),
        ] {
            var copy = options
            let error = #expect(throws: NodeOptionError.self) { try copy.apply(flag: flag) }
            #expect(error?.description.contains(expected) == true, "\(flag)")
        }
    }

    @Test("without the defaults only what is turned on runs, in whatever order")
    func defaultsOff() throws {
        var options = NodeOptions()
        try options.apply(flag: "--collector.cpu")
        try options.apply(flag: "--collector.disable-defaults")
        try options.apply(flag: "--collector.arp")
        #expect(Self.names(options) == ["arp", "cpu", "process"])
        try options.apply(flag: "--no-collector.disable-defaults")
        #expect(Self.names(options) == Self.names(NodeOptions()))
    }

    @Test("the section of a configuration; what is wrong is named with its place")
    func section() {
        #expect(
            Self.error(
                "disable: [arp]\noptions: {cpu.info: true, textfile.directory: [/a, /b]}") == "")
        #expect(Self.error("disable: [arps]").hasPrefix("agent.yaml:1:10: `disable`: no node"))
        #expect(
            Self.error("options:\n  cpu.info: maybe\n").hasPrefix(
                "agent.yaml:2:13: `cpu.info`: cpu.info: expected true or false"))
        #expect(Self.error("options: {cpu.info: {a: 1}}").contains("expected a list"))
        #expect(Self.error("options: {dmi: 1}").contains("no node reader has the option 'dmi'"))
    }

    @Test("filters by a regular expression match anywhere in a name")
    func filters() throws {
        let tree = MemoryTree([
            "/proc/diskstats": """
            8 0 sda 1 0 0 0 0 0 0 0 0 0 0
            8 1 sdb 2 0 0 0 0 0 0 0 0 0 0
            8 2 sda1 3 0 0 0 0 0 0 0 0 0 0
            """
        ])
        func disks(_ flag: String) throws -> [String] {
            var options = NodeOptions()
            if !flag.isEmpty { try options.apply(flag: "--collector.diskstats." + flag) }
            let reader = try #require(
                StandardReaders.make(
                    tree: tree, options: options, host: FakeHost(), version: "1"
                ).first { $0.name == "diskstats" })
            let samples = NodeReaderTests.samples(
                try reader.read(now: NodeReaderTests.now))
            return ["sda", "sda1", "sdb"].filter {
                samples["node_disk_reads_completed_total{device=\"\($0)\"}"] != nil
            }
        }
        #expect(try disks("") == ["sda", "sdb"])
        #expect(try disks("device-exclude=db") == ["sda", "sda1"])
        #expect(try disks("device-exclude=") == ["sda", "sda1", "sdb"])
        #expect(try disks("device-include=1$") == ["sda1"])
    }
}
