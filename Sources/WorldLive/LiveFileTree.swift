import Glibc
package import World

/// The machine's files. Creates files with mode 0600 and directories with 0700; every descriptor is closed on exec.
package struct LiveFileTree: WorldFileTree {
    package init() {}

    package func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        switch mode {
        // Not blocking: a pipe that nobody writes to would be waited for without end. A read of one is ESPIPE.
        case .read: try descriptor(path, O_RDONLY | O_NONBLOCK)
        case .readWrite: try descriptor(path, O_RDWR)
        case .createNew: try descriptor(path, O_RDWR | O_CREAT | O_EXCL)
        }
    }

    package func lock(_ path: String) throws(FileError) -> any WorldFile {
        let file = try descriptor(path, O_RDWR | O_CREAT)
        do {
            try file.lock()
        } catch {
            file.close()
            throw error
        }
        return file
    }

    package func list(_ path: String) throws(FileError) -> [String] {
        guard let directory = opendir(path) else { throw error("opendir", path) }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else {
                guard errno == 0 else { throw error("readdir", path) }
                return names
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
    }

    package func status(_ path: String) throws(FileError) -> FileStatus {
        var facts = stat()
        guard stat(path, &facts) == 0 else { throw error("stat", path) }
        return FileStatus(facts)
    }

    package func rename(_ from: String, to: String) throws(FileError) {
        guard Glibc.rename(from, to) == 0 else { throw error("rename", from) }
    }

    package func remove(_ path: String) throws(FileError) {
        guard Glibc.remove(path) == 0 else { throw error("remove", path) }
    }

    package func makeDirectory(_ path: String) throws(FileError) {
        var made = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            made += (made.isEmpty || made == "/" ? "" : "/") + part
            guard mkdir(made, 0o700) != 0 else { continue }
            let reason = errno
            let isThere = (try? status(made))?.isDirectory ?? false
            guard isThere else {
                throw FileError(operation: "mkdir", path: made, errno: reason)
            }
        }
    }

    package func synchronizeDirectory(_ path: String) throws(FileError) {
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw error("open", path) }
        defer { _ = Glibc.close(number) }
        guard fsync(number) == 0 else { throw error("fsync", path) }
    }

    package func readLink(_ path: String) throws(FileError) -> String {
        var length = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, filled in
            length = buffer.withMemoryRebound(to: CChar.self) {
                $0.baseAddress.map { readlink(path, $0, Int(PATH_MAX)) } ?? -1
            }
            filled = max(0, length)
        }
        guard length >= 0 else { throw error("readlink", path) }
        return String(decoding: bytes, as: UTF8.self)
    }

    package func freeBytes(_ path: String) throws(FileError) -> Int64 {
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { throw error("statvfs", path) }
        return Int64(facts.f_bavail) * Int64(facts.f_frsize)
    }

    private func descriptor(_ path: String, _ flags: Int32) throws(FileError) -> LiveFile {
        while true {
            let number = Glibc.open(path, flags | O_CLOEXEC, 0o600)
            if number >= 0 { return LiveFile(descriptor: number, path: path) }
            guard errno == EINTR else { throw error("open", path) }
        }
    }

    private func error(_ operation: String, _ path: String) -> FileError {
        FileError(operation: operation, path: path, errno: errno)
    }
}
