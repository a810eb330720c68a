import AgentSetup
import Synchronization
import Testing
import World

@Suite("What services lack, in a text that says to set them up")
struct SetupRemarksTests {
    private static func machine() -> Machine {
        let machine = Machine(
            [
                "/etc/postgresql/15/main/postgresql.conf": "hba_file = '/hba'\n",
                "/hba": "local all postgres peer\n", "/etc/caddy/Caddyfile": ":80\n",
                "/etc/pgbouncer/pgbouncer.ini":
                    "[pgbouncer]\nauth_type = scram-sha-256\nauth_file = /users\n",
                "/users": "\"app\" \"of-the-app\"\n",
                "/etc/redis/redis.conf": "requirepass of-the-cache\n",
            ], programs: ["caddy"])
        machine.answer { _ in ProgramOutcome(status: 0, output: "2.6.2\n") }
        return machine
    }

    private static let text = """
        READER     STATE  SAMPLES
        postgres   read   2
            postgresql: no right; sudo petrel-agent setup postgresql
            postgresql: database "app": no right; sudo petrel-agent setup postgresql
        cpu        read   40
        valkey     FAILS  0
            valkey: NOAUTH; run `sudo petrel-agent setup valkey`
          pgbouncer: refused; run: sudo petrel-agent setup pgbouncer
        caddy      up     3s ago; sudo petrel-agent setup caddy

        """

    @Test("root sees the lines, below the first that names the service, and no secret")
    func lines() {
        let machine = Self.machine()
        let text = SetupRemarks(of: machine.host).added(to: Self.text)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let own = Self.text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.filter { own.contains($0[...]) } == own.map(String.init))
        #expect(lines[3] == "      postgresql 15/main:")
        #expect(lines[4].hasPrefix("        psql is not installed"))
        #expect(lines[5].hasPrefix("        /hba lacks `local all petrel-agent peer`"))
        #expect(lines.filter { $0.contains("lacks `local all petrel-agent peer`") }.count == 1)
        #expect(
            lines.suffix(3) == [
                "  caddy:", "    /etc/caddy/Caddyfile lacks `servers { metrics }`", "",
            ])
        #expect(text.contains("stats_users = petrel-agent"))
        #expect(text.contains("/users lacks `\"petrel-agent\" \"(hidden)\"`"))
        #expect(text.contains("/etc/redis/redis.conf lacks `user petrel on #(hidden)"))
        #expect(!text.contains("of-the-app") && !text.contains("of-the-cache"))
        #expect(machine.text("/users") == "\"app\" \"of-the-app\"\n", "nothing is written")
    }

    @Test("what is set up, what is not here, and what can't be read are said")
    func others() {
        let machine = Machine(
            ["/etc/caddy/Caddyfile": "{\n\tmetrics\n}\n:80\n", "/etc/pgbouncer/pgbouncer.ini": ""],
            programs: ["caddy"])
        machine.answer { _ in ProgramOutcome(status: 0, output: "2.9.0\n") }
        machine.state.withLock { $0.failures["open /etc/pgbouncer/pgbouncer.ini"] = 5 }
        let text = SetupRemarks(of: machine.host).added(to: Self.text)
        #expect(text.contains("setup caddy\n  caddy: already set up\n"))
        #expect(text.contains("setup pgbouncer\n    pgbouncer: can't read /etc/pgbouncer/"))
        #expect(
            text.contains(
                "setup postgresql\n      it is not configured where setup looks for it\n"))
    }

    @Test("anyone else is told who sees them")
    func pointer() {
        let machine = Self.machine()
        let text = SetupRemarks(of: machine.host(isRoot: false)).added(to: Self.text)
        let pointer = "what it lacks, line by line: sudo petrel-agent status"
        #expect(text.contains("setup caddy\n  \(pointer)\n"))
        #expect(text.split(separator: "\n").filter { $0.hasSuffix(pointer) }.count == 4)
        #expect(machine.runs.isEmpty, "nothing was looked at")
    }

    @Test("a text that names no service stays as it is")
    func none() {
        let text = "agent  running\n\nsudo petrel-agent setup\npetrel-agent setup nothing\n"
        #expect(SetupRemarks(of: Self.machine().host).added(to: text) == text)
        #expect(!SetupRemarks.concern("agent  running\n") && SetupRemarks.concern(Self.text))
    }
}
