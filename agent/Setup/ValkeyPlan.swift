import World

/// Plans how Valkey or Redis lets the agent read its statistics: a user of its own that can count, and read no value.
enum ValkeyPlanner {
    /// Each command that the agent may call, and why. Nothing else: no CONFIG (it shows requirepass), no EVAL, no value.
    static let commands: [(name: String, why: String)] = [
        ("ping", "is it up"),
        ("hello", "the newer protocol"),
        ("info", "all statistics"),
        ("client|setname", "its connection shows who it is in CLIENT LIST"),
        ("select", "queues in other databases than 0"),
        ("llen", "length of a list: waiting jobs"),
        ("zcard", "size of a sorted set: delayed, failed and completed jobs"),
        ("scard", "size of a set"),
        ("xlen", "length of a stream"),
        ("xinfo|groups", "lag of a stream's consumer groups"),
        ("slowlog|len", "number of slow commands, not their text"),
        ("latency|latest", "latency events, where latency-monitor-threshold is set"),
    ]
    /// Without these there is nothing to read.
    private static let needed: Set = ["ping", "info"]
    /// What the proof must print: alive, readable, and values refused.
    static let proofTexts = ["PONG", "redis_version", "NOPERM"]

    static func plan(_ facts: ValkeyFacts) -> SetupPlan {
        var plan = SetupPlan(subject: "valkey")
        plan.steps += obstacles(facts)
        guard !plan.isBlocked, let agent = facts.agent else { return plan }
        let password = facts.stored?.value ?? facts.newPassword
        plan.secrets = [password, StoredPassword.sha256(password)]
        if facts.stored?.isAgentsAlone != true {
            plan.add(
                .storeSecret(
                    SecretFile(path: facts.secretPath, value: password, owner: agent)))
        }
        let rules = rules(facts, password: password)
        plan.add(userStep(facts, rules, password))
        tellServer(facts, rules, &plan)
        return plan
    }

    private static func obstacles(_ facts: ValkeyFacts) -> [SetupStep] {
        var steps: [SetupStep] = []
        if facts.agent == nil {
            steps.append(
                .cannot(
                    because: "this machine has no user \(facts.agentUser)",
                    remedy: "install the petrel-agent package first, or name the agent's user "
                        + "with --user"))
        }
        if let major = facts.version.first, major < 6 {
            steps.append(
                .cannot(
                    because: "this server (version \(major)) has no users, which came with 6",
                    remedy: "upgrade it"))
        }
        let renames = facts.configuration.renames
        for name in needed.sorted() where renames[name] != nil {
            let line = facts.configuration.directives.last {
                $0.name == "rename-command" && $0.arguments.first?.lowercased() == name
            }
            steps.append(
                .cannot(
                    because:
                        "the command \(name.uppercased()), which the agent reads by, is renamed",
                    remedy: "remove line \((line?.line ?? 0) + 1) of "
                        + "\(line?.file ?? facts.configuration.path) and restart the server: the "
                        + "agent's user protects more than a new name does"))
        }
        if let path = facts.accessFilePath, facts.accessFile == nil {
            steps.append(
                .cannot(
                    because: "aclfile \(path) does not exist, so the server would not start",
                    remedy: "make it with the users you want, at least a line `user default on "
                        + ">PASSWORD ~* &* +@all`; requirepass is not used beside an aclfile"))
        }
        return steps
    }

    // MARK: The user

    static func rules(_ facts: ValkeyFacts, password: String) -> [String] {
        let renames = facts.configuration.renames
        let allowed = commands.map(\.name).filter {
            renames[String($0.prefix { $0 != "|" })] == nil
        }
        // Channels came with 6.2.
        let hasChannels = facts.version.lexicographicallyPrecedes([6, 2]) == false
        return ["on", "#" + StoredPassword.sha256(password), "~*"]
            + (hasChannels ? ["resetchannels"] : []) + ["-@all"] + allowed.map { "+" + $0 }
    }

    private static func userStep(
        _ facts: ValkeyFacts, _ rules: [String], _ password: String
    ) -> SetupStep {
        let file = facts.accessFile
        let users =
            (file.map { ValkeyConfiguration.directives($0) } ?? facts.configuration.directives)
            .filter { $0.name == "user" && $0.arguments.first == ValkeyFacts.user }
        if let entry = users.last {
            let user = AccessControlUser(rules: Array(entry.arguments.dropFirst()))
            if user.fits(AccessControlUser(rules: rules)) {
                return .alreadySo(
                    "line \(entry.line + 1) of \(entry.file) has the user \(ValkeyFacts.user)")
            }
        }
        let line = "user \(ValkeyFacts.user) " + rules.joined(separator: " ")
        let path = users.last?.file ?? file?.path ?? facts.configuration.path
        let content = file ?? facts.configuration.files[path]
        // An aclfile holds users and nothing else, not even comments.
        let inserted =
            file != nil || users.last != nil
            ? [line] : ["", SetupHost.mark + "a user that counts and reads no value.", line]
        let edit =
            users.last.map { LineEdit(line: $0.line, removed: 1, inserted: inserted) }
            ?? LineEdit(line: content?.lines.count ?? 0, inserted: inserted)
        let readable = line.replacing(StoredPassword.sha256(password), with: "(hidden)")
        return .changeFile(
            FileChange(
                path: path, before: content?.bytes ?? [], edits: [edit],
                why: users.isEmpty
                    ? "a user for the agent" : "the agent's user may do less or more than it needs",
                missing: readable,
                shown: inserted.map { "+" + ($0 == line ? readable : $0) }))
    }

