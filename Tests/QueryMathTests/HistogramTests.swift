import Model
import QueryMath
import Testing

private typealias Buckets = FloatHistogram.Buckets

/// Buckets of schema 0 end at …, 0.5 (index -1), 1 (0), 2 (1), 4 (2), 8 (3).
private func exponential(
    schema: Int32 = 0, count: Double = 0, sum: Double = 0, zero: Double = 0,
    width: Double = 0, from first: Int32 = 1, _ positive: [Double] = [], negative: [Double] = [],
    hint: FloatHistogram.CounterResetHint = .unknown
) -> FloatHistogram {
    FloatHistogram(
        schema: schema, count: count, sum: sum, zeroThreshold: width, zeroCount: zero,
        positive: Buckets(first: first, counts: positive),
        negative: Buckets(first: first, counts: negative), counterResetHint: hint)
}

private func custom(
    _ bounds: [Double], _ counts: [Double], sum: Double = 0
) -> FloatHistogram {
    FloatHistogram(
        schema: FloatHistogram.customSchema, count: counts.reduce(0, +), sum: sum,
        positive: Buckets(first: 0, counts: counts), customBounds: bounds)
}

struct HistogramLayoutTests {
    @Test(
        arguments: [
            (0, 0, 1.0), (0, 1, 2.0), (0, -1, 0.5), (1, 1, 1.414213562373095),
            (2, 3, 1.6817928305074288),
            (-1, 1, 4.0), (-4, 1, 65536.0), (8, 256, 2.0),
            (0, 1024, Double.greatestFiniteMagnitude),
            (0, 1025, Double.infinity), (-4, 64, Double.greatestFiniteMagnitude),
        ] as [(Int32, Int32, Double)])
    func upperBounds(schema: Int32, index: Int32, expected: Double) {
        let histogram = exponential(schema: schema, from: index, [1])
        #expect(histogram.allBuckets.first?.upper == expected)
    }

    @Test func bucketsAscendFromNegativeThroughZero() {
        let histogram = exponential(zero: 3, width: 1.5, [1, 2], negative: [4, 5])
        let buckets = histogram.allBuckets
        #expect(buckets.map(\.count) == [5, 4, 3, 1, 2])
        // The zero bucket cuts into its neighbours.
        #expect(buckets.map(\.lower) == [-4, -2, -1.5, 1.5, 2])
        #expect(buckets.map(\.upper) == [-2, -1.5, 1.5, 2, 4])
        #expect(buckets.map(\.includesLower) == [true, true, true, false, false])
        #expect(buckets.map(\.includesUpper) == [false, false, true, true, true])
    }

    @Test func customBucketsAreOpenAtBothEnds() {
        let buckets = custom([-5, 5], [1, 2, 3]).allBuckets
        #expect(buckets.map(\.lower) == [-.infinity, -5, 5])
        #expect(buckets.map(\.upper) == [-5, 5, .infinity])
        #expect(buckets.map(\.includesLower) == [true, false, false])
    }

    @Test func reductionMergesByPairs() {
        let reduced = exponential(schema: 1, from: -1, [1, 2, 3, 4, 5, 6]).reduced(to: 0)
        #expect(reduced.schema == 0)
        #expect(reduced.positive == Buckets(indices: [0, 1, 2], counts: [3, 7, 11]))
    }

    @Test func compactionDropsEmptyBuckets() {
        let compact = exponential([0, 1, 0, 2, 0], negative: [0]).compacted()
        #expect(compact.positive == Buckets(indices: [2, 4], counts: [1, 2]))
        #expect(compact.negative.isEmpty)
    }
}

struct HistogramArithmeticTests {
    private func sum(
        _ a: FloatHistogram, _ b: FloatHistogram
    ) throws -> (FloatHistogram, HistogramMerge) {
        var merge = HistogramMerge()
        return (try a.adding(b, noting: &merge), merge)
    }

