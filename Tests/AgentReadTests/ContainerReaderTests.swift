import AgentRead
import Model
import Synchronization
import Testing
import World

/// Files in memory whose folders have identities and times, and which counts what is opened.
private final class ControlGroupTree: WorldFileTree {
    private struct State {
        var inodes: [String: UInt64] = [:]
        var seconds: [String: Int64] = [:]
        var gone: Set<String> = []
        var opened: [String: Int] = [:]
    }

    let files: MemoryTree
    private let state = Mutex(State())

    init(_ files: [String: String]) { self.files = MemoryTree(files) }

    /// Says when a folder or a file was changed, in seconds, and, of another cgroup, its inode.
    func set(_ path: String, seconds: Int64, inode: UInt64 = 7) {
        state.withLock {
            $0.seconds[path] = seconds
            $0.inodes[path] = inode
        }
    }
    /// Makes a folder end after it was listed.
    func end(_ path: String) { state.withLock { _ = $0.gone.insert(path) } }
    func openedCount(_ path: String) -> Int { state.withLock { $0.opened[path] ?? 0 } }

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        state.withLock { $0.opened[path, default: 0] += 1 }
        return try files.open(path, mode)
    }
    func list(_ path: String) throws(FileError) -> [String] { try files.list(path) }
    func status(_ path: String) throws(FileError) -> FileStatus {
        let known = state.withLock {
            ($0.seconds[path] ?? 0, $0.inodes[path] ?? 7, $0.gone.contains(path))
        }
        let isDirectory = try !files.list(path).isEmpty
        guard !known.2 else { throw FileError(operation: "stat", path: path, errno: 2) }
        if !isDirectory { _ = try files.status(path) }
        return FileStatus(
            identity: FileIdentity(device: 1, inode: known.1), size: 0, isDirectory: isDirectory,
            modified: TimestampNS(known.0 * 1_000_000_000))
    }
    func rename(_ from: String, to: String) throws(FileError) { try files.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try files.remove(path) }
    func makeDirectory(_ path: String) throws(FileError) {}
    func synchronizeDirectory(_ path: String) throws(FileError) {}
    func readLink(_ path: String) throws(FileError) -> String { path }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { 0 }
}

private struct FixedNames: ContainerNames {
    let known: [String: ContainerFacts]
    var problem: String?
    func facts(_ containerID: String) -> ContainerFacts? { known[containerID] }
}

@Suite("Container reader")
struct ContainerReaderTests {
    private static let now = TimestampNS(1_700_000_000_500_000_000)
    private static let containerID = String(repeating: "0123456789abcdef", count: 4)
    private static let root = "/sys/fs/cgroup"

    private static func files(
        _ folder: String, _ contents: [String: String]
    ) -> [String: String] {
        Dictionary(uniqueKeysWithValues: contents.map { (folder + "/" + $0.key, $0.value) })
    }

    private static func merged(_ parts: [String: String]...) -> [String: String] {
        parts.reduce(into: [:]) { $0.merge($1) { first, _ in first } }
    }

    private static let host: [String: String] = [
        "/proc/meminfo": "MemTotal:        2000 kB\nMemFree: 1 kB\n",
        "/sys/devices/system/cpu/online": "0-2,5\n",
        "/proc/diskstats": """
           7       0 loop0 1 0 0 0 0 0 0 0 0 0 0
           8       0 sda 1 0 0 0 0 0 0 0 0 0 0
           8      16 sdb 1 0 0 0 0 0 0 0 0 0 0
        """,
    ]

