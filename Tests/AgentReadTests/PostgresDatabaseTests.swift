import AgentRead
import Model
import Testing
import World

/// Which servers are read, and which of their databases.
extension PostgresReaderTests {
    // MARK: - Databases

    @Test("tables are read of every database, in turn")
    func databases() throws {
        let server = Self.server()
        let names = ["a", "b", "c", "d", "e"]
        server.set { $0.databases = names }
        let reader = server.reader()
        var samples = try Self.samples(reader)
        #expect(server.takeLogins() == ["postgres", "a", "b", "c", "d"], "those never read first")
        samples = try Self.samples(reader)
        #expect(server.takeLogins() == ["e"])
        for name in names + ["postgres"] {
            let key =
                "pg_stat_user_tables_table_size_bytes{datname=\"\(name)\",relname=\"items\","
                + "schemaname=\"public\"}"
            #expect(samples[key] == 8_192, "\(name)")
        }
        var turns: [String] = []
        for _ in 0..<5 {
            server.clock.advance(1_000_000_000)
            samples = try Self.samples(reader)
            turns += server.takeLogins()
        }
        #expect(turns.sorted() == names, "one a reading, each in its turn")
        #expect(server.get { $0.openMax } == 2)
        #expect(server.get { $0.openCount } == 1)
    }

    @Test("a database that lets nobody in is left alone for a while")
    func closedDatabase() throws {
        let server = Self.server()
        server.set {
            $0.databases = ["app", "secret"]
            $0.closedDatabases = ["secret"]
        }
        let reader = server.reader()
        let samples = try Self.samples(reader)
        #expect(samples["pg_exporter_last_scrape_error"] == 0)
        #expect(reader.problems.count == 1)
        #expect(reader.problems.first?.contains("\"secret\"") == true)
        _ = server.takeLogins()
        for _ in 0..<3 { _ = try Self.samples(reader) }
        #expect(server.takeLogins() == ["app", "app", "app"])
        server.clock.advance(601_000_000_000)
        for _ in 0..<2 { _ = try Self.samples(reader) }
        #expect(server.takeLogins().contains("secret"))
    }

    @Test("a visit that fails once keeps what was read; twice does not")
    func failedVisit() throws {
        let server = Self.server()
        server.set { $0.databases = ["app"] }
        let reader = server.reader()
        let key =
            "pg_stat_user_tables_n_live_tup{datname=\"app\",relname=\"items\","
            + "schemaname=\"public\"}"
        #expect(try Self.samples(reader)[key] == 10)
        server.set { $0.loginError = .closed(FakePostgres.address) }
        var samples = try Self.samples(reader)
        #expect(samples[key] == 10)
        #expect(samples["pg_exporter_last_scrape_error"] == 1)
        samples = try Self.samples(reader)
        #expect(samples[key] == nil)
        #expect(samples["pg_txid_current"] == 787)
        server.set { $0.loginError = nil }
        #expect(try Self.samples(reader)[key] == 10)
    }

    @Test("a visit is followed by a rest a hundred times as long")
    func rest() throws {
        let server = Self.server()
        server.set {
            $0.databases = ["app"]
            $0.delays = [("app", "AS monitors", 30)]
        }
        let reader = server.reader()
        _ = try Self.samples(reader)
        #expect(server.takeLogins() == ["postgres", "app"])
        server.clock.advance(2_900_000_000)
        _ = try Self.samples(reader)
        #expect(server.takeLogins().isEmpty)
        server.clock.advance(200_000_000)
        _ = try Self.samples(reader)
        #expect(server.takeLogins() == ["app"])
    }

    @Test("a visit that fails is followed by a rest too, and told until the next")
    func restOfFailure() throws {
        let server = Self.server()
        server.set {
            $0.databases = ["app"]
            $0.delays = [("app", "AS monitors", 2_000)]
        }
        let reader = server.reader()
        for logins in [["postgres", "app"], [], []] {
            let samples = try Self.samples(reader)
            #expect(server.takeLogins() == logins)
            #expect(samples["pg_up"] == 1)
            #expect(samples["pg_exporter_last_scrape_error"] == 1)
            #expect(reader.problems.count == 1)
            #expect(reader.problems.first?.contains("\"app\"") == true)
            server.clock.advance(15_000_000_000)
        }
        server.set { $0.delays = [] }
        server.clock.advance(20_000_000_000)
        #expect(try Self.samples(reader)["pg_exporter_last_scrape_error"] == 0)
        #expect(server.takeLogins() == ["app"])
        #expect(reader.problems.isEmpty)
    }

