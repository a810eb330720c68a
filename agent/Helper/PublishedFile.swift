import Glibc

/// Why a file could not be published.
package struct PublishError: Error, Hashable, Sendable, CustomStringConvertible {
    package var operation: String
    package var path: String
    package var errno: Int32

    package var description: String {
        let remedy =
            switch errno {
            case ENOENT: "; the folder must exist (systemd-tmpfiles --create makes /run/petrel)"
            case EACCES, EPERM:
                "; the folder must be writable for this user, and the group one of this process' own"
            default: ""
            }
        return "\(path): \(operation): \(String(cString: strerror(errno)))\(remedy)"
    }
}

/// A file that others read and that is always whole: written beside its place and renamed into it.
package enum PublishedFile {
    /// Replaces `path` with `bytes`, mode 0640, of `group` (nil: the process' own).
    ///
    /// Owner and mode are set through the descriptor of a file that this call made: the folder may belong to a less
    /// privileged user, who could put a link in the file's place meanwhile. Not synchronized: it is of the moment.
    package static func write(
        _ bytes: [UInt8], to path: String, group: UInt32?
    ) throws(PublishError) {
        let draft = path + ".new"
        // A link or file that somebody left there goes, whatever it points to stays.
        unlink(draft)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let descriptor = open(draft, flags, 0o600)
        guard descriptor >= 0 else {
            throw PublishError(operation: "create", path: draft, errno: errno)
        }
        do throws(PublishError) {
            defer { close(descriptor) }
            try fill(descriptor, bytes, draft)
            try own(descriptor, group, draft)
            guard Glibc.rename(draft, path) == 0 else {
                throw PublishError(operation: "rename", path: path, errno: errno)
            }
        } catch {
            unlink(draft)
            throw error
        }
    }

    private static func fill(
        _ descriptor: Int32, _ bytes: [UInt8], _ path: String
    ) throws(PublishError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else {
                throw PublishError(operation: "write", path: path, errno: errno)
            }
            rest = rest.dropFirst(max(count, 0))
        }
    }

    /// Changes the group only where it is another: without CAP_CHOWN even that much is refused.
    private static func own(
        _ descriptor: Int32, _ group: UInt32?, _ path: String
    ) throws(PublishError) {
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else {
            throw PublishError(operation: "stat", path: path, errno: errno)
        }
        if let group, facts.st_gid != group, fchown(descriptor, uid_t.max, group) != 0 {
            throw PublishError(operation: "change the group", path: path, errno: errno)
        }
        guard fchmod(descriptor, 0o640) == 0 else {
            throw PublishError(operation: "change the mode", path: path, errno: errno)
        }
    }
}
