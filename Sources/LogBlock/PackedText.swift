internal import CZstd

/// The lines of a block of a day that is long over, in Zstandard's format: about half of what PostgreSQL's own packing
/// leaves, and for the collector alone to read.
package enum PackedText {
    /// From here on more time gives little: a core packs some 40 MB a second.
    package static let level: Int32 = 9
    /// Bytes of a text that is read; a block with one line of 256 KiB of any bytes has less.
    package static let textBytesMax = 64 << 20

    /// Throws `LogBlockError.badPacking`.
    package static func pack(_ text: [UInt8]) throws(LogBlockError) -> [UInt8] {
        let room = ZSTD_compressBound(text.count)
        var failed = false
        let packed = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
            let length = text.withUnsafeBytes {
                ZSTD_compress(buffer.baseAddress, room, $0.baseAddress, $0.count, level)
            }
            failed = ZSTD_isError(length) != 0
            count = failed ? 0 : length
        }
        guard !failed else { throw .badPacking }
        return packed
    }

    /// Throws `LogBlockError.badPacking` where the bytes are no whole frame, or one of a longer text than `textBytesMax`.
    package static func unpack(_ packed: [UInt8]) throws(LogBlockError) -> [UInt8] {
        let size = packed.withUnsafeBytes { ZSTD_getFrameContentSize($0.baseAddress, $0.count) }
        // Two codes for an unknown size and for no frame are the greatest numbers.
        guard size <= UInt64(textBytesMax) else { throw .badPacking }
        var isWhole = false
        let text = [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            let length = packed.withUnsafeBytes {
                ZSTD_decompress(buffer.baseAddress, Int(size), $0.baseAddress, $0.count)
            }
            isWhole = ZSTD_isError(length) == 0 && length == Int(size)
            count = isWhole ? length : 0
        }
        guard isWhole else { throw .badPacking }
        return text
    }
}
