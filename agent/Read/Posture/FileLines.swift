import World

/// The lines of a file of any size, read by the piece, empty lines too.
struct FileLines {
    /// Bytes of one piece.
    static let pieceBytes = 64 * 1_024
    /// Bytes of one line.
    static let lineBytesMax = 1 << 20

    /// Calls `body` with each line, without its end; the last one need not have one. Memory: a piece and a line. Throws
    /// EFBIG past `bytesMax` or a line's limit. The number of bytes.
    static func forEach(
        _ file: any WorldFile, _ path: String, bytesMax: Int,
        _ body: (ArraySlice<UInt8>) -> Void
    ) throws(FileError) -> Int {
        var (offset, rest) = (0, [UInt8]())
        while true {
            let piece = try file.read(at: Int64(offset), count: pieceBytes)
            offset += piece.count
            guard offset <= bytesMax, rest.count <= lineBytesMax else {
                throw FileError(operation: "read", path: path, errno: 27)
            }
            var start = 0
            while let end = piece[start...].firstIndex(of: 10) {
                if rest.isEmpty {
                    body(piece[start..<end])
                } else {
                    rest += piece[start..<end]
                    body(rest[...])
                    rest = []
                }
                start = end + 1
            }
            rest += piece[start...]
            guard piece.count == pieceBytes else { break }
        }
        if !rest.isEmpty { body(rest[...]) }
        return offset
    }
}
