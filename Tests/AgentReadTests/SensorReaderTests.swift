import AgentRead
import Glibc
import Model
import Testing
import World

/// Another tree's files with the symbolic links that `readlink` says, for chips and their devices.
struct LinkedTree: WorldFileTree {
    var tree: any WorldFileTree = PosixTree()

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        try tree.open(path, mode)
    }
    func list(_ path: String) throws(FileError) -> [String] { try tree.list(path) }
    func status(_ path: String) throws(FileError) -> FileStatus { try tree.status(path) }
    func rename(_ from: String, to: String) throws(FileError) { try tree.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try tree.remove(path) }
    func makeDirectory(_ path: String) throws(FileError) { try tree.makeDirectory(path) }
    func synchronizeDirectory(_ path: String) throws(FileError) {
        try tree.synchronizeDirectory(path)
    }
    func readLink(_ path: String) throws(FileError) -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = bytes.withUnsafeMutableBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { text in
                text.baseAddress.map { readlink(path, $0, text.count) } ?? -1
            }
        }
        guard count >= 0 else { throw FileError(operation: "readlink", path: path, errno: errno) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { try tree.freeBytes(path) }
}

/// Files in memory among which some folders are links. Files stand at their real paths.
struct MemoryLinks: WorldFileTree {
    let tree: MemoryTree
    /// Path → target, as `readlink` says it, and the real path behind it.
    let links: [String: (target: String, real: String)]

    init(_ files: [String: String], links: [String: (target: String, real: String)] = [:]) {
        tree = MemoryTree(files)
        self.links = links
    }

    private func real(_ path: String) -> String {
        var path = path
        // Outer links first: what is behind one may have links of its own.
        for (link, place) in links.sorted(by: { $0.key.utf8.count < $1.key.utf8.count })
        where path == link || path.hasPrefix(link + "/") {
            path = place.real + path.dropFirst(link.count)
        }
        return path
    }
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        try tree.open(real(path), mode)
    }
    func list(_ path: String) throws(FileError) -> [String] {
        let own = real(path)
        let names = Set(
            try tree.list(own)
                + links.keys.filter {
                    $0.hasPrefix(own + "/") && !$0.dropFirst(own.count + 1).contains("/")
                }.map { String($0.dropFirst(own.count + 1)) })
        guard !names.isEmpty else { throw FileError(operation: "list", path: path, errno: 2) }
        return Array(names)
    }
    func status(_ path: String) throws(FileError) -> FileStatus { try tree.status(real(path)) }
    func rename(_ from: String, to: String) throws(FileError) { try tree.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try tree.remove(path) }
    func makeDirectory(_ path: String) throws(FileError) {}
    func synchronizeDirectory(_ path: String) throws(FileError) {}
    func readLink(_ path: String) throws(FileError) -> String {
        guard let link = links[path] else {
            throw FileError(operation: "readlink", path: path, errno: 22)
        }
        return link.target
    }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { 0 }
}

@Suite("Sensor readers: hwmon, thermal_zone, cpufreq")
struct SensorReaderTests {
    static let now = TimestampNS(1_700_000_000_000_000_000)

    // MARK: - Conformance

