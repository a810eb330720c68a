import AgentSetup
import Synchronization
import Testing
import World

/// What `psql` gives as `postgres`; the role's line is empty where there is no role.
private func serverAnswer(
    role: String = "", version: Int = 180_001, recovery: Bool = false, broken: String = ""
) -> String {
    """
    version|\(version)
    rules|/etc/postgresql/18/main/pg_hba.conf
    recovery|\(recovery)
    \(role.isEmpty ? "" : "role|" + role)
    \(broken.isEmpty ? "" : "broken|" + broken)
    """
}

private let goodRole = "true|true|false|true|true"
private let rulesPath = "/etc/postgresql/18/main/pg_hba.conf"
/// The guide's own: peer for postgres, TLS for the application alone.
private let guideRules = """
    # PostgreSQL Client Authentication
    local   all             postgres                                peer
    hostssl app             app             10.0.0.2/32             scram-sha-256
    host    all             all             0.0.0.0/0               reject

    """

@Suite("setup postgresql")
struct PostgreSQLSetupTests {
    /// A machine whose server has the role, or makes it when it is told to.
    private func machine(
        _ rules: String, role: String = goodRole, version: Int = 180_001, recovery: Bool = false,
        broken: String = "", more: [String: String] = [:]
    ) -> Machine {
        let folder = "/etc/postgresql/18/main"
        let machine = Machine(
            [
                folder + "/postgresql.conf": """
                data_directory = '/var/lib/postgresql/18/main'   # where
                hba_file = '\(rulesPath)'
                port = 5433
                unix_socket_directories = '/var/run/postgresql, /tmp'

                """, rulesPath: rules, "/var/run/postgresql/.s.PGSQL.5433": "",
            ].merging(more) { $1 }, programs: ["psql", "runuser"])
        machine.put(
            "/var/lib/postgresql/18/main/PG_VERSION", "18",
            FileOwnership(user: 101, group: 102, mode: 0o600))
        machine.state.withLock {
            $0.folders["/var/lib/postgresql/18/main"] = FileOwnership(
                user: 101, group: 102, mode: 0o700)
        }
        let made = Lines()
        if !role.isEmpty { made.add(role) }
        machine.answer { run in
            if run.inputText.contains("server_version_num") {
                return ProgramOutcome(
                    status: 0,
                    output: serverAnswer(
                        role: made.all.first ?? "", version: version, recovery: recovery,
                        broken: broken))
            }
            if run.inputText.contains("CREATE ROLE") { made.add(goodRole) }
            let asked = run.arguments.last ?? ""
            if asked.contains("pg_reload_conf") { return ProgramOutcome(status: 0, output: "t\n") }
            if asked.contains("current_user") {
                return ProgramOutcome(status: 0, output: "petrel-agent|t\n")
            }
            return ProgramOutcome(status: 0)
        }
        return machine
    }

