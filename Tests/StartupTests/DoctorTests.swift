import Model
import Simulation
import Startup
import Storage
import Testing
import World

@Suite("Check-ups")
struct DoctorTests {
    static func word(_ result: CheckResult) -> String { "\(result.verdict)" }
    static let errors: @Sendable (Int32) -> String = { "errno \($0)" }

    @Test("a report in lines, with remedies below what is not ok")
    func text() {
        let report = CheckReport(
            program: "p",
            results: [
                .ok("clock", "kept"), .warn("disk space", "low\u{1b}[1m", remedy: "one\ntwo"),
                .fail("port", "taken", remedy: "ss -ltnp"),
            ])
        #expect(
            report.text == """
                ok    clock       kept
                warn  disk space  low\\u001b[1m
                        one
                        two
                FAIL  port        taken
                        ss -ltnp

                """)
        #expect(report.exitCode == 1)
        #expect(
            report.json
                == #"{"program":"p","exit":1,"checks":[{"name":"clock","verdict":"ok","found":"kept","#
                + #""remedy":""},{"name":"disk space","verdict":"warn","found":"low\u001b[1m","#
                + #""remedy":"one\ntwo"},{"name":"port","verdict":"fail","found":"taken","#
                + #""remedy":"ss -ltnp"}]}"# + "\n")
    }

    @Test("warnings alone are no failure")
    func exitCode() {
        #expect(CheckReport(program: "p", results: [.warn("a", "b", remedy: "c")]).exitCode == 0)
        #expect(CheckReport(program: "p", results: []).exitCode == 0)
    }

    @Test(
        "certificates over their life",
        arguments: [
            (-1, 0.6, "fail", "not valid before"), (0, 0.6, "ok", "valid until"),
            (59, 0.6, "ok", "valid until"), (61, 0.6, "warn", "overdue"),
            (100, 0.6, "warn", "overdue"), (101, 0.6, "fail", "expired"), (99, nil, "ok", "until"),
        ] as [(Int64, Double?, String, String)])
    func validity(now: Int64, renewal: Double?, verdict: String, text: String) {
        let result = HostChecks.validity(
            "identity", of: "h", notBefore: TimestampMS(0), notAfter: TimestampMS(100),
            now: TimestampMS(now), renewal: renewal, remedy: "join")
        #expect(Self.word(result) == verdict)
        #expect(result.found.contains(text))
        #expect(result.remedy.isEmpty == (verdict == "ok"))
    }

    @Test(
        "state folders",
        arguments: [
            (.success(FileOwnership(user: 7, group: 7, mode: 0o700)), "ok", ""),
            (.success(FileOwnership(user: 7, group: 7, mode: 0o711)), "ok", ""),
            (.success(FileOwnership(user: 7, group: 7, mode: 0o750)), "fail", "chmod 0700 /s"),
            (.success(FileOwnership(user: 0, group: 0, mode: 0o700)), "fail", "chown -R agent: /s"),
            (
                .failure(FileError(operation: "stat", path: "/s", errno: 2)), "warn",
                "systemctl start"
            ),
            (.failure(FileError(operation: "stat", path: "/s", errno: 13)), "fail", "sudo"),
        ] as [(Result<FileOwnership, FileError>, String, String)])
    func folders(status: Result<FileOwnership, FileError>, verdict: String, remedy: String) {
        let result = HostChecks.folder(
            "/s", status, owner: UserAccount(name: "agent", user: 7, group: 7), service: "x",
            errorText: Self.errors)
        #expect(Self.word(result) == verdict)
        #expect(remedy.isEmpty ? result.remedy.isEmpty : result.remedy.contains(remedy))
    }

    @Test(
        "room", arguments: [(0, "fail"), (99, "fail"), (100, "warn"), (199, "warn"), (200, "ok")])
    func space(free: Int64, verdict: String) {
        let result = HostChecks.space("/s", freeBytes: free, guardBytes: 100, consequence: "c")
        #expect(Self.word(result) == verdict)
    }

    @Test(
        "clocks",
        arguments: [
            (nil, "warn"),
            (ClockSynchronisation(isSynchronised: false, errorMaxMicroseconds: 1), "warn"),
            (ClockSynchronisation(isSynchronised: true, errorMaxMicroseconds: 20_000), "ok"),
            (ClockSynchronisation(isSynchronised: true, errorMaxMicroseconds: 16_000_000), "warn"),
        ] as [(ClockSynchronisation?, String)])
    func clocks(state: ClockSynchronisation?, verdict: String) {
        #expect(Self.word(HostChecks.clock(state)) == verdict)
    }

    @Test(
        "units",
        arguments: [
            (nil, "ok"), ("LoadState=not-found", "ok"),
            ("LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNRestarts=0", "ok"),
            ("LoadState=loaded\nActiveState=active\nUnitFileState=disabled", "warn"),
            ("LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNRestarts=9", "warn"),
            ("LoadState=loaded\nActiveState=failed", "fail"),
            ("LoadState=loaded\nActiveState=inactive", "fail"),
        ] as [(String?, String)])
    func units(shown: String?, verdict: String) {
        let result = HostChecks.unit("petrel-agent", shown.map(HostChecks.properties))
        #expect(Self.word(result) == verdict)
    }

    @Test(
        "ports",
        arguments: [
            ([], nil, "ok", "free"), ([("0.0.0.0", "petrel-collecto")], nil, "ok", "held by"),
            ([("::", "nginx")], nil, "fail", "nginx"), ([("::", nil)], nil, "warn", "may not see"),
            ([("::", nil)], true, "ok", "held by"), ([("10.0.0.9", "nginx")], nil, "ok", "free"),
        ] as [([(String, String?)], Bool?, String, String)])
    func ports(holders: [(String, String?)], isOwn: Bool?, verdict: String, text: String) {
        let result = HostChecks.port(
            "HTTP port", AddressAndPort(address: "127.0.0.1", port: 9600),
            listeners: holders.map { Listener(address: $0.0, port: 9600, program: $0.1) },
            program: "petrel-collector", isOwn: isOwn, consequence: .fail, key: "http.listen")
        #expect(Self.word(result) == verdict)
        #expect(result.found.contains(text))
    }

    @Test(
        "a program without figures is worth a word where its unit is active",
        arguments: [
            (nil, false), ("LoadState=not-found", false), ("ActiveState=inactive", false),
            ("ActiveState=activating", false), ("ActiveState=active", true),
        ] as [(String?, Bool)])
    func silence(shown: String?, isSaid: Bool) {
        let result = HostChecks.silence(
            "petrel-agent", shown.map(HostChecks.properties),
            AddressAndPort(address: "::1", port: 9100))
        #expect(result.map(Self.word) == (isSaid ? "warn" : nil))
        #expect(
            result?.found.contains("http://[::1]:9100/metrics does not answer")
                == (isSaid ? true : nil))
        #expect(result?.remedy.contains("journalctl -u petrel-agent") == (isSaid ? true : nil))
    }

    @Test(
        "reaching the collector",
        arguments: [
            (.connected, "ok", ""), (.refused, "fail", "systemctl status"),
            (.silent, "fail", "ufw allow"), (.unknownName("x"), "fail", "getent hosts"),
            (.failed(errno: 101), "fail", "ip route"),
        ] as [(ConnectOutcome, String, String)])
    func reach(outcome: ConnectOutcome, verdict: String, remedy: String) {
        let result = AgentChecks.reach(
            "collector", host: "c", port: 9601, outcome, errorText: Self.errors)
        #expect(Self.word(result) == verdict)
        #expect(result.remedy.contains(remedy))
    }

    /// What each address answers and how long that takes it, milliseconds; its share is what it waits at most.
    @Test(
        "addresses share the time, and what says most of the other end is kept",
        arguments: [
            ([(.silent, 9_000), (.connected, 0)], .connected, [1_500, 1_500]),
            ([(.refused, 0), (.silent, 9_000)], .refused, [1_500, 3_000]),
            ([(.silent, 9_000), (.failed(errno: 101), 0)], .silent, [1_500, 1_500]),
            ([(.failed(errno: 101), 0), (.refused, 0)], .refused, [1_500, 3_000]),
            ([(.failed(errno: 101), 0), (.failed(errno: 113), 0)], .failed(errno: 101), nil),
            ([(.connected, 0), (.refused, 0)], .connected, [1_500]),
            (
                [(.silent, 9_000), (.silent, 9_000), (.refused, 0)], .refused,
                [1_000, 1_000, 1_000]
            ),
        ] as [([(ConnectOutcome, Int)], ConnectOutcome, [Int]?)])
    func addresses(
        answers: [(ConnectOutcome, Int)], expected: ConnectOutcome, times: [Int]?
    ) {
        let clock = VirtualClock()
        var given: [Int] = []
        let outcome = ConnectOutcome.best(
            ofAddresses: answers.count, milliseconds: 3_000, clock: clock
        ) { index, milliseconds in
            given.append(milliseconds)
            clock.advance(nanoseconds: Int64(min(milliseconds, answers[index].1)) * 1_000_000)
            return answers[index].0
        }
        #expect(outcome == expected)
        if let times { #expect(given == times) }
    }

    @Test("spools", arguments: [(0.0, "ok"), (79, "ok"), (80, "warn"), (100, "warn")])
    func spools(bytes: Double, verdict: String) {
        #expect(
            Self.word(AgentChecks.spool(records: nil, bytes: bytes, bytesMax: 100)) == verdict)
    }

    @Test("what the running agent says of itself")
    func running() {
        let figures = OwnFigures(
            """
            # HELP petrel_agent_log_source_up 1 while it can be read.
            petrel_agent_log_source_up{source="journal"} 1
            petrel_agent_log_source_up{source="file:/a \\"b\\", c=d"} 0
            node_scrape_collector_success{collector="cpu"} 1
            node_scrape_collector_success{collector="zfs"} 0
            petrel_agent_stream_connected{stream="logs"} 1
            petrel_agent_spool_degraded{stream="logs"} 0
            node_load1 +Inf
            nonsense
            """)
        let results = AgentChecks.running(figures)
        #expect(results.map(Self.word) == ["fail", "warn", "ok"])
        #expect(results[0].found.contains("file:/a \"b\", c=d"))
        #expect(AgentChecks.isRead("journal", figures) == true)
        #expect(AgentChecks.isRead("file:/a \"b\", c=d", figures) == false)
        #expect(AgentChecks.isRead("file:/b", figures) == nil)
        #expect(results[1].found.contains("zfs"))
        #expect(figures.sum("node_load1") == .infinity)
        #expect(figures.sum("none") == nil)
    }

    static func facts(_ change: (inout DatabaseFacts) -> Void = { _ in }) -> DatabaseFacts {
        var facts = DatabaseFacts(
            version: 150_004, user: "petrel-collector", database: "petrel", isSuperuser: false,
            pooler: .none, applied: [1, 2], known: [1, 2],
            roles: [DatabaseFacts.Role(name: "petrel_ingest", exists: true, isMember: true)],
            settings: [
                "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
                "autovacuum": "on",
            ], localDataDirectory: nil, size: 1 << 20, hosts: [])
        change(&facts)
        return facts
    }

    static let databaseNames = ["database", "pooler", "schema", "roles", "settings"]

    /// Name of a change, the change, and the verdict of the result that it must alter.
    static let databases: [(String, @Sendable (inout DatabaseFacts) -> Void, String, String)] = [
        ("old", { $0.version = 130_009 }, "database", "fail"),
        ("superuser", { $0.isSuperuser = true }, "database", "warn"),
        ("session pooler", { $0.pooler = .session }, "pooler", "warn"),
        ("transaction pooler", { $0.pooler = .transaction }, "pooler", "fail"),
        ("missing migration", { $0.applied = [1] }, "schema", "warn"),
        ("no schema", { $0.applied = [] }, "schema", "warn"),
        ("newer schema", { $0.applied = [1, 2, 3] }, "schema", "fail"),
        ("no role", { $0.roles[0].exists = false }, "roles", "warn"),
        ("no member", { $0.roles[0].isMember = false }, "roles", "warn"),
        ("fsync", { $0.settings["fsync"] = "off" }, "settings", "fail"),
        ("pages", { $0.settings["full_page_writes"] = "off" }, "settings", "fail"),
        ("commit", { $0.settings["synchronous_commit"] = "off" }, "settings", "warn"),
        ("vacuum", { $0.settings["autovacuum"] = "off" }, "settings", "fail"),
    ]

    @Test("databases: each fault shows in its own line alone", arguments: databases.indices)
    func database(index: Int) {
        let (_, change, name, verdict) = Self.databases[index]
        let results = CollectorChecks.database(Self.facts(change))
        #expect(results.map(\.name) == Self.databaseNames)
        for result in results {
            #expect(Self.word(result) == (result.name == name ? verdict : "ok"))
            #expect(result.remedy.isEmpty == (result.verdict == .ok))
        }
    }

    @Test("a good database is all ok")
    func goodDatabase() {
        let results = CollectorChecks.database(Self.facts())
        #expect(results.map(\.name) == Self.databaseNames)
        #expect(results.allSatisfy { $0.verdict == .ok })
    }

    @Test(
        "hosts",
        arguments: [
            (0, 8, "ok"), (6, 8, "warn"), (0, 1, "warn"), (0, -1, "warn"),
        ] as [(Int64, Int64, String)])
    func hosts(silentMinutes: Int64, certificateDays: Int64, verdict: String) {
        let now = TimestampMS(1_767_323_045_000)
        let host = DatabaseFacts.Host(
            name: "db1", isRevoked: false,
            lastSeenAt: now.advanced(byMilliseconds: -silentMinutes * 60_000),
            notAfter: now.advanced(byMilliseconds: certificateDays * 86_400_000))
        #expect(CollectorChecks.hosts([host], now: now).map(Self.word) == [verdict])
    }

    @Test("a fleet of revoked hosts is an empty one")
    func noHosts() {
        let host = DatabaseFacts.Host(name: "a", isRevoked: true, lastSeenAt: nil, notAfter: nil)
        let results = CollectorChecks.hosts([host], now: TimestampMS(0))
        #expect(results.map(\.verdict) == [.warn])
        #expect(results[0].remedy.contains("enroll create"))
    }

    @Test(
        "the address that agents are told",
        arguments: [
            (["10.0.0.5"], "0.0.0.0", "ok"), ([], "0.0.0.0", "warn"), (["127.0.0.1"], "::", "warn"),
            (["10.0.0.5"], "127.0.0.1", "warn"), (["localhost"], "0.0.0.0", "warn"),
        ])
    func advertised(names: [String], listen: String, verdict: String) {
        let result = CollectorChecks.advertised(
            names, fleet: AddressAndPort(address: listen, port: 9601))
        #expect(Self.word(result) == verdict)
    }

    @Test(
        "the authority's key",
        arguments: [(0o600, "ok"), (0o400, "ok"), (0o640, "fail"), (0o604, "fail")]
            as [(UInt32, String)])
    func authorityKey(mode: UInt32, verdict: String) {
        let result = CollectorChecks.authorityKey(
            "/k", .success(FileOwnership(user: 7, group: 7, mode: mode)), errorText: Self.errors)
        #expect(Self.word(result) == verdict)
    }

    @Test("skews of hosts")
    func skews() {
        let figures = OwnFigures(
            """
            petrel_agent_clock_skew_seconds{host="a",stream="logs"} 0.2
            petrel_agent_clock_skew_seconds{host="b",stream="logs"} -31
            petrel_agent_clock_skew_seconds{host="b",stream="metrics"} -31
            """)
        #expect(CollectorChecks.skews(figures)?.found == "off by more than 5 s: b")
        #expect(CollectorChecks.skews(OwnFigures("")) == nil)
    }
}
