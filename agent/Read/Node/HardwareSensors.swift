import Model

/// The name of a sensor's file, `temp1_crit_alarm`: type, number, and what of the sensor is in it.
/// Source: node_exporter 1.12 `explodeSensorFilename`; Linux `Documentation/hwmon/sysfs-interface.rst`.
struct SensorFile: Equatable {
    var type: String
    /// Type and number, 0 where there is none: `temp1`, `beep_enable0`.
    var sensor: String
    /// `crit_alarm`; empty where the name says no more.
    var element: String

    /// Nil where the file is no sensor's.
    init?(_ file: String) {
        let name = Array(file.utf8)
        let digits = name.firstIndex { Self.isDigit($0) } ?? name.endIndex
        let end = name[digits...].firstIndex { !Self.isDigit($0) } ?? name.endIndex
        var number: UInt64 = 0
        if end == name.endIndex || (name[end] == Self.underscore && end + 1 < name.endIndex) {
            type = ProcText.string(name[..<digits])
            element = ProcText.string(name[end...].dropFirst())
            if digits < end {
                guard let told = ProcText.unsigned(name[digits..<end]), told <= UInt64(Int.max)
                else { return nil }
                number = told
            }
        } else if let cut = name[..<digits].lastIndex(of: Self.underscore) {
            // `fan_x1y` is no fan_x: the number belongs to the element.
            type = ProcText.string(name[..<cut])
            element = ProcText.string(name[(cut + 1)...])
        } else {
            return nil
        }
        guard Self.types.contains(type) else { return nil }
        sensor = "\(type)\(number)"
    }

    private static let underscore = UInt8(ascii: "_")
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    private static let types: Set<String> = [
        "vrm", "beep_enable", "update_interval", "in", "cpu", "fan", "pwm", "temp", "curr", "power",
        "energy", "humidity", "intrusion", "freq",
    ]

    static func withoutLineEnds(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        guard let first = bytes.firstIndex(where: { $0 != 10 }),
            let last = bytes.lastIndex(where: { $0 != 10 })
        else { return [] }
        return bytes[first...last]
    }
}

/// What the files of one sensor say.
struct HardwareSensor {
    var name: String
    var type: String
    /// Element → content; `input` is the value, the empty element a file without one.
    var elements: [String: String] = [:]
}

/// The families of all sensors, in the order in which they come up.
struct SensorMetrics {
    private(set) var families: [MetricFamily] = []
    private var indexes: [String: Int] = [:]
    private var seen: [Set<Labels>] = []

    /// What the kernel counts in; the metrics are in base units.
    private enum Unit {
        case one, thousandth, millionth

        /// A raw value in the base unit, rounded as node_exporter rounds it.
        func of(_ raw: Double) -> Double {
            switch self {
            case .one: raw
            case .thousandth: raw * 0.001
            case .millionth: raw / 1_000_000
            }
        }
    }

    /// One element's metric.
    private struct Metric {
        var name: String
        var help: String
        var unit = Unit.one
        var type = MetricType.gauge
    }

    /// Adds a point; the first of two with the same labels stands, and the first help of a name.
    mutating func add(
        _ name: String, type: MetricType = .gauge, help: String, _ labels: Labels, _ value: Double
    ) {
        let index = indexes[name] ?? families.count
        if index == families.count {
            indexes[name] = index
            families.append(MetricFamily(name, type, help: help))
            seen.append([])
        }
        guard seen[index].insert(labels).inserted else { return }
        families[index].points.append(.init(labels, value))
    }

