import AgentRead
import Model
import Testing
import World

@Suite("fail2ban reader")
struct Fail2banReaderTests {
    private static let now = TimestampNS(1_700_000_000_500_000_000)
    private static let log = "/var/log/fail2ban.log"
    private static let process = [
        "/run/fail2ban/fail2ban.pid": "812\n", "/proc/812/comm": "fail2ban-server\n",
    ]

    private static func line(_ logger: String, _ level: String, _ text: String) -> String {
        let padded = logger + String(repeating: " ", count: max(0, 24 - logger.count))
        let levelled = level + String(repeating: " ", count: 7 - level.count)
        return "2023-11-14 20:00:00,123 \(padded)[812]: \(levelled) \(text)\n"
    }

    private static func event(_ text: String) -> String { line("fail2ban.actions", "NOTICE", text) }

    private static let start =
        line("fail2ban.server", "INFO", "Starting Fail2ban v1.0.2")
        + line("fail2ban.jail", "INFO", "Jail 'sshd' started")
        + line("fail2ban.jail", "INFO", "Jail 'web' started")

    private static func reader(_ tree: MemoryTree) -> Fail2banReader {
        Fail2banReader(tree: tree, paths: NodePaths())
    }

    private static func jail(_ kind: String, _ name: String) -> String {
        "f2b_jail_\(kind){jail=\"\(name)\"}"
    }

    private static func samples(_ reader: Fail2banReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    @Test("jails have what happened since the server's last start")
    func jails() throws {
        let tree = MemoryTree(Self.process)
        tree.create(
            Self.log,
            Self.start + Self.event("[sshd] Ban 203.0.113.1") + Self.start
                + Self.event("[sshd] Restore Ban 192.0.2.1")
                + Self.line("fail2ban.filter", "INFO", "[sshd] Found 192.0.2.2 - 2023-11-14 20:00")
                + Self.line("fail2ban.filter", "INFO", "[sshd] Attempt 192.0.2.2 - 2023-11-14")
                + Self.event("[sshd] Ban 192.0.2.2")
                + Self.line("fail2ban.observer", "NOTICE", "[sshd] Increase Ban 192.0.2.2 (2 # 1h)")
                + Self.line("fail2ban.actions", "WARNING", "[sshd] 192.0.2.2 already banned")
                + Self.event("[sshd] Ban 2001:db8::1") + Self.event("[sshd] Unban 192.0.2.1")
                + Self.event("[sshd] Unban 192.0.2.77")
                + Self.event("[recidive] Ban 192.0.2.2")
                + Self.event("[sshd] Flush ticket(s) with x")
                + "no line of fail2ban's [sshd] Ban 1.1.1.1\n"
                + "2023-11-14 20:00:00,123 other.program[1]: NOTICE [sshd] Ban 1.1.1.1\n"
                + Self.event("[sshd") + Self.event("[sshd]") + Self.event("[sshd] Ban")
                + "2023-11-14 20:00:00,123 fail2ban.actions [812]:\n")
        let reader = Self.reader(tree)
        let families = try reader.read(now: Self.now)
        #expect(
            NodeReaderTests.samples(families) == [
                "f2b_up": 1, Self.jail("banned_current", "sshd"): 2,
                Self.jail("banned_total", "sshd"): 3, Self.jail("failed_total", "sshd"): 2,
                Self.jail("banned_current", "web"): 0, Self.jail("banned_total", "web"): 0,
                Self.jail("failed_total", "web"): 0, Self.jail("banned_current", "recidive"): 1,
                Self.jail("banned_total", "recidive"): 1, Self.jail("failed_total", "recidive"): 0,
            ])
        // fail2ban-prometheus-exporter calls its totals gauges.
        #expect(families.allSatisfy { $0.metadata.type == .gauge && !$0.metadata.help.isEmpty })
        #expect(reader.problems.isEmpty)
        #expect(reader.job == "fail2ban")
    }

    @Test("the log is kept up with, a line that isn't whole is waited for, a stopped jail goes")
    func growth() throws {
        let tree = MemoryTree(Self.process)
        tree.create(Self.log, Self.start)
        let reader = Self.reader(tree)
        let total = Self.jail("banned_total", "sshd")
        #expect(try Self.samples(reader)[total] == 0)
        let ban = Self.event("[sshd] Ban 192.0.2.1")
        tree.append(Self.log, ban + String(ban.dropLast(9)))
        #expect(try Self.samples(reader)[total] == 1)
        tree.append(Self.log, String(ban.suffix(9)))
        #expect(try Self.samples(reader)[total] == 2)
        #expect(try Self.samples(reader)[Self.jail("banned_current", "sshd")] == 1)
        tree.append(Self.log, Self.line("fail2ban.jail", "INFO", "Jail 'sshd' stopped"))
        #expect(try Self.samples(reader)[total] == nil)
        #expect(try Self.samples(reader)[Self.jail("banned_total", "web")] == 0)
    }

