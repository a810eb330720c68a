import Glibc

/// A file without content that takes space on a disk, to be given up when the disk is full: a server without any space
/// can't start, and what could free some can't run.
struct DiskReserve: Sendable {
    static let byteCount: Int64 = 48 << 20
    /// It is made where at least so many times its size are free.
    private static let shareMin: Int64 = 8
    /// With less the disk counts as full.
    private static let fullBelow: Int64 = 32 << 20

    let path: String

    /// Takes the space where the file is not there and the disk has room; what fails is tried again the next time.
    func keep() {
        guard SmallFile.status(path) == nil, hasRoom else { return }
        let file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard file >= 0 else { return }
        defer { close(file) }
        if posix_fallocate(file, 0, off_t(Self.byteCount)) != 0 { unlink(path) }
    }

    /// Whether the disk has far more room than the reserve takes.
    private var hasRoom: Bool { (free ?? 0) >= Self.byteCount * Self.shareMin }

    /// Gives the space back where the disk is full; false where it is not, and where there is nothing to give.
    func giveUp() -> Bool {
        guard let free, free < Self.fullBelow else { return false }
        return unlink(path) == 0
    }

    private var free: Int64? {
        Self.freeBytes(path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ".")
    }

    /// Bytes that are free for everyone on a folder's disk; nil where that can't be told.
    static func freeBytes(_ folder: String) -> Int64? {
        var facts = statvfs()
        guard statvfs(folder, &facts) == 0 else { return nil }
        return Int64(facts.f_bavail) * Int64(facts.f_frsize)
    }
}