    @Test("what a database answered before its time was over is kept")
    func partOfVisit() throws {
        let server = Self.server()
        server.set {
            $0.databases = ["app"]
            $0.delays = [("app", "FROM pg_statio_user_indexes", 2_000)]
        }
        let reader = server.reader()
        let labels = "{datname=\"app\",relname=\"items\",schemaname=\"public\"}"
        let size =
            "pg_general_index_info_pg_relation_size{datname=\"app\","
            + "indexrelname=\"items_pkey\",relname=\"items\",schemaname=\"public\"}"
        for logins in [["postgres", "app"], []] {
            let samples = try Self.samples(reader)
            #expect(server.takeLogins() == logins)
            #expect(samples["pg_stat_user_tables_n_live_tup" + labels] == 10)
            #expect(samples["pg_statio_user_tables_heap_blocks_read" + labels] == 4)
            #expect(samples[size] == nil)
            #expect(samples["pg_exporter_last_scrape_error"] == 1)
            #expect(
                samples["pg_scrape_collector_success{collector=\"statio_user_indexes\"}"] == 0)
            server.clock.advance(15_000_000_000)
        }
    }

    @Test("the tables of all databases together are bounded")
    func manyTables() throws {
        let server = FakePostgres()
        let rows = (0..<450).map {
            ["schemaname": "public", "relname": "t\($0)", "n_live_tup": "1"]
        }
        server.set {
            $0.databases = ["a", "b", "c", "d", "e"]
            $0.rows = [("FROM pg_stat_user_tables", rows)]
        }
        let reader = server.reader()
        for _ in 0..<3 {
            let samples = try Self.samples(reader)
            let tables = samples.keys.filter { $0.hasPrefix("pg_stat_user_tables_n_live_tup{") }
            #expect(tables.count == 2_000)
        }
    }

    @Test("statements are read where the extension is")
    func statements() throws {
        let server = Self.server()
        server.set {
            $0.databases = ["app", "web"]
            $0.extensions = ["web": "11", "app": "11"]
        }
        let samples = try Self.samples(server.reader())
        #expect(
            samples["pg_stat_statements_calls_total{datname=\"app\",queryid=\"-5\",user=\"u\"}"]
                == 4)
        let asked = server.takeQueries().filter { $0.sql.contains("ext.pg_stat_statements(false)") }
        #expect(asked.map(\.database) == ["app"], "one database tells those of all")
        #expect(asked.allSatisfy { !$0.sql.contains("s.query ") && $0.sql.contains("LIMIT 100") })
        let without = try Self.samples(Self.server().reader())
        #expect(!Self.hasFamily(without, "pg_stat_statements_calls_total"))
        #expect(without["pg_scrape_collector_success{collector=\"stat_statements\"}"] == nil)
    }

    // MARK: - Discovery

    /// Two servers of a host, found by their sockets.
    private struct Host {
        let servers = [5_432: PostgresReaderTests.server(), 5_433: PostgresReaderTests.server()]
        let tree = MemoryTree()
        let reader: PostgresReader

        init(_ ports: Int...) throws {
            let (servers, tree) = (servers, tree)
            let first = try #require(servers[5_432])
            let second = try #require(servers[5_433])
            reader = PostgresReader(
                clock: first.clock,
                targets: { PostgresReader.discover(tree: tree, paths: NodePaths()) },
                connect: { (target, database, milliseconds) throws(ServiceError) in
                    let isFirst = target.address.description.hasSuffix("5432")
                    return try (isFirst ? first : second)
                        .connect(target, database, milliseconds)
                })
            for port in ports { start(port) }
            for port in servers.keys where !ports.contains(port) { stop(port) }
        }

        private func path(_ port: Int) -> String { "/run/postgresql/.s.PGSQL.\(port)" }

        func start(_ port: Int) {
            servers[port]?.set { $0.loginError = nil }
            for suffix in ["", ".lock"] { tree.create(path(port) + suffix) }
        }

        func stop(_ port: Int) {
            servers[port]?.restart()
            servers[port]?.set {
                $0.loginError = .connection(FakePostgres.address, operation: "connect", errno: 2)
            }
            for suffix in ["", ".lock"] { tree.delete(path(port) + suffix) }
        }

        /// `pg_up` by the label of its server; a label that comes twice is an issue.
        func up() throws -> [String: Double] {
            let families = try reader.read(now: PostgresReaderTests.now)
            var up: [String: Double] = [:]
            for point in families.first(where: { $0.name == "pg_up" })?.points ?? [] {
                let server = point.labels["server"]
                #expect(up[server] == nil, "\(server) comes twice")
                up[server] = point.value
            }
            return up
        }
    }

    @Test("a server that goes and comes back keeps its label, and so does the one beside it")
    func labelsStay() throws {
        let host = try Host(5_432, 5_433)
        #expect(try host.up() == ["": 1, "localhost:5433": 1])
        host.stop(5_432)
        for _ in 0..<2 { #expect(try host.up() == ["": 0, "localhost:5433": 1]) }
        host.start(5_432)
        for _ in 0..<2 { #expect(try host.up() == ["": 1, "localhost:5433": 1]) }
        host.stop(5_433)
        #expect(try host.up() == ["": 1, "localhost:5433": 0])
        host.start(5_433)
        #expect(try host.up() == ["": 1, "localhost:5433": 1])
    }

    @Test("the one that was there first has no label, unless it never let the agent in")
    func labelOfFirst() throws {
        let host = try Host(5_433)
        #expect(try host.up() == ["": 1])
        host.start(5_432)
        for _ in 0..<2 { #expect(try host.up() == ["": 1, "localhost:5432": 1]) }

        let other = try Host(5_433)
        other.servers[5_433]?.set { $0.loginError = .closed(FakePostgres.address) }
        #expect(try other.up().isEmpty)
        other.start(5_432)
        #expect(try other.up() == ["": 1])
        other.start(5_433)
        #expect(try other.up() == ["": 1, "localhost:5433": 1])
    }

    @Test("of a socket that a killed server left behind there is nothing to tell")
    func leftSocket() throws {
        let host = try Host(5_432)
        host.start(5_433)
        func leave(_ errno: Int32) {
            host.servers[5_433]?.set {
                $0.loginError = .connection(
                    FakePostgres.address, operation: "connect", errno: errno)
            }
        }
        leave(111)
        #expect(try host.up() == ["": 1])
        #expect(host.reader.problems.isEmpty)
        leave(13)
        #expect(try host.up() == ["": 1])
        #expect(host.reader.problems.count == 1)
        host.servers[5_433]?.set { $0.loginError = nil }
        #expect(try host.up() == ["": 1, "localhost:5433": 1])
        host.servers[5_433]?.restart()
        leave(111)
        #expect(try host.up() == ["": 1, "localhost:5433": 0])
        #expect(host.reader.problems.count == 1)
    }

    @Test("servers are found by their sockets, PgBouncer is not one")
    func discovery() {
        let tree = MemoryTree([
            "/var/run/postgresql/.s.PGSQL.5433": "", "/var/run/postgresql/.s.PGSQL.5433.lock": "",
            "/var/run/postgresql/.s.PGSQL.5432": "", "/var/run/postgresql/.s.PGSQL.5432.lock": "",
            "/var/run/postgresql/.s.PGSQL.6432": "", "/run/postgresql/.s.PGSQL.5432": "",
            "/run/postgresql/.s.PGSQL.5432.lock": "", "/run/postgresql/.s.PGSQL.x": "",
            "/run/postgresql/.s.PGSQL.x.lock": "", "/tmp/.s.PGSQL.5434": "",
            "/tmp/.s.PGSQL.5434.lock": "",
        ])
        let found = PostgresReader.discover(tree: tree, paths: NodePaths())
        #expect(
            found == [
                PostgresTarget(
                    address: .unix(path: "/var/run/postgresql/.s.PGSQL.5432"), isExpected: false),
                PostgresTarget(
                    address: .unix(path: "/var/run/postgresql/.s.PGSQL.5433"),
                    label: "localhost:5433", isExpected: false),
            ])
        #expect(PostgresReader.discover(tree: MemoryTree([:]), paths: NodePaths()).isEmpty)
        let alone = MemoryTree([
            "/run/postgresql/.s.PGSQL.6000": "", "/run/postgresql/.s.PGSQL.6000.lock": "",
        ])
        #expect(PostgresReader.discover(tree: alone, paths: NodePaths()).map(\.label) == [nil])
    }
}
