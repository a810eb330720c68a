import AgentRead
import Model
import Testing
import World

@Suite("Valkey reader")
struct ValkeyReaderTests {
    static let now = TimestampNS(1_700_000_000_250_000_000)
    static let secret = "top-secret-word"

    static func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }

    static func info(_ lines: [String]) -> String {
        bulk(lines.map { $0 + "\r\n" }.joined())
    }

    /// What a server answers that has nothing but INFO.
    static func answer(_ command: [String], _ lines: [String]) -> String {
        switch command[0] {
        case "AUTH", "CLIENT", "SELECT": "+OK\r\n"
        case "INFO": info(lines)
        case "SLOWLOG": ":7\r\n"
        case "LATENCY": "*1\r\n*4\r\n$7\r\ncommand\r\n:1699999990\r\n:25\r\n:90\r\n"
        default: "-NOPERM User petrel has no permissions to run the '\(command[0])' command\r\n"
        }
    }

    static let short = ["# Server", "redis_version:7.0.15", "uptime_in_seconds:860"]

    static func reader(
        _ target: ValkeyTarget, _ files: [String: String] = [:], milliseconds: Int64 = 5_000
    ) -> ValkeyReader {
        ValkeyReader(
            tree: MemoryTree(files), clock: ManualClock(), targets: { [target] },
            milliseconds: milliseconds)
    }

    static func samples(_ reader: ValkeyReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    /// Reads a server that answers with these lines and expects these samples among the others.
    func check(
        _ lines: [String], _ expected: [String: Double], absent: [String] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let server = try FakeValkey { Self.answer($0, lines) }
        let samples = try Self.samples(Self.reader(ValkeyTarget(server.address)))
        for (name, value) in expected {
            #expect(samples[name] == value, "\(name)", sourceLocation: sourceLocation)
        }
        for name in absent {
            #expect(
                !samples.keys.contains { $0.hasPrefix(name) }, "\(name)",
                sourceLocation: sourceLocation)
        }
    }

    // MARK: - INFO

    @Test("INFO of a master has redis_exporter's names, labels and values")
    func master() throws {
        try check(
            [
                "# Server", "redis_version:7.0.15", "redis_build_id:ae4d", "redis_mode:standalone",
                "os:Linux 6.1 x86_64", "process_id:5283", "run_id:095a", "tcp_port:6390",
                "uptime_in_seconds:860", "hz:10", "", "# Clients", "connected_clients:3",
                "maxclients:10000", "# Memory", "used_memory:1318496",
                "total_system_memory:25276063744", "maxmemory:104857600",
                "maxmemory_policy:noeviction", "used_memory_human:1.26M",
                "mem_fragmentation_ratio:1.25",
                "# Persistence", "rdb_last_bgsave_status:ok", "aof_last_write_status:err",
                "# Stats", "total_net_input_bytes:1184", "latest_fork_usec:250",
                "keyspace_hits:5", "# Replication", "role:master", "connected_slaves:1",
                "slave0:ip=10.0.0.2,port=6391,state=online,offset=863,lag=1",
                "master_replid:2199", "repl_backlog_size:1048576", "# Commandstats",
                "cmdstat_config|get:calls=2,usec=350,usec_per_call=175.00,rejected_calls=1,"
                    + "failed_calls=3",
                "# Errorstats", "errorstat_WRONGTYPE:count=2", "# Latencystats",
                "latency_percentiles_usec_config|get:p50=8.031,p99.9=27.007", "# Cluster",
                "cluster_enabled:0", "# Keyspace", "db3:keys=13,expires=1,avg_ttl=9999540,x=9",
            ],
            [
                "redis_up": 1, "redis_exporter_last_scrape_error": 0,
                "redis_uptime_in_seconds": 860, "redis_hz": 10,
                "redis_start_time_seconds": 1_699_999_140, "redis_connected_clients": 3,
                "redis_max_clients": 10_000, "redis_config_maxclients": 10_000,
                "redis_memory_used_bytes": 1_318_496, "redis_memory_max_bytes": 104_857_600,
                "redis_config_maxmemory": 104_857_600,
                "redis_mem_fragmentation_ratio": 1.25, "redis_memory_fragmentation_ratio": 1.25,
                "redis_total_system_memory_bytes": 25_276_063_744,
                "redis_rdb_last_bgsave_status": 1, "redis_aof_last_write_status": 0,
                "redis_net_input_bytes_total": 1184, "redis_latest_fork_seconds": 0.00025,
                "redis_keyspace_hits_total": 5, "redis_connected_slaves": 1,
                #"redis_connected_slave_offset_bytes{slave_ip="10.0.0.2",slave_port="6391","#
                    + #"slave_state="online"}"#: 863,
                #"redis_connected_slave_lag_seconds{slave_ip="10.0.0.2",slave_port="6391","#
                    + #"slave_state="online"}"#: 1,
                #"redis_commands_total{cmd="config|get"}"#: 2,
                #"redis_commands_duration_seconds_total{cmd="config|get"}"#: 0.00035,
                #"redis_commands_rejected_calls_total{cmd="config|get"}"#: 1,
                #"redis_commands_failed_calls_total{cmd="config|get"}"#: 3,
                #"redis_errors_total{err="WRONGTYPE"}"#: 2,
                #"redis_latency_percentiles_usec{cmd="config|get",quantile="50"}"#: 8.031,
                #"redis_latency_percentiles_usec{cmd="config|get",quantile="99.9"}"#: 27.007,
                #"redis_latency_percentiles_usec_sum{cmd="config|get"}"#: 350,
                #"redis_latency_percentiles_usec_count{cmd="config|get"}"#: 2,
                "redis_cluster_enabled": 0, #"redis_db_keys{db="db3"}"#: 13,
                #"redis_db_keys_expiring{db="db3"}"#: 1,
                #"redis_db_avg_ttl_seconds{db="db3"}"#: 9999.54, #"redis_db_keys{db="db15"}"#: 0,
                "redis_slowlog_length": 7,
                #"redis_latency_spike_last{event_name="command"}"#: 1_699_999_990,
                #"redis_latency_spike_duration_seconds{event_name="command"}"#: 0.025,
                #"redis_instance_info{master_replid="2199",maxmemory_policy="noeviction","#
                    + #"os="Linux 6.1 x86_64",process_id="5283",redis_build_id="ae4d","#
                    + #"redis_mode="standalone",redis_version="7.0.15",role="master","#
                    + #"run_id="095a",tcp_port="6390"}"#: 1,
            ],
            absent: ["redis_slave_info", "redis_db_keys_cached", "redis_used_memory_human"])
    }

    @Test("a replica names its master; KeyDB has several of them")
    func replica() throws {
        try check(
            Self.short + [
                "# Replication", "role:slave", "master_host:10.0.0.1", "master_port:6379",
                "master_link_status:up", "master_last_io_seconds_ago:4",
                "master_sync_in_progress:0", "slave_read_repl_offset:2053",
                "slave_repl_offset:2053", "master_1_host:10.0.0.9", "master_1_port:6377",
                "master_1_link_status:down", "slave_read_only:1", "slave_priority:100",
            ],
            [
                #"redis_master_link_up{master_host="10.0.0.1",master_port="6379"}"#: 1,
                #"redis_master_link_up{master_host="10.0.0.9",master_port="6377"}"#: 0,
                #"redis_master_last_io_seconds_ago{master_host="10.0.0.1",master_port="6379"}"#: 4,
                #"redis_master_sync_in_progress{master_host="10.0.0.1",master_port="6379"}"#: 0,
                #"redis_slave_repl_offset{master_host="10.0.0.1",master_port="6379"}"#: 2053,
                "redis_slave_priority": 100,
                #"redis_slave_info{master_host="10.0.0.1",master_port="6379",read_only="1"}"#: 1,
            ])
    }

    @Test("Valkey's version, a cluster's one database, sentinels and modules")
    func others() throws {
        try check(
            [
                "# Server", "redis_version:7.2.4", "server_name:valkey", "valkey_version:8.1.0",
                "valkey_release_stage:ga", "used_active_time_io_thread_2:1.5", "# Modules",
                "module:name=json,ver=10002,api=1,filters=0,usedby=[],using=[],options=[]",
                "# Cluster", "cluster_enabled:1", "# Sentinel", "sentinel_masters:1",
                "master0:name=main,status=sdown,address=10.0.0.1:6379,slaves=2,sentinels=3",
            ],
            [
                #"redis_instance_info{redis_version="7.2.4",valkey_release_stage="ga","#
                    + #"valkey_version="8.1.0"}"#: 1,
                #"redis_active_time_io_thread_seconds_total{thread="2"}"#: 1.5,
                #"redis_module_info{api="1",filters="0",name="json",usedby="[]",using="[]","#
                    + #"ver="10002"}"#: 1,
                #"redis_db_keys{db="db0"}"#: 0, "redis_sentinel_masters": 1,
                #"redis_sentinel_master_status{master_address="10.0.0.1:6379","#
                    + #"master_name="main",master_status="sdown"}"#: 0,
                #"redis_sentinel_master_slaves{master_address="10.0.0.1:6379","#
                    + #"master_name="main"}"#: 2,
            ], absent: [#"redis_db_keys{db="db1"#])
    }

    @Test("odd lines of INFO are left out and the rest is there")
    func oddLines() throws {
        try check(
            Self.short + [
                "# Stats", "keyspace_hits:many", "no colon", ":", "keyspace_misses:4",
                "cluster_bad name:1", "# Commandstats", "cmdstat_get:calls=x,usec=1", "nothing:1",
                "# Latencystats", "latency_percentiles_usec_get:p50=1", "# Keyspace",
                "db0:keys=1", "dbx", "# Replication", "slave0:ip=1,port=2",
            ],
            ["redis_keyspace_misses_total": 4, #"redis_db_keys{db="db0"}"#: 0],
            absent: [
                "redis_keyspace_hits_total", "redis_commands_total", "redis_latency_perc",
                "redis_cluster_bad", "redis_connected_slave_",
            ])
    }

    // MARK: - Queues

    @Test("sizes of keys and queues, by commands that the user petrel may call alone")
    func queues() throws {
        let sizes = [
            "LLEN bull:mail:wait": 3, "LLEN bull:mail:active": 1, "ZCARD bull:mail:failed": 2,
            "LLEN celery": 2, "LLEN celery\u{6}\u{16}3": 5, "ZCARD unacked_index": 4,
            "ZCARD ranks": 9, "XLEN events": 6,
        ]
        let wrong: Set = ["LLEN ranks", "LLEN events", "ZCARD events", "SCARD events"]
        let strings: Set = ["LLEN text", "ZCARD text", "SCARD text", "XLEN text"]
        let server = try FakeValkey { command in
            let text = command.joined(separator: " ")
            if command[0] == "XINFO" {
                let fields = [
                    Self.bulk("name"), Self.bulk("mailers"), Self.bulk("pending"), ":3\r\n",
                    Self.bulk("last-delivered-id"), Self.bulk("1700000000000-5"),
                    Self.bulk("lag"), "$-1\r\n",
                ]
                return "*1\r\n*8\r\n" + fields.joined()
            }
            if wrong.contains(text) || strings.contains(text) {
                return "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
            }
            if ["LLEN", "ZCARD", "SCARD", "XLEN"].contains(command[0]) {
                return ":\(sizes[text] ?? 0)\r\n"
            }
            return Self.answer(command, Self.short)
        }
        let keys = [
            ValkeyKey(.bullMQ(), "mail"), ValkeyKey(.bullMQ(prefix: "b2"), "mail", database: 2),
            ValkeyKey(.celery, "celery"), ValkeyKey(.key, "ranks"), ValkeyKey(.key, "events"),
            ValkeyKey(.key, "text"), ValkeyKey(.key, "none"),
        ]
        let reader = Self.reader(ValkeyTarget(server.address, keys: keys))
        let samples = try Self.samples(reader)
        func jobs(_ db: String, _ queue: String, _ state: String, _ system: String) -> Double? {
            let name = queue.isEmpty ? "" : #"queue="\#(queue)","#
            return samples[
                #"petrel_queue_jobs{db="\#(db)",\#(name)state="\#(state)",system="\#(system)"}"#]
        }
        #expect(jobs("db0", "mail", "wait", "bullmq") == 3)
        #expect(jobs("db0", "mail", "active", "bullmq") == 1)
        #expect(jobs("db0", "mail", "failed", "bullmq") == 2)
        #expect(jobs("db0", "mail", "waiting-children", "bullmq") == 0)
        #expect(jobs("db2", "b2:mail", "wait", "bullmq") == 0)
        #expect(jobs("db0", "celery", "wait", "celery") == 7)
        #expect(jobs("db0", "", "active", "celery") == 4)
        #expect(samples[#"redis_key_size{db="db0",key="ranks"}"#] == 9)
        #expect(samples[#"redis_key_size{db="db0",key="events"}"#] == 6)
        #expect(samples[#"redis_key_size{db="db0",key="none"}"#] == 0)
        #expect(samples[#"redis_key_size{db="db0",key="text"}"#] == nil)
        #expect(samples[#"redis_stream_length{db="db0",stream="events"}"#] == 6)
        let group = #"{db="db0",group="mailers",stream="events"}"#
        #expect(samples["redis_stream_group_messages_pending" + group] == 3)
        #expect(samples["redis_stream_group_last_delivered_id" + group] == 1_700_000_000_000)
        #expect(samples["redis_stream_group_lag" + group] == nil)
        #expect(reader.problems.count == 1 && reader.problems[0].contains("key text"))

        let allowed: Set = [
            "PING", "INFO", "CLIENT", "SELECT", "LLEN", "ZCARD", "SCARD", "XLEN", "XINFO",
            "SLOWLOG", "LATENCY",
        ]
        let asked = server.takeCommands()
        #expect(asked.allSatisfy { allowed.contains(String($0.prefix { $0 != " " })) })
        // What it learned costs no refusal any more, and database 0 is chosen again.
        #expect(try Self.samples(reader) == samples)
        let again = server.takeCommands()
        #expect(again.contains("ZCARD ranks") && again.contains("SELECT 0"))
        #expect(wrong.union(strings).isDisjoint(with: again))
        #expect(server.connections == 1)
    }

    @Test("what is listed twice is asked once")
    func listedTwice() throws {
        let server = try FakeValkey { command in
            switch command {
            case ["LLEN", "z"]: "-WRONGTYPE no list\r\n"
            case ["LLEN", "c"]: ":3\r\n"
            case ["ZCARD", "z"]: ":5\r\n"
            case _ where ["LLEN", "ZCARD"].contains(command[0]): ":0\r\n"
            default: Self.answer(command, Self.short)
            }
        }
        let keys = [ValkeyKey(.celery, "c"), ValkeyKey(.key, "z")]
        let reader = Self.reader(ValkeyTarget(server.address, keys: keys + keys))
        for _ in 0..<2 {
            let samples = try Self.samples(reader)
            #expect(
                samples[#"petrel_queue_jobs{db="db0",queue="c",state="wait",system="celery"}"#]
                    == 3)
            #expect(samples[#"redis_key_size{db="db0",key="z"}"#] == 5)
            #expect(reader.problems == [])
        }
        #expect(
            server.takeCommands().filter { $0.hasSuffix(" z") } == ["LLEN z", "ZCARD z", "ZCARD z"])
    }

    @Test("a database that is not there loses its own keys alone")
    func missingDatabase() throws {
        let server = try FakeValkey { command in
            switch command[0] {
            case "SELECT": "-ERR DB index is out of range\r\n"
            case "LLEN": ":1\r\n"
            default: Self.answer(command, Self.short)
            }
        }
        let keys = [ValkeyKey(.key, "a"), ValkeyKey(.key, "b", database: 99)]
        let reader = Self.reader(ValkeyTarget(server.address, keys: keys))
        let samples = try Self.samples(reader)
        #expect(samples[#"redis_key_size{db="db0",key="a"}"#] == 1)
        #expect(samples[#"redis_key_size{db="db99",key="b"}"#] == nil)
        #expect(samples["redis_up"] == 1)
        #expect(reader.problems.contains { $0.contains("database 99") })
    }

    // MARK: - Login and failures

    @Test("the password is read anew for each login and named nowhere")
    func login() throws {
        let server = try FakeValkey { command in
            if command[0] == "AUTH" {
                return command == ["AUTH", "petrel", Self.secret]
                    ? "+OK\r\n"
                    : "-ERR unknown command 'AUTH', with args beginning with: \(command[2])\r\n"
            }
            return command[0] == "INFO" ? "-NOAUTH Authentication required.\r\n" : "+OK\r\n"
        }
        let tree = MemoryTree(["/s": "wrong-word\n"])
        let target = ValkeyTarget(server.address, secretPath: "/s")
        let reader = ValkeyReader(tree: tree, clock: ManualClock(), targets: { [target] })
        // Never let in yet: that is for `status` to tell.
        #expect(try reader.read(now: Self.now) == [])
        #expect(reader.problems.count == 1)
        #expect(reader.problems[0].contains("sudo petrel-agent setup valkey"))
        #expect(!reader.problems[0].contains("wrong-word"))
        tree.create("/s", Self.secret + "\n")
        server.set { command in
            command == ["AUTH", "petrel", "wrong-word"]
                ? "-WRONGPASS\r\n" : Self.answer(command, Self.short)
        }
        #expect(try Self.samples(reader)["redis_up"] == 1)
        #expect(reader.problems == [])
        #expect(server.takeCommands().contains("AUTH petrel \(Self.secret)"))
    }

    @Test("a server that asks nobody for a password is read although it refuses the user")
    func openServer() throws {
        let server = try FakeValkey { command in
            command[0] == "AUTH"
                ? "-WRONGPASS invalid username-password pair\r\n"
                : Self.answer(command, Self.short)
        }
        let reader = Self.reader(
            ValkeyTarget(server.address, secretPath: "/s"), ["/s": Self.secret])
        #expect(try Self.samples(reader)["redis_up"] == 1)
    }

    @Test("a server that went away is down; one that never was has no point")
    func gone() throws {
        let server = try FakeValkey { Self.answer($0, Self.short) }
        let reader = Self.reader(ValkeyTarget(server.address))
        #expect(try Self.samples(reader)["redis_up"] == 1)
        server.stop()
        server.set { _ in nil }
        let samples = try Self.samples(reader)
        #expect(samples["redis_up"] == 0)
        #expect(samples.keys.contains { $0.hasPrefix("redis_exporter_last_scrape_error{err=") })
        #expect(samples.count == 2)
        #expect(reader.problems.count == 1)

        let nowhere = ServiceAddress.unix(path: "/tmp/petrel-no-such-folder/s")
        #expect(try Self.reader(ValkeyTarget(nowhere)).read(now: Self.now) == [])
        let expected = Self.reader(ValkeyTarget(nowhere, isExpected: true))
        #expect(try Self.samples(expected)["redis_up"] == 0)
    }

    @Test("a connection that the server closed meanwhile is made anew")
    func reconnects() throws {
        let server = try FakeValkey { Self.answer($0, Self.short) }
        let reader = Self.reader(ValkeyTarget(server.address))
        #expect(try Self.samples(reader)["redis_up"] == 1)
        let kept = server.connections
        server.set { command in
            // The kept connection has no name to give: it asks INFO first.
            if command[0] == "INFO", server.connections == kept { return nil }
            return Self.answer(command, Self.short)
        }
        #expect(try Self.samples(reader)["redis_up"] == 1)
        #expect(server.connections == kept + 1)
        #expect(reader.problems == [])
        server.set { Self.answer($0, Self.short) }
    }

    @Test("a server that takes a connection and says nothing is down within the deadline")
    func hangs() throws {
        let server = try FakeValkey { _ in "" }
        let reader = Self.reader(ValkeyTarget(server.address), milliseconds: 50)
        #expect(try Self.samples(reader)["redis_up"] == 0)
        #expect(reader.problems.count == 1 && reader.problems[0].contains("took too long"))
    }

    @Test("where keys get no answer the server is up all the same")
    func hangsLater() throws {
        let server = try FakeValkey { command in
            command[0] == "LLEN" ? "" : Self.answer(command, Self.short)
        }
        let target = ValkeyTarget(server.address, keys: [ValkeyKey(.key, "a")])
        let reader = Self.reader(target, milliseconds: 200)
        let samples = try Self.samples(reader)
        #expect(samples["redis_up"] == 1 && samples["redis_uptime_in_seconds"] == 860)
        #expect(reader.problems.count == 1 && reader.problems[0].contains("keys and queues"))
    }

    @Test(
        "what is no answer, or none that may be kept, is a failure",
        arguments: [
            "x\r\n", "\r\n", ":one\r\n", "$999999999999\r\n", "$-1\r\n", "*99999999\r\n",
            String(repeating: "*1\r\n", count: 64), "$3\r\nabcde", "+no version\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
        ])
    func malformed(answer: String) throws {
        let server = try FakeValkey { command in
            command[0] == "INFO" ? answer : "+OK\r\n"
        }
        let reader = Self.reader(ValkeyTarget(server.address, isExpected: true))
        #expect(try Self.samples(reader)["redis_up"] == 0)
        #expect(reader.problems.count == 1)
    }

    @Test("a server without the section everything, and refused counts, are asked once")
    func olderServer() throws {
        let server = try FakeValkey { command in
            switch command {
            case ["INFO", "everything"]: Self.bulk("")
            case ["SLOWLOG", "LEN"]: "-NOPERM no permissions\r\n"
            default: Self.answer(command, Self.short)
            }
        }
        let reader = Self.reader(ValkeyTarget(server.address))
        #expect(try Self.samples(reader)["redis_up"] == 1)
        _ = server.takeCommands()
        #expect(try Self.samples(reader)["redis_up"] == 1)
        #expect(server.takeCommands() == ["INFO all", "LATENCY LATEST"])
        #expect(reader.problems.count == 1 && reader.problems[0].contains("SLOWLOG LEN"))
    }
}