    @Test func addsBucketByBucket() throws {
        let a = exponential(count: 7, sum: 10, zero: 1, from: 0, [1, 2, 3])
        let b = exponential(count: 9, sum: 1, zero: 2, from: 2, [4, 0, 3])
        let (result, merge) = try sum(a, b)
        #expect(result.count == 16 && result.sum == 11 && result.zeroCount == 3)
        #expect(
            result.positive == Buckets(indices: [0, 1, 2, 3, 4], counts: [1, 2, 7, 0, 3]))
        #expect(merge == HistogramMerge())
    }

    @Test func coarserSchemaWins() throws {
        let fine = exponential(schema: 1, from: 1, [1, 1, 1, 1])
        let (result, _) = try sum(fine, exponential(schema: 0, from: 1, [10]))
        #expect(result.schema == 0)
        #expect(result.positive == Buckets(indices: [1, 2], counts: [12, 2]))
    }

    @Test func widerZeroBucketSwallowsAndGrowsToABound() throws {
        // 3 lies inside the populated bucket (2, 4], so the zero bucket grows to 4.
        let narrow = exponential(zero: 1, width: 0.5, from: 0, [1, 2, 4, 8])
        let (result, _) = try sum(narrow, exponential(zero: 100, width: 3, from: 3, [16]))
        #expect(result.zeroThreshold == 4)
        #expect(result.zeroCount == 108)
        #expect(result.positive == Buckets(indices: [3], counts: [24]))
    }

    @Test func differentCustomBoundsKeepWhatIsCommon() throws {
        let (result, merge) = try sum(
            custom([1, 2, 3, 4], [1, 2, 3, 4, 5]), custom([2, 3.5, 4], [10, 20, 30, 40]))
        #expect(result.customBounds == [2, 4])
        #expect(result.positive == Buckets(indices: [0, 1, 2], counts: [13, 57, 45]))
        #expect(merge.hasReconciledBounds)
    }

    @Test func kindsOfBucketsDoNotMix() {
        #expect(throws: MixedBucketSchemas.self) { try sum(custom([1], [1, 1]), exponential([1])) }
        var total = HistogramSum(exponential([1]))
        #expect(throws: MixedBucketSchemas.self) { try total.add(custom([1], [1, 1])) }
    }

    @Test(
        arguments: [
            (.unknown, .reset, .unknown, false), (.reset, .reset, .reset, false),
            (.reset, .notReset, .unknown, true), (.gauge, .reset, .gauge, false),
            (.notReset, .gauge, .gauge, false), (.notReset, .notReset, .notReset, false),
        ]
            as [(
                FloatHistogram.CounterResetHint, FloatHistogram.CounterResetHint,
                FloatHistogram.CounterResetHint, Bool
            )])
    func hints(
        a: FloatHistogram.CounterResetHint, b: FloatHistogram.CounterResetHint,
        expected: FloatHistogram.CounterResetHint, conflict: Bool
    ) throws {
        let (result, merge) = try sum(exponential([1], hint: a), exponential([1], hint: b))
        #expect(result.counterResetHint == expected)
        #expect(merge.hasResetConflict == conflict)
    }

    @Test func scaling() {
        let histogram = exponential(count: 3, sum: 6, [1, 2], hint: .notReset)
        #expect(histogram.multiplied(by: 2).positive.counts == [2, 4])
        #expect(histogram.multiplied(by: -1).counterResetHint == .gauge)
        #expect(histogram.divided(by: 2).sum == 3)
        let infinite = histogram.divided(by: 0)
        #expect(infinite.count == .infinity && infinite.positive.isEmpty)
    }

    @Test func sumsAreCompensated() throws {
        var total = HistogramSum(exponential(count: 1, sum: 1, [1]))
        for value in [1e100, 1, -1e100] {
            try total.add(exponential(count: value, sum: value, [value]))
        }
        #expect(total.value.sum == 2 && total.value.count == 2)
        #expect(total.value.positive.counts == [2])
    }

    @Test func meansDoNotOverflow() throws {
        let huge = 9.988465674311579e+307
        var mean = HistogramMean(exponential(count: huge, sum: huge, [huge]))
        for _ in 0..<3 { try mean.add(exponential(count: huge, sum: huge, [huge])) }
        #expect(almostEqual(mean.value.sum, huge, epsilon: 1e-12))
        #expect(almostEqual(mean.value.positive.counts[0], huge, epsilon: 1e-12))
    }

    @Test func aMeanOfLayouts() throws {
        var mean = HistogramMean(exponential(count: 2, sum: 4, [2]))
        try mean.add(exponential(count: 4, sum: 2, from: 2, [4], hint: .gauge))
        #expect(mean.value.positive == Buckets(indices: [1, 2], counts: [1, 2]))
        #expect(mean.value.count == 3 && mean.value.counterResetHint == .gauge)
    }
}

