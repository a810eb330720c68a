import AgentRead
import Glibc
import Model
import Testing
import World

@Suite("System readers")
struct SystemReaderTests {
    static let paths = NodePaths()

    static func samples(_ reader: any NodeReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: NodeReaderTests.now))
    }

    /// The reader's error; nil where it throws none.
    static func error(_ reader: any NodeReader) -> ReadError? {
        do {
            _ = try reader.read(now: NodeReaderTests.now)
            return nil
        } catch { return error }
    }

    static func missing(_ path: String) -> ReadError {
        .file(FileError(operation: "open", path: path, errno: ENOENT))
    }

    @Test(
        "every fixture sample of these readers equals node_exporter's",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func conformance() throws {
        let (tree, paths) = (PosixTree(), try Conformance.paths())
        let expected: [(any NodeReader, [String], Int)] = [
            (
                NetworkClassReader(
                    tree: tree, paths: paths, ignores: { ["dmz", "int"].contains($0) },
                    ignoresInvalidSpeed: true),
                [
                    "node_network_address_assign_type", "node_network_carrier",
                    "node_network_device_id", "node_network_dormant", "node_network_flags",
                    "node_network_iface_", "node_network_info", "node_network_mtu_bytes",
                    "node_network_name_assign_type", "node_network_net_dev_group",
                    "node_network_protocol_type", "node_network_speed_bytes",
                    "node_network_transmit_queue_length", "node_network_up",
                ], 37
            ),
            (PressureReader(tree: tree, paths: paths), ["node_pressure_"], 6),
            (SchedulerReader(tree: tree, paths: paths), ["node_schedstat_"], 6),
            (VirtualMemoryReader(tree: tree, paths: paths), ["node_vmstat_"], 7),
            (EntropyReader(tree: tree, paths: paths), ["node_entropy_"], 2),
            (FileDescriptorReader(tree: tree, paths: paths), ["node_filefd_"], 2),
            (HungTaskReader(tree: tree, paths: paths), ["node_kernel_hung_"], 1),
            (OSReleaseReader(tree: tree, paths: paths), ["node_os_"], 2),
            (DMIReader(tree: tree, paths: paths), ["node_dmi_"], 1),
        ]
        for (reader, prefixes, count) in expected {
            // The alias is beside node_exporter's names.
            let families = try reader.read(now: NodeReaderTests.now)
                .filter { $0.name != "node_kernel_hung_tasks" }
            try Conformance.expectEqual(
                families, owning: prefixes, count: count, file: Conformance.all)
        }
    }

    // MARK: - netclass

    private static func network() -> RefusingTree {
        let folder = "/sys/class/net"
        return RefusingTree(
            [
                "\(folder)/bonding_masters": "bond0\n",
                "\(folder)/eth0/operstate": "up\n", "\(folder)/eth0/flags": "0x1003\n",
                "\(folder)/eth0/speed": "1000\n", "\(folder)/eth0/mtu": "1500\n",
                "\(folder)/eth0/ifalias": "to the switch \n", "\(folder)/eth0/duplex": "full\n",
                "\(folder)/eth0/carrier_changes": "2\n", "\(folder)/eth0/dev_id": "0xff\n",
                "\(folder)/veth1/operstate": "down\n", "\(folder)/veth1/flags": "0x1002\n",
                "\(folder)/veth1/speed": "-1\n", "\(folder)/veth1/mtu": "odd\n",
                "\(folder)/veth1/dormant": "0\n", "\(folder)/veth1/duplex": "half\n",
                "\(folder)/veth2/operstate": "unknown\n",
            ],
            refused: ["\(folder)/veth1/dormant": EINVAL, "\(folder)/veth1/duplex": EINVAL])
    }

    @Test("netclass: unreadable values are left out, and only they")
    func networkClass() throws {
        #expect(
            try Self.samples(NetworkClassReader(tree: Self.network(), paths: Self.paths)) == [
                "node_network_up{device=\"eth0\"}": 1,
                "node_network_up{device=\"veth1\"}": 0,
                "node_network_up{device=\"veth2\"}": 0,
                "node_network_info{adminstate=\"up\",device=\"eth0\",duplex=\"full\",ifalias=\"to the switch\",operstate=\"up\"}":
                    1,
                "node_network_info{adminstate=\"down\",device=\"veth1\",operstate=\"down\"}": 1,
                "node_network_info{adminstate=\"unknown\",device=\"veth2\",operstate=\"unknown\"}":
                    1,
                "node_network_carrier_changes_total{device=\"eth0\"}": 2,
                "node_network_device_id{device=\"eth0\"}": 255,
                "node_network_flags{device=\"eth0\"}": 4099,
                "node_network_flags{device=\"veth1\"}": 4098,
                "node_network_mtu_bytes{device=\"eth0\"}": 1500,
                "node_network_speed_bytes{device=\"eth0\"}": 125_000_000,
                "node_network_speed_bytes{device=\"veth1\"}": -125_000,
            ])
    }

    @Test("netclass: ignored devices, invalid speeds, no sysfs")
    func networkClassOptions() throws {
        let samples = try Self.samples(
            NetworkClassReader(
                tree: Self.network(), paths: Self.paths, ignores: { $0 == "eth0" },
                ignoresInvalidSpeed: true))
        #expect(!samples.keys.contains { $0.contains("eth0") })
        #expect(samples["node_network_flags{device=\"veth1\"}"] == 4098)
        #expect(samples["node_network_speed_bytes{device=\"veth1\"}"] == nil)
        func reader(_ errno: Int32) -> NetworkClassReader {
            NetworkClassReader(
                tree: RefusingTree(refused: ["/sys/class/net": errno]), paths: Self.paths)
        }
        #expect(try reader(ENOENT).read(now: NodeReaderTests.now).isEmpty)
        #expect(try reader(EACCES).read(now: NodeReaderTests.now).isEmpty)
        #expect(
            Self.error(reader(EIO))
                == .file(FileError(operation: "list", path: "/sys/class/net", errno: EIO)))
    }

    @Test("netclass: a device that goes meanwhile is not down")
    func goneDevice() throws {
        let folder = "/sys/class/net"
        let tree = RefusingTree(
            ["\(folder)/veth1/operstate": "up\n", "\(folder)/veth1/mtu": "1500\n"],
            refused: ["\(folder)/veth1/operstate": ENODEV])
        #expect(try Self.samples(NetworkClassReader(tree: tree, paths: Self.paths)).isEmpty)
    }

    @Test("netclass: what seldom changes is read once a minute, and of another device at once")
    func seldomChanges() throws {
        let folder = "/sys/class/net/eth0"
        let tree = MemoryTree([
            "\(folder)/operstate": "up\n", "\(folder)/ifindex": "2\n",
            "\(folder)/mtu": "1500\n", "\(folder)/link_mode": "0\n",
            "\(folder)/ifalias": "old\n",
        ])
        let reader = NetworkClassReader(tree: tree, paths: Self.paths)
        /// The MTU, the link mode, and whether the alias is `new`.
        func values(afterSeconds seconds: Int64) throws -> [Double?] {
            let now = NodeReaderTests.now.advanced(byNanoseconds: seconds * 1_000_000_000)
            let samples = NodeReaderTests.samples(try reader.read(now: now))
            let isNew = samples.keys.contains { $0.contains("ifalias=\"new\"") }
            return [
                samples["node_network_mtu_bytes{device=\"eth0\"}"],
                samples["node_network_iface_link_mode{device=\"eth0\"}"], isNew ? 1 : 0,
            ]
        }
        func set(_ alias: String, linkMode: String) {
            tree.create("\(folder)/ifalias", alias)
            tree.create("\(folder)/link_mode", linkMode)
            tree.create("\(folder)/mtu", "9000")
        }
        #expect(try values(afterSeconds: 0) == [1500, 0, 0])
        set("new", linkMode: "1")
        #expect(try values(afterSeconds: 59) == [9000, 0, 0])
        #expect(try values(afterSeconds: 60) == [9000, 1, 1])
        set("old", linkMode: "0")
        tree.create("\(folder)/ifindex", "3\n")
        #expect(try values(afterSeconds: 61) == [9000, 0, 0])
        // A clock that was set back.
        set("new", linkMode: "1")
        #expect(try values(afterSeconds: 0) == [9000, 1, 1])
    }

    // MARK: - a lack of descriptors

    /// Readers, each with a file that it may do without.
    private static let optional: [(@Sendable (any WorldFileTree) -> any NodeReader, String)] = [
        ({ DiskReader(tree: $0, paths: paths) }, "/run/udev/data/b8:0"),
        ({ DiskReader(tree: $0, paths: paths) }, "/sys/block/sda/queue/rotational"),
        ({ NetworkReader(tree: $0, paths: paths) }, rxNoHandler),
        ({ CPUReader(tree: $0, paths: paths) }, "/sys/devices/system/cpu/isolated"),
        ({ TimeReader(tree: $0, paths: paths, host: FakeHost()) }, clockSource),
        ({ ContainerReader(tree: $0, paths: paths) }, "/sys/fs/cgroup/cgroup.controllers"),
        ({ ContainerReader(tree: $0, paths: paths) }, "/sys/fs/cgroup/system.slice"),
        ({ ContainerReader(tree: $0, paths: paths) }, unit + "/memory.current"),
    ]
    private static let rxNoHandler = "/sys/class/net/eth0/statistics/rx_nohandler"
    private static let clockSource =
        "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    private static let unit = "/sys/fs/cgroup/system.slice/a.service"

    @Test(
        "a process without free descriptors takes no file for absent",
        arguments: [(EMFILE, true), (ENFILE, true), (ENOMEM, true), (EACCES, false)])
    func lack(errno: Int32, isError: Bool) {
        let files = [
            "/proc/diskstats": "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
            "/proc/net/dev": "head\nhead\neth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
            "/proc/stat": "cpu0 1 0 0 1 0 0 0 0 0 0\n",
            "/run/udev/data/b8:0": "E:ID_MODEL=a\n", "/sys/block/sda/queue/rotational": "1\n",
            Self.rxNoHandler: "1\n", "/sys/devices/system/cpu/isolated": "1\n",
            Self.clockSource: "tsc\n", "/sys/fs/cgroup/cgroup.controllers": "memory\n",
            Self.unit: "", Self.unit + "/memory.current": "1\n",
        ]
        for (reader, path) in Self.optional {
            let error = Self.error(reader(RefusingTree(files, refused: [path: errno])))
            guard isError else {
                #expect(error == nil, "\(path)")
                continue
            }
            guard case .file(let failure) = error else {
                Issue.record("\(path): \(String(describing: error))")
                continue
            }
            #expect(failure.path == path && failure.errno == errno)
        }
    }

    // MARK: - pressure, schedstat, vmstat

    @Test("pressure: what the kernel has not is left out")
    func pressure() throws {
        let line = "avg10=0.00 avg60=0.00 avg300=0.00 total="
        let tree = RefusingTree(
            [
                "/proc/pressure/cpu": "some \(line)2500000\n",
                "/proc/pressure/memory": "some \(line)1000000\nfull \(line)500000\nnone x\n",
                "/proc/pressure/irq": "full \(line)1\n",
            ], refused: ["/proc/pressure/irq": EOPNOTSUPP])
        #expect(
            try Self.samples(PressureReader(tree: tree, paths: Self.paths)) == [
                "node_pressure_cpu_waiting_seconds_total": 2.5,
                "node_pressure_memory_waiting_seconds_total": 1,
                "node_pressure_memory_stalled_seconds_total": 0.5,
            ])
        let off = RefusingTree(
            refused: [
                "/proc/pressure/cpu": EOPNOTSUPP, "/proc/pressure/io": EOPNOTSUPP,
                "/proc/pressure/memory": EOPNOTSUPP, "/proc/pressure/irq": EOPNOTSUPP,
            ])
        for tree in [off, RefusingTree(refused: [:])] {
            let reader = PressureReader(tree: tree, paths: Self.paths)
            #expect(try reader.read(now: NodeReaderTests.now).isEmpty)
        }
    }

    @Test("pressure: malformed and forbidden files", arguments: ["some", "some avg10=1 total=x"])
    func brokenPressure(text: String) {
        let broken = MemoryTree(["/proc/pressure/io": text])
        #expect(
            Self.error(PressureReader(tree: broken, paths: Self.paths))
                == .malformed(path: "/proc/pressure/io", detail: "no total"))
        let forbidden = RefusingTree(refused: ["/proc/pressure/cpu": EACCES])
        #expect(
            Self.error(PressureReader(tree: forbidden, paths: Self.paths))
                == .file(FileError(operation: "open", path: "/proc/pressure/cpu", errno: EACCES)))
    }

    @Test("schedstat: CPUs of any number, broken lines passed over")
    func scheduler() throws {
        let tree = MemoryTree([
            "/proc/schedstat": """
            version 17
            timestamp 4295
            cpu12 0 0 0 0 0 0 1500000000 2500000000 18446744073709551615
            domain0 MC 3 0 0 0 0 0 0 0 0 0 0
            cpu13 0 0 0 0 0 0 1500000000 2500000000
            cpux 0 0 0 0 0 0 1 2 3
            cpu14 0 0 0 0 0 0 1 x 3
            """
        ])
        let reader = SchedulerReader(tree: tree, paths: Self.paths)
        #expect(
            try Self.samples(reader) == [
                "node_schedstat_running_seconds_total{cpu=\"12\"}": 1.5,
                "node_schedstat_waiting_seconds_total{cpu=\"12\"}": 2.5,
                "node_schedstat_timeslices_total{cpu=\"12\"}": 18_446_744_073_709_551_616,
            ])
        tree.create("/proc/schedstat", "version 17\n")
        #expect(
            Self.error(reader) == .malformed(path: "/proc/schedstat", detail: "no cpu line"))
        tree.delete("/proc/schedstat")
        #expect(try reader.read(now: NodeReaderTests.now).isEmpty)
    }

    @Test(
        "vmstat: the fields given by default",
        arguments: [
            ("oom_kill", true), ("pgpgin", true), ("pswpout", true), ("pgfault", true),
            ("pgmajfault", true), ("pgfaults_more", true), ("nr_free_pages", false),
            ("pgfree", false), ("numa_hint_faults", false), ("thp_fault_alloc", false),
            ("pfault", false),
        ])
    func virtualMemoryFields(field: String, expect: Bool) {
        #expect(VirtualMemoryReader.isIncludedByDefault(field) == expect)
    }

    @Test("vmstat: chosen fields, broken and missing files")
    func virtualMemory() throws {
        let tree = MemoryTree(["/proc/vmstat": "nr_free_pages 5\npgfault 7\nhalf\n"])
        func reader(_ name: String) -> VirtualMemoryReader {
            VirtualMemoryReader(tree: tree, paths: Self.paths, includes: { $0 == name })
        }
        #expect(try Self.samples(reader("nr_free_pages")) == ["node_vmstat_nr_free_pages": 5])
        #expect(
            try Self.samples(VirtualMemoryReader(tree: tree, paths: Self.paths)) == [
                "node_vmstat_pgfault": 7
            ])
        #expect(
            Self.error(reader("half"))
                == .malformed(path: "/proc/vmstat", detail: "no number in the field half"))
        tree.create("/proc/vmstat", "\n")
        #expect(
            Self.error(reader("pgfault")) == .malformed(path: "/proc/vmstat", detail: "no field"))
        tree.delete("/proc/vmstat")
        #expect(Self.error(reader("pgfault")) == Self.missing("/proc/vmstat"))
    }

    // MARK: - entropy, filefd, kernel_hung

    @Test("entropy and filefd: values, malformed and missing files")
    func plainNumbers() throws {
        let folder = "/proc/sys/kernel/random"
        let tree = MemoryTree([
            "\(folder)/entropy_avail": "256\n", "\(folder)/poolsize": "256\n",
            "/proc/sys/fs/file-nr": "1024\t0\t9223372036854775807\n",
        ])
        let entropy = EntropyReader(tree: tree, paths: Self.paths)
        let files = FileDescriptorReader(tree: tree, paths: Self.paths)
        #expect(
            try Self.samples(entropy) == [
                "node_entropy_available_bits": 256, "node_entropy_pool_size_bits": 256,
            ])
        #expect(
            try Self.samples(files) == [
                "node_filefd_allocated": 1024, "node_filefd_maximum": 9_223_372_036_854_775_808,
            ])
        tree.create("\(folder)/poolsize", "256 bits\n")
        tree.create("/proc/sys/fs/file-nr", "1024\t0\n")
        #expect(
            Self.error(entropy)
                == .malformed(path: "\(folder)/poolsize", detail: "no whole number"))
        #expect(
            Self.error(files)
                == .malformed(
                    path: "/proc/sys/fs/file-nr", detail: "fewer than three numbers"))
        tree.delete("\(folder)/entropy_avail")
        tree.delete("/proc/sys/fs/file-nr")
        #expect(Self.error(entropy) == Self.missing("\(folder)/entropy_avail"))
        #expect(Self.error(files) == Self.missing("/proc/sys/fs/file-nr"))
    }

    @Test("kernel_hung: the count, its alias, a kernel without it")
    func hungTasks() throws {
        let path = "/proc/sys/kernel/hung_task_detect_count"
        let tree = MemoryTree([path: "3\n"])
        let reader = HungTaskReader(tree: tree, paths: Self.paths)
        #expect(
            try Self.samples(reader) == [
                "node_kernel_hung_tasks_total": 3, "node_kernel_hung_tasks": 3,
            ])
        tree.create(path, "-1\n")
        #expect(Self.error(reader) == .malformed(path: path, detail: "no whole number"))
        tree.delete(path)
        #expect(try reader.read(now: NodeReaderTests.now).isEmpty)
    }

    // MARK: - os, dmi

    private static func osRelease(_ text: String) -> OSReleaseReader {
        OSReleaseReader(tree: MemoryTree(["/etc/os-release": text]), paths: paths)
    }

    @Test("os: quotes, comments, every label")
    func release() throws {
        let reader = Self.osRelease(
            """
            # A comment, as os-release(5) allows
            NAME="Debian \\"GNU\\"/Linux \\$5 \\x"
            PRETTY_NAME='It''s # "12"' # the rest is none
            ID=debian   # here too
            export ID_LIKE = a b#c\r
            VERSION_ID=12.10.1

            VERSION=
            BUILD_ID=20.3
            SUPPORT_END=2028-06-30
            """)
        #expect(
            try Self.samples(reader) == [
                "node_os_info{build_id=\"20.3\",id=\"debian\",id_like=\"a b#c\",name=\"Debian \\\"GNU\\\"/Linux $5 \\\\x\",pretty_name=\"Its # \\\"12\\\"\",version_id=\"12.10.1\"}":
                    1,
                "node_os_version{id=\"debian\",id_like=\"a b#c\",name=\"Debian \\\"GNU\\\"/Linux $5 \\\\x\"}":
                    12.1,
                "node_os_support_end_timestamp_seconds": 1_845_936_000,
            ])
    }

    @Test(
        "os: the version as a number",
        arguments: [
            ("20.04", 20.04), ("9", 9), ("7.", 7), ("24.5.1", 24.5), ("15-SP6", 15),
            ("rolling", nil), ("0", nil), (".5", nil), ("", nil),
        ] as [(String, Double?)])
    func releaseVersion(text: String, expect: Double?) throws {
        let samples = try Self.samples(Self.osRelease("VERSION_ID=\"\(text)\"\n"))
        #expect(samples["node_os_version"] == expect)
        #expect(samples.keys.contains { $0.hasPrefix("node_os_info") })
    }

    @Test(
        "os: malformed files",
        arguments: [
            ("ID=a\nnonsense\n", "line 2 has no ="), ("ID=\"a\n", "line 1 has an open quote"),
            ("ID='a\n", "line 1 has an open quote"), ("ID=\"a\\", "line 1 has an open quote"),
            ("SUPPORT_END=soon\n", "SUPPORT_END is no date"),
            ("SUPPORT_END=2025-02-29\n", "SUPPORT_END is no date"),
        ])
    func brokenRelease(text: String, detail: String) {
        #expect(
            Self.error(Self.osRelease(text)) == .malformed(path: "/etc/os-release", detail: detail))
    }

    @Test("os: the second place, the host's root")
    func releasePlaces() throws {
        let tree = MemoryTree([
            "/host/usr/lib/os-release": "ID=second\n", "/etc/os-release": "ID=container\n",
        ])
        let reader = OSReleaseReader(tree: tree, paths: NodePaths(rootfs: "/host/"))
        #expect(try Self.samples(reader) == ["node_os_info{id=\"second\"}": 1])
        tree.create("/host/etc/os-release", "ID=first\n")
        #expect(try Self.samples(reader) == ["node_os_info{id=\"first\"}": 1])
        let none = OSReleaseReader(tree: tree, paths: NodePaths(rootfs: "/other"))
        #expect(try none.read(now: NodeReaderTests.now).isEmpty)
        let forbidden = RefusingTree(
            ["/usr/lib/os-release": "ID=second\n"], refused: ["/etc/os-release": EACCES])
        #expect(
            Self.error(OSReleaseReader(tree: forbidden, paths: Self.paths))
                == .file(FileError(operation: "open", path: "/etc/os-release", errno: EACCES)))
    }

    @Test("dmi: unreadable serials, bytes that are no UTF-8, long texts, no DMI")
    func desktopManagement() throws {
        let folder = "/sys/class/dmi/id"
        let tree = RefusingTree(
            [
                "\(folder)/sys_vendor": " QEMU \n", "\(folder)/product_serial": "secret\n",
                "\(folder)/chassis_version": "\n", "\(folder)/modalias": "dmi:x\n",
                "\(folder)/product_name": String(repeating: "a", count: 200) + "\n",
            ], refused: ["\(folder)/product_serial": EACCES])
        tree.files.create("\(folder)/board_name")
        tree.files.append("\(folder)/board_name", bytes: [0x41, 0xff, 0xfe, 0x42, 0xff, 0x0a])
        let name = String(repeating: "a", count: 128)
        let reader = DMIReader(tree: tree, paths: Self.paths)
        let expected = [
            "node_dmi_info{board_name=\"A\u{FFFD}B\u{FFFD}\",product_name=\"\(name)\",system_vendor=\"QEMU\"}":
                1.0
        ]
        #expect(try Self.samples(reader) == expected)
        // The files are asked once.
        tree.files.delete("\(folder)/sys_vendor")
        #expect(try Self.samples(reader) == expected)
        let full = RefusingTree(refused: ["\(folder)/bios_date": EMFILE])
        #expect(
            Self.error(DMIReader(tree: full, paths: Self.paths))
                == .file(
                    FileError(operation: "open", path: "\(folder)/bios_date", errno: EMFILE)))
        let none = DMIReader(tree: MemoryTree([:]), paths: Self.paths)
        #expect(try none.read(now: NodeReaderTests.now).isEmpty)
    }
}
