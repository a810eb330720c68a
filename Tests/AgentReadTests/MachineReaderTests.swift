import AgentRead
import Model
import Synchronization
import Testing
import World

/// A host on which the kernel refuses to tell of the clock.
private struct RefusingHost: HostCalls {
    let code: Int32
    private let other = FakeHost()

    init(code: Int32) { self.code = code }

    func fileSystem(_ path: String) throws(ReadError) -> FileSystemStatistics {
        try other.fileSystem(path)
    }
    func identity() throws(ReadError) -> HostIdentity { try other.identity() }
    func zone(at time: TimestampNS) -> (name: String, offsetSeconds: Int) { other.zone(at: time) }
    func clockAdjustment() throws(ReadError) -> ClockAdjustment {
        throw .system(operation: "adjtimex", errno: code)
    }
    func tcpCounts() throws(ReadError) -> TCPCounts { try other.tcpCounts() }
    func listeningPorts() throws(ReadError) -> Set<UInt16> { try other.listeningPorts() }
}

/// Files in memory that remembers what was opened, and fails the paths in `failures` with their errno.
private final class WatchedTree: WorldFileTree {
    private let tree: MemoryTree
    private let failures: [String: Int32]
    private let opened = Mutex<[String]>([])

    init(_ files: [String: String], failures: [String: Int32] = [:]) {
        tree = MemoryTree(files)
        self.failures = failures
    }

    var paths: [String] { opened.withLock { $0.sorted() } }

    private func check(_ path: String, _ operation: String) throws(FileError) {
        guard let code = failures[path] else { return }
        throw FileError(operation: operation, path: path, errno: code)
    }
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        opened.withLock { $0.append(path) }
        try check(path, "read")
        return try tree.open(path, mode)
    }
    func list(_ path: String) throws(FileError) -> [String] {
        opened.withLock { $0.append(path) }
        try check(path, "opendir")
        return try tree.list(path)
    }
    func status(_ path: String) throws(FileError) -> FileStatus { try tree.status(path) }
    func rename(_ from: String, to: String) throws(FileError) { try tree.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try tree.remove(path) }
    func makeDirectory(_ path: String) throws(FileError) { try tree.makeDirectory(path) }
    func synchronizeDirectory(_ path: String) throws(FileError) {
        try tree.synchronizeDirectory(path)
    }
    func readLink(_ path: String) throws(FileError) -> String { try tree.readLink(path) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { try tree.freeBytes(path) }
}

private let hasFixtures = Conformance.isPresent
private let noFixtures: Comment =
    "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"

private func samples(_ reader: any NodeReader) throws -> [String: Double] {
    NodeReaderTests.samples(try reader.read(now: NodeReaderTests.now))
}

private func families(_ reader: any NodeReader) throws -> [MetricFamily] {
    try reader.read(now: NodeReaderTests.now)
}

@Suite("Node readers: clock")
struct ClockReaderTests {
    static func host(status: Int32) -> FakeHost {
        var host = FakeHost()
        host.clock.status = status
        host.clock.offset = -2_500
        host.clock.frequency = -655_360_000
        host.clock.maxError = 16_000_000
        host.clock.estimatedError = 250
        host.clock.loopTimeConstant = 7
        host.clock.tick = 10_000
        host.clock.ppsFrequency = 65_536_000
        host.clock.ppsJitter = 4_000
        host.clock.ppsShift = 3
        host.clock.ppsStability = 6_553_600
        host.clock.ppsJitterExceeded = 11
        host.clock.ppsCalibrations = 12
        host.clock.ppsErrors = 13
        host.clock.ppsStabilityExceeded = 14
        host.clock.taiOffset = 37
        return host
    }

