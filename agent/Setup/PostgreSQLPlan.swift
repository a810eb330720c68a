import World

/// Plans how PostgreSQL lets the agent read its statistics: a role that the agent's system user becomes over the socket,
/// without a password, in pg_monitor.
enum PostgreSQLPlanner {
    /// Connections of the agent at a time; one is left for a person who tries.
    static let connectionsMax = 5

    static func plan(_ facts: PostgreSQLFacts) -> SetupPlan {
        var plan = SetupPlan(subject: "postgresql " + facts.cluster.label)
        guard facts.hasAgentUser else {
            plan.steps.append(
                .cannot(
                    because: "this machine has no user \(facts.agentUser)",
                    remedy: "install the petrel-agent package first, or name the agent's user "
                        + "with --user"))
            return plan
        }
        switch facts.answer {
        case .silent(let because, let remedy, let isDown):
            plan.add(.cannot(because: because, remedy: remedy))
            // A server that runs must be told of a change; one that is down reads the file at its start.
            for step in ruleSteps(facts, server: nil) {
                if case .changeFile(let change) = step, !isDown {
                    plan.add(
                        .cannot(
                            because: "\(change.path) lacks `\(change.missing)`: \(change.why)",
                            remedy: "once the server can be asked, this adds it"))
                } else {
                    plan.add(step)
                }
            }
        case .server(let server):
            let rules = ruleSteps(facts, server: server)
            plan.steps += roleSteps(facts, server) + rules
            if !plan.isBlocked {
                let isReloaded = rules.contains(where: \.isChange)
                plan.add(verification(facts, repairs: isReloaded ? [] : [reload(facts)]))
            }
        }
        return plan
    }

    // MARK: The role

    private static func roleSteps(
        _ facts: PostgreSQLFacts, _ server: PostgreSQLServer
    ) -> [SetupStep] {
        let statements = statements(facts.agentUser, server)
        if statements.isEmpty {
            var steps: [SetupStep] = [
                .alreadySo("role \"\(facts.agentUser)\" may log in and is in pg_monitor")
            ]
            if server.role?.isSuperuser == true {
                steps.append(
                    .note(
                        "role \"\(facts.agentUser)\" is a superuser; the agent needs no more than "
                            + "pg_monitor: ALTER ROLE \(SQLText.identifier(facts.agentUser)) "
                            + "NOSUPERUSER"))
            }
            return steps
        }
        guard !server.isInRecovery else {
            return [
                .cannot(
                    because: "cluster \(facts.cluster.label) is a standby, which takes its roles "
                        + "from the primary",
                    remedy: "run this on the primary, or there: "
                        + statements.joined(separator: " ")
                )
            ]
        }
        let command = CommandStep(
            "role \"\(facts.agentUser)\", which may read statistics and nothing else",
            .program(
                psql(facts, as: facts.serverUser, ["-1", "-f", "-"], statements: statements)),
            remedy: "see the message of PostgreSQL; nothing was changed by this step")
        return [.run(command)]
    }

    /// What the role lacks, as SQL.
    static func statements(_ user: String, _ server: PostgreSQLServer) -> [String] {
        let name = SQLText.identifier(user)
        var statements: [String] = []
        if let role = server.role {
            if !role.mayLogIn { statements.append("ALTER ROLE \(name) LOGIN;") }
            if role.isSuperuser { return statements }
            if !role.monitors, !role.inherits { statements.append("ALTER ROLE \(name) INHERIT;") }
        } else {
            statements += [
                "CREATE ROLE \(name) LOGIN CONNECTION LIMIT \(connectionsMax);",
                "ALTER ROLE \(name) SET default_transaction_read_only = on;",
                "ALTER ROLE \(name) SET statement_timeout = '5s';",
                "ALTER ROLE \(name) SET lock_timeout = '250ms';",
            ]
        }
        if server.role?.monitors != true {
            // From 16 on each grant says by itself whether it is inherited.
            let inherit = server.major >= 16 ? " WITH INHERIT TRUE" : ""
            statements.append("GRANT pg_monitor TO \(name)\(inherit);")
        }
        // Everybody may connect unless somebody took that away; saying it does no harm.
        if server.role?.connects != true {
            statements.append("GRANT CONNECT ON DATABASE postgres TO \(name);")
        }
        return statements
    }

