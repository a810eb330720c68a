import AgentSetup
import Testing
import World

private let ini = "/etc/pgbouncer/pgbouncer.ini"
private let list = "/etc/pgbouncer/userlist.txt"
private let secret = "/etc/petrel/secrets/pgbouncer"
/// RFC 7677's own example: the password `pencil`.
private let pencil =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    + ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

@Suite("setup pgbouncer")
struct PgBouncerSetupTests {
    static let service = SetupService.pgBouncer(configuration: nil)

    private func machine(_ settings: String, users: String? = "\"app\" \"x\"\n") -> Machine {
        let machine = Machine(
            [
                ini: "[databases]\napp = host=10.0.0.3\n\n[pgbouncer]\n" + settings,
                "/run/pgbouncer.pid": "4711\n", "/proc/4711/comm": "pgbouncer\n",
            ], programs: ["psql", "runuser", "kill"])
        if let users { machine.put(list, users) }
        machine.answer { run in
            run.arguments.contains("SHOW VERSION")
                ? ProgramOutcome(status: 0, output: "PgBouncer 1.18.0\n")
                : ProgramOutcome(status: 0)
        }
        return machine
    }

    private let guide = """
        listen_addr = 10.0.0.2
        auth_type = scram-sha-256
        auth_file = /etc/pgbouncer/userlist.txt
        ; who may look
        stats_users = ops, boss
        pidfile = /run/pgbouncer.pid
        unix_socket_dir = /var/run/postgresql

        """

