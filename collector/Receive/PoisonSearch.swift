/// Finds the items that a storage refuses by halving: a whole set is tried, and a refused set is split until single
/// items are left. Pure: the caller tries what `next` names and reports.
///
/// Of n items with p poison ones it takes about 2·p·log2(n) trials. At `trialsMax` what is undecided counts as poison.
package struct PoisonSearch {
    private var undecided: [Range<Int>]
    private var trialsLeft: Int
    /// Indexes of items found poison (or left undecided), ascending once `next` is nil.
    package private(set) var poison: [Int] = []

    /// `isWholeRefused`: the set of all items was tried already.
    package init(itemCount: Int, trialsMax: Int, isWholeRefused: Bool = true) {
        trialsLeft = trialsMax
        undecided = []
        if itemCount > 0 { undecided = [0..<itemCount] }
        if isWholeRefused { split() }
        settleWithoutTrials()
    }

    /// Items to try next; nil when the search is over.
    package var next: Range<Int>? { undecided.last }

    /// What came of trying `next`.
    package mutating func report(isAccepted: Bool) {
        trialsLeft -= 1
        if isAccepted { undecided.removeLast() } else { split() }
        settleWithoutTrials()
    }

    /// Replaces the last undecided set, which is refused, by its halves.
    private mutating func split() {
        guard let set = undecided.popLast() else { return }
        guard set.count > 1 else {
            poison.append(set.lowerBound)
            return
        }
        let middle = set.lowerBound + set.count / 2
        undecided.append(middle..<set.upperBound)
        undecided.append(set.lowerBound..<middle)
    }

    private mutating func settleWithoutTrials() {
        if trialsLeft <= 0 {
            for set in undecided { poison += set }
            undecided = []
        }
        if undecided.isEmpty { poison.sort() }
    }
}
