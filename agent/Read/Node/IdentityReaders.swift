package import Model
package import World

/// `node_uname_info`, whose `nodename` ties dashboards to a host. Source: node_exporter 1.12 `uname.go`.
package struct IdentityReader: NodeReader {
    package let name = "uname"
    private let host: any HostCalls

    package init(host: any HostCalls) { self.host = host }

    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let identity = try host.identity()
        return [
            MetricFamily(
                "node_uname_info", .gauge,
                help: "Labeled system information as provided by the uname system call.",
                points: [
                    .init(
                        [
                            "sysname": identity.system, "release": identity.release,
                            "version": identity.version, "machine": identity.machine,
                            "nodename": identity.node, "domainname": identity.domain,
                        ], 1)
                ])
        ]
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

/// The computer's maker, model and serials from `/sys/class/dmi/id`, read once: they don't change while it runs.
/// Source: node_exporter 1.12 `dmi.go`.
package struct DMIReader: NodeReader {
    package let name = "dmi"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let kept = KeptReadings<[MetricFamily]>()

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
        return try kept.value(folder) { () throws(ReadError) in try families(folder) } ?? []
    }

    private func families(_ folder: String) throws(ReadError) -> [MetricFamily] {
        var found: [Label] = []
        for label in Self.labels {
            let file = label == "system_vendor" ? "sys_vendor" : label
            guard let text = try tree.sysText("\(folder)/\(file)") else { continue }
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
