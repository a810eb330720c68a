import Model

extension ControlGroupStatistics {
    /// Reads at most 13 files of version 2, 24 of version 1.
    ///
    /// With `last` a cgroup that has not run since costs four: without CPU time its processes, their waiting for CPU
    /// and memory, and the events of its limit stay what they were, and so do the parts of its memory while the sum is the
    /// same (but for pages that the kernel takes for inactive meanwhile). Devices and the waiting for them go on. Without
    /// `isFull` neither processes nor what is waited for are read.
    static func read(
        _ groups: ControlGroups, isContainer: Bool, isFull: Bool, last: ControlGroupStatistics?,
        _ files: inout ControlGroupFiles
    ) throws(ReadError) -> ControlGroupStatistics {
        var statistics = ControlGroupStatistics()
        try statistics.readProcessor(groups, &files)
        let last = last.flatMap { last in
            let usage = statistics.processor?.usage
            return usage != nil && usage == last.processor?.usage ? last : nil
        }
        if let root = groups.root(.memory) {
            try statistics.readMemory(root, last: last?.memory, &files)
        } else if let root = groups.legacyRoot("memory") {
            try statistics.readLegacyMemory(root, last: last?.memory, &files)
        }
        if let root = groups.root(.io) {
            try statistics.readDevices(root, &files)
        } else if let root = groups.legacyRoot("blkio") {
            try statistics.readLegacyDevices(root, &files)
        }
        if isFull { statistics.ioPressure = try pressure(groups.unified, "io.pressure", &files) }
        if let last {
            statistics.threads = last.threads
            statistics.processes = last.processes
            statistics.firstProcess = last.firstProcess
            statistics.processorPressure = last.processorPressure
            statistics.memoryPressure = last.memoryPressure
        } else {
            statistics.threads = try files.number(
                groups.root(.pids) ?? groups.legacyRoot("pids"), "pids.current")
        }
        if isFull, last == nil {
            try statistics.readProcesses(groups, isContainer: isContainer, &files)
            statistics.processorPressure = try pressure(groups.unified, "cpu.pressure", &files)
            statistics.memoryPressure = try pressure(groups.unified, "memory.pressure", &files)
        }
        return statistics
    }

    // MARK: CPU

    private mutating func readProcessor(
        _ groups: ControlGroups, _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        let accounts = groups.legacyRoot("cpuacct")
        if let usage = try files.number(accounts, "cpuacct.usage") {
            // Ticks are of USER_HZ, 100 a second.
            let ticks = try files.values(accounts, "cpuacct.stat", ["user", "system"]) ?? []
            processor = Processor(
                usage: usage, user: (ticks.value(0) ?? 0) &* 10_000_000,
                system: (ticks.value(1) ?? 0) &* 10_000_000)
        }
        if let root = groups.legacyRoot("cpu"), groups.root(.cpu) == nil {
            if let values = try files.values(
                root, "cpu.stat", ["nr_periods", "nr_throttled", "throttled_time"])
            {
                throttling = Throttling(
                    periods: values.value(0) ?? 0, throttledPeriods: values.value(1) ?? 0,
                    throttled: values.value(2) ?? 0)
            }
            // A hybrid's unit without accounting still has its time in version 2's tree.
            guard processor == nil else { return }
        }
        let keys: [StaticString] = [
            "usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled",
            "throttled_usec",
        ]
        guard let root = groups.unified, let values = try files.values(root, "cpu.stat", keys)
        else { return }
        guard let usage = values.value(0) else {
            throw .malformed(path: files.path(root, "cpu.stat"), detail: "no usage_usec")
        }
        if processor == nil {
            processor = Processor(
                usage: usage &* 1000, user: (values.value(1) ?? 0) &* 1000,
                system: (values.value(2) ?? 0) &* 1000)
        }
        if throttling == nil, let periods = values.value(3) {
            throttling = Throttling(
                periods: periods, throttledPeriods: values.value(4) ?? 0,
                throttled: (values.value(5) ?? 0) &* 1000)
        }
    }

