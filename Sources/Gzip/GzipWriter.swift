import CZlib

/// Compresses a content of any length piece by piece into one gzip member, over zlib, with 256 KiB of memory.
///
/// Used by one task at a time.
package final class GzipWriter {
    /// In one place for its life: zlib's state points back at it.
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

    /// `level`: 1 (fast) to 9 (small). Throws `failed` where there is no memory.
    package init(level: Int32 = 1) throws(GzipError) {
        precondition((1...9).contains(level), "no level of compression")
        stream.initialize(to: z_stream())
        let opened = deflateInit2_(
            stream, level, Z_DEFLATED, Gzip.windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard opened == Z_OK else { throw .failed(opened) }
    }

    deinit {
        // Of a stream that was not opened it takes no notice.
        deflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// What there is to send of the content once `bytes` are added to it; often nothing. Not after `finish`.
    package func compress(_ bytes: [UInt8]) throws(GzipError) -> [UInt8] {
        var output: [UInt8] = []
        // zlib counts the bytes of a call in 32 bits.
        for start in Swift.stride(from: 0, to: bytes.count, by: Gzip.inputBytesMax) {
            let part = bytes[start..<min(start + Gzip.inputBytesMax, bytes.count)]
            output += try deflated(part, Z_NO_FLUSH)
        }
        return output
    }

    /// The end of the member.
    package func finish() throws(GzipError) -> [UInt8] { try deflated([], Z_FINISH) }

    private func deflated(
        _ bytes: ArraySlice<UInt8>, _ flush: Int32
    ) throws(GzipError) -> [UInt8] {
        var output: [UInt8] = []
        var code = Z_OK
        bytes.withUnsafeBufferPointer { input in
            stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            stream.pointee.avail_in = UInt32(input.count)
            repeat {
                let piece = [UInt8](unsafeUninitializedCapacity: Gzip.stepBytes) { space, count in
                    stream.pointee.next_out = space.baseAddress
                    stream.pointee.avail_out = UInt32(Gzip.stepBytes)
                    code = deflate(stream, flush)
                    count = Gzip.stepBytes - Int(stream.pointee.avail_out)
                }
                output += piece
                // All is taken in once there was room left.
            } while stream.pointee.avail_out == 0 && code == Z_OK
            stream.pointee.next_in = nil
        }
        // Where a call finds nothing left to do it says Z_BUF_ERROR, which is none.
        guard code == Z_STREAM_END || flush == Z_NO_FLUSH && (code == Z_OK || code == Z_BUF_ERROR)
        else { throw .failed(code) }
        return output
    }
}
