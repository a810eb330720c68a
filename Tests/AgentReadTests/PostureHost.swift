import AgentRead
import Model
import World

/// A host on which every check passes, and what tests change of it.
enum PostureHost {
    /// As `NodeReaderTests.now`, in whole seconds.
    static let seconds: Int64 = 1_700_000_000
    static let state = "/var/lib/petrel/agent"
    static let lists = "/var/lib/apt/lists/mirror.example_debian-security_dists_bookworm-security"
    static let list = lists + "_main_binary-amd64_Packages"
    static let helperPath = "/run/petrel/posture.prom"

    static let calls = Calls()
    static let modes = Modes(
        modes: [state: 0o700, state + "/identity": 0o700, state + "/identity/key.pem": 0o600])

    struct Modes: FileModes {
        var modes: [String: UInt32]
        func mode(of path: String) -> UInt32? { modes[path] }
    }

    struct Calls: HostCalls {
        var release = "6.1.0-28-amd64"
        /// `STA_…` bits; nil makes adjtimex fail.
        var status: Int32? = 0
        func fileSystem(_ path: String) throws(ReadError) -> FileSystemStatistics {
            throw .system(operation: "statvfs", errno: 2)
        }
        func identity() throws(ReadError) -> HostIdentity {
            HostIdentity(
                system: "Linux", release: release, version: "", machine: "x86_64", node: "web1",
                domain: "")
        }
        func zone(at time: TimestampNS) -> (name: String, offsetSeconds: Int) { ("UTC", 0) }
        func clockAdjustment() throws(ReadError) -> ClockAdjustment {
            guard let status else { throw .system(operation: "adjtimex", errno: 1) }
            var clock = ClockAdjustment()
            clock.status = status
            return clock
        }
        func tcpCounts() throws(ReadError) -> TCPCounts { TCPCounts() }
        func listeningPorts() throws(ReadError) -> Set<UInt16> { [] }
    }

    // MARK: - The root helper's file

    static let values: [String: Double] = [
        "accounts.empty_password": 0, "apparmor.enforce": 12, "audit.rules": 3,
        "fail2ban.jails": 1, "firewall.legacy_tables": 0, "kernel.bpf_jit_harden": 2,
        "ufw.enabled": 1,
    ]
    static let words = [
        "firewall.input_policy=drop", "firewall.input_policy_v6=drop", "sshd.port=22",
        "sshd.permit_root_login=no", "sshd.match_permit_root_login=none",
        "sshd.password_authentication=no", "sshd.match_password_authentication=none",
        "sshd.kbd_interactive_authentication=no",
        "sshd.match_kbd_interactive_authentication=none", "sshd.permit_empty_passwords=no",
        "sshd.match_permit_empty_passwords=none", "ufw.default_input_policy=drop",
    ]

    static func helper(
        values changes: [String: Double] = [:], words: [String] = words,
        incomplete: Set<String> = [], at time: Int64 = seconds
    ) -> String {
        var text = "# TYPE petrel_posture_root_value gauge\n"
        for (fact, value) in values.merging(changes, uniquingKeysWith: { $1 }) {
            text += "petrel_posture_root_value{fact=\"\(fact)\"} \(value)\n"
        }
        for word in words {
            let parts = word.split(separator: "=")
            text +=
                "petrel_posture_root_info{fact=\"\(parts[0])\",source=\"/x\","
                + "value=\"\(parts[1])\"} 1\n"
        }
        for group in ["sshd", "accounts", "audit", "fail2ban", "apparmor", "ufw", "firewall"] {
            let success = incomplete.contains(group) ? 0 : 1
            text += "petrel_posture_root_success{group=\"\(group)\"} \(success)\n"
        }
        return text + "petrel_posture_root_last_run_timestamp_seconds \(time)\n"
    }

    // MARK: - Files

    static let conf = "/proc/sys/net/ipv4/conf/"
    static let group = "/sys/fs/cgroup/system.slice/"

    static let sysctls = [
        "kernel/dmesg_restrict": "1", "kernel/kptr_restrict": "1",
        "kernel/perf_event_paranoid": "3", "fs/protected_fifos": "1",
        "fs/protected_hardlinks": "1", "fs/protected_regular": "2", "fs/protected_symlinks": "1",
        "kernel/yama/ptrace_scope": "1", "kernel/randomize_va_space": "2",
        "fs/suid_dumpable": "0", "kernel/sysrq": "438", "net/ipv4/tcp_syncookies": "1",
        "kernel/unprivileged_bpf_disabled": "2", "kernel/tainted": "4096",
    ]
    static let interface = [
        "rp_filter": "1", "accept_redirects": "0", "accept_source_route": "0",
        "send_redirects": "0", "log_martians": "1", "forwarding": "0",
    ]

