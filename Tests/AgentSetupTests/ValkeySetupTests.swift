import AgentSetup
import Synchronization
import Testing
import World

private let conf = "/etc/redis/redis.conf"
private let secret = "/etc/petrel/secrets/valkey"
/// SHA-256 of `pencil`.
private let pencil = "13809668fb436386706f67dcb052ed584a04ba16a8c02a17d66d34c30fceda21"
private let commands =
    "-@all +ping +hello +info +client|setname +select +llen +zcard +scard +xlen +xinfo|groups "
    + "+slowlog|len +latency|latest"

@Suite("setup valkey")
struct ValkeySetupTests {
    /// A server that runs and has the users of `users`; `default` has the password `main` where `locked`.
    private func machine(
        _ text: String, version: String = "7.0.15", locked: Bool = true, isUp: Bool = true
    ) -> Machine {
        let machine = Machine([conf: text], programs: ["redis-cli", "redis-server"])
        let taken = Lines()
        machine.answer { run in
            if run.arguments.last == "--version" {
                return ProgramOutcome(
                    status: 0, output: "Redis server v=\(version) sha=0 bits=64\n")
            }
            guard isUp else { return ProgramOutcome(status: 1, errors: "Connection refused\n") }
            let password = run.environment["REDISCLI_AUTH"]
            if run.arguments.contains("--user") {
                return taken.all.isEmpty
                    ? ProgramOutcome(status: 0, output: "WRONGPASS\nNOAUTH\nNOAUTH\n")
                    : ProgramOutcome(
                        status: 0, output: "PONG\nredis_version:7.0.15\nNOPERM no 'get'\n")
            }
            guard !locked || password == "main" else {
                return ProgramOutcome(status: 0, output: "NOAUTH Authentication required.\n")
            }
            if run.inputText.hasPrefix("PING") {
                return ProgramOutcome(status: 0, output: "PONG\n")
            }
            taken.add(run.inputText)
            return ProgramOutcome(status: 0, output: "OK\n")
        }
        return machine
    }

    private func service(
        requirepass: Bool = false, restarts: Bool = false, password: String? = nil
    ) -> SetupService {
        .valkey(
            configuration: nil,
            ValkeyConsent(usesRequirepass: requirepass, restarts: restarts, password: password))
    }

    private let guide = """
        bind 127.0.0.1 10.0.0.4
        requirepass "main"
        rename-command CONFIG ""
        rename-command ACL acl_b840fc02
        rename-command FLUSHALL ""

        """

    @Test("the guide's file: with consent the running server is told by the command's new name")
    func guideWithConsent() async throws {
        let machine = machine(guide)
        let service = service(requirepass: true)
        let plan = try service.plan(machine.host)
        #expect(plan.kinds == ["secret", "change", "run", "verify"])
        try await machine.setUp(service)
        let text = try #require(machine.text(conf))
        #expect(text.hasPrefix(guide + "\n# Added by 'petrel-agent setup': "))
        #expect(text.contains("\nuser petrel on #"))
        #expect(text.hasSuffix(" ~* resetchannels " + commands + "\n"))
        let told = try #require(machine.runs.first { $0.inputText.contains("SETUSER") })
        #expect(told.inputText.hasPrefix("acl_b840fc02 SETUSER petrel reset on #"))
        #expect(told.environment == ["REDISCLI_AUTH": "main"])
        #expect(told.arguments == ["/usr/bin/redis-cli", "-h", "127.0.0.1", "-p", "6379"])
        #expect(try service.plan(machine.host).kinds == ["ok", "ok"])
    }

    @Test("without consent requirepass stays unread, and a restart is left to do")
    func guideWithoutConsent() throws {
        let machine = machine(guide)
        let plan = try service().plan(machine.host)
        #expect(plan.kinds == ["secret", "change", "cannot"])
        #expect(plan.report.contains("--use-requirepass"))
        #expect(!machine.runs.contains { $0.environment["REDISCLI_AUTH"] == "main" })
        let given = try service(password: "main").plan(machine.host)
        #expect(given.kinds == ["secret", "change", "run", "verify"])
    }

