import AgentRead
import Model
import Synchronization
import Testing
import World

@Suite("PostgreSQL reader")
struct PostgresReaderTests {
    static let now = TimestampNS(1_700_000_000_000_000_000)

    static func samples(_ reader: PostgresReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    static func hasFamily(_ samples: [String: Double], _ name: String) -> Bool {
        samples.keys.contains { $0 == name || $0.hasPrefix(name + "{") }
    }

    /// A row of every view that has one in a small cluster.
    private static let rows: [(fragment: String, rows: [[String: String]])] = [
        (
            "AS \"connection_limit\" FROM (SELECT * FROM pg_database",
            [
                ["datname": "app", "connection_limit": "-1"],
                ["datname": "postgres", "connection_limit": "20"],
            ]
        ),
        ("pg_database_size", [["datname": "app", "size_bytes": "7708007"], ["datname": "gone"]]),
        (
            "age(datfrozenxid)",
            [
                ["datname": "app", "age_datfrozenxid_seconds": "12", "age_datminmxid_seconds": "3"]
            ]
        ),
        (
            "FROM pg_stat_database WHERE",
            [
                [
                    "datid": "16385", "datname": "app", "numbackends": "2", "xact_commit": "41",
                    "stats_reset": "0", "active_time_seconds_total": "1.5",
                ]
            ]
        ),
        (
            "FROM pg_stat_database_conflicts WHERE",
            [
                [
                    "datid": "16385", "datname": "app", "confl_lock": "4",
                    "confl_active_logicalslot": "1",
                ]
            ]
        ),
        ("'sireadlock'", [["datname": "app", "mode": "sharelock", "count": "6"]]),
        (
            "AS \"max_tx_duration\"",
            [
                [
                    "datname": "app", "state": "active", "usename": "u", "application_name": "web",
                    "backend_type": "client backend", "count": "3", "max_tx_duration": "1.25",
                ], ["datname": "app", "state": "idle", "count": "0", "max_tx_duration": "0"],
            ]
        ),
        (
            "AS \"pg_long_running_transactions\"",
            [
                ["pg_long_running_transactions": "1", "oldest_timestamp_seconds": "9.5"]
            ]
        ),
        (
            "AS \"lag_seconds\"",
            [
                ["lag_seconds": "0", "is_replica": "false", "last_replay_seconds": "0"]
            ]
        ),
        ("AS \"archived_count\"", [["archived_count": "8", "failed_count": "1"]]),
        (
            "stat_bgwriter b",
            [
                [
                    "checkpoints_timed_total": "7", "checkpoints_req_total": "2",
                    "buffers_backend_total": "99", "buffers_backend_fsync_total": "0",
                    "buffers_alloc_total": "5",
                ]
            ]
        ),
        ("FROM pg_stat_checkpointer", [["num_timed_total": "7", "write_time_total": "52.5"]]),
        ("pg_ls_waldir", [["segments": "3", "size_bytes": "50331648"]]),
        ("pg_postmaster_start_time", [["start_time_seconds": "1700000000.5"]]),
        ("pg_current_snapshot", [["current": "787"]]),
        ("FROM pg_stat_ssl", [["compression": "1"]]),
        ("rolconnlimit", [["rolname": "petrel-agent", "connection_limit": "5"]]),
        (
            "FROM pg_settings",
            [
                ["name": "max_connections", "setting": "100", "unit": "", "vartype": "integer"]
            ]
        ),
        (
            "FROM pg_stat_user_tables",
            [
                [
                    "schemaname": "public", "relname": "items", "n_live_tup": "10",
                    "table_size_bytes": "8192",
                ]
            ]
        ),
        (
            "FROM pg_statio_user_tables",
            [
                ["schemaname": "public", "relname": "items", "heap_blocks_read": "4"]
            ]
        ),
        (
            "FROM pg_statio_user_indexes",
            [
                [
                    "schemaname": "public", "relname": "items", "indexrelname": "items_pkey",
                    "idx_blks_hit_total": "5", "pg_general_index_info_pg_relation_size": "16384",
                ]
            ]
        ),
        (
            ".pg_stat_statements(false)",
            [
                ["user": "u", "datname": "app", "queryid": "-5", "calls_total": "4"]
            ]
        ),
    ]

    static func server(_ version: Int = 180_001) -> FakePostgres {
        let server = FakePostgres(version: version)
        server.set { $0.rows = rows }
        return server
    }

    // MARK: - Versions

    @Test("each version is asked for what it has", arguments: [130_022, 150_018, 170_006, 180_001])
    func versions(version: Int) throws {
        let server = Self.server(version)
        server.set { $0.extensions = ["postgres": version < 170_000 ? "10" : "12"] }
        let reader = server.reader()
        let samples = try Self.samples(reader)
        #expect(reader.problems.isEmpty)
        #expect(samples["pg_up"] == 1)
        #expect(samples["pg_exporter_last_scrape_error"] == 0)
        #expect(
            !samples.keys.contains {
                $0.hasPrefix("pg_scrape_collector_success") && samples[$0] == 0
            })
        let short = "\(version / 10_000).\(version % 10_000).0"
        let name =
            "pg_static{short_version=\"\(short)\",version=\"PostgreSQL \(version) on a fake\"}"
        #expect(samples[name] == 1)
        #expect(samples["pg_stat_bgwriter_checkpoints_timed_total"] == 7)
        #expect(samples["pg_stat_bgwriter_buffers_backend_total"] == 99)
        #expect(samples["pg_stat_checkpointer_num_timed_total"] == (version >= 170_000 ? 7 : nil))
        #expect(samples["pg_stat_ssl_compression"] == (version < 140_000 ? 1 : nil))
        let active = "pg_stat_database_active_time_seconds_total{datid=\"16385\",datname=\"app\"}"
        #expect((samples[active] != nil) == (version >= 140_000))
        let slot = "pg_stat_database_conflicts_confl_active_logicalslot"
        #expect(Self.hasFamily(samples, slot) == (version >= 160_000))
        let sql = server.takeQueries().map(\.sql).joined()
        #expect(sql.contains("s.shared_blk_read_time") == (version >= 170_000))
        #expect(sql.contains("c.num_timed AS \"checkpoints_timed_total\"") == (version >= 170_000))
        #expect(sql.contains("write_bytes") == (version >= 180_000))
    }