    @Test(
        "hwmon: node_exporter's fixtures",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func hardwareConformance() throws {
        let chips = ["applesmc", "asus_nb_wmi", "coretemp", "hwmon4", "ieee80211", "nct6779"]
        let reader = HardwareMonitorReader(
            tree: LinkedTree(), paths: try Conformance.paths(),
            excludesChip: { chip in !chips.contains { chip.contains($0) } })
        let families = try reader.read(now: Self.now)
        try Conformance.expectEqual(
            families, owning: ["node_hwmon_"], count: 137, file: Conformance.all)
    }

    @Test(
        "thermal_zone: node_exporter's fixtures",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func thermalConformance() throws {
        let reader = ThermalReader(tree: PosixTree(), paths: try Conformance.paths())
        try Conformance.expectEqual(
            try reader.read(now: Self.now), owning: ["node_thermal_zone_", "node_cooling_device_"],
            count: 3, file: Conformance.all)
    }

    @Test(
        "cpufreq: node_exporter's fixtures",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"))
    func frequencyConformance() throws {
        let reader = CPUFrequencyReader(tree: PosixTree(), paths: try Conformance.paths())
        try Conformance.expectEqual(
            try reader.read(now: Self.now), owning: ["node_cpu_scaling_"], count: 20,
            file: Conformance.all)
    }

    // MARK: - hwmon

    static func hardware(
        _ files: [String: String], links: [String: (target: String, real: String)] = [:],
        excludesChip: @escaping @Sendable (String) -> Bool = { _ in false },
        excludesSensor: @escaping @Sendable (String) -> Bool = { _ in false }
    ) throws -> [MetricFamily] {
        let reader = HardwareMonitorReader(
            tree: MemoryLinks(files, links: links), paths: NodePaths(), excludesChip: excludesChip,
            excludesSensor: excludesSensor)
        #expect(reader.name == "hwmon")
        return try reader.read(now: now)
    }

    /// `files` in the folder of one chip without a device.
    static func chip(_ files: [String: String]) throws -> [String: Double] {
        let families = try hardware(
            Dictionary(
                uniqueKeysWithValues: files.map { ("/sys/class/hwmon/hwmon0/" + $0, $1) }))
        return NodeReaderTests.samples(families)
    }

    @Test(
        "hwmon: a file's metric and its unit",
        arguments: [
            ("in1_input", "1024", "in_volts", "in1", 1.024),
            ("cpu0_vid", "1200", "cpu_vid_volts", "cpu0", 1.2),
            ("temp2_crit", "-5000\n", "temp_crit_celsius", "temp2", -5),
            ("temp2_type", "4", "temp_type", "temp2", 4),
            ("temp02_input", "1000", "temp_celsius", "temp2", 1),
            ("temp1_fault", "1", "temp_fault", "temp1", 1),
            ("fan1_input", "900", "fan_rpm", "fan1", 900),
            ("fan1_div", "2", "fan_div", "fan1", 2),
            ("fan1_beep", "1", "fan_beep_enabled", "fan1", 1),
            ("curr1_max", "1500", "curr_max_amps", "curr1", 1.5),
            ("energy1_input", "2500000", "energy_joule_total", "energy1", 2.5),
            ("power1_average", "7500000", "power_average_watt", "power1", 7.5),
            ("power1_accuracy", "50000", "power_accuracy", "power1", 0.05),
            (
                "power1_average_interval", "2000", "power_average_interval_seconds", "power1", 2
            ),
            ("humidity1_input", "550000", "humidity", "humidity1", 0.55),
            ("pwm1", "128", "pwm", "pwm1", 128),
            ("pwm1_Auto-Point", "3", "pwm_auto_point", "pwm1", 3),
            ("update_interval", "1500", "update_interval_seconds", "update_interval0", 1.5),
            ("vrm", "9.1", "voltage_regulator_version", "vrm0", 9.1),
            ("beep_enable", "1\n", "beep_enabled", "beep_enable0", 1),
            ("fan_x1y", "7", "fan_x1y", "fan0", 7),
        ])
    func elements(file: String, text: String, name: String, sensor: String, value: Double) throws {
        #expect(
            try Self.chip([file: text]) == [
                "node_hwmon_\(name){chip=\"hwmon0\",sensor=\"\(sensor)\"}": value
            ])
    }

    @Test(
        "hwmon: files that are no sensors and texts that are no numbers are left out",
        arguments: [
            ("temp1x", "1"), ("temp1_", "1"), ("1temp", "1"), ("uevent", "1"), ("voltage1", "1"),
            ("temp1_input", "N/A"), ("temp1_input", ""), ("temp1_input", " 1"),
            ("temp99999999999999999999_input", "1"), ("vrm", "x"),
        ])
    func noSensors(file: String, text: String) throws {
        #expect(try Self.chip([file: text]) == [:])
    }

    @Test("hwmon: input beside a file without an element; frequencies by their labels; labels")
    func labels() throws {
        let samples = try Self.chip([
            "pwm1": "1", "pwm1_input": "2", "freq1_input": "300000000", "freq1_label": "sClk\n",
            "freq2_input": "5", "temp1_label": "Core 0\n",
        ])
        #expect(
            samples == [
                "node_hwmon_pwm{chip=\"hwmon0\",sensor=\"pwm1\"}": 1,
                "node_hwmon_pwm_input{chip=\"hwmon0\",sensor=\"pwm1\"}": 2,
                "node_hwmon_freq_freq_mhz{chip=\"hwmon0\",sensor=\"sclk\"}": 300,
                "node_hwmon_sensor_label{chip=\"hwmon0\",label=\"sClk\",sensor=\"freq1\"}": 1,
                "node_hwmon_sensor_label{chip=\"hwmon0\",label=\"Core 0\",sensor=\"temp1\"}": 1,
            ])
    }

    /// Two chips of one device with their own names, and one beside them.
    static func twins(_ second: String) -> (
        files: [String: String], links: [String: (target: String, real: String)]
    ) {
        let device = "/sys/devices/platform/Some-Board.0"
        let files = [
            device + "/hwmon/hwmon0/name": "fans\n",
            device + "/hwmon/hwmon0/temp1_input": "1000",
            device + "/hwmon/hwmon1/name": second,
            device + "/hwmon/hwmon1/temp1_input": "2000",
            device + "/temp1_input": "3000",
            "/sys/class/hwmon/hwmon2/name": "Lone Chip\n",
            "/sys/class/hwmon/hwmon2/temp1_input": "4000",
        ]
        var links: [String: (target: String, real: String)] = [:]
        for chip in ["hwmon0", "hwmon1"] {
            links["/sys/class/hwmon/" + chip] = (
                "../../devices/platform/Some-Board.0/hwmon/" + chip, device + "/hwmon/" + chip
            )
            links[device + "/hwmon/" + chip + "/device"] = ("../../../Some-Board.0", device)
        }
        return (files, links)
    }

    @Test(
        "hwmon: chips of one device are told apart by name, otherwise by folder",
        arguments: [
            ("pumps\n", ["board_0_fans", "board_0_pumps"]),
            ("fans\n", ["board_0_hwmon0", "board_0_hwmon1"]),
        ])
    func chips(second: String, expect: [String]) throws {
        let (files, links) = Self.twins(second)
        let samples = NodeReaderTests.samples(try Self.hardware(files, links: links))
        let chips = expect.map { "platform_some_" + $0 } + ["lone_chip"]
        // A device's file goes before its chip's.
        for (chip, value) in zip(chips, [3.0, 3, 4]) {
            #expect(
                samples["node_hwmon_temp_celsius{chip=\"\(chip)\",sensor=\"temp1\"}"] == value,
                "\(chip)")
        }
        #expect(
            samples["node_hwmon_chip_names{chip=\"lone_chip\",chip_name=\"lone_chip\"}"] == 1)
        #expect(samples.count == 6)
    }

    @Test("hwmon: chips and sensors left out by their labels")
    func filters() throws {
        let (files, links) = Self.twins("pumps\n")
        let noBoard = try Self.hardware(
            files, links: links, excludesChip: { $0.hasPrefix("platform_some_board_0_") })
        #expect(NodeReaderTests.samples(noBoard).count == 2)
        let noSensor = try Self.hardware(
            files, links: links, excludesSensor: { $0 == "lone_chip;temp1" })
        #expect(NodeReaderTests.samples(noSensor).count == 5)
    }

    @Test("hwmon: no such class is no error, a circle of links no trap")
    func noHardware() throws {
        #expect(try Self.hardware(["/sys/x": ""]).isEmpty)
        let circle = try Self.hardware(
            ["/d/temp1_input": "1000", "/sys/class/hwmon/hwmon0/name": "a_b\n"],
            links: ["/sys/class/hwmon/hwmon0/device": ("device", "/d")])
        #expect(
            NodeReaderTests.samples(circle)[
                "node_hwmon_temp_celsius{chip=\"a_b\",sensor=\"temp1\"}"]
                == 1)
    }

    // MARK: - thermal_zone

    @Test("thermal_zone: negative temperatures and states; what has no value is left out")
    func thermal() throws {
        let folder = "/sys/class/thermal/"
        let tree = MemoryTree([
            folder + "thermal_zone0/type": "acpitz\n", folder + "thermal_zone0/temp": "-1500\n",
            folder + "thermal_zone1/type": "radio\n", folder + "thermal_zones/temp": "1",
            folder + "cooling_device12/type": "intel_powerclamp\n",
            folder + "cooling_device12/max_state": "50\n",
            folder + "cooling_device12/cur_state": "-1\n",
            folder + "cooling_device3/max_state": "50\n",
        ])
        let reader = ThermalReader(tree: tree, paths: NodePaths())
        #expect(reader.name == "thermal_zone")
        #expect(
            NodeReaderTests.samples(try reader.read(now: Self.now)) == [
                "node_thermal_zone_temp{type=\"acpitz\",zone=\"0\"}": -1.5,
                "node_cooling_device_cur_state{name=\"12\",type=\"intel_powerclamp\"}": -1,
                "node_cooling_device_max_state{name=\"12\",type=\"intel_powerclamp\"}": 50,
            ])
        tree.create(folder + "thermal_zone0/temp", "hot\n")
        #expect(
            throws: ReadError.malformed(
                path: folder + "thermal_zone0/temp", detail: "no whole number: hot")
        ) { try reader.read(now: Self.now) }
        let none = ThermalReader(tree: MemoryTree([:]), paths: NodePaths())
        #expect(try none.read(now: Self.now).isEmpty)
    }

    @Test(
        "a process without free descriptors says nothing of the hardware; a driver's errors leave its value out",
        arguments: [(24, true), (23, true), (12, true), (13, false), (5, false), (11, false)]
            as [(Int32, Bool)])
    func failures(errno: Int32, isError: Bool) throws {
        let files = [
            "/sys/class/thermal/thermal_zone0/temp": "1000\n",
            "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1\n",
            "/sys/class/hwmon/hwmon0/temp1_input": "1000\n",
        ]
        let tree = RefusingTree(files, refused: files.mapValues { _ in errno })
        tree.files.create("/sys/class/hwmon/hwmon0/name", "chip\n")
        let readers: [any NodeReader] = [
            ThermalReader(tree: tree, paths: NodePaths()),
            CPUFrequencyReader(tree: tree, paths: NodePaths()),
            HardwareMonitorReader(tree: tree, paths: NodePaths()),
        ]
        for reader in readers {
            let families = try? reader.read(now: Self.now)
            let names = families?.map(\.name).filter { $0 != "node_hwmon_chip_names" }
            #expect(names == (isError ? nil : []), "\(reader.name)")
        }
        let folders = ["/sys/class/thermal", "/sys/devices/system/cpu", "/sys/class/hwmon"]
        let full = RefusingTree(
            files, refused: Dictionary(uniqueKeysWithValues: folders.map { ($0, 24) }))
        for (reader, folder) in zip(
            [
                ThermalReader(tree: full, paths: NodePaths()),
                CPUFrequencyReader(tree: full, paths: NodePaths()),
                HardwareMonitorReader(tree: full, paths: NodePaths()),
            ] as [any NodeReader], folders)
        {
            #expect(
                throws: ReadError.file(FileError(operation: "list", path: folder, errno: 24))
            ) { try reader.read(now: Self.now) }
        }
    }

    // MARK: - cpufreq

    @Test("cpufreq: every file's metric, governors, CPUs that are off")
    func frequencies() throws {
        let folder = "/sys/devices/system/cpu/"
        let tree = MemoryTree([
            folder + "offline": "2-3\n", folder + "cpu2/cpufreq/scaling_cur_freq": "1\n",
            folder + "cpu10/cpufreq/cpuinfo_cur_freq": "<unknown>\n",
            folder + "cpu10/cpufreq/scaling_cur_freq": "9\n",
            folder + "cpu0/topology/core_id": "0\n", folder + "cpufreq/boost": "1\n",
            folder + "cpu1/cpufreq/cpuinfo_cur_freq": "1000\n",
            folder + "cpu1/cpufreq/cpuinfo_avg_freq": "2000\n",
            folder + "cpu1/cpufreq/cpuinfo_min_freq": "3000\n",
            folder + "cpu1/cpufreq/cpuinfo_max_freq": "4000\n",
            folder + "cpu1/cpufreq/scaling_min_freq": "5000\n",
            folder + "cpu1/cpufreq/scaling_max_freq": "6000\n",
            folder + "cpu1/cpufreq/scaling_governor": "schedutil\n",
            folder + "cpu1/cpufreq/scaling_available_governors": "ondemand schedutil \n",
        ])
        let reader = CPUFrequencyReader(tree: tree, paths: NodePaths())
        #expect(reader.name == "cpufreq")
        #expect(
            NodeReaderTests.samples(try reader.read(now: Self.now)) == [
                "node_cpu_scaling_frequency_hertz{cpu=\"10\"}": 9e3,
                "node_cpu_frequency_hertz{cpu=\"1\"}": 1e6,
                "node_cpu_frequency_avg_hertz{cpu=\"1\"}": 2e6,
                "node_cpu_frequency_min_hertz{cpu=\"1\"}": 3e6,
                "node_cpu_frequency_max_hertz{cpu=\"1\"}": 4e6,
                "node_cpu_scaling_frequency_min_hertz{cpu=\"1\"}": 5e6,
                "node_cpu_scaling_frequency_max_hertz{cpu=\"1\"}": 6e6,
                "node_cpu_scaling_governor{cpu=\"1\",governor=\"ondemand\"}": 0,
                "node_cpu_scaling_governor{cpu=\"1\",governor=\"schedutil\"}": 1,
            ])
        tree.create(folder + "cpu1/cpufreq/cpuinfo_cur_freq", "fast\n")
        #expect(
            throws: ReadError.malformed(
                path: folder + "cpu1/cpufreq/cpuinfo_cur_freq", detail: "no frequency: fast")
        ) { try reader.read(now: Self.now) }
        let none = CPUFrequencyReader(tree: MemoryTree([:]), paths: NodePaths())
        #expect(try none.read(now: Self.now).isEmpty)
    }

    @Test("cpufreq: a long list of CPUs that are off")
    func offline() throws {
        let folder = "/sys/devices/system/cpu/"
        let odd = stride(from: 1, to: 256, by: 2).map { "\($0)" }.joined(separator: ",")
        let tree = MemoryTree([
            folder + "offline": odd + "\n", folder + "cpu254/cpufreq/scaling_cur_freq": "1\n",
            folder + "cpu255/cpufreq/scaling_cur_freq": "1\n",
        ])
        let reader = CPUFrequencyReader(tree: tree, paths: NodePaths())
        #expect(
            NodeReaderTests.samples(try reader.read(now: Self.now)) == [
                "node_cpu_scaling_frequency_hertz{cpu=\"254\"}": 1000
            ])
    }
}
