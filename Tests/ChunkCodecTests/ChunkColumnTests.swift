import ChunkCodec
import Model
import Testing

@Suite("Columns of samples")
struct ChunkColumnTests {
    /// A column as a dictionary, the plain way to say what it holds.
    enum Entry: Hashable {
        case value(UInt64, start: Int64)
        case histogram(Double, start: Int64)
    }

    static func entries(_ column: ChunkColumn) -> [Int64: Entry] {
        var result: [Int64: Entry] = [:]
        for (index, time) in column.timestamps.enumerated() {
            let start = column.startTimestamps.isEmpty ? 0 : column.startTimestamps[index]
            result[time] = .value(column.values[index].bitPattern, start: start)
        }
        for sample in column.histograms {
            result[sample.timestamp] = .histogram(
                sample.histogram.count, start: sample.startTimestamp)
        }
        return result
    }

    /// Random inserts, and what they should come to.
    static func random(
        _ random: inout SplitMix, hasHistograms: Bool, hasStarts: Bool
    ) -> (column: ChunkColumn, entries: [Int64: Entry]) {
        var column = ChunkColumn()
        var entries: [Int64: Entry] = [:]
        for _ in 0..<Int.random(in: 0...60, using: &random) {
            let time = Int64.random(in: 0...80, using: &random)
            let number = Double(Int.random(in: 0...9, using: &random))
            let start = hasStarts ? Int64.random(in: 0...3, using: &random) : 0
            if hasHistograms, Int.random(in: 0..<3, using: &random) == 0 {
                column.insert(
                    HistogramSample(time, FloatHistogram(count: number), startTimestamp: start))
                entries[time] = .histogram(number, start: start)
            } else {
                column.insert(time, number, start: start)
                entries[time] = .value(number.bitPattern, start: start)
            }
        }
        return (column, entries)
    }

    static func isSound(_ column: ChunkColumn) -> Bool {
        let times = column.histograms.map(\.timestamp)
        return zip(column.timestamps, column.timestamps.dropFirst()).allSatisfy { $0 < $1 }
            && zip(times, times.dropFirst()).allSatisfy { $0 < $1 }
            && column.timestamps.count == column.values.count
            && Set(times).isDisjoint(with: column.timestamps)
    }

    @Test("inserts in any order, merges and cuts are those of a dictionary", arguments: 0..<200)
    func operations(seed: UInt64) {
        var random = SplitMix(state: seed)
        let hasHistograms = seed % 2 == 1
        let hasStarts = seed % 3 == 1
        let (earlier, old) = Self.random(
            &random, hasHistograms: hasHistograms, hasStarts: hasStarts)
        let (later, new) = Self.random(
            &random, hasHistograms: hasHistograms, hasStarts: seed % 5 == 1)
        #expect(Self.isSound(earlier) && Self.entries(earlier) == old)
        #expect(earlier.first == old.keys.min() && earlier.last == old.keys.max())
        #expect(earlier.count == old.count && earlier.isEmpty == old.isEmpty)
        var merged = earlier
        merged.merge(later)
        #expect(Self.isSound(merged))
        #expect(Self.entries(merged) == old.merging(new) { $1 })
        let after = Int64.random(in: -1...81, using: &random)
        let through = Int64.random(in: -1...81, using: &random)
        let cut = merged.cut(after: after, through: through)
        #expect(Self.isSound(cut))
        #expect(
            Self.entries(cut)
                == Self.entries(merged).filter { $0.key > after && $0.key <= through })
    }

    @Test(
        "pieces are joined as they are merged one by one, and what has the same times shares them",
        arguments: 0..<100)
    func joining(seed: UInt64) {
        var random = SplitMix(state: seed)
        var times = JoinedTimes()
        var pieces: [ChunkColumn] = []
        for number in 0..<Int64.random(in: 0...4, using: &random) {
            var (piece, _) = Self.random(
                &random, hasHistograms: seed % 5 == 1, hasStarts: seed % 7 == 1)
            // Mostly one after the other, sometimes across each other.
            let shift = seed % 3 == 0 ? number * 40 : number * 100
            piece.timestamps = piece.timestamps.map { $0 + shift }
            piece.histograms = piece.histograms.map {
                HistogramSample($0.timestamp + shift, $0.histogram)
            }
            pieces.append(piece)
        }
        let merged = pieces.reduce(into: ChunkColumn()) { $0.merge($1) }
        #expect(ChunkColumn.joined(pieces, &times) == merged)
        // Another series of the same chunks, and one that lacks the last of them.
        for index in pieces.indices { pieces[index].values = pieces[index].values.map { $0 + 1 } }
        let others = pieces.reduce(into: ChunkColumn()) { $0.merge($1) }
        #expect(ChunkColumn.joined(pieces, &times) == others)
        pieces = pieces.dropLast()
        let fewer = pieces.reduce(into: ChunkColumn()) { $0.merge($1) }
        #expect(ChunkColumn.joined(pieces, &times) == fewer)
    }

    @Test("what follows in time is appended, with start times of one side alone")
    func append() {
        var column = ChunkColumn(timestamps: [1, 2], values: [1, 2])
        column.merge(ChunkColumn(timestamps: [3], values: [3], startTimestamps: [1]))
        column.merge(ChunkColumn(timestamps: [4], values: [4]))
        #expect(column.timestamps == [1, 2, 3, 4] && column.values == [1, 2, 3, 4])
        #expect(column.startTimestamps == [0, 0, 1, 0])
    }
}
