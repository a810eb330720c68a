import Glibc
import Logging
import Postgres
import Testing

/// The library against one real server, in turn.
@Suite("Postgres", .serialized, .enabled(if: TestServer.isInstalled, TestServer.missing))
struct PostgresTests {
    @Test("values go there and back bit for bit")
    func values() async throws {
        try await TestServer.with { pool, _ in
            try await pool.withSession { session in
                let bits: [UInt64] = [0x7ff0_0000_0000_0002, 0x8000_0000_0000_0000, 1]
                let numbers = bits.map { Double(bitPattern: $0) }
                let rows = try session.query(
                    """
                    SELECT $1::bool, $2::int2, $3::int4, $4::int8, $5::float8, $6::text, $7::bytea,
                        $8::int4[], $9::int8[], $10::float8[], $11::text[], $12::bytea[],
                        $13::text, $14::text[], $15::jsonb ->> 'a'
                    """,
                    [
                        .bool(true), .int2(.min), .int4(.min), .int8(.min), .float8(numbers[0]),
                        .text("e\u{301}"), .bytea([0, 255]), .int4Array([1, .max]),
                        .int8Array([.min]), .float8Array(numbers), .textArray(["", nil, "ü"]),
                        .byteaArray([[], nil, [0]]), .null(.text), .textArray([]),
                        .jsonb("{\"a\":\"b\"}"),
                    ])
                #expect(rows.count == 1 && rows.bool(0, 0))
                #expect(try rows.integer(0, 1) == Int64(Int16.min))
                #expect(try rows.int4(0, 2) == .min)
                #expect(try rows.integer(0, 3) == .min)
                #expect(try rows.float8(0, 4).bitPattern == bits[0])
                #expect(Array(rows.text(0, 5).utf8) == Array("e\u{301}".utf8))
                #expect(rows.bytes(0, 6) == [0, 255])
                #expect(try rows.int4Array(0, 7) == [1, .max])
                #expect(try rows.int8Array(0, 8) == [.min])
                #expect(try rows.float8Array(0, 9).map(\.bitPattern) == bits)
                #expect(try rows.textArray(0, 10) == ["", nil, "ü"])
                #expect(try rows.byteaArray(0, 11) == [[], nil, [0]])
                #expect(rows.isNull(0, 12) && rows.optionalText(0, 12) == nil)
                #expect(try rows.textArray(0, 13).isEmpty)
                #expect(rows.text(0, 14) == "b")
                #expect(throws: PostgresError.self) { try rows.integer(0, 12) }
                #expect(throws: PostgresError.self) { try rows.int4(0, 3) }
                #expect(throws: PostgresError.self) { try rows.float8Array(0, 7) }
                #expect(throws: PostgresError.self) { try rows.float8(0, 2) }
            }
        }
    }

