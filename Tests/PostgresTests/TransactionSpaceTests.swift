import Glibc
import Postgres
import Testing

/// Files of transactions' states that have their space before they need it.
extension PostgresTests {
    @Test("what is noted of transactions has its space, and the server takes what was made for it")
    func transactionSpace() async throws {
        try await TestServer.with { pool, cluster in
            for folder in [
                "pg_xact", "pg_subtrans", "pg_multixact/offsets", "pg_multixact/members",
            ] {
                let path = "\(cluster.dataDirectory)/\(folder)"
                var (newest, next) = (stat(), stat())
                #expect(stat(path + "/0000", &newest) == 0)
                #expect(newest.st_blocks * 512 >= 262_144 && newest.st_size < 262_144, "\(folder)")
                let hasNext = stat(path + "/0001", &next) == 0
                #expect(hasNext == (folder != "pg_multixact/offsets"))
                guard hasNext else { continue }
                #expect(next.st_blocks * 512 >= 262_144 && next.st_size == 0, "\(folder)")
                #expect(next.st_uid == newest.st_uid && next.st_mode & 0o777 == 0o600)
            }
            // More transactions than a file of pg_subtrans has states of.
            try await pool.withSession { session in
                try session.execute(
                    """
                    CREATE PROCEDURE spend(count int) LANGUAGE plpgsql AS $$ BEGIN
                        FOR n IN 1..count LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP;
                    END $$
                    """)
                try session.execute("CALL spend(70000)")
            }
            try await cluster.checkpoint()
            let path = "\(cluster.dataDirectory)/pg_subtrans"
            var used = stat()
            #expect(stat(path + "/0001", &used) == 0 && used.st_size > 0)
            #expect(await cluster.keepSpace() == nil)
            #expect(stat(path + "/0002", &used) == 0 && used.st_size == 0)
            try await cluster.crashAndRestart()
            let count = try await pool.withSession {
                try $0.query("SELECT pg_current_xact_id()::text::int8").integer(0, 0)
            }
            #expect(count > 70_000)
        }
    }
}
