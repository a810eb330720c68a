import ChunkCodec
import Model

/// Chunks of the kinds of series that exporters have, the same in every process: two hours of a sample every 15 s.
struct FleetColumns {
    enum Kind: String, CaseIterable {
        /// One value throughout: sizes, limits, states of units.
        case constant
        /// Events since the start.
        case counter
        /// Seconds in hundredths, as the kernel counts them.
        case centiseconds
        /// Bytes in pages.
        case pages
        /// Load averages: two decimals.
        case hundredths
        /// Durations: all bits of a double.
        case noise
        /// The `_bucket` series of classic histograms, with `_sum` and `_count`.
        case buckets
        /// Native histograms.
        case nativeHistograms = "native histograms"
        /// The others but native histograms, as often as a host has them.
        case fleet
    }

    static let stepMS: Int64 = 15_000
    static let timeCount = 480
    /// 2026-11-18 00:00 UTC, and the place of a target's scrape within the step.
    private static let start: Int64 = 1_794_960_000_000 + 1_237

    private var random = Scatter()

    /// The series of one chunk.
    mutating func chunk(_ kind: Kind) -> [ChunkColumn] {
        switch kind {
        case .buckets: return classicHistograms()
        case .fleet:
            let kinds: [(Kind, Int)] = [
                (.constant, 14), (.counter, 8), (.centiseconds, 4), (.pages, 3), (.noise, 2),
                (.hundredths, 1),
            ]
            return kinds.flatMap { kind, count in (0..<count).map { _ in column(kind) } }
        default: return (0..<Chunk.slotsMax).map { _ in column(kind) }
        }
    }

    private static let times = (0..<timeCount).map { start + Int64($0) * stepMS }

    private mutating func column(_ kind: Kind) -> ChunkColumn {
        if kind == .nativeHistograms { return nativeHistograms() }
        var values: [Double] = []
        values.reserveCapacity(Self.timeCount)
        var state = Double(random.below(1_000_000))
        let rate = Double(1 + random.below(5_000))
        for _ in 0..<Self.timeCount {
            switch kind {
            case .constant, .nativeHistograms, .buckets, .fleet: values.append(state)
            case .counter:
                state += (rate * (0.5 + random.fraction())).rounded()
                values.append(state)
            case .centiseconds:
                state += (120 * (0.7 + 0.6 * random.fraction())).rounded()
                values.append(state / 100)
            case .pages:
                // Most of the time a little is taken or given back.
                if random.below(10) < 7 { state += Double(random.below(81)) - 40 }
                values.append(max(state, 0) * 4_096)
            case .hundredths: values.append((60 + 20 * random.fraction()).rounded() / 100)
            case .noise: values.append(0.02 * (0.5 + random.fraction()))
            }
        }
        return ChunkColumn(timestamps: Self.times, values: values)
    }

    /// Two of 14 buckets, a sum and a count each.
    private mutating func classicHistograms() -> [ChunkColumn] {
        (0..<2).flatMap { _ in
            var columns = [[Double]](repeating: [], count: 16)
            var buckets = (0..<14).map { _ in Double(random.below(100_000)) }
            var sum = Double(random.below(10_000))
            for _ in 0..<Self.timeCount {
                var below = 0.0
                for index in buckets.indices {
                    // Most observations fall in the middle.
                    buckets[index] += Double(random.below(1 + 3 * min(index, 13 - index)))
                    below += buckets[index]
                    columns[index].append(below)
                }
                sum += random.fraction()
                columns[14].append(sum)
                columns[15].append(below)
            }
            return columns.map { ChunkColumn(timestamps: Self.times, values: $0) }
        }
    }

    private mutating func nativeHistograms() -> ChunkColumn {
        var counts = (0..<12).map { _ in Double(random.below(1_000)) }
        var sum = 0.0
        let histograms = Self.times.map { time in
            for index in counts.indices { counts[index] += Double(random.below(5)) }
            sum += random.fraction()
            let zero = counts[0]
            return HistogramSample(
                time,
                FloatHistogram(
                    schema: 3, count: counts.reduce(0, +), sum: sum, zeroThreshold: 0.001,
                    zeroCount: zero,
                    positive: FloatHistogram.Buckets(first: -5, counts: Array(counts[1...])),
                    counterResetHint: .notReset))
        }
        return ChunkColumn(histograms: histograms)
    }
}

/// Numbers without a pattern that are the same in every run. Source: Steele, Lea, Flood: SplitMix64.
struct Scatter {
    private var state: UInt64 = 0x9e37_79b9_7f4a_7c15

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` - 1.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// From 0 to 1, 1 not among them, with all bits of a double's fraction.
    mutating func fraction() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }
}