    @Test("the guide's pg_hba.conf: role, line after the socket's lines, check, reload, proof")
    func guide() async throws {
        let machine = machine(guideRules, role: "")
        let plan = try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        #expect(plan.kinds == ["run", "change", "run", "run", "verify"])
        #expect(plan.changes.first?.missing == "local all petrel-agent peer")
        try await machine.setUp(.postgreSQL(cluster: "18/main"))
        #expect(
            machine.text(rulesPath) == """
                # PostgreSQL Client Authentication
                local   all             postgres                                peer
                # Added by 'petrel-agent setup': the agent's system user reads statistics.
                local   all             petrel-agent                            peer
                hostssl app             app             10.0.0.2/32             scram-sha-256
                host    all             all             0.0.0.0/0               reject

                """)
        #expect(machine.text(rulesPath + ".petrel-bak") == guideRules)
        let again = try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        #expect(again.kinds == ["ok", "ok", "verify"])
        #expect(!again.hasChanges)
    }

    @Test("psql runs as the server's user and as the agent's, over the socket and the port set")
    func runs() async throws {
        let machine = machine(guideRules, role: "")
        try await machine.setUp(.postgreSQL(cluster: nil))
        let users = machine.runs.map { $0.arguments[2] }
        #expect(users == ["postgres", "postgres", "postgres", "postgres", "petrel-agent"])
        for run in machine.runs {
            #expect(run.arguments.prefix(2) == ["/usr/bin/runuser", "-u"])
            #expect(run.arguments.contains("/var/run/postgresql"))
            #expect(run.arguments.contains("5433"))
        }
    }

    /// pg_hba.conf, and the number of the line (from 0) where the new rule must stand; nil: nothing to add.
    static let rules: [(String, Int?)] = [
        ("local all all peer\n", nil),
        ("local all petrel-agent peer\n", nil),
        ("local \"postgres\",app \"petrel-agent\" peer\n", nil),
        ("local all +pg_monitor trust\n", nil),
        ("local all \"a\"\"b\", petrel-agent peer\n", nil),
        ("local all all \\\n peer\n", nil),
        ("local all @agents peer\n", nil),
        ("local replication all peer\nlocal all all ident\n", nil),
        ("local all all scram-sha-256\n", 0),
        ("local all all peer map=admins\n", 0),
        ("# all\nlocal all all reject # nobody\n", 1),
        ("local all \"all\" peer\nlocal all all md5\n", 1),
        ("local sameuser all peer\n", 1),
        ("local all /^pet peer\n", 0),
        ("local app all peer\n", 1),
        ("local \"all\" all peer\n", 1),
        ("local replication petrel-agent peer\n", 1),
        ("host all all 127.0.0.1/32 trust\n", 1),
        ("local all postgres \\\n peer\nhost all all 10.0.0.0 255.0.0.0 md5\n", 2),
        ("include more.conf\n", 0),
        ("include_if_exists none.conf\nlocal all all peer\n", nil),
        ("", 0),
    ]

    @Test("who decides in pg_hba.conf", arguments: rules)
    func decides(rules: String, line: Int?) throws {
        let machine = machine(
            rules,
            more: [
                "/etc/postgresql/18/main/agents": "x\npetrel-agent # ours\n",
                "/etc/postgresql/18/main/more.conf": "local all all scram-sha-256\n",
            ])
        let plan = try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        #expect(plan.changes.first?.edits.first?.line == line, "\(rules)")
    }

    /// A rule that decides against the agent, and what is said of it.
    static let shown: [(String, String)] = [
        ("local all all ldap ldapserver=h ldapbindpasswd=hunter2", "`local all all ldap`"),
        ("local all all ldap \"ldapbindpasswd=hunter2 x\"", "`local all all ldap`"),
        (
            "local \"my db\",all all radius radiussecrets=hunter2",
            "`local \"my db\",all all radius`"
        ),
        // The method is missing.
        ("local all all radiussecrets=hunter2", "`local all all`"),
    ]

    @Test("a rule is shown without its options, which may be secrets", arguments: shown)
    func secrets(rule: String, text: String) throws {
        let report = try SetupService.postgreSQL(cluster: nil).plan(machine(rule + "\n").host)
            .report
        #expect(report.contains(text) && !report.contains("hunter2"), "\(report)")
    }

    /// The role as it is, and the statements that it lacks.
    static let roles: [(String, Int, [String])] = [
        (goodRole, 180_000, []),
        (
            "", 150_004,
            [
                "CREATE ROLE \"petrel-agent\" LOGIN CONNECTION LIMIT 5;",
                "ALTER ROLE \"petrel-agent\" SET default_transaction_read_only = on;",
                "ALTER ROLE \"petrel-agent\" SET statement_timeout = '5s';",
                "ALTER ROLE \"petrel-agent\" SET lock_timeout = '250ms';",
                "GRANT pg_monitor TO \"petrel-agent\";",
                "GRANT CONNECT ON DATABASE postgres TO \"petrel-agent\";",
            ]
        ),
        (
            "false|false|false|false|true", 160_000,
            [
                "ALTER ROLE \"petrel-agent\" LOGIN;", "ALTER ROLE \"petrel-agent\" INHERIT;",
                "GRANT pg_monitor TO \"petrel-agent\" WITH INHERIT TRUE;",
            ]
        ),
        (
            "true|true|false|true|false", 130_000,
            ["GRANT CONNECT ON DATABASE postgres TO \"petrel-agent\";"]
        ),
        ("true|true|true|true|true", 180_000, []),
    ]

    @Test("the role gets what it lacks and no more", arguments: roles)
    func role(role: String, version: Int, statements: [String]) throws {
        let machine = machine("local all all peer\n", role: role, version: version)
        let plan = try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        let run = plan.steps.compactMap { step -> ProgramRun? in
            guard case .run(let command) = step, case .program(let run) = command.action else {
                return nil
            }
            return run
        }.first
        #expect((run?.inputText ?? "") == statements.map { $0 + "\n" }.joined())
        #expect(run == nil || run?.arguments.contains("-1") == true)
    }

    @Test("a standby, a broken file, a missing user, a silent server: said with a remedy")
    func obstacles() throws {
        let service = SetupService.postgreSQL(cluster: nil)
        let standby = try service.plan(machine(guideRules, role: "", recovery: true).host)
        #expect(standby.isBlocked && standby.report.contains("run this on the primary"))
        let broken = try service.plan(
            machine(guideRules, broken: "line 3: invalid connection type").host)
        #expect(broken.changes.isEmpty && broken.report.contains("line 3: invalid"))
        let nobody = machine(guideRules)
        nobody.state.withLock { $0.accounts.removeAll { $0.name == "petrel-agent" } }
        #expect(try service.plan(nobody.host).report.contains("no user petrel-agent"))
        let silent = machine(guideRules)
        try silent.remove("/var/run/postgresql/.s.PGSQL.5433")
        let plan = try service.plan(silent.host)
        #expect(plan.kinds == ["cannot", "change"])
        #expect(plan.report.contains("pg_ctlcluster 18 main start"))
        let looking = try service.plan(machine(guideRules).host(isRoot: false))
        #expect(looking.kinds == ["cannot", "cannot"] && !looking.hasChanges)
        #expect(looking.report.contains("lacks `local all petrel-agent peer`"))
    }

    @Test("a file that the server can't read is put back before it is loaded")
    func restores() async throws {
        let machine = machine(guideRules)
        machine.answer { run in
            if run.inputText.contains("server_version_num") {
                return ProgramOutcome(status: 0, output: serverAnswer(role: goodRole))
            }
            return ProgramOutcome(status: 0, output: "3|bad\n")
        }
        await #expect(throws: SetupError.self) {
            try await machine.setUp(.postgreSQL(cluster: nil))
        }
        #expect(machine.text(rulesPath) == guideRules)
        #expect(!machine.runs.contains { $0.arguments.last?.contains("reload") == true })
    }

    @Test("a reload that an earlier run did not come to is made up for")
    func repairs() async throws {
        let machine = machine("local all all peer\n")
        let reloads = Lines()
        machine.answer { run in
            if run.inputText.contains("server_version_num") {
                return ProgramOutcome(status: 0, output: serverAnswer(role: goodRole))
            }
            if run.arguments.last?.contains("pg_reload_conf") == true {
                reloads.add("reload")
                return ProgramOutcome(status: 0, output: "t\n")
            }
            return reloads.all.isEmpty
                ? ProgramOutcome(status: 2, errors: "no pg_hba.conf entry\n")
                : ProgramOutcome(status: 0, output: "petrel-agent|t\n")
        }
        let plan = try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        #expect(!plan.hasChanges)
        try await machine.setUp(.postgreSQL(cluster: nil))
        #expect(reloads.all.count == 1)
    }

    @Test("clusters are chosen by name")
    func clusters() throws {
        #expect(throws: SetupError.self) {
            try SetupService.postgreSQL(cluster: nil).plan(Machine().host)
        }
        let machine = machine(
            guideRules,
            more: ["/etc/postgresql/16/old/postgresql.conf": "data_directory='/d'\nport 5440\n"])
        #expect {
            try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        } throws: {
            "\($0)".contains("16/old, 18/main") && "\($0)".contains("--cluster")
        }
        #expect {
            try SetupService.postgreSQL(cluster: "18/none").plan(machine.host)
        } throws: {
            "\($0)".contains("no cluster is called 18/none")
        }
        let plan = try SetupService.postgreSQL(cluster: "18/main").plan(machine.host)
        #expect(plan.subject == "postgresql 18/main")
    }

    /// postgresql.conf, and the port that holds.
    static let ports: [(String, String)] = [
        ("", "5432"), ("port = 5433\n", "5433"), ("port 5434 # that\n", "5434"),
        ("Port = '5435'\nport=5436\n", "5436"), ("#port = 1\ninclude 'x.conf'\n", "5440"),
        ("include_dir 'conf.d'\n", "5441"), ("include_if_exists 'none'\n", "5432"),
    ]

    @Test("postgresql.conf with its includes", arguments: ports)
    func port(text: String, port: String) throws {
        let folder = "/etc/postgresql/18/main"
        let machine = Machine(
            [
                folder + "/postgresql.conf": text + "hba_file = '\(rulesPath)'\n",
                rulesPath: guideRules, folder + "/x.conf": "port = 5440\n",
                folder + "/conf.d/a.conf": "port = 5441\n", folder + "/conf.d/b.txt": "port = 1\n",
            ], programs: ["psql", "runuser"])
        let plan = try SetupService.postgreSQL(cluster: nil).plan(machine.host)
        #expect(plan.report.contains("/.s.PGSQL.\(port))"), "\(plan.report)")
    }
}
