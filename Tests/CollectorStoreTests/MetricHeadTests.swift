import ChunkCodec
import CollectorStore
import Glibc
import Model
import Testing

/// The tests' random source as the standard library asks for it.
struct Seeded: RandomNumberGenerator {
    let source: SeededRandom
    init(_ seed: UInt64) { source = SeededRandom(seed) }
    mutating func next() -> UInt64 { source.next() }
}

@Suite("Head of the metric store")
struct MetricHeadTests {
    /// What a store should hold: the last value received for each series and time.
    struct Reference {
        var samples: [SeriesPlace: [Int64: Double]] = [:]
        /// What the database holds by now, in the order of its chunks.
        var database: [SeriesPlace: ChunkColumn] = [:]
    }

    static func read(
        _ head: MetricHead, _ database: [SeriesPlace: ChunkColumn], _ place: SeriesPlace
    ) throws -> [Int64: Double] {
        let pieces = try #require(head.pieces(of: [place.group]).pieces[place.group])
        var column = database[place] ?? ChunkColumn()
        column.merge(try pieces.column(slot: Int(place.slot), after: .min, through: .max))
        return Dictionary(uniqueKeysWithValues: zip(column.timestamps, column.values))
    }

    @Test(
        "inserts, seals and their failures in any order lose nothing and change nothing",
        arguments: 0..<6)
    func model(seed: UInt64) throws {
        var random = Seeded(seed)
        let head = MetricHead()
        head.startSealed(through: .min)
        var reference = Reference()
        let places = (0..<40).map { SeriesPlace(group: Int32($0 / 16), slot: Int16($0 % 16)) }
        var now: Int64 = 1_795_000_000_000
        var value = 0.0
        var seals = 0
        for _ in 0..<200 {
            // A few thousand samples at a time, so that groups freeze; some of them late.
            now += Int64.random(in: 0...120_000, using: &random)
            let shift =
                Int.random(in: 0..<6, using: &random) == 0
                ? Int64.random(in: 0...30_000_000, using: &random) : 0
            for step in 0..<Int64.random(in: 1...8, using: &random) {
                value += 1
                let time = now + step * 15_000 - shift
                head.insert(time, places, places.map { _ in value })
                for place in places { reference.samples[place, default: [:]][time] = value }
            }
            guard Int.random(in: 0..<20, using: &random) == 0 else { continue }
            let (chunks, rest) = try head.seal(
                through: now - Int64.random(in: 0...9_000_000, using: &random))
            seals += 1
            let late = now - 20_000_000
            value += 1
            head.insert(late, places, places.map { _ in value })
            for place in places { reference.samples[place, default: [:]][late] = value }
            for place in places {
                #expect(try Self.read(head, reference.database, place) == reference.samples[place])
            }
            if Int.random(in: 0..<3, using: &random) == 0 {
                head.unsealed()
            } else {
                for sealed in chunks {
                    let chunk = try Chunk(sealed.data)
                    #expect(
                        chunk.timestamps.first == sealed.first
                            && chunk.timestamps.last == sealed.last)
                    #expect(MetricHead.windowEnd(sealed.first) == MetricHead.windowEnd(sealed.last))
                    for slot in 0..<chunk.slotCount {
                        reference.database[
                            SeriesPlace(group: sealed.group, slot: Int16(slot)),
                            default: ChunkColumn()
                        ].merge(try chunk.column(slot: slot))
                    }
                }
                head.sealed(chunks, rest)
            }
            // After what it says is sealed, it has everything.
            let bound = try #require(head.pieces(of: []).sealedThrough)
            #expect(reference.database.values.allSatisfy { ($0.last ?? bound) <= bound })
        }
        #expect(seals > 2)
        for place in places {
            #expect(try Self.read(head, reference.database, place) == reference.samples[place])
        }
    }

    @Test("a seal leaves what is later, and counts")
    func rest() throws {
        let head = MetricHead()
        let place = SeriesPlace(group: 3, slot: 5)
        for step in 0..<100 { head.insert(Int64(step) * 60_000, [place, nil], [Double(step), 1]) }
        #expect(head.sampleCount == 100)
        let (chunks, rest) = try head.seal(through: 49 * 60_000)
        #expect(chunks.map(\.group) == [3] && chunks.map(\.sampleCount) == [50])
        #expect(head.sampleCount == 100)
        #expect(head.pieces(of: []).sealedThrough == nil)
        head.startSealed(through: 7)
        head.sealed(chunks, rest)
        #expect(head.pieces(of: []).sealedThrough == Int64(2_940_000))
        #expect(head.sampleCount == 50)
        let left = try #require(head.pieces(of: [3]).pieces[3])
        #expect(
            try left.column(slot: 5, after: .min, through: .max).timestamps.first == 50 * 60_000)
        #expect(
            try left.column(slot: 5, after: 60 * 60_000, through: 62 * 60_000).values == [61, 62])
        #expect(try left.column(slot: 31, after: .min, through: .max).isEmpty)
        #expect(head.pieces(of: [0, 77]).pieces.count == 2)
    }

    @Test("more times than a chunk holds are several chunks; histograms and start times go along")
    func dense() throws {
        let head = MetricHead()
        let place = SeriesPlace(group: 0, slot: 0)
        let times = (0..<Int64(Chunk.timesMax + 5)).map { $0 * 7 }
        let column = ChunkColumn(
            timestamps: times, values: times.map { Double($0) },
            startTimestamps: times.map { _ in 4 },
            histograms: [HistogramSample(900_000_000_000, FloatHistogram(count: 2))])
        head.insert([(place, column)])
        let (chunks, _) = try head.seal(through: .max)
        #expect(chunks.count == 3)
        #expect(chunks.reduce(0) { $0 + $1.sampleCount } == times.count + 1)
        var back = ChunkColumn()
        for chunk in chunks { back.merge(try Chunk(chunk.data).column(slot: 0)) }
        #expect(back == column)
    }

    @Test("memory is that of the groups that have samples, whatever numbers they have")
    func sparse() throws {
        /// Pages of this process in memory.
        func pages() throws -> Int {
            let file = try #require(fopen("/proc/self/statm", "r"))
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 128)
            let read = try #require(fgets(&line, Int32(line.count), file))
            return try #require(Int(String(cString: read).split(separator: " ")[1]))
        }
        let head = MetricHead()
        head.startSealed(through: .min)
        let before = try pages()
        let far: Int32 = 10_000_000
        let places = [SeriesPlace(group: 0, slot: 3), SeriesPlace(group: far, slot: 0)]
        head.insert(7, places, [1, 2])
        // An array up to there would be 240 MB.
        #expect((try pages() - before) * 4096 < 100_000_000)
        let (chunks, _) = try head.seal(through: .max)
        #expect(chunks.map(\.group) == [0, far])
        head.insert(8, places, [3, 4])
        head.unsealed()
        #expect(head.sampleCount == 4)
        let column = try head.pieces(of: [far]).pieces[far]?
            .column(slot: 0, after: .min, through: .max)
        #expect(column?.values == [2, 4])
        #expect(head.extent == 7...8)
    }
}