struct HistogramResetTests {
    @Test(arguments: [
        (exponential(count: 2, [1, 1]), exponential(count: 3, [1, 2]), false),
        (exponential(count: 3, [1, 2]), exponential(count: 2, [1, 1]), true),
        (exponential(count: 3, [1, 2]), exponential(count: 3, [2, 1]), true),
        // A populated bucket disappears, an empty one may.
        (exponential(count: 2, [1, 1]), exponential(count: 3, [3]), true),
        (exponential(count: 2, [2, 0]), exponential(count: 3, [3]), false),
        // Coarser may be the same counter, finer may not.
        (
            exponential(schema: 1, count: 2, from: 1, [1, 1]),
            exponential(schema: 0, count: 2, [2]), false
        ),
        (
            exponential(schema: 0, count: 2, [2]),
            exponential(schema: 1, count: 2, from: 1, [1, 1]), true
        ),
        (exponential(count: 2, width: 1, [2]), exponential(count: 2, width: 2, [0]), true),
        (exponential(count: 1, width: 1, [1]), exponential(count: 1, zero: 1, width: 2), false),
        (exponential(count: 1, width: 2), exponential(count: 1, width: 1), true),
        (exponential(count: 1, [1]), exponential(count: 2, zero: 0, width: 1.5, [2]), true),
        (exponential(count: 2, [2]), exponential(count: 1, [1], hint: .notReset), false),
        (exponential(count: 1, [1]), exponential(count: 2, [2], hint: .reset), true),
        (custom([1, 2], [1, 1, 1]), custom([1, 2], [1, 2, 1]), false),
        (custom([1, 2], [1, 1, 1]), custom([2], [2, 1]), false),
        (custom([1, 2], [1, 1, 1]), custom([1], [1, 2]), false),
        (custom([1, 2], [2, 0, 1]), custom([1], [1, 2]), true),
        (exponential(count: 1, [1]), custom([1], [1, 2]), true),
        (custom([1], [1, 2]), exponential(count: 5, [5]), true),
    ])
    func detects(old: FloatHistogram, new: FloatHistogram, expected: Bool) {
        #expect(new.isReset(since: old) == expected)
    }
}

struct HistogramStatisticsTests {
    @Test(
        arguments: [
            // Half of (1, 2] on a logarithmic scale.
            (exponential(count: 2, sum: 3, [2]), 0.5, 1.4142135623730951),
            (exponential(count: 2, sum: 3, [2]), 0, 1), (exponential(count: 2, sum: 3, [2]), 1, 2),
            (exponential(count: 2, sum: -3, negative: [2]), 0.25, -1.681792830507429),
            // Only positive observations: the zero bucket begins at 0.
            (exponential(count: 4, sum: 3, zero: 2, width: 0.5, [2]), 0.25, 0.25),
            (exponential(count: 4, zero: 4, width: 0.5), 0.5, 0),
            (custom([10, 20], [0, 4, 0]), 0.5, 15), (custom([10, 20], [4, 0, 0]), 0.5, 5),
            (custom([10, 20], [0, 0, 4]), 0.5, 20), (custom([-10, 20], [4, 0, 0]), 0.5, -10),
            (custom([10], [4, 0]), -1, -.infinity), (custom([10], [4, 0]), 2, .infinity),
            (custom([10], [4, 0]), .nan, .nan), (exponential(), 0.5, .nan),
        ] as [(FloatHistogram, Double, Double)])
    func quantiles(histogram: FloatHistogram, quantile: Double, expected: Double) {
        let (value, effect) = histogram.quantile(quantile)
        #expect(almostEqual(value, expected, epsilon: 1e-12), "\(value)")
        #expect(effect == .none)
    }

    @Test func observationsOfNaN() {
        let histogram = exponential(count: 4, sum: .nan, [3])
        #expect(histogram.quantile(0.9).effect == .isResult)
        #expect(histogram.quantile(0.9).value.isNaN)
        #expect(histogram.quantile(0.5).effect == .skews)
        #expect(histogram.fraction(from: -.infinity, to: .infinity) == (0.75, .areExcluded))
        #expect(exponential(count: 3, sum: .nan, [3]).quantile(0.5).effect == .none)
    }

    @Test(arguments: [
        (exponential(count: 4, [2, 2]), -Double.infinity, 2.0, 0.5),
        (exponential(count: 4, [2, 2]), 2, Double.infinity, 0.5),
        (exponential(count: 4, [2, 2]), 1.4142135623730951, 2.8284271247461903, 0.5),
        (exponential(count: 4, [2, 2]), 3, 2, 0),
        (exponential(count: 4, [2, 2], negative: []), 0, 1, 0),
        (exponential(count: 2, negative: [2]), -1.4142135623730951, 0, 0.5),
        (exponential(count: 4, zero: 4, width: 1), 0, 0.5, 0.25),
        (custom([10, 20], [2, 2, 4]), 5, 15, 0.25), (custom([10], [2, 2]), 10, .infinity, 0.5),
    ])
    func fractions(histogram: FloatHistogram, lower: Double, upper: Double, expected: Double) {
        let value = histogram.fraction(from: lower, to: upper).value
        #expect(almostEqual(value, expected, epsilon: 1e-12), "\(value)")
    }

