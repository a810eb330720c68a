package import Model
package import World

/// Temperatures of the thermal zones and states of the cooling devices from `/sys/class/thermal`.
///
/// Other than node_exporter, which says 0 degrees for a zone whose driver has no temperature (a radio that is off): such a
/// zone has no sample.
/// Source: node_exporter 1.12 `thermal_zone_linux.go`; procfs `class_thermal.go`, `class_cooling_device.go`.
package struct ThermalReader: NodeReader {
    package let name = "thermal_zone"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// Degrees Celsius; states are whole numbers, -1 where a device is off. Throws `malformed` where a value is no number.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var temperature = MetricFamily(
            "node_thermal_zone_temp", .gauge, help: "Zone temperature in Celsius")
        var current = MetricFamily(
            "node_cooling_device_cur_state", .gauge,
            help: "Current throttle state of the cooling device")
        var most = MetricFamily(
            "node_cooling_device_max_state", .gauge,
            help: "Maximum throttle state of the cooling device")
        let folder = paths.sys("class/thermal")
        for entry in try tree.presentEntries(folder) {
            let path = folder + "/" + entry
            if let zone = entry.numbered("thermal_zone") {
                guard let millidegrees = try tree.sysNumber(path + "/temp") else { continue }
                temperature.points.append(
                    .init(try labels("zone", zone, path), Double(millidegrees) / 1000))
            } else if let device = entry.numbered("cooling_device") {
                guard let maxState = try tree.sysNumber(path + "/max_state"),
                    let state = try tree.sysNumber(path + "/cur_state")
                else { continue }
                let labels = try labels("name", device, path)
                current.points.append(.init(labels, Double(state)))
                most.points.append(.init(labels, Double(maxState)))
            }
        }
        return [temperature, current, most].filter { !$0.points.isEmpty }
    }

    private func labels(
        _ name: String, _ number: String, _ path: String
    ) throws(ReadError) -> Labels {
        Labels([Label(name, number), Label("type", try tree.sysText(path + "/type") ?? "")])
    }
}
