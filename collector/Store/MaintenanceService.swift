internal import Logging
internal import ServiceLifecycle
import Storage
import Synchronization
import World

/// Runs `maintain` at the start, every hour, and soon after a write found no space, until shutdown.
package struct MaintenanceService: Service {
    static let pauseNanoseconds: Int64 = 3_600_000_000_000
    /// Between two looks at whether there is no space, and so the least between two rounds.
    static let lookNanoseconds: Int64 = 30_000_000_000
    private let store: CollectorStore

    package init(store: CollectorStore) { self.store = store }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var isShortOfSpace = false
            while !Task.isCancelled {
                await round(isShortOfSpace: isShortOfSpace)
                isShortOfSpace = false
                var waited: Int64 = 0
                while waited < Self.pauseNanoseconds {
                    do {
                        try await store.clock.sleep(nanoseconds: Self.lookNanoseconds)
                    } catch {
                        return
                    }
                    waited += Self.lookNanoseconds
                    if store.isOutOfSpace.exchange(false, ordering: .relaxed) {
                        isShortOfSpace = true
                        break
                    }
                }
            }
        }
    }

    private func round(isShortOfSpace: Bool) async {
        do {
            let report = try await store.maintain(isShortOfSpace: isShortOfSpace)
            guard report != MaintenanceReport(dropped: [], postponed: []) else { return }
            store.logger.info(
                "retention",
                metadata: [
                    "dropped": "\(report.dropped.count)", "postponed": "\(report.postponed)",
                    "series_removed": "\(report.removedSeriesCount)",
                ])
        } catch {
            if Task.isCancelled { return }
            store.logger.error("maintenance failed", metadata: ["error": "\(error)"])
        }
    }
}