    /// Adds all of a sensor; what is no number is left out.
    mutating func add(_ sensor: HardwareSensor, chip: String) {
        let labels = Labels.two("chip", chip, "sensor", sensor.name)
        if let label = sensor.elements["label"] {
            add(
                "node_hwmon_sensor_label", help: "Label for given chip and sensor",
                labels.setting("label", label), 1)
        }
        let plain = sensor.elements[""]
        switch sensor.type {
        case "beep_enable":
            add(
                "node_hwmon_beep_enabled", help: "Hardware beep enabled", labels,
                plain == "1" ? 1 : 0)
        case "vrm":
            guard let value = plain.flatMap(Self.number) else { return }
            add(
                "node_hwmon_voltage_regulator_version", help: "Hardware voltage regulator", labels,
                value)
        case "update_interval":
            guard let value = plain.flatMap(Self.number) else { return }
            add(
                "node_hwmon_update_interval_seconds", help: "Hardware monitor update interval",
                labels, value * 0.001)
        default: addElements(sensor, labels)
        }
    }

    private mutating func addElements(_ sensor: HardwareSensor, _ labels: Labels) {
        for element in sensor.elements.keys.sorted(by: bytesPrecede) where element != "label" {
            guard let value = sensor.elements[element].flatMap(Self.number) else { continue }
            var name = "node_hwmon_" + sensor.type
            if element == "input" {
                // The value itself, unless a file without an element is that.
                if sensor.elements[""] != nil { name += "_input" }
            } else if !element.isEmpty {
                name += "_" + HardwareMonitorReader.cleaned(element)
            }
            if sensor.type == "freq", element == "input" {
                guard let label = sensor.elements["label"] else { continue }
                add(
                    name + "_freq_mhz", help: "Hardware monitor for GPU frequency in MHz",
                    labels.setting("sensor", HardwareMonitorReader.cleaned(label)),
                    value / 1_000_000)
                continue
            }
            let metric = Self.metric(name, sensor.type, element)
            add(metric.name, type: metric.type, help: metric.help, labels, metric.unit.of(value))
        }
    }

    /// The metric of an element that is neither a label nor a frequency.
    private static func metric(_ name: String, _ type: String, _ element: String) -> Metric {
        switch (type, element) {
        case (_, "fault"), (_, "alarm"):
            Metric(name: name, help: "Hardware sensor \(element) status (\(type))")
        case (_, "beep"):
            Metric(
                name: name + "_enabled", help: "Hardware monitor sensor has beeping enabled")
        case ("in", _), ("cpu", _):
            Metric(
                name: name + "_volts", help: "Hardware monitor for voltage (\(element))",
                unit: .thousandth)
        case ("temp", let element) where element != "type":
            Metric(
                name: name + "_celsius",
                help:
                    "Hardware monitor for temperature (\(element.isEmpty ? "input" : element))",
                unit: .thousandth)
        case ("curr", _):
            Metric(
                name: name + "_amps", help: "Hardware monitor for current (\(element))",
                unit: .thousandth)
        case ("energy", _):
            Metric(
                name: name + "_joule_total",
                help: "Hardware monitor for joules used so far (\(element))", unit: .millionth,
                type: .counter)
        case ("power", "accuracy"):
            Metric(
                name: name, help: "Hardware monitor power meter accuracy, as a ratio",
                unit: .millionth)
        case ("power", "average_interval"), ("power", "average_interval_min"),
            ("power", "average_interval_max"):
            Metric(
                name: name + "_seconds",
                help: "Hardware monitor power usage update interval (\(element))",
                unit: .thousandth)
        case ("power", _):
            Metric(
                name: name + "_watt",
                help: "Hardware monitor for power usage in watts (\(element))", unit: .millionth)
        case ("humidity", _):
            Metric(
                name: name,
                help: "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the "
                    + "humidity as a percentage) (\(element))", unit: .millionth)
        case ("fan", "input"), ("fan", "min"), ("fan", "max"), ("fan", "target"):
            Metric(
                name: name + "_rpm",
                help: "Hardware monitor for fan revolutions per minute (\(element))")
        default: Metric(name: name, help: "Hardware monitor \(type) element \(element)")
        }
    }

    private static func number(_ text: String) -> Double? {
        guard let value = Double(text), value.isFinite else { return nil }
        return value
    }
}
