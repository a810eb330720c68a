/// Kernel settings that are not world-readable: `net.core.bpf_jit_harden`.
///
/// The kernel shows it to CAP_SYS_ADMIN alone (Linux 6.1 `net/core/sysctl_net_core.c`), and in the first network namespace
/// alone. A helper without that much power reports what sysctl's files set at boot, as a fact of its own: a wish, not a
/// state.
enum KernelPosture {
    static let bpfJITHarden = "/proc/sys/net/core/bpf_jit_harden"
    static let name = "net.core.bpf_jit_harden"
    /// A name in an earlier folder hides the same name in a later. Source: sysctl.d(5).
    static let folders = [
        "/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d",
    ]

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        if let text = host.text(bpfJITHarden, &reading) {
            if let value = Int(text.prefix { !$0.isWhitespace }) {
                reading.set(.bpfJITHarden, value)
            } else {
                reading.fail(bpfJITHarden, "malformed")
            }
        }
        if let value = configured(host, &reading) { reading.set(.bpfJITHardenConfigured, value) }
        return reading
    }

    /// What the files set, the last one in the order of their names winning; nil where none does.
    private static func configured(_ host: PostureHost, _ reading: inout PostureReading) -> Int? {
        var paths: [String: String] = [:]
        for folder in folders.reversed() {
            var aside = PostureReading()
            for name in host.names(folder, &aside) ?? [] where name.hasSuffix(".conf") {
                paths[name] = folder + "/" + name
            }
        }
        var found: Int?
        let order = paths.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        for path in order.compactMap({ paths[$0] }) {
            guard let text = host.text(path, &reading), let value = value(in: text) else {
                continue
            }
            if let number = Int(value) {
                found = number
            } else {
                reading.fail(path, "malformed: \(name)")
            }
        }
        return found
    }

    /// The last value that a file gives the setting; slashes for dots and a minus before the name are sysctl.d's too.
    static func value(in text: String) -> String? {
        var found: String?
        for line in text.postureLines {
            var line = line.trimmed
            if line.hasPrefix("-") { line = line.dropFirst().trimmed }
            guard let separator = line.firstIndex(of: "=") else { continue }
            let key = line[..<separator].trimmed.map { $0 == "/" ? "." : $0 }
            if String(key) == name { found = String(line[line.index(after: separator)...].trimmed) }
        }
        return found
    }
}
