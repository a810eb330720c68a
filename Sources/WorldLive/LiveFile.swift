import Glibc
import Model
import Synchronization
package import World

/// An open descriptor. Safe to call from several threads but for `close`, which its owner calls last.
package final class LiveFile: WorldFile {
    private let path: String
    private let descriptor: Mutex<Int32>

    /// Takes over `descriptor`; `path` is for error messages alone.
    init(descriptor: Int32, path: String) {
        self.path = path
        self.descriptor = Mutex(descriptor)
    }

    deinit { close() }

    package func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
        try read(at: offset, count: count, isOnce: false)
    }

    package func readOnce(count: Int) throws(FileError) -> [UInt8] {
        try read(at: 0, count: count, isOnce: true)
    }

    /// In as many calls as it takes, or the first that is not broken off.
    private func read(
        at offset: Int64, count: Int, isOnce: Bool
    ) throws(FileError) -> [UInt8] {
        let number = descriptor.withLock { $0 }
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: max(0, count)) { buffer, filled in
            while filled < count, let start = buffer.baseAddress {
                let got = pread(number, start + filled, count - filled, off_t(offset) + filled)
                if got > 0 {
                    filled += got
                    guard !isOnce else { return }
                } else if got == 0 {
                    return
                } else if errno != EINTR {
                    failure = errno
                    return
                }
            }
        }
        guard failure == 0 else { throw error("read", failure) }
        return bytes
    }

    package func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) {
        let number = descriptor.withLock { $0 }
        let failure: Int32 = bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count, let start = buffer.baseAddress {
                let put = pwrite(number, start + done, buffer.count - done, off_t(offset) + done)
                if put > 0 {
                    done += put
                } else if put == 0 {
                    return EIO
                } else if errno != EINTR {
                    return errno
                }
            }
            return 0
        }
        guard failure == 0 else { throw error("write", failure) }
    }

    package func synchronize() throws(FileError) {
        try call("fdatasync") { fdatasync($0) }
    }

    package func truncate(to size: Int64) throws(FileError) {
        try call("ftruncate") { ftruncate($0, off_t(size)) }
    }

    package func allocate(size: Int64) throws(FileError) {
        let number = descriptor.withLock { $0 }
        var result: Int32 = EINTR
        while result == EINTR { result = posix_fallocate(number, 0, off_t(size)) }
        guard result == 0 else { throw error("posix_fallocate", result) }
    }

    package func status() throws(FileError) -> FileStatus {
        var facts = stat()
        try call("fstat") { fstat($0, &facts) }
        return FileStatus(facts)
    }

    package func close() {
        let number = descriptor.withLock { held in
            defer { held = -1 }
            return held
        }
        if number >= 0 { _ = Glibc.close(number) }
    }

    /// Takes an exclusive `flock`, which ends with the descriptor; EWOULDBLOCK where another open file has it.
    func lock() throws(FileError) {
        try call("flock") { flock($0, LOCK_EX | LOCK_NB) }
    }

    private func call(_ operation: String, _ body: (Int32) -> Int32) throws(FileError) {
        let number = descriptor.withLock { $0 }
        while body(number) != 0 {
            guard errno == EINTR, operation != "fdatasync" else { throw error(operation, errno) }
        }
    }

    private func error(_ operation: String, _ number: Int32) -> FileError {
        FileError(operation: operation, path: path, errno: number)
    }
}

extension FileStatus {
    init(_ facts: stat) {
        self.init(
            identity: FileIdentity(device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino)),
            size: Int64(facts.st_size), isDirectory: facts.st_mode & S_IFMT == S_IFDIR,
            modified: Self.time(facts.st_mtim))
    }

    /// The first or the last time that there is, where the file's is outside of them: anybody may set it to any year.
    private static func time(_ time: timespec) -> TimestampNS {
        let (scaled, isOver) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        guard !isOver else { return TimestampNS(time.tv_sec < 0 ? .min : .max) }
        return TimestampNS(scaled).advanced(byNanoseconds: Int64(time.tv_nsec))
    }
}
