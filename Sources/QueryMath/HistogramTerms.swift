import Model

/// A native histogram whose numbers are compensated sums: what sums, differences and means are computed in.
///
/// Two histograms of different layout are brought to the finest layout that both can be expressed in: the wider zero
/// bucket (widened further to a bound where it would cut a populated bucket), the coarser schema, or the custom bounds
/// that both have. Source: Prometheus 3.14 `FloatHistogram.KahanAdd`, `reconcileZeroBuckets`.
struct HistogramTerms {
    private(set) var schema: Int32
    private(set) var zeroThreshold: Double
    private(set) var zero: KahanSum
    private(set) var count: KahanSum
    private(set) var sum: KahanSum
    private(set) var positive: BucketSums
    private(set) var negative: BucketSums
    private(set) var customBounds: [Double]

    init(_ histogram: FloatHistogram, times factor: Double = 1) {
        schema = histogram.schema
        zeroThreshold = histogram.zeroThreshold
        zero = KahanSum(histogram.zeroCount * factor)
        count = KahanSum(histogram.count * factor)
        sum = KahanSum(histogram.sum * factor)
        positive = BucketSums(histogram.positive, times: factor)
        negative = BucketSums(histogram.negative, times: factor)
        customBounds = histogram.customBounds
    }

    var hasCustomBuckets: Bool { schema == FloatHistogram.customSchema }

    /// Adds `other`, of the same kind of buckets. Returns whether custom bounds had to be reconciled.
    mutating func add(_ other: HistogramTerms) -> Bool {
        precondition(hasCustomBuckets == other.hasCustomBuckets, "mixed kinds of buckets")
        var other = other
        count.add(other.count)
        sum.add(other.sum)
        let needsBounds = hasCustomBuckets && customBounds != other.customBounds
        if needsBounds {
            let common = intersection(customBounds, other.customBounds)
            restrict(toBounds: common)
            other.restrict(toBounds: common)
        }
        if !hasCustomBuckets {
            while zeroThreshold != other.zeroThreshold {
                if zeroThreshold > other.zeroThreshold { other.widenZero(to: zeroThreshold) }
                if other.zeroThreshold > zeroThreshold { widenZero(to: other.zeroThreshold) }
            }
            zero.add(other.zero)
            reduce(to: min(schema, other.schema))
            other.reduce(to: schema)
        }
        positive.add(other.positive)
        negative.add(other.negative)
        return needsBounds
    }

    mutating func multiply(by factor: Double) {
        zero.multiply(by: factor)
        count.multiply(by: factor)
        sum.multiply(by: factor)
        positive.multiply(by: factor)
        negative.multiply(by: factor)
    }

    mutating func divide(by divisor: Double) {
        zero.divide(by: divisor)
        count.divide(by: divisor)
        sum.divide(by: divisor)
        positive.divide(by: divisor)
        negative.divide(by: divisor)
    }

    /// Whether a sum has become infinite.
    var hasOverflow: Bool {
        zero.sum.isInfinite || count.sum.isInfinite || sum.sum.isInfinite
            || positive.hasOverflow || negative.hasOverflow
    }

    /// The histogram of the sums, with what they lost where `isCompensated`.
    func histogram(
        isCompensated: Bool, hint: FloatHistogram.CounterResetHint
    ) -> FloatHistogram {
        FloatHistogram(
            schema: schema, count: isCompensated ? count.value : count.sum,
            sum: isCompensated ? sum.value : sum.sum, zeroThreshold: zeroThreshold,
            zeroCount: isCompensated ? zero.value : zero.sum,
            positive: positive.buckets(isCompensated: isCompensated),
            negative: negative.buckets(isCompensated: isCompensated), customBounds: customBounds,
            counterResetHint: hint)
    }

    /// Merges the buckets into those of the coarser schema `target`.
    mutating func reduce(to target: Int32) {
        guard target != schema else { return }
        precondition(target < schema && !hasCustomBuckets, "a schema can only be made coarser")
        let steps = schema - target
        positive.remap { (($0 - 1) >> steps) + 1 }
        negative.remap { (($0 - 1) >> steps) + 1 }
        schema = target
    }

    /// Merges custom buckets so that only `bounds`, a part of the bounds, remain.
    mutating func restrict(toBounds bounds: [Double]) {
        let old = customBounds
        var next = 0
        positive.remap { index in
            guard Int(index) < old.count else { return Int32(bounds.count) }
            while next < bounds.count, bounds[next] < old[Int(index)] { next += 1 }
            return Int32(next)
        }
        customBounds = bounds
    }

    /// Widens the zero bucket to `threshold`, or further, so that it doesn't end inside a populated bucket; what lies
    /// in it moves into its count. Source: Prometheus 3.14 `zeroCountForLargerThreshold`.
    mutating func widenZero(to threshold: Double) {
        guard threshold != zeroThreshold else { return }
        precondition(threshold > zeroThreshold, "a zero bucket can only be widened")
        var edge = threshold
        while true {
            let next = max(positive.edge(beyond: edge, schema), negative.edge(beyond: edge, schema))
            if next == edge { break }
            edge = next
        }
        positive.take(below: edge, schema, into: &zero)
        negative.take(below: edge, schema, into: &zero)
        zeroThreshold = edge
    }
}

