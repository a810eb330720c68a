import AgentSetup
import Testing
import World
import WorldLive

/// The plans on real servers, in a folder of their own and on unix sockets alone.
@Suite("setup of real services", .serialized)
struct RealServicesTests {
    private static let runner = LiveProgramRunner()
    private let folder = "/tmp/petrel-setup-\(LiveRandom().next())"

    private static func has(_ programs: String...) -> Bool {
        let isThere =
            programs.allSatisfy { runner.locate($0) != nil }
            && (try? LiveFileTree().open("/proc/1/environ", .read)) != nil
            && LiveFileTree().account(named: "postgres") != nil
        if !isThere { print("SKIPPED: needs root, user postgres and \(programs)") }
        return isThere
    }

    private var host: SetupHost {
        var host = SetupHost(
            files: LiveFileTree(), programs: Self.runner, services: LiveLocalServices(),
            random: LiveRandom(), clock: LiveClock(), isRoot: true, agentUser: "nobody")
        host.secretsFolder = folder + "/petrel/secrets"
        return host
    }

    private func write(_ name: String, _ text: String, user: UInt32, group: UInt32) throws {
        try LiveFileTree().create(
            folder + "/" + name, Array(text.utf8),
            FileOwnership(user: user, group: group, mode: 0o640))
    }

    private func apply(_ plan: SetupPlan) async throws {
        try await SetupApplier(host: host) { _ in }.apply(plan)
    }

    /// Runs a command until it succeeds: a server that was started in the background answers a moment later.
    private func untilAnswered(_ run: ProgramRun, prints text: String) async throws {
        let step = CommandStep(
            "start", .program(run), expect: .contains([text]), remedy: "see its log", attempts: 40)
        try await apply(SetupPlan(subject: "start", steps: [.verify(step)]))
    }

    private func clean() {
        _ = try? Self.runner.run(ProgramRun(["/bin/rm", "-rf", folder]))
    }

    @Test(
        "Redis with requirepass and renamed commands is told without a restart",
        .enabled(if: has("redis-server", "redis-cli"), "redis-server missing"))
    func redis() async throws {
        let owner = try #require(LiveFileTree().account(named: "postgres"))
        try LiveFileTree().makeFolder(
            folder, FileOwnership(user: owner.user, group: owner.group, mode: 0o755))
        defer { clean() }
        let path = folder + "/redis.conf"
        try write(
            "redis.conf",
            """
            port 0
            unixsocket \(folder)/redis.sock
            dir \(folder)
            daemonize yes
            save ""
            requirepass "main"
            rename-command ACL acl_b840fc02
            rename-command CONFIG ""

            """, user: owner.user, group: owner.group)
        let server = try #require(Self.runner.locate("redis-server"))
        let client = try #require(Self.runner.locate("redis-cli"))
        let runuser = try #require(Self.runner.locate("runuser"))
        #expect(
            try Self.runner.run(
                ProgramRun([runuser, "-u", "postgres", "--", server, path])
            ).status == 0)
        let asDefault = ProgramRun(
            [client, "-s", folder + "/redis.sock", "PING"], environment: ["REDISCLI_AUTH": "main"])
        defer {
            var stop = asDefault
            stop.arguments[3] = "SHUTDOWN"
            _ = try? Self.runner.run(stop)
        }
        try await untilAnswered(asDefault, prints: "PONG")
        let service = SetupService.valkey(
            configuration: path, ValkeyConsent(usesRequirepass: true))
        let plan = try service.plan(host)
        #expect(plan.hasChanges && !plan.isBlocked)
        try await apply(plan)
        let again = try service.plan(host)
        #expect(again.kinds == ["ok", "ok"])
        // The password alone opens nothing but what it must.
        let secret = try LiveFileTree().contents(folder + "/petrel/secrets/valkey")
        let password = String(decoding: secret.dropLast(), as: UTF8.self)
        let refused = try Self.runner.run(
            ProgramRun(
                [client, "-s", folder + "/redis.sock", "--user", "petrel"],
                environment: ["REDISCLI_AUTH": password],
                input: Array("KEYS *\nEVAL x 0\nSLOWLOG GET\nLLEN queue\n".utf8)))
        #expect(refused.output.split(separator: "\n").filter { $0.hasPrefix("NOPERM") }.count == 3)
        #expect(refused.output.contains("\n0"))
    }

    @Test(
        "PgBouncer with SCRAM lets the agent ask its console",
        .enabled(if: has("pgbouncer", "psql", "runuser", "kill"), "pgbouncer missing"))
    func pgBouncer() async throws {
        let owner = try #require(LiveFileTree().account(named: "postgres"))
        try LiveFileTree().makeFolder(
            folder, FileOwnership(user: owner.user, group: owner.group, mode: 0o755))
        defer { clean() }
        let path = folder + "/pgbouncer.ini"
        try write("users", "\"app\" \"x\"\n", user: owner.user, group: owner.group)
        try write(
            "pgbouncer.ini",
            """
            [databases]
            app = host=\(folder)
            [pgbouncer]
            logfile = \(folder)/log
            pidfile = \(folder)/pid
            listen_port = 26432
            unix_socket_dir = \(folder)
            auth_type = scram-sha-256
            auth_file = \(folder)/users
            stats_users = ops

            """, user: owner.user, group: owner.group)
        let program = try #require(Self.runner.locate("pgbouncer"))
        let runuser = try #require(Self.runner.locate("runuser"))
        let kill = try #require(Self.runner.locate("kill"))
        #expect(
            try Self.runner.run(
                ProgramRun([runuser, "-u", "postgres", "--", program, "-q", "-d", path])
            ).status == 0)
        try await untilAnswered(ProgramRun(["/bin/cat", folder + "/pid"]), prints: "\n")
        let process = String(
            decoding: try LiveFileTree().contents(folder + "/pid").filter { $0 > 32 },
            as: UTF8.self)
        defer { _ = try? Self.runner.run(ProgramRun([kill, "-INT", process])) }
        let service = SetupService.pgBouncer(configuration: path)
        let plan = try service.plan(host)
        #expect(plan.kinds == ["change", "secret", "change", "run", "verify"])
        try await apply(plan)
        let again = try service.plan(host)
        #expect(again.kinds == ["ok", "ok", "verify"])
        try await apply(again)
    }
}