    @Test("a log that is rotated or cut loses nothing that it still has")
    func rotation() throws {
        let tree = MemoryTree(Self.process)
        tree.create(Self.log + ".1", Self.start + Self.event("[sshd] Ban 192.0.2.1"))
        tree.create(Self.log, Self.event("[sshd] Ban 192.0.2.2"))
        let reader = Self.reader(tree)
        let total = Self.jail("banned_total", "sshd")
        #expect(try Self.samples(reader)[total] == 2)
        tree.append(Self.log, Self.event("[sshd] Ban 192.0.2.3"))
        tree.move(Self.log, Self.log + ".1")
        tree.create(Self.log, Self.event("[sshd] Ban 192.0.2.4"))
        #expect(try Self.samples(reader)[total] == 4)
        // Between the two steps of a rotation there is no log, but a server.
        tree.move(Self.log, Self.log + ".1")
        #expect(try Self.samples(reader)[total] == 4)
        tree.create(Self.log, Self.event("[sshd] Unban 192.0.2.1"))
        #expect(try Self.samples(reader)[Self.jail("banned_current", "sshd")] == 3)
        tree.empty(Self.log)
        tree.append(Self.log, Self.event("[web] Ban 192.0.2.5"))
        #expect(try Self.samples(reader)[Self.jail("banned_total", "web")] == 1)
        #expect(try Self.samples(reader)[total] == 4)
    }

    @Test("a long log is read over several readings, and its jails come at the end")
    func long() throws {
        let tree = MemoryTree(Self.process)
        let ban = Self.event("[sshd] Ban 192.0.2.1")
        tree.create(Self.log, String(repeating: ban, count: (5 << 20) / ban.utf8.count))
        let reader = Self.reader(tree)
        #expect(try Self.samples(reader) == ["f2b_up": 1])
        #expect(
            try Self.samples(reader)[Self.jail("banned_total", "sshd")]
                == Double((5 << 20) / ban.utf8.count))
    }

    @Test("of too many jails the first are kept, and it is told")
    func manyJails() throws {
        let tree = MemoryTree(Self.process)
        tree.create(
            Self.log,
            (0..<201).map { Self.line("fail2ban.jail", "INFO", "Jail 'j\($0)' started") }.joined())
        let reader = Self.reader(tree)
        let samples = try Self.samples(reader)
        #expect(samples.keys.filter { $0.hasPrefix("f2b_jail_banned_total{") }.count == 200)
        #expect(samples[Self.jail("banned_total", "j200")] == nil)
        #expect(reader.problems.count == 1)
    }

    @Test("the server is up while the process that logs is there")
    func up() throws {
        #expect(try Self.reader(MemoryTree()).read(now: Self.now).isEmpty)
        let exit = Self.line("fail2ban.server", "INFO", "Exiting Fail2ban")
        // Logs that an earlier installation left, with its last word and without it.
        for text in [Self.start + exit, Self.start] {
            let left = Self.reader(MemoryTree([Self.log: text]))
            #expect(try left.read(now: Self.now).isEmpty)
            #expect(left.problems.isEmpty)
        }

        let tree = MemoryTree([Self.log: Self.start, "/proc/812/comm": "fail2ban-server\n"])
        let reader = Self.reader(tree)
        #expect(try Self.samples(reader)["f2b_up"] == 1)
        tree.delete("/proc/812/comm")
        #expect(try Self.samples(reader)["f2b_up"] == 0)
        tree.create("/proc/812/comm", "another\n")
        #expect(try Self.samples(reader)["f2b_up"] == 0)
        tree.create("/proc/812/comm", "fail2ban-server\n")
        #expect(try Self.samples(reader)["f2b_up"] == 1)
        tree.append(Self.log, exit)
        #expect(try Self.samples(reader)["f2b_up"] == 0)

        let silent = Self.reader(MemoryTree(Self.process))
        #expect(try Self.samples(silent) == ["f2b_up": 1])
        #expect(silent.problems.first?.contains("logtarget") == true)
    }
}
