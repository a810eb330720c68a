import Model
import World

/// Checks of what the root helper found. Without a fresh file of its they are unknown; what is not installed does not
/// apply.
enum PostureHelperChecks {
    static func look(
        _ host: CheckedHost, _ facts: PostureRootFacts, _ findings: inout PostureFindings
    ) {
        sshd(host, facts, &findings)
        firewall(host, facts, &findings)
        counts(host, facts, &findings)
    }

    // MARK: - sshd

    private static func sshd(
        _ host: CheckedHost, _ facts: PostureRootFacts, _ findings: inout PostureFindings
    ) {
        guard host.isThere("/usr/sbin/sshd") != false,
            host.isThere("/etc/ssh/sshd_config") != false
        else { return }
        for (check, name) in [
            (PostureCheck.sshRootLogin, "permit_root_login"),
            (.sshPassword, "password_authentication"),
            (.sshKeyboard, "kbd_interactive_authentication"),
            (.sshEmptyPasswords, "permit_empty_passwords"),
        ] {
            let general = facts.words("sshd." + name)
            let inMatch = facts.words("sshd.match_" + name)
            // The first value of a keyword wins: a file that was not read may have had it.
            guard facts.isComplete("sshd"), general.count == 1, !inMatch.isEmpty else {
                findings.unknown(check, facts.missing)
                continue
            }
            // A block for some connections must not be laxer than what holds for all.
            let others = inMatch.filter { $0 != "none" }
            findings.set(
                check, (general + others).allSatisfy { $0 == "no" },
                general[0] + (others.isEmpty ? "" : ", Match: " + others.joined(separator: ", ")))
        }
        let ports = facts.words("sshd.port")
        if !ports.isEmpty { findings.note("sshd_port", ports.joined(separator: ", ")) }
    }

    // MARK: - Firewall

    private static func firewall(
        _ host: CheckedHost, _ facts: PostureRootFacts, _ findings: inout PostureFindings
    ) {
        let input = facts.words("firewall.input_policy")
        let inputV6 = facts.words("firewall.input_policy_v6")
        let hasV6 =
            (try? host.tree.firstLine(host.paths.proc("net/if_inet6")))?.isEmpty == false
        let policies = input + (hasV6 ? inputV6 : [])
        let drops = policies.allSatisfy { $0 == "drop" }
        if input.isEmpty || (hasV6 && inputV6.isEmpty) {
            findings.unknown(.firewallInput, facts.missing)
        } else if drops {
            findings.set(.firewallInput, true, "drop")
        } else if policies.contains("accept") {
            // A chain of policy accept may end in a rule that drops.
            findings.unknown(.firewallInput, "accept; rules are not read")
        } else if let tables = facts.number("firewall.legacy_tables"), tables == 0 {
            findings.set(
                .firewallInput, false, input == ["none"] ? "no firewall" : "no firewall for IPv6")
        } else {
            findings.unknown(.firewallInput, "iptables-legacy is not read")
        }
        ufw(host, facts, isOther: !policies.isEmpty && drops, &findings)
    }

    /// `isOther` is whether the kernel drops what no rule accepts: with ufw off that is another firewall's work.
    private static func ufw(
        _ host: CheckedHost, _ facts: PostureRootFacts, isOther: Bool,
        _ findings: inout PostureFindings
    ) {
        guard host.isThere("/usr/sbin/ufw") != false, host.isThere("/etc/ufw/ufw.conf") != false
        else { return }
        guard let enabled = facts.number("ufw.enabled") else {
            findings.unknown(.ufwEnabled, facts.missing)
            findings.unknown(.ufwDefaultIncoming, facts.missing)
            return
        }
        guard enabled == 1 else {
            if !isOther { findings.set(.ufwEnabled, false, "no") }
            return
        }
        findings.set(.ufwEnabled, true, "yes")
        let policy = facts.words("ufw.default_input_policy")
        guard policy.count == 1 else {
            findings.unknown(.ufwDefaultIncoming, facts.missing)
            return
        }
        findings.set(.ufwDefaultIncoming, ["drop", "reject"].contains(policy[0]), policy[0])
    }

    // MARK: - Counts

    private static func counts(
        _ host: CheckedHost, _ facts: PostureRootFacts, _ findings: inout PostureFindings
    ) {
        count(.accountsEmptyPassword, "accounts", "empty_password", .none, facts, &findings)
        if host.isInstalled("auditd.service") {
            count(.auditRules, "audit", "rules", .some, facts, &findings)
        }
        if host.isInstalled("fail2ban.service") {
            count(.fail2banJails, "fail2ban", "jails", .some, facts, &findings)
        }
        if findings.findings[.appArmorEnabled]?.passes == true {
            count(.appArmorProfiles, "apparmor", "enforce", .some, facts, &findings)
        }
        // The kernel shows the state to CAP_SYS_ADMIN alone; else what is set at boot stands for it.
        let harden =
            facts.number("kernel.bpf_jit_harden")
            ?? facts.number("kernel.bpf_jit_harden_configured")
        if let harden {
            findings.set(.bpfJITHarden, [1, 2].contains(harden), text(harden))
        } else {
            findings.unknown(
                .bpfJITHarden, facts.isUsable ? "not set in sysctl's files" : facts.missing)
        }
    }

    private enum Wanted { case none, some }

    /// What the helper could not read may add to a count: a zero of an incomplete group is unknown.
    private static func count(
        _ check: PostureCheck, _ group: String, _ fact: String, _ wanted: Wanted,
        _ facts: PostureRootFacts, _ findings: inout PostureFindings
    ) {
        guard let value = facts.number(group + "." + fact),
            value > 0 || facts.isComplete(group)
        else {
            findings.unknown(check, facts.missing)
            return
        }
        findings.set(check, (value > 0) == (wanted == .some), text(value))
    }

    private static func text(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "unknown"
    }
}
