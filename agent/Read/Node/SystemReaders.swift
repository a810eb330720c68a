import Glibc
package import Model
package import World

/// The random number generator's pool. Source: node_exporter 1.12 `entropy_linux.go`.
package struct EntropyReader: NodeReader {
    package let name = "entropy"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let available = paths.proc("sys/kernel/random/entropy_avail")
        let size = paths.proc("sys/kernel/random/poolsize")
        return [
            .gauge(
                "node_entropy_available_bits", help: "Bits of available entropy.",
                try KernelFile.number(try tree.bytes(available), path: available)),
            .gauge(
                "node_entropy_pool_size_bits", help: "Bits of entropy pool.",
                try KernelFile.number(try tree.bytes(size), path: size)),
        ]
    }
}

/// Open files of the whole host from `/proc/sys/fs/file-nr`. Source: node_exporter 1.12 `filefd_linux.go`.
package struct FileDescriptorReader: NodeReader {
    package let name = "filefd"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("sys/fs/file-nr")
        // The second number, free files, has been zero since Linux 2.6.
        let fields = ProcText.fields(try tree.bytes(path)[...])
        guard fields.count >= 3, let allocated = ProcText.number(fields[0]),
            let maximum = ProcText.number(fields[2])
        else { throw .malformed(path: path, detail: "fewer than three numbers") }
        return [
            .gauge(
                "node_filefd_allocated", help: "File descriptor statistics: allocated.", allocated),
            .gauge("node_filefd_maximum", help: "File descriptor statistics: maximum.", maximum),
        ]
    }
}

/// Tasks that the kernel has found hung since it booted. Source: node_exporter 1.12 `kernel_hung_linux.go`.
package struct HungTaskReader: NodeReader {
    package let name = "kernel_hung"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let hasAlias: Bool

    /// `hasAlias` gives the count under a second name too, `node_kernel_hung_tasks`, which node_exporter has not:
    /// Grafana's dashboard 1860 asks for that one.
    package init(tree: any WorldFileTree, paths: NodePaths, hasAlias: Bool = true) {
        self.tree = tree
        self.paths = paths
        self.hasAlias = hasAlias
    }

    /// No families where the kernel keeps no such count: an older one, or without `CONFIG_DETECT_HUNG_TASK`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let path = paths.proc("sys/kernel/hung_task_detect_count")
        guard let bytes = try tree.bytesIfPresent(path) else { return [] }
        let count = try KernelFile.number(bytes, path: path)
        let help = "Total number of tasks that have been detected as hung since the system booted."
        let families: [MetricFamily] = [
            .counter("node_kernel_hung_tasks_total", help: help, count)
        ]
        return hasAlias
            ? families + [.counter("node_kernel_hung_tasks", help: help, count)] : families
    }
}

/// What the distribution says of itself in `os-release`. Source: node_exporter 1.12 `os_release.go`; os-release(5).
package struct OSReleaseReader: NodeReader {
    package let name = "os"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    /// The files are those below the host's root, `paths.rootfs`.
    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// The labels of `node_os_info`; the file's keys are the same in capitals.
    private static let labels = [
        "build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name", "variant",
        "variant_id", "version", "version_codename", "version_id",
    ]

    /// `/usr/lib` is asked where `/etc` has no file; no families where neither has one.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        for folder in ["/etc", "/usr/lib"] {
            let path = "\(paths.rootfs)\(folder)/os-release"
            if let bytes = try tree.bytesIfPresent(path) {
                return try families(try ReleaseFile.values(bytes, path: path), path: path)
            }
        }
        return []
    }

    private func families(_ values: [String: String], path: String) throws(ReadError)
        -> [MetricFamily]
    {
        func labels(_ names: [String]) -> Labels {
            Labels(names.map { Label($0, values[$0.uppercased()] ?? "") })
        }
        var families = [
            MetricFamily(
                "node_os_info", .gauge,
                help: "A metric with a constant '1' value labeled by "
                    + Self.labels.joined(separator: ", ") + ".",
                points: [.init(labels(Self.labels), 1)])
        ]
        let version = Self.majorMinor(values["VERSION_ID"] ?? "")
        if version > 0 {
            families.append(
                MetricFamily(
                    "node_os_version", .gauge,
                    help: "Metric containing the major.minor part of the OS version.",
                    points: [.init(labels(["id", "id_like", "name"]), version)]))
        }
        guard let end = values["SUPPORT_END"], !end.isEmpty else { return families }
        guard end.utf8.count == 10, let time = RFC3339.parse(end + "T00:00:00Z") else {
            throw .malformed(path: path, detail: "SUPPORT_END is no date")
        }
        families.append(
            .gauge(
                "node_os_support_end_timestamp_seconds",
                help: "Metric containing the end-of-life date timestamp of the OS.",
                Double(time.rawValue / 1_000_000_000)))
        return families
    }

    /// The number that a version begins with, `20.04` of `20.04.2`; 0 where it begins with none, as that of a rolling
    /// release.
    private static func majorMinor(_ version: String) -> Double {
        let bytes = version.utf8
        let major = bytes.prefix { (48...57).contains($0) }
        guard !major.isEmpty else { return 0 }
        var number = String(Substring(major))
        let rest = bytes.dropFirst(major.count)
        if rest.first == UInt8(ascii: ".") {
            let minor = rest.dropFirst().prefix { (48...57).contains($0) }
            if !minor.isEmpty { number += "." + String(Substring(minor)) }
        }
        guard let value = Double(number), value.isFinite else { return 0 }
        return value
    }
}

