import Glibc
package import World

extension LiveFileTree: OwnedFileTree {
    package func ownership(_ path: String) throws(FileError) -> FileOwnership {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            throw FileError(operation: "stat", path: path, errno: errno)
        }
        return FileOwnership(facts)
    }

    package func contentsAndOwnership(
        _ path: String, bytesMax: Int
    ) throws(FileError) -> (bytes: [UInt8], ownership: FileOwnership) {
        // Not blocking: what stands there may be a pipe that nobody writes to.
        let number = try Self.descriptor(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        let file = LiveFile(descriptor: number, path: path)
        defer { file.close() }
        var facts = stat()
        guard fstat(number, &facts) == 0 else {
            throw FileError(operation: "stat", path: path, errno: errno)
        }
        guard facts.st_mode & S_IFMT == S_IFREG else {
            throw FileError(operation: "read", path: path, errno: EINVAL)
        }
        return (try file.contents(path, bytesMax: bytesMax), FileOwnership(facts))
    }

    package func create(
        _ path: String, _ bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError) {
        let number = try Self.descriptor(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
        let file = LiveFile(descriptor: number, path: path)
        defer { file.close() }
        try file.write(bytes, at: 0)
        try Self.own(number, path, ownership)
    }

    package func makeFolder(_ path: String, _ ownership: FileOwnership) throws(FileError) {
        guard mkdir(path, 0o700) == 0 else {
            throw FileError(operation: "mkdir", path: path, errno: errno)
        }
        let number = try Self.descriptor(path, O_RDONLY | O_NOFOLLOW | O_DIRECTORY)
        defer { close(number) }
        try Self.own(number, path, ownership)
    }

    private static func descriptor(_ path: String, _ flags: Int32) throws(FileError) -> Int32 {
        let number = Glibc.open(path, flags | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw FileError(operation: "open", path: path, errno: errno) }
        return number
    }

    /// Owner first: a change of owner may take bits of the mode.
    private static func own(
        _ number: Int32, _ path: String, _ ownership: FileOwnership
    ) throws(FileError) {
        guard fchown(number, ownership.user, ownership.group) == 0 else {
            throw FileError(operation: "chown", path: path, errno: errno)
        }
        guard fchmod(number, ownership.mode & 0o777) == 0 else {
            throw FileError(operation: "chmod", path: path, errno: errno)
        }
        guard fsync(number) == 0 else {
            throw FileError(operation: "fsync", path: path, errno: errno)
        }
    }

    package func account(named name: String) -> UserAccount? {
        entry { getpwnam_r(name, $0, $1, $2, $3) }
    }

    package func account(number: UInt32) -> UserAccount? {
        entry { getpwuid_r(number, $0, $1, $2, $3) }
    }

    /// Bytes that one entry of the user database may take.
    private static let entryBytesMax = 64 * 1024

    private func entry(
        _ look: (
            UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
            UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
        ) -> Int32
    ) -> UserAccount? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: Self.entryBytesMax)
        return buffer.withUnsafeMutableBufferPointer { buffer -> UserAccount? in
            guard let start = buffer.baseAddress,
                look(&entry, start, buffer.count, &found) == 0, found != nil
            else { return nil }
            return UserAccount(
                name: String(cString: entry.pw_name), user: entry.pw_uid, group: entry.pw_gid)
        }
    }
}

extension FileOwnership {
    fileprivate init(_ facts: stat) {
        self.init(user: facts.st_uid, group: facts.st_gid, mode: facts.st_mode & 0o7777)
    }
}