    // MARK: The rule

    private static func ruleSteps(
        _ facts: PostgreSQLFacts, server: PostgreSQLServer?
    ) -> [SetupStep] {
        let path = facts.rulesFile.path
        if let broken = server?.brokenRule {
            return [
                .cannot(
                    because:
                        "\(path) has a mistake, so the server takes no change of it (\(broken))",
                    remedy: "mend that line, then run this again")
            ]
        }
        let memberships = server?.role?.memberships ?? []
        let verdict = facts.rules.verdict(
            for: SocketClient(
                user: facts.agentUser, database: "postgres",
                memberships: memberships.union(["pg_monitor"])))
        let why: String
        switch verdict {
        case .decided(let rule) where rule.admitsBySystemUser:
            return [.alreadySo("\(rule.place) lets the agent in")]
        case .decided(let rule):
            let method = rule.method.isEmpty ? "" : " and ask for \(rule.method)"
            why = "before \(rule.place), which would decide" + method
        case .uncertain(let rule):
            why = "before \(rule.place), whose regular expression may decide"
        case .unmatched: why = "no line lets the agent in over the socket"
        }
        let user = AccessRules.quoted(facts.agentUser)
        let change = FileChange(
            path: path, before: facts.rulesFile.bytes,
            edits: [
                LineEdit(
                    line: facts.rules.insertionLine(verdict),
                    inserted: [
                        SetupHost.mark + "the agent's system user reads statistics.",
                        columns(user),
                    ])
            ], why: why, missing: "local all \(user) peer")
        return [.changeFile(change)]
            + (server == nil ? [] : [.run(check(facts)), .run(reload(facts))])
    }

    /// The rule in the columns of Debian's file.
    private static func columns(_ user: String) -> String {
        "local   all             " + user
            + String(repeating: " ", count: max(1, 40 - user.utf8.count)) + "peer"
    }

    private static func check(_ facts: PostgreSQLFacts) -> CommandStep {
        let broken =
            "SELECT line_number, error FROM pg_hba_file_rules WHERE " + PostgreSQLFacts.brokenRule
        return CommandStep(
            "the server can read the new pg_hba.conf",
            .program(psql(facts, as: facts.serverUser, ["-c", broken])), expect: .prints(""),
            remedy: "the file is as it was before; report this, with the lines around the change",
            restoresFiles: true)
    }

    private static func reload(_ facts: PostgreSQLFacts) -> CommandStep {
        CommandStep(
            "the server reads pg_hba.conf again; no connection is cut",
            .program(psql(facts, as: facts.serverUser, ["-c", "SELECT pg_reload_conf()"])),
            expect: .prints("t"), remedy: "systemctl reload postgresql")
    }

    // MARK: The proof

    private static func verification(
        _ facts: PostgreSQLFacts, repairs: [CommandStep]
    ) -> SetupStep {
        let question = "SELECT current_user, pg_has_role('pg_monitor', 'USAGE')"
        return .verify(
            CommandStep(
                "\(facts.agentUser) connects by peer authentication and has pg_monitor's rights",
                .program(psql(facts, as: facts.agentUser, ["-c", question])),
                expect: .prints("\(facts.agentUser)|t"),
                remedy: "look into the server's log; `\(shown(facts))` must work",
                attempts: CommandStep.attemptsAfterReload, repairs: repairs))
    }

    private static func shown(_ facts: PostgreSQLFacts) -> String {
        "runuser -u \(facts.agentUser) -- psql -h \(facts.cluster.socketFolder ?? "") -p "
            + "\(facts.cluster.port) postgres"
    }

    private static func psql(
        _ facts: PostgreSQLFacts, as user: String, _ arguments: [String],
        statements: [String] = []
    ) -> ProgramRun {
        let text = statements.map { $0 + "\n" }.joined()
        return ProgramRun(
            (facts.tool[user] ?? ["/usr/bin/psql"])
                + PostgreSQLFacts.connection(facts.cluster, user: user) + arguments,
            input: Array(text.utf8))
    }
}
