import Glibc
package import Model
import World

/// The machine's clocks: CLOCK_REALTIME for timestamps, CLOCK_MONOTONIC for intervals.
package struct LiveClock: WorldClock {
    package init() {}

    package var now: TimestampNS { TimestampNS(Self.read(CLOCK_REALTIME)) }

    package var monotonicNanoseconds: Int64 { Self.read(CLOCK_MONOTONIC) }

    package func sleep(nanoseconds: Int64) async throws {
        let wait = Duration.nanoseconds(nanoseconds < 0 ? Int64(0) : nanoseconds)
        try await Task.sleep(for: wait, clock: SuspendingClock())
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
