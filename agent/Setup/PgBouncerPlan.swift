import World

/// Plans how PgBouncer lets the agent ask its console for statistics: the agent's user in `stats_users`, an entry in
/// `auth_file`, and a password where the way of authentication needs one.
/// Source: PgBouncer config "auth_type", "stats_users"; admin.c admin_pre_login.
enum PgBouncerPlanner {
    /// How the agent proves who it is.
    private enum Proof {
        /// Everybody is let in.
        case nothing
        /// The system user over the socket, or anybody who is listed.
        case listed
        case password
    }

    static func plan(_ facts: PgBouncerFacts) -> SetupPlan {
        var plan = SetupPlan(subject: "pgbouncer")
        guard let agent = facts.agent else {
            plan.steps.append(
                .cannot(
                    because: "this machine has no user \(facts.agentUser)",
                    remedy: "install the petrel-agent package first, or name the agent's user "
                        + "with --user"))
            return plan
        }
        let (proof, ruleSteps) = proof(facts)
        plan.steps += ruleSteps
        guard let proof else { return plan }
        var additions: [String] = []
        if case .nothing = proof {
            plan.steps.append(.alreadySo("auth_type = any lets everybody into the console"))
        } else {
            let (edit, step) = statsUsers(facts)
            plan.steps.append(step)
            additions = edit
            addUser(proof, facts, agent, &plan, &additions)
        }
        if !additions.isEmpty, let step = addedSettings(additions, facts) {
            plan.add(step)
        }
        finish(&plan, proof, facts)
        return plan
    }

    // MARK: Who may ask

    /// `stats_users` with the agent in it: the line to add, or the step where the line is there already.
    private static func statsUsers(_ facts: PgBouncerFacts) -> ([String], SetupStep) {
        let user = facts.agentUser
        guard let entry = facts.document.entry("stats_users") else {
            if let admins = facts.document.value("admin_users"), names(admins).contains(user) {
                return ([], .alreadySo("\(user) is one of admin_users"))
            }
            return (
                ["stats_users = \(user)"], .note("stats_users is not set; it will name \(user)")
            )
        }
        guard !names(entry.value).contains(user) else {
            return ([], .alreadySo("\(user) is one of stats_users"))
        }
        let line = "stats_users = " + (names(entry.value) + [user]).joined(separator: ", ")
        return (
            [],
            .changeFile(
                FileChange(
                    path: entry.file, before: facts.document.files[entry.file]?.bytes ?? [],
                    edits: [LineEdit(line: entry.line, removed: 1, inserted: [line])],
                    why: "\(user) may ask the console for statistics", missing: line))
        )
    }

    private static func names(_ list: String) -> [String] {
        list.split(separator: ",").map { $0.trimmed }.filter { !$0.isEmpty }
    }

    /// New lines of the section `[pgbouncer]`.
    private static func addedSettings(
        _ additions: [String], _ facts: PgBouncerFacts
    ) -> SetupStep? {
        let document = facts.document
        guard let section = document.sections["pgbouncer"] else {
            return .cannot(
                because: "\(document.path) has no section [pgbouncer]",
                remedy: "add it, and below it: " + additions.joined(separator: "; "))
        }
        return .changeFile(
            FileChange(
                path: document.path, before: document.files[document.path]?.bytes ?? [],
                edits: [
                    LineEdit(
                        line: section + 1,
                        inserted: ["; " + SetupHost.mark.dropFirst(2) + "the agent's access."]
                            + additions)
                ], why: "the agent's access", missing: additions.joined(separator: "; ")))
    }

    // MARK: The entry and the password

    private static func addUser(
        _ proof: Proof, _ facts: PgBouncerFacts, _ agent: UserAccount, _ plan: inout SetupPlan,
        _ additions: inout [String]
    ) {
        let password = facts.stored?.value ?? facts.newPassword
        var stored = ""
        if case .password = proof {
            stored = ScramVerifier(password: password, salt: facts.salt).text
            plan.secrets += [password, stored]
        }
        if (facts.document.value("auth_file") ?? "").isEmpty {
            additions.append("auth_file = \(facts.listPath)")
        }
        let list = facts.userList.map { UserList($0.lines) }
        let entry = list?.entries.last { $0.user == facts.agentUser }
        if case .password = proof, facts.stored?.isAgentsAlone != true {
            plan.steps.append(
                .storeSecret(
                    SecretFile(path: facts.secretPath, value: password, owner: agent)))
        }
        if let entry, isRight(entry, proof, facts) {
            plan.secrets.append(entry.password)
            plan.steps.append(
                .alreadySo("\(facts.userList?.path ?? "auth_file") has \(facts.agentUser)"))
            return
        }
        let line = "\"\(facts.agentUser)\" \"\(stored)\""
        let path = facts.userList?.path ?? facts.listPath
        let before = facts.userList?.bytes
        // PgBouncer takes `;` for a comment only from 1.20 on: an added line carries no mark here.
        let edit =
            entry.map { LineEdit(line: $0.line, removed: 1, inserted: [line]) }
            ?? LineEdit(line: TextLines(before ?? []).count, inserted: [line])
        if let entry { plan.secrets.append(entry.password) }
        let ownership = FileOwnership(
            user: facts.ownership.user, group: facts.ownership.group, mode: 0o640)
        plan.steps.append(
            .changeFile(
                FileChange(
                    path: path, before: before, edits: [edit],
                    ownership: before == nil ? .set(ownership) : .keep,
                    why: entry == nil
                        ? "PgBouncer must know the agent's user"
                        : "its entry does not fit the agent's password",
                    missing: "\"\(facts.agentUser)\" \"(hidden)\"",
                    shown: ["+\"\(facts.agentUser)\" \"(hidden)\""])))
    }

