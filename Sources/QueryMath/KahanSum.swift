/// A running sum with Neumaier's compensation: small terms survive beside large ones that cancel.
///
/// Source: Prometheus 3.14 `util/kahansum`.
package struct KahanSum: Sendable {
    /// The plain sum so far.
    package var sum: Double
    /// What the plain sum has lost so far.
    package var compensation: Double

    @inlinable
    package init(_ sum: Double = 0, compensation: Double = 0) {
        self.sum = sum
        self.compensation = compensation
    }

    /// Adds `term`. An infinite sum drops the compensation, which would be NaN.
    @inlinable @inline(__always)
    package mutating func add(_ term: Double) {
        let total = sum + term
        if total.isInfinite {
            compensation = 0
        } else if sum.magnitude >= term.magnitude {
            compensation += (sum - total) + term
        } else {
            compensation += (term - total) + sum
        }
        sum = total
    }

    /// The compensated sum.
    @inlinable @inline(__always)
    package var value: Double { sum + compensation }
}

/// A running mean: the direct mean of a compensated sum until that would overflow, the incremental mean from there on.
///
/// Source: Prometheus 3.14 `avg` and `avg_over_time`.
package struct KahanMean: Sendable {
    @usableFromInline var total = KahanSum()
    @usableFromInline var isIncremental = false
    /// How many values were added.
    package private(set) var count = 0.0

    package init() {}

    /// Adds one value.
    package mutating func add(_ value: Double) {
        count += 1
        if count == 1 {
            total = KahanSum(value)
            return
        }
        if !isIncremental {
            var next = total
            next.add(value)
            if !next.sum.isInfinite {
                total = next
                return
            }
            // The sum overflows (or a value is infinite): go on from the mean of what came before.
            isIncremental = true
            total = KahanSum(
                total.sum / (count - 1), compensation: total.compensation / (count - 1))
        }
        let weight = (count - 1) / count
        var next = KahanSum(weight * total.sum, compensation: weight * total.compensation)
        next.add(value / count)
        total = next
    }

    /// The mean of the values added; NaN when there are none.
    package var value: Double {
        isIncremental ? total.value : total.sum / count + total.compensation / count
    }
}
