import AgentHelper
import Testing

@Suite("Posture")
struct PostureTests {
    /// One group's reading of a host.
    static func read(
        _ group: PostureGroup, _ files: [String: String], denied: Set<String> = [],
        chains: [UInt8] = ChainDump.empty
    ) throws -> PostureReading {
        let helper = PostureHelper(
            tree: FakeHost(files: files, denied: denied), root: "/", clock: FixedClock(),
            chainDump: chains)
        return try #require(helper.readings().first { $0.0 == group }).1
    }

    static func word(_ reading: PostureReading, _ fact: PostureFact) -> String? {
        reading.words.first { $0.fact == fact }.map {
            $0.source.isEmpty ? $0.value : "\($0.value) in \($0.source)"
        }
    }

    static func problems(_ reading: PostureReading) -> [String] {
        reading.problems.map { "\($0.path): \($0.reason)" }
    }

    @Test(
        "bpf_jit_harden",
        arguments: [("2\n", 2.0, true), ("0\n", 0, true), ("x\n", nil, false), ("", nil, false)])
    func kernel(text: String, value: Double?, isComplete: Bool) throws {
        let reading = try Self.read(.kernel, ["/proc/sys/net/core/bpf_jit_harden": text])
        #expect(reading.numbers[.bpfJITHarden] == value)
        #expect(reading.isComplete == isComplete)
    }

    @Test(
        "bpf_jit_harden as sysctl's files set it",
        arguments: [
            (
                [
                    "/etc/sysctl.d/50-a.conf":
                        "# net.core.bpf_jit_harden = 0\nnet.core.bpf_jit_harden = 2\n"
                ], 2
            ),
            (
                [
                    "/etc/sysctl.d/50-a.conf": "net.core.bpf_jit_harden=1",
                    "/usr/lib/sysctl.d/90-b.conf": "-net/core/bpf_jit_harden = 2",
                ], 2
            ),
            (
                [
                    "/etc/sysctl.d/50-a.conf": "kernel.kptr_restrict=1",
                    "/usr/lib/sysctl.d/50-a.conf": "net.core.bpf_jit_harden = 2",
                ], nil
            ),
            (["/etc/sysctl.d/a.conf.bak": "net.core.bpf_jit_harden = 2"], nil),
            (["/etc/sysctl.d/a.conf": "net.core.bpf_jit_harden = x"], nil),
        ] as [([String: String], Double?)])
    func kernelConfigured(files: [String: String], value: Double?) throws {
        let reading = try Self.read(.kernel, files)
        #expect(reading.numbers[.bpfJITHardenConfigured] == value)
        #expect(reading.numbers[.bpfJITHarden] == nil)
    }

