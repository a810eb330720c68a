/// How bad it is where a check fails; its weight in `petrel_posture_score`.
package enum PostureSeverity: String, Hashable, Sendable {
    case critical, high, medium, low

    var weight: Double {
        switch self {
        case .critical: 8
        case .high: 4
        case .medium: 2
        case .low: 1
        }
    }
}

/// One thing that should hold on a host. The raw value is the label `check` and the name in `posture.ignore`.
///
/// Those marked `(helper)` take a fact of the root helper. What each means stands in docs/posture.md.
package enum PostureCheck: String, CaseIterable, Hashable, Sendable {
    case accountsEmptyPassword = "accounts_empty_password"  // (helper)
    case accountsUIDZero = "accounts_uid_zero"
    case agentKeyModes = "agent_key_modes"
    case appArmorEnabled = "apparmor_enabled"
    case appArmorProfiles = "apparmor_profiles"  // (helper)
    case auditActive = "auditd_active"
    case auditRules = "auditd_rules"  // (helper)
    case cpuVulnerabilities = "cpu_vulnerabilities"
    case fail2banActive = "fail2ban_active"
    case fail2banJails = "fail2ban_jails"  // (helper)
    case firewallInput = "firewall_input_policy"  // (helper)
    case kernelTaint = "kernel_taint"
    case mountDevShm = "mount_dev_shm"
    case mountTmp = "mount_tmp"
    case mountVarTmp = "mount_var_tmp"
    case rebootRequired = "reboot_required"
    case securityUpdates = "security_updates"
    case sshEmptyPasswords = "sshd_permit_empty_passwords"  // (helper)
    case sshKeyboard = "sshd_kbd_interactive_authentication"  // (helper)
    case sshPassword = "sshd_password_authentication"  // (helper)
    case sshRootLogin = "sshd_permit_root_login"  // (helper)
    case acceptRedirects = "sysctl_accept_redirects"
    case acceptSourceRoute = "sysctl_accept_source_route"
    case bpfJITHarden = "sysctl_bpf_jit_harden"  // (helper)
    case dmesgRestrict = "sysctl_dmesg_restrict"
    case kptrRestrict = "sysctl_kptr_restrict"
    case logMartians = "sysctl_log_martians"
    case perfEventParanoid = "sysctl_perf_event_paranoid"
    case protectedFIFOs = "sysctl_protected_fifos"
    case protectedHardlinks = "sysctl_protected_hardlinks"
    case protectedRegular = "sysctl_protected_regular"
    case protectedSymlinks = "sysctl_protected_symlinks"
    case ptraceScope = "sysctl_ptrace_scope"
    case randomizeVASpace = "sysctl_randomize_va_space"
    case rpFilter = "sysctl_rp_filter"
    case sendRedirects = "sysctl_send_redirects"
    case suidDumpable = "sysctl_suid_dumpable"
    case sysrq = "sysctl_sysrq"
    case tcpSyncookies = "sysctl_tcp_syncookies"
    case unprivilegedBPF = "sysctl_unprivileged_bpf_disabled"
    case timeService = "time_service"
    case timeSynchronised = "time_synchronised"
    case ufwDefaultIncoming = "ufw_default_incoming"  // (helper)
    case ufwEnabled = "ufw_enabled"  // (helper)
    case unattendedUpgrades = "unattended_upgrades_enabled"
    case unattendedUpgradesRun = "unattended_upgrades_run"

    /// The label `severity`.
    package var severity: PostureSeverity {
        switch self {
        case .accountsEmptyPassword, .accountsUIDZero, .sshEmptyPasswords: .critical
        case .agentKeyModes, .firewallInput, .securityUpdates, .sshPassword, .sshRootLogin,
            .ufwDefaultIncoming, .ufwEnabled:
            .high
        case .appArmorEnabled, .auditActive, .cpuVulnerabilities, .fail2banActive, .fail2banJails,
            .protectedHardlinks, .protectedSymlinks, .randomizeVASpace, .rebootRequired,
            .sshKeyboard, .tcpSyncookies, .timeService, .timeSynchronised, .unattendedUpgrades,
            .unattendedUpgradesRun, .unprivilegedBPF:
            .medium
        case .acceptRedirects, .acceptSourceRoute, .appArmorProfiles, .auditRules, .bpfJITHarden,
            .dmesgRestrict, .kernelTaint, .kptrRestrict, .logMartians, .mountDevShm, .mountTmp,
            .mountVarTmp, .perfEventParanoid, .protectedFIFOs, .protectedRegular, .ptraceScope,
            .rpFilter, .sendRedirects, .suidDumpable, .sysrq:
            .low
        }
    }

    /// The label `expected`: what passes, in words.
    package var expected: String {
        if let sysctl = PostureSysctl.all[self] { return sysctl.expected }
        switch self {
        case .accountsEmptyPassword: return "0 accounts"
        case .accountsUIDZero: return "root alone"
        case .agentKeyModes: return "nothing for group and others"
        case .appArmorEnabled: return "Y"
        case .appArmorProfiles, .auditRules, .fail2banJails: return "1 or more"
        case .auditActive, .fail2banActive, .timeService: return "active"
        case .cpuVulnerabilities: return "none vulnerable"
        case .firewallInput: return "drop"
        case .kernelTaint: return "0, or bits of modules alone"
        case .mountDevShm, .mountTmp, .mountVarTmp: return "nosuid,nodev"
        case .rebootRequired: return "no"
        case .securityUpdates: return "0 packages"
        case .sshEmptyPasswords, .sshKeyboard, .sshPassword, .sshRootLogin: return "no"
        case .bpfJITHarden: return "1 or 2"
        case .timeSynchronised: return "synchronised"
        case .ufwDefaultIncoming: return "drop or reject"
        case .ufwEnabled: return "yes"
        case .unattendedUpgrades: return "on"
        case .unattendedUpgradesRun: return "in the last days"
        case .acceptRedirects, .acceptSourceRoute, .dmesgRestrict, .kptrRestrict, .logMartians,
            .perfEventParanoid, .protectedFIFOs, .protectedHardlinks, .protectedRegular,
            .protectedSymlinks, .ptraceScope, .randomizeVASpace, .rpFilter, .sendRedirects,
            .suidDumpable, .sysrq, .tcpSyncookies, .unprivilegedBPF:
            return ""
        }
    }
}

/// What a look at the host came to. A check that does not apply here has no finding.
struct PostureFindings {
    /// Characters of the label `actual`.
    static let actualLengthMax = 120

    struct Finding: Hashable {
        /// Nil is unknown.
        var passes: Bool?
        var actual: String
    }

    private(set) var findings: [PostureCheck: Finding] = [:]
    /// What is told and not judged, under the label `check`.
    private(set) var notes: [(name: String, actual: String)] = []
    /// Whether the host waits for a reboot; nil is unknown.
    var needsReboot: Bool?
    /// Security updates; nil is unknown.
    var updates: PendingUpdates?

    mutating func set(_ check: PostureCheck, _ passes: Bool?, _ actual: String) {
        findings[check] = Finding(
            passes: passes, actual: String(actual.prefix(Self.actualLengthMax)))
    }

    /// What can't be known, with the reason as the actual value.
    mutating func unknown(_ check: PostureCheck, _ reason: String) { set(check, nil, reason) }

    mutating func note(_ name: String, _ actual: String) {
        notes.append((name, String(actual.prefix(Self.actualLengthMax))))
    }
}
