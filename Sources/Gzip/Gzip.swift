import CZlib

/// Why bytes were not compressed or decompressed.
package enum GzipError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes are no gzip members, or are cut short.
    case malformed
    /// They decompress to more than `max` bytes.
    case tooLong(max: Int)
    /// zlib gave up; the code is its own (`Z_MEM_ERROR`, …).
    case failed(Int32)

    package var description: String {
        switch self {
        case .malformed: "the bytes are not gzip, or are cut short"
        case .tooLong(let max): "the content decompresses to more than \(max) bytes"
        case .failed(let code): "zlib gave up with code \(code)"
        }
    }
}

/// gzip. Source: RFC 1952; zlib does the work.
package enum Gzip {
    /// Windows of 32 KiB with gzip's own header and trailer. Source: zlib.h, `deflateInit2`.
    static let windowBits: Int32 = 15 + 16
    /// Bytes by which output grows.
    static let stepBytes = 64 * 1024
    /// Bytes of one call.
    static let inputBytesMax = 1 << 30

    /// `bytes` as one gzip member. `level`: 1 (fast) to 9 (small).
    package static func compress(_ bytes: [UInt8], level: Int32 = 1) throws(GzipError) -> [UInt8] {
        precondition((1...9).contains(level), "no level of compression")
        var stream = z_stream()
        let opened = deflateInit2_(
            &stream, level, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard opened == Z_OK else { throw .failed(opened) }
        defer { deflateEnd(&stream) }
        // Enough for any content, so that one call does it.
        let bound = Int(deflateBound(&stream, UInt(bytes.count)))
        var code = Z_OK
        let output = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            bytes.withUnsafeBufferPointer { input in
                stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(bound)
                code = deflate(&stream, Z_FINISH)
                count = bound - Int(stream.avail_out)
            }
        }
        guard code == Z_STREAM_END else { throw .failed(code) }
        return output
    }

    /// The content of the gzip members in `bytes`, at most `bytesMax` long. Throws `malformed`, `tooLong`, `failed`.
    package static func decompress(
        _ bytes: [UInt8], bytesMax: Int
    ) throws(GzipError) -> [UInt8] {
        try decompress(bytes, bytesMax: bytesMax, windowBits: windowBits)
    }

    /// The content of `bytes`, which are deflate's blocks alone, at most `bytesMax` long. Source: RFC 1951. Throws
    /// `malformed`, `tooLong`, `failed`.
    package static func decompressDeflate(
        _ bytes: [UInt8], bytesMax: Int
    ) throws(GzipError) -> [UInt8] {
        try decompress(bytes, bytesMax: bytesMax, windowBits: -15)
    }

    private static func decompress(
        _ bytes: [UInt8], bytesMax: Int, windowBits: Int32
    ) throws(GzipError) -> [UInt8] {
        var stream = z_stream()
        let opened = inflateInit2_(
            &stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard opened == Z_OK else { throw .failed(opened) }
        defer { inflateEnd(&stream) }
        var output: [UInt8] = []
        var offset = 0
        while true {
            let (piece, code) = step(&stream, bytes, &offset)
            guard output.count + piece.count <= bytesMax else { throw .tooLong(max: bytesMax) }
            output += piece
            switch code {
            case Z_STREAM_END where offset == bytes.count: return output
            case Z_STREAM_END:
                // Another member follows.
                guard inflateReset(&stream) == Z_OK else { throw .malformed }
            case Z_OK: continue
            case Z_MEM_ERROR: throw .failed(code)
            default: throw .malformed
            }
        }
    }

    private static func step(
        _ stream: inout z_stream, _ bytes: [UInt8], _ offset: inout Int
    ) -> (piece: [UInt8], code: Int32) {
        var code = Z_OK
        let piece = [UInt8](unsafeUninitializedCapacity: stepBytes) { output, count in
            bytes.withUnsafeBufferPointer { input in
                let rest = min(input.count - offset, Int(UInt32.max))
                stream.next_in = input.baseAddress.map {
                    UnsafeMutablePointer(mutating: $0 + offset)
                }
                stream.avail_in = UInt32(rest)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(stepBytes)
                code = inflate(&stream, Z_NO_FLUSH)
                count = stepBytes - Int(stream.avail_out)
                offset += rest - Int(stream.avail_in)
            }
        }
        return (piece, code)
    }
}
