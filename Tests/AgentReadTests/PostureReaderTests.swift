import AgentRead
import Model
import Testing
import World
import YAMLDocument

@Suite("Posture")
struct PostureReaderTests {
    @Test("a host that is in order passes every check there is")
    func good() throws {
        let result = try PostureHost.look()
        #expect(Set(result.checks.keys) == Set(PostureCheck.allCases.map(\.rawValue)))
        #expect(result.checks.filter { $0.value != 1 }.isEmpty, "\(result.actual)")
        #expect(result.value("petrel_posture_score") == 100)
        #expect(result.value("petrel_posture_last_run_timestamp_seconds") == 1_700_000_000)
        #expect(result.value("node_reboot_required") == 0)
        #expect(result.severities["accounts_uid_zero"] == "critical")
        for check in PostureCheck.allCases {
            #expect(result.expected[check.rawValue]?.isEmpty == false, "\(check)")
            #expect(result.actual[check.rawValue]?.isEmpty == false, "\(check)")
        }
        // Told, not judged: `ada` is in sudo by her first group.
        #expect(result.actual["sudo_group_members"] == "3")
        #expect(result.actual["docker_group_members"] == "0")
        #expect(result.actual["sshd_port"] == "22")
    }

    @Test("where there is nothing to read nothing passes and nothing fails")
    func bare() throws {
        let result = try PostureHost.read(
            PostureHost.reader(
                MemoryTree(), calls: .init(status: nil), modes: .init(modes: [:])))
        // The clock's service alone can be judged: none is installed.
        #expect(result.checks.removing("time_service").allSatisfy { $0.value == -1 })
        #expect(result.checks["sysctl_kptr_restrict"] == -1)
        #expect(result.checks["sshd_permit_root_login"] == nil)
        #expect(result.checks["security_updates"] == nil)
        #expect(result.families.allSatisfy { !$0.name.hasPrefix("apt_") })
        #expect(result.value("node_reboot_required") == nil)
    }