    @Test("ufw: state, policies and rules")
    func ufw() throws {
        let reading = try Self.read(
            .ufw,
            [
                "/etc/ufw/ufw.conf": "# comment\nENABLED=yes\nLOGLEVEL=low\n",
                "/etc/default/ufw":
                    "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\n#DEFAULT_OUTPUT_POLICY=\"DROP\"\n"
                    + "DEFAULT_OUTPUT_POLICY=\"ACCEPT\"\nDEFAULT_FORWARD_POLICY='DROP' # x\n",
                "/etc/ufw/user.rules": """
                *filter
                :ufw-user-input - [0:0]
                ### RULES ###

                ### tuple ### allow tcp 22 0.0.0.0/0 any 10.0.0.2 in
                -A ufw-user-input -p tcp --dport 22 -s 10.0.0.2 -j ACCEPT

                ### tuple ### allow any 443 0.0.0.0/0 any 0.0.0.0/0 in
                ### tuple ### allow_log tcp 80 0.0.0.0/0 any 0.0.0.0/0 in
                ### tuple ### deny tcp 25 0.0.0.0/0 any 0.0.0.0/0 in
                ### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
                ### tuple ### route:allow tcp 5432 10.0.0.3 any 0.0.0.0/0 in_eth0!out_eth1
                ### END RULES ###
                """,
                "/etc/ufw/user6.rules": "### tuple ### allow tcp 443 ::/0 any ::/0 in\n",
            ])
        #expect(
            reading.numbers == [
                .ufwEnabled: 1, .ufwRules: 6, .ufwRulesV6: 1, .ufwAnySourceRules: 4,
            ])
        #expect(Self.word(reading, .ufwInput) == "drop in /etc/default/ufw")
        #expect(Self.word(reading, .ufwOutput) == "accept in /etc/default/ufw")
        #expect(Self.word(reading, .ufwForward) == "drop in /etc/default/ufw")
        #expect(reading.isComplete && reading.problems.isEmpty)
    }

    @Test("ufw: off, unreadable, without a word, absent")
    func ufwOtherwise() throws {
        let off = try Self.read(.ufw, ["/etc/ufw/ufw.conf": "ENABLED=no\n"])
        #expect(off.numbers == [.ufwEnabled: 0] && off.isComplete)
        let denied = try Self.read(
            .ufw, ["/etc/ufw/ufw.conf": "ENABLED=yes"], denied: ["/etc/ufw/user.rules"])
        #expect(denied.numbers == [.ufwEnabled: 1] && !denied.isComplete)
        #expect(Self.problems(denied).contains("/etc/ufw/user.rules: denied"))
        let silent = try Self.read(.ufw, ["/etc/ufw/ufw.conf": "LOGLEVEL=low\n"])
        #expect(silent.numbers[.ufwEnabled] == nil && !silent.isComplete)
        let absent = try Self.read(.ufw, [:])
        #expect(absent.numbers.isEmpty && absent.isComplete)
        #expect(Self.problems(absent) == ["/etc/ufw/ufw.conf: absent"])
    }

    @Test("firewall: policies of the chains that the kernel has")
    func firewall() throws {
        let legacy = [
            "/proc/net/ip_tables_names": "filter\nnat\n", "/proc/net/ip6_tables_names": "",
        ]
        let reading = try Self.read(.firewall, legacy, chains: ChainDump.chains)
        #expect(reading.numbers == [.firewallChains: 2, .firewallLegacyTables: 2])
        #expect(Self.word(reading, .firewallInput) == "drop in nf_tables")
        #expect(Self.word(reading, .firewallInputV6) == "none in nf_tables")
        #expect(Self.word(reading, .firewallForward) == "accept in nf_tables")
        let empty = try Self.read(.firewall, [:])
        #expect(empty.numbers == [.firewallChains: 0])
        #expect(Self.word(empty, .firewallInput) == "none in nf_tables")
    }

    @Test(
        "firewall: a kernel that gives no answer is unknown",
        arguments: [
            (ChainDump.error(1), "denied", false), (ChainDump.error(13), "denied", false),
            (ChainDump.error(22), "absent", true),
            (ChainDump.error(16), "netlink: errno 16", false),
            ([], "malformed", false), (Array(ChainDump.chains.prefix(100)), "malformed", false),
            (Array(ChainDump.chains.prefix(112)), "malformed", false),
            ([4, 0, 0, 0] + [UInt8](repeating: 0, count: 12), "malformed", false),
        ])
    func firewallUnknown(dump: [UInt8], reason: String, isComplete: Bool) throws {
        let reading = try Self.read(.firewall, [:], chains: dump)
        #expect(reading.numbers.isEmpty && reading.words.isEmpty)
        #expect(reading.problems.first == PostureProblem(path: "nf_tables", reason: reason))
        #expect(reading.isComplete == isComplete)
    }

    @Test("firewall: a dump cut or changed anywhere never traps")
    func firewallGarbage() throws {
        for index in ChainDump.chains.indices {
            for value: UInt8 in [0, 1, 127, 255] {
                var dump = ChainDump.chains
                dump[index] = value
                _ = try Self.read(.firewall, [:], chains: dump)
            }
            _ = try Self.read(.firewall, [:], chains: Array(ChainDump.chains.prefix(index)))
        }
    }

    @Test(
        "audit: rules, and whether they lock themselves",
        arguments: [
            (
                [
                    "/etc/audit/rules.d/10-base.rules": "-D\n-b 8192\n-w /etc/passwd -p wa -k id\n",
                    "/etc/audit/rules.d/50-sys.rules":
                        "# -w /x\n-a always,exit -F arch=b64 -S execve\n-A exit,always -S x\n",
                    "/etc/audit/rules.d/99-end.rules": "-e 2\n",
                    "/etc/audit/rules.d/readme": "-w /x\n",
                    "/etc/audit/audit.rules": "-w /a\n",
                ], 3.0, 3.0, 1.0
            ),
            (["/etc/audit/audit.rules": "-w /a\n-w /b\n-e 1\n"], 2, 1, 0),
            (["/etc/audit/rules.d/a.rules": "-w /a\n-e 2\n-e 1\n"], 1, 1, 0),
            (["/etc/audit/rules.d/a.rules": "\n"], 0, 1, 0),
        ])
    func audit(files: [String: String], rules: Double, count: Double, isImmutable: Double) throws {
        let reading = try Self.read(.audit, files)
        #expect(
            reading.numbers == [
                .auditRules: rules, .auditRuleFiles: count, .auditImmutable: isImmutable,
            ])
    }

    @Test("audit: absent and denied are unknown")
    func auditUnknown() throws {
        let absent = try Self.read(.audit, [:])
        #expect(absent.numbers.isEmpty && absent.isComplete && !absent.problems.isEmpty)
        let denied = try Self.read(.audit, [:], denied: ["/etc/audit/rules.d"])
        #expect(denied.numbers.isEmpty && !denied.isComplete)
    }

    @Test("sudo: entries without a password, through includes")
    func sudo() throws {
        let reading = try Self.read(
            .sudo,
            [
                "/etc/sudoers": """
                Defaults env_reset
                # deploy ALL=(ALL) NOPASSWD: ALL
                root ALL=(ALL:ALL) ALL
                %sudo ALL=(ALL:ALL) ALL   # NOPASSWD: ALL
                #1000 ALL=(root) NOPASSWD: /usr/bin/apt
                User_Alias NOPASSWDERS = a, b
                deploy ALL=(ALL) \\
                    NOPASSWD: ALL
                @includedir /etc/sudoers.d
                #include more
                """,
                "/etc/sudoers.d/90-cloud": "ubuntu ALL=(ALL) NOPASSWD:ALL\n",
                "/etc/sudoers.d/README.txt": "x ALL=(ALL) NOPASSWD: ALL\n",
                "/etc/sudoers.d/old~": "x ALL=(ALL) NOPASSWD: ALL\n",
                "/etc/more": "Defaults:bob !authenticate\nci ALL= NOPASSWD: SETENV: ALL, /bin/x\n",
            ])
        #expect(
            reading.numbers == [
                .sudoNoPassword: 4, .sudoNoPasswordAll: 3, .sudoNoAuthentication: 1, .sudoFiles: 3,
            ])
        #expect(reading.isComplete)
    }

    /// An entry, whether it lets a command run without a password, and whether any command.
    static let sudoEntries: [(String, Double, Double)] = [
        ("a ALL=(ALL) ALL", 0, 0), ("a ALL=(ALL) NOPASSWD: ALL", 1, 1),
        ("a ALL=(ALL) NOPASSWD : ALL", 1, 1), ("a ALL=NOPASSWD:/bin/x", 1, 0),
        // A tag holds for what is behind it in the list, up to its opposite.
        ("a ALL=(ALL) NOPASSWD: /bin/x, ALL", 1, 1),
        ("a ALL=(ALL) NOPASSWD: /bin/x, (bob, eve) SETENV: ALL", 1, 1),
        ("a ALL=(ALL) NOPASSWD: /bin/x, PASSWD: ALL", 1, 0),
        ("a ALL=(ALL) NOPASSWD: PASSWD: ALL", 0, 0),
        ("a ALL=(ALL) PASSWD: /bin/x, NOPASSWD: ALL", 1, 1),
        ("a ALL=(ALL) ALL, NOPASSWD: /bin/x", 1, 0),
        ("a ALL=(ALL) NOPASSWD: !ALL, ALL -x", 1, 0),
        ("a ALL=(ALL) NOPASSWD: /bin/x\\, ALL", 1, 0),
        // Another list of hosts begins anew.
        ("a h1 = NOPASSWD: /bin/x : h2 = ALL", 1, 0),
        ("a h1 = NOPASSWD: ALL : h2 = /bin/x", 1, 1),
        ("a h1 = /bin/x : h2 = (root) NOPASSWD: ALL", 1, 1),
        ("a ALL = CWD=/tmp NOPASSWD: ALL", 1, 1),
        ("a ALL = NOPASSWD: /bin/x, CWD=/tmp ALL", 1, 1),
        ("Cmnd_Alias NOPASSWD = ALL", 0, 0), ("\"NOPASSWD\" ALL = ALL", 0, 0),
    ]

    @Test("sudo: how far NOPASSWD reaches", arguments: sudoEntries)
    func sudoTags(entry: String, any: Double, all: Double) throws {
        let numbers = try Self.read(.sudo, ["/etc/sudoers": entry + "\n"]).numbers
        #expect(numbers[.sudoNoPassword] == any && numbers[.sudoNoPasswordAll] == all)
    }

    @Test("sudo: a loop of includes ends, an include that can't be followed is named")
    func sudoIncludes() throws {
        let loop = try Self.read(.sudo, ["/etc/sudoers": "@include /etc/sudoers\n"])
        #expect(!loop.isComplete)
        #expect(Self.problems(loop) == ["/etc/sudoers: too many includes"])
        let host = try Self.read(.sudo, ["/etc/sudoers": "@include sudoers.%h\n"])
        #expect(Self.problems(host) == ["/etc/sudoers: include not followed: sudoers.%h"])
        let denied = try Self.read(
            .sudo, ["/etc/sudoers": "@includedir /etc/sudoers.d"],
            denied: ["/etc/sudoers.d/x"])
        #expect(!denied.isComplete && denied.numbers[.sudoNoPassword] == 0)
        #expect(try Self.read(.sudo, [:]).numbers.isEmpty)
    }

    @Test("sshd: the first value wins, through includes; Match blocks count apart")
    func sshd() throws {
        let reading = try Self.read(
            .sshd,
            [
                "/etc/ssh/sshd_config": """
                Include /etc/ssh/sshd_config.d/*.conf
                PermitRootLogin yes
                passwordauthentication = "yes"
                ChallengeResponseAuthentication no
                Match User backup
                    PasswordAuthentication yes
                    PubkeyAuthentication no
                Match all
                PermitEmptyPasswords yes
                """,
                "/etc/ssh/sshd_config.d/50-cloud.conf": "PasswordAuthentication no # x\n",
                "/etc/ssh/sshd_config.d/10-root.conf":
                    "PermitRootLogin without-password\nMatch Address 10.0.0.0/8\nPermitRootLogin yes\n",
                "/etc/ssh/sshd_config.d/.hidden.conf": "PermitRootLogin no\n",
                "/etc/ssh/sshd_config.d/x.conf.bak": "PermitRootLogin no\n",
            ])
        let folder = "/etc/ssh/sshd_config"
        #expect(
            Self.word(reading, .sshRootLogin) == "prohibit-password in \(folder).d/10-root.conf")
        #expect(Self.word(reading, .sshPassword) == "no in \(folder).d/50-cloud.conf")
        #expect(Self.word(reading, .sshKeyboard) == "no in \(folder)")
        #expect(Self.word(reading, .sshEmptyPasswords) == "yes in \(folder)")
        #expect(Self.word(reading, .sshPublicKey) == "yes")
        #expect(reading.numbers == [.sshMatchOverrides: 3, .sshFiles: 3])
        #expect(reading.isComplete)
    }

    @Test("sshd: what Match blocks set, and every port")
    func sshdMatch() throws {
        func values(_ reading: PostureReading, _ fact: PostureFact) -> [String] {
            reading.words.filter { $0.fact == fact }.map(\.value)
        }
        let reading = try Self.read(
            .sshd,
            [
                "/etc/ssh/sshd_config": """
                Port 22
                Port 2222
                PermitRootLogin no
                Match Address 10.0.0.0/8
                PermitRootLogin without-password
                PermitRootLogin no
                PermitRootLogin no
                """
            ])
        #expect(values(reading, .sshPort) == ["22", "2222"])
        #expect(values(reading, .sshRootLogin) == ["no"])
        #expect(values(reading, .sshMatchRootLogin) == ["prohibit-password", "no"])
        #expect(values(reading, .sshMatchPassword) == ["none"])
        #expect(reading.numbers[.sshMatchOverrides] == 3 && reading.isComplete)
        let plain = try Self.read(.sshd, ["/etc/ssh/sshd_config": "# Port 2\n"])
        #expect(Self.word(plain, .sshPort) == "22")
        let odd = try Self.read(.sshd, ["/etc/ssh/sshd_config": "Port 0\nPort 70000\n"])
        #expect(values(odd, .sshPort).isEmpty && !odd.isComplete)
        let match = try Self.read(
            .sshd, ["/etc/ssh/sshd_config": "Match User a\nPasswordAuthentication maybe\n"])
        #expect(values(match, .sshMatchPassword).isEmpty && !match.isComplete)
    }

    @Test(
        "sshd: lines as people write them",
        arguments: [
            ("PermitRootLogin no", "no"), ("\t permitrootlogin\tNO", "no"),
            ("PermitRootLogin=no", "no"), ("PermitRootLogin = no", "no"),
            ("PermitRootLogin \"no\"", "no"), ("#PermitRootLogin no", "prohibit-password"),
            ("PermitRootLogin no#x", nil), ("PermitRootLogin maybe", nil), ("PermitRootLogin", nil),
            ("", "prohibit-password"), ("PermitRootLogin no\r\nPermitRootLogin yes", "no"),
        ])
    func sshdLines(text: String, value: String?) throws {
        let reading = try Self.read(.sshd, ["/etc/ssh/sshd_config": text])
        #expect(reading.words.first { $0.fact == .sshRootLogin }?.value == value)
        #expect(reading.isComplete == (value != nil))
    }

    @Test("sshd: includes inside Match, loops, odd patterns, files that can't be read")
    func sshdIncludes() throws {
        let conditional = try Self.read(
            .sshd,
            [
                "/etc/ssh/sshd_config": "Match User x\nInclude a.conf\n",
                "/etc/ssh/a.conf": "PermitRootLogin yes\nMatch all\nPermitRootLogin yes\n",
            ])
        #expect(Self.word(conditional, .sshRootLogin) == "prohibit-password")
        #expect(conditional.numbers[.sshMatchOverrides] == 2)
        let loop = try Self.read(.sshd, ["/etc/ssh/sshd_config": "Include sshd_config\n"])
        #expect(Self.problems(loop) == ["/etc/ssh/sshd_config: too many includes"])
        let odd = try Self.read(.sshd, ["/etc/ssh/sshd_config": "Include conf[0-9]\nInclude */a\n"])
        #expect(odd.problems.count == 2 && !odd.isComplete)
        let denied = try Self.read(
            .sshd, ["/etc/ssh/sshd_config": "Include d/?.conf\n"], denied: ["/etc/ssh/d/a.conf"])
        #expect(Self.problems(denied) == ["/etc/ssh/d/a.conf: denied"])
        let absent = try Self.read(.sshd, [:])
        #expect(absent.words.isEmpty && absent.isComplete)
    }

    @Test("accounts: counts of passwords, never a name or a hash")
    func accounts() throws {
        let reading = try Self.read(
            .accounts,
            [
                "/etc/shadow": """
                root:!$y$j9T$abc:19000:0:99999:7:::
                daemon:*:19000:0:99999:7:::
                guest::19000:0:99999:7:::
                old:$1$salt$hash:19000::::::
                older:ab1234567890.:19000::::::
                new:$y$j9T$salt$hash:19000::::::
                nis:x:19000::::::

                """
            ])
        #expect(
            reading.numbers == [
                .accountsEmptyPassword: 1, .accountsPassword: 3, .accountsWeakHash: 2,
            ])
        #expect(Self.word(reading, .rootPassword) == "locked in /etc/shadow")
        #expect(reading.isComplete)
    }

    @Test(
        "accounts: root",
        arguments: [
            ("root:$y$x:1::::::\n", "set", true), ("root::1::::::\n", "empty", true),
            ("root:*:1::::::\n", "locked", true), ("bob:*:1::::::\n", nil, false),
            ("root:*:1:::\nnonsense\n", "locked", false),
        ])
    func rootPassword(text: String, value: String?, isComplete: Bool) throws {
        let reading = try Self.read(.accounts, ["/etc/shadow": text])
        #expect(reading.words.first?.value == value)
        #expect(reading.isComplete == isComplete)
    }

    @Test(
        "root's keys",
        arguments: [
            (
                [
                    "/root/.ssh/authorized_keys":
                        "# x\n\nssh-ed25519 A a\n  command=\"x\" ssh-rsa B\n",
                    "/root/.ssh/authorized_keys2": "ssh-rsa C\n",
                ], 3.0
            ),
            (["/root/.profile": ""], 0),
            (
                [
                    "/root/.profile": "", "/etc/keys/root": "ssh-rsa A\n",
                    "/etc/ssh/sshd_config": "AuthorizedKeysFile /etc/keys/%u %h/.k/100%%\n",
                    "/root/.k/100%": "ssh-rsa B\n", "/root/.ssh/authorized_keys": "ssh-rsa C\n",
                ], 2
            ),
            (
                [
                    "/etc/passwd": "a:x:1:1::/:\nroot:x:0:0:root:/home/root:/bin/sh\n",
                    "/home/root/.ssh/authorized_keys": "ssh-rsa A\n",
                ], 1
            ),
            (["/root/.profile": "", "/etc/ssh/sshd_config": "AuthorizedKeysFile none\n"], 0),
            (["/root/.profile": "", "/etc/ssh/sshd_config": "AuthorizedKeysFile /k/%k\n"], nil),
            ([:], nil),
        ] as [([String: String], Double?)])
    func rootKeys(files: [String: String], count: Double?) throws {
        let reading = try Self.read(.rootKeys, files)
        #expect(reading.numbers[.rootKeys] == count)
        #expect(reading.problems.isEmpty == (count != nil))
    }

    @Test("root's keys: a file that can't be read is unknown, not none")
    func rootKeysDenied() throws {
        let reading = try Self.read(.rootKeys, [:], denied: ["/root/.ssh/authorized_keys"])
        #expect(reading.numbers.isEmpty && !reading.isComplete)
    }

    @Test("fail2ban: the jails that the files switch on")
    func fail2ban() throws {
        let reading = try Self.read(
            .fail2ban,
            [
                "/etc/fail2ban/jail.conf":
                    "[INCLUDES]\nbefore = x\n[DEFAULT]\nenabled = false\n[sshd]\nport = ssh\n[nginx]\nenabled: no\n[caddy]\n",
                "/etc/fail2ban/jail.d/defaults-debian.conf": "[sshd]\nenabled = true\n",
                "/etc/fail2ban/jail.local":
                    "# [x]\n[nginx]\nenabled = yes ; on\n[recidive]\nENABLED = 1\n    enabled = false\n",
                "/etc/fail2ban/jail.d/z.local": "[recidive]\nenabled = false\n",
                "/etc/fail2ban/jail.d/notes.txt": "[caddy]\nenabled = true\n",
            ])
        #expect(reading.numbers == [.fail2banJails: 2])
        #expect(reading.words.map(\.value) == ["nginx", "sshd"])
        #expect(reading.isComplete)
        let standard = try Self.read(
            .fail2ban,
            ["/etc/fail2ban/jail.conf": "[DEFAULT]\nenabled = true\n[a]\n[b]\nenabled = maybe\n"])
        #expect(standard.words.map(\.value) == ["a", "b"] && !standard.isComplete)
        #expect(try Self.read(.fail2ban, [:]).numbers.isEmpty)
    }

    @Test("AppArmor: profiles by mode")
    func apparmor() throws {
        let reading = try Self.read(
            .apparmor,
            [
                "/sys/kernel/security/apparmor/profiles":
                    "/usr/sbin/x (enforce)\nsnap (with) brackets (complain)\nchrome (unconfined)\ny (kill)\nodd\n"
            ])
        #expect(
            reading.numbers == [.appArmorEnforce: 1, .appArmorComplain: 1, .appArmorOther: 3])
        #expect(try Self.read(.apparmor, [:]).numbers.isEmpty)
    }

    @Test("every fact is in every exposition; unknown is -1 or a word, never nothing")
    func exposition() {
        let helper = PostureHelper(
            tree: FakeHost(), root: "/", clock: FixedClock(), chainDump: ChainDump.error(1))
        let text = String(decoding: helper.exposition(), as: UTF8.self)
        for fact in PostureFact.allCases where fact != .fail2banJail {
            let line =
                fact.isWord
                ? "petrel_posture_root_info{fact=\"\(fact.rawValue)\",value=\"unknown\"} 1\n"
                : "petrel_posture_root_value{fact=\"\(fact.rawValue)\"} -1\n"
            #expect(text.contains(line), "\(fact.rawValue)")
        }
        for group in PostureGroup.allCases {
            let success = group == .firewall ? 0 : 1
            #expect(
                text.contains(
                    "petrel_posture_root_success{group=\"\(group.rawValue)\"} \(success)\n"))
            #expect(
                text.contains("petrel_posture_root_problem_info{group=\"\(group.rawValue)\",path="))
        }
        #expect(text.contains("petrel_posture_root_last_run_timestamp_seconds 1.7e+09\n"))
    }

    @Test(
        "a root of another place, with or without a slash at its end", arguments: ["/mnt", "/mnt/"])
    func otherRoot(root: String) {
        let tree = FakeHost(files: ["/mnt/etc/ufw/ufw.conf": "ENABLED=yes\n"])
        let helper = PostureHelper(
            tree: tree, root: root, clock: FixedClock(), chainDump: ChainDump.empty)
        let text = String(decoding: helper.exposition(), as: UTF8.self)
        #expect(text.contains("petrel_posture_root_value{fact=\"ufw.enabled\"} 1\n"))
    }

    @Test("a file that is too large is a failure with its reason")
    func large() throws {
        let reading = try Self.read(
            .sudo, ["/etc/sudoers": String(repeating: "#\n", count: 1 << 20)])
        #expect(Self.problems(reading) == ["/etc/sudoers: too large"] && !reading.isComplete)
    }
}
