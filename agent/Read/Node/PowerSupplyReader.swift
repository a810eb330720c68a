package import Model
package import World

/// Batteries and mains adapters from `/sys/class/power_supply`.
/// Source: node_exporter 1.12 `powersupplyclass_linux.go`; procfs `sysfs/class_power_supply.go`.
package struct PowerSupplyReader: NodeReader {
    package let name = "powersupplyclass"
    private let files: DeviceFiles
    private let paths: NodePaths
    private let excludes: @Sendable (String) -> Bool

    /// `excludes` is node_exporter's `--collector.powersupply.ignored-supplies`, by a supply's name; none by default.
    package init(
        tree: any WorldFileTree, paths: NodePaths,
        excludes: @escaping @Sendable (String) -> Bool = { _ in false }
    ) {
        files = DeviceFiles(tree: tree)
        self.paths = paths
        self.excludes = excludes
    }

    /// No families where the host has no supplies. A supply has the files that its driver has values for.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families = Self.values.map {
            MetricFamily(
                "node_power_supply_\($0.name)", .gauge,
                help: "\($0.name) value of /sys/class/power_supply/<power_supply>.")
        }
        var info = MetricFamily(
            "node_power_supply_info", .gauge,
            help: "info of /sys/class/power_supply/<power_supply>.")
        let root = paths.sys("class/power_supply")
        for supply in try files.entries(root) where !excludes(supply) {
            let path = "\(root)/\(supply)"
            let entries = Set(try files.entries(path))
            let labels = Labels.one("power_supply", supply)
            for (index, value) in Self.values.enumerated() where entries.contains(value.file) {
                guard let number = try files.signed("\(path)/\(value.file)") else { continue }
                families[index].points.append(.init(labels, Double(number) / value.divisor))
            }
            var facts = ["power_supply": supply]
            for file in Self.facts where entries.contains(file) {
                facts[file] = try files.text("\(path)/\(file)")
            }
            info.points.append(.init(Labels(facts), 1))
        }
        return (families + [info]).filter { !$0.points.isEmpty }
    }

    /// A file of a number; the value is the number divided by `divisor`.
    private struct Value {
        var file: String
        var name: String
        var divisor: Double
    }

    /// Counts and percentages as they are, microvolts and their like by a million, tenths of degrees Celsius by ten.
    private static let values: [Value] =
        [
            ("authentic", "authentic"), ("calibrate", "calibrate"), ("capacity", "capacity"),
            ("capacity_alert_max", "capacity_alert_max"),
            ("capacity_alert_min", "capacity_alert_min"), ("cycle_count", "cyclecount"),
            ("online", "online"), ("present", "present"),
            ("time_to_empty_now", "time_to_empty_seconds"),
            ("time_to_full_now", "time_to_full_seconds"),
        ].map { Value(file: $0.0, name: $0.1, divisor: 1) }
        + [
            ("current_now", "current_ampere"), ("energy_now", "energy_watthour"),
            ("voltage_now", "voltage_volt"), ("charge_now", "charge_ampere"),
            ("power_now", "power_watt"),
        ].map { Value(file: $0.0, name: $0.1, divisor: 1e6) }
        + [
            "current_boot", "current_max", "energy_empty", "energy_empty_design", "energy_full",
            "energy_full_design", "voltage_boot", "voltage_max", "voltage_max_design",
            "voltage_min", "voltage_min_design", "voltage_ocv", "charge_control_limit",
            "charge_control_limit_max", "charge_counter", "charge_empty", "charge_empty_design",
            "charge_full", "charge_full_design", "charge_term_current", "constant_charge_current",
            "constant_charge_current_max", "constant_charge_voltage",
            "constant_charge_voltage_max", "precharge_current", "input_current_limit",
        ].map { Value(file: $0, name: $0, divisor: 1e6) }
        + [
            "temp", "temp_alert_max", "temp_alert_min", "temp_ambient", "temp_ambient_max",
            "temp_ambient_min", "temp_max", "temp_min",
        ].map { Value(file: $0, name: $0 + "_celsius", divisor: 10) }

    /// The files whose texts are labels of the info family.
    private static let facts = [
        "capacity_level", "charge_type", "health", "manufacturer", "model_name", "serial_number",
        "status", "technology", "type", "usb_type", "scope",
    ]
}
