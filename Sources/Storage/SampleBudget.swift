internal import Synchronization

/// Samples that all running queries may hold in memory together. Safe from any thread.
///
/// A limit for each query alone lets many queries of half that size take all memory.
package final class SampleBudget: Sendable {
    package let samplesMax: Int
    private let taken = Mutex(0)

    /// All of it is free.
    package init(samplesMax: Int) { self.samplesMax = samplesMax }

    /// Samples that are held now.
    package var held: Int { taken.withLock { $0 } }

    /// What is asked for, or nothing.
    fileprivate func take(_ count: Int) -> Bool {
        taken.withLock { taken in
            guard count <= samplesMax - taken else { return false }
            taken += count
            return true
        }
    }

    fileprivate func giveBack(_ count: Int) { taken.withLock { $0 -= count } }
}

/// What one query holds of the budget of all; it is given back when the share is. Safe from any thread.
package final class SampleShare: Sendable {
    /// The budget is asked for so many samples at a time at least.
    static let step = 1 << 14

    private let budget: SampleBudget
    private let granted = Mutex(0)

    /// Holds nothing yet.
    package init(of budget: SampleBudget) { self.budget = budget }

    /// Makes the share one of at least `count` samples; false, and nothing changed, where others hold too many.
    /// While a query runs its share never shrinks: what it held once, it may hold again.
    package func grow(to count: Int) -> Bool {
        granted.withLock { granted in
            guard count > granted else { return true }
            let wanted = (count / Self.step + 1) * Self.step
            // The last samples of the budget need not be a whole step.
            for size in [wanted, count] where budget.take(size - granted) {
                granted = size
                return true
            }
            return false
        }
    }

    /// Gives back what is beyond `count` samples: the query has ended, and that is what its answer holds.
    package func shrink(to count: Int) {
        let rest = granted.withLock { granted in
            let kept = min(granted, max(0, count))
            defer { granted = kept }
            return granted - kept
        }
        budget.giveBack(rest)
    }

    deinit { budget.giveBack(granted.withLock { $0 }) }
}