    // MARK: Memory

    private mutating func readMemory(
        _ root: String, last: Memory?, _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        guard let usage = try files.number(root, "memory.current") else { return }
        if let last, last.usage == usage {
            memory = last
            return
        }
        let parts =
            try files.values(root, "memory.stat", ["anon", "file", "inactive_file"]) ?? []
        let events = try files.values(root, "memory.events", ["high", "max", "oom_kill"]) ?? []
        let inactive = parts.value(2) ?? 0
        memory = Memory(
            usage: usage, workingSet: usage < inactive ? 0 : usage - inactive,
            anonymous: parts.value(0) ?? 0, cache: parts.value(1) ?? 0,
            swap: try files.number(root, "memory.swap.current") ?? 0,
            failures: events.value(1), kills: events.value(2), high: events.value(0),
            max: events.value(1))
    }

    /// `total_…` counts the cgroups below too, as version 2 does.
    private mutating func readLegacyMemory(
        _ root: String, last: Memory?, _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        guard let usage = try files.number(root, "memory.usage_in_bytes") else { return }
        if let last, last.usage == usage {
            memory = last
            return
        }
        let keys: [StaticString] = [
            "total_rss", "total_cache", "total_inactive_file", "total_swap",
        ]
        let parts = try files.values(root, "memory.stat", keys) ?? []
        let inactive = parts.value(2) ?? 0
        memory = Memory(
            usage: usage, workingSet: usage < inactive ? 0 : usage - inactive,
            anonymous: parts.value(0) ?? 0, cache: parts.value(1) ?? 0,
            swap: parts.value(3) ?? 0, failures: try files.number(root, "memory.failcnt"),
            kills: try files.values(root, "memory.oom_control", ["oom_kill"])?.value(0))
    }

    // MARK: Block devices

    /// Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. Kernels of 5.x and 6.x leave out the line's end after a device
    /// that has nothing to say: `8:16 8:0 rbytes=…`.
    private mutating func readDevices(
        _ root: String, _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        guard let bytes = try files.bytes(root, "io.stat") else { return }
        var found: [Device] = []
        var isMalformed = false
        ProcText.forEachLine(bytes) { line in
            var device = Device(number: "")
            var hasValue = false
            for field in ProcText.fields(line) {
                guard let equals = field.firstIndex(of: UInt8(ascii: "=")) else {
                    device = Device(number: ProcText.string(field))
                    hasValue = false
                    continue
                }
                let key = field[..<equals]
                let part: WritableKeyPath<Device, UInt64?>
                if ProcText.equals(key, "rbytes") {
                    part = \.readBytes
                } else if ProcText.equals(key, "wbytes") {
                    part = \.writtenBytes
                } else if ProcText.equals(key, "rios") {
                    part = \.reads
                } else if ProcText.equals(key, "wios") {
                    part = \.writes
                } else {
                    continue
                }
                let value = ProcText.unsigned(field[(equals + 1)...])
                isMalformed = isMalformed || value == nil
                device[keyPath: part] = value
                hasValue = true
            }
            if hasValue, !device.number.isEmpty { found.append(device) }
        }
        guard !isMalformed else {
            throw .malformed(path: files.path(root, "io.stat"), detail: "no number")
        }
        devices = found
    }

    /// Which pairs of files count is up to the scheduler; the first pair with a device is taken.
    /// Source: opencontainers/cgroups 0.0.6 `fs/blkio.go`.
    private static let legacyFamilies = [
        "blkio.bfq.io_service%_recursive", "blkio.io_service%_recursive",
        "blkio.throttle.io_service%_recursive", "blkio.throttle.io_service%",
    ]

