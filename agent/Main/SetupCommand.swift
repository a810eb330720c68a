import AgentSetup
import ArgumentParser
import Glibc
import World
import WorldLive

/// `petrel-agent setup`: what the services of this host need so that the agent can read them.
struct SetupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup",
        abstract: "Lets the agent read a service of this host: shows what is missing, applies it.",
        discussion: """
            Looks at the service's own files, prints what it would change, asks, writes, and then \
            asks the service whether it works. What is set up already is left alone, so running it \
            twice changes nothing. A file is replaced whole or not at all, keeps its owner and \
            mode, and its state before the first change stays beside it as FILE.petrel-bak.

            Exit status: 0 set up (or nothing to do), 1 something failed or is left to do by hand, \
            2 wrong command line, 3 --dry-run found changes to make.
            """,
        subcommands: [
            SetupListCommand.self, SetupPostgreSQLCommand.self, SetupPgBouncerCommand.self,
            SetupValkeyCommand.self, SetupCaddyCommand.self,
        ],
        defaultSubcommand: SetupListCommand.self)
}

extension SetupHost {
    /// The packaged agent's.
    static let standardUser = "petrel-agent"

    /// This machine.
    static func live(agentUser: String = standardUser) -> SetupHost {
        SetupHost(
            files: LiveFileTree(), programs: LiveProgramRunner(), services: LiveLocalServices(),
            random: LiveRandom(), clock: LiveClock(), isRoot: geteuid() == 0, agentUser: agentUser)
    }
}

/// The options of every service.
struct SetupOptions: ParsableArguments {
    @Flag(name: .long, help: "Print what would be done, and do nothing; exit status 3: changes.")
    var dryRun = false
    @Flag(name: .long, help: "Do not ask before writing.")
    var yes = false
    @Option(help: "The agent's system user, and its name in the service.")
    var user = SetupHost.standardUser

    func validate() throws {
        let isName =
            user.count <= 32
            && user.first.map { ($0.isLetter && $0.isLowercase) || $0 == "_" } == true
            && user.utf8.allSatisfy {
                (97...122).contains($0) || (48...57).contains($0) || $0 == 95 || $0 == 45
            }
        guard isName else {
            throw ValidationError(
                "--user: expected a system user's name (a-z, 0-9, _ and -), found '\(user)'")
        }
    }

    var host: SetupHost { .live(agentUser: user) }

    /// Plans, shows, asks, applies.
    func carryOut(_ service: SetupService) async throws {
        let host = host
        guard host.isRoot || dryRun else {
            throw SetupError.needsRoot(service: service.name)
        }
        let plan = try service.plan(host)
        for line in SetupReport(plan).lines { print(line) }
        if dryRun {
            if plan.isBlocked { throw ExitCode(1) }
            if plan.hasChanges { throw ExitCode(3) }
            return
        }
        if plan.hasChanges { try confirm() }
        try await SetupApplier(host: host) { print($0) }.apply(plan)
        if plan.isBlocked { throw ExitCode(1) }
        print(plan.hasChanges ? "set up" : "already set up")
    }

    private func confirm() throws {
        guard !yes else { return }
        guard isatty(STDIN_FILENO) == 1 else {
            throw SetupError.noTerminal
        }
        print("Apply? [y/N] ", terminator: "")
        fflush(nil)
        let answer = readLine()?.lowercased() ?? ""
        guard answer == "y" || answer == "yes" else {
            throw SetupError.declined
        }
    }
}

/// `petrel-agent setup list`: what is found here, and what each lacks.
struct SetupListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Says which services are found on this host and what each lacks, a line each.")
    @Option(help: "The agent's system user, and its name in the services.")
    var user = SetupHost.standardUser

    func run() async throws {
        var options = SetupOptions()
        options.user = user
        try options.validate()
        let host = options.host
        let services = try SetupService.found(host)
        if services.isEmpty {
            print("none of PostgreSQL, PgBouncer, Valkey, Redis and Caddy is configured here")
        }
        for service in services {
            do throws(SetupError) {
                print(SetupReport(try service.plan(host)).oneLine)
            } catch { print("\(service.name): \(error)") }
        }
    }
}

