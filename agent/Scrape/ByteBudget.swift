import Synchronization

/// How many bytes of bodies the scrapes of an agent hold together.
package final class ByteBudget: Sendable {
    package let max: Int
    private let used = Mutex(0)

    package init(max: Int = ScrapeLimits.bodyBytesTotalMax) { self.max = max }

    package var count: Int { used.withLock { $0 } }

    fileprivate func reserve(_ bytes: Int) -> Bool {
        used.withLock { used in
            guard bytes <= max - used else { return false }
            used += bytes
            return true
        }
    }

    fileprivate func release(_ bytes: Int) { used.withLock { $0 -= bytes } }
}

/// What one body has of the budget; given back with the last reference.
final class ByteLease: Sendable {
    private let budget: ByteBudget
    private let held = Mutex(0)

    init(_ budget: ByteBudget) { self.budget = budget }

    deinit { budget.release(held.withLock { $0 }) }

    /// False where the budget does not have `bytes` more.
    func grow(by bytes: Int) -> Bool {
        held.withLock { held in
            guard budget.reserve(bytes) else { return false }
            held += bytes
            return true
        }
    }
}
