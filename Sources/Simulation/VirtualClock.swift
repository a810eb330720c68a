package import Model
import Synchronization
import World

/// A clock that stands still until it is moved; `sleep` moves it.
package final class VirtualClock: WorldClock {
    private let times: Mutex<(wall: Int64, monotonic: Int64)>

    package init(now: TimestampNS = TimestampNS(1_700_000_000_000_000_000)) {
        times = Mutex((now.rawValue, 0))
    }

    package var now: TimestampNS { TimestampNS(times.withLock { $0.wall }) }

    package var monotonicNanoseconds: Int64 { times.withLock { $0.monotonic } }

    /// Both clocks go on.
    package func advance(nanoseconds: Int64) {
        times.withLock { times in
            times.wall += nanoseconds
            times.monotonic += nanoseconds
        }
    }

    /// The wall clock jumps; the monotonic one doesn't.
    package func jump(to now: TimestampNS) { times.withLock { $0.wall = now.rawValue } }

    package func sleep(nanoseconds: Int64) async throws {
        try Task.checkCancellation()
        advance(nanoseconds: max(0, nanoseconds))
        await Task.yield()
    }
}
