import Glibc
import Postgres
import Testing

/// Segments of the write-ahead log that stand there before they are needed.
extension PostgresTests {
    private static func segments(_ cluster: PrivateCluster) -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        glob("\(cluster.dataDirectory)/pg_wal/*", 0, nil, &found)
        return (0..<Int(found.gl_pathc)).compactMap { found.gl_pathv[$0] }
            .compactMap { String(cString: $0).split(separator: "/").last.map(String.init) }
            .filter { $0.utf8.count == 24 }.sorted()
    }

    /// The segments behind the one that is written now; they must be of the right size, owner and mode.
    private static func ahead(
        _ cluster: PrivateCluster, _ pool: PostgresPool
    ) async throws -> [String] {
        let current = try await pool.withSession {
            try $0.query("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").text(0, 0)
        }
        let names = segments(cluster)
        var first = stat()
        #expect(stat("\(cluster.dataDirectory)/pg_wal/\(current)", &first) == 0)
        for name in names {
            var facts = stat()
            #expect(stat("\(cluster.dataDirectory)/pg_wal/\(name)", &facts) == 0)
            #expect(facts.st_size == 16 << 20 && facts.st_mode & 0o777 == 0o600, "\(name)")
            #expect(facts.st_uid == first.st_uid && facts.st_gid == first.st_gid, "\(name)")
        }
        return names.filter { $0 > current }
    }

    @Test("six are there, are used, come back, and a server that crashed among them recovers")
    func segmentsAhead() async throws {
        try await TestServer.with { pool, cluster in
            #expect(try await Self.ahead(cluster, pool).count >= 6)
            let writes = { @Sendable (table: String, rows: Int) in
                try await pool.withSession { session in
                    try session.execute(
                        "CREATE TABLE \(table) AS SELECT repeat(md5(n::text), 60) AS t FROM generate_series(1, \(rows)) n"
                    )
                }
            }
            // 20,000 rows are more than two segments.
            let before = try await Self.ahead(cluster, pool)
            try await writes("first_rows", 20_000)
            let used = try await Self.ahead(cluster, pool)
            #expect(used.count < before.count && before.suffix(used.count) == used[...])
            #expect(await cluster.keepSpace() == nil)
            let refilled = try await Self.ahead(cluster, pool)
            #expect(refilled.count >= 6 && Set(refilled).isSuperset(of: used))
            try await writes("second_rows", 20_000)
            try await cluster.crashAndRestart()
            for table in ["first_rows", "second_rows"] {
                let count = try await pool.withSession {
                    try $0.query("SELECT count(*), sum(length(t)) FROM \(table)").integer(0, 0)
                }
                #expect(count == 20_000)
            }
            #expect(try await Self.ahead(cluster, pool).count >= 6)
            try await pool.withSession { session in
                try session.execute("DROP TABLE first_rows, second_rows")
            }
            let rest = Self.segments(cluster).count
            for _ in 0..<3 { #expect(await cluster.keepSpace() == nil) }
            #expect(Self.segments(cluster).count == rest, "more are made although none is missing")
        }
    }

    @Test("on a full disk none is made, that is told, and a checkpoint brings them back")
    func segmentsOnFullDisk() async throws {
        try await TestServer.with { pool, cluster in
            let full = try await TestServer.start(freeBytesMin: .max)
            #expect(full.wasAdopted)
            for round in 0..<3 {
                // There may be more, of a checkpoint before.
                var used = Int.max
                for _ in 0..<20 where used >= 6 {
                    try await pool.withSession { session in
                        try session.execute(
                            """
                            CREATE TABLE rows AS SELECT repeat(md5(n::text), 60) AS t
                            FROM generate_series(1, 10000) n; DROP TABLE rows
                            """)
                    }
                    used = try await Self.ahead(cluster, pool).count
                }
                #expect(used < 6, "round \(round)")
                let number = try #require(await full.keepSpace())
                #expect(try await Self.ahead(cluster, pool).count == used)
                #expect(await full.keepSpace() == number)
                try await full.checkpoint()
                #expect(try await Self.ahead(cluster, pool).count >= 6, "round \(round)")
                #expect(await full.keepSpace() == nil)
            }
        }
    }
}