/// The computer's maker, model and serials from `/sys/class/dmi/id`. Source: node_exporter 1.12 `dmi.go`.
package struct DMIReader: NodeReader {
    package let name = "dmi"
    private let tree: any WorldFileTree
    private let paths: NodePaths

    package init(tree: any WorldFileTree, paths: NodePaths) {
        self.tree = tree
        self.paths = paths
    }

    /// The labels; the files have the same names but for `sys_vendor`.
    private static let labels = [
        "bios_date", "bios_release", "bios_vendor", "bios_version", "board_asset_tag",
        "board_name", "board_serial", "board_vendor", "board_version", "chassis_asset_tag",
        "chassis_serial", "chassis_vendor", "chassis_version", "product_family", "product_name",
        "product_serial", "product_sku", "product_uuid", "product_version", "system_vendor",
    ]

    /// A file that can't be read (only root may read the serials) is left out; no families where none can.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let folder = paths.sys("class/dmi/id")
        var found: [Label] = []
        for label in Self.labels {
            let file = label == "system_vendor" ? "sys_vendor" : label
            guard let text = tree.sysText("\(folder)/\(file)") else { continue }
            found.append(Label(label, Self.collapsed(text)))
        }
        guard !found.isEmpty else { return [] }
        return [
            MetricFamily(
                "node_dmi_info", .gauge,
                help: "A metric with a constant '1' value labeled by "
                    + Self.labels.joined(separator: ", ") + " if provided by DMI.",
                points: [.init(Labels(found), 1)])
        ]
    }

    /// One U+FFFD for each run of them, as Go's `strings.ToValidUTF8` writes for a run of bytes that are no UTF-8.
    private static func collapsed(_ text: String) -> String {
        let replacement: Unicode.Scalar = "\u{FFFD}"
        var collapsed = String.UnicodeScalarView()
        for scalar in text.unicodeScalars
        where scalar != replacement || collapsed.last != replacement {
            collapsed.append(scalar)
        }
        return String(collapsed)
    }
}

/// Small files of the kernel. Source: Prometheus' procfs library, `internal/util`.
enum KernelFile {
    /// The one whole number that the file's content is.
    static func number(_ bytes: [UInt8], path: String) throws(ReadError) -> Double {
        guard let number = ProcText.number(ProcText.stripped(bytes[...])) else {
            throw .malformed(path: path, detail: "no whole number")
        }
        return number
    }
}

/// The assignments of an `os-release` file, with a shell's quotes. Source: os-release(5).
private enum ReleaseFile {
    /// Values by key; of equal keys the last wins. Throws `malformed` with the line for one that is no assignment and
    /// for a quote that does not end.
    static func values(_ bytes: [UInt8], path: String) throws(ReadError) -> [String: String] {
        var values: [String: String] = [:]
        let lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let line = ProcText.stripped(line)
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else {
                throw .malformed(path: path, detail: "line \(index + 1) has no =")
            }
            var key = ProcText.stripped(line[..<equals])
            if ProcText.hasPrefix(key, "export ") { key = ProcText.stripped(key.dropFirst(7)) }
            guard let value = value(line[(equals + 1)...]) else {
                throw .malformed(path: path, detail: "line \(index + 1) has an open quote")
            }
            values[ProcText.string(key)] = value
        }
        return values
    }

    private enum Quote { case none, single, double, escape }

    /// The value without quotes, escapes and a comment after it; nil where a quote does not end.
    private static func value(_ text: ArraySlice<UInt8>) -> String? {
        var value: [UInt8] = []
        /// How much of `value` stays: blanks outside quotes count once something follows.
        var keptCount = 0
        var quote = Quote.none
        var previous = UInt8(ascii: " ")
        scan: for byte in ProcText.stripped(text) {
            switch (quote, byte) {
            case (.none, UInt8(ascii: "#")) where previous == 32 || previous == 9: break scan
            case (.none, UInt8(ascii: "'")): quote = .single
            case (.none, UInt8(ascii: "\"")): quote = .double
            case (.single, UInt8(ascii: "'")), (.double, UInt8(ascii: "\"")):
                quote = .none
                keptCount = value.count
            case (.double, UInt8(ascii: "\\")): quote = .escape
            case (.escape, _):
                if !"\"\\$`".utf8.contains(byte) { value.append(UInt8(ascii: "\\")) }
                value.append(byte)
                quote = .double
            case (.none, 32), (.none, 9): value.append(byte)
            case (.none, _), (.single, _), (.double, _):
                value.append(byte)
                keptCount = value.count
            }
            previous = byte
        }
        guard quote == .none else { return nil }
        return ProcText.string(value.prefix(keptCount))
    }
}
