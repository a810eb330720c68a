import Model
import World

/// The kernel: its state, how it is mounted together, and whether a newer one waits.
enum PostureKernelChecks {
    static func look(_ host: CheckedHost, _ findings: inout PostureFindings) {
        PostureSysctl.look(host, &findings)
        taint(host, &findings)
        vulnerabilities(host, &findings)
        appArmor(host, &findings)
        mounts(host, &findings)
        reboot(host, &findings)
    }

    // MARK: - Taint

    /// Bits that tell where modules come from: proprietary (0), out of tree (12), unsigned (13), a live patch (15),
    /// and a distribution's own (16). Source: Linux `admin-guide/tainted-kernels.rst`.
    private static let harmlessTaint: UInt64 = 1 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 16

    private static func taint(_ host: CheckedHost, _ findings: inout PostureFindings) {
        guard let mask = try? host.tree.number(host.paths.proc("sys/kernel/tainted")) else {
            findings.unknown(.kernelTaint, "not there")
            return
        }
        findings.set(.kernelTaint, mask & ~harmlessTaint == 0, String(mask))
    }

    // MARK: - Vulnerabilities of processors

    static let vulnerabilitiesMax = 256

    /// `Vulnerable` anywhere in a line counts: behind `KVM: ` and in the parts of a mitigation too. `SMT vulnerable`
    /// does not.
    private static func vulnerabilities(_ host: CheckedHost, _ findings: inout PostureFindings) {
        let folder = host.paths.sys("devices/system/cpu/vulnerabilities")
        let listed = try? host.tree.list(folder)
        guard let names = listed?.sorted(by: bytesPrecede), !names.isEmpty,
            names.count <= vulnerabilitiesMax
        else {
            findings.unknown(.cpuVulnerabilities, "not there")
            return
        }
        var vulnerable: [String] = []
        var unread: [String] = []
        for name in names {
            guard let line = try? host.tree.firstLine(folder + "/" + name) else {
                unread.append(name)
                continue
            }
            if line.contains("Vulnerable") { vulnerable.append(name) }
        }
        if vulnerable.isEmpty, !unread.isEmpty {
            findings.unknown(
                .cpuVulnerabilities, "can't be read: " + unread.joined(separator: ", "))
        } else {
            findings.set(
                .cpuVulnerabilities, vulnerable.isEmpty,
                vulnerable.isEmpty ? "none vulnerable" : vulnerable.joined(separator: ", "))
        }
    }

    // MARK: - AppArmor

    /// Does not apply where the kernel has SELinux instead.
    private static func appArmor(_ host: CheckedHost, _ findings: inout PostureFindings) {
        let modules = (try? host.tree.firstLine(host.paths.sys("kernel/security/lsm")))?
            .split(separator: ",")
        if modules?.contains("selinux") == true { return }
        if let state = try? host.tree.firstLine(
            host.paths.sys("module/apparmor/parameters/enabled"))
        {
            findings.set(.appArmorEnabled, state == "Y", state)
        } else if let modules, !modules.contains("apparmor") {
            findings.set(.appArmorEnabled, false, "not in the kernel's list of security modules")
        } else {
            findings.unknown(.appArmorEnabled, "not there")
        }
    }

    // MARK: - Mounts

    /// A folder without a mount of its own does not apply: it can't have options of its own.
    private static func mounts(_ host: CheckedHost, _ findings: inout PostureFindings) {
        let checks: [(PostureCheck, String)] = [
            (.mountDevShm, "/dev/shm"), (.mountTmp, "/tmp"), (.mountVarTmp, "/var/tmp"),
        ]
        // Of process 1: the agent's unit has folders of its own for /tmp and /dev.
        guard let bytes = try? host.tree.contents(host.paths.proc("1/mountinfo")) else {
            for (check, _) in checks { findings.unknown(check, "/proc/1/mountinfo can't be read") }
            return
        }
        var options: [String: Set<String>] = [:]
        ProcText.forEachLine(bytes) { line in
            let fields = ProcText.fields(line)
            guard fields.count > 5 else { return }
            // The last mount at a place hides those before it.
            options[MountTable.unescaped(fields[4])] = Set(
                fields[5].split(separator: UInt8(ascii: ",")).map(ProcText.string))
        }
        for (check, place) in checks {
            let path = host.root(place)
            guard let found = options[path] ?? options[place] else { continue }
            let given = ["nosuid", "nodev", "noexec"].filter(found.contains)
            findings.set(
                check, found.isSuperset(of: ["nosuid", "nodev"]),
                given.isEmpty ? "none of them" : given.joined(separator: ","))
        }
    }

    // MARK: - Reboot

    static let kernelsMax = 256

    /// A reboot is due where a package asks for one, or where /boot has a newer kernel of the running one's flavour.
    private static func reboot(_ host: CheckedHost, _ findings: inout PostureFindings) {
        if host.isThere("/run/reboot-required") == true {
            findings.set(.rebootRequired, false, "/run/reboot-required is there")
            findings.needsReboot = true
            return
        }
        guard let running = try? host.calls.identity().release,
            let names = try? host.tree.list(host.root("/boot"))
        else {
            findings.unknown(.rebootRequired, "/boot can't be listed")
            return
        }
        let flavour = flavour(running)
        let newest = names.prefix(kernelsMax).compactMap { $0.without(prefix: "vmlinuz-") }
            .filter { Self.flavour($0) == flavour }
            .max { DebianVersion.compare($0, $1) < 0 }
        guard let newest else {
            findings.unknown(.rebootRequired, "no kernel like the running one in /boot")
            return
        }
        let isDue = DebianVersion.compare(newest, running) > 0
        findings.needsReboot = isDue
        findings.set(.rebootRequired, !isDue, isDue ? "\(newest) is newer than \(running)" : "no")
    }

    /// `amd64` of `6.1.0-28-amd64`, `cloud-amd64` of `6.1.0-28-cloud-amd64`: the parts without a digit in front.
    private static func flavour(_ release: String) -> String {
        let parts = release.split(separator: "-").drop { part in
            part.utf8.first.map { (48...57).contains($0) } ?? true
        }
        return parts.joined(separator: "-")
    }
}

extension String {
    /// What follows `prefix`; nil where the text does not begin so.
    fileprivate func without(prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}
