import Model
import Simulation
import Testing
import Wire

@Suite("values")
struct ValuesCodecTests {
    static let special: [Double] = [
        0, -0.0, 1, -1, .infinity, -.infinity, .nan, StalenessMarker.value,
        Double(bitPattern: 0x7ff8_0000_dead_beef), Double(bitPattern: 0xfff0_0000_0000_0001),
        .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .greatestFiniteMagnitude,
        9_007_199_254_740_991, 9_007_199_254_740_992, -9_007_199_254_740_991,
        0.1, 0.3, 1.05, 99.999, 1e-9, 1e-10, 123_456.789, .pi, 1e300, -0.5, 0.1 + 0.2,
    ]

    static func check(_ values: [Double], _ note: String = "") {
        let bytes = ValuesCodec.encode(values)
        let back = try? ValuesCodec.decode(bytes, count: values.count)
        #expect(back?.map(\.bitPattern) == values.map(\.bitPattern), "\(note)")
    }

    @Test("special values come back bit for bit", arguments: special.indices)
    func specials(index: Int) { Self.check([Self.special[index]]) }

    @Test("any values come back bit for bit", arguments: UInt64(0)..<40)
    func anyValues(seed: UInt64) {
        let random = SeededRandom(seed: seed)
        let values = (0..<500).map { _ -> Double in
            switch random.below(5) {
            case 0: Double(bitPattern: random.next())
            case 1: Double(Int64(bitPattern: random.next()) >> Int64(random.below(64)))
            case 2: Double(random.below(1_000_000)) / 1000
            case 3: Double(random.below(100_000)) * 0.01
            default: Self.special[random.below(Self.special.count)]
            }
        }
        Self.check(values, "seed \(seed)")
    }

    @Test("sizes", arguments: [(0.0, 1), (1, 1), (31, 1), (1000, 2), (12.5, 3), (.pi, 9)])
    func sizes(value: Double, bytes: Int) {
        #expect(ValuesCodec.encode([value]).count <= bytes)
    }

    @Test("hostile bytes are refused or read, never a trap", arguments: UInt64(0)..<40)
    func hostile(seed: UInt64) {
        let random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            let bytes = random.bytes(count: random.below(40))
            _ = try? ValuesCodec.decode(bytes, count: random.below(40) - 2)
        }
        let ones = [UInt8](repeating: 0xff, count: 100)
        for count in [-1, 0, 1, 50, 100, Int.max] {
            #expect(throws: WireError.self) { try ValuesCodec.decode(ones, count: count) }
        }
        #expect(throws: WireError.self) { try ValuesCodec.decode([0, 0], count: 1) }
        #expect(throws: WireError.self) { try ValuesCodec.decode([3, 1, 2], count: 1) }
    }
}