    @Test("names and labels are postgres_exporter's")
    func names() throws {
        let samples = try Self.samples(Self.server().reader())
        let expected: [String: Double] = [
            "pg_database_connection_limit{datname=\"app\"}": -1,
            "pg_database_size_bytes{datname=\"app\"}": 7_708_007,
            "pg_database_wraparound_age_datfrozenxid_seconds{datname=\"app\"}": 12,
            "pg_stat_database_xact_commit{datid=\"16385\",datname=\"app\"}": 41,
            "pg_locks_count{datname=\"app\",mode=\"sharelock\"}": 6,
            "pg_stat_activity_count{datname=\"app\",state=\"idle\"}": 0,
            "pg_stat_activity_max_tx_duration{application_name=\"web\","
                + "backend_type=\"client backend\",datname=\"app\",state=\"active\","
                + "usename=\"u\"}": 1.25,
            "pg_long_running_transactions": 1,
            "pg_long_running_transactions_oldest_timestamp_seconds": 9.5,
            "pg_replication_is_replica": 0, "pg_stat_archiver_failed_count": 1,
            "pg_stat_checkpointer_write_time_total": 52.5, "pg_wal_segments": 3,
            "pg_wal_size_bytes": 50_331_648, "pg_postmaster_start_time_seconds": 1_700_000_000.5,
            "pg_txid_current": 787, "pg_roles_connection_limit{rolname=\"petrel-agent\"}": 5,
            "pg_settings_max_connections": 100,
            "pg_stat_user_tables_n_live_tup{datname=\"postgres\",schemaname=\"public\","
                + "relname=\"items\"}": 10,
            "pg_exporter_scrapes_total": 1, "pg_scrape_collector_success{collector=\"wal\"}": 1,
        ]
        for (name, value) in expected {
            // The labels above are in the order in which they are easily read.
            let found = samples.first { Self.isSame($0.key, name) }
            #expect(found?.value == value, "\(name)")
        }
        #expect(!samples.keys.contains { $0.contains("gone") }, "NULL leaves the point out")
        let index =
            "pg_general_index_info_pg_relation_size{datname=\"postgres\","
            + "indexrelname=\"items_pkey\",relname=\"items\",schemaname=\"public\"}"
        #expect(samples[index] == 16_384)
    }

    private static func isSame(_ a: String, _ b: String) -> Bool {
        func parts(_ text: String) -> (Substring, [Substring]) {
            let name = text.prefix { $0 != "{" }
            let labels = text.dropFirst(name.count).filter { $0 != "{" && $0 != "}" }
            return (name, labels.split(separator: ",").sorted())
        }
        return parts(a) == parts(b)
    }

    // MARK: - Round trips and failures