    private mutating func readLegacyDevices(
        _ root: String, _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        for family in Self.legacyFamilies {
            let parts = family.split(separator: "%", omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            var found: [String: Device] = [:]
            try Self.addLegacy(
                root, parts[0] + "d" + parts[1], \.reads, \.writes, to: &found, &files)
            guard !found.isEmpty else { continue }
            try Self.addLegacy(
                root, parts[0] + "_bytes" + parts[1], \.readBytes, \.writtenBytes, to: &found,
                &files)
            devices = found.values.sorted { bytesPrecede($0.number, $1.number) }
            return
        }
    }

    /// Lines `8:0 Read 123`, `8:0 Write 4`, others of the same shape, and `Total 5` at the end.
    private static func addLegacy(
        _ root: String, _ name: String, _ read: WritableKeyPath<Device, UInt64?>,
        _ write: WritableKeyPath<Device, UInt64?>, to found: inout [String: Device],
        _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        guard let bytes = try files.bytes(root, name) else { return }
        var devices = found
        var isMalformed = false
        ProcText.forEachLine(bytes) { line in
            let fields = ProcText.fields(line)
            guard fields.count == 3 else { return }
            let part: WritableKeyPath<Device, UInt64?>
            if ProcText.equals(fields[1], "Read") {
                part = read
            } else if ProcText.equals(fields[1], "Write") {
                part = write
            } else {
                return
            }
            let number = ProcText.string(fields[0])
            let value = ProcText.unsigned(fields[2])
            isMalformed = isMalformed || value == nil
            devices[number, default: Device(number: number)][keyPath: part] = value
        }
        guard !isMalformed else {
            throw .malformed(path: files.path(root, name), detail: "no number")
        }
        found = devices
    }

    // MARK: Processes and pressure

    /// A process 0 is one of another namespace. A container with systemd or Docker within it has its processes one
    /// level below, where they give the network alone.
    private mutating func readProcesses(
        _ groups: ControlGroups, isContainer: Bool, _ files: inout ControlGroupFiles
    ) throws(ReadError) {
        for root in [groups.legacyRoot("cpu"), groups.legacyRoot("systemd"), groups.unified] {
            guard let own = try files.bytes(root, "cgroup.procs") else { continue }
            let (count, first) = Self.processes(own)
            processes = count
            firstProcess = first
            guard first == nil, isContainer else { return }
            for child in ["init.scope", "init"] where firstProcess == nil {
                let below = try files.bytes(root, child + "/cgroup.procs")
                firstProcess = below.flatMap { Self.processes($0).first }
            }
            return
        }
    }

    private static func processes(_ bytes: [UInt8]) -> (count: Int, first: UInt64?) {
        var count = 0
        var first: UInt64?
        ProcText.forEachLine(bytes) { line in
            count += 1
            if first == nil, let pid = ProcText.unsigned(line), pid > 0 { first = pid }
        }
        return (count, first)
    }

    /// Lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=123` and `full …`.
    private static func pressure(
        _ root: String?, _ name: String, _ files: inout ControlGroupFiles
    ) throws(ReadError) -> Pressure? {
        guard let root, let bytes = try files.bytes(root, name) else { return nil }
        var pressure = Pressure()
        var isMalformed = false
        ProcText.forEachLine(bytes) { line in
            let isSome = ProcText.hasPrefix(line, "some ")
            guard isSome || ProcText.hasPrefix(line, "full ") else { return }
            let total = line.lastIndex(of: UInt8(ascii: "=")).flatMap {
                ProcText.unsigned(line[($0 + 1)...])
            }
            isMalformed = isMalformed || total == nil
            if isSome { pressure.some = total } else { pressure.full = total }
        }
        guard !isMalformed else {
            throw .malformed(path: files.path(root, name), detail: "no total")
        }
        return pressure
    }
}

extension [UInt64?] {
    /// The element; nil past the end too.
    fileprivate func value(_ index: Int) -> UInt64? { indices.contains(index) ? self[index] : nil }
}
