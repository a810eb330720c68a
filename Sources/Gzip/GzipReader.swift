import CZlib

/// Decompresses gzip members of any length piece by piece over zlib, with about 48 KiB of memory and the pieces.
///
/// What it is fed is used up step by step, so that a content that was packed a thousandfold is never in memory at once.
/// Used by one task at a time.
package final class GzipReader {
    /// In one place for its life: zlib's state points back at it.
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private var input: [UInt8] = []
    private var used = 0
    private var isBetweenMembers = true

    /// Throws `failed` where there is no memory.
    package init() throws(GzipError) {
        stream.initialize(to: z_stream())
        let opened = inflateInit2_(
            stream, Gzip.windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard opened == Z_OK else { throw .failed(opened) }
    }

    deinit {
        // Of a stream that was not opened it takes no notice.
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// Whether the compressed bytes may end here: after a member, and before the first.
    package var isAtMemberEnd: Bool { isBetweenMembers && used == input.count }

    /// Hands over the next compressed bytes; what of the earlier ones is not used yet stays before them.
    package func feed(_ bytes: [UInt8]) {
        input.removeFirst(used)
        used = 0
        input += bytes
    }

    /// The next piece of the content, at most `Gzip.stepBytes`; empty where more must be fed first. Throws `malformed`
    /// where the bytes are no gzip, `failed` where there is no memory.
    package func next() throws(GzipError) -> [UInt8] {
        while true {
            if isBetweenMembers {
                guard used < input.count else { return [] }
                guard inflateReset(stream) == Z_OK else { throw .malformed }
                isBetweenMembers = false
            }
            let (piece, code) = step()
            switch code {
            case Z_STREAM_END: isBetweenMembers = true
            case Z_OK, Z_BUF_ERROR: break
            case Z_MEM_ERROR: throw .failed(code)
            // What stands before the damage comes first; zlib says the same of it at the next call.
            default: guard !piece.isEmpty else { throw .malformed }
            }
            if !piece.isEmpty { return piece }
            guard code == Z_STREAM_END || used < input.count && code == Z_OK else { return [] }
        }
    }

    private func step() -> (piece: [UInt8], code: Int32) {
        var code = Z_OK
        let piece = [UInt8](unsafeUninitializedCapacity: Gzip.stepBytes) { space, count in
            input.withUnsafeBufferPointer { input in
                let rest = min(input.count - used, Gzip.inputBytesMax)
                stream.pointee.next_in = input.baseAddress.map {
                    UnsafeMutablePointer(mutating: $0 + used)
                }
                stream.pointee.avail_in = UInt32(rest)
                stream.pointee.next_out = space.baseAddress
                stream.pointee.avail_out = UInt32(Gzip.stepBytes)
                code = inflate(stream, Z_NO_FLUSH)
                count = Gzip.stepBytes - Int(stream.pointee.avail_out)
                used += rest - Int(stream.pointee.avail_in)
            }
            stream.pointee.next_in = nil
        }
        return (piece, code)
    }
}