    @Test("the guide's SCRAM: stats_users, verifier, password for the agent alone, reload, proof")
    func guideIsSetUp() async throws {
        let machine = machine(guide)
        let before = try #require(machine.text(ini))
        let plan = try Self.service.plan(machine.host)
        #expect(plan.kinds == ["change", "secret", "change", "run", "verify"])
        try await machine.setUp(Self.service)
        #expect(
            machine.text(ini)
                == before.replacing("= ops, boss", with: "= ops, boss, petrel-agent"))
        let users = try #require(machine.text(list))
        #expect(users.hasPrefix("\"app\" \"x\"\n\"petrel-agent\" \"SCRAM-SHA-256$4096:"))
        let ownership = try machine.ownership(secret)
        #expect(ownership == FileOwnership(user: 901, group: 902, mode: 0o600))
        #expect(try machine.ownership("/etc/petrel/secrets").mode == 0o750)
        let kill = machine.runs.first { $0.arguments[0] == "/usr/bin/kill" }
        #expect(kill?.arguments == ["/usr/bin/kill", "-HUP", "4711"])
        let password = machine.text(secret)?.split(separator: "\n").first.map(String.init)
        let proof = machine.runs.last
        #expect(proof?.environment["PGPASSWORD"] == password)
        #expect(proof?.arguments.contains { $0 == password } == false)
        let again = try Self.service.plan(machine.host)
        #expect(again.kinds == ["ok", "ok", "verify"])
    }

    @Test("no password and no verifier is ever printed")
    func secrets() async throws {
        let machine = machine(
            guide, users: "\"app\" \"hunter2\"\n\"petrel-agent\" \"old-secret\"\n")
        let plan = try Self.service.plan(machine.host)
        let said = try await machine.setUp(Self.service).joined() + plan.report
        let password = try #require(machine.text(secret)).split(separator: "\n")[0]
        #expect(password.count == 32)
        for text in ["hunter2", "old-secret", "SCRAM-SHA-256$", String(password)] {
            #expect(!said.contains(text))
        }
    }

    /// Entry in userlist.txt, stored password, and whether they fit.
    static let entries: [(String, Bool)] = [
        (pencil, true), ("md5411b4e0d7aaf45cbaa8f8a036745bb2f", true), ("pencil", true),
        ("md5511b4e0d7aaf45cbaa8f8a036745bb2f", false), ("pen", false), ("", false),
        (pencil.replacing("4096", with: "4097"), false), ("SCRAM-SHA-256$x", false),
        ("SCRAM-SHA-256$999999999:W22ZaJ0SNY7soEsUEjb6gQ==$a:b", false),
    ]

    @Test("an entry that fits the stored password stays", arguments: entries)
    func entry(stored: String, fits: Bool) throws {
        let machine = machine(
            guide, users: "; \"petrel-agent\" \"none\"\n\"petrel-agent\" \"\(stored)\"\n")
        machine.put(secret, "pencil\n", FileOwnership(user: 901, group: 902, mode: 0o600))
        let plan = try Self.service.plan(machine.host)
        #expect(plan.changes.contains { $0.path == list } == !fits)
        if !fits {
            #expect(plan.changes.first { $0.path == list }?.edits.first?.line == 1)
            #expect(!plan.kinds.contains("secret"))
        }
    }

    @Test("a password that is not the agent's alone is stored again, as it is")
    func owner() async throws {
        let machine = machine(guide, users: "\"petrel-agent\" \"\(pencil)\"\n")
        machine.put(secret, "pencil\n", FileOwnership(user: 33, group: 33, mode: 0o600))
        #expect(try Self.service.plan(machine.host).kinds.contains("secret"))
        try await machine.setUp(Self.service)
        #expect(machine.text(secret) == "pencil\n")
        #expect(try machine.ownership(secret).user == 901)
        #expect(try !Self.service.plan(machine.host).hasChanges)
    }

    /// Settings, and the steps that they lead to.
    static let ways: [(String, [String])] = [
        ("auth_type = any\n", ["ok", "note"]),
        (
            "auth_type = trust\nauth_file = \(list)\nstats_users = petrel-agent\n",
            ["ok", "change", "note"]
        ),
        ("auth_file = \(list)\nadmin_users = petrel-agent\n", ["ok", "secret", "change", "note"]),
        (
            "auth_type = plain\nauth_file = \(list)\n",
            ["note", "secret", "change", "change", "note"]
        ),
        ("auth_type = cert\n", ["cannot"]), ("auth_type = pam\n", ["cannot"]),
        ("auth_type = hba\n", ["cannot"]), ("auth_type = hba\nauth_hba_file = /none\n", ["cannot"]),
        (
            "auth_type = hba\nauth_hba_file = /hba-peer\nauth_file = \(list)\n",
            ["ok", "note", "change", "change", "note"]
        ),
        (
            "auth_type = hba\nauth_hba_file = /hba-scram\nauth_file = \(list)\n",
            ["ok", "note", "secret", "change", "change", "note"]
        ),
        (
            "auth_type = hba\nauth_hba_file = /hba-none\nauth_file = \(list)\n",
            ["change", "note", "change", "change", "note"]
        ),
    ]

    @Test("every way of authentication", arguments: ways)
    func way(settings: String, kinds: [String]) throws {
        let machine = machine(settings)
        machine.put("/hba-peer", "local all all peer\n")
        machine.put("/hba-scram", "local all all scram-sha-256\n")
        machine.put("/hba-none", "hostssl all all 0.0.0.0/0 cert\n")
        #expect(try Self.service.plan(machine.host).kinds == kinds, "\(settings)")
    }

    @Test("settings that are missing go below [pgbouncer]; a new list belongs to PgBouncer")
    func missing() async throws {
        let machine = machine("listen_port = 6433\n", users: "\"retired\" \"x\"\n")
        try await machine.setUp(Self.service)
        #expect(
            machine.text(ini) == """
                [databases]
                app = host=10.0.0.3

                [pgbouncer]
                ; Added by 'petrel-agent setup': the agent's access.
                stats_users = petrel-agent
                auth_file = /etc/pgbouncer/petrel-userlist.txt
                listen_port = 6433

                """)
        let own = "/etc/pgbouncer/petrel-userlist.txt"
        #expect(machine.text(own)?.hasPrefix("\"petrel-agent\" \"SCRAM-SHA-256$") == true)
        #expect(machine.text(list) == "\"retired\" \"x\"\n")
        #expect(try machine.ownership(own) == FileOwnership(user: 101, group: 102, mode: 0o640))
        #expect(try !Self.service.plan(machine.host).hasChanges)
    }

    @Test("an included file is edited where the setting stands; the last setting holds")
    func included() throws {
        let machine = machine("stats_users = a\n%include /etc/pgbouncer/more.ini\n")
        machine.put("/etc/pgbouncer/more.ini", "# more\nauth_file = \(list)\nstats_users = b\n")
        let plan = try Self.service.plan(machine.host)
        let change = plan.changes.first { $0.missing.hasPrefix("stats_users") }
        #expect(change?.path == "/etc/pgbouncer/more.ini")
        #expect(change?.missing == "stats_users = b, petrel-agent")
        #expect(change?.edits.first?.line == 2)
    }

    @Test("no configuration, and files that include themselves: said with a remedy")
    func errors() {
        #expect {
            try Self.service.plan(Machine().host)
        } throws: { "\($0)".contains("apt install pgbouncer") }
        #expect {
            try Self.service.plan(machine("%include \(ini)\n").host)
        } throws: { "\($0)".contains("10 levels") }
    }
}
