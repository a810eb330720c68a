import Synchronization

/// Bytes that requests under way may hold in memory together. Safe from any thread.
package final class ByteBudget: Sendable {
    private let bytesMax: Int
    private let taken = Mutex(0)

    /// All of it is free.
    package init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Takes `count` bytes, or none; who has nothing else under way gets them whatever their number. Give them back.
    package func take(_ count: Int) -> Bool {
        taken.withLock { taken in
            guard taken == 0 || count <= bytesMax - taken else { return false }
            taken += count
            return true
        }
    }

    package func giveBack(_ count: Int) {
        taken.withLock { taken in
            taken -= count
            precondition(taken >= 0, "bytes given back twice")
        }
    }
}
