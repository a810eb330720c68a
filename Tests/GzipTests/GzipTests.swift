import Gzip
import Testing

@Suite("gzip")
struct GzipTests {
    @Test("what is compressed comes back", arguments: [0, 1, 100, 70_000, 1_000_000])
    func roundTrip(count: Int) throws {
        // Neither constant nor random: a linear congruential sequence, cut to few values.
        var state: UInt32 = 1
        let bytes = (0..<count).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 28)
        }
        let compressed = try Gzip.compress(bytes)
        #expect(compressed.starts(with: [0x1f, 0x8b, 8]))
        if count > 1000 { #expect(compressed.count < count * 3 / 4) }
        #expect(try Gzip.decompress(compressed, bytesMax: count) == bytes)
    }

    @Test("deflate's blocks alone")
    func deflate() throws {
        let hello = Array("hello hello hello hello".utf8)
        let blocks: [UInt8] = [203, 72, 205, 201, 201, 87, 200, 64, 39, 1]
        #expect(try Gzip.decompressDeflate(blocks, bytesMax: hello.count) == hello)
        #expect(throws: GzipError.tooLong(max: 22)) {
            try Gzip.decompressDeflate(blocks, bytesMax: 22)
        }
        for bytes in [[], Array(blocks.dropLast()), try Gzip.compress(hello)] as [[UInt8]] {
            #expect(throws: GzipError.malformed) {
                try Gzip.decompressDeflate(bytes, bytesMax: 1_000)
            }
        }
    }

    @Test(
        "what is compressed piece by piece is one member, and comes back",
        arguments: [[0], [1], [0, 100, 0, 70_000], [3_000_000], [65_536, 65_536]])
    func pieces(counts: [Int]) throws {
        var state: UInt32 = 1
        var bytes: [UInt8] = []
        var compressed: [UInt8] = []
        let writer = try GzipWriter()
        for count in counts {
            let piece = (0..<count).map { _ -> UInt8 in
                state = state &* 1_664_525 &+ 1_013_904_223
                return UInt8(state >> 24)
            }
            bytes += piece
            compressed += try writer.compress(piece)
        }
        compressed += try writer.finish()
        #expect(try Gzip.decompress(compressed, bytesMax: bytes.count) == bytes)
    }

    @Test("members that follow each other are one content")
    func members() throws {
        let both = try Gzip.compress([1, 2]) + Gzip.compress([3])
        #expect(try Gzip.decompress(both, bytesMax: 10) == [1, 2, 3])
    }

    @Test("more than is allowed, cut and other bytes are refused")
    func refusals() throws {
        let bomb = try Gzip.compress([UInt8](repeating: 0, count: 10_000_000))
        #expect(throws: GzipError.tooLong(max: 1000)) {
            try Gzip.decompress(bomb, bytesMax: 1000)
        }
        let cut = Array(try Gzip.compress(Array("some text".utf8)).dropLast(3))
        #expect(throws: GzipError.malformed) { try Gzip.decompress(cut, bytesMax: 1000) }
        #expect(throws: GzipError.malformed) {
            try Gzip.decompress(Array("no gzip at all".utf8), bytesMax: 1000)
        }
        #expect(throws: GzipError.malformed) { try Gzip.decompress([], bytesMax: 1000) }
    }
}
