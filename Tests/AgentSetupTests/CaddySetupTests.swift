import AgentSetup
import Synchronization
import Testing
import World

private let path = "/etc/caddy/Caddyfile"

@Suite("setup caddy")
struct CaddySetupTests {
    static let service = SetupService.caddy(configuration: nil)

    private func machine(
        _ text: String, version: String = "v2.9.1 h1:x", isUp: Bool = true, accepts: Bool = true
    ) -> Machine {
        let machine = Machine([path: text], programs: ["caddy", "runuser"])
        machine.state.withLock {
            $0.accounts.append(UserAccount(name: "caddy", user: 777, group: 777))
            if isUp {
                $0.pages["127.0.0.1:2019/metrics"] = LocalAnswer(
                    status: 200, body: "caddy_admin_http_requests_total 1\n")
                $0.pages["127.0.0.1:2019/config/apps/http"] = LocalAnswer(
                    status: 200, body: "{\"servers\":{}}\n")
            }
        }
        machine.answer { run in
            if run.arguments.last == "version" {
                return ProgramOutcome(status: 0, output: version + "\n")
            }
            if run.arguments.contains("reload") {
                machine.state.withLock {
                    $0.pages["127.0.0.1:2019/config/apps/http"] = LocalAnswer(
                        status: 200, body: "{\"metrics\":{}}\n")
                }
            }
            return accepts
                ? ProgramOutcome(status: 0)
                : ProgramOutcome(status: 1, errors: "Error: adapting config: line 3\n")
        }
        return machine
    }

    /// Version, Caddyfile, and what it becomes; nil: stays.
    static let files: [(String, String, String?)] = [
        ("2.9.0", "a.example {\n}\n", "{\n@\tmetrics\n}\n\na.example {\n}\n"),
        (
            "2.6.2", "# mine\n\n:80 {\n}\n",
            "# mine\n\n{\n@\tservers {\n\t\tmetrics\n\t}\n}\n\n:80 {\n}\n"
        ),
        ("v2.10.2", "{\n\tdebug\n}\n:80\n", "{\n@\tmetrics\n\tdebug\n}\n:80\n"),
        ("2.9.0", "{\n\tmetrics {\n\t\tper_host\n\t}\n}\n:80\n", nil),
        ("2.9.0", "{\n\tservers {\n\t\tmetrics\n\t}\n}\n:80\n", nil),
        ("2.8.4", "{\n\tservers {\n\t\tmetrics\n\t}\n}\n:80\n", nil),
        (
            "2.8.4", "{\n\tmetrics\n}\n:80\n",
            "{\n@\tservers {\n\t\tmetrics\n\t}\n\tmetrics\n}\n:80\n"
        ),
        (
            "2.8.4", "{\n\tservers :443 {\n\t\tprotocols h1\n\t}\n}\n",
            "{\n@\tservers {\n\t\tmetrics\n\t}\n\tservers :443 {\n\t@\t\tmetrics\n\t\tprotocols h1\n\t}\n}\n"
        ),
        (
            "2.8.4", "{\n\tservers {\n\t\ttimeouts {\n\t\t\tidle 1m\n\t\t}\n\t}\n}\n",
            "{\n\tservers {\n\t@\t\tmetrics\n\t\ttimeouts {\n\t\t\tidle 1m\n\t\t}\n\t}\n}\n"
        ),
        ("2.5.2", ":80\n", nil),
        ("2.9.0", "{$SITE} {\n\tmetrics\n}\n", "{\n@\tmetrics\n}\n\n{$SITE} {\n\tmetrics\n}\n"),
        ("2.9.0", "(snippet) {\n}\n", "{\n@\tmetrics\n}\n\n(snippet) {\n}\n"),
        (
            "2.9.0", "{\n\temail \"a # b\"\n\tlog {\n\t\tmetrics\n\t}\n}\n",
            "{\n@\tmetrics\n\temail \"a # b\"\n\tlog {\n\t\tmetrics\n\t}\n}\n"
        ),
        ("2.9.0", "{\n\torder x `\n}\nmetrics`\n\tmetrics\n}\n", nil),
        ("2.9.0", "{\n\temail <<END\n\t}\n\tEND\n\tmetrics\n}\n", nil),
        ("2.9.0", "{\n\t# metrics\n\tadmin \\\n\t\tlocalhost:2019\n\tmetrics\n}\n", nil),
        // A backslash joins lines, and they count as lines.
        (
            "2.8.4",
            "{\n\tadmin \\\n\t\tlocalhost:2019\n\tservers {\n\t\tprotocols h1\n\t}\n}\n",
            "{\n\tadmin \\\n\t\tlocalhost:2019\n\tservers {\n\t@\t\tmetrics\n\t\tprotocols h1\n\t}\n}\n"
        ),
        (
            "2.8.4", "{\n\tservers \\\n\t{\n\t\tprotocols h1\n\t}\n}\n",
            "{\n\tservers \\\n\t{\n\t@\t\tmetrics\n\t\tprotocols h1\n\t}\n}\n"
        ),
        (
            "2.8.4", "{\n\temail \"a\nb\" \\\n\t\tx\n\tservers {\n\t}\n}\n",
            "{\n\temail \"a\nb\" \\\n\t\tx\n\tservers {\n\t@\t\tmetrics\n\t}\n}\n"
        ),
        ("2.9.0", "", "{\n@\tmetrics\n}\n\n"),
        ("2.9.0", "{\r\n\tdebug\r\n}\r\n", "{\r\n@\tmetrics\r\n\tdebug\r\n}\r\n"),
    ]