    private static let unit: [String: String] = [
        "cpu.stat": """
        usage_usec 1234567
        user_usec 1000000
        system_usec 234567
        nr_periods 9
        nr_throttled 4
        throttled_usec 2500000

        """,
        "cpu.max": "max 100000\n",
        "memory.current": "1000\n", "memory.max": "max\n", "memory.min": "0\n",
        "memory.stat": "anon 300\nfile 600\nkernel 5\ninactive_file 400\nactive_file 200\n",
        "memory.swap.current": "64\n",
        "memory.events": "low 0\nhigh 3\nmax 2\noom 1\noom_kill 1\noom_group_kill 0\n",
        "io.stat": """
        8:16 8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0
        7:0 rbytes=5 wbytes=0 rios=5 wios=0 dbytes=0 dios=0
        253:9 rbytes=7 wbytes=8 rios=3 wios=4 dbytes=0 dios=0

        """,
        "pids.current": "5\n", "cgroup.procs": "11\n12\n", "cgroup.events": "populated 1\n",
        "cpu.pressure": """
        some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000
        full avg10=0.00 avg60=0.00 avg300=0.00 total=250000

        """,
        "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ]

    private static func samples(_ reader: ContainerReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    @Test("version 2: every sample of a unit")
    func unit() throws {
        let tree = ControlGroupTree(
            Self.merged(
                Self.host, [Self.root + "/cgroup.controllers": "cpu io memory pids\n"],
                Self.files(Self.root + "/system.slice/nginx.service", Self.unit)))
        tree.set(Self.root + "/system.slice/nginx.service", seconds: 1_600_000_100)
        tree.set(Self.root + "/system.slice/nginx.service/cgroup.events", seconds: 1_600_000_050)
        let reader = ContainerReader(tree: tree, paths: NodePaths())
        let families = try reader.read(now: Self.now)
        let own = #"id="/system.slice/nginx.service",unit="nginx.service""#
        var expected: [String: Double] = [
            "machine_cpu_cores": 4, "machine_memory_bytes": 2_048_000,
            "petrel_agent_cgroups_left_out": 0,
            "container_cpu_usage_seconds_total{cpu=\"total\",\(own)}": 1.234567,
        ]
        let values: [(String, Double)] = [
            ("last_seen", 1_700_000_000), ("start_time_seconds", 1_600_000_050),
            ("cpu_user_seconds_total", 1), ("cpu_system_seconds_total", 0.234567),
            ("memory_cache", 600), ("memory_rss", 300), ("memory_swap", 64),
            ("memory_failcnt", 2), ("memory_usage_bytes", 1000),
            ("memory_working_set_bytes", 600), ("memory_events_high_total", 3),
            ("memory_events_max_total", 2), ("oom_events_total", 1), ("processes", 2),
            ("threads", 5), ("pressure_cpu_waiting_seconds_total", 1.5),
            ("pressure_cpu_stalled_seconds_total", 0.25),
            ("pressure_memory_waiting_seconds_total", 0), ("spec_cpu_period", 100_000),
            ("spec_memory_limit_bytes", 0),
        ]
        for (name, value) in values { expected["container_\(name){\(own)}"] = value }
        let devices: [(String, [Double])] = [
            ("/dev/sda", [10, 1, 20, 2]), ("253:9", [7, 3, 8, 4]),
        ]
        for (device, values) in devices {
            let names = ["reads_bytes", "reads", "writes_bytes", "writes"]
            for (name, value) in zip(names, values) {
                expected["container_fs_\(name)_total{device=\"\(device)\",\(own)}"] = value
            }
        }
        #expect(NodeReaderTests.samples(families) == expected)
        let short = ContainerReader(tree: tree, paths: NodePaths(), tellsAllOfUnits: false)
        let told = [
            "machine_", "petrel_", "container_cpu_usage", "container_memory_swap",
            "container_memory_usage", "container_memory_working", "container_oom",
            "container_fs_reads_bytes", "container_fs_writes_bytes", "container_threads",
            "container_spec_memory_limit",
        ]
        #expect(
            try Self.samples(short)
                == expected.filter { sample in told.contains { sample.key.hasPrefix($0) } })
        for family in families {
            let isCounter = family.name.hasSuffix("_total") || family.name.hasSuffix("_failcnt")
            #expect(family.metadata.type == (isCounter ? .counter : .gauge), "\(family.name)")
            #expect(!family.metadata.help.isEmpty, "\(family.name)")
        }
    }

    @Test("version 2: a container's limits, throttling and network")
    func container() throws {
        let scope = Self.root + "/system.slice/docker-\(Self.containerID).scope"
        var contents = Self.unit
        contents["cpu.max"] = "150000 100000\n"
        contents["memory.max"] = "536870912\n"
        contents["memory.min"] = "0\n"
        contents["memory.stat"] = "anon 300\nfile 600\ninactive_file 4000\n"
        contents["cgroup.procs"] = "0\n77\n78\n"
        let tree = ControlGroupTree(
            Self.merged(
                Self.host, [Self.root + "/cgroup.controllers": "cpu io memory pids\n"],
                Self.files(scope, contents),
                [
                    "/proc/77/net/dev": """
                    Inter-|   Receive                            |  Transmit
                     face |bytes packets errs drop fifo frame compressed multicast|bytes packets
                        lo: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0
                      eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0
                    vethab: 5 5 5 5 0 0 0 0 5 5 5 5 0 0 0 0
                    """
                ]))
        let id = "/system.slice/docker-\(Self.containerID).scope"
        let plain = "id=\"\(id)\",name=\"0123456789ab\""
        let samples = try Self.samples(ContainerReader(tree: tree, paths: NodePaths()))
        let values: [(String, Double)] = [
            ("spec_cpu_quota", 150_000), ("spec_cpu_period", 100_000),
            ("spec_memory_limit_bytes", 536_870_912), ("spec_memory_reservation_limit_bytes", 0),
            ("cpu_cfs_periods_total", 9), ("cpu_cfs_throttled_periods_total", 4),
            ("cpu_cfs_throttled_seconds_total", 2.5), ("memory_working_set_bytes", 0),
            ("processes", 3),
        ]
        for (name, value) in values {
            #expect(samples["container_\(name){\(plain)}"] == value, "\(name)")
        }
        let eth0 = "id=\"\(id)\",interface=\"eth0\",name=\"0123456789ab\""
        let network = samples.filter { $0.key.hasPrefix("container_network_") }
        #expect(
            network == [
                "container_network_receive_bytes_total{\(eth0)}": 100,
                "container_network_receive_packets_total{\(eth0)}": 10,
                "container_network_receive_errors_total{\(eth0)}": 1,
                "container_network_receive_packets_dropped_total{\(eth0)}": 2,
                "container_network_transmit_bytes_total{\(eth0)}": 200,
                "container_network_transmit_packets_total{\(eth0)}": 20,
                "container_network_transmit_errors_total{\(eth0)}": 3,
                "container_network_transmit_packets_dropped_total{\(eth0)}": 4,
            ])
        // Its own init has the processes one level below.
        tree.files.create(scope + "/cgroup.procs", "")
        tree.files.create(scope + "/init.scope/cgroup.procs", "77\n")
        let nested = try Self.samples(ContainerReader(tree: tree, paths: NodePaths()))
        #expect(nested["container_network_receive_bytes_total{\(eth0)}"] == 100)
        #expect(nested["container_processes{\(plain)}"] == 0)
    }

