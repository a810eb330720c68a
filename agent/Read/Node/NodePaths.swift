/// Where the host's pseudo file systems are; the agent in a container sees its host's below other paths.
/// The flags are node_exporter's `--path.procfs`, `--path.sysfs`, `--path.rootfs` and `--path.udev.data`.
package struct NodePaths: Hashable, Sendable {
    /// Without a slash at the end, as the other three; `/` itself is the empty string.
    package let procfs: String
    package let sysfs: String
    package let rootfs: String
    package let udevData: String

    package init(
        procfs: String = "/proc", sysfs: String = "/sys", rootfs: String = "/",
        udevData: String = "/run/udev/data"
    ) {
        self.procfs = Self.trimmed(procfs)
        self.sysfs = Self.trimmed(sysfs)
        self.rootfs = Self.trimmed(rootfs)
        self.udevData = Self.trimmed(udevData)
    }

    package func proc(_ name: String) -> String { procfs + "/" + name }
    package func sys(_ name: String) -> String { sysfs + "/" + name }

    private static func trimmed(_ path: String) -> String {
        var path = path
        while path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
        return path
    }
}