    // MARK: The running server

    private static func tellServer(
        _ facts: ValkeyFacts, _ rules: [String], _ plan: inout SetupPlan
    ) {
        if facts.answer == .agentWorks, !plan.hasChanges {
            plan.add(.alreadySo("the running server lets the agent in, and to no value"))
            return
        }
        guard facts.answer != .none, let client = facts.client else {
            plan.add(
                facts.unit == nil
                    ? .note("no server answers; it takes the user at its start")
                    : restart(
                        facts,
                        because: "no client program (redis-cli, valkey-cli) or plain "
                            + "port to tell the running server"))
            if facts.unit != nil, facts.consent.restarts, let client = facts.client {
                plan.add(.verify(proof(client, plan.secrets[0])))
            }
            return
        }
        switch access(facts) {
        case .success(let password):
            if let password { plan.secrets.append(password) }
            let name = facts.configuration.renames["acl"] ?? "ACL"
            if name.uppercased() != "ACL" { plan.secrets.append(name) }
            let text =
                facts.accessFile == nil
                ? "\(name) SETUSER \(ValkeyFacts.user) reset \(rules.joined(separator: " "))"
                : "\(name) LOAD"
            plan.add(
                .run(
                    CommandStep(
                        "the running server takes the user, without a restart",
                        .program(
                            ProgramRun(
                                client, environment: password.map { ["REDISCLI_AUTH": $0] } ?? [:],
                                input: Array((text + "\n").utf8), deadlineSeconds: 10)),
                        expect: .prints("OK"),
                        remedy: "restart the server when it suits you: the user is in its file")))
        case .failure(let obstacle): plan.add(restart(facts, because: obstacle.because))
        }
        let restarts = facts.consent.restarts && facts.unit != nil
        if restarts || !plan.isBlocked {
            plan.add(.verify(proof(client, plan.secrets[0])))
        }
    }

    private struct Obstacle: Error { var because: String }

    /// The default user's password, nil where it needs none; or why the running server can't be told.
    private static func access(_ facts: ValkeyFacts) -> Result<String?, Obstacle> {
        if facts.configuration.renames["acl"] == "" {
            return .failure(
                Obstacle(because: "the ACL command is switched off (rename-command ACL \"\")"))
        }
        if facts.answer == .open { return .success(nil) }
        if let password = facts.consent.password { return .success(password) }
        guard facts.accessFilePath == nil, let password = facts.configuration.value("requirepass")
        else {
            return .failure(
                Obstacle(
                    because: "the running server wants a password that is in no file; give it in "
                        + "the environment as REDISCLI_AUTH"))
        }
        guard facts.consent.usesRequirepass else {
            return .failure(
                Obstacle(
                    because: "the running server wants its password (requirepass), which is only "
                        + "read from \(facts.configuration.path) with --use-requirepass"))
        }
        return .success(password)
    }

    private static func restart(_ facts: ValkeyFacts, because: String) -> SetupStep {
        let standard =
            facts.configuration.path.contains("valkey") ? "valkey-server" : "redis-server"
        let unit = facts.unit ?? standard + ".service"
        if facts.consent.restarts, let systemctl = facts.systemctl, facts.unit != nil {
            return .run(
                CommandStep(
                    "the server starts again and takes the user",
                    .program(ProgramRun([systemctl, "restart", unit], deadlineSeconds: 120)),
                    remedy: "its file is as it was: systemctl start \(unit), and see journalctl -u "
                        + unit, restoresFiles: true))
        }
        return .cannot(
            because: because,
            remedy: "systemctl restart \(unit) when it suits you (or run this with --restart); the "
                + "user is in its file then")
    }

    /// Asked as the agent: it is let in, reads statistics, and is refused a value.
    static func proof(_ client: [String], _ password: String) -> CommandStep {
        CommandStep(
            "the user \(ValkeyFacts.user) reads INFO and is refused GET",
            .program(
                ProgramRun(
                    client + ["--user", ValkeyFacts.user],
                    environment: ["REDISCLI_AUTH": password],
                    input: Array("PING\nINFO server\nGET petrel:none\n".utf8), deadlineSeconds: 10)),
            expect: .contains(proofTexts), remedy: "look into the server's log",
            attempts: CommandStep.attemptsAfterReload)
    }
}
