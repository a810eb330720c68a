import Logging
import Postgres
package import ServiceLifecycle
import World

/// Brings the private PostgreSQL up again when it ends by itself: agents spool meanwhile, and the pools reconnect.
///
/// Does nothing for a database that is not the collector's own.
struct ClusterKeeper: Service {
    static let intervalNanoseconds: Int64 = 1_000_000_000
    let store: CollectorStore

    func run() async throws {
        guard let cluster = store.cluster else {
            try? await gracefulShutdown()
            return
        }
        await cancelWhenGracefulShutdown {
            var complained = false
            while !Task.isCancelled {
                do { try await store.clock.sleep(nanoseconds: Self.intervalNanoseconds) } catch {
                    return
                }
                do {
                    guard try await cluster.ensureRunning() else { continue }
                    store.logger.warning("the private PostgreSQL had ended; it runs again")
                    complained = false
                } catch {
                    if !complained {
                        store.logger.error("the private PostgreSQL does not start: \(error)")
                    }
                    complained = true
                }
            }
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