    @Test("names, images and labels come from who knows them")
    func names() throws {
        let tree = ControlGroupTree([
            Self.root + "/cgroup.controllers": "pids\n",
            Self.root + "/docker/\(Self.containerID)/pids.current": "3\n",
        ])
        let facts = ContainerFacts(
            name: "/web", image: "nginx:1.27",
            labels: ["com.docker.compose.service": "web", "com-docker_compose.service": "x"])
        let reader = ContainerReader(
            tree: tree, paths: NodePaths(), names: FixedNames(known: [Self.containerID: facts]))
        let families = try reader.read(now: Self.now)
        let threads = try #require(families.first { $0.name == "container_threads" })
        let labels: Labels = [
            "container_label_com_docker_compose_service": "x",
            "id": "/docker/\(Self.containerID)", "image": "nginx:1.27", "name": "web",
        ]
        #expect(threads.points == [MetricFamily.Point(labels, 3)])
        #expect(reader.problems == [])
        let forbidden = ContainerReader(
            tree: tree, paths: NodePaths(), names: FixedNames(known: [:], problem: "no right"))
        _ = try forbidden.read(now: Self.now)
        #expect(forbidden.problems == ["no right"])
    }

    private static let legacy: [String: String] = merged(
        host,
        files(
            root + "/cpu,cpuacct/docker/" + containerID,
            [
                "cpuacct.usage": "2500000000\n", "cpuacct.stat": "user 150\nsystem 75\n",
                "cpu.stat": "nr_periods 10\nnr_throttled 2\nthrottled_time 500000000\n",
                "cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n",
                "cgroup.procs": "5\n",
            ]),
        files(
            root + "/memory/docker/" + containerID,
            [
                "memory.usage_in_bytes": "1000\n", "memory.failcnt": "6\n",
                "memory.limit_in_bytes": "9223372036854771712\n",
                "memory.soft_limit_in_bytes": "4096\n",
                "memory.stat": """
                cache 1
                rss 2
                swap 3
                inactive_file 4
                total_cache 600
                total_rss 300
                total_swap 50
                total_inactive_file 100

                """,
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 8\n",
            ]),
        files(
            root + "/blkio/docker/" + containerID,
            [
                "blkio.bfq.io_serviced_recursive": "Total 0\n",
                "blkio.throttle.io_serviced_recursive":
                    "8:0 Read 3\n8:0 Write 4\n8:0 Sync 7\n8:0 Total 7\nTotal 7\n",
                "blkio.throttle.io_service_bytes_recursive":
                    "8:0 Read 30\n8:0 Write 40\n8:0 Total 70\nTotal 70\n",
            ]),
        [root + "/pids/docker/\(containerID)/pids.current": "4\n"])

