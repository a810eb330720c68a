import ChunkCodec
import Model
import Testing

/// A small generator of its own, so that a failure can be had again by its seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

@Suite("Chunks")
struct ChunkTests {
    static let start: Int64 = 1_795_000_000_000

    static func times(_ count: Int, step: Int64 = 15_000) -> [Int64] {
        (0..<count).map { start + Int64($0) * step }
    }

    /// Encodes, decodes, and compares bit by bit; answers with the bytes.
    @discardableResult
    static func roundTrip(
        _ columns: [ChunkColumn], _ location: SourceLocation = #_sourceLocation
    ) throws -> [UInt8] {
        let bytes = Chunk.encode(columns)
        let chunk = try Chunk(bytes)
        #expect(chunk.slotCount == columns.count, sourceLocation: location)
        for (slot, column) in columns.enumerated() {
            let back = try chunk.column(slot: slot)
            #expect(back.timestamps == column.timestamps, sourceLocation: location)
            #expect(
                back.values.map(\.bitPattern) == column.values.map(\.bitPattern),
                sourceLocation: location)
            #expect(back.startTimestamps == column.startTimestamps, sourceLocation: location)
            #expect(
                back.histograms.map(Bits.init) == column.histograms.map(Bits.init),
                sourceLocation: location)
        }
        return bytes
    }

    /// A histogram by its bits: NaN equals itself, 0 does not equal -0.
    struct Bits: Hashable {
        var times: [Int64]
        var numbers: [UInt64]
        var shape: [Int32]

        init(_ sample: HistogramSample) {
            let histogram = sample.histogram
            times = [sample.timestamp, sample.startTimestamp]
            numbers =
                ([histogram.zeroThreshold, histogram.zeroCount, histogram.count, histogram.sum]
                + histogram.positive.counts + histogram.negative.counts + histogram.customBounds)
                .map(\.bitPattern)
            shape =
                [histogram.schema, Int32(histogram.counterResetHint.rawValue)]
                + histogram.positive.indices + [.max] + histogram.negative.indices
        }
    }

    @Test(
        "every double comes back, bit by bit",
        arguments: [
            [0], [-0.0], [1, 1, 1, 1], [0.1, 0.2, 0.3], [0.1 + 0.2, 0.3, .nan],
            [.infinity, -.infinity, 0, 1], [StalenessMarker.value, StalenessMarker.value],
            [1, StalenessMarker.value, 3, 4, 5, 6, 7, 8, 9, 10],
            [StalenessMarker.value, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            [Double(bitPattern: 0x7ff8_0000_dead_beef), 1, 2, 3], [.leastNonzeroMagnitude, 1],
            [.greatestFiniteMagnitude, -.greatestFiniteMagnitude], [9_007_199_254_740_991, 1, 2],
            [9_007_199_254_740_992, 9_007_199_254_740_994], [1e18, 2e18, -1e18], [1e300, 1e-300],
            [0.30000000000000004, 0.1], [123_456.789, 123_457.001],
            [.leastNonzeroMagnitude, 1e-15, 1e-16],
            [-0.0, 0, -0.0, 0, 1], [2.3e18, -2.3e18, 1], [9.2e18, -9.2e18, 0],
        ] as [[Double]])
    func values(values: [Double]) throws {
        try Self.roundTrip([
            ChunkColumn(timestamps: Self.times(values.count), values: values)
        ])
    }

    @Test(
        "any columns come back: random shapes, gaps, kinds of values, start times",
        arguments: 0..<60)
    func random(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let count = Int.random(in: 1...700, using: &random)
        let step = Int64.random(in: 1...60_000, using: &random)
        let jitter = Int64.random(in: 0..<step, using: &random)
        var times: [Int64] = []
        for index in 0..<count {
            let shift = jitter == 0 ? 0 : Int64.random(in: 0...jitter, using: &random)
            let time = Self.start + Int64(index) * step + shift
            times.append(max(time, (times.last ?? .min) + 1))
        }
        let columns = (0..<Int.random(in: 1...32, using: &random)).map { _ in
            Self.column(times, &random)
        }
        guard columns.contains(where: { !$0.timestamps.isEmpty }) else { return }
        try Self.roundTrip(columns)
    }

    static func column(_ times: [Int64], _ random: inout SplitMix) -> ChunkColumn {
        let keep = [1.0, 1.0, 0.99, 0.5, 0.02, 0][Int.random(in: 0..<6, using: &random)]
        let kept = times.filter { _ in Double.random(in: 0..<1, using: &random) < keep }
        let kind = Int.random(in: 0..<8, using: &random)
        var value = Double(Int.random(in: -1000...1_000_000, using: &random))
        let values = kept.map { _ -> Double in
            switch kind {
            case 0: return value
            case 1: value += Double(Int.random(in: 0...500, using: &random))
            case 2: value = (value * 100 + Double(Int.random(in: 0...9, using: &random))) / 100
            case 3: return Double.random(in: -1...1, using: &random)
            case 4: return Double(bitPattern: random.next())
            case 5: value += 4096 * Double(Int.random(in: -300...300, using: &random))
            case 6:
                return Int.random(in: 0..<20, using: &random) == 0 ? StalenessMarker.value : value
            default: return Double(Int64(bitPattern: random.next()) >> 3)
            }
            return value
        }
        let hasStarts = Int.random(in: 0..<4, using: &random) == 0
        return ChunkColumn(
            timestamps: kept, values: values,
            startTimestamps: hasStarts
                ? kept.map { $0 - Int64.random(in: 0...100_000, using: &random) } : [])
    }

    @Test("integers of any size come back", arguments: 0..<40)
    func extremes(seed: UInt64) throws {
        var random = SplitMix(state: 7_000 + seed)
        let width = UInt64.random(in: 1...64, using: &random)
        let count = Int.random(in: 1...200, using: &random)
        let starts = (0..<count).map { _ in
            Int64(bitPattern: random.next() >> (64 - width)) &* (seed % 2 == 0 ? 1 : -1)
        }
        try Self.roundTrip([
            ChunkColumn(
                timestamps: Self.times(count), values: [Double](repeating: 1, count: count),
                startTimestamps: starts + [])
        ])
    }

    @Test("histograms come back: layouts that change, hints, custom bounds, gauges beside them")
    func histograms() throws {
        var random = SplitMix(state: 3)
        var samples: [HistogramSample] = []
        let times = Self.times(300)
        var counts: [Double] = [0, 0, 0, 0, 0]
        for (index, time) in times.enumerated() where index % 7 != 3 {
            for bucket in counts.indices {
                counts[bucket] += Double(Int.random(in: 0...5, using: &random))
            }
            let used = index < 100 ? 3 : 5
            var histogram = FloatHistogram(
                schema: 3, count: counts.reduce(0, +),
                sum: Double.random(in: 0...9, using: &random),
                zeroThreshold: 1e-128, zeroCount: Double(index / 50),
                positive: FloatHistogram.Buckets(
                    indices: [-7, -6, 2, 40, 41].prefix(used).map { $0 },
                    counts: Array(counts.prefix(used))),
                negative: FloatHistogram.Buckets(first: -3, counts: [1, .infinity, -0.0]),
                counterResetHint: [.unknown, .reset, .notReset, .gauge][index % 4])
            if index > 250 {
                histogram = FloatHistogram(
                    schema: FloatHistogram.customSchema, count: 3, sum: .nan,
                    positive: FloatHistogram.Buckets(first: 0, counts: [1, 2]),
                    customBounds: [0.1, 0.30000000000000004, 5])
            }
            samples.append(HistogramSample(time, histogram, startTimestamp: index % 2 == 0 ? 5 : 0))
        }
        let gauges = times.enumerated().filter { $0.offset % 7 == 3 }.map(\.element)
        let both = ChunkColumn(
            timestamps: gauges, values: gauges.map { Double($0) }, histograms: samples)
        let alone = ChunkColumn(histograms: samples)
        try Self.roundTrip([
            both, alone, ChunkColumn(timestamps: times, values: times.map { _ in 1 }),
        ])
        try Self.roundTrip([alone])
    }

    @Test("an empty series beside others stays empty")
    func empty() throws {
        try Self.roundTrip([
            ChunkColumn(), ChunkColumn(timestamps: [5], values: [1]), ChunkColumn(),
        ])
    }

    @Test("what exporters say takes few bytes a sample")
    func sizes() throws {
        var random = SplitMix(state: 11)
        let times = Self.times(480)
        var count = 5_000.0
        let kinds: [(name: String, bytesMax: Double, values: [Double])] = [
            ("constant", 0.05, times.map { _ in 8.2e9 }),
            ("steady counter", 0.08, times.indices.map { Double($0 * 15) }),
            (
                "pages", 1.4,
                times.map { _ in 4096 * Double(Int.random(in: 0...800, using: &random)) }
            ),
            (
                "busy counter", 1.4,
                times.map { _ in
                    count += Double(Int.random(in: 0...600, using: &random))
                    return count
                }
            ),
            (
                "centiseconds", 0.9,
                times.map { _ in
                    count = (count * 100).rounded() + Double(Int.random(in: 0...30, using: &random))
                    count /= 100
                    return count
                }
            ),
            ("noise", 7.1, times.map { _ in Double.random(in: 0.01...0.02, using: &random) }),
        ]
        for kind in kinds {
            let bytes = try Self.roundTrip(
                (0..<32).map { _ in ChunkColumn(timestamps: times, values: kind.values) })
            let share = Double(bytes.count) / Double(32 * times.count)
            #expect(share <= kind.bytesMax, "\(kind.name): \(share) bytes a sample")
        }
    }

    @Test("no damage passes: every bit that flips and every cut is found")
    func damage() throws {
        var random = SplitMix(state: 5)
        let times = Self.times(40)
        let good = Chunk.encode(
            (0..<4).map { _ in Self.column(times, &random) }
                + [ChunkColumn(timestamps: times, values: times.map { Double($0) })])
        for bit in 0..<(good.count * 8) {
            var bad = good
            bad[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: ChunkError.self) { try Chunk(bad) }
        }
        for count in good.indices {
            #expect(throws: ChunkError.self) { try Chunk(Array(good[..<count])) }
        }
    }

    /// How many samples the chunk gives; nil where it is refused.
    private static func reads(_ bytes: [UInt8]) -> Int? {
        guard let chunk = try? Chunk(bytes) else { return nil }
        var count = 0
        for slot in 0..<chunk.slotCount {
            guard let column = try? chunk.column(slot: slot) else { return nil }
            count += column.values.count
        }
        return count
    }

    @Test("bytes that only look like a chunk are refused, never a trap", arguments: 0..<8)
    func forged(seed: UInt64) throws {
        var random = SplitMix(state: 99 + seed)
        let times = Self.times(30)
        let histograms = times.map {
            HistogramSample(
                $0, FloatHistogram(count: 1, positive: .init(first: 1, counts: [1, 2])))
        }
        let good = Chunk.encode([
            Self.column(times, &random),
            ChunkColumn(timestamps: times, values: times.map { _ in 1 }),
            ChunkColumn(histograms: histograms),
        ])
        var refused = 0
        for _ in 0..<3_000 {
            var bad = good
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bad[Int.random(in: 5..<bad.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            var checksum = CRC32C()
            bad.withUnsafeBytes { checksum.add($0, 5..<$0.count) }
            withUnsafeBytes(of: checksum.value.littleEndian) {
                bad.replaceSubrange(1..<5, with: $0)
            }
            if Self.reads(bad) == nil { refused += 1 }
        }
        #expect(refused > 0)
    }
}