    @Test("every value in its unit, microseconds without STA_NANO")
    func microseconds() throws {
        #expect(
            try samples(ClockReader(host: Self.host(status: 1))) == [
                "node_timex_sync_status": 1, "node_timex_offset_seconds": -0.0025,
                "node_timex_frequency_adjustment_ratio": 0.99,
                "node_timex_maxerror_seconds": 16, "node_timex_estimated_error_seconds": 0.00025,
                "node_timex_status": 1, "node_timex_loop_time_constant": 7,
                "node_timex_tick_seconds": 0.01, "node_timex_pps_frequency_hertz": 0.001,
                "node_timex_pps_jitter_seconds": 0.004, "node_timex_pps_shift_seconds": 3,
                "node_timex_pps_stability_hertz": 0.0001, "node_timex_pps_jitter_total": 11,
                "node_timex_pps_calibration_total": 12, "node_timex_pps_error_total": 13,
                "node_timex_pps_stability_exceeded_total": 14,
                "node_timex_tai_offset_seconds": 37,
            ])
        let counters = try families(ClockReader(host: FakeHost())).filter {
            $0.metadata.type == .counter
        }
        #expect(counters.allSatisfy { $0.name.hasSuffix("_total") })
        #expect(counters.count == 4)
    }

    @Test("nanoseconds with STA_NANO; an unsynchronised clock")
    func nanoseconds() throws {
        var host = Self.host(status: 0x2040)
        host.clock.state = 5
        let values = try samples(ClockReader(host: host))
        #expect(values["node_timex_offset_seconds"] == -0.0000025)
        #expect(values["node_timex_pps_jitter_seconds"] == 0.000004)
        #expect(values["node_timex_maxerror_seconds"] == 16)
        #expect(values["node_timex_status"] == 0x2040)
        #expect(values["node_timex_sync_status"] == 0)
    }

    @Test("a forbidden call is no data; another failure is an error")
    func refused() throws {
        #expect(try families(ClockReader(host: RefusingHost(code: 1))).isEmpty)
        #expect(try families(ClockReader(host: RefusingHost(code: 13))).isEmpty)
        #expect(throws: ReadError.system(operation: "adjtimex", errno: 38)) {
            try families(ClockReader(host: RefusingHost(code: 38)))
        }
    }
}

@Suite("Node readers: processes")
struct ProcessesReaderTests {
    static let limits = [
        "/proc/sys/kernel/threads-max": "7801\n", "/proc/sys/kernel/pid_max": "4194304\n",
    ]

    static func stat(_ command: String, _ state: String, threads: Int) -> String {
        "7 (\(command)) \(state) 0 1 1 0 -1 4194560 9061 9416027 94 2620 36 98 54406 13885 20 0 "
            + "\(threads) 0 29 109604864 2507 18446744073709551615\n"
    }

    static func files(_ more: [String: String]) -> [String: String] {
        limits.merging(more) { $1 }
    }

    @Test("every fixture sample equals node_exporter's", .enabled(if: hasFixtures, noFixtures))
    func conformance() throws {
        let reader = ProcessesReader(tree: PosixTree(), paths: try Conformance.paths())
        let all = try families(reader)
        // The fixtures' processes have no folder of threads, so node_exporter finds no thread there. Each says that it
        // has one thread, and on a host that thread is in the folder.
        try Conformance.expectEqual(
            all.filter { $0.name != "node_processes_threads_state" },
            owning: ["node_processes_"], count: 6)
        let values = NodeReaderTests.samples(all)
        #expect(values["node_processes_threads_state{thread_state=\"S\"}"] == 2)
        #expect(values["node_processes_threads_state{thread_state=\"I\"}"] == 1)
    }

