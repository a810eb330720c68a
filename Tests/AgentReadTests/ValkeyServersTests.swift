import AgentRead
import Glibc
import Model
import Synchronization
import Testing
import World

/// Which servers are read, over which way, and within which bounds.
extension ValkeyReaderTests {
    // MARK: - Several servers, several ways

    @Test("two servers share families and differ by their label")
    func twoServers() throws {
        let first = try FakeValkey { Self.answer($0, Self.short) }
        let second = try FakeValkey { Self.answer($0, ["redis_version:6.2.0"]) }
        let targets = [
            ValkeyTarget(first.address), ValkeyTarget(second.address, label: "cache"),
        ]
        let reader = ValkeyReader(
            tree: MemoryTree(), clock: ManualClock(), targets: { targets }, milliseconds: 5_000)
        let families = try reader.read(now: Self.now)
        let up = try #require(families.first { $0.name == "redis_up" })
        #expect(up.points.map { $0.labels["server"] } == ["", "cache"])
        #expect(Set(families.map(\.name)).count == families.count)
        let samples = NodeReaderTests.samples(families)
        #expect(samples[#"redis_instance_info{redis_version="6.2.0",server="cache"}"#] == 1)
    }

    @Test("of several ways to a server the one that leads there is read, as they come and go")
    func ways() throws {
        let folder = try TemporaryFolder("valkey")
        defer { folder.remove() }
        // A server that was killed leaves its socket behind.
        close(try folder.listener("s", backlog: 1))
        let left = ValkeyTarget(.unix(path: folder.path + "/s"))
        let server = try FakeValkey(overTCP: true) { Self.answer($0, Self.short) }
        let port = ValkeyTarget(server.address)
        let given = Mutex([left])
        let reader = ValkeyReader(
            tree: MemoryTree(), clock: ManualClock(), targets: { given.withLock { $0 } },
            milliseconds: 5_000)
        #expect(try Self.samples(reader) == [:])
        #expect(reader.problems == [], "nobody was ever there")
        given.withLock { $0 = [left, port] }
        #expect(try Self.samples(reader)["redis_up"] == 1)
        #expect(reader.problems == [])
        // The way that worked is the first, and its connection is kept.
        #expect(try Self.samples(reader)["redis_up"] == 1)
        #expect(server.connections == 1)
        server.stop()
        server.set { _ in nil }
        given.withLock { $0 = [left] }
        #expect(try Self.samples(reader)["redis_up"] == 0)
        #expect(reader.problems.count == 1)
        given.withLock { $0 = [] }
        #expect(try Self.samples(reader)["redis_up"] == 0)
        let other = try FakeValkey { Self.answer($0, Self.short) }
        given.withLock { $0 = [ValkeyTarget(other.address)] }
        let samples = try Self.samples(reader)
        #expect(samples["redis_up"] == 1 && samples["redis_uptime_in_seconds"] == 860)
        #expect(reader.problems == [])
    }

    @Test("a way that refuses the agent costs no other way")
    func refusedWay() throws {
        let first = try FakeValkey { command in
            command[0] == "INFO" ? "-NOAUTH Authentication required.\r\n" : "+OK\r\n"
        }
        let second = try FakeValkey { Self.answer($0, Self.short) }
        let targets = [first, second].map { ValkeyTarget($0.address) }
        let reader = ValkeyReader(
            tree: MemoryTree(), clock: ManualClock(), targets: { targets }, milliseconds: 5_000)
        for _ in 0..<2 {
            #expect(try Self.samples(reader)["redis_up"] == 1)
            #expect(reader.problems == [])
        }
        #expect(first.connections == 1)
    }