    @Test(
        "one thing that is wrong, unknown or does not apply",
        arguments: [
            ("/proc/sys/kernel/kptr_restrict", "2\n", "sysctl_kptr_restrict", 1, "2"),
            ("/proc/sys/kernel/kptr_restrict", "0\n", "sysctl_kptr_restrict", 0, "0"),
            ("/proc/sys/kernel/kptr_restrict", nil, "sysctl_kptr_restrict", -1, "not there"),
            ("/proc/sys/kernel/kptr_restrict", "x\n", "sysctl_kptr_restrict", -1, "not there"),
            ("/proc/sys/kernel/perf_event_paranoid", "-1\n", "sysctl_perf_event_paranoid", 0, "-1"),
            ("/proc/sys/kernel/sysrq", "1\n", "sysctl_sysrq", 0, "1"),
            ("/proc/sys/kernel/sysrq", "64\n", "sysctl_sysrq", 0, "64"),
            ("/proc/sys/kernel/sysrq", "0\n", "sysctl_sysrq", 1, "0"),
            ("/proc/sys/fs/suid_dumpable", "1\n", "sysctl_suid_dumpable", 0, "1"),
            ("/proc/sys/fs/suid_dumpable", "2\n", "sysctl_suid_dumpable", 1, "2"),
            ("/proc/sys/kernel/tainted", "12289\n", "kernel_taint", 1, "12289"),
            ("/proc/sys/kernel/tainted", "512\n", "kernel_taint", 0, "512"),
            ("/proc/sys/kernel/tainted", nil, "kernel_taint", -1, "not there"),
            (
                "/sys/devices/system/cpu/vulnerabilities/mds", "KVM: Vulnerable\n",
                "cpu_vulnerabilities", 0, "mds"
            ),
            ("/sys/module/apparmor/parameters/enabled", "N\n", "apparmor_enabled", 0, "N"),
            ("/sys/module/apparmor/parameters/enabled", nil, "apparmor_enabled", -1, "not there"),
            ("/sys/kernel/security/lsm", "lockdown,selinux", "apparmor_enabled", nil, nil),
            (
                "/proc/1/mountinfo", "22 20 0:3 / /tmp rw,nodev - tmpfs t rw\n", "mount_tmp", 0,
                "nodev"
            ),
            ("/proc/1/mountinfo", "20 1 8:1 / / rw - ext4 x rw\n", "mount_tmp", nil, nil),
            ("/proc/1/mountinfo", nil, "mount_tmp", -1, "/proc/1/mountinfo can't be read"),
            (
                "/run/reboot-required", "", "reboot_required", 0,
                "/run/reboot-required is there"
            ),
            (
                "/boot/vmlinuz-6.1.0-30-amd64", "", "reboot_required", 0,
                "6.1.0-30-amd64 is newer than 6.1.0-28-amd64"
            ),
            ("/etc/passwd", "root:x:0:0\ntoor:x:0:0\n", "accounts_uid_zero", 0, "1 beside root"),
            ("/etc/passwd", nil, "accounts_uid_zero", -1, "/etc/passwd can't be read"),
            ("/etc/passwd", "", "accounts_uid_zero", -1, nil),
            (
                PostureHost.group + "fail2ban.service/cgroup.events", "populated 0\n",
                "fail2ban_active", 0, "not active"
            ),
            (
                PostureHost.group + "fail2ban.service/cgroup.events", nil, "fail2ban_active", 0,
                "not active"
            ),
            ("/usr/lib/systemd/system/fail2ban.service", nil, "fail2ban_active", nil, nil),
            ("/usr/lib/systemd/system/fail2ban.service", nil, "fail2ban_jails", nil, nil),
            (
                PostureHost.group + "cgroup.events", nil, "auditd_active", -1,
                "systemd's cgroups can't be read"
            ),
            (
                PostureHost.group + "chrony.service/cgroup.events", nil, "time_service", 0,
                "not active: chrony.service"
            ),
            ("/usr/lib/systemd/system/chrony.service", nil, "time_service", nil, nil),
            ("/usr/sbin/sshd", nil, "sshd_permit_root_login", nil, nil),
            ("/usr/sbin/ufw", nil, "ufw_enabled", nil, nil),
        ] as [(String, String?, String, Double?, String?)])
    func one(path: String, text: String?, check: String, value: Double?, actual: String?) throws {
        let result = try PostureHost.look([path: text])
        #expect(result.checks[check] == value)
        if let actual { #expect(result.actual[check] == actual) }
        if value == nil { #expect(result.actual[check] == nil) }
    }

    @Test(
        "a setting for all interfaces and one's own make the one that counts",
        arguments: [
            ("rp_filter", "0", "1", "0", 1, "1"), ("rp_filter", "2", "0", "0", 1, "2"),
            ("rp_filter", "0", "0", "0", 0, "0"),
            ("send_redirects", "1", "0", "0", 0, "1"),
            ("accept_source_route", "0", "1", "0", 1, "0"),
            ("accept_source_route", "1", "1", "0", 0, "1"),
            ("log_martians", "1", "0", "0", 1, "1"),
            ("accept_redirects", "0", "1", "0", 0, "1"),
            ("accept_redirects", "0", "1", "1", 1, "0"),
        ])
    func interfaces(
        name: String, all: String, own: String, forwarding: String, value: Double, actual: String
    ) throws {
        let result = try PostureHost.look([
            PostureHost.conf + "all/" + name: all, PostureHost.conf + "eth0/" + name: own,
            PostureHost.conf + "eth0/forwarding": forwarding,
            // Neither counts.
            PostureHost.conf + "lo/" + name: "7", PostureHost.conf + "default/" + name: "7",
        ])
        #expect(result.checks["sysctl_" + name] == value)
        #expect(result.actual["sysctl_" + name] == actual)
    }

    @Test("several interfaces: each must pass, and the values are told")
    func manyInterfaces() throws {
        let result = try PostureHost.look([
            PostureHost.conf + "all/rp_filter": "0", PostureHost.conf + "eth1/rp_filter": "0",
        ])
        #expect(result.checks["sysctl_rp_filter"] == 0)
        #expect(result.actual["sysctl_rp_filter"] == "0, 1")
    }

    @Test(
        "the clock",
        arguments: [
            (0x40, true, 0.0), (0x40, false, -1), (0, false, 1), (nil, true, -1),
        ] as [(Int32?, Bool, Double)])
    func clock(status: Int32?, tellsKernel: Bool, value: Double) throws {
        let result = try PostureHost.look(
            ["/etc/chrony/chrony.conf": tellsKernel ? "rtcsync\n" : "pool x\n"],
            calls: .init(status: status))
        #expect(result.checks["time_synchronised"] == value)
    }

    @Test("modes of the agent's own files")
    func modes() throws {
        var modes = PostureHost.modes
        modes.modes[PostureHost.state + "/identity/key.pem"] = 0o640
        let open = try PostureHost.look(modes: modes)
        #expect(open.checks["agent_key_modes"] == 0)
        #expect(open.actual["agent_key_modes"] == "/identity/key.pem 0640")
        modes.modes = [PostureHost.state: 0o700]
        #expect(try PostureHost.look(modes: modes).checks["agent_key_modes"] == 1)
    }

    @Test("version 1's cgroups tell which services run")
    func legacyGroups() throws {
        let root = "/sys/fs/cgroup/systemd/system.slice/"
        let result = try PostureHost.look([
            "/sys/fs/cgroup/cgroup.controllers": nil, PostureHost.group + "cgroup.events": nil,
            root + "cgroup.procs": "", root + "fail2ban.service/cgroup.procs": "812\n",
        ])
        #expect(result.checks["fail2ban_active"] == 1)
        #expect(result.checks["auditd_active"] == 0)
    }

    @Test("a long value is cut")
    func bounded() throws {
        var changes: [String: String?] = [:]
        for number in 10..<99 {
            changes["/sys/devices/system/cpu/vulnerabilities/bug\(number)"] = "Vulnerable\n"
        }
        #expect(try PostureHost.look(changes).actual["cpu_vulnerabilities"]?.count == 120)
    }

    // MARK: - What the root helper found

    @Test(
        "the helper's numbers",
        arguments: [
            ("accounts.empty_password", 1, "accounts_empty_password", 0),
            ("accounts.empty_password", -1, "accounts_empty_password", -1),
            ("audit.rules", 0, "auditd_rules", 0), ("fail2ban.jails", 0, "fail2ban_jails", 0),
            ("apparmor.enforce", 0, "apparmor_profiles", 0),
            ("kernel.bpf_jit_harden", 0, "sysctl_bpf_jit_harden", 0),
            ("kernel.bpf_jit_harden", -1, "sysctl_bpf_jit_harden", -1),
            ("ufw.enabled", -1, "ufw_enabled", -1), ("ufw.enabled", -1, "ufw_default_incoming", -1),
            // Another firewall drops, so ufw need not.
            ("ufw.enabled", 0, "ufw_enabled", nil),
        ] as [(String, Double, String, Double?)])
    func number(fact: String, number: Double, check: String, value: Double?) throws {
        let text = PostureHost.helper(values: [fact: number])
        let result = try PostureHost.look([PostureHost.helperPath: text])
        #expect(result.checks[check] == value)
    }

    @Test("bpf_jit_harden is what sysctl's files set where the kernel does not say")
    func configured() throws {
        let text = PostureHost.helper(
            values: ["kernel.bpf_jit_harden": -1, "kernel.bpf_jit_harden_configured": 1])
        let result = try PostureHost.look([PostureHost.helperPath: text])
        #expect(result.checks["sysctl_bpf_jit_harden"] == 1)
    }

    @Test(
        "the helper's words",
        arguments: [
            (
                "sshd.permit_root_login", ["prohibit-password"], "sshd_permit_root_login", 0,
                "prohibit-password"
            ),
            (
                "sshd.match_password_authentication", ["no", "yes"],
                "sshd_password_authentication", 0, "no, Match: no, yes"
            ),
            (
                "sshd.match_password_authentication", ["no"], "sshd_password_authentication", 1,
                "no, Match: no"
            ),
            ("sshd.permit_empty_passwords", ["unknown"], "sshd_permit_empty_passwords", -1, nil),
            ("sshd.match_permit_root_login", [], "sshd_permit_root_login", -1, nil),
            ("sshd.port", ["22", "2222"], "sshd_port", nil, "22, 2222"),
            ("ufw.default_input_policy", ["accept"], "ufw_default_incoming", 0, "accept"),
            ("ufw.default_input_policy", ["reject"], "ufw_default_incoming", 1, "reject"),
            ("firewall.input_policy", ["none"], "firewall_input_policy", 0, "no firewall"),
            (
                "firewall.input_policy_v6", ["none"], "firewall_input_policy", 0,
                "no firewall for IPv6"
            ),
            (
                "firewall.input_policy", ["accept"], "firewall_input_policy", -1,
                "accept; rules are not read"
            ),
            ("firewall.input_policy", [], "firewall_input_policy", -1, nil),
        ] as [(String, [String], String, Double?, String?)])
    func word(
        fact: String, words: [String], check: String, value: Double?, actual: String?
    ) throws {
        let others = PostureHost.words.filter { !$0.hasPrefix(fact + "=") }
        let text = PostureHost.helper(words: others + words.map { fact + "=" + $0 })
        let result = try PostureHost.look([PostureHost.helperPath: text])
        #expect(result.checks[check] == value)
        if let actual { #expect(result.actual[check] == actual) }
    }

    @Test("a firewall of iptables-legacy is unknown; without IPv6 its policy does not count")
    func firewall() throws {
        let words = PostureHost.words.filter { !$0.hasPrefix("firewall.") }
        let legacy = PostureHost.helper(
            values: ["firewall.legacy_tables": 2],
            words: words + ["firewall.input_policy=none", "firewall.input_policy_v6=none"])
        #expect(
            try PostureHost.look([PostureHost.helperPath: legacy])
                .checks["firewall_input_policy"] == -1)
        let one = PostureHost.helper(
            words: words + ["firewall.input_policy=drop", "firewall.input_policy_v6=none"])
        #expect(
            try PostureHost.look([PostureHost.helperPath: one, "/proc/net/if_inet6": nil])
                .checks["firewall_input_policy"] == 1)
    }

    @Test("what the helper could not read whole is no pass")
    func incomplete() throws {
        let text = PostureHost.helper(incomplete: ["sshd", "accounts", "audit"])
        let result = try PostureHost.look([PostureHost.helperPath: text])
        #expect(result.checks["sshd_permit_root_login"] == -1)
        #expect(result.checks["accounts_empty_password"] == -1)
        // One rule is enough, whatever stands in the files that were not read.
        #expect(result.checks["auditd_rules"] == 1)
        let found = PostureHost.helper(
            values: ["accounts.empty_password": 2], incomplete: ["accounts"])
        #expect(
            try PostureHost.look([PostureHost.helperPath: found])
                .checks["accounts_empty_password"] == 0)
    }

