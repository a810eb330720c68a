package import Model
internal import Synchronization

/// When each host was last heard from. Any message of an agent counts. Safe from any thread.
package final class PresenceBoard: Sendable {
    /// A host's last message.
    package struct Sighting: Hashable, Sendable {
        /// The collector's monotonic clock, nanoseconds: what "silent for 30 s" is measured by.
        package var monotonicNanoseconds: Int64
        /// The collector's wall clock.
        package var at: TimestampMS
    }

    private let sightings = Mutex<[HostName: Sighting]>([:])

    /// Nobody was seen yet.
    package init() {}

    /// Hosts come from certificates, so the board holds at most the fleet.
    func saw(_ host: HostName, monotonicNanoseconds: Int64, at: TimestampMS) {
        sightings.withLock {
            $0[host] = Sighting(monotonicNanoseconds: monotonicNanoseconds, at: at)
        }
    }

    /// Every host heard from since the collector started.
    package func snapshot() -> [HostName: Sighting] { sightings.withLock { $0 } }
}
