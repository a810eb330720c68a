import Model
import World

/// Services that keep a host safe: the clock's, fail2ban, auditd, unattended-upgrades. What is not installed does not
/// apply; only automatic security updates are expected of every host with apt.
enum PostureServiceChecks {
    static func look(_ host: CheckedHost, _ findings: inout PostureFindings) {
        let groups = try? ControlGroups.detect(tree: host.tree, paths: host.paths)
        for (check, unit) in [
            (PostureCheck.fail2banActive, "fail2ban.service"), (.auditActive, "auditd.service"),
        ] where host.isInstalled(unit) {
            switch host.isActive(unit, in: groups) {
            case true: findings.set(check, true, "active")
            case false: findings.set(check, false, "not active")
            case nil: findings.unknown(check, "systemd's cgroups can't be read")
            }
        }
        time(host, groups, &findings)
        unattendedUpgrades(host, &findings)
    }

    // MARK: - Time

    private static let timeServices = [
        "chrony.service", "systemd-timesyncd.service", "ntpsec.service", "ntp.service",
        "openntpd.service",
    ]
    /// STA_UNSYNC and TIME_ERROR. Source: adjtimex(2).
    private static let unsynchronised: Int32 = 0x40
    private static let timeError: Int32 = 5

    private static func time(
        _ host: CheckedHost, _ groups: ControlGroups?, _ findings: inout PostureFindings
    ) {
        let installed = timeServices.filter(host.isInstalled)
        let states = installed.map { ($0, host.isActive($0, in: groups)) }
        let active = states.filter { $0.1 == true }.map(\.0)
        let clock = try? host.calls.clockAdjustment()
        let isSynchronised = clock.map {
            $0.status & unsynchronised == 0 && $0.state != timeError
        }
        if let first = active.first {
            findings.set(.timeService, true, first)
        } else if states.contains(where: { $0.1 == nil }) {
            findings.unknown(.timeService, "systemd's cgroups can't be read")
        } else if !installed.isEmpty {
            findings.set(.timeService, false, "not active: " + installed.joined(separator: ", "))
        } else if isSynchronised != true {
            findings.set(.timeService, false, "none installed")
        }
        switch isSynchronised {
        case true: findings.set(.timeSynchronised, true, "synchronised")
        case false where active.contains("chrony.service") && !tellsKernel(host):
            findings.unknown(.timeSynchronised, "chrony without rtcsync does not tell the kernel")
        case false: findings.set(.timeSynchronised, false, "unsynchronised")
        case nil: findings.unknown(.timeSynchronised, "adjtimex failed")
        }
    }

    /// chrony clears the kernel's flag with `rtcsync` alone. Source: chrony 4.3 chrony.conf(5), `sys_timex.c`.
    private static func tellsKernel(_ host: CheckedHost) -> Bool {
        guard let bytes = host.bytes("/etc/chrony/chrony.conf") else { return false }
        var isSet = false
        ProcText.forEachLine(bytes) { line in
            isSet =
                isSet || ProcText.fields(line).first.map { ProcText.equals($0, "rtcsync") } == true
        }
        return isSet
    }

    // MARK: - Automatic updates

    /// Days beyond the interval after which a run is missed: the timer has a day, a host may be off for another.
    private static let slackDays = 2.0
    private static let dayNames: [Character: Double] = ["d": 1, "h": 1 / 24, "m": 1 / 1_440]

    private static func unattendedUpgrades(
        _ host: CheckedHost, _ findings: inout PostureFindings
    ) {
        guard host.isThere("/var/lib/dpkg/status") == true else { return }
        guard host.isThere("/usr/bin/unattended-upgrade") == true else {
            findings.set(.unattendedUpgrades, false, "unattended-upgrades is not installed")
            return
        }
        guard let configuration = configuration(host) else {
            findings.unknown(.unattendedUpgrades, "apt's configuration can't be read")
            return
        }
        let isEnabled = configuration["APT::Periodic::Enable"] ?? "1"
        let text = configuration["APT::Periodic::Unattended-Upgrade"] ?? "0"
        guard let days = days(text) else {
            findings.unknown(.unattendedUpgrades, "Unattended-Upgrade is no interval")
            return
        }
        guard isEnabled != "0", days > 0 else {
            findings.set(.unattendedUpgrades, false, "off")
            return
        }
        findings.set(.unattendedUpgrades, true, "on")
        guard let run = host.modified("/var/lib/apt/periodic/unattended-upgrades-stamp") else {
            findings.unknown(.unattendedUpgradesRun, "has not run yet")
            return
        }
        let age = ((host.nowSeconds - run) / 86_400).rounded(.down)
        let isFresh = age <= max(days, 1) + slackDays
        findings.set(
            .unattendedUpgradesRun, isFresh,
            isFresh ? "in the last days" : "\(Int(exactly: age) ?? Int.max) days ago")
    }

    /// An interval of apt's timer in days: `1`, `12h`, `30m`, `always`; 0 is never. Source: `apt.systemd.daily`.
    private static func days(_ text: String) -> Double? {
        if text == "always" { return 1 / 1_440 }
        var digits = text[...]
        var unit = 1.0
        if let last = digits.last, let named = dayNames[last] {
            unit = named
            digits.removeLast()
        } else if digits.last == "s" {
            unit = 1 / 86_400
            digits.removeLast()
        }
        guard let number = Int(digits), number >= 0 else { return nil }
        return Double(number) * unit
    }

    /// The files that apt reads, in its order; nil where one can't be read.
    private static func configuration(_ host: CheckedHost) -> AptConfiguration? {
        let folder = "/etc/apt/apt.conf.d"
        guard let names = try? host.tree.list(host.root(folder)),
            names.count <= CheckedHost.namesMax
        else { return nil }
        var files = names.filter(isRead).sorted(by: bytesPrecede).map { folder + "/" + $0 }
        if host.isThere("/etc/apt/apt.conf") == true { files.append("/etc/apt/apt.conf") }
        var configuration = AptConfiguration()
        for file in files {
            guard let bytes = host.bytes(file) else { return nil }
            configuration.read(bytes)
        }
        return configuration
    }

    /// No extension or `conf`, and nothing but letters, digits, `-`, `_` and `.`. Source: apt.conf(5).
    private static func isRead(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 1 || parts.last == "conf", !(parts.first ?? "").isEmpty else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case 45, 46, 48...57, 65...90, 95, 97...122: true
            default: false
            }
        }
    }
}