    @Test("version 1: a container's samples")
    func version1() throws {
        let reader = ContainerReader(tree: ControlGroupTree(Self.legacy), paths: NodePaths())
        let own = "id=\"/docker/\(Self.containerID)\",name=\"0123456789ab\""
        var expected: [String: Double] = [
            "machine_cpu_cores": 4, "machine_memory_bytes": 2_048_000,
            "petrel_agent_cgroups_left_out": 0,
            "container_cpu_usage_seconds_total{cpu=\"total\",\(own)}": 2.5,
        ]
        let values: [(String, Double)] = [
            ("last_seen", 1_700_000_000), ("cpu_user_seconds_total", 1.5),
            ("cpu_system_seconds_total", 0.75), ("cpu_cfs_periods_total", 10),
            ("cpu_cfs_throttled_periods_total", 2), ("cpu_cfs_throttled_seconds_total", 0.5),
            ("memory_cache", 600), ("memory_rss", 300), ("memory_swap", 50),
            ("memory_failcnt", 6), ("memory_usage_bytes", 1000),
            ("memory_working_set_bytes", 900), ("oom_events_total", 8), ("processes", 1),
            ("threads", 4), ("spec_cpu_period", 100_000), ("spec_cpu_quota", 50_000),
            ("spec_memory_limit_bytes", 0), ("spec_memory_reservation_limit_bytes", 4096),
        ]
        for (name, value) in values { expected["container_\(name){\(own)}"] = value }
        let names = ["reads_bytes", "reads", "writes_bytes", "writes"]
        for (name, value) in zip(names, [30.0, 3, 40, 4]) {
            expected["container_fs_\(name)_total{device=\"/dev/sda\",\(own)}"] = value
        }
        #expect(try Self.samples(reader) == expected)
    }

