import AgentRead
import Exposition
import Model
import Synchronization
import Testing
import World

@Suite("PgBouncer reader")
struct PgBouncerReaderTests {
    /// A console that answers what a test says.
    final class FakeConsole: PostgresQuerying {
        let serverVersion = 0
        let answers: [String: PostgresTable]
        let failing: [String: ServiceError]
        let asked: Asked

        init(
            _ answers: [String: PostgresTable], failing: [String: ServiceError] = [:],
            asked: Asked = Asked()
        ) {
            self.answers = answers
            self.failing = failing
            self.asked = asked
        }

        func query(_ sql: String) throws(ServiceError) -> PostgresTable {
            asked.add(sql)
            if let error = failing[sql] { throw error }
            guard let table = answers[sql] else {
                throw .refused(
                    PgBouncerReaderTests.address, code: "08P01", message: "unsupported: \(sql)")
            }
            return table
        }
    }

    final class Asked: Sendable {
        private let texts = Mutex<[String]>([])
        func add(_ text: String) { texts.withLock { $0.append(text) } }
        /// What was asked since the last call.
        func take() -> [String] {
            texts.withLock { texts in
                defer { texts = [] }
                return texts
            }
        }
    }

    /// What a test changes between readings.
    final class Scene: Sendable {
        private let targets = Mutex<[PgBouncerTarget]>([])
        private let failure = Mutex<[ServiceAddress: ServiceError]>([:])
        func give(_ list: [PgBouncerTarget]) { targets.withLock { $0 = list } }
        func fail(_ address: ServiceAddress, _ error: ServiceError?) {
            failure.withLock { $0[address] = error }
        }
        func given() -> [PgBouncerTarget] { targets.withLock { $0 } }
        func error(_ address: ServiceAddress) -> ServiceError? {
            failure.withLock { $0[address] }
        }
    }

    static let address = ServiceAddress.unix(path: "/run/postgresql/.s.PGSQL.6432")
    static let other = ServiceAddress.tcp(host: "127.0.0.1", port: 6_432)
    static let gone = ServiceError.connection(address, operation: "connect", errno: 2)

    /// A table of lines: the first has the columns, `-` is NULL.
    static func table(_ text: String) -> PostgresTable {
        let lines = text.split(separator: "\n").map { line in
            line.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        }
        return PostgresTable(
            columns: lines[0], rows: lines.dropFirst().map { $0.map { $0 == "-" ? nil : $0 } })
    }

    /// PgBouncer 1.18, as Debian 12 has it.
    static let debian: [String: PostgresTable] = [
        "SHOW VERSION": table("version\nPgBouncer 1.18.0"),
        "SHOW LISTS": table(
            """
            list|items
            databases|2
            users|3
            pools|1
            free_clients|49
            used_clients|3
            login_clients|0
            free_servers|50
            used_servers|0
            dns_names|1
            dns_zones|0
            dns_queries|0
            dns_pending|0
            """),
        "SHOW CONFIG": table(
            """
            key|value|default|changeable
            max_client_conn|100|100|yes
            max_user_connections|0|0|yes
            listen_port|6432|6432|no
            """),
        "SHOW CLIENTS": table(
            """
            type|user|database|state|addr|application_name
            C|app|db|active|unix|api
            C|app|db|active|unix|api
            C|app|db|waiting|unix|
            """),
        "SHOW DATABASES": table(
            """
            name|host|port|database|force_user|pool_size|min_pool_size|reserve_pool|pool_mode|max_connections|current_connections|paused|disabled
            db|/run/postgresql|5432|db|-|20|0|5|transaction|0|2|0|0
            pgbouncer|-|6432|pgbouncer|pgbouncer|2|0|0|statement|0|0|0|1
            """),
        "SHOW STATS_TOTALS": table(
            """
            database|xact_count|query_count|bytes_received|bytes_sent|xact_time|query_time|wait_time
            db|10|20|300|400|2500000|1500000|7
            """),
        "SHOW POOLS": table(
            """
            database|user|cl_active|cl_waiting|cl_cancel_req|sv_active|sv_idle|sv_used|sv_tested|sv_login|maxwait|maxwait_us|pool_mode
            pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|statement
            db|app|2|1|0|1|3|4|5|6|7|8|transaction
            """),
    ]

