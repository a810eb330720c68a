import Dispatch
import Glibc

/// Segments of the server's write-ahead log that are made before it needs them.
///
/// A server that finds no space for the next segment ends, whatever else it could still do. It takes a file of the
/// segment's name where there is one, zeros or an old segment's bytes, as it takes those that a checkpoint recycled; so
/// the next ones always stand there. Source: PostgreSQL 15, `XLogFileInit` and `InstallXLogFileSegment`.
struct SegmentsAhead: Sendable {
    /// So many stand ahead of the one that is written. `min_wal_size` of these and that one has checkpoints recycle as
    /// many when the disk is full.
    static let count: UInt64 = 6
    /// `initdb` without `--wal-segsize`; a cluster with others is left alone.
    static let byteCount = 16 << 20
    /// Segments whose names have the same first 16 digits.
    private static let perLog = UInt64(1) << 32 / UInt64(byteCount)

    /// The server's `pg_wal`.
    let folder: String
    let user: uid_t
    let group: gid_t
    /// With less space free than this many bytes none is made.
    let freeBytesMin: Int64

    /// One segment: its number is its place in the log in units of its size.
    struct Segment: Hashable, Sendable {
        var timeline: UInt32
        var number: UInt64

        init(timeline: UInt32, number: UInt64) {
            self.timeline = timeline
            self.number = number
        }

        /// 24 digits: timeline, number / 256, number % 256. Nil for another name.
        init?(name: String) {
            let digits = Array(name.utf8)
            guard digits.count == 24, let timeline = UInt32(name.prefix(8), radix: 16),
                let log = UInt64(name.dropFirst(8).prefix(8), radix: 16),
                let place = UInt64(name.suffix(8), radix: 16), place < SegmentsAhead.perLog
            else { return nil }
            self.init(timeline: timeline, number: log * SegmentsAhead.perLog + place)
        }

        var name: String {
            [UInt64(timeline), number / SegmentsAhead.perLog, number % SegmentsAhead.perLog].map {
                let text = String($0, radix: 16, uppercase: true)
                return String(repeating: "0", count: 8 - text.count) + text
            }.joined()
        }
    }

    /// Makes those that are missing while the disk has room for them. Where it has none, or refuses: the number of the
    /// segment that is written now, after which too few stand there; what fails is tried again the next time.
    ///
    /// The one that a running server needs next it makes itself: from PostgreSQL 16 on it would put its own over ours.
    func keep(isServerRunning: Bool) -> UInt64? {
        // Another user may own what the path leads to: everything below is of this folder, whatever becomes of the path.
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { return nil }
        defer { close(directory) }
        var facts = stat()
        guard fstat(directory, &facts) == 0, facts.st_uid == user else { return nil }
        removeDrafts(directory)
        guard let current = current(directory) else { return nil }
        for ahead in 1...Self.count {
            let next = Segment(timeline: current.timeline, number: current.number + ahead)
            guard fstatat(directory, next.name, &facts, AT_SYMLINK_NOFOLLOW) != 0 else { continue }
            guard let free = freeBytes(folder), free >= freeBytesMin else { return current.number }
            if ahead == 1, isServerRunning { continue }
            guard make(next.name, directory) else { return current.number }
        }
        return nil
    }

    /// Begins the name under which one is written before it gets its own; the process's number follows. What is left of
    /// one a server removes that starts after a crash.
    private static let draftPrefix = "xlogtemp.petrel."

    /// Removes drafts of processes that are gone.
    private func removeDrafts(_ directory: Int32) {
        for name in SmallFile.list(folder) where name.hasPrefix(Self.draftPrefix) {
            guard let process = Int32(name.dropFirst(Self.draftPrefix.count)), process > 0 else {
                continue
            }
            if process == getpid() || kill(process, 0) != 0 && errno == ESRCH {
                unlinkat(directory, name, 0)
            }
        }
    }

    /// The newest segment with content; nil where there is none, and where segments are of another size.
    ///
    /// Its first page tells the place in the log at which it was written: 16 bits of magic, 16 of flags, 32 of timeline,
    /// 64 of place. One that was recycled, or that we made, tells another. Source: PostgreSQL 15, `xlog_internal.h`.
    private func current(_ directory: Int32) -> Segment? {
        let segments = SmallFile.list(folder).compactMap { Segment(name: $0) }
        return segments.sorted {
            ($0.timeline, $0.number) > ($1.timeline, $1.number)
        }.first { segment in
            let file = openat(directory, segment.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
            guard file >= 0 else { return false }
            defer { close(file) }
            var facts = stat()
            var head: (UInt64, UInt64) = (0, 0)
            guard fstat(file, &facts) == 0, facts.st_size == off_t(Self.byteCount),
                pread(file, &head, 16, 0) == 16
            else { return false }
            return UInt32(truncatingIfNeeded: head.0 >> 32) == segment.timeline
                && head.1 == segment.number * UInt64(Self.byteCount)
        }
    }

    /// Writes zeros, to the disk, and names them: space that a file merely claims may need more when it is written. False
    /// where that failed. Where the server was faster, its own stays.
    private func make(_ name: String, _ directory: Int32) -> Bool {
        let draft = Self.draftPrefix + "\(getpid())"
        let file = openat(directory, draft, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard file >= 0 else { return false }
        defer {
            close(file)
            unlinkat(directory, draft, 0)
        }
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        guard fchown(file, user, group) == 0 else { return false }
        for _ in 0..<Self.byteCount / zeros.count {
            guard write(file, zeros, zeros.count) == zeros.count else { return false }
        }
        guard fsync(file) == 0,
            linkat(directory, draft, directory, name, 0) == 0 || errno == EEXIST
        else { return false }
        // The server does not sync the folder of a segment that it finds: its name would go with the power.
        guard fsync(directory) == 0 else {
            unlinkat(directory, name, 0)
            return false
        }
        return true
    }
}

/// Bytes that are free for everyone on a folder's disk; nil where that can't be told.
func freeBytes(_ folder: String) -> Int64? {
    var facts = statvfs()
    guard statvfs(folder, &facts) == 0 else { return nil }
    return Int64(facts.f_bavail) * Int64(facts.f_frsize)
}
