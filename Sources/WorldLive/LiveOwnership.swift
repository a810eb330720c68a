import Glibc
package import World

extension LiveFileTree: OwnedFileTree {
    package func ownership(_ path: String) throws(FileError) -> FileOwnership {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            throw FileError(operation: "stat", path: path, errno: errno)
        }
        return FileOwnership(
            user: facts.st_uid, group: facts.st_gid, mode: facts.st_mode & 0o7777)
    }

    package func setOwnership(_ path: String, _ ownership: FileOwnership) throws(FileError) {
        guard chown(path, ownership.user, ownership.group) == 0 else {
            throw FileError(operation: "chown", path: path, errno: errno)
        }
        guard chmod(path, ownership.mode) == 0 else {
            throw FileError(operation: "chmod", path: path, errno: errno)
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
