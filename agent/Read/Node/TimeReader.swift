package import Model
package import World

/// The wall clock, the zone and the kernel's clock sources. Source: node_exporter 1.12 `time.go`.
package struct TimeReader: NodeReader {
    package let name = "time"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let host: any HostCalls

    package init(tree: any WorldFileTree, paths: NodePaths, host: any HostCalls) {
        self.tree = tree
        self.paths = paths
        self.host = host
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let zone = host.zone(at: now)
        var available = MetricFamily(
            "node_time_clocksource_available_info", .gauge,
            help: "Available clocksources read from '/sys/devices/system/clocksource'.")
        var current = MetricFamily(
            "node_time_clocksource_current_info", .gauge,
            help: "Current clocksource read from '/sys/devices/system/clocksource'.")
        let folder = paths.sys("devices/system/clocksource")
        for entry in try tree.presentEntries(folder) {
            guard entry.hasPrefix("clocksource") else { continue }
            let device = String(entry.dropFirst("clocksource".count))
            let names = try tree.firstLine("\(folder)/\(entry)/available_clocksource") ?? ""
            for name in names.split(separator: " ") {
                available.points.append(
                    .init(.two("clocksource", String(name), "device", device), 1))
            }
            let name = try tree.firstLine("\(folder)/\(entry)/current_clocksource")
            if let name, !name.isEmpty {
                current.points.append(.init(.two("clocksource", name, "device", device), 1))
            }
        }
        return [
            .gauge(
                "node_time_seconds", help: "System time in seconds since epoch (1970).",
                Double(now.rawValue) / 1e9),
            MetricFamily(
                "node_time_zone_offset_seconds", .gauge,
                help: "System time zone offset in seconds.",
                points: [.init(.one("time_zone", zone.name), Double(zone.offsetSeconds))]),
            available, current,
        ]
    }
}
