import AgentRead
import Exposition
import Model
import Testing
import World

/// A host whose calls answer what a test says.
struct FakeHost: HostCalls {
    var answer: @Sendable (String) throws(ReadError) -> FileSystemStatistics = {
        (_) throws(ReadError) in
        FileSystemStatistics(
            size: 1000, free: 500, available: 400, files: 10, filesFree: 5, isReadOnly: false)
    }
    func fileSystem(_ path: String) throws(ReadError) -> FileSystemStatistics { try answer(path) }
    func identity() throws(ReadError) -> HostIdentity {
        HostIdentity(
            system: "Linux", release: "6.1.0", version: "#1 SMP", machine: "x86_64", node: "web1",
            domain: "(none)")
    }
    func zone(at time: TimestampNS) -> (name: String, offsetSeconds: Int) { ("CEST", 7200) }
    var clock = ClockAdjustment()
    func clockAdjustment() throws(ReadError) -> ClockAdjustment { clock }
    var tcp: Result<TCPCounts, ReadError> = .success(TCPCounts())
    func tcpCounts() throws(ReadError) -> TCPCounts { try tcp.get() }
    var ports: Set<UInt16>?
    func listeningPorts() throws(ReadError) -> Set<UInt16> {
        guard let ports else { throw .system(operation: "sock_diag dump", errno: 2) }
        return ports
    }
}

@Suite("Node readers")
struct NodeReaderTests {
    static let now = TimestampNS(1_700_000_000_500_000_000)

    static func readers(_ root: String) -> [any NodeReader] {
        let tree = PosixTree()
        let paths = NodePaths(
            procfs: root + "/proc", sysfs: root + "/sys", rootfs: root,
            udevData: root + "/udev/data")
        let flags: @Sendable (String) -> Bool = {
            ["aes", "constant_tsc", "avx"].contains($0) || ($0.hasPrefix("avx") && $0.count == 4)
        }
        let bugs: @Sendable (String) -> Bool = {
            ["cpu_meltdown", "mds"].contains($0) || $0.hasPrefix("spectre_")
        }
        return [
            CPUReader(
                tree: tree, paths: paths,
                options: .init(
                    hasInfo: true, includesFlag: flags, includesBug: bugs)),
            MemoryReader(tree: tree, paths: paths), LoadReader(tree: tree, paths: paths),
            StatReader(tree: tree, paths: paths, hasSoftIRQ: true),
            DiskReader(tree: tree, paths: paths),
            TimeReader(tree: tree, paths: paths, host: FakeHost()),
        ]
    }

