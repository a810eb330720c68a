import Synchronization

/// What an answer goes on with for as long as its client stays: server-sent events, or the messages of a WebSocket.
package protocol LiveBody: Sendable {
    /// The next bytes; nil at the end. For one caller at a time. Throws `QueryFailure` where it can't go on, and
    /// `CancellationError`.
    func next() async throws -> [UInt8]?
}

/// How many may follow over one interface at once. Safe from any thread.
final class FollowPlaces: Sendable {
    /// A place taken; it is free again when this is let go.
    final class Place: Sendable {
        private let places: FollowPlaces

        fileprivate init(_ places: FollowPlaces) { self.places = places }

        deinit { places.taken.withLock { $0 -= 1 } }
    }

    let countMax: Int
    private let taken = Mutex(0)

    init(countMax: Int) {
        precondition(countMax > 0, "no place for anybody")
        self.countMax = countMax
    }

    /// Nil where all are taken.
    func take() -> Place? {
        let isFree = taken.withLock { taken in
            guard taken < countMax else { return false }
            taken += 1
            return true
        }
        return isFree ? Place(self) : nil
    }
}