    @Test("a reading after the first is one query, planned before")
    func roundTrips() throws {
        let server = Self.server()
        let reader = server.reader()
        _ = try Self.samples(reader)
        _ = try Self.samples(reader)
        _ = server.takeQueries()
        let samples = try Self.samples(reader)
        let queries = server.takeQueries()
        #expect(queries.count == 1)
        #expect(queries.first?.sql.hasPrefix("EXECUTE petrel") == true)
        #expect(samples["pg_settings_max_connections"] == 100, "what is asked once a minute stays")
        server.clock.advance(61_000_000_000)
        server.set { state in
            state.rows.insert(
                (
                    "FROM pg_settings WHERE vartype",
                    [
                        [
                            "name": "max_connections", "setting": "200", "unit": "",
                            "vartype": "integer",
                        ]
                    ]
                ), at: 0)
        }
        #expect(try Self.samples(reader)["pg_settings_max_connections"] == 200)
        #expect(server.get { $0.openCount } == 1)
    }

    @Test("a view that fails costs no other, and is asked alone until it answers")
    func failingView() throws {
        let server = Self.server()
        server.set { $0.faults = [("pg_ls_waldir", .refusal(code: "42501"))] }
        let reader = server.reader()
        var samples = try Self.samples(reader)
        #expect(samples["pg_up"] == 1)
        #expect(samples["pg_exporter_last_scrape_error"] == 1)
        #expect(samples["pg_scrape_collector_success{collector=\"wal\"}"] == 0)
        #expect(samples["pg_wal_segments"] == nil)
        #expect(samples["pg_txid_current"] == 787)
        #expect(samples["pg_stat_archiver_archived_count"] == 8)
        #expect(reader.problems.count == 1)
        #expect(reader.problems.first?.contains("sudo petrel-agent setup postgresql") == true)
        _ = server.takeQueries()
        samples = try Self.samples(reader)
        #expect(server.takeQueries().count == 2, "the others together, it alone")
        #expect(samples["pg_txid_current"] == 787)

        server.set { $0.faults = [] }
        samples = try Self.samples(reader)
        #expect(samples["pg_wal_segments"] == 3)
        #expect(samples["pg_exporter_last_scrape_error"] == 0)
        #expect(reader.problems.isEmpty)
        _ = try Self.samples(reader)
        _ = server.takeQueries()
        _ = try Self.samples(reader)
        #expect(server.takeQueries().count == 1, "together again")
    }

    @Test("views that are too much at once are asked one by one for a while")
    func batchTooLarge() throws {
        let server = Self.server()
        server.set { $0.faults = [("UNION ALL", .refusal(code: "57014"))] }
        let reader = server.reader()
        var samples = try Self.samples(reader)
        #expect(samples["pg_exporter_last_scrape_error"] == 0)
        #expect(samples["pg_wal_segments"] == 3)
        _ = server.takeQueries()
        samples = try Self.samples(reader)
        #expect(samples["pg_wal_segments"] == 3)
        #expect(server.takeQueries().allSatisfy { !$0.sql.contains("\nUNION ALL\n") })
    }

    @Test("what was answered before the session broke is kept")
    func brokenInTheMiddle() throws {
        let server = Self.server()
        server.set {
            $0.faults = [
                ("\nUNION ALL\n", .refusal(code: "57014")), ("pg_ls_waldir", .end),
            ]
        }
        let reader = server.reader()
        var samples = try Self.samples(reader)
        #expect(samples["pg_up"] == 1)
        #expect(samples["pg_exporter_last_scrape_error"] == 1)
        #expect(samples["pg_stat_archiver_archived_count"] == 8)
        #expect(samples["pg_wal_segments"] == nil)
        #expect(server.get { $0.openCount } == 0)
        server.set { $0.faults = [] }
        _ = server.takeLogins()
        samples = try Self.samples(reader)
        #expect(server.takeLogins() == ["postgres"])
        #expect(samples["pg_exporter_last_scrape_error"] == 0)
        #expect(samples["pg_wal_segments"] == 3)
    }

    @Test("a server that was started anew is read in the same reading")
    func restart() throws {
        let server = Self.server()
        let reader = server.reader()
        _ = try Self.samples(reader)
        server.restart()
        server.set { $0.version = 180_002 }
        let samples = try Self.samples(reader)
        #expect(samples["pg_up"] == 1)
        #expect(samples["pg_exporter_last_scrape_error"] == 0)
        #expect(samples.keys.contains { $0.hasPrefix("pg_static{short_version=\"18.2.0\"") })
        #expect(server.takeLogins() == ["postgres", "postgres"])
    }

