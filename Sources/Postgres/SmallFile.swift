import Glibc

/// The few file operations that a private cluster needs outside of PostgreSQL's own programs.
enum SmallFile {
    /// The first `bytesMax` bytes as text; nil where the file can't be read.
    static func read(_ path: String, bytesMax: Int = 64 * 1024) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: bytesMax)
        var count = 0
        while count < bytesMax {
            let got = buffer.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress.map { $0 + count }, bytesMax - count)
            }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { break }
            count += got
        }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Replaces a file whole by one of `owner` (or of this process), mode 0600, or leaves it as it was.
    static func write(
        _ text: String, to path: String, owner: (user: uid_t, group: gid_t)? = nil
    ) throws(PostgresError) {
        let draft = path + ".new"
        unlink(draft)
        do throws(PostgresError) { try writeNew(text, to: draft, owner) } catch {
            unlink(draft)
            throw error
        }
        guard rename(draft, path) == 0 else {
            throw .cluster("cannot write \(path): \(errorText(errno))")
        }
    }

    private static func writeNew(
        _ text: String, to path: String, _ owner: (user: uid_t, group: gid_t)?
    ) throws(PostgresError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .cluster("cannot write \(path): \(errorText(errno))")
        }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count,
            owner.map({ fchown(descriptor, $0.user, $0.group) == 0 }) ?? true,
            fsync(descriptor) == 0
        else {
            throw .cluster("cannot write \(path): \(errorText(errno))")
        }
    }

    /// The entries of a directory; none where it can't be read.
    static func list(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    static func status(_ path: String) -> stat? {
        var facts = stat()
        return stat(path, &facts) == 0 ? facts : nil
    }

    static func makeDirectory(_ path: String, mode: mode_t) throws(PostgresError) {
        if let facts = status(path) {
            guard facts.st_mode & S_IFMT == S_IFDIR else {
                throw .cluster("\(path) is not a directory: move it away")
            }
            return
        }
        let parent = path.split(separator: "/").dropLast().joined(separator: "/")
        if !parent.isEmpty { try makeDirectory("/" + parent, mode: 0o755) }
        guard mkdir(path, mode) == 0 || errno == EEXIST else {
            throw .cluster("cannot make \(path): \(errorText(errno)); choose a writable --data-dir")
        }
    }
}

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
