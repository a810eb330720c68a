internal import CSnappy

/// Snappy's block format. Source: google/snappy `format_description.txt`.
package enum SnappyBlock {
    /// What `bytes` were before compression, at most `bytesMax`. Throws `notSnappy` and `tooLong`; memory is taken only
    /// once the length is known to be allowed.
    package static func decompress(
        _ bytes: [UInt8], bytesMax: Int
    ) throws(RemoteWriteError) -> [UInt8] {
        let length = try decompressedCount(bytes)
        guard length <= bytesMax else { throw .tooLong(bytes: length, max: bytesMax) }
        var isSound = false
        let result = [UInt8](unsafeUninitializedCapacity: max(length, 1)) { buffer, initialized in
            var written = length
            isSound = bytes.withUnsafeBytes { source in
                snappy_uncompress(
                    source.baseAddress?.assumingMemoryBound(to: CChar.self), source.count,
                    UnsafeMutableRawPointer(buffer.baseAddress)?
                        .assumingMemoryBound(to: CChar.self), &written) == SNAPPY_OK
            }
            isSound = isSound && written == length
            initialized = isSound ? length : 0
        }
        guard isSound else { throw .notSnappy }
        return result
    }

    /// The length that the block says it has decompressed. Throws `notSnappy`.
    package static func decompressedCount(_ bytes: [UInt8]) throws(RemoteWriteError) -> Int {
        var length = 0
        let isKnown = bytes.withUnsafeBytes { source in
            snappy_uncompressed_length(
                source.baseAddress?.assumingMemoryBound(to: CChar.self), source.count, &length)
                == SNAPPY_OK
        }
        guard isKnown, length >= 0 else { throw .notSnappy }
        return length
    }

    /// `bytes` as one block.
    package static func compress(_ bytes: [UInt8]) -> [UInt8] {
        let capacity = snappy_max_compressed_length(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
            var written = capacity
            let status = bytes.withUnsafeBytes { source in
                snappy_compress(
                    source.baseAddress?.assumingMemoryBound(to: CChar.self), source.count,
                    UnsafeMutableRawPointer(buffer.baseAddress)?
                        .assumingMemoryBound(to: CChar.self), &written)
            }
            precondition(status == SNAPPY_OK, "a block larger than Snappy says it can be")
            initialized = written
        }
    }
}
