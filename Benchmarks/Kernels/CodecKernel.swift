import ChunkCodec
import Model

/// Encodes and decodes chunks of one kind, through the calls by which a seal writes and a query reads.
struct CodecKernel {
    /// A sample that came back different, or not at all.
    struct RoundTripFailure: Error, CustomStringConvertible {
        var kind: FleetColumns.Kind
        var description: String { "chunks of \(kind.rawValue) do not decode to what was encoded" }
    }

    /// Of one run: enough that a clock's resolution and a cache's first misses do not count.
    private static let chunkCount = 8

    private let kind: FleetColumns.Kind
    private let chunks: [[ChunkColumn]]
    private let sampleCount: Int

    init(_ kind: FleetColumns.Kind) {
        self.kind = kind
        var columns = FleetColumns()
        let chunks = (0..<Self.chunkCount).map { _ in columns.chunk(kind) }
        self.chunks = chunks
        sampleCount = chunks.joined().reduce(0) { $0 + $1.count }
    }

    /// One line of encoding, one of decoding. Throws where a sample is not what it was, bit for bit.
    func lines(_ bounds: RunBounds) throws -> [ResultLine] {
        let encoded = chunks.map(Chunk.encode)
        try check(encoded)
        let byteCount = encoded.reduce(0) { $0 + $1.count }
        let encoding = Measurement.take(bounds) {
            let written = chunks.reduce(0) { $0 + Chunk.encode($1).count }
            precondition(written == byteCount, "the same samples, other bytes")
        }
        let decoding = try Measurement.take(bounds) {
            var read = 0
            for bytes in encoded {
                let chunk = try Chunk(bytes)
                for slot in 0..<chunk.slotCount { read += try chunk.column(slot: slot).count }
            }
            precondition(read == sampleCount, "the same bytes, other samples")
        }
        return [("codec encode", encoding), ("codec decode", decoding)].map { kernel, measurement in
            var line = ResultLine(kernel: kernel, name: kind.rawValue)
            line.add(measurement, samples: sampleCount)
            line.add("bytes_per_sample", Double(byteCount) / Double(sampleCount))
            return line
        }
    }

    private func check(_ encoded: [[UInt8]]) throws {
        for (columns, bytes) in zip(chunks, encoded) {
            let chunk = try Chunk(bytes)
            guard chunk.slotCount == columns.count else { throw RoundTripFailure(kind: kind) }
            for (slot, column) in columns.enumerated() {
                let read = try chunk.column(slot: slot)
                guard read.timestamps == column.timestamps,
                    read.values.map(\.bitPattern) == column.values.map(\.bitPattern),
                    read.histograms == column.histograms
                else { throw RoundTripFailure(kind: kind) }
            }
        }
    }
}