/// `petrel-agent setup postgresql`.
struct SetupPostgreSQLCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "postgresql",
        abstract: "A role for the agent's system user in pg_monitor, and a line in pg_hba.conf.",
        discussion: """
            Creates the role (LOGIN, no password, read-only transactions, 5 connections) and grants \
            pg_monitor: statistics, no rows of any table. Where pg_hba.conf would not let that user \
            in over the unix socket, adds `local all petrel-agent peer` before the line that \
            would decide, checks it with pg_hba_file_rules, and reloads; no connection is cut. \
            Needs psql and a cluster of Debian's layout (/etc/postgresql/VERSION/NAME), 13 or newer.
            """,
        aliases: ["postgres"])
    @OptionGroup var options: SetupOptions
    @Option(help: "The cluster, such as 18/main, where there are several.")
    var cluster: String?

    func run() async throws {
        try await options.carryOut(.postgreSQL(cluster: cluster))
    }
}

/// `petrel-agent setup pgbouncer`.
struct SetupPgBouncerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pgbouncer",
        abstract: "The agent's user in stats_users, and its entry in userlist.txt.",
        discussion: """
            stats_users may ask the console (SHOW STATS, SHOW POOLS) and change nothing. Where \
            auth_type wants a password, a random one goes to /etc/petrel/secrets/pgbouncer, readable \
            by the agent alone, and its SCRAM-SHA-256 verifier to auth_file. PgBouncer then reloads; \
            no connection is cut.
            """)
    @OptionGroup var options: SetupOptions
    @Option(help: "PgBouncer's configuration (default /etc/pgbouncer/pgbouncer.ini).")
    var config: String?

    func run() async throws {
        try await options.carryOut(.pgBouncer(configuration: config))
    }
}

/// `petrel-agent setup valkey`, `petrel-agent setup redis`.
struct SetupValkeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "valkey",
        abstract: "A user 'petrel' in Valkey or Redis that counts and reads no value.",
        discussion: """
            The user may call PING, HELLO, INFO, CLIENT SETNAME, SELECT, LLEN, ZCARD, SCARD, XLEN, \
            XINFO GROUPS, SLOWLOG LEN and LATENCY LATEST, on any key: sizes, never a value. No \
            CONFIG (it shows requirepass), no EVAL. Its random password goes to \
            /etc/petrel/secrets/valkey, readable by the agent alone; the server's file holds the \
            SHA-256 of it. The line goes to the aclfile where one is configured, else to the \
            configuration. A running server is told by ACL SETUSER (by its new name where ACL is \
            renamed); where it wants requirepass for that, the password is only read from the \
            configuration with --use-requirepass, and REDISCLI_AUTH in the environment serves as \
            well. Where it can't be told, the user comes with the next restart.
            """,
        aliases: ["redis"])
    @OptionGroup var options: SetupOptions
    @Option(help: "The configuration (default /etc/valkey/valkey.conf or /etc/redis/redis.conf).")
    var config: String?
    @Flag(help: "Read requirepass from the configuration to tell the running server.")
    var useRequirepass = false
    @Flag(help: "Restart the service where it takes the user in no other way.")
    var restart = false

    func run() async throws {
        let password = getenv("REDISCLI_AUTH").map { String(cString: $0) }
        try await options.carryOut(
            .valkey(
                configuration: config,
                ValkeyConsent(
                    usesRequirepass: useRequirepass, restarts: restart, password: password)))
    }
}

/// `petrel-agent setup caddy`.
struct SetupCaddyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caddy",
        abstract: "Metrics of Caddy's HTTP servers on its admin endpoint, localhost:2019.",
        discussion: """
            Adds `metrics` to the global options of the Caddyfile (Caddy 2.9 and newer) or \
            `servers { metrics }` (2.6 to 2.8). `caddy validate` must accept the new file, as \
            Caddy's own user, before it takes the old one's place; then Caddy reloads, and no \
            connection is cut.
            """)
    @OptionGroup var options: SetupOptions
    @Option(help: "The Caddyfile (default /etc/caddy/Caddyfile).")
    var config: String?

    func run() async throws {
        try await options.carryOut(.caddy(configuration: config))
    }
}