    static func samples(_ families: [MetricFamily]) -> [String: Double] {
        var samples: [String: Double] = [:]
        let text = String(decoding: ExpositionWriter.text(families), as: UTF8.self)
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " ") else { continue }
            samples[String(line[..<space])] = Double(line[line.index(after: space)...])
        }
        return samples
    }

    @Test(
        "every fixture sample of these readers equals node_exporter's",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func conformance() throws {
        let root = try #require(Conformance.fixtures)
        var families: [MetricFamily] = []
        for reader in Self.readers(root) { families += try reader.read(now: Self.now) }
        let live: Set = ["node_time_seconds", "node_time_zone_offset_seconds"]
        let ours = Self.samples(families.filter { !live.contains($0.name) })
        let owned = [
            "node_cpu_", "node_memory_", "node_load", "node_boot", "node_context", "node_forks",
            "node_intr", "node_procs", "node_softirqs_total", "node_disk_", "node_time_clock",
        ]
        let theirs = try Conformance.expectedSamples().filter { sample in
            owned.contains { sample.key.hasPrefix($0) }
        }
        #expect(theirs.count == 387)
        for (key, value) in theirs { #expect(ours[key] == value, "\(key)") }
        #expect(Set(ours.keys).subtracting(theirs.keys).sorted() == [])
        // Names, help and types of every family that has samples there.
        let heads = try Conformance.expectedHeads()
        for family in families where !family.points.isEmpty {
            #expect(heads.contains("HELP \(family.name) \(family.metadata.help)"))
            #expect(heads.contains("TYPE \(family.name) \(family.metadata.type.rawValue)"))
        }
    }

    @Test(
        "frequencies beside the CPUs' information",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func frequencies() throws {
        let reader = CPUReader(
            tree: PosixTree(), paths: try Conformance.paths(),
            options: .init(hasInfo: true, hasFrequency: true))
        let families = try reader.read(now: Self.now).filter {
            $0.name == "node_cpu_frequency_hertz"
        }
        try Conformance.expectEqual(families, owning: ["node_cpu_frequency_hertz"], count: 8)
    }

    @Test(
        "netdev: names, help and types are node_exporter's",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func networkHeads() throws {
        let families = try Self.network().read(now: Self.now)
        let heads = try Conformance.expectedHeads()
        #expect(families.count == 17)
        for family in families {
            #expect(heads.contains("HELP \(family.name) \(family.metadata.help)"), "\(family.name)")
            #expect(heads.contains("TYPE \(family.name) counter"))
        }
    }

    static func network() -> NetworkReader {
        let tree = MemoryTree([
            "/proc/net/dev": """
            Inter-|   Receive                                                |  Transmit
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
                lo: 435303245 1832522 0 0 0 0 0 0 435303245 1832523 0 0 0 0 0 0
             eth0:2:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
            """,
            "/sys/class/net/lo/statistics/rx_nohandler": "7\n",
        ])
        return NetworkReader(tree: tree, paths: NodePaths())
    }

    @Test("netdev: columns")
    func networkValues() throws {
        let samples = Self.samples(try Self.network().read(now: Self.now))
        #expect(samples["node_network_receive_bytes_total{device=\"lo\"}"] == 435_303_245)
        #expect(samples["node_network_transmit_packets_total{device=\"lo\"}"] == 1_832_523)
        #expect(samples["node_network_receive_nohandler_total{device=\"lo\"}"] == 7)
        #expect(
            samples["node_network_receive_bytes_total{device=\"eth0:2\"}"]
                == 18_446_744_073_709_551_616)
        #expect(samples["node_network_transmit_compressed_total{device=\"eth0:2\"}"] == 16)
        #expect(samples["node_network_transmit_carrier_total{device=\"eth0:2\"}"] == 15)
    }

    @Test("uname and time")
    func host() throws {
        let tree = MemoryTree([:])
        let uname = Self.samples(try IdentityReader(host: FakeHost()).read(now: Self.now))
        #expect(
            uname == [
                "node_uname_info{domainname=\"(none)\",machine=\"x86_64\",nodename=\"web1\",release=\"6.1.0\",sysname=\"Linux\",version=\"#1 SMP\"}":
                    1
            ])
        let time = Self.samples(
            try TimeReader(tree: tree, paths: NodePaths(), host: FakeHost()).read(now: Self.now))
        #expect(time["node_time_seconds"] == 1_700_000_000.5)
        #expect(time["node_time_zone_offset_seconds{time_zone=\"CEST\"}"] == 7200)
        #expect(try GlibcHostCalls().identity().system == "Linux")
        #expect(try GlibcHostCalls().fileSystem("/").size > 0)
    }

    @Test("cpu counters never go back; an unplugged CPU begins anew")
    func cpuSteps() throws {
        let tree = MemoryTree(["/proc/stat": "cpu0 100 0 0 1000 50 0 0 0 0 0\n"])
        let reader = CPUReader(tree: tree, paths: NodePaths())
        func value(_ mode: String) throws -> Double? {
            Self.samples(try reader.read(now: Self.now))[
                "node_cpu_seconds_total{cpu=\"0\",mode=\"\(mode)\"}"]
        }
        #expect(try value("idle") == 10)
        tree.create("/proc/stat", "cpu0 110 0 0 990 40 0 0 0 0 0\n")
        #expect(try value("idle") == 10)
        #expect(try value("iowait") == 0.5)
        #expect(try value("user") == 1.1)
        tree.create("/proc/stat", "cpu0 5 0 0 100 1 0 0 0 0 0\n")
        #expect(try value("idle") == 1)
        #expect(try value("user") == 0.05)
    }

    @Test("throttles: once for each core and package; where a CPU is, is read once")
    func throttles() throws {
        let folder = "/sys/devices/system/cpu"
        let tree = MemoryTree(["/proc/stat": "cpu0 1 0 0 1 0 0 0 0 0 0\n"])
        for cpu in 0..<3 {
            let path = "\(folder)/cpu\(cpu)"
            tree.create("\(path)/topology/physical_package_id", "0\n")
            tree.create("\(path)/topology/core_id", "\(cpu / 2)\n")
            tree.create("\(path)/thermal_throttle/core_throttle_count", "\(cpu + 5)\n")
            tree.create("\(path)/thermal_throttle/package_throttle_count", "\(cpu + 9)\n")
        }
        tree.create("\(folder)/cpu3/online", "0\n")
        tree.create("\(folder)/cpufreq/boost", "0\n")
        let reader = CPUReader(tree: tree, paths: NodePaths())
        func throttles() throws -> [String: Double] {
            Self.samples(try reader.read(now: Self.now)).filter { $0.key.contains("throttles") }
        }
        let expected = [
            "node_cpu_core_throttles_total{core=\"0\",package=\"0\"}": 5.0,
            "node_cpu_core_throttles_total{core=\"1\",package=\"0\"}": 7,
            "node_cpu_package_throttles_total{package=\"0\"}": 9,
        ]
        #expect(try throttles() == expected)
        tree.delete("\(folder)/cpu0/topology/core_id")
        #expect(try throttles() == expected)
    }

    @Test(
        "disk devices left out by default",
        arguments: [
            ("sda", false), ("sda1", true), ("sdab1", false), ("vdb12", true), ("xvda", false),
            ("xvda1", true), ("hdc3", true), ("nvme0n1", false), ("nvme0n1p2", true),
            ("nvme10n2p15", true), ("loop7", true), ("ram0", true), ("zram0", true), ("fd0", true),
            ("dm-0", false), ("md127", false), ("mmcblk0p1", false), ("sr0", false), ("ram", false),
        ])
    func diskExclusion(device: String, expect: Bool) {
        #expect(DiskReader.isExcludedByDefault(device) == expect)
    }

    @Test("missing and broken files are typed errors")
    func broken() {
        let empty = MemoryTree(["/proc/stat": "nothing\n", "/proc/loadavg": "0.1 x 0.3"])
        let paths = NodePaths(procfs: "/proc/")
        #expect(throws: ReadError.malformed(path: "/proc/stat", detail: "no cpu line")) {
            try CPUReader(tree: empty, paths: paths).read(now: Self.now)
        }
        #expect(throws: ReadError.self) {
            try LoadReader(tree: empty, paths: paths).read(now: Self.now)
        }
        #expect(
            throws: ReadError.file(
                FileError(operation: "open", path: "/proc/meminfo", errno: 2))
        ) { try MemoryReader(tree: empty, paths: paths).read(now: Self.now) }
    }

    @Test("the standard readers on this machine: all succeed")
    func live() async throws {
        let readers = StandardReaders.make(tree: PosixTree(), version: "1")
        let set = try NodeReaderSet(readers: readers, clock: ManualClock())
        let outcomes = await set.outcomes(now: Self.now)
        // What every Linux has; the others depend on kernel, hardware and rights.
        let everywhere: Set = [
            "cpu", "diskstats", "entropy", "filefd", "filesystem", "loadavg", "meminfo", "netclass",
            "netdev", "netstat", "process", "processes", "sockstat", "softnet", "stat", "textfile",
            "time", "uname", "vmstat",
        ]
        #expect(Set(outcomes.map(\.reader)).isSuperset(of: everywhere))
        for outcome in outcomes where everywhere.contains(outcome.reader) {
            #expect(outcome.error == nil, "\(outcome.reader)")
            #expect(outcome.families.contains { !$0.points.isEmpty }, "\(outcome.reader)")
        }
        let names = Set(outcomes.flatMap { $0.families.map(\.name) })
        #expect(names.contains("node_filesystem_avail_bytes"))
        #expect(names.contains("node_uname_info"))
    }

    @Test("the agent's own process")
    func process() throws {
        let reader = ProcessReader(tree: PosixTree(), version: "1.2.3", revision: "abc")
        let samples = Self.samples(try reader.read(now: Self.now))
        #expect(samples["petrel_agent_build_info{revision=\"abc\",version=\"1.2.3\"}"] == 1)
        #expect(samples["node_exporter_build_info{revision=\"abc\",version=\"1.2.3\"}"] == 1)
        for name in [
            "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds",
            "start_time_seconds", "virtual_memory_max_bytes",
        ] {
            #expect(samples["process_\(name)", default: 0] > 0, "\(name)")
        }
        #expect(samples["process_cpu_seconds_total"] != nil)
    }

    @Test("the agent's start is told by the host's clock, which is asked once a minute")
    func processStart() throws {
        let fields = "R 1 1 1 0 -1 0 0 0 0 0 7 8 0 0 20 0 1 0 250 4096 3 0"
        let tree = MemoryTree([
            "/proc/self/stat": "1 (a b) c) \(fields)\n", "/proc/stat": "cpu 1\nbtime 1000\n",
        ])
        let reader = ProcessReader(tree: tree, version: "1")
        func start(after seconds: Int64) throws -> Double? {
            let now = Self.now.advanced(byNanoseconds: seconds * 1_000_000_000)
            return Self.samples(try reader.read(now: now))["process_start_time_seconds"]
        }
        #expect(try start(after: 0) == 1002.5)
        tree.create("/proc/stat", "btime 2000\n")
        #expect(try start(after: 59) == 1002.5)
        #expect(try start(after: 60) == 2002.5)
    }
}
