import AgentHelper
import Model
import World

/// A host of files by path; folders follow from them.
struct FakeHost: WorldFileTree {
    var files: [String: String] = [:]
    /// Paths that exist and can't be read.
    var denied: Set<String> = []

    private final class Content: WorldFile {
        let bytes: [UInt8]
        init(_ text: String) { bytes = Array(text.utf8) }
        func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
            Array(bytes.dropFirst(Int(offset)).prefix(count))
        }
        func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) { throw readOnly }
        func synchronize() throws(FileError) { throw readOnly }
        func truncate(to size: Int64) throws(FileError) { throw readOnly }
        func allocate(size: Int64) throws(FileError) { throw readOnly }
        func status() throws(FileError) -> FileStatus { throw readOnly }
        func close() {}
        private var readOnly: FileError { FileError(operation: "write", path: "", errno: 30) }
    }

    private func fail(_ operation: String, _ path: String, _ errno: Int32) -> FileError {
        FileError(operation: operation, path: path, errno: errno)
    }

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        guard !denied.contains(path) else { throw fail("open", path, 13) }
        guard let text = files[path] else { throw fail("open", path, 2) }
        return Content(text)
    }

    func list(_ path: String) throws(FileError) -> [String] {
        guard !denied.contains(path) else { throw fail("opendir", path, 13) }
        let folder = path == "/" ? path : path + "/"
        let below = (Array(files.keys) + denied).filter { $0.hasPrefix(folder) }
        guard !below.isEmpty else { throw fail("opendir", path, 2) }
        return Set(below.compactMap { $0.dropFirst(folder.count).split(separator: "/").first })
            .map(String.init)
    }

    func status(_ path: String) throws(FileError) -> FileStatus {
        guard let text = files[path] else { throw fail("stat", path, 2) }
        return FileStatus(
            identity: FileIdentity(device: 1, inode: 1), size: Int64(text.utf8.count),
            isDirectory: false)
    }
    func rename(_ from: String, to: String) throws(FileError) { throw fail("rename", from, 30) }
    func remove(_ path: String) throws(FileError) { throw fail("remove", path, 30) }
    func makeDirectory(_ path: String) throws(FileError) { throw fail("mkdir", path, 30) }
    func synchronizeDirectory(_ path: String) throws(FileError) { throw fail("fsync", path, 30) }
    func readLink(_ path: String) throws(FileError) -> String { throw fail("readlink", path, 38) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { throw fail("statvfs", path, 38) }
}

struct FixedClock: WorldClock {
    var now: TimestampNS { TimestampNS(1_700_000_000_000_000_000) }
    var monotonicNanoseconds: Int64 { 0 }
    func sleep(nanoseconds: Int64) async throws {}
}

/// Recorded on Linux 6.18: answers to NFT_MSG_GETCHAIN.
enum ChainDump {
    /// No chains.
    static let empty = bytes("140000000300020001000000b00e000000000000")
    /// `ip filter INPUT` (hook input, policy drop), `ip filter ufw-user-input`, `inet petrel fwd` (forward, accept).
    static let chains = bytes(
        """
        70000000030a020001000000b00e0000020000030b00010066696c74657200000a000300494e5055540000000c000200000000000000\
        0001140004000800010000000001080002000000000008000500000000000b00070066696c746572000008000a000000000108000600\
        0000000048000000030a020001000000b00e0000020000030b00010066696c7465720000130003007566772d757365722d696e707574\
        00000c000200000000000000000208000600000000006c000000030a020001000000b00e0000010000030b00010070657472656c0000\
        08000300667764000c00020000000000000000011400040008000100000000020800020000000000080005000000\
        00010b00070066696c746572000008000a00000000010800060000000000140000000300020001000000b00e000000000000
        """)

    /// An error message of `errno`.
    static func error(_ errno: UInt8) -> [UInt8] {
        [36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 &- errno, 255, 255, 255]
            + [UInt8](repeating: 0, count: 16)
    }

    static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = hexadecimal.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }
}
