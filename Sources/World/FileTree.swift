package import Model

/// A failed file operation: what, on which path, and the system's errno.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    package var operation: String
    package var path: String
    package var errno: Int32

    package init(operation: String, path: String, errno: Int32) {
        self.operation = operation
        self.path = path
        self.errno = errno
    }

    package var description: String { "\(operation) \(path): errno \(errno)" }
}

/// Where a file is on its disk: the identity that survives a rename.
package struct FileIdentity: Hashable, Sendable {
    package var device: UInt64
    package var inode: UInt64

    package init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}

/// The facts of `stat` that Petrel uses.
package struct FileStatus: Hashable, Sendable {
    package var identity: FileIdentity
    /// Bytes.
    package var size: Int64
    package var isDirectory: Bool
    /// When the content was last changed; the epoch where a tree keeps no times.
    package var modified: TimestampNS

    package init(
        identity: FileIdentity, size: Int64, isDirectory: Bool,
        modified: TimestampNS = TimestampNS(0)
    ) {
        self.identity = identity
        self.size = size
        self.isDirectory = isDirectory
        self.modified = modified
    }
}

/// An open file. Calls block; a file belongs to one thread or lock at a time and is closed by `close`.
package protocol WorldFile: AnyObject, Sendable {
    /// Reads up to `count` bytes at `offset`; fewer at the end of the file, none past it. Retries EINTR.
    func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8]
    /// What one read of the start gives, up to `count` bytes. Where the kernel gives a file by the page, it isn't all.
    func readOnce(count: Int) throws(FileError) -> [UInt8]
    /// Writes all of `bytes` at `offset`, looping over short writes and EINTR.
    func write(_ bytes: [UInt8], at offset: Int64) throws(FileError)
    /// `fdatasync`. After an error the file is suspect: never retry it (PostgreSQL's fsyncgate, 2018).
    func synchronize() throws(FileError)
    func truncate(to size: Int64) throws(FileError)
    /// Reserves `size` bytes (`posix_fallocate`), so that a full disk shows here and not at a later write.
    func allocate(size: Int64) throws(FileError)
    func status() throws(FileError) -> FileStatus
    func close()
}

/// How `WorldFileTree.open` opens a file.
package enum FileMode: Sendable {
    case read
    case readWrite
    /// Creates the file with mode 0600; fails with EEXIST where it exists.
    case createNew
}

/// The files of a machine as a protocol, so that simulation can tear, fill and lose them.
package protocol WorldFileTree: Sendable {
    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile
    /// Names (not paths) of the entries of a directory, without `.` and `..`, in no order.
    func list(_ path: String) throws(FileError) -> [String]
    func status(_ path: String) throws(FileError) -> FileStatus
    func rename(_ from: String, to: String) throws(FileError)
    func remove(_ path: String) throws(FileError)
    /// Makes the directory and its missing parents with mode 0700.
    func makeDirectory(_ path: String) throws(FileError)
    /// `fsync` of a directory: makes creations, renames and removals in it durable.
    func synchronizeDirectory(_ path: String) throws(FileError)
    /// Opens (or creates, mode 0600) a file and takes an exclusive lock on it that ends when the file is closed or the
    /// process dies; EWOULDBLOCK (11) where another holds it. A tree without locks throws ENOTSUP (95).
    func lock(_ path: String) throws(FileError) -> any WorldFile
    /// The target of a symbolic link, as written.
    func readLink(_ path: String) throws(FileError) -> String
    /// Bytes that an unprivileged process may still write on the file system of `path`.
    func freeBytes(_ path: String) throws(FileError) -> Int64
}

extension WorldFileTree {
    package func lock(_ path: String) throws(FileError) -> any WorldFile {
        throw FileError(operation: "flock", path: path, errno: 95)
    }

    /// The whole content of a file, `/proc` files of size 0 included; EFBIG past `bytesMax`.
    package func contents(_ path: String, bytesMax: Int = 16 << 20) throws(FileError) -> [UInt8] {
        let file = try open(path, .read)
        defer { file.close() }
        return try file.contents(path, bytesMax: bytesMax)
    }

    /// The content, up to `bytesMax` bytes of it, of a file that the kernel gives in one piece, without a second read
    /// for its end: an attribute of sysfs, a parameter below `/proc/sys`, `/proc/<pid>/stat`.
    package func piece(_ path: String, bytesMax: Int = 4096) throws(FileError) -> [UInt8] {
        let file = try open(path, .read)
        defer { file.close() }
        return try file.readOnce(count: bytesMax)
    }
}

extension WorldFile {
    package func readOnce(count: Int) throws(FileError) -> [UInt8] {
        try read(at: 0, count: count)
    }

    /// The whole content, in steps up to one that is cut short; EFBIG past `bytesMax`. `path` is for the error alone.
    package func contents(_ path: String, bytesMax: Int) throws(FileError) -> [UInt8] {
        var bytes: [UInt8] = []
        var step = 16 * 1024
        while true {
            let chunk = try read(at: Int64(bytes.count), count: step)
            bytes += chunk
            guard bytes.count <= bytesMax else {
                throw FileError(operation: "read", path: path, errno: 27)
            }
            guard chunk.count == step else { return bytes }
            step = 64 * 1024
        }
    }
}
