import Logging
import ServiceLifecycle
import Startup
import Synchronization
import World

/// Asks the store now and then whether it answers.
///
/// A database that is away stops nothing here: agents spool meanwhile, and a restart of the collector would not bring it
/// back. The mark stands still only where the database answers a connection apart while the store's own do not.
struct StoreProbe: Service {
    static let intervalNanoseconds: Int64 = 10_000_000_000

    /// What the probe found last. Safe from any thread.
    final class Board: Sendable {
        private let away = Mutex(false)

        /// Whether the store did not answer last time.
        var isAway: Bool { away.withLock { $0 } }

        /// True where it is news.
        func set(isAway: Bool) -> Bool {
            away.withLock { was in
                defer { was = isAway }
                return was != isAway
            }
        }
    }

    let board = Board()
    private let ping: @Sendable () async throws -> Void
    private let pingApart: @Sendable () async throws -> Void
    private let mark: ProgressMark
    private let clock: any WorldClock
    private let logger: Logger

    /// `ping` asks through the store's pool, `pingApart` over a connection of its own; both end within minutes.
    init(
        ping: @escaping @Sendable () async throws -> Void,
        pingApart: @escaping @Sendable () async throws -> Void, mark: ProgressMark,
        clock: any WorldClock, logger: Logger
    ) {
        self.ping = ping
        self.pingApart = pingApart
        self.mark = mark
        self.clock = clock
        self.logger = logger
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await probe()
                do { try await clock.sleep(nanoseconds: Self.intervalNanoseconds) } catch { return }
            }
        }
    }

    private func probe() async {
        do {
            try await ping()
            mark.advance()
            if board.set(isAway: false) { logger.notice("the database answers again") }
        } catch {
            guard !Task.isCancelled else { return }
            if board.set(isAway: true) {
                logger.warning(
                    "the database does not answer; agents keep what they read until it does",
                    metadata: ["error": "\(error)"])
            }
            do {
                try await pingApart()
                // The database is there and the store can't reach it: that is our own fault.
            } catch { mark.advance() }
        }
    }
}
