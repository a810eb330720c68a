import Logging
import Postgres
import Storage
import Synchronization

// One collector writes metrics: the one that started last (`takeOverMetrics`). The one before it may go on running, with
// other classes and ages, numbers of its own and an older memory. It stores none any more, and it must not seal, drop,
// delete or clean either.

extension CollectorStore {
    /// How long a transaction waits for a seal or a collector that takes over, milliseconds.
    private static let writerLockMilliseconds = 10_000

    static var anotherWriter: StorageError {
        .unavailable(
            "another collector took over this database: stop one of the two, or give each its own")
    }

    /// Another collector has taken this one's place.
    var isReplaced: Bool { metrics.progress.withLock { $0.isReplaced } }

    /// Which writer of metrics this collector is, as the database says; nil where it is none. Where another took over it is
    /// none for good, and says so once.
    func currentWriter() async throws(StorageError) -> Int64? {
        guard let writer = metrics.progress.withLock({ $0.writer }) else { return nil }
        let now = try await write { session in
            try session.query("SELECT writer FROM petrel.metric_seal").integer(0, 0)
        }
        if now == writer { return writer }
        let isNews = metrics.progress.withLock { progress in
            guard progress.writer == writer else { return false }
            progress.writer = nil
            progress.isReplaced = true
            return true
        }
        if isNews {
            logger.error(
                "another collector took over this database: this one stores no metrics and maintains nothing any more; stop one of the two, or give each its own"
            )
        }
        return nil
    }

    /// Within a transaction: nobody takes over before it ends. Throws `anotherWriter` where somebody has.
    static func lockWriter(_ writer: Int64, _ session: PostgresSession) throws {
        try session.query("SET LOCAL lock_timeout = '\(writerLockMilliseconds)ms'")
        let rows = try session.query(
            "SELECT 1 FROM petrel.metric_seal WHERE writer = $1 FOR SHARE", [.int8(writer)])
        guard rows.count == 1 else { throw anotherWriter }
    }
}
