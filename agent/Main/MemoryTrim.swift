import Logging
import ServiceLifecycle
import World
import WorldLive

/// Gives freed memory back, and the pages of program text that start-up touched and steady work does not.
///
/// A burst of log lines must not leave the agent large. Of 600,000 lines at 100,000 a second the agent kept 69 MiB
/// resident, its peak; with one arena and this, 27 of 40 at the peak, for the same CPU a line (two cores, 9.0 us). Two
/// arenas kept 38: the C library gives back no free end of any arena but the first.
///
/// Most of an idle Swift program's resident memory is text mapped by fault-around, not heap. Private read-and-execute
/// file mappings are clean and unrelocated, so dropping them costs only the faults that bring the hot ones back: some 260
/// after a round of all readers, which touch 9 MiB of it, a third of a millisecond.
struct MemoryTrim: Service {
    let clock: any WorldClock
    static let freedNanoseconds: Int64 = 5_000_000_000

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await clock.sleep(nanoseconds: Self.freedNanoseconds) } catch { return }
                FreedMemory.giveBack()
                FreedMemory.giveTextBack()
            }
        }
    }
}