    static func reader(
        _ scene: Scene, _ answers: [String: PostgresTable] = debian,
        failing: [String: ServiceError] = [:], asked: Asked = Asked(),
        clock: any WorldClock = ManualClock()
    ) -> PgBouncerReader {
        PgBouncerReader(
            clock: clock, targets: { scene.given() },
            connect: { (target, milliseconds) throws(ServiceError) in
                asked.add("\(target.address) \(milliseconds)")
                if let error = scene.error(target.address) { throw error }
                return FakeConsole(answers, failing: failing, asked: asked)
            })
    }

    static func families(_ reader: PgBouncerReader) throws -> [MetricFamily] {
        try reader.read(now: TimestampNS(1_700_000_000_000_000_000))
    }
    static func samples(_ reader: PgBouncerReader) throws -> [String: Double] {
        NodeReaderTests.samples(try families(reader))
    }

    /// The samples of one reading of `answers`.
    static func samples(
        _ answers: [String: PostgresTable], failing: [String: ServiceError] = [:],
        label: String? = nil
    ) throws -> [String: Double] {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: address, label: label)])
        return try samples(reader(scene, answers, failing: failing))
    }

    // MARK: - What it reads

    @Test("every sample of PgBouncer 1.18")
    func everything() throws {
        let database =
            #"database="db",host="/run/postgresql",name="db",pool_mode="transaction",port="5432""#
        let console =
            #"database="pgbouncer",force_user="pgbouncer",name="pgbouncer",pool_mode="statement",port="6432""#
        let pool = #"database="db",user="app""#
        let own = #"database="pgbouncer",user="pgbouncer""#
        var expected: [String: Double] = [
            "pgbouncer_up": 1,
            #"pgbouncer_version_info{version="PgBouncer 1.18.0"}"#: 1,
            "pgbouncer_databases": 2, "pgbouncer_users": 3, "pgbouncer_pools": 1,
            "pgbouncer_free_clients": 49, "pgbouncer_used_clients": 3,
            "pgbouncer_login_clients": 0, "pgbouncer_free_servers": 50,
            "pgbouncer_used_servers": 0, "pgbouncer_cached_dns_names": 1,
            "pgbouncer_cached_dns_zones": 0, "pgbouncer_in_flight_dns_queries": 0,
            "pgbouncer_config_max_client_connections": 100,
            "pgbouncer_config_max_user_connections": 0,
            #"pgbouncer_client_connections{application_name="api",database="db",state="active",user="app"}"#:
                2,
            #"pgbouncer_client_connections{database="db",state="waiting",user="app"}"#: 1,
        ]
        for (metric, values) in [
            ("pool_size", (20.0, 2.0)), ("reserve_pool", (5, 0)), ("max_connections", (0, 0)),
            ("current_connections", (2, 0)), ("paused", (0, 0)), ("disabled", (0, 1)),
        ] {
            expected["pgbouncer_databases_\(metric){\(database)}"] = values.0
            expected["pgbouncer_databases_\(metric){\(console)}"] = values.1
        }
        for (metric, value) in [
            ("sql_transactions_pooled", 10.0), ("queries_pooled", 20), ("received_bytes", 300),
            ("sent_bytes", 400), ("server_in_transaction_seconds", 2.5),
            ("queries_duration_seconds", 1.5), ("client_wait_seconds", 7 * 1e-6),
        ] {
            for prefix in ["pgbouncer_stats_totals_", "pgbouncer_stats_"] {
                expected["\(prefix)\(metric)_total{database=\"db\"}"] = value
            }
        }
        for (metric, values) in [
            ("client_active_connections", (2.0, 1.0)), ("client_waiting_connections", (1, 0)),
            ("server_active_connections", (1, 0)), ("server_idle_connections", (3, 0)),
            ("server_used_connections", (4, 0)), ("server_testing_connections", (5, 0)),
            ("server_login_connections", (6, 0)), ("client_maxwait_seconds", (7, 0)),
        ] {
            expected["pgbouncer_pools_\(metric){\(pool)}"] = values.0
            expected["pgbouncer_pools_\(metric){\(own)}"] = values.1
        }
        #expect(try Self.samples(Self.debian) == expected)
    }

    @Test("types, job and name")
    func types() throws {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: Self.address)])
        let reader = Self.reader(scene)
        #expect(reader.name == "pgbouncer")
        #expect(reader.job == "pgbouncer")
        let families = try Self.families(reader)
        #expect(Set(families.map(\.name)).count == families.count, "a family twice")
        for family in families {
            let isTotal = family.name.hasPrefix("pgbouncer_stats_")
            #expect(family.metadata.type == (isTotal ? .counter : .gauge), "\(family.name)")
            #expect(!family.metadata.help.isEmpty, "\(family.name)")
            #expect(
                Set(family.points.map(\.labels)).count == family.points.count, "\(family.name)")
        }
    }

    @Test("columns of later versions")
    func later() throws {
        let samples = try Self.samples([
            "SHOW DATABASES": Self.table("name|reserve_pool_size|pool_size\ndb|9|-"),
            "SHOW STATS_TOTALS": Self.table(
                """
                database|server_assignment_count|client_parse_count|server_parse_count|bind_count
                db|1|2|3|4
                """),
            "SHOW POOLS": Self.table(
                """
                database|user|cl_active_cancel_req|cl_waiting_cancel_req|sv_active_cancel|sv_being_canceled
                db|app|1|2|3|4
                """),
        ])
        #expect(samples[#"pgbouncer_databases_reserve_pool{name="db"}"#] == 9)
        // NULL, as the exporter has it.
        #expect(samples[#"pgbouncer_databases_pool_size{name="db"}"#]?.isNaN == true)
        for (metric, value) in [
            ("server_assignments", 1.0), ("client_parses", 2), ("server_parses", 3), ("binds", 4),
        ] {
            #expect(samples["pgbouncer_stats_totals_\(metric)_total{database=\"db\"}"] == value)
            #expect(samples["pgbouncer_stats_\(metric)_total{database=\"db\"}"] == nil)
        }
        for (metric, value) in [
            ("client_active_cancel", 1.0), ("client_waiting_cancel", 2),
            ("server_active_cancel", 3), ("server_being_canceled", 4),
        ] {
            let key = "pgbouncer_pools_\(metric)_connections{database=\"db\",user=\"app\"}"
            #expect(samples[key] == value)
        }
    }

    @Test("odd values: no number, rows with the same labels, tables without rows or columns")
    func odd() throws {
        let samples = try Self.samples([
            "SHOW VERSION": Self.table("version"), "SHOW LISTS": Self.table("a|b\nusers|2"),
            "SHOW CONFIG": Self.table("key|value\nmax_client_conn|many"),
            "SHOW CLIENTS": Self.table("state"),
            "SHOW DATABASES": Self.table("name|pool_size|paused\ndb|x|1\ndb|3|0\n-|4|0"),
            "SHOW STATS_TOTALS": Self.table("database"),
            "SHOW POOLS": PostgresTable(columns: [], rows: [[]]),
        ])
        #expect(
            samples == [
                "pgbouncer_up": 1, "pgbouncer_databases_pool_size": 4,
                "pgbouncer_databases_paused": 0,
                #"pgbouncer_databases_paused{name="db"}"#: 1,
            ])
    }

    @Test("a label for each of several servers")
    func labels() throws {
        let samples = try Self.samples(Self.debian, label: "a")
        #expect(samples.keys.allSatisfy { $0.contains(#"server="a""#) })
        #expect(
            samples[
                #"pgbouncer_pools_client_active_connections{database="db",server="a",user="app"}"#]
                == 2)
    }

    @Test("many clients are not looked at, many names become one")
    func clients() throws {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: Self.address)])
        let asked = Asked()
        var answers = Self.debian
        answers["SHOW LISTS"] = Self.table("list|items\nused_clients|1001")
        _ = try Self.families(Self.reader(scene, answers, asked: asked))
        #expect(!asked.take().contains("SHOW CLIENTS"))
        answers["SHOW LISTS"] = Self.table("list|items\nused_clients|1000")
        var table = PostgresTable(
            columns: ["user", "database", "state", "application_name"], rows: [])
        for number in 0..<1_000 { table.rows.append(["u", "d", "active", "app\(number)"]) }
        answers["SHOW CLIENTS"] = table
        let family = try #require(
            try Self.families(Self.reader(scene, answers, asked: asked)).first {
                $0.name == "pgbouncer_client_connections"
            })
        #expect(asked.take().contains("SHOW CLIENTS"))
        #expect(family.points.count == 201)
        #expect(family.points.reduce(0) { $0 + $1.value } == 1_000)
        let rest = family.points.first { $0.labels["application_name"] == "_other" }
        #expect(rest?.value == 800)
    }

    @Test("one refused question costs its own metrics")
    func partly() throws {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: Self.address)])
        let reader = Self.reader(
            scene,
            failing: ["SHOW CONFIG": .refused(Self.address, code: "08P01", message: "no")])
        let samples = try Self.samples(reader)
        #expect(samples["pgbouncer_up"] == 0)
        #expect(samples["pgbouncer_config_max_client_connections"] == nil)
        #expect(samples["pgbouncer_databases"] == 2)
        #expect(samples.keys.contains { $0.hasPrefix("pgbouncer_pools_") })
        #expect(reader.problems == ["pgbouncer: \(Self.address): 08P01: no"])
    }

    @Test("a session that breaks is asked no more")
    func broken() throws {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: Self.address)])
        let asked = Asked()
        let reader = Self.reader(
            scene, failing: ["SHOW LISTS": .closed(Self.address)], asked: asked)
        #expect(
            try Self.samples(reader) == [
                "pgbouncer_up": 0, #"pgbouncer_version_info{version="PgBouncer 1.18.0"}"#: 1,
            ])
        #expect(asked.take().suffix(2) == ["SHOW VERSION", "SHOW LISTS"])
    }

    // MARK: - Which servers

    @Test("a host without PgBouncer, and one whose PgBouncer goes and comes")
    func life() throws {
        let scene = Scene()
        let reader = Self.reader(scene)
        #expect(try Self.families(reader).isEmpty)
        #expect(reader.problems == [])
        let target = PgBouncerTarget(address: Self.address, isExpected: false)
        // A socket that somebody left behind.
        scene.give([target])
        scene.fail(
            Self.address, .connection(Self.address, operation: "connect", errno: 111))
        #expect(try Self.families(reader).isEmpty)
        #expect(reader.problems == [])
        scene.fail(Self.address, nil)
        #expect(try Self.samples(reader)["pgbouncer_up"] == 1)
        #expect(reader.problems == [])
        scene.give([])
        scene.fail(Self.address, Self.gone)
        #expect(try Self.samples(reader) == ["pgbouncer_up": 0])
        #expect(reader.problems == ["pgbouncer: \(Self.gone); start PgBouncer"])
        scene.give([target])
        scene.fail(Self.address, nil)
        #expect(try Self.samples(reader)["pgbouncer_up"] == 1)
        #expect(reader.problems == [])
    }

    @Test("a configured server that was never seen is down")
    func expected() throws {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: Self.address)])
        scene.fail(Self.address, Self.gone)
        let reader = Self.reader(scene)
        #expect(try Self.samples(reader) == ["pgbouncer_up": 0])
        #expect(reader.problems.count == 1)
        // The configuration has it no more, and nobody ever saw it.
        scene.give([])
        #expect(try Self.families(reader).isEmpty)
        #expect(reader.problems == [])
    }

    @Test(
        "a found server that refuses is down, with the remedy",
        arguments: [
            ("08P01", "no such user", "run: sudo petrel-agent setup pgbouncer"),
            ("08P01", "no more connections allowed (max_client_conn)", "raise max_client_conn"),
            (
                "", "asks for the password itself, which the agent does not give",
                "set auth_type = scram-sha-256 in pgbouncer.ini"
            ),
        ])
    func refusing(code: String, message: String, remedy: String) throws {
        let scene = Scene()
        scene.give([PgBouncerTarget(address: Self.address, isExpected: false)])
        let error = ServiceError.refused(Self.address, code: code, message: message)
        scene.fail(Self.address, error)
        let reader = Self.reader(scene)
        #expect(try Self.samples(reader) == ["pgbouncer_up": 0])
        #expect(reader.problems == ["pgbouncer: \(error); \(remedy)"])
    }

    @Test("targets of one label are ways to one server; the one that worked comes first")
    func ways() throws {
        let scene = Scene()
        let asked = Asked()
        let reader = Self.reader(scene, [:], asked: asked)
        func tries() throws -> [String] {
            _ = try Self.families(reader)
            return asked.take().filter { !$0.hasPrefix("SHOW") }
        }
        scene.give([
            PgBouncerTarget(address: Self.address, isExpected: false),
            PgBouncerTarget(address: Self.other, isExpected: false),
        ])
        scene.fail(Self.address, .timeout(Self.address, operation: "connect"))
        #expect(try tries() == ["\(Self.address) 750", "\(Self.other) 1500"])
        #expect(try tries() == ["\(Self.other) 750"])
        scene.fail(Self.other, .closed(Self.other))
        scene.fail(Self.address, nil)
        #expect(try tries() == ["\(Self.other) 750", "\(Self.address) 1500"])
    }

    @Test("servers share the time of a reading")
    func time() throws {
        let scene = Scene()
        let clock = ManualClock()
        let times = Asked()
        let targets = (1...4).map {
            PgBouncerTarget(address: .tcp(host: "127.0.0.1", port: UInt16($0)), label: "s\($0)")
        }
        scene.give(targets)
        let reader = PgBouncerReader(
            clock: clock, targets: { scene.given() },
            connect: { (target, milliseconds) throws(ServiceError) in
                times.add("\(milliseconds)")
                clock.advance(milliseconds * 1_000_000)
                throw .timeout(target.address, operation: "connect")
            })
        #expect(try Self.samples(reader).count == 4)
        #expect(times.take() == ["500", "500", "500", "500"])
        #expect(clock.monotonicNanoseconds == 2_000_000_000)
        #expect(reader.problems.count == 4)
    }

    @Test("what is there by itself")
    func discovery() {
        let paths = NodePaths()
        let none = PgBouncerReader.discover(
            tree: MemoryTree(), paths: paths, host: FakeHost(ports: []))
        #expect(none.isEmpty)
        // In /tmp everybody may put a socket.
        let tree = MemoryTree(["/run/postgresql/.s.PGSQL.6432": "", "/tmp/.s.PGSQL.6432": ""])
        let found = PgBouncerReader.discover(
            tree: tree, paths: paths, user: "reader", host: FakeHost(ports: [6_432]))
        #expect(
            found.map(\.address) == [
                Self.address, Self.other, .tcp(host: "::1", port: 6_432),
            ])
        for target in found {
            #expect(target.user == "reader")
            #expect(target.secretPath == "/etc/petrel/secrets/pgbouncer")
            #expect(target.label == nil)
            #expect(!target.isExpected)
        }
    }

    // MARK: - The whole way

    typealias Say = ServerMessage

    static let startup: [UInt8] = {
        let texts = [
            "user", "petrel-agent", "database", "pgbouncer", "application_name",
            "petrel-agent", "client_encoding", "UTF8", "",
        ]
        let body = Say.number(196_608) + texts.flatMap { Say.text($0) }
        return Say.number(Int32(body.count + 4)) + body
    }()

    @Test("a file that can't be read is named with its remedy, where a password is asked for")
    func unreadableSecret() async throws {
        let server = try ScriptedServer([
            .receive(Self.startup), .send(Say.request(5, [1, 2, 3, 4])),
        ])
        let reader = PgBouncerReader(
            tree: MemoryTree(["/secret": String(repeating: "x", count: 5_000)]),
            clock: ManualClock(), random: PostgresSessionTests.CountingRandom(),
            targets: { [PgBouncerTarget(address: server.address, secretPath: "/secret")] })
        #expect(try Self.samples(reader) == ["pgbouncer_up": 0])
        #expect(
            reader.problems == [
                "pgbouncer: \(server.address): password_file: read /secret: errno 27; "
                    + "let it hold the password alone"
            ])
        #expect(await server.end().faults == [])
    }

    @Test("logs in with the password in the file")
    func login() async throws {
        let server = try ScriptedServer([
            .receive(Self.startup), .send(Say.request(5, [1, 2, 3, 4])),
            .receive(Say.message("p", Say.text("md58e8f1a2aefa78254ec64d33042740a46"))),
            .send(Say.failure("08P01", "password authentication failed")),
        ])
        let reader = PgBouncerReader(
            tree: MemoryTree(["/secret": "open sesame \nmore\n"]), clock: ManualClock(),
            random: PostgresSessionTests.CountingRandom(),
            targets: { [PgBouncerTarget(address: server.address, secretPath: "/secret")] })
        #expect(try Self.samples(reader) == ["pgbouncer_up": 0])
        #expect(reader.problems.count == 1)
        #expect(reader.problems.allSatisfy { !$0.contains("open sesame") })
        let (faults, rest) = await server.end()
        #expect(faults == [])
        #expect(rest == [])
    }
}