    // MARK: - Servers that do not answer

    @Test("a server that keeps silent is down, within its time")
    func silent() throws {
        let server = Self.server()
        let reader = server.reader()
        _ = try Self.samples(reader)
        server.set { $0.isStopped = true }
        for _ in 0..<2 {
            let start = server.clock.monotonicNanoseconds
            let samples = try Self.samples(reader)
            #expect(samples["pg_up"] == 0)
            #expect(samples["pg_exporter_last_scrape_error"] == 1)
            #expect(!Self.hasFamily(samples, "pg_stat_activity_count"))
            #expect(reader.problems.count == 1)
            #expect(server.clock.monotonicNanoseconds - start <= 1_500_000_000)
        }
        server.set { $0.isStopped = false }
        #expect(try Self.samples(reader)["pg_up"] == 1)
    }

    @Test("a server that was found and never let the agent in has no series")
    func neverSeen() throws {
        let server = Self.server()
        let refusal = ServiceError.refused(
            FakePostgres.address, code: "28000", message: "role does not exist")
        server.set { $0.loginError = refusal }
        let found = PostgresTarget(address: FakePostgres.address, isExpected: false)
        let given = Mutex([found])
        let reader = server.reader { given.withLock { $0 } }
        #expect(try reader.read(now: Self.now).isEmpty)
        #expect(reader.problems.first?.contains("sudo petrel-agent setup postgresql") == true)
        server.set { $0.loginError = nil }
        #expect(try Self.samples(reader)["pg_up"] == 1)
        // It goes, and its socket with it.
        server.restart()
        server.set {
            $0.loginError = .connection(FakePostgres.address, operation: "connect", errno: 2)
        }
        given.withLock { $0 = [] }
        #expect(try Self.samples(reader)["pg_up"] == 0)
    }

    @Test("what is no longer configured is no longer read")
    func configuredNoMore() throws {
        let server = Self.server()
        let given = Mutex([PostgresTarget(address: FakePostgres.address)])
        let reader = server.reader { given.withLock { $0 } }
        #expect(try Self.samples(reader)["pg_up"] == 1)
        given.withLock { $0 = [] }
        #expect(try reader.read(now: Self.now).isEmpty)
        #expect(server.get { $0.openCount } == 0)
    }

    @Test("a role without pg_monitor, and something that is no PostgreSQL, are told")
    func told() throws {
        let server = Self.server()
        server.set { $0.monitors = false }
        let reader = server.reader()
        #expect(try Self.samples(reader)["pg_up"] == 1)
        #expect(reader.problems.first?.contains("pg_monitor") == true)
        let other = Self.server(0)
        #expect(try Self.samples(other.reader())["pg_up"] == 0)
    }

    @Test("two servers have labels; one that keeps silent leaves time for the other")
    func twoServers() throws {
        let server = Self.server()
        let first = PostgresTarget(address: FakePostgres.address, label: "a")
        let second = PostgresTarget(address: .unix(path: "/other"), label: "b")
        let clock = server.clock
        let connect: PostgresReader.Connect = {
            (target, database, milliseconds) throws(ServiceError) in
            guard target == second else {
                clock.advance(milliseconds * 1_000_000)
                throw .timeout(target.address, operation: "connect")
            }
            return try server.connect(target, database, milliseconds)
        }
        let reader = PostgresReader(
            clock: clock, targets: { [first, second] }, connect: connect)
        for _ in 0..<2 {
            let start = clock.monotonicNanoseconds
            let families = try reader.read(now: Self.now)
            let samples = NodeReaderTests.samples(families)
            #expect(samples["pg_up{server=\"a\"}"] == 0)
            #expect(samples["pg_up{server=\"b\"}"] == 1)
            #expect(samples["pg_txid_current{server=\"b\"}"] == 787)
            #expect(families.count == Set(families.map(\.name)).count, "a family comes once")
            #expect(clock.monotonicNanoseconds - start <= 1_500_000_000)
        }
    }

    // MARK: - Views of their own kind