    @Test("passwords, their hashes and the new names of commands are never printed")
    func secrets() async throws {
        let machine = machine(guide)
        let plan = try service(requirepass: true).plan(machine.host)
        let said = try await machine.setUp(service(requirepass: true)).joined() + plan.report
        let password = try #require(machine.text(secret)).split(separator: "\n")[0]
        let line = try #require(machine.text(conf)?.split(separator: "\n").last)
        let hash = line.split(separator: "#")[1].prefix { $0 != " " }
        #expect(hash.count == 64)
        for text in [String(password), String(hash), "acl_b840fc02", "\"main\""] {
            #expect(!said.contains(text), "\(text)")
        }
        for run in machine.runs { #expect(!run.arguments.contains(String(password))) }
    }

    /// Lines of the file, and the steps that they lead to on a server that runs unlocked.
    static let files: [(String, [String])] = [
        ("port 6379\n", ["secret", "change", "run", "verify"]),
        ("rename-command ACL \"\"\n", ["secret", "change", "cannot"]),
        ("rename-command INFO \"\"\n", ["cannot"]),
        ("rename-command ping pong\n", ["cannot"]),
        ("port 0\n", ["secret", "change", "note"]),
        ("aclfile /etc/redis/users.acl\n", ["secret", "change", "run", "verify"]),
        ("aclfile /etc/redis/none.acl\n", ["cannot"]),
    ]

    @Test("what stands in the file decides", arguments: files)
    func file(text: String, kinds: [String]) throws {
        let machine = machine(text, locked: false)
        machine.put("/etc/redis/users.acl", "user default on nopass ~* +@all\n")
        #expect(try service().plan(machine.host).kinds == kinds)
    }

    @Test("an aclfile gets the bare line and is loaded")
    func accessFile() async throws {
        let path = "/etc/redis/users.acl"
        let machine = machine("aclfile \(path)\n", locked: false)
        machine.put(path, "user default on nopass ~* &* +@all")
        try await machine.setUp(service())
        let lines = try #require(machine.text(path)).split(separator: "\n")
        #expect(lines.count == 2 && lines[1].hasPrefix("user petrel on #"))
        #expect(machine.runs.contains { $0.inputText == "ACL LOAD\n" })
        #expect(machine.text(conf) == "aclfile \(path)\n")
    }

    /// The user as it stands, and whether it will do.
    static let users: [(String, Bool)] = [
        ("on #\(pencil) ~* resetchannels \(commands)", true),
        ("on sanitize-payload >pencil allkeys \(commands)", true),
        // More than it needs is too much.
        ("on >pencil ~* +@all", false),
        ("on >pencil ~* -@all +client \(commands.dropFirst(6))", false),
        ("on >pencil ~* \(commands) +get", false),
        ("on >pencil ~* \(commands) +@read", false),
        ("on >pencil ~* \(commands) +get -get", true),
        ("on >pencil ~* \(commands) (+@all ~*)", false),
        ("on >pencil ~* (+get ~*) reset on >pencil ~* \(commands)", true),
        ("off >pencil ~* \(commands)", false),
        ("on >other ~* \(commands)", false),
        ("on >pencil ~app:* \(commands)", false),
        ("on >pencil ~* \(commands) -zcard", false),
        ("on >pencil ~* \(commands) nocommands", false),
        ("on >pencil nopass ~* \(commands)", false),
        ("on >pencil ~* \(commands) reset", false),
    ]

    @Test("a user that will do stays; another is replaced in its place", arguments: users)
    func user(rules: String, isGood: Bool) throws {
        let machine = machine("port 6379\nuser petrel \(rules)\ntimeout 0\n")
        machine.put(secret, "pencil\n", FileOwnership(user: 901, group: 902, mode: 0o600))
        let change = try service().plan(machine.host).changes.first
        #expect((change == nil) == isGood)
        if let change {
            #expect(change.edits.first?.line == 1 && change.edits.first?.removed == 1)
            #expect(
                change.edits.first?.inserted
                    == ["user petrel on #\(pencil) ~* resetchannels \(commands)"])
        }
    }

    @Test("old servers: no users before 6, no channels before 6.2; renamed commands are left out")
    func versions() throws {
        let old = try service().plan(machine("", version: "5.0.7").host)
        #expect(old.kinds == ["cannot"])
        let six = machine("rename-command LLEN \"\"\n", version: "6.0.16")
        let line = try #require(try service().plan(six.host).changes.first?.missing)
        #expect(!line.contains("resetchannels") && !line.contains("llen"))
        #expect(line.contains("+zcard"))
    }

    @Test("a server that is down takes the user at its start")
    func down() throws {
        let plan = try service().plan(machine("port 6379\n", isUp: false).host)
        #expect(plan.kinds == ["secret", "change", "note"])
    }

    @Test("a restart is made where it is allowed and systemd has the service")
    func restart() throws {
        let machine = machine("requirepass main\n")
        machine.put("/run/systemd/system", "")
        machine.state.withLock { _ = $0.programs.insert("systemctl") }
        let plan = try service(restarts: true).plan(machine.host)
        #expect(plan.kinds == ["secret", "change", "run", "verify"])
        #expect(plan.report.contains("systemctl restart valkey-server.service"))
        #expect(try service().plan(machine.host).kinds == ["secret", "change", "cannot"])
    }

    @Test("both configured, or none: said with a remedy")
    func places() throws {
        let machine = machine("port 6379\n")
        machine.put("/etc/valkey/valkey.conf", "port 6380\n")
        #expect { try service().plan(machine.host) } throws: { "\($0)".contains("--config") }
        #expect { try service().plan(Machine().host) } throws: { "\($0)".contains("apt install") }
        let one = SetupService.valkey(
            configuration: "/etc/valkey/valkey.conf", ValkeyConsent())
        #expect(try one.plan(machine.host).changes.first?.path == "/etc/valkey/valkey.conf")
    }

    @Test("includes with a star, quotes and escapes")
    func includes() throws {
        let machine = machine("include /etc/redis/conf.d/*.conf\n", locked: false)
        machine.put("/etc/redis/conf.d/a.conf", "rename-command \"\\x49NFO\" 'x y'\n")
        machine.put("/etc/redis/conf.d/b.txt", "rename-command PING \"\"\n")
        let report = try service().plan(machine.host).report
        #expect(report.contains("INFO") && !report.contains("PING,"))
        #expect(report.contains("line 1 of /etc/redis/conf.d/a.conf"))
    }
}
