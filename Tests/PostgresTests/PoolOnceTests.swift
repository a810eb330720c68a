import Postgres
import Testing

@Suite struct PoolOnceTests {
    @Test(
        "a pool for one use is closed whether its use returns or throws", arguments: [false, true])
    func isClosed(_ fails: Bool) async throws {
        var used: PostgresPool?
        let answer = try? await PostgresPool.once(
            PostgresPoolConfiguration(url: "host=/nowhere"), logger: TestServer.quiet
        ) { pool in
            used = pool
            if fails { throw PostgresError.cancelled }
            return 7
        }
        #expect(answer == (fails ? nil : 7))
        let pool = try #require(used)
        await #expect(throws: PostgresError.closed) { try await pool.withSession { _ in } }
    }
}
