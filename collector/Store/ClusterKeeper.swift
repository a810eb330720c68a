import Logging
import Postgres
package import ServiceLifecycle
import World

/// Brings the private PostgreSQL up again when it ends by itself: agents spool meanwhile, and the pools reconnect. Sees to
/// the space that keeps it from ending on a full disk.
///
/// Does nothing for a database that is not the collector's own.
struct ClusterKeeper: Service {
    static let intervalNanoseconds: Int64 = 1_000_000_000
    /// A want of space is said again when there was none for so many rounds.
    private static let saidRounds = 600
    let store: CollectorStore

    func run() async throws {
        guard let cluster = store.cluster else {
            try? await gracefulShutdown()
            return
        }
        await cancelWhenGracefulShutdown {
            var complained = false
            var space = Space()
            while !Task.isCancelled {
                do { try await store.clock.sleep(nanoseconds: Self.intervalNanoseconds) } catch {
                    return
                }
                do {
                    if try await cluster.ensureRunning() {
                        store.logger.warning("the private PostgreSQL had ended; it runs again")
                    }
                    complained = false
                    await keep(&space, cluster)
                } catch {
                    if !complained {
                        store.logger.error("the private PostgreSQL does not start: \(error)")
                    }
                    complained = true
                }
            }
        }
    }

    /// What was done for want of space.
    private struct Space {
        /// The segment of the log that was written at the last checkpoint for it.
        var checkpointed: UInt64?
        /// Rounds until a checkpoint that failed is tried again.
        var pause = 0
        /// Rounds for which it stays said.
        var said = 0
        var hasFailed = false
    }

    /// A server that finds no space for the next segment of its log ends.
    private func keep(_ space: inout Space, _ cluster: PrivateCluster) async {
        guard let segment = await cluster.keepSpace() else {
            space.said = max(0, space.said - 1)
            return
        }
        guard segment != space.checkpointed else { return }
        guard space.pause == 0 else {
            space.pause -= 1
            return
        }
        if space.said == 0 {
            store.logger.warning(
                "no space for segments of the private PostgreSQL's log: checkpoints bring old ones back; free space on its disk",
                metadata: ["data": "\(cluster.dataDirectory)"])
        }
        space.said = Self.saidRounds
        do {
            try await cluster.checkpoint()
            space.checkpointed = segment
            space.hasFailed = false
        } catch {
            space.pause = 10
            if !space.hasFailed {
                store.logger.error(
                    "a checkpoint of the private PostgreSQL failed, and its log runs out of segments; tried again: \(error)",
                    metadata: ["data": "\(cluster.dataDirectory)"])
            }
            space.hasFailed = true
        }
    }
}

extension CollectorStore {
    /// What keeps the database in order; to be run before everything that uses it.
    package var services: [any Service] {
        [
            ClusterKeeper(store: self), MaintenanceService(store: self), SealService(store: self),
            LogSealService(store: self), SeriesLimitReporter(store: self),
        ]
    }
}
