import Glibc
import Model
import World

/// The real files, read only: what the fixtures' tests read through.
struct PosixTree: WorldFileTree {
    final class File: WorldFile {
        let descriptor: Int32
        let path: String
        init(_ descriptor: Int32, _ path: String) {
            self.descriptor = descriptor
            self.path = path
        }
        func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            var filled = 0
            while filled < count {
                let got = bytes.withUnsafeMutableBytes {
                    pread(
                        descriptor, $0.baseAddress! + filled, count - filled, off_t(offset) + filled
                    )
                }
                guard got >= 0 else { throw failure("read") }
                guard got > 0 else { break }
                filled += got
            }
            return Array(bytes.prefix(filled))
        }
        func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) { throw failure("write") }
        func synchronize() throws(FileError) { throw failure("synchronize") }
        func truncate(to size: Int64) throws(FileError) { throw failure("truncate") }
        func allocate(size: Int64) throws(FileError) { throw failure("allocate") }
        func status() throws(FileError) -> FileStatus {
            var facts = stat()
            guard fstat(descriptor, &facts) == 0 else { throw failure("stat") }
            return PosixTree.status(facts)
        }
        func close() { _ = Glibc.close(descriptor) }
        private func failure(_ operation: String) -> FileError {
            FileError(operation: operation, path: path, errno: errno)
        }
    }

    static func status(_ facts: stat) -> FileStatus {
        FileStatus(
            identity: FileIdentity(device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino)),
            size: Int64(facts.st_size), isDirectory: facts.st_mode & S_IFMT == S_IFDIR,
            modified: time(facts.st_mtim))
    }

    /// As of the last time that there is, from the year 2262 on.
    private static func time(_ time: timespec) -> TimestampNS {
        let (scaled, isOver) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        guard !isOver else { return TimestampNS(time.tv_sec < 0 ? .min : .max) }
        return TimestampNS(scaled).advanced(byNanoseconds: Int64(time.tv_nsec))
    }

    private func failure(_ operation: String, _ path: String) -> FileError {
        FileError(operation: operation, path: path, errno: errno)
    }
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        return File(descriptor, path)
    }
    func list(_ path: String) throws(FileError) -> [String] {
        guard let folder = opendir(path) else { throw failure("list", path) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
    func status(_ path: String) throws(FileError) -> FileStatus {
        var facts = stat()
        guard stat(path, &facts) == 0 else { throw failure("stat", path) }
        return Self.status(facts)
    }
    func rename(_ from: String, to: String) throws(FileError) { throw failure("rename", from) }
    func remove(_ path: String) throws(FileError) { throw failure("remove", path) }
    func makeDirectory(_ path: String) throws(FileError) { throw failure("mkdir", path) }
    func synchronizeDirectory(_ path: String) throws(FileError) { throw failure("sync", path) }
    func readLink(_ path: String) throws(FileError) -> String { throw failure("readlink", path) }
    func freeBytes(_ path: String) throws(FileError) -> Int64 { throw failure("statvfs", path) }
}
