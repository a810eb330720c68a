import Gzip
import Testing

@Suite("gzip, read piece by piece")
struct GzipReaderTests {
    /// All of the content of `compressed`, fed `size` bytes at a time.
    private func content(
        _ compressed: [UInt8], feeding size: Int
    ) throws -> (bytes: [UInt8], isWhole: Bool) {
        let reader = try GzipReader()
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: compressed.count, by: size) {
            reader.feed(Array(compressed[start..<min(start + size, compressed.count)]))
            while true {
                let piece = try reader.next()
                #expect(piece.count <= 64 * 1024)
                guard !piece.isEmpty else { break }
                bytes += piece
            }
        }
        return (bytes, reader.isAtMemberEnd)
    }

    @Test("members that follow each other are one content", arguments: [1, 7, 1000, 1 << 20])
    func members(size: Int) throws {
        var state: UInt32 = 1
        let bytes = (0..<20_000).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 27)
        }
        let compressed = try Gzip.compress(bytes) + Gzip.compress([]) + Gzip.compress([1, 2])
        let read = try content(compressed, feeding: size)
        #expect(read.bytes == bytes + [1, 2])
        #expect(read.isWhole)
    }

    @Test("a content packed a thousandfold comes in small pieces")
    func bomb() throws {
        let compressed = try Gzip.compress([UInt8](repeating: 0, count: 10_000_000))
        #expect(try content(compressed, feeding: 1 << 20).bytes.count == 10_000_000)
    }

    @Test("what stands before damage comes first")
    func damaged() throws {
        var state: UInt32 = 1
        let bytes = (0..<20_000).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 27)
        }
        var compressed = try Gzip.compress(bytes)
        for index in (compressed.count * 3 / 4)..<compressed.count { compressed[index] = 0xff }
        let reader = try GzipReader()
        reader.feed(compressed)
        var read: [UInt8] = []
        #expect(throws: GzipError.malformed) {
            while true {
                let piece = try reader.next()
                guard !piece.isEmpty else { break }
                read += piece
            }
        }
        #expect(read.prefix(10_000) == bytes.prefix(10_000))
    }

    @Test("cut short is seen, other bytes are refused")
    func refusals() throws {
        let cut = Array(try Gzip.compress(Array("some text".utf8)).dropLast(3))
        #expect(try !content(cut, feeding: 100).isWhole)
        #expect(throws: GzipError.malformed) {
            try content(Array("no gzip at all".utf8), feeding: 100)
        }
    }
}