    @Test("hybrid: a unit without accounting has its CPU time and pressure from version 2's tree")
    func hybrid() throws {
        let tree = ControlGroupTree(
            Self.merged(
                Self.legacy,
                [
                    Self.root + "/unified/cgroup.controllers": "hugetlb\n",
                    Self.root + "/systemd/system.slice/ssh.service/cgroup.procs": "9\n",
                ],
                Self.files(
                    Self.root + "/unified/system.slice/ssh.service",
                    [
                        "cpu.stat": "usage_usec 2000000\nuser_usec 1500000\nsystem_usec 500000\n",
                        "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=10\n",
                        // Not of this tree's controllers: version 1's counts.
                        "memory.current": "77\n",
                    ])))
        let samples = try Self.samples(ContainerReader(tree: tree, paths: NodePaths()))
        let own = #"id="/system.slice/ssh.service",unit="ssh.service""#
        #expect(samples["container_cpu_usage_seconds_total{cpu=\"total\",\(own)}"] == 2)
        #expect(samples["container_cpu_user_seconds_total{\(own)}"] == 1.5)
        #expect(samples["container_pressure_cpu_waiting_seconds_total{\(own)}"] == 0.00001)
        #expect(samples["container_processes{\(own)}"] == 1)
        #expect(samples["container_memory_usage_bytes{\(own)}"] == nil)
        let docker = "id=\"/docker/\(Self.containerID)\",name=\"0123456789ab\""
        #expect(samples["container_cpu_usage_seconds_total{cpu=\"total\",\(docker)}"] == 2.5)
    }

    /// The label sets of `container_last_seen`.
    private static func seen(_ families: [MetricFamily]) -> [Labels] {
        families.first { $0.name == "container_last_seen" }?.points.map(\.labels) ?? []
    }

