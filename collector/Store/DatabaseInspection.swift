package import Logging
import Model
package import Postgres
package import Storage

/// Looks at a database without changing it, for a check-up.
package enum DatabaseInspection {
    /// Longest wait of each step, milliseconds: a person waits.
    private static let waitMilliseconds = 5_000
    /// Rounds of the search for a pooler in transaction mode.
    private static let poolerRounds = 3
    /// Hosts that are looked at, the longest silent first.
    private static let hostsMax = 1_000

    /// Throws `unavailable` where the database does not answer. Behind a pooler in transaction mode no question has a
    /// sure answer: all that is known then is the pooler, and nil is returned.
    package static func inspect(
        url: String, password: PostgresPassword?, logger: Logger
    ) async throws(StorageError) -> DatabaseFacts? {
        do {
            return try await withTwo(url, password, logger) { first, second in
                let pooler = try await pooler(first, second)
                guard pooler != .transaction else { return nil }
                return try await first.withSession { session in
                    try session.transaction("BEGIN READ ONLY") { try read($0, pooler) }
                }
            }
        } catch {
            throw storageError(error)
        }
    }

    /// What stands between `url` and the server.
    static func pooler(
        url: String, password: PostgresPassword?, logger: Logger
    ) async throws -> DatabaseFacts.Pooler {
        try await withTwo(url, password, logger) { try await pooler($0, $1) }
    }

    /// Two connections at the same time, so that a pooler shows.
    private static func withTwo<T: Sendable>(
        _ url: String, _ password: PostgresPassword?, _ logger: Logger,
        _ body: (PostgresPool, PostgresPool) async throws -> T
    ) async throws -> T {
        let configuration = PostgresPoolConfiguration(
            url: url, password: password, waitMilliseconds: waitMilliseconds,
            connectMilliseconds: waitMilliseconds, replyMilliseconds: waitMilliseconds)
        return try await PostgresPool.once(configuration, logger: logger) { first in
            try await PostgresPool.once(configuration, logger: logger) { second in
                try await body(first, second)
            }
        }
    }

    /// One question's answer: which server process served it, and which one the connection announced.
    private struct Served {
        var process: Int32
        var announced: Int32
    }

    /// A pooler announces a process that is not the one that serves. In transaction mode two open connections are served
    /// by one process in turn, or one connection by several, or what it prepared is gone.
    private static func pooler(
        _ first: PostgresPool, _ second: PostgresPool
    ) async throws -> DatabaseFacts.Pooler {
        var ofFirst: [Served] = []
        var ofSecond: [Served] = []
        do {
            for round in 0..<poolerRounds {
                ofFirst.append(try await served(first, round))
                ofSecond.append(try await served(second, round))
            }
        } catch let error as PostgresError {
            guard isOfPooler(error) else { throw error }
            return .transaction
        }
        let all = ofFirst + ofSecond
        guard all.contains(where: { $0.process != $0.announced }) else { return .none }
        let shared = Set(ofFirst.map(\.process)).intersection(ofSecond.map(\.process))
        let moves = [ofFirst, ofSecond].contains { list in
            Set(list.map(\.announced)).count == 1 && Set(list.map(\.process)).count > 1
        }
        return shared.isEmpty && !moves ? .session : .transaction
    }

    /// Whether only a pooler in transaction mode makes the server say this: a statement that was prepared is unknown, or
    /// a name that is new is taken.
    static func isOfPooler(_ error: PostgresError) -> Bool {
        ["26000", "42P05"].contains(error.sqlState ?? "")
    }

    private static func served(_ pool: PostgresPool, _ round: Int) async throws -> Served {
        try await pool.withSession { session in
            // The first text again and again would be prepared once; each round also runs the one before.
            for text in max(0, round - 1)...round {
                _ = try session.query("SELECT pg_backend_pid(), \(text)")
            }
            return Served(
                process: try session.query("SELECT pg_backend_pid()").int4(0, 0),
                announced: session.announcedBackendPID)
        }
    }

    private static func read(
        _ session: PostgresSession, _ pooler: DatabaseFacts.Pooler
    ) throws -> DatabaseFacts {
        let about = try session.query(
            """
            SELECT session_user::text, current_database()::text,
                (SELECT rolsuper FROM pg_roles WHERE rolname = session_user),
                pg_database_size(current_database()),
                coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true),
                pg_has_role(session_user, 'pg_read_all_settings', 'USAGE')
            """)
        var directory: String?
        if about.bool(0, 4), about.bool(0, 5) {
            directory = try session.query("SELECT current_setting('data_directory')").text(0, 0)
        }
        try session.execute(StoreRole.becomeOwner)
        let hasSchema = try session.query("SELECT to_regclass('petrel.certificate') IS NOT NULL")
            .bool(0, 0)
        return DatabaseFacts(
            version: session.serverVersion, user: about.text(0, 0),
            database: about.text(0, 1), isSuperuser: about.bool(0, 2), pooler: pooler,
            applied: try applied(session), known: MigrationRunner.all.map { Int($0.number) },
            roles: try roles(session), settings: try settings(session),
            localDataDirectory: directory, size: try about.integer(0, 3),
            hosts: hasSchema ? try hosts(session) : [])
    }

    private static func applied(_ session: PostgresSession) throws -> [Int] {
        guard
            try session.query("SELECT to_regclass('petrel.migration') IS NOT NULL").bool(0, 0)
        else { return [] }
        let rows = try session.query("SELECT number FROM petrel.migration ORDER BY number")
        return try (0..<rows.count).map { Int(try rows.int4($0, 0)) }
    }

    private static func roles(_ session: PostgresSession) throws -> [DatabaseFacts.Role] {
        let rows = try session.query(
            """
            SELECT name, oid IS NOT NULL, coalesce(pg_has_role(session_user, oid, 'MEMBER'), false)
            FROM unnest('{petrel_ingest,petrel_query}'::text[]) AS name
            LEFT JOIN pg_roles ON rolname = name ORDER BY name
            """)
        return (0..<rows.count).map {
            DatabaseFacts.Role(
                name: rows.text($0, 0), exists: rows.bool($0, 1), isMember: rows.bool($0, 2))
        }
    }

    private static func settings(_ session: PostgresSession) throws -> [String: String] {
        let rows = try session.query(
            """
            SELECT name, setting FROM pg_settings
            WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum')
            """)
        return Dictionary(
            (0..<rows.count).map { (rows.text($0, 0), rows.text($0, 1)) },
            uniquingKeysWith: { first, _ in first })
    }

    private static func hosts(_ session: PostgresSession) throws -> [DatabaseFacts.Host] {
        let rows = try session.query(
            """
            SELECT name, host.revoked_at IS NOT NULL, last_seen_at, (
                SELECT max(not_after) FROM petrel.certificate
                WHERE host_id = host.id AND certificate.revoked_at IS NULL)
            FROM petrel.host WHERE enrolled_at IS NOT NULL
            ORDER BY last_seen_at NULLS LAST, name LIMIT $1
            """, [.int8(Int64(hostsMax))])
        return try (0..<rows.count).map { row in
            DatabaseFacts.Host(
                name: rows.text(row, 0), isRevoked: rows.bool(row, 1),
                lastSeenAt: rows.isNull(row, 2) ? nil : TimestampMS(try rows.integer(row, 2)),
                notAfter: rows.isNull(row, 3) ? nil : TimestampMS(try rows.integer(row, 3)))
        }
    }
}