    @Test("states of processes and threads; one read for each of them")
    func walk() throws {
        let tree = WatchedTree(
            Self.files([
                "/proc/1/stat": Self.stat("systemd", "S", threads: 1),
                "/proc/1/task/1/stat": "not read",
                "/proc/20/stat": Self.stat("a) R (b) 1 2", "S", threads: 3),
                "/proc/20/task/20/stat": "not read",
                "/proc/20/task/21/stat": Self.stat("worker", "R", threads: 3),
                "/proc/20/task/22/stat": Self.stat("worker", "D", threads: 3),
                "/proc/30/stat": Self.stat("defunct", "Z", threads: 0),
                "/proc/self/stat": "not read", "/proc/uptime": "not read",
            ]))
        let reader = ProcessesReader(tree: tree, paths: NodePaths())
        #expect(
            try samples(reader) == [
                "node_processes_max_processes": 4_194_304, "node_processes_max_threads": 7801,
                "node_processes_pids": 3, "node_processes_threads": 4,
                "node_processes_state{state=\"S\"}": 2, "node_processes_state{state=\"Z\"}": 1,
                "node_processes_threads_state{thread_state=\"D\"}": 1,
                "node_processes_threads_state{thread_state=\"R\"}": 1,
                "node_processes_threads_state{thread_state=\"S\"}": 2,
                "node_processes_threads_state{thread_state=\"Z\"}": 1,
            ])
        #expect(
            tree.paths == [
                "/proc", "/proc/1/stat", "/proc/20/stat", "/proc/20/task",
                "/proc/20/task/21/stat", "/proc/20/task/22/stat", "/proc/30/stat",
                "/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max",
            ])
    }

    @Test("what ends between list and read is left out")
    func ended() throws {
        let tree = WatchedTree(
            Self.files([
                "/proc/1/stat": Self.stat("a", "S", threads: 1),
                "/proc/2/comm": "no stat any more",
                "/proc/3/stat": Self.stat("b", "S", threads: 1),
                "/proc/4/stat": Self.stat("c", "R", threads: 3),
                "/proc/4/task/4/stat": "",
                "/proc/4/task/5/comm": "no stat any more",
                "/proc/4/task/6/stat": Self.stat("c", "S", threads: 3),
                "/proc/7/stat": Self.stat("d", "R", threads: 2),
            ]),
            failures: ["/proc/3/stat": 3, "/proc/4/task/6/stat": 3, "/proc/7/task": 2])
        let values = try samples(ProcessesReader(tree: tree, paths: NodePaths()))
        #expect(values["node_processes_pids"] == 3)
        #expect(values["node_processes_threads"] == 6)
        #expect(values["node_processes_state{state=\"S\"}"] == 1)
        #expect(values["node_processes_state{state=\"R\"}"] == 2)
        #expect(values["node_processes_threads_state{thread_state=\"S\"}"] == 1)
        #expect(values["node_processes_threads_state{thread_state=\"R\"}"] == 1)
    }

    @Test("past the bounds nothing is told of a part")
    func bounds() throws {
        let tree = MemoryTree(
            Self.files([
                "/proc/1/stat": Self.stat("a", "S", threads: 1),
                "/proc/2/stat": Self.stat("b", "S", threads: 2),
                "/proc/2/task/2/stat": "", "/proc/2/task/3/stat": Self.stat("b", "R", threads: 2),
            ]))
        func names(
            processesMax: Int = 2, threadsMax: Int = 2, hasThreadStates: Bool = true
        ) throws -> [String] {
            try families(
                ProcessesReader(
                    tree: tree, paths: NodePaths(), hasThreadStates: hasThreadStates,
                    processesMax: processesMax, threadsMax: threadsMax)
            ).map { String($0.name.dropFirst("node_processes_".count)) }
        }
        let whole = ["max_threads", "max_processes", "pids", "threads", "state"]
        #expect(try names() == whole + ["threads_state"])
        #expect(try names(threadsMax: 1) == whole)
        #expect(try names(hasThreadStates: false) == whole)
        #expect(try names(processesMax: 1) == ["max_threads", "max_processes", "pids"])
        let few = ProcessesReader(tree: tree, paths: NodePaths(), processesMax: 1)
        #expect(try samples(few)["node_processes_pids"] == 2)
        // One more thread than its process said.
        tree.create("/proc/2/task/4/stat", Self.stat("b", "R", threads: 3))
        #expect(try names() == whole)
    }

    @Test("broken and forbidden files are typed errors")
    func broken() {
        for text in ["", "7 systemd S 0 1", "7 (a) S 0 1 1", Self.stat("a", "S", threads: -1)] {
            let tree = MemoryTree(Self.files(["/proc/7/stat": text]))
            let error = #expect(throws: ReadError.self) {
                try families(ProcessesReader(tree: tree, paths: NodePaths()))
            }
            guard case .malformed(let path, _) = error else {
                Issue.record("\(text): \(String(describing: error))")
                continue
            }
            #expect(path == "/proc/7/stat")
        }
        let hidden = WatchedTree(
            Self.files(["/proc/7/stat": Self.stat("a", "S", threads: 1)]),
            failures: ["/proc/7/stat": 1])
        #expect(
            throws: ReadError.file(FileError(operation: "read", path: "/proc/7/stat", errno: 1))
        ) { try families(ProcessesReader(tree: hidden, paths: NodePaths())) }
        #expect(
            throws: ReadError.malformed(
                path: "/proc/sys/kernel/threads-max", detail: "no whole number")
        ) {
            let tree = MemoryTree(Self.files(["/proc/sys/kernel/threads-max": "max\n"]))
            return try families(ProcessesReader(tree: tree, paths: NodePaths()))
        }
    }

    @Test("this machine: each process has a state")
    func live() throws {
        let all = try families(ProcessesReader(tree: PosixTree(), paths: NodePaths()))
        func sum(_ name: String) -> Double {
            all.filter { $0.name == name }.flatMap(\.points).reduce(0) { $0 + $1.value }
        }
        #expect(sum("node_processes_pids") > 0)
        #expect(sum("node_processes_state") == sum("node_processes_pids"))
        #expect(sum("node_processes_threads") > 0)
        #expect(sum("node_processes_max_processes") > 0)
    }
}