    @Test("the option goes where this version reads it", arguments: files)
    func option(version: String, before: String, after: String?) throws {
        let plan = try Self.service.plan(machine(before, version: version).host)
        let ending = before.contains("\r\n") ? "\r\n" : "\n"
        let mark = "\t# Added by 'petrel-agent setup': requests are counted." + ending
        let result = plan.changes.first.map { String(decoding: $0.after, as: UTF8.self) }
        #expect(result == after?.replacing("@", with: mark), "\(plan.report)")
    }

    @Test("checked as Caddy's user, put in place, reloaded, asked; twice changes nothing")
    func apply() async throws {
        let machine = machine(":80 {\n}\n")
        #expect(
            try Self.service.plan(machine.host).kinds == ["change", "run", "verify", "verify"])
        try await machine.setUp(Self.service)
        let check = try #require(machine.runs.first { $0.arguments.contains("validate") })
        #expect(check.arguments.prefix(3) == ["/usr/bin/runuser", "-u", "caddy"])
        #expect(check.arguments.last == path + ".petrel-new")
        #expect(check.environment["HOME"] == "/var/lib/caddy")
        #expect(!machine.paths.contains(path + ".petrel-new"))
        #expect(try Self.service.plan(machine.host).kinds == ["ok", "verify", "verify"])
    }

    @Test("a file that Caddy refuses never takes the old one's place")
    func refused() async throws {
        let machine = machine(":80 {\n}\n", accepts: false)
        await #expect {
            try await machine.setUp(Self.service)
        } throws: { "\($0)".contains("adapting config: line 3") }
        #expect(machine.text(path) == ":80 {\n}\n")
        #expect(!machine.paths.contains(path + ".petrel-new"))
    }

    /// Global options, and what the plan says of the admin endpoint.
    static let endpoints: [(String, [String], String)] = [
        ("admin off", ["cannot", "change"], "admin localhost:2019"),
        ("admin unix//run/caddy.sock", ["note", "change"], "unix//run/caddy.sock"),
        ("admin :2020", ["note", "change", "note"], "port 2020"),
        ("admin 127.0.0.1:2019 {\n\torigins x\n}", ["change", "run", "verify", "verify"], "GET"),
    ]

    @Test("where the metrics are read", arguments: endpoints)
    func endpoint(option: String, kinds: [String], text: String) throws {
        let plan = try Self.service.plan(machine("{\n\(option)\n}\n:80\n").host)
        #expect(plan.kinds == kinds)
        if text != "GET" { #expect(plan.report.contains(text)) }
    }

    @Test("not running, no program, no file")
    func absent() throws {
        let down = try Self.service.plan(machine(":80\n", isUp: false).host)
        #expect(down.kinds == ["change", "note"])
        let container = machine(":80\n")
        container.state.withLock { $0.programs = [] }
        #expect(try Self.service.plan(container.host).kinds == ["cannot"])
        #expect {
            try Self.service.plan(Machine().host)
        } throws: { "\($0)".contains("apt install caddy") }
    }

    @Test("an imported file that switches metrics on is believed when the server shows it")
    func imported() throws {
        let machine = machine("{\n\timport global/*\n}\n:80\n")
        #expect(try Self.service.plan(machine.host).changes.count == 1)
        machine.state.withLock {
            $0.pages["127.0.0.1:2019/config/apps/http"] = LocalAnswer(
                status: 200, body: "{\"metrics\":{}}")
        }
        #expect(try Self.service.plan(machine.host).changes.isEmpty)
    }
}
