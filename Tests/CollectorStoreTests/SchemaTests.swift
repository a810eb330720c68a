import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// Migrations, roles and the views.
extension StoreTests {
    @Test("racing migrations apply each file once; again: nothing; other content: refused")
    func migrations() async throws {
        try await TestCluster.with { cluster in
            let url = try await TestCluster.makeDatabase("migrations", in: cluster)
            let configuration = StoreConfiguration(database: .url(url))
            let migrate = { @Sendable () async throws -> [Int] in
                try await CollectorStore.migrate(
                    configuration: configuration, logger: TestCluster.quiet)
            }
            let applied = try await withThrowingTaskGroup(of: [Int].self) { group in
                for _ in 0..<4 { group.addTask { try await migrate() } }
                return try await group.reduce(into: [Int]()) { $0 += $1 }
            }
            #expect(applied.sorted() == Array(1...applied.count) && applied.count >= 6)
            #expect(try await migrate().isEmpty)
            try await TestCluster.execute(
                "INSERT INTO petrel.migration (number, name, checksum) VALUES (9999, 'new', '')",
                on: "migrations", in: cluster)
            await #expect(throws: StorageError.self) { _ = try await migrate() }
            try await TestCluster.execute(
                """
                DELETE FROM petrel.migration WHERE number = 9999;
                UPDATE petrel.migration SET checksum = '' WHERE number = 2
                """, on: "migrations", in: cluster)
            await #expect(throws: StorageError.self) { _ = try await migrate() }
        }
    }

    @Test("the log view counts 200,000 lines in a plan that would like workers")
    func logView() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "log_view")
            let (session, _) = try await store.openSession(
                host: try host("h1"), kind: .logs, epoch: 1)
            let odd = [[0xff], Array("xü".utf8), Array("x\0".utf8), [0x78, 0xff]].map {
                LogEntry(timestamp: TimestampNS(TestCluster.start), line: $0)
            }
            _ = try await store.store([lines(1, ["host": "h1"], odd)], session: session)
            for sequence in 0..<50 {
                let entries = (0..<4_000).map { index in
                    LogEntry(
                        timestamp: TimestampNS(TestCluster.start + Int64(index)),
                        line: Array("\(index % 2 == 0 ? "x" : "y")\(index)".utf8))
                }
                _ = try await store.store(
                    [lines(UInt64(sequence + 2), ["host": "h1"], entries)], session: session)
                if sequence == 24 { _ = try await store.sealAllLogs() }
            }
            try await TestCluster.execute(
                "ANALYZE petrel.log_batch, petrel.log_block", on: "log_view", in: cluster)
            let eager = """
                SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
                SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 4;
                SET ROLE petrel_query
                """
            // Of the four odd lines three begin with x; what text cannot hold is shown as U+FFFD.
            #expect(
                try await TestCluster.number(
                    "SELECT count(*) FROM petrel.log WHERE line LIKE 'x%'", on: "log_view",
                    in: cluster, after: eager) == 100_003)
            await store.close()
        }
    }

    @Test("readers may not write nor see tokens; writers may not change the schema")
    func roles() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "roles")
            try await store.storeOwn([
                (definition(["__name__": "own", "a": "\0"]), Sample(TimestampMS(Self.base), 3))
            ])
            func state(_ role: String, _ sql: String) async throws -> String? {
                do {
                    try await TestCluster.execute(
                        "SET ROLE \(role); \(sql)", on: "roles", in: cluster)
                    return nil
                } catch let error as PostgresError {
                    return error.sqlState
                }
            }
            let denied = "42501"
            #expect(try await state("petrel_query", "SELECT * FROM petrel.sample") == nil)
            #expect(
                try await state("petrel_query", "SELECT * FROM petrel.enrol_token") == denied)
            #expect(try await state("petrel_query", "DELETE FROM petrel.host") == denied)
            #expect(
                try await state("petrel_query", "SELECT petrel.ensure_log_partition(1)") == denied)
            #expect(try await state("petrel_ingest", "DROP TABLE petrel.host") == denied)
            #expect(try await state("petrel_ingest", "DELETE FROM petrel.gap") == denied)
            #expect(
                try await state("petrel_ingest", "DELETE FROM petrel.migration") == denied)
            #expect(
                try await state("petrel_ingest", "SELECT petrel.ensure_log_partition(1)") == nil)
            #expect(
                try await TestCluster.number(
                    """
                    SELECT count(*) FROM petrel.sample WHERE metric = 'own' AND value = 3
                        AND labels->>'a' = U&'\\FFFD' AND at_ms = \(Self.base) AND host = ''
                    """, on: "roles", in: cluster) == 1)
            await store.close()
        }
    }
}