    @Test("COPY stores every row; a row that is refused stores none, and the session serves on")
    func copy() async throws {
        try await TestServer.with { pool, _ in
            try await pool.withSession { session in
                try session.execute(
                    "CREATE TEMP TABLE t (a int4, b bytea, c text CHECK (c <> 'x'))")
                let sql = "COPY t (a, b, c) FROM STDIN (FORMAT binary)"
                var rows = BinaryCopyRows(columnCount: 3)
                // Several chunks of the wire, one row larger than a chunk.
                let large = [UInt8](repeating: 7, count: 3 << 20)
                for number in 0..<2000 {
                    rows.append([
                        .int4(Int32(number)), .bytea(number == 5 ? large : [0, 255]), .null(.text),
                    ])
                }
                #expect(try session.copyIn(sql, rows) == 2000)
                rows.append([.int4(1), .bytea([]), .text("x")])
                #expect(throws: PostgresError.self) { try session.copyIn(sql, rows) }
                #expect(throws: PostgresError.self) {
                    try session.copyIn("COPY nowhere FROM STDIN", rows)
                }
                #expect(throws: PostgresError.self) { try session.copyIn("SELECT 1", rows) }
                let found = try session.query(
                    "SELECT count(*), sum(a), max(length(b)), count(c) FROM t")
                #expect(try found.integer(0, 0) == 2000)
                #expect(try found.integer(0, 1) == 1_999_000)
                #expect(try found.integer(0, 2) == 3 << 20)
                #expect(try found.integer(0, 3) == 0)
            }
        }
    }

    @Test("an error in the middle of a pipeline undoes it; names of statements never collide after")
    func pipeline() async throws {
        try await TestServer.with { pool, _ in
            try await pool.withSession { session in
                try session.execute("CREATE TEMP TABLE t (a int4 PRIMARY KEY)")
                let insert = "INSERT INTO t VALUES ($1)"
                for round in 0..<5 {
                    #expect(throws: PostgresError.self) {
                        try session.pipeline([
                            PostgresStatement(insert, [.int4(1)]),
                            PostgresStatement("SELECT \(round), 'before'"),
                            PostgresStatement("SELECT 1 / $1", [.int4(0)]),
                            PostgresStatement("SELECT \(round), 'after'"),
                            PostgresStatement(insert, [.int4(2)]),
                        ])
                    }
                    #expect(throws: PostgresError.self) {
                        try session.pipeline([
                            PostgresStatement("SELECT nothing_\(round)"),
                            PostgresStatement("SELECT \(round), 'unparsed'"),
                        ])
                    }
                    // Each text answers for itself, whichever name it got.
                    let answers = try session.pipeline(
                        ["unparsed", "before", "fresh", "after"].map {
                            PostgresStatement("SELECT \(round), '\($0)'")
                        })
                    #expect(
                        answers.map { $0.text(0, 1) } == ["unparsed", "before", "fresh", "after"])
                    #expect(try session.query("SELECT count(*) FROM t").integer(0, 0) == 0)
                }
                #expect(throws: PostgresError.self) {
                    try session.transaction { session in
                        try session.query(insert, [.int4(1)])
                        try session.query(insert, [.int4(1)])
                    }
                }
                _ = try session.transaction { try $0.query(insert, [.int4(3)]) }
                #expect(try session.query("SELECT sum(a) FROM t").integer(0, 0) == 3)
            }
        }
    }

    @Test("more texts than are kept prepared still answer")
    func manyTexts() async throws {
        try await TestServer.with { pool, _ in
            try await pool.withSession { session in
                for number in 0..<(PostgresSession.preparedMax + 20) {
                    let rows = try session.query("SELECT \(number) + $1", [.int4(1)])
                    #expect(try rows.integer(0, 0) == Int64(number + 1))
                }
            }
        }
    }

    @Test("rows arrive one by one; a caller that stops leaves a session that serves on")
    func streaming() async throws {
        struct Enough: Error {}
        try await TestServer.with { pool, _ in
            try await pool.withSession { session in
                var sum: Int64 = 0
                try session.forEachRow("SELECT generate_series(1, $1)", [.int4(1000)]) {
                    sum += try $0.integer(0, 0)
                }
                #expect(sum == 500_500)
                // Prepared before, and again behind streamed rows: all rows, not the first alone.
                for _ in 0..<3 {
                    #expect(try session.query("SELECT generate_series(1, 3)").count == 3)
                    try session.forEachRow("SELECT generate_series(1, 5)", []) { _ in }
                    let both = try session.pipeline([
                        PostgresStatement("SELECT generate_series(1, 3)"),
                        PostgresStatement("SELECT generate_series(1, 3)"),
                    ])
                    #expect(both.map(\.count) == [3, 3])
                }
                var seen = 0
                #expect(throws: Enough.self) {
                    try session.forEachRow("SELECT generate_series(1, 10000000)", []) { _ in
                        seen += 1
                        if seen == 10 { throw Enough() }
                    }
                }
                #expect(seen == 10)
                #expect(throws: PostgresError.self) {
                    try session.forEachRow("SELECT 1 / (5 - g) FROM generate_series(1, 9) g", []) {
                        _ in
                    }
                }
                #expect(try session.query("SELECT 1").integer(0, 0) == 1)
            }
        }
    }

    @Test("a pool connects anew after the server crashed, and after its connection was ended")
    func reconnect() async throws {
        try await TestServer.with { pool, cluster in
            func backend() async throws -> Int64 {
                try await pool.withSession {
                    try $0.query("SELECT pg_backend_pid()").integer(0, 0)
                }
            }
            let first = try await backend()
            #expect(try await backend() == first, "an idle connection is used again")
            try await cluster.crashAndRestart()
            #expect(try await backend() > 0)
            await #expect(throws: PostgresError.self) {
                try await pool.withSession { session in
                    _ = try session.query("SELECT pg_terminate_backend(pg_backend_pid())")
                    _ = try session.query("SELECT 1")
                }
            }
            #expect(try await backend() > 0)
            #expect(try await cluster.ensureRunning() == false)
            try await cluster.stop()
            #expect(try await cluster.ensureRunning())
            #expect(try await backend() > 0)
        }
    }

    @Test("a server that a killed collector left running is adopted, its process unchanged")
    func adoption() async throws {
        try await TestServer.with { pool, cluster in
            let process = try #require(cluster.serverProcess)
            let adopted = try await TestServer.start()
            #expect(adopted.wasAdopted && !cluster.wasAdopted)
            #expect(adopted.serverProcess == process && adopted.url == cluster.url)
            #expect((cluster.socketDirectory + "/.s.PGSQL.5432").utf8.count <= 107)
            // A session of its own: a terminal's Ctrl-C reaches the collector's process group alone.
            #expect(getsid(process) != getsid(0))
            let addresses = try await pool.withSession {
                try $0.query("SELECT current_setting('listen_addresses')").text(0, 0)
            }
            #expect(addresses.isEmpty, "the server listens on an address")
        }
    }

    @Test("an open transaction does not outlive its closure")
    func leftover() async throws {
        try await TestServer.with { pool, _ in
            try await pool.withSession { try $0.execute("CREATE TABLE IF NOT EXISTS left_over ()") }
            try await pool.withSession { session in
                try session.query("BEGIN")
                try session.query("INSERT INTO left_over DEFAULT VALUES")
            }
            let count = try await pool.withSession { session in
                try session.query("SELECT count(*) FROM left_over").integer(0, 0)
            }
            #expect(count == 0)
        }
    }

    @Test("callers beyond the bound wait in turn; a closed pool refuses")
    func bound() async throws {
        try await TestServer.with { pool, _ in
            let sum = try await withThrowingTaskGroup(of: Int64.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        try await pool.withSession { session in
                            try session.query("SELECT $1::int8", [.int8(Int64(number))]).integer(
                                0, 0)
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(sum == 190)
            await pool.close()
            await #expect(throws: PostgresError.closed) {
                try await pool.withSession { _ = try $0.query("SELECT 1") }
            }
        }
    }
}