    @Test(
        "without a helper's file of now its checks are unknown, with the reason",
        arguments: [
            (nil, "needs petrel-posture-helper"),
            (
                PostureHost.helper(at: PostureHost.seconds - 3_601),
                "needs petrel-posture-helper: its file is old"
            ),
            (
                PostureHost.helper(at: PostureHost.seconds + 3_601),
                "needs petrel-posture-helper: its file is old"
            ),
            ("petrel_posture_root_value{", "/run/petrel/posture.prom is malformed"),
            ("", "needs petrel-posture-helper: its file is old"),
        ])
    func withoutHelper(text: String?, reason: String) throws {
        let result = try PostureHost.look([PostureHost.helperPath: text])
        for check in [
            "sshd_permit_root_login", "accounts_empty_password", "auditd_rules", "fail2ban_jails",
            "apparmor_profiles", "firewall_input_policy", "ufw_enabled", "ufw_default_incoming",
            "sysctl_bpf_jit_harden",
        ] {
            #expect(result.checks[check] == -1, "\(check)")
            #expect(result.actual[check] == reason, "\(check)")
        }
        #expect(result.checks["accounts_uid_zero"] == 1)
        #expect(result.actual["sshd_port"] == nil)
    }

    // MARK: - When

    @Test("a look stands for an hour, or a minute where a watched file changed")
    func held() throws {
        let tree = PostureHost.tree()
        let reader = PostureHost.reader(tree)
        let setting = "/proc/sys/kernel/kptr_restrict"
        func value(_ seconds: Int64) throws -> Double? {
            try PostureHost.read(reader, afterSeconds: seconds).checks["sysctl_kptr_restrict"]
        }
        #expect(try value(0) == 1)
        tree.create(setting, "0\n")
        #expect(try value(3_599) == 1)
        #expect(try value(3_600) == 0)
        tree.create(setting, "1\n")
        tree.create("/etc/passwd", "root:x:0:0\n")
        #expect(try value(3_659) == 0)
        #expect(try value(3_660) == 1)
        // A clock that was set back makes the look old.
        tree.create(setting, "0\n")
        #expect(try value(100) == 0)
    }

