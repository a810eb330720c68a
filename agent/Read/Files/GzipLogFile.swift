import Glibc
import Gzip
import Synchronization
import World

/// The content of a compressed rotated file as a file that is read from its start to its end. Going back further than
/// the last reading unpacks it anew from the start. Memory: zlib's, 64 KiB of input and up to two pieces of content.
///
/// What is no gzip, or ends in the middle, throws a `FileError` with the operation `gunzip`.
final class GzipLogFile: WorldFile {
    static let operation = "gunzip"
    private static let inputBytes = 64 * 1024

    private struct State {
        var reader: GzipReader?
        /// Compressed bytes that were fed.
        var fed: Int64 = 0
        /// Content that was unpacked and may be asked for, and where it begins.
        var window: [UInt8] = []
        var windowStart: Int64 = 0
        var isAtEnd = false
        /// What stands in the way of the rest.
        var failure: FileError?
        /// What the content begins with: heads are asked for again and again.
        var head: [UInt8] = []
    }

    private let file: any WorldFile
    private let path: String
    private let state = Mutex(State())

    /// Takes over `file`, the compressed one.
    init(_ file: any WorldFile, path: String) {
        self.file = file
        self.path = path
    }

    func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
        try state.withLock { (state) throws(FileError) in
            if offset == 0, count <= state.head.count { return Array(state.head.prefix(count)) }
            if state.reader == nil || offset < state.windowStart { try rewind(&state) }
            while !state.isAtEnd,
                state.windowStart + Int64(state.window.count) < offset + Int64(count)
            {
                do throws(FileError) {
                    try unpack(&state)
                } catch {
                    state.failure = error
                    // What was unpacked before it comes first.
                    guard offset < state.windowStart + Int64(state.window.count) else {
                        throw error
                    }
                    break
                }
                let passed = min(offset - state.windowStart, Int64(state.window.count))
                if passed > 0 {
                    state.window.removeFirst(Int(passed))
                    state.windowStart += passed
                }
            }
            let start = Int(offset - state.windowStart)
            guard start < state.window.count else { return [] }
            return Array(state.window[start..<min(start + count, state.window.count)])
        }
    }

    private func rewind(_ state: inout State) throws(FileError) {
        let head = state.head
        state = State()
        state.head = head
        do throws(GzipError) {
            state.reader = try GzipReader()
        } catch { throw failure() }
    }

    /// Adds the next piece of content to the window.
    private func unpack(_ state: inout State) throws(FileError) {
        if let failure = state.failure { throw failure }
        while let reader = state.reader {
            let piece: [UInt8]
            do throws(GzipError) {
                piece = try reader.next()
            } catch { throw failure() }
            if !piece.isEmpty {
                if state.windowStart + Int64(state.window.count) == Int64(state.head.count) {
                    state.head += piece.prefix(FileSignature.bytesMax - state.head.count)
                }
                state.window += piece
                return
            }
            let input = try file.read(at: state.fed, count: Self.inputBytes)
            guard !input.isEmpty else {
                guard reader.isAtMemberEnd, state.fed > 0 else { throw failure() }
                state.isAtEnd = true
                return
            }
            state.fed += Int64(input.count)
            reader.feed(input)
        }
    }

    /// Whether there are at least `count` bytes of content.
    func holds(_ count: Int64) throws(FileError) -> Bool {
        guard count > 0 else { return true }
        return try !read(at: count - 1, count: 1).isEmpty
    }

    private func failure() -> FileError {
        FileError(operation: Self.operation, path: path, errno: EBADMSG)
    }

    /// That of the compressed file.
    func status() throws(FileError) -> FileStatus { try file.status() }
    func close() { file.close() }

    func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) { throw readOnly("write") }
    func synchronize() throws(FileError) { throw readOnly("fdatasync") }
    func truncate(to size: Int64) throws(FileError) { throw readOnly("ftruncate") }
    func allocate(size: Int64) throws(FileError) { throw readOnly("posix_fallocate") }

    private func readOnly(_ operation: String) -> FileError {
        FileError(operation: operation, path: path, errno: EBADF)
    }
}