    @Test("over TCP, and where nobody listens at the port any more")
    func overTCP() throws {
        let server = try FakeValkey(overTCP: true) { Self.answer($0, Self.short) }
        guard case .tcp(_, let port) = server.address else { return }
        for host in ["127.0.0.1", "localhost"] {
            let target = ValkeyTarget(.tcp(host: host, port: port), isExpected: true)
            let samples = try Self.samples(Self.reader(target))
            #expect(samples["redis_up"] == 1 && samples["redis_uptime_in_seconds"] == 860)
        }
        server.stop()
        let reader = Self.reader(ValkeyTarget(server.address, isExpected: true))
        #expect(try Self.samples(reader)["redis_up"] == 0)
        #expect(
            reader.problems == [
                "valkey: \(server.address): connect: errno 111; does the server run?"
            ])
    }

    @Test("all servers share the time of a reading")
    func sharedTime() throws {
        let clock = ManualClock()
        // The first takes all the time before it closes.
        let slow = try FakeValkey { _ in
            clock.advance(60_000_000_000)
            return nil
        }
        let others = try (1...7).map { _ in try FakeValkey { Self.answer($0, Self.short) } }
        let targets = ([slow] + others).enumerated().map { index, server in
            ValkeyTarget(server.address, label: "s\(index)", isExpected: true)
        }
        let reader = ValkeyReader(
            tree: MemoryTree(), clock: clock, targets: { targets }, milliseconds: 60_000)
        let samples = try Self.samples(reader)
        #expect(samples.filter { $0.key.hasPrefix("redis_up{") }.values.allSatisfy { $0 == 0 })
        #expect(samples.count == 16)
        #expect(others.flatMap { $0.takeCommands() } == [], "no time was left for them")
    }

    // MARK: - Bounds

    @Test("all answers to one asking are bounded together")
    func answerBytes() throws {
        let large = Self.bulk(String(repeating: "x", count: RESPClient.answerBytesMax / 2 + 1))
        let server = try FakeValkey { _ in large }
        let client = RESPClient(
            try ServiceSocket(server.address, clock: ManualClock(), milliseconds: 10_000))
        guard case .text = try client.ask("A") else {
            Issue.record("half of it is not taken")
            return
        }
        #expect(throws: ServiceError.self) { try client.ask([["A"], ["B"]]) }
    }

    @Test("names that a server makes up are bounded")
    func madeUpNames() throws {
        let server = try FakeValkey { command in
            Self.answer(command, Self.short + (0..<2_000).map { "cluster_x\($0):1" })
        }
        let reader = Self.reader(ValkeyTarget(server.address))
        let families = try reader.read(now: Self.now)
        #expect(families.count == 1_024)
        #expect(reader.problems == ["valkey: more points than the agent takes"])
    }

    @Test("a password's file that can't be read is named with its remedy")
    func unreadableSecret() throws {
        let server = try FakeValkey { command in
            command[0] == "INFO" ? "-NOAUTH Authentication required.\r\n" : "+OK\r\n"
        }
        let reader = Self.reader(
            ValkeyTarget(server.address, secretPath: "/s"),
            ["/s": String(repeating: "x", count: 5_000)])
        #expect(try Self.samples(reader) == [:])
        #expect(
            reader.problems == [
                "valkey: \(server.address): password_file: read /s: errno 27; "
                    + "let it hold the password alone"
            ])
    }

    // MARK: - Discovery

    static let listeners = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
        "   0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0",
        "   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0",
        "   2: 0A00000A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0",
        "   3: 0100007F:1538 00000000:0000 01 00000000:00000000 00:00000000 00000000     0",
        "   4: broken", "",
    ]

    @Test("ports that listen on a loopback or everywhere, of both families")
    func listeningPorts() throws {
        let zeros = String(repeating: "0", count: 24)
        let rest = String(repeating: "0", count: 32) + ":0000 0A 00000000:00000000"
        let tree = MemoryTree([
            "/proc/net/tcp": Self.listeners.joined(separator: "\n"),
            "/proc/net/tcp6": [
                "  sl  local_address                         remote_address   st",
                "   0: \(zeros)01000000:0CEA \(rest)", "   1: \(zeros)00000000:0CEB \(rest)",
                "   2: 0000000000000000FFFF00000100007F:0CEC \(rest)",
                "   3: B80D01200000000000000000\("01000000"):0CED \(rest)",
            ].joined(separator: "\n"),
        ])
        var host = FakeHost()
        let ports = ListeningPorts.read(tree: tree, paths: NodePaths(), host: host)
        #expect(ports == [6379, 8080, 3306, 3307, 3308])
        #expect(ListeningPorts.read(tree: MemoryTree(), paths: NodePaths(), host: host) == [])
        // The kernel's answer goes before its files.
        host.ports = [80]
        #expect(ListeningPorts.read(tree: tree, paths: NodePaths(), host: host) == [80])
    }

    @Test("servers are found by port and by socket")
    func discovery() throws {
        let keys = [ValkeyKey(.celery, "celery")]
        let tree = MemoryTree([
            "/run/redis/redis-server.sock": "", "/run/redis/redis-server.pid": "",
            "/run/redis-cache/redis-server.sock": "", "/run/redisx/a.sock": "",
        ])
        let cache = ValkeyTarget(
            .unix(path: "/run/redis-cache/redis-server.sock"), label: "redis-cache")
        let main = ValkeyTarget(.unix(path: "/run/redis/redis-server.sock"), keys: keys)
        func found(_ tree: MemoryTree, _ ports: Set<UInt16>) -> [ValkeyTarget] {
            ValkeyReader.discover(
                tree: tree, paths: NodePaths(), keys: keys, host: FakeHost(ports: ports))
        }
        #expect(found(tree, [8_080]) == [main, cache])
        let ports = ["127.0.0.1", "::1"].map {
            ValkeyTarget(.tcp(host: $0, port: 6_379), keys: keys)
        }
        #expect(found(tree, [6_379, 8_080]) == ports + [main, cache])
        #expect(found(MemoryTree(), []) == [])
    }
}
