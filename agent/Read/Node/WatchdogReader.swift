import Glibc
package import Model
package import World

/// Watchdog timers. Source: node_exporter 1.12 `watchdog.go`.
package struct WatchdogReader: NodeReader {
    package let name = "watchdog"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// Files below `/sys/class/watchdog/<name>` and the metrics that they become.
    private static let numbers = [
        (file: "bootstatus", metric: "bootstatus"), (file: "fw_version", metric: "fw_version"),
        (file: "nowayout", metric: "nowayout"), (file: "timeleft", metric: "timeleft_seconds"),
        (file: "timeout", metric: "timeout_seconds"),
        (file: "pretimeout", metric: "pretimeout_seconds"),
        (file: "access_cs0", metric: "access_cs0"),
    ]
    /// Files that are labels of the info.
    private static let texts = ["identity", "options", "pretimeout_governor", "state", "status"]

    /// No families where there is no watchdog or this user may not see them. A file that can't be read is left out.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("class/watchdog")
        var families = Self.numbers.map {
            MetricFamily(
                "node_watchdog_\($0.metric)", .gauge,
                help: "Value of /sys/class/watchdog/<watchdog>/\($0.file)")
        }
        var info = MetricFamily(
            "node_watchdog_info", .gauge, help: "Info of /sys/class/watchdog/<watchdog>")
        let hidden: Set = [EPERM, EACCES, EINVAL]
        for name in try tree.presentEntries(folder, orErrors: hidden) {
            for (index, number) in Self.numbers.enumerated() {
                let path = "\(folder)/\(name)/\(number.file)"
                guard let text = try tree.firstLine(path) else { continue }
                let digits = ProcText.trimmed(Array(text.utf8)[...])
                guard let value = KernelInteger.parse(digits) else {
                    throw .malformed(path: path, detail: "no whole number")
                }
                families[index].points.append(.init(.one("name", name), Double(value)))
            }
            var labels = [Label("name", name)]
            for file in Self.texts {
                guard let text = try tree.firstLine("\(folder)/\(name)/\(file)") else { continue }
                let trimmed = ProcText.trimmed(Array(text.utf8)[...])
                labels.append(Label(file, ProcText.string(trimmed)))
            }
            info.points.append(.init(Labels(labels), 1))
        }
        return (families + [info]).filter { !$0.points.isEmpty }
    }
}