/// The bounds that both have.
func intersection(_ a: [Double], _ b: [Double]) -> [Double] {
    let other = Set(b)
    return a.filter(other.contains)
}

/// The buckets of one sign as compensated sums; indices ascend strictly.
struct BucketSums {
    private(set) var indices: [Int32]
    private(set) var sums: [Double]
    /// What each sum has lost; empty where none has.
    private(set) var lost: [Double] = []

    init(_ buckets: FloatHistogram.Buckets, times factor: Double = 1) {
        indices = buckets.indices
        sums = factor == 1 ? buckets.counts : buckets.counts.map { $0 * factor }
    }

    private init(capacity: Int) {
        indices = []
        sums = []
        indices.reserveCapacity(capacity)
        sums.reserveCapacity(capacity)
        lost.reserveCapacity(capacity)
    }

    var hasOverflow: Bool { sums.contains(where: \.isInfinite) }

    func buckets(isCompensated: Bool) -> FloatHistogram.Buckets {
        guard isCompensated, !lost.isEmpty else {
            return FloatHistogram.Buckets(indices: indices, counts: sums)
        }
        return FloatHistogram.Buckets(
            indices: indices, counts: sums.indices.map { sums[$0] + lost[$0] })
    }

    mutating func add(_ other: BucketSums) {
        if other.indices.isEmpty { return }
        if indices == other.indices {
            if lost.isEmpty { lost = [Double](repeating: 0, count: sums.count) }
            for place in sums.indices { accumulate(other, place, at: place) }
            return
        }
        let mine = self
        self = BucketSums(capacity: mine.indices.count + other.indices.count)
        var first = 0
        var second = 0
        while first < mine.indices.count || second < other.indices.count {
            let isMine =
                second == other.indices.count
                || first < mine.indices.count && mine.indices[first] <= other.indices[second]
            if isMine {
                append(
                    mine.indices[first], KahanSum(mine.sums[first], compensation: mine.lost(first)))
                first += 1
            }
            guard second < other.indices.count else { continue }
            if isMine, other.indices[second] == indices[indices.count - 1] {
                accumulate(other, second, at: indices.count - 1)
                second += 1
            } else if !isMine {
                append(
                    other.indices[second],
                    KahanSum(other.sums[second], compensation: other.lost(second)))
                second += 1
            }
        }
    }

    /// Moves each bucket to `target(index)`, which ascends; those that meet are added up.
    mutating func remap(_ target: (Int32) -> Int32) {
        let old = self
        self = BucketSums(capacity: old.indices.count)
        for place in old.indices.indices {
            let index = target(old.indices[place])
            if indices.last == index {
                accumulate(old, place, at: indices.count - 1)
            } else {
                append(index, KahanSum(old.sums[place], compensation: old.lost(place)))
            }
        }
    }

    /// The upper bound of the populated bucket that `edge` lies inside, otherwise `edge`.
    func edge(beyond edge: Double, _ schema: Int32) -> Double {
        for place in indices.indices {
            if exponentialBound(indices[place] - 1, schema: schema) >= edge { break }
            let upper = exponentialBound(indices[place], schema: schema)
            if upper > edge { return sums[place] == 0 ? edge : upper }
        }
        return edge
    }

    /// Moves the buckets that begin below `edge` into `zero`.
    mutating func take(below edge: Double, _ schema: Int32, into zero: inout KahanSum) {
        let taken = indices.prefix { exponentialBound($0 - 1, schema: schema) < edge }.count
        for place in 0..<taken {
            zero.add(KahanSum(sums[place], compensation: lost(place)))
        }
        indices.removeFirst(taken)
        sums.removeFirst(taken)
        if !lost.isEmpty { lost.removeFirst(taken) }
    }

    mutating func multiply(by factor: Double) {
        for place in sums.indices { sums[place] *= factor }
        for place in lost.indices { lost[place] *= factor }
    }

    mutating func divide(by divisor: Double) {
        for place in sums.indices { sums[place] /= divisor }
        for place in lost.indices { lost[place] /= divisor }
    }

    private func lost(_ place: Int) -> Double { lost.isEmpty ? 0 : lost[place] }

    private mutating func append(_ index: Int32, _ sum: KahanSum) {
        indices.append(index)
        sums.append(sum.sum)
        lost.append(sum.compensation)
    }

    private mutating func accumulate(_ other: BucketSums, _ source: Int, at place: Int) {
        var sum = KahanSum(sums[place], compensation: lost[place])
        sum.add(KahanSum(other.sums[source], compensation: other.lost(source)))
        sums[place] = sum.sum
        lost[place] = sum.compensation
    }
}

extension KahanSum {
    /// Adds a sum and what it has lost.
    mutating func add(_ other: KahanSum) {
        add(other.sum)
        if other.compensation != 0 { add(other.compensation) }
    }

    mutating func multiply(by factor: Double) {
        sum *= factor
        compensation *= factor
    }

    mutating func divide(by divisor: Double) {
        sum /= divisor
        compensation /= divisor
    }
}