    @Test("the score weighs by severity and leaves out what is unknown or ignored")
    func score() throws {
        let changes = [
            "/etc/passwd": "root:x:0:0\ntoor:x:0:0\n", PostureHost.helperPath: nil,
        ]
        let weight: [String: Double] = ["critical": 8, "high": 4, "medium": 2, "low": 1]
        var weights = 0.0
        let result = try PostureHost.look(changes)
        for (check, value) in result.checks where value >= 0 {
            let severity = try #require(result.severities[check])
            weights += try #require(weight[severity])
        }
        let score = try #require(result.value("petrel_posture_score"))
        #expect(abs(score - 100 * (weights - 8) / weights) < 1e-9)
        var options = PostureOptions()
        options.ignored = [.accountsUIDZero]
        let ignoring = try PostureHost.read(
            PostureHost.reader(PostureHost.tree(changes), options: options))
        #expect(ignoring.checks["accounts_uid_zero"] == nil)
        #expect(ignoring.actual["accounts_uid_zero"] == nil)
        #expect(ignoring.value("petrel_posture_score") == 100)
    }

    // MARK: - Configuration

    private static func options(_ text: String) throws -> PostureOptions {
        var root = try YAMLMapping.parse(text, file: "agent.yaml")
        let options = try PostureOptions(&root)
        try root.finish()
        return options
    }

    @Test("configuration")
    func configuration() throws {
        #expect(try Self.options("{}") == PostureOptions())
        let options = try Self.options(
            "posture: {enabled: false, ignore: [mount_tmp, kernel_taint]}")
        #expect(!options.isEnabled && options.ignored == [.mountTmp, .kernelTaint])
        let unknown = #expect(throws: YAMLError.self) {
            try Self.options("posture:\n  ignore: [mount_temp]\n")
        }
        #expect(
            unknown?.description.hasPrefix(
                "agent.yaml:2:11: `ignore`: no posture check `mount_temp`; expected one of acc")
                == true)
        for check in PostureCheck.allCases {
            #expect(unknown?.message.contains(check.rawValue) == true)
        }
        #expect(throws: YAMLError.self) { try Self.options("posture: {ignored: []}") }
        #expect(throws: YAMLError.self) { try Self.options("posture: {enabled: maybe}") }
    }
}

extension Dictionary where Key == String {
    fileprivate func removing(_ key: String) -> [String: Value] { filter { $0.key != key } }
}