    @Test(
        "settings are in seconds and bytes",
        arguments: [
            ("checkpoint_timeout", "300", "s", "pg_settings_checkpoint_timeout_seconds", 300.0),
            ("autovacuum_naptime", "2", "min", "pg_settings_autovacuum_naptime_seconds", 120),
            ("bgwriter_delay", "70", "ms", "pg_settings_bgwriter_delay_seconds", 0.07),
            ("shared_buffers", "16384", "8kB", "pg_settings_shared_buffers_bytes", 134_217_728),
            ("max_wal_size", "1024", "MB", "pg_settings_max_wal_size_bytes", 1_073_741_824),
            ("log_min_duration", "-1", "ms", "pg_settings_log_min_duration_seconds", -1),
            ("a.b-c$d", "0.5", "", "pg_settings_a_b_c_d", 0.5),
        ])
    func settings(
        name: String, setting: String, unit: String, metric: String, value: Double
    ) throws {
        let server = FakePostgres()
        server.set {
            $0.rows = [
                (
                    "FROM pg_settings WHERE vartype",
                    [
                        ["name": name, "setting": setting, "unit": unit, "vartype": "real"],
                        ["name": "fsync", "setting": "on", "unit": "", "vartype": "bool"],
                        ["name": "odd", "setting": "7", "unit": "furlong", "vartype": "integer"],
                        ["name": "text", "setting": "seven", "unit": "", "vartype": "integer"],
                    ]
                )
            ]
        }
        let samples = try Self.samples(server.reader())
        #expect(samples[metric] == value)
        #expect(samples["pg_settings_fsync"] == 1)
        #expect(samples.keys.filter { $0.hasPrefix("pg_settings_") }.count == 2)
    }

    @Test("of too many kinds of sessions the largest stay, and the sum")
    func manyActivities() throws {
        let server = FakePostgres()
        let rows = (0..<300).map { index in
            [
                "datname": "app", "state": "active", "application_name": "job\(index)",
                "count": index < 200 ? "2" : "1", "max_tx_duration": "\(index)",
            ]
        }
        server.set { $0.rows = [("AS \"max_tx_duration\"", rows)] }
        let samples = try Self.samples(server.reader())
        let counts = samples.filter { $0.key.hasPrefix("pg_stat_activity_count{") }
        #expect(counts.count == 201)
        #expect(counts.values.reduce(0, +) == 500)
        #expect(counts["pg_stat_activity_count{datname=\"app\",state=\"active\"}"] == 100)
        #expect(
            samples["pg_stat_activity_max_tx_duration{datname=\"app\",state=\"active\"}"] == 299)
    }

    @Test("slots, standbys, idle sessions and vacuums have their labels")
    func labels() throws {
        let server = FakePostgres(version: 150_018)
        server.set {
            $0.rows = [
                (
                    "AS \"slot_is_active\"",
                    [
                        [
                            "slot_name": "s1", "slot_type": "physical", "wal_status": "reserved",
                            "active": "t", "slot_is_active": "t", "pg_wal_lsn_diff": "16",
                        ]
                    ]
                ),
                (
                    "FROM pg_stat_replication",
                    [
                        ["application_name": "w", "pid": "9", "pg_wal_lsn_diff": "5"]
                    ]
                ),
                (
                    "state LIKE 'idle%'",
                    [
                        [
                            "state": "idle", "application_name": "web", "sum": "70", "count": "2",
                            "le1": "0", "le60": "1", "le300": "2",
                        ]
                    ]
                ),
                (
                    "FROM pg_stat_progress_vacuum",
                    [
                        [
                            "datname": "app", "relname": "items", "phase": "vacuuming heap",
                            "heap_blks": "19",
                        ]
                    ]
                ),
            ]
        }
        let samples = try Self.samples(server.reader())
        let expected: [String: Double] = [
            "pg_replication_slots_active{slot_name=\"s1\"}": 1,
            "pg_replication_slots_pg_wal_lsn_diff{slot_name=\"s1\"}": 16,
            "pg_replication_slots_slot_is_active{slot_name=\"s1\",slot_type=\"physical\"}": 1,
            "pg_stat_replication_pg_wal_lsn_diff{application_name=\"w\",pid=\"9\"}": 5,
            "pg_process_idle_seconds_bucket{application_name=\"web\",le=\"60\",state=\"idle\"}": 1,
            "pg_process_idle_seconds_bucket{application_name=\"web\",le=\"+Inf\",state=\"idle\"}":
                2,
            "pg_process_idle_seconds_sum{application_name=\"web\",state=\"idle\"}": 70,
            "pg_stat_progress_vacuum_heap_blks{datname=\"app\",relname=\"items\"}": 19,
            "pg_stat_progress_vacuum_phase{datname=\"app\",phase=\"vacuuming heap\","
                + "relname=\"items\"}": 1,
            "pg_stat_progress_vacuum_phase{datname=\"app\",phase=\"scanning heap\","
                + "relname=\"items\"}": 0,
        ]
        for (name, value) in expected { #expect(samples[name] == value, "\(name)") }
    }
}
