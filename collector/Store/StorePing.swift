import Postgres
package import Storage
import World

extension CollectorStore {
    /// Longest wait of each step of `pingApart`, milliseconds.
    private static let pingMilliseconds = 5_000

    /// Whether the database answers now.
    package func ping() async throws(StorageError) {
        try await write { _ = try $0.query("SELECT 1") }
    }

    /// Whether the database answers over a new connection apart from the store's: tells a database that is away from a
    /// store that is stuck.
    package func pingApart() async throws(StorageError) {
        let apart = PostgresPoolConfiguration(
            url: url, password: configuration.password, waitMilliseconds: Self.pingMilliseconds,
            connectMilliseconds: Self.pingMilliseconds, replyMilliseconds: Self.pingMilliseconds)
        do {
            try await PostgresPool.once(apart, logger: logger) { pool in
                try await pool.withSession { _ = try $0.query("SELECT 1") }
            }
        } catch {
            throw storageError(error)
        }
    }

    /// How the store connects.
    private var url: String {
        switch configuration.database {
        case .url(let url): url
        case .privateCluster: cluster?.url ?? ""
        }
    }
}