@Suite("Node readers: interrupts, swap, CPU flaws, watchdogs, control groups")
struct MachineReaderTests {
    static let interrupts = """
                   CPU0       CPU2
          9:          5          0   IO-APIC   9-fasteoi   acpi, mmc0
         10:          0          0   IO-APIC-edge
        IPI0:1195697946        437       Rescheduling interrupts
        ERR:          0
        """

    @Test("every fixture sample equals node_exporter's", .enabled(if: hasFixtures, noFixtures))
    func conformance() throws {
        let tree = PosixTree()
        let paths = try Conformance.paths()
        try Conformance.expectEqual(
            try families(InterruptReader(tree: tree, paths: paths)),
            owning: ["node_interrupts_"], count: 112)
        try Conformance.expectEqual(
            try families(VulnerabilityReader(tree: tree, paths: paths)),
            owning: ["node_cpu_vulnerabilities_"], count: 5)
        try Conformance.expectEqual(
            try families(WatchdogReader(tree: tree, paths: paths)),
            owning: ["node_watchdog_"], count: 9)
        try Conformance.expectEqual(
            try families(ControlGroupReader(tree: tree, paths: paths)),
            owning: ["node_cgroups_"], count: 24)
        // node_exporter's expectation was made without swap.
        #expect(
            try samples(SwapReader(tree: tree, paths: paths)) == [
                "node_swap_size_bytes{device=\"/dev/zram0\",swap_type=\"partition\"}":
                    8_589_930_496,
                "node_swap_used_bytes{device=\"/dev/zram0\",swap_type=\"partition\"}": 77_824,
                "node_swap_priority{device=\"/dev/zram0\",swap_type=\"partition\"}": 100,
            ])
    }

    @Test("interrupts: columns, names without a space after them, what is no interrupt")
    func interruptColumns() throws {
        let tree = MemoryTree(["/proc/interrupts": Self.interrupts])
        let acpi = "devices=\"9-fasteoi acpi, mmc0\",info=\"IO-APIC\",type=\"9\""
        let resched = "info=\"Rescheduling interrupts\",type=\"IPI0\""
        #expect(
            try samples(InterruptReader(tree: tree, paths: NodePaths())) == [
                "node_interrupts_total{cpu=\"0\",\(acpi)}": 5,
                "node_interrupts_total{cpu=\"1\",\(acpi)}": 0,
                "node_interrupts_total{cpu=\"0\",info=\"IO-APIC-edge\",type=\"10\"}": 0,
                "node_interrupts_total{cpu=\"1\",info=\"IO-APIC-edge\",type=\"10\"}": 0,
                "node_interrupts_total{cpu=\"0\",\(resched)}": 1_195_697_946,
                "node_interrupts_total{cpu=\"1\",\(resched)}": 437,
            ])
    }

    @Test("interrupts: filter and zeros")
    func interruptFilter() throws {
        let tree = MemoryTree(["/proc/interrupts": Self.interrupts])
        let asked = Mutex<[String]>([])
        let chosen = try samples(
            InterruptReader(
                tree: tree, paths: NodePaths(),
                includes: { text in
                    asked.withLock { $0.append(text) }
                    return text.hasPrefix("9;")
                }, hasZeros: false))
        let acpi = "devices=\"9-fasteoi acpi, mmc0\",info=\"IO-APIC\",type=\"9\""
        #expect(chosen == ["node_interrupts_total{cpu=\"0\",\(acpi)}": 5])
        #expect(
            asked.withLock { $0 } == [
                "9;IO-APIC;9-fasteoi acpi, mmc0", "10;IO-APIC-edge;",
                "IPI0;Rescheduling interrupts;",
            ])
        let none = InterruptReader(tree: tree, paths: NodePaths(), includes: { _ in false })
        #expect(try families(none).isEmpty)
    }

    @Test("swap: deleted files, negative priorities, no swap")
    func swap() throws {
        let head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        let tree = MemoryTree([
            "/proc/swaps": head + "/swap\\040(deleted)\tfile\t\t1024\t0\t-2\n"
        ])
        let reader = SwapReader(tree: tree, paths: NodePaths())
        let labels = "{device=\"/swap\\\\040(deleted)\",swap_type=\"file\"}"
        #expect(
            try samples(reader) == [
                "node_swap_size_bytes\(labels)": 1_048_576, "node_swap_used_bytes\(labels)": 0,
                "node_swap_priority\(labels)": -2,
            ])
        tree.create("/proc/swaps", head)
        #expect(try families(reader).isEmpty)
        tree.delete("/proc/swaps")
        #expect(try families(reader).isEmpty)
    }

    @Test(
        "CPU flaws: state and mitigation",
        arguments: [
            ("Not affected\n", "not affected", ""), ("Vulnerable\n", "vulnerable", ""),
            (
                "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable\n",
                "vulnerable", "Clear CPU buffers attempted, no microcode; SMT vulnerable"
            ),
            ("Mitigation: PTI\n", "mitigation", "PTI"),
            ("MITIGATION:  a   b\n", "mitigation", "a b"),
            ("Unknown: No mitigations\n", "unknown", "No mitigations"),
            ("KVM: Mitigation: VMX disabled\n", "unknown", "KVM: Mitigation: VMX disabled"),
            ("Processor vulnerable\n", "unknown", "Processor vulnerable"), ("", "unknown", ""),
        ])
    func vulnerability(text: String, state: String, mitigation: String) throws {
        let tree = MemoryTree(["/sys/devices/system/cpu/vulnerabilities/mds": text])
        let all = try families(VulnerabilityReader(tree: tree, paths: NodePaths()))
        let labels: Labels = ["codename": "mds", "mitigation": mitigation, "state": state]
        #expect(all.map(\.name) == ["node_cpu_vulnerabilities_info"])
        #expect(all.flatMap(\.points) == [MetricFamily.Point(labels, 1)])
    }

    @Test("flaws of the CPUs are read once a minute")
    func vulnerabilityHeld() throws {
        let tree = WatchedTree(["/sys/devices/system/cpu/vulnerabilities/mds": "Vulnerable\n"])
        let reader = VulnerabilityReader(tree: tree, paths: NodePaths())
        let first = try reader.read(now: TimestampNS(0))
        let count = tree.paths.count
        #expect(try reader.read(now: TimestampNS(59_999_999_999)) == first)
        #expect(tree.paths.count == count)
        #expect(try reader.read(now: TimestampNS(60_000_000_000)) == first)
        #expect(tree.paths.count == 2 * count)
    }

    @Test("watchdogs: some files only, hexadecimal, hidden folder")
    func watchdog() throws {
        let folder = "/sys/class/watchdog/watchdog0"
        let tree = MemoryTree([
            folder + "/timeout": " 60 \n", folder + "/bootstatus": "0x20\n",
            folder + "/identity": "iTCO_wdt \n", folder + "/state": "\n",
        ])
        let reader = WatchdogReader(tree: tree, paths: NodePaths())
        #expect(
            try samples(reader) == [
                "node_watchdog_timeout_seconds{name=\"watchdog0\"}": 60,
                "node_watchdog_bootstatus{name=\"watchdog0\"}": 32,
                "node_watchdog_info{identity=\"iTCO_wdt\",name=\"watchdog0\"}": 1,
            ])
        tree.create(folder + "/timeleft", "soon\n")
        #expect(
            throws: ReadError.malformed(path: folder + "/timeleft", detail: "no whole number")
        ) { try families(reader) }
        let hidden = WatchedTree([:], failures: ["/sys/class/watchdog": 13])
        #expect(try families(WatchdogReader(tree: hidden, paths: NodePaths())).isEmpty)
        let failing = WatchedTree([:], failures: ["/sys/class/watchdog": 5])
        #expect(throws: ReadError.self) {
            try families(WatchdogReader(tree: failing, paths: NodePaths()))
        }
    }

    @Test("control groups: a disabled controller; comments")
    func controlGroups() throws {
        let tree = MemoryTree([
            "/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t9\t0\n"
        ])
        #expect(
            try samples(ControlGroupReader(tree: tree, paths: NodePaths())) == [
                "node_cgroups_cgroups{subsys_name=\"memory\"}": 9,
                "node_cgroups_enabled{subsys_name=\"memory\"}": 0,
            ])
    }

    static func readers(_ tree: any WorldFileTree) -> [any NodeReader] {
        let paths = NodePaths()
        return [
            SwapReader(tree: tree, paths: paths), VulnerabilityReader(tree: tree, paths: paths),
            WatchdogReader(tree: tree, paths: paths), ControlGroupReader(tree: tree, paths: paths),
        ]
    }

    @Test("what the kernel or the hardware lacks gives nothing")
    func missing() throws {
        let lists = ["/sys/class/watchdog": Int32(2), "/sys/devices/system/cpu/vulnerabilities": 2]
        for reader in Self.readers(WatchedTree([:], failures: lists)) {
            #expect(try families(reader).isEmpty, "\(reader.name)")
        }
        #expect(
            throws: ReadError.file(
                FileError(operation: "open", path: "/proc/interrupts", errno: 2))
        ) { try families(InterruptReader(tree: MemoryTree([:]), paths: NodePaths())) }
        #expect(
            Self.readers(MemoryTree([:])).map(\.name) == [
                "swap", "cpu_vulnerabilities", "watchdog", "cgroups",
            ])
    }

    @Test(
        "malformed content is a typed error",
        arguments: [
            ("interrupts", ""), ("interrupts", "nothing here\n"),
            ("interrupts", "  CPU0\n 1:  x  IO-APIC timer\n"),
            ("swaps", "Filename\n/dev/sda2 partition 1 2\n"),
            ("swaps", "Filename\n/dev/sda2 partition x 2 3\n"),
            ("swaps", "Filename\n/dev/sda2 partition 1 99999999999999999999 3\n"),
            ("cgroups", "memory 1 2\n"), ("cgroups", "memory 1 2 yes\n"),
            ("cgroups", "memory x 2 1\n"),
        ])
    func malformed(file: String, text: String) {
        let tree = MemoryTree(["/proc/" + file: text])
        let paths = NodePaths()
        let reader: any NodeReader =
            switch file {
            case "interrupts": InterruptReader(tree: tree, paths: paths)
            case "swaps": SwapReader(tree: tree, paths: paths)
            default: ControlGroupReader(tree: tree, paths: paths)
            }
        let error = #expect(throws: ReadError.self) { try families(reader) }
        guard case .malformed(let path, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(path == "/proc/" + file)
    }
}