    @Test func varianceTakesTheMiddles() {
        // Both observations at √2, the mean says 1.5.
        let distance = 1.5 - 2.0.squareRoot()
        let exponentialVariance = exponential(count: 2, sum: 3, [2]).variance
        #expect(almostEqual(exponentialVariance, distance * distance, epsilon: 1e-9))
        #expect(custom([0, 10], [0, 2, 0], sum: 10).variance == 0)
    }
}

struct HistogramTrimTests {
    @Test(
        arguments: [
            (FloatHistogram.TrimSide.below, 2.0, [2.0], 2.0), (.below, 4, [2, 4], 6),
            (.below, 8, [2, 4, 8], 14),
            (.above, 2, [4, 8], 12), (.above, 0.5, [2, 4, 8], 14),
            (.below, 2.8284271247461903, [2, 2], 4), (.above, 2.8284271247461903, [2, 8], 10),
            (.below, 0.5, [], 0),
        ] as [(FloatHistogram.TrimSide, Double, [Double], Double)])
    func cuts(side: FloatHistogram.TrimSide, edge: Double, counts: [Double], total: Double) {
        let histogram = exponential(count: 14, sum: 30, [2, 4, 8])
            .trimmed(side, of: edge)
        #expect(histogram.positive.counts.count == counts.count)
        for (value, expected) in zip(histogram.positive.counts, counts) {
            #expect(almostEqual(value, expected, epsilon: 1e-9))
        }
        #expect(almostEqual(histogram.count, total, epsilon: 1e-9))
        // Nothing cut: the sum is the measured one.
        #expect((histogram.sum == 30) == (total == 14))
    }

    @Test func zeroBucketIsCutLinearly() {
        let histogram = exponential(count: 4, zero: 4, width: 1)
        #expect(histogram.trimmed(.above, of: 0.5).zeroCount == 1)
        #expect(histogram.trimmed(.below, of: 0.5).zeroCount == 3)
    }

    @Test func openBucketsAreKeptOrDroppedWhole() {
        let histogram = custom([10, 20], [1, 2, 4])
        #expect(histogram.trimmed(.below, of: 100).positive.counts == [1, 2])
        #expect(histogram.trimmed(.above, of: 100).positive.counts == [4])
        #expect(histogram.trimmed(.below, of: 5).positive.counts == [0.5])
    }
}

struct HistogramTextTests {
    @Test func text() {
        let histogram = exponential(
            count: 3493.3, sum: 2_349_209.324, zero: 5.5, width: 0.01, [3.3, 0, 0.1],
            negative: [3.1])
        #expect(
            histogram.text
                == "{count:3493.3, sum:2.349209324e+06, [-2,-1):3.1, [-0.01,0.01]:5.5, (1,2]:3.3, "
                + "(4,8]:0.1}")
        #expect(
            histogram.scriptText
                == "{{count:3493.3 sum:2.349209324e+06 z_bucket:5.5 z_bucket_w:0.01 offset:1 "
                + "buckets:[3.3 0 0.1] n_offset:1 n_buckets:[3.1]}}")
        #expect(
            custom([5, 10], [0, 3.3, 5]).text == "{count:8.3, sum:0, (5,10]:3.3, (10,+Inf]:5}")
        #expect(
            custom([5], [1, 0]).hinted(.gauge).scriptText
                == "{{schema:-53 count:1 custom_values:[5] counter_reset_hint:gauge buckets:[1]}}")
    }

    @Test(
        arguments: [
            (exponential([1, 2]), nil), (custom([1, 2], [1, 2, 3]), nil),
            (exponential([1, -2]), "positive bucket 2 has observation count of -2"),
            (exponential(schema: 9, [1]), "schema 9"),
            (exponential(count: -1), "observation count is -1"),
            (exponential(zero: -1), "zero bucket"), (custom([2, 1], [1]), "ascend"),
            (custom([1], [1, 2, 3]), "too few"), (custom([1, .infinity], [1]), "+Inf"),
            (custom([.nan], [1]), "NaN"),
            (exponential(from: 1_000_000, [1]), "beyond all numbers"),
            (exponential(width: .nan), "zero bucket reaches to NaN"),
            (exponential(width: .infinity), "zero bucket reaches to +Inf"),
            (exponential(width: -1), "zero bucket reaches to -1"),
        ] as [(FloatHistogram, String?)])
    func defects(histogram: FloatHistogram, expected: String?) {
        guard let expected else {
            #expect(histogram.defect == nil)
            return
        }
        #expect(histogram.defect?.contains(expected) == true)
    }
}
