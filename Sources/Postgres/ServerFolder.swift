import Glibc

/// A folder of the server's, opened once: its user may put anything at its path meanwhile, and what is done here is done in
/// the folder that was found.
struct ServerFolder: ~Copyable {
    private let descriptor: Int32
    private let user: uid_t
    private let group: gid_t

    /// Nil where it is not there, or belongs to another than `user`.
    init?(_ path: String, user: uid_t, group: gid_t) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0, facts.st_uid == user else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
        self.user = user
        self.group = group
    }

    deinit { close(descriptor) }

    var names: [String] { SmallFile.list("/proc/self/fd/\(descriptor)") }

    /// Bytes that are free for everyone on its disk; nil where that can't be told.
    var freeBytes: Int64? { DiskReserve.freeBytes("/proc/self/fd/\(descriptor)") }

    func has(_ name: String) -> Bool {
        var facts = stat()
        return fstatat(descriptor, name, &facts, AT_SYMLINK_NOFOLLOW) == 0
    }

    /// Opens a file for `flags` (`O_RDONLY`, `O_RDWR`), and closes it after `body`; nil where it can't be opened.
    func with<T>(
        _ name: String, _ flags: Int32, mode: mode_t = 0, _ body: (Int32) -> T
    ) -> T? {
        let file = openat(descriptor, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return body(file)
    }

    /// Makes a file of the server's, mode 0600, that `fill` has filled when it gets its name, and sees to it that both are on
    /// the disk. False where that failed; one that is there already stays as it is.
    func make(_ name: String, _ fill: (Int32) -> Bool) -> Bool {
        let draft = Self.draftPrefix + "\(getpid())"
        let isMade = with(draft, O_CREAT | O_EXCL | O_WRONLY, mode: 0o600) { file in
            fchown(file, user, group) == 0 && fill(file) && fsync(file) == 0
                && (linkat(descriptor, draft, descriptor, name, 0) == 0 || errno == EEXIST)
        }
        guard let isMade else { return false }
        // Its user does not sync the folder of a file that it finds: a name that is not on the disk would go with the power.
        // What has its name stays in any case, for it may be in use.
        let isDurable = isMade && fsync(descriptor) == 0
        if isDurable || !isMade { unlinkat(descriptor, draft, 0) }
        return isDurable
    }

    /// Begins the name under which a file is written before it gets its own; the process's number follows. In the folder of
    /// the log a server removes what is left of them when it starts after a crash.
    private static let draftPrefix = "xlogtemp.petrel."

    /// Removes what processes that are gone left unfinished.
    func removeDrafts() {
        for name in names where name.hasPrefix(Self.draftPrefix) {
            guard let process = Int32(name.dropFirst(Self.draftPrefix.count)), process > 0 else {
                continue
            }
            // What it was the draft of may have its name since.
            if process == getpid() || kill(process, 0) != 0 && errno == ESRCH,
                fsync(descriptor) == 0
            {
                unlinkat(descriptor, name, 0)
            }
        }
    }
}
