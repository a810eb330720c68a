import AgentHelper
import AgentRead
import Model
import Testing

@Suite("Posture: the helper's facts in the agent's checks")
struct PostureChecksTests {
    private static let helperPath = "/run/petrel/posture.prom"

    private static let files = [
        "/etc/shadow": "root:!:1::::::\nada:$6$a$b:1::::::\n",
        "/etc/audit/rules.d/a.rules": "-w /etc/passwd -p wa\n",
        "/usr/lib/systemd/system/auditd.service": "",
        "/usr/lib/systemd/system/fail2ban.service": "",
        "/etc/fail2ban/jail.conf": "[sshd]\nenabled = true\n",
        "/sys/kernel/security/apparmor/profiles": "/usr/sbin/x (enforce)\n",
        "/sys/module/apparmor/parameters/enabled": "Y\n",
        "/proc/sys/net/core/bpf_jit_harden": "2\n",
        "/proc/net/ip_tables_names": "", "/proc/net/ip6_tables_names": "",
        "/usr/sbin/sshd": "", "/usr/sbin/ufw": "",
        "/etc/ssh/sshd_config":
            "PermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
        "/etc/ufw/ufw.conf": "ENABLED=yes\n",
        "/etc/default/ufw": "DEFAULT_INPUT_POLICY=\"DROP\"\n",
        "/etc/ufw/user.rules": "", "/etc/ufw/user6.rules": "",
    ]

    /// The checks of a host whose helper has just run.
    private static func checks(_ changes: [String: String] = [:]) throws -> [String: Double] {
        var host = FakeHost(files: files.merging(changes, uniquingKeysWith: { $1 }))
        let helper = PostureHelper(
            tree: host, root: "/", clock: FixedClock(), chainDump: ChainDump.chains)
        host.files[helperPath] = String(decoding: helper.exposition(), as: UTF8.self)
        let reader = PostureReader(tree: host, paths: NodePaths(), stateFolder: "/nowhere")
        let families = try reader.read(now: FixedClock().now)
        let points = families.first { $0.name == "petrel_posture_check" }?.points ?? []
        return Dictionary(
            points.map { ($0.labels["check"], $0.value) }, uniquingKeysWith: { $1 })
    }

    private static let names = [
        "accounts_empty_password", "apparmor_profiles", "auditd_rules", "fail2ban_jails",
        "firewall_input_policy", "sshd_kbd_interactive_authentication",
        "sshd_password_authentication", "sshd_permit_empty_passwords", "sshd_permit_root_login",
        "sysctl_bpf_jit_harden", "ufw_default_incoming", "ufw_enabled",
    ]

    @Test("every fact that a check takes is found under the name that the helper gives it")
    func pass() throws {
        let checks = try Self.checks()
        for name in Self.names { #expect(checks[name] == 1, "\(name)") }
    }

    @Test(
        "a host that is not in order fails",
        arguments: [
            ("/etc/shadow", "root::1::::::\n", "accounts_empty_password"),
            ("/etc/audit/rules.d/a.rules", "-D\n", "auditd_rules"),
            ("/etc/fail2ban/jail.conf", "[sshd]\nenabled = false\n", "fail2ban_jails"),
            ("/sys/kernel/security/apparmor/profiles", "x (complain)\n", "apparmor_profiles"),
            ("/proc/sys/net/core/bpf_jit_harden", "0\n", "sysctl_bpf_jit_harden"),
            ("/etc/default/ufw", "DEFAULT_INPUT_POLICY=ACCEPT\n", "ufw_default_incoming"),
            (
                "/etc/ssh/sshd_config",
                "PasswordAuthentication no\nMatch User a\nPasswordAuthentication yes\n",
                "sshd_password_authentication"
            ),
            ("/etc/ssh/sshd_config", "# nothing\n", "sshd_permit_root_login"),
            ("/etc/ssh/sshd_config", "PermitEmptyPasswords yes\n", "sshd_permit_empty_passwords"),
        ])
    func fail(path: String, text: String, check: String) throws {
        #expect(try Self.checks([path: text])[check] == 0)
    }
}
