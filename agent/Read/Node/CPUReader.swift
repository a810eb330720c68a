package import Model
import Synchronization
package import World

/// Time per CPU and mode from `/proc/stat`, throttling and isolation from sysfs; CPU information where asked for.
/// Source: node_exporter 1.12 `cpu_linux.go`.
package struct CPUReader: NodeReader {
    /// What beside the times is read; node_exporter's `--collector.cpu.info` and its includes, which filter by name here.
    package struct Options: Sendable {
        package var hasInfo: Bool
        /// The present frequencies beside the information, as where node_exporter's cpufreq runs too.
        package var hasFrequency: Bool
        package var includesFlag: (@Sendable (String) -> Bool)?
        package var includesBug: (@Sendable (String) -> Bool)?

        package init(
            hasInfo: Bool = false, hasFrequency: Bool = false,
            includesFlag: (@Sendable (String) -> Bool)? = nil,
            includesBug: (@Sendable (String) -> Bool)? = nil
        ) {
            self.hasInfo = hasInfo
            self.hasFrequency = hasFrequency
            self.includesFlag = includesFlag
            self.includesBug = includesBug
        }
    }

    package let name = "cpu"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let options: Options
    private let memory = CPUTimes()
    /// Where each CPU that was ever on line is: it stays there.
    private let places = KeptReadings<CPUPlace>()

    package init(tree: any WorldFileTree, paths: NodePaths, options: Options = Options()) {
        self.tree = tree
        self.paths = paths
        self.options = options
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families = try times()
        if options.hasInfo { families += try information() }
        if let isolated = try isolated() { families.append(isolated) }
        families += try throttles()
        return families
    }

    private static let modes = [
        "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
    ]
    /// `/proc/stat` counts in USER_HZ, which is 100 on every Linux architecture that a server has.
    private static let ticksPerSecond = 100.0

    private func times() throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("stat"))
        var seconds = MetricFamily(
            "node_cpu_seconds_total", .counter, help: "Seconds the CPUs spent in each mode.")
        var guest = MetricFamily(
            "node_cpu_guest_seconds_total", .counter,
            help: "Seconds the CPUs spent in guests (VMs) for each mode.")
        ProcText.forEachLine(bytes) { line in
            guard ProcText.hasPrefix(line, "cpu"), line.dropFirst(3).first != 32 else { return }
            let fields = ProcText.fields(line)
            let cpu = ProcText.string(fields[0].dropFirst(3))
            let ticks = memory.advance(
                cpu: cpu, to: fields.dropFirst().prefix(10).map { ProcText.unsigned($0) ?? 0 })
            for (index, mode) in Self.modes.enumerated() where index < ticks.count {
                seconds.points.append(
                    .init(
                        .two("cpu", cpu, "mode", mode), Double(ticks[index]) / Self.ticksPerSecond))
            }
            for (offset, mode) in ["user", "nice"].enumerated() where ticks.count > 8 + offset {
                guest.points.append(
                    .init(
                        .two("cpu", cpu, "mode", mode),
                        Double(ticks[8 + offset]) / Self.ticksPerSecond))
            }
        }
        guard !seconds.points.isEmpty else {
            throw .malformed(path: paths.proc("stat"), detail: "no cpu line")
        }
        return [seconds, guest]
    }

    private func isolated() throws(ReadError) -> MetricFamily? {
        guard let text = try tree.firstLine(paths.sys("devices/system/cpu/isolated")) else {
            return nil
        }
        return MetricFamily(
            "node_cpu_isolated", .gauge,
            help:
                "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
            points: ProcText.list(Array(text.utf8)[...]).map { .init(.one("cpu", "\($0)"), 1) })
    }

    /// Packages and cores are read once each: their CPUs share the counter.
    private func throttles() throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("devices/system/cpu")
        var cores = MetricFamily(
            "node_cpu_core_throttles_total", .counter,
            help: "Number of times this CPU core has been throttled.")
        var packages = MetricFamily(
            "node_cpu_package_throttles_total", .counter,
            help: "Number of times this CPU package has been throttled.")
        var seenCores: Set<CPUPlace> = []
        var seenPackages: Set<UInt64> = []
        for name in try tree.presentEntries(folder) where name.numbered("cpu") != nil {
            let cpu = folder + "/" + name
            let place = try places.value(name) { () throws(ReadError) in try self.place(of: cpu) }
            guard let place else { continue }
            if !seenCores.contains(place),
                let count = try tree.number(cpu + "/thermal_throttle/core_throttle_count")
            {
                seenCores.insert(place)
                cores.points.append(
                    .init(
                        .two("core", "\(place.core)", "package", "\(place.package)"),
                        Double(count)))
            }
            if !seenPackages.contains(place.package),
                let count = try tree.number(cpu + "/thermal_throttle/package_throttle_count")
            {
                seenPackages.insert(place.package)
                packages.points.append(.init(.one("package", "\(place.package)"), Double(count)))
            }
        }
        return [cores, packages]
    }

    /// nil where the CPU is off.
    private func place(of cpu: String) throws(ReadError) -> CPUPlace? {
        guard let package = try tree.number(cpu + "/topology/physical_package_id"),
            let core = try tree.number(cpu + "/topology/core_id")
        else { return nil }
        return CPUPlace(package: package, core: core)
    }

    private func information() throws(ReadError) -> [MetricFamily] {
        let bytes = try tree.bytes(paths.proc("cpuinfo"))
        var info = MetricFamily(
            "node_cpu_info", .gauge, help: "CPU information from /proc/cpuinfo.")
        var flags = MetricFamily(
            "node_cpu_flag_info", .gauge,
            help:
                "The `flags` field of CPU information from /proc/cpuinfo taken from the first core."
        )
        var bugs = MetricFamily(
            "node_cpu_bug_info", .gauge,
            help:
                "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.")
        var frequency = MetricFamily(
            "node_cpu_frequency_hertz", .gauge, help: "CPU frequency in hertz from /proc/cpuinfo.")
        var labels: [Label] = []
        var megahertz: Double?
        func finishCPU() {
            guard !labels.isEmpty else { return }
            info.points.append(.init(Labels(labels), 1))
            if let megahertz {
                let place = labels.filter { ["core", "cpu", "package"].contains($0.name) }
                frequency.points.append(.init(Labels(place), megahertz * 1e6))
            }
            labels = []
            megahertz = nil
        }
        ProcText.forEachLine(bytes) { line in
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return }
            let key = ProcText.trimmed(line[..<colon])
            let value = ProcText.trimmed(line[(colon + 1)...])
            if ProcText.equals(key, "processor") { finishCPU() }
            if let label = Self.infoLabels[ProcText.string(key)] {
                labels.append(Label(label, ProcText.string(value)))
            }
            if options.hasFrequency, ProcText.equals(key, "cpu MHz") {
                megahertz = ProcText.decimal(value)
            }
            guard info.points.isEmpty else { return }
            if ProcText.equals(key, "flags"), let includes = options.includesFlag {
                flags.points += Self.points("flag", value, includes)
            }
            if ProcText.equals(key, "bugs"), let includes = options.includesBug {
                bugs.points += Self.points("bug", value, includes)
            }
        }
        finishCPU()
        return [info, frequency, flags, bugs]
    }

    private static func points(
        _ label: String, _ value: ArraySlice<UInt8>, _ includes: (String) -> Bool
    ) -> [MetricFamily.Point] {
        ProcText.fields(value).map(ProcText.string).filter(includes).map {
            .init(.one(label, $0), 1)
        }
    }

    private static let infoLabels = [
        "processor": "cpu", "vendor_id": "vendor", "cpu family": "family", "model": "model",
        "model name": "model_name", "stepping": "stepping", "microcode": "microcode",
        "cache size": "cachesize", "physical id": "package", "core id": "core",
    ]
}

/// The package of a CPU and its core in that.
private struct CPUPlace: Hashable {
    var package: UInt64
    var core: UInt64
}

/// The highest ticks seen per CPU: the kernel's idle and iowait may step back a little, and a counter must not.
/// A step back of idle by 3 s or more is a CPU that was unplugged: its counters begin anew.
final class CPUTimes: Sendable {
    private let seen = Mutex<[String: [UInt64]]>([:])
    private static let idle = 3
    private static let jumpBackTicks: UInt64 = 300

    /// Ticks per mode that never go back between calls; `ticks` as `/proc/stat` orders them.
    func advance(cpu: String, to ticks: [UInt64]) -> [UInt64] {
        seen.withLock { seen in
            guard var known = seen[cpu], known.count == ticks.count, ticks.count > Self.idle,
                known[Self.idle] < ticks[Self.idle] &+ Self.jumpBackTicks
            else {
                seen[cpu] = ticks
                return ticks
            }
            for index in ticks.indices { known[index] = max(known[index], ticks[index]) }
            seen[cpu] = known
            return known
        }
    }
}
