import World

/// What a running server says about itself and the agent's role.
struct PostgreSQLServer: Hashable, Sendable {
    struct Role: Hashable, Sendable {
        var mayLogIn: Bool
        var inherits: Bool
        var isSuperuser: Bool
        /// It has the rights of pg_monitor without asking for them (SET ROLE).
        var monitors: Bool
        /// It may connect to the database `postgres`.
        var connects: Bool
        /// Roles that it is in.
        var memberships: Set<String>
    }

    var versionNumber: Int
    var rulesFile: String
    /// A standby: roles come from its primary.
    var isInRecovery: Bool
    /// nil: there is none of that name.
    var role: Role?
    /// The first line of pg_hba.conf that the server can't read, and why.
    var brokenRule: String?

    var major: Int { versionNumber / 10_000 }
}

/// All that is looked at before PostgreSQL is set up.
struct PostgreSQLFacts: Hashable, Sendable {
    enum Answer: Hashable, Sendable {
        case server(PostgreSQLServer)
        /// Why the server could not be asked, and what to do. `isDown`: it does not run.
        case silent(because: String, remedy: String, isDown: Bool = false)
    }

    var cluster: PostgreSQLCluster
    var rules: AccessRules
    var rulesFile: ConfigurationFile
    var answer: Answer
    /// The system user that the server runs as.
    var serverUser: String
    /// `psql`, run as a user of this machine: everything before psql's own arguments.
    var tool: [String: [String]]
    var agentUser: String
    /// The agent's user exists on this machine.
    var hasAgentUser: Bool
}

extension PostgreSQLFacts {
    static func survey(
        _ cluster: PostgreSQLCluster, _ host: SetupHost
    ) throws(SetupError) -> PostgreSQLFacts {
        let owner = (try? host.files.ownership(cluster.dataDirectory))
            .flatMap { host.files.account(number: $0.user)?.name }
        let serverUser = owner ?? "postgres"
        var tool: [String: [String]] = [:]
        if let psql = host.programs.locate("psql") {
            for user in [serverUser, host.agentUser] {
                if let prefix = host.prefix(runningAs: user) { tool[user] = prefix + [psql] }
            }
        }
        let answer = try ask(cluster, serverUser, tool[serverUser], host)
        var path = cluster.rulesFile
        if case .server(let server) = answer { path = server.rulesFile }
        return PostgreSQLFacts(
            cluster: cluster, rules: try AccessRules.read(path, host),
            rulesFile: try host.read(path), answer: answer, serverUser: serverUser, tool: tool,
            agentUser: host.agentUser,
            hasAgentUser: host.files.account(named: host.agentUser) != nil)
    }

    private static func ask(
        _ cluster: PostgreSQLCluster, _ user: String, _ tool: [String]?, _ host: SetupHost
    ) throws(SetupError) -> Answer {
        guard let socket = cluster.socketFolder else {
            return .silent(
                because: "cluster \(cluster.label) has no unix socket",
                remedy: "set unix_socket_directories = '/var/run/postgresql' in "
                    + "\(cluster.folder)/postgresql.conf and restart the cluster")
        }
        guard host.isRoot else {
            return .silent(
                because: "the role can only be looked at by root",
                remedy: "sudo petrel-agent setup postgresql --cluster \(cluster.label) --dry-run")
        }
        guard let tool else {
            return .silent(
                because: "psql is not installed",
                remedy: "apt install postgresql-client, then run this again")
        }
        guard host.exists(socket + "/.s.PGSQL." + cluster.port) else {
            return .silent(
                because: "cluster \(cluster.label) does not run (no socket "
                    + "\(socket)/.s.PGSQL.\(cluster.port))",
                remedy: "pg_ctlcluster \(cluster.version) \(cluster.name) start, "
                    + "then run this again", isDown: true)
        }
        let outcome = try host.run(
            ProgramRun(
                tool + Self.connection(cluster, user: user) + ["-f", "-"],
                input: Array(question(host.agentUser).utf8)))
        guard outcome.status == 0, let server = PostgreSQLServer(answer: outcome.output) else {
            let said = outcome.errors.trimmed
            return .silent(
                because: "the server of cluster \(cluster.label) does not answer \(user): "
                    + (said.isEmpty ? "status \(outcome.status)" : said.words),
                remedy: "make `psql -p \(cluster.port)` work as \(user) (a line `local all "
                    + "\(user) peer` in \(cluster.rulesFile)), then run this again")
        }
        return .server(server)
    }

    /// psql's arguments for a quiet, bare answer; no start-up file, no password prompt.
    static func connection(_ cluster: PostgreSQLCluster, user: String) -> [String] {
        [
            "-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
            "-h", cluster.socketFolder ?? "", "-p", cluster.port, "-U", user, "-d", "postgres",
        ]
    }

    /// A line that the server can't read. Lines that it can read and that never fit (`hostssl` with ssl = off) have an error
    /// too, but their type is there, and the file is taken. Source: PostgreSQL 15 hbafuncs.c fill_hba_line, hba.c load_hba.
    static let brokenRule = "error IS NOT NULL AND type IS NULL"

    /// One answer a line, `name|value`. Works on PostgreSQL 10 and newer.
    private static func question(_ role: String) -> String {
        let name = SQLText.literal(role)
        return """
            SET search_path = pg_catalog;
            SELECT 'version|' || current_setting('server_version_num');
            SELECT 'rules|' || current_setting('hba_file');
            SELECT 'recovery|' || pg_is_in_recovery();
            SELECT 'role|' || rolcanlogin || '|' || rolinherit || '|' || rolsuper
              || '|' || pg_has_role(oid, 'pg_monitor', 'USAGE')
              || '|' || has_database_privilege(oid, 'postgres', 'CONNECT')
              FROM pg_roles WHERE rolname = \(name);
            SELECT 'member|' || g.rolname FROM pg_roles r, pg_roles g
              WHERE r.rolname = \(name) AND g.oid <> r.oid AND NOT r.rolsuper
                AND pg_has_role(r.oid, g.oid, 'MEMBER');
            SELECT 'broken|line ' || line_number || ': ' || error FROM pg_hba_file_rules
              WHERE \(brokenRule) ORDER BY line_number LIMIT 1;

            """
    }
}

extension PostgreSQLServer {
    /// Reads what `question` gives; nil where a line is missing.
    init?(answer: String) {
        var values: [String: [[String]]] = [:]
        for line in answer.split(separator: "\n") {
            let words = line.split(separator: "|", omittingEmptySubsequences: false)
            values[String(words[0]), default: []].append(words.dropFirst().map(String.init))
        }
        guard let version = values["version"]?.first?.first.flatMap({ Int($0) }),
            let rules = values["rules"]?.first?.first, let recovery = values["recovery"]?.first
        else { return nil }
        versionNumber = version
        rulesFile = rules
        isInRecovery = recovery == ["true"]
        brokenRule = values["broken"]?.first?.joined(separator: "|")
        if let facts = values["role"]?.first, facts.count == 5 {
            let truths = facts.map { $0 == "true" }
            role = Role(
                mayLogIn: truths[0], inherits: truths[1], isSuperuser: truths[2],
                monitors: truths[3], connects: truths[4],
                memberships: Set((values["member"] ?? []).map { $0.joined(separator: "|") }))
        }
    }
}

/// Names and texts inside SQL.
enum SQLText {
    static func identifier(_ name: String) -> String {
        "\"" + name.replacing("\"", with: "\"\"") + "\""
    }

    static func literal(_ text: String) -> String {
        "'" + text.replacing("'", with: "''") + "'"
    }
}
