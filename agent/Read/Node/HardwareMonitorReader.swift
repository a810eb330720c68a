package import Model
package import World

/// Temperatures, fans, voltages and other sensors of the chips in `/sys/class/hwmon`, as lm-sensors reads them.
///
/// A chip is named after its device, `platform_coretemp_0`, otherwise after its `name` file, otherwise after its folder.
/// Chips of one device get their `name` file's content as a suffix, or their folder's name where that is no better.
/// Source: node_exporter 1.12 `hwmon_linux.go`.
package struct HardwareMonitorReader: NodeReader {
    package let name = "hwmon"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let excludesChip: @Sendable (String) -> Bool
    private let excludesSensor: @Sendable (String) -> Bool

    /// `excludesChip` leaves out chips by the label `chip`, `excludesSensor` sensors by `chip;sensor`; none by default, as
    /// in node_exporter. They are `--collector.hwmon.chip-include`, `chip-exclude`, `sensor-include`, `sensor-exclude`.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        excludesChip: @escaping @Sendable (String) -> Bool = { _ in false },
        excludesSensor: @escaping @Sendable (String) -> Bool = { _ in false }
    ) {
        self.tree = tree
        self.paths = paths
        self.excludesChip = excludesChip
        self.excludesSensor = excludesSensor
    }

    /// Volts, degrees Celsius, amperes, watts, joules, revolutions per minute. None where the host has no such chip; a
    /// chip that goes away meanwhile and a sensor that can't be read are left out. Throws `file` where the folder of the
    /// chips is there and can't be listed.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var metrics = SensorMetrics()
        for chip in try chips() {
            let label = chip.label
            guard !excludesChip(label) else { continue }
            if let title = chip.title.map(Self.cleaned), !title.isEmpty {
                metrics.add(
                    "node_hwmon_chip_names",
                    help: "Annotation metric for human-readable chip names",
                    .two("chip", label, "chip_name", title), 1)
            }
            for sensor in try sensors(chip) where !excludesSensor(label + ";" + sensor.name) {
                metrics.add(sensor, chip: label)
            }
        }
        return metrics.families
    }

    // MARK: - Chips

    private struct Chip {
        /// The folder of the chip, and the names in it.
        var path: String
        var files: [String]
        /// The names in the folder of its device; none where it has no such folder.
        var deviceFiles: [String]
        /// What its `name` file says.
        var title: String?
        /// The label `chip`.
        var label: String
    }

    /// By the folders' names; labels are made different where they would be the same.
    private func chips() throws(ReadError) -> [Chip] {
        let folder = paths.sys("class/hwmon")
        var chips: [(entry: String, chip: Chip)] = []
        for entry in try tree.presentEntries(folder) {
            let path = folder + "/" + entry
            let files = try tree.presentEntries(path)
            guard !files.isEmpty else { continue }
            let title = files.contains("name") ? try tree.sysText(path + "/name") : nil
            let deviceFiles =
                files.contains("device") ? try tree.presentEntries(path + "/device") : []
            let label =
                (deviceFiles.isEmpty ? nil : deviceName(path))
                ?? title.map(Self.cleaned).flatMap { $0.isEmpty ? nil : $0 }
                ?? resolved(path)?.last.map(Self.cleaned) ?? ""
            guard !label.isEmpty else { continue }
            chips.append(
                (
                    entry,
                    Chip(
                        path: path, files: files, deviceFiles: deviceFiles, title: title,
                        label: label)
                ))
        }
        let counts = Dictionary(chips.map { ($0.chip.label, 1) }, uniquingKeysWith: +)
        let titleCounts = Dictionary(
            chips.map { ([$0.chip.label, $0.chip.title ?? ""], 1) }, uniquingKeysWith: +)
        return chips.map { entry, chip in
            guard counts[chip.label, default: 1] > 1 else { return chip }
            let title = chip.title ?? ""
            let isTold = titleCounts[[chip.label, title], default: 1] == 1
            var suffix = isTold ? Self.cleaned(title) : ""
            if suffix.isEmpty { suffix = Self.cleaned(entry) }
            var chip = chip
            chip.label += "_" + suffix
            return chip
        }
    }

    /// The last two names of the path of a chip's device: its bus and itself. Nil where nothing of them can be used.
    private func deviceName(_ chip: String) -> String? {
        guard let parts = resolved(chip + "/device"), let last = parts.last else { return nil }
        let device = Self.cleaned(last)
        let bus = parts.dropLast().last.map(Self.cleaned) ?? ""
        guard !device.isEmpty else { return nil }
        return bus.isEmpty ? device : bus + "_" + device
    }

    /// Links to follow on one path, as the kernel's own bound.
    private static let linksMax = 40

    /// The parts of a path below sysfs without symbolic links; nil where there are too many of them.
    private func resolved(_ path: String) -> [String]? {
        var root = paths.sysfs
        var done: [String] = []
        var rest = Self.parts(String(path.dropFirst(root.count)))
        var linkCount = 0
        while !rest.isEmpty {
            let part = rest.removeFirst()
            guard part != ".." else {
                _ = done.popLast()
                continue
            }
            done.append(part)
            guard let target = try? tree.readLink(root + "/" + done.joined(separator: "/")) else {
                continue
            }
            linkCount += 1
            guard linkCount <= Self.linksMax else { return nil }
            done.removeLast()
            if target.utf8.first == UInt8(ascii: "/") { (root, done) = ("", []) }
            rest = Self.parts(target) + rest
        }
        return Self.parts(root) + done
    }

    private static func parts(_ path: String) -> [String] {
        path.split(separator: "/").filter { $0 != "." }.map(String.init)
    }

    /// A text as a part of names: small letters, digits, `:` and `_`, no `_` at its ends.
    static func cleaned(_ text: String) -> String {
        let bytes = text.unicodeScalars.map { scalar -> UInt8 in
            switch scalar {
            case "a"..."z", "0"..."9", ":": UInt8(truncatingIfNeeded: scalar.value)
            case "A"..."Z": UInt8(truncatingIfNeeded: scalar.value | 0x20)
            default: UInt8(ascii: "_")
            }
        }
        let isUnderscore = { (byte: UInt8) in byte == UInt8(ascii: "_") }
        guard let first = bytes.firstIndex(where: { !isUnderscore($0) }),
            let last = bytes.lastIndex(where: { !isUnderscore($0) })
        else { return "" }
        return String(decoding: bytes[first...last], as: UTF8.self)
    }

    // MARK: - Sensors

    /// The sensors of a chip by name; a file of the device goes before one of the chip.
    private func sensors(_ chip: Chip) throws(ReadError) -> [HardwareSensor] {
        var sensors: [String: HardwareSensor] = [:]
        for (path, files) in [(chip.path, chip.files), (chip.path + "/device", chip.deviceFiles)] {
            for file in files {
                guard let part = SensorFile(file),
                    let bytes = try tree.sysAttribute(path + "/" + file)
                else { continue }
                let text = ProcText.string(SensorFile.withoutLineEnds(bytes))
                sensors[part.sensor, default: HardwareSensor(name: part.sensor, type: part.type)]
                    .elements[part.element] = text
            }
        }
        return sensors.values.sorted { bytesPrecede($0.name, $1.name) }
    }
}