    static var files: [String: String] {
        var files = [
            "/proc/1/mountinfo": """
            20 1 8:1 / / rw,relatime - ext4 /dev/vda rw
            21 20 0:2 / /tmp rw,nosuid,nodev,noexec - tmpfs tmpfs rw
            22 20 0:3 / /var/tmp rw,nosuid,nodev - tmpfs tmpfs rw
            23 20 0:4 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw

            """,
            "/proc/net/if_inet6": "fe80 02 40 20 80 eth0\n",
            "/sys/devices/system/cpu/vulnerabilities/meltdown": "Not affected\n",
            "/sys/devices/system/cpu/vulnerabilities/mds":
                "Mitigation: Clear CPU buffers; SMT vulnerable\n",
            "/sys/module/apparmor/parameters/enabled": "Y\n",
            "/boot/vmlinuz-6.1.0-9-amd64": "", "/boot/vmlinuz-6.1.0-28-amd64": "",
            "/boot/vmlinuz-6.1.0-30-cloud-amd64": "",
            "/sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
            group + "cgroup.events": "populated 1\nfrozen 0\n",
            "/etc/chrony/chrony.conf": "# rtcsync\npool x\nrtcsync\n",
            "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nada:x:1000:27::/home/ada:/bin/sh\n",
            "/etc/group": "root:x:0:\nsudo:x:27:bob,eve\ndocker:x:99:\n",
            "/usr/sbin/sshd": "", "/etc/ssh/sshd_config": "", "/usr/sbin/ufw": "",
            "/etc/ufw/ufw.conf": "", "/usr/bin/unattended-upgrade": "",
            "/etc/apt/apt.conf.d/20auto-upgrades":
                "APT::Periodic::Update-Package-Lists \"1\";\n"
                + "APT::Periodic::Unattended-Upgrade \"1\";\n",
            "/var/lib/apt/periodic/unattended-upgrades-stamp": "",
            "/var/lib/dpkg/status": """
            Package: openssl
            Status: install ok installed
            Architecture: amd64
            Version: 3.0.15-1~deb12u1

            """,
            list: "Package: openssl\nVersion: 3.0.15-1~deb12u1\nArchitecture: amd64\n",
            lists + "_InRelease":
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\n"
                + "Label: Debian-Security\nSuite: stable-security\nCodename: bookworm-security\n",
            helperPath: helper(),
        ]
        for unit in ["chrony", "fail2ban", "auditd"] {
            files["/usr/lib/systemd/system/\(unit).service"] = ""
            files[group + "\(unit).service/cgroup.events"] = "populated 1\nfrozen 0\n"
        }
        for (name, value) in sysctls { files["/proc/sys/" + name] = value + "\n" }
        for device in ["all", "default", "lo", "eth0"] {
            for (name, value) in interface { files["\(conf)\(device)/\(name)"] = value + "\n" }
        }
        return files
    }

    /// The good host with `changes`; nil takes a file away.
    static func tree(_ changes: [String: String?] = [:]) -> MemoryTree {
        var files = files
        for (path, text) in changes { files[path] = text }
        let tree = MemoryTree(files)
        tree.touch(list, seconds: seconds - 3_600)
        tree.touch("/var/lib/apt/periodic/unattended-upgrades-stamp", seconds: seconds - 86_400)
        return tree
    }

    // MARK: - Reading

    struct Result {
        var checks: [String: Double] = [:]
        var severities: [String: String] = [:]
        var actual: [String: String] = [:]
        var expected: [String: String] = [:]
        var families: [MetricFamily] = []

        func value(_ name: String) -> Double? {
            families.first { $0.name == name }?.points.first?.value
        }

        func counts(_ name: String) -> [String: Double] {
            var counts: [String: Double] = [:]
            for point in families.first(where: { $0.name == name })?.points ?? [] {
                counts["\(point.labels["origin"]) \(point.labels["arch"])"] = point.value
            }
            return counts
        }
    }

    static func reader(
        _ tree: any WorldFileTree, calls: Calls = calls, modes: Modes = modes,
        options: PostureOptions = PostureOptions()
    ) -> PostureReader {
        PostureReader(
            tree: tree, paths: NodePaths(), host: calls, modes: modes, options: options,
            stateFolder: state)
    }

    static func read(
        _ reader: PostureReader, afterSeconds: Int64 = 0
    ) throws -> Result {
        let now = TimestampNS((seconds + afterSeconds) * 1_000_000_000)
        var result = Result(families: try reader.read(now: now))
        for family in result.families {
            for point in family.points {
                let check = point.labels["check"]
                switch family.name {
                case "petrel_posture_check":
                    result.checks[check] = point.value
                    result.severities[check] = point.labels["severity"]
                case "petrel_posture_info":
                    result.actual[check] = point.labels["actual"]
                    result.expected[check] = point.labels["expected"]
                default: break
                }
            }
        }
        return result
    }

    /// One look at the good host with `changes`.
    static func look(
        _ changes: [String: String?] = [:], calls: Calls = calls, modes: Modes = modes
    ) throws -> Result {
        try read(reader(tree(changes), calls: calls, modes: modes))
    }
}
