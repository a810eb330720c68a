import Logging
import Postgres

extension CollectorStore {
    /// Closes all connections of a command that ran beside the collector: a private server that was running before is
    /// left running, one that the command started itself is stopped.
    package func closeAsGuest() async {
        for pool in [ownerPool, writePool, readPool] { await pool.close() }
        guard let cluster, !cluster.wasAdopted else { return }
        do {
            try await cluster.stop()
        } catch {
            logger.error("the private PostgreSQL did not stop", metadata: ["error": "\(error)"])
        }
    }
}