    private static func isRight(
        _ entry: UserList.Entry, _ proof: Proof, _ facts: PgBouncerFacts
    ) -> Bool {
        guard case .password = proof else { return true }
        guard let password = facts.stored?.value else { return false }
        return StoredPassword.accepts(entry.password, password, user: facts.agentUser)
    }

    // MARK: Ways of authentication

    /// How the agent is let in, and the steps for it; no proof where it can't be.
    private static func proof(_ facts: PgBouncerFacts) -> (Proof?, [SetupStep]) {
        let way = facts.document.value("auth_type") ?? "md5"
        switch way {
        case "any": return (.nothing, [])
        case "trust", "peer": return (.listed, [])
        case "md5", "plain", "scram-sha-256": return (.password, [])
        case "hba": return rules(facts)
        default:
            return (
                nil,
                [
                    .cannot(
                        because: "auth_type = \(way) lets nobody in by the socket or a password",
                        remedy: "set auth_type = hba and auth_hba_file, with `local pgbouncer "
                            + "\(facts.agentUser) peer` before a line `hostssl all all all \(way)`")
                ]
            )
        }
    }

    private static func rules(_ facts: PgBouncerFacts) -> (Proof?, [SetupStep]) {
        guard let rules = facts.rules, let file = facts.rulesFile else {
            let path = facts.document.value("auth_hba_file") ?? ""
            return (
                nil,
                [
                    .cannot(
                        because: "auth_type = hba, but "
                            + (path.isEmpty ? "auth_hba_file is not set" : "there is no \(path)"),
                        remedy: "make that file with the line: local pgbouncer "
                            + "\(facts.agentUser) peer")
                ]
            )
        }
        let verdict = rules.verdict(
            for: SocketClient(user: facts.agentUser, database: "pgbouncer", memberships: []))
        let why: String
        switch verdict {
        case .decided(let rule) where rule.admitsBySystemUser:
            return (.listed, [.alreadySo("\(rule.place) lets the agent in")])
        case .decided(let rule) where ["md5", "password", "scram-sha-256"].contains(rule.method):
            return (.password, [.alreadySo("\(rule.place) takes the agent's password")])
        case .decided(let rule), .uncertain(let rule): why = "before \(rule.place)"
        case .unmatched: why = "no line lets the agent in over the socket"
        }
        let line = "local pgbouncer \(AccessRules.quoted(facts.agentUser)) peer"
        return (
            .listed,
            [
                .changeFile(
                    FileChange(
                        path: file.path, before: file.bytes,
                        edits: [
                            LineEdit(
                                line: rules.insertionLine(verdict),
                                inserted: [SetupHost.mark + "the agent asks the console.", line])
                        ], why: why, missing: line))
            ]
        )
    }

    // MARK: Reload and proof

    private static func finish(_ plan: inout SetupPlan, _ proof: Proof, _ facts: PgBouncerFacts) {
        guard !plan.isBlocked else { return }
        let reload: CommandStep
        switch facts.running {
        case .no:
            plan.add(.note("PgBouncer does not run; it takes the settings at its start"))
            return
        case .unit(let unit, let systemctl): reload = self.reload([systemctl, "reload", unit])
        case .process(let number, let kill): reload = self.reload([kill, "-HUP", number])
        }
        let hasFileChange = plan.hasChanges
        if hasFileChange { plan.add(.run(reload)) }
        plan.add(verification(proof, facts, repairs: hasFileChange ? [] : [reload]))
    }

    private static func reload(_ arguments: [String]) -> CommandStep {
        CommandStep(
            "PgBouncer reads its files again; no connection is cut",
            .program(ProgramRun(arguments)),
            remedy: "look into PgBouncer's log; the old files are beside the new ones, with "
                + "\(SetupApplier.backupSuffix) at the end")
    }

    private static func verification(
        _ proof: Proof, _ facts: PgBouncerFacts, repairs: [CommandStep]
    ) -> SetupStep {
        guard let psql = facts.psql, let asAgent = facts.psqlAsAgent else {
            return .note("psql is not installed: whether the agent is let in was not tried")
        }
        let document = facts.document
        let sockets = document.value("unix_socket_dir") ?? "/tmp"
        let place = sockets.hasPrefix("/") ? sockets : tcpAddress(document)
        // In the environment, which only root can see here: never among the arguments.
        var environment: [String: String] = [:]
        var tool = asAgent
        if case .password = proof {
            environment["PGPASSWORD"] = facts.stored?.value ?? facts.newPassword
            tool = [psql]
        }
        return .verify(
            CommandStep(
                "\(facts.agentUser) asks the console: SHOW VERSION",
                .program(
                    ProgramRun(
                        tool + [
                            "-X", "-w", "-A", "-t", "-h", place, "-p",
                            document.value("listen_port") ?? "6432", "-U", facts.agentUser, "-d",
                            "pgbouncer", "-c", "SHOW VERSION",
                        ], environment: environment)),
                expect: .contains(["PgBouncer"]),
                remedy: "look into PgBouncer's log for the reason",
                attempts: CommandStep.attemptsAfterReload, repairs: repairs))
    }

    private static func tcpAddress(_ document: IniDocument) -> String {
        let first = document.value("listen_addr")?.split(separator: ",").first?.trimmed ?? ""
        return ["", "*", "0.0.0.0"].contains(first) ? "127.0.0.1" : first
    }
}
