import ServiceLifecycle
import World
import WorldLive

/// Gives freed memory back to the system: a large query or seal must not leave the collector large.
struct MemoryRelease: Service {
    let clock: any WorldClock
    static let intervalNanoseconds: Int64 = 10_000_000_000

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await clock.sleep(nanoseconds: Self.intervalNanoseconds) } catch { return }
                FreedMemory.giveBack()
            }
        }
    }
}
