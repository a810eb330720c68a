import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// What a check-up sees of a database.
extension StoreTests {
    @Test("an inspection sees the schema before and after, the settings, the roles and the hosts")
    func inspection() async throws {
        try await TestCluster.with { cluster in
            let url = try await TestCluster.makeDatabase("inspection", in: cluster)
            let before = try #require(
                try await DatabaseInspection.inspect(
                    url: url, password: nil, logger: TestCluster.quiet))
            #expect(before.applied.isEmpty && before.hosts.isEmpty)
            #expect(before.pooler == .none && !before.isSuperuser && before.version >= 140_000)
            #expect(before.user == PrivateCluster.owner && before.database == "inspection")
            let store = try await TestCluster.store(in: cluster, name: "inspected")
            let host = try #require(HostName("db1"))
            try await store.recordCertificate(
                IssuedCertificate(
                    host: host, serial: "0a", notBefore: TimestampMS(1_000),
                    notAfter: TimestampMS(2_000)), isEnrolment: true)
            try await store.recordPresence([host: TimestampMS(1_500)])
            try await store.pingApart()
            let storeURL = TestCluster.url(of: "inspected", in: cluster)
            let after = try #require(
                try await DatabaseInspection.inspect(
                    url: storeURL, password: nil, logger: TestCluster.quiet))
            #expect(after.applied == after.known && after.known.count >= 6)
            #expect(after.roles.map(\.name) == ["petrel_ingest", "petrel_query"])
            #expect(after.roles.allSatisfy { $0.exists && $0.isMember })
            // The test's own cluster waits for no disk.
            #expect(after.settings["fsync"] == "off" && after.settings["autovacuum"] == "on")
            #expect(
                after.hosts == [
                    DatabaseFacts.Host(
                        name: "db1", isRevoked: false, lastSeenAt: TimestampMS(1_500),
                        notAfter: TimestampMS(2_000))
                ])
            await store.close()
        }
    }

    @Test(
        "a role that owns the database itself is not left for petrel_owner, whose database is another"
    )
    func inspectionOfOwner() async throws {
        try await TestCluster.with { cluster in
            try await TestCluster.administer(
                [
                    "DROP DATABASE IF EXISTS alone WITH (FORCE)", "DROP ROLE IF EXISTS alone",
                    "CREATE ROLE alone LOGIN NOINHERIT IN ROLE \(PrivateCluster.owner)",
                    "CREATE DATABASE alone OWNER alone",
                ], in: cluster)
            let url = "host='\(cluster.socketDirectory)' user=alone dbname=alone"
            try await PostgresPool.once(
                PostgresPoolConfiguration(url: url), logger: TestCluster.quiet
            ) { pool in
                try await pool.withSession { session in
                    try session.execute("CREATE SCHEMA petrel")
                    try session.execute("CREATE TABLE petrel.migration AS SELECT 1 AS number")
                }
            }
            let facts = try await DatabaseInspection.inspect(
                url: url, password: nil, logger: TestCluster.quiet)
            #expect(facts?.user == "alone" && facts?.applied == [1])
            try await TestCluster.administer(
                ["DROP DATABASE alone WITH (FORCE)", "DROP ROLE alone"], in: cluster)
        }
    }

    @Test("a database that is not there is unavailable, within its time")
    func inspectionAway() async throws {
        await #expect(throws: StorageError.self) {
            _ = try await DatabaseInspection.inspect(
                url: "host=/nowhere dbname=none", password: nil, logger: TestCluster.quiet)
        }
    }
}