    @Test("which cgroups are read")
    func selection() throws {
        let groups = [
            "init.scope", "user.slice", "user.slice/user-0.slice/session-1.scope",
            "system.slice/a.service", "system.slice/_cpu.service", "system.slice/dev-x.mount",
            "system.slice/system-pg.slice/pg@17.service",
            "system.slice/system-pg.slice/deep.slice/b.service",
            "machine.slice/machine-vm.scope", "app.slice/c.service",
            "app.slice/docker-\(Self.containerID).scope", "docker/\(Self.containerID)",
            "docker/short", "system.slice/docker-short.scope",
            "system.slice/a.service/inner.scope", "lxc/d.service",
        ]
        var files = [Self.root + "/cgroup.controllers": "pids\n"]
        for group in groups { files["\(Self.root)/\(group)/pids.current"] = "1\n" }
        let tree = ControlGroupTree(files)
        let families = try ContainerReader(tree: tree, paths: NodePaths()).read(now: Self.now)
        let name = String(Self.containerID.prefix(12))
        let expected: [Labels] = [
            ["id": "/app.slice/c.service", "unit": "c.service"],
            ["id": "/app.slice/docker-\(Self.containerID).scope", "name": name],
            ["id": "/docker/\(Self.containerID)", "name": name],
            ["id": "/init.scope", "unit": "init.scope"],
            ["id": "/machine.slice/machine-vm.scope", "unit": "machine-vm.scope"],
            ["id": "/system.slice/_cpu.service", "unit": "cpu.service"],
            ["id": "/system.slice/a.service", "unit": "a.service"],
            ["id": "/system.slice/docker-short.scope", "unit": "docker-short.scope"],
            [
                "id": "/system.slice/system-pg.slice/pg@17.service",
                "unit": "pg@17.service",
            ],
            ["id": "/user.slice", "unit": "user.slice"],
        ]
        #expect(Self.seen(families) == expected)
        // Past the bound containers stay.
        let bounded = ContainerReader(tree: tree, paths: NodePaths(), cgroupsMax: 3)
        let some = try bounded.read(now: Self.now)
        #expect(
            Self.seen(some).map { $0["id"] } == [
                "/app.slice/c.service", "/app.slice/docker-\(Self.containerID).scope",
                "/docker/\(Self.containerID)",
            ])
        #expect(
            NodeReaderTests.samples(some)["petrel_agent_cgroups_left_out"] == 7)
        // One that ended after it was listed is left out.
        tree.end(Self.root + "/user.slice")
        let rest = try ContainerReader(tree: tree, paths: NodePaths()).read(now: Self.now)
        #expect(Self.seen(rest).count == 9)
    }

    @Test("the start is the earliest time that was seen of a cgroup; a new cgroup has its own")
    func start() throws {
        let folder = Self.root + "/system.slice/a.service"
        let tree = ControlGroupTree([
            Self.root + "/cgroup.controllers": "pids\n", folder + "/pids.current": "1\n",
        ])
        let reader = ContainerReader(tree: tree, paths: NodePaths())
        let key = #"container_start_time_seconds{id="/system.slice/a.service",unit="a.service"}"#
        tree.set(folder, seconds: 2000)
        #expect(try Self.samples(reader)[key] == 2000)
        tree.set(folder, seconds: 3000)
        #expect(try Self.samples(reader)[key] == 2000)
        tree.set(folder, seconds: 3000, inode: 8)
        #expect(try Self.samples(reader)[key] == 3000)
    }

    @Test("limits and missing files are looked at again after a minute, or with a new cgroup")
    func refresh() throws {
        let folder = Self.root + "/system.slice/a.service"
        let tree = ControlGroupTree([
            Self.root + "/cgroup.controllers": "memory\n", folder + "/memory.max": "100\n",
        ])
        let reader = ContainerReader(tree: tree, paths: NodePaths())
        let key =
            #"container_spec_memory_limit_bytes{id="/system.slice/a.service",unit="a.service"}"#
        func limit(after seconds: Int64) throws -> Double? {
            let time = TimestampNS(Self.now.rawValue + seconds * 1_000_000_000)
            return NodeReaderTests.samples(try reader.read(now: time))[key]
        }
        tree.set(folder, seconds: 2000)
        #expect(try limit(after: 0) == 100)
        tree.files.create(folder + "/memory.max", "200\n")
        tree.files.create(folder + "/memory.current", "5\n")
        #expect(try limit(after: 59) == 100)
        #expect(tree.openedCount(folder + "/memory.current") == 1)
        #expect(tree.openedCount(folder + "/memory.max") == 1)
        #expect(try limit(after: 60) == 200)
        #expect(tree.openedCount(folder + "/memory.current") == 2)
        tree.files.create(folder + "/memory.max", "300\n")
        tree.set(folder, seconds: 2000, inode: 9)
        #expect(try limit(after: 61) == 300)
        tree.files.create(folder + "/memory.max", "400\n")
        #expect(try limit(after: 10) == 400, "the clock was set back")
    }

    @Test("cgroups that come together are looked at again a quarter of them at a time")
    func turns() throws {
        func path(_ number: Int) -> String { "\(Self.root)/system.slice/\(number).service" }
        let tree = ControlGroupTree([Self.root + "/cgroup.controllers": "memory\n"])
        for number in 0..<8 {
            tree.files.create(path(number) + "/memory.max", "100\n")
            tree.set(path(number), seconds: 2000)
        }
        let reader = ContainerReader(tree: tree, paths: NodePaths())
        var last = 0
        var looked: [Int] = []
        for reading in 0..<12 {
            _ = try reader.read(
                now: TimestampNS(Self.now.rawValue + Int64(reading) * 15_000_000_000))
            let count = (0..<8).reduce(0) { $0 + tree.openedCount(path($1) + "/memory.max") }
            looked.append(count - last)
            last = count
        }
        #expect(looked == [8, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    }

    @Test("of a cgroup that has not run only what can change without it is read again")
    func idle() throws {
        let folder = Self.root + "/system.slice/nginx.service/"
        let tree = ControlGroupTree(
            Self.merged(
                Self.host, [Self.root + "/cgroup.controllers": "cpu io memory pids\n"],
                Self.files(Self.root + "/system.slice/nginx.service", Self.unit)))
        let reader = ContainerReader(tree: tree, paths: NodePaths())
        let first = try Self.samples(reader)
        let always = ["cpu.stat", "memory.current", "io.stat"]
        let seldom = [
            "memory.stat", "memory.events", "memory.swap.current", "pids.current",
            "cgroup.procs", "cpu.pressure", "memory.pressure",
        ]
        func opened(_ names: [String]) -> Set<Int> {
            Set(names.map { tree.openedCount(folder + $0) })
        }
        #expect(try Self.samples(reader) == first)
        #expect(opened(always) == [2])
        #expect(opened(seldom) == [1])
        // The kernel took memory from it.
        let own = #"id="/system.slice/nginx.service",unit="nginx.service""#
        tree.files.create(folder + "memory.current", "900\n")
        tree.files.create(folder + "memory.stat", "anon 300\nfile 500\ninactive_file 350\n")
        let reclaimed = try Self.samples(reader)
        #expect(reclaimed["container_memory_working_set_bytes{\(own)}"] == 550)
        #expect(opened(["pids.current"]) == [1])
        // It ran.
        tree.files.create(folder + "cpu.stat", "usage_usec 1234568\n")
        tree.files.create(folder + "pids.current", "6\n")
        #expect(try Self.samples(reader)["container_threads{\(own)}"] == 6)
    }

    @Test(
        "a malformed file is told and costs its cgroup alone",
        arguments: [
            ("memory.current", "x\n", "no number"), ("memory.max", "1k\n", "no number"),
            ("memory.stat", "anon -\n", "no number"), ("pids.current", "", "no number"),
            ("cpu.stat", "user_usec 1\n", "no usage_usec"), ("cpu.max", "100000\n", "no period"),
            ("cpu.max", "x 100000\n", "no quota"), ("io.stat", "8:0 rbytes=\n", "no number"),
            ("cpu.pressure", "some avg10=0.00 total=x\n", "no total"),
        ])
    func malformed(file: String, text: String, detail: String) throws {
        let folder = Self.root + "/system.slice/a.service/"
        let path = folder + file
        let tree = ControlGroupTree([
            Self.root + "/cgroup.controllers": "", folder + "memory.current": "5\n",
            Self.root + "/system.slice/b.service/memory.current": "6\n",
        ])
        tree.files.create(path, text)
        let reader = ContainerReader(tree: tree, paths: NodePaths())
        let samples = try Self.samples(reader)
        #expect(reader.problems == ["\(ReadError.malformed(path: path, detail: detail))"])
        func key(_ unit: String) -> String {
            "container_memory_usage_bytes{id=\"/system.slice/\(unit)\",unit=\"\(unit)\"}"
        }
        #expect(samples[key("a.service")] == nil)
        #expect(samples[key("b.service")] == 6)
        // It is whole again.
        tree.files.delete(path)
        tree.files.create(folder + "memory.current", "5\n")
        #expect(try Self.samples(reader)[key("a.service")] == 5)
        #expect(reader.problems == [])
    }

    @Test("a host without cgroups gives nothing; this machine is read")
    func hosts() throws {
        let none = ContainerReader(tree: ControlGroupTree(Self.host), paths: NodePaths())
        #expect(try none.read(now: Self.now) == [])
        let families = try ContainerReader(tree: PosixTree(), paths: NodePaths()).read(
            now: Self.now)
        let names = families.map(\.name)
        #expect(names.isEmpty || names.contains("petrel_agent_cgroups_left_out"))
    }
}
