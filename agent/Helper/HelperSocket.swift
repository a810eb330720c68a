import Glibc

/// Why a helper has no socket to listen on.
package enum HelperSocketError: Error, Hashable, Sendable, CustomStringConvertible {
    case pathTooLong(path: String)
    /// Another process answers there.
    case inUse(path: String)
    /// A file that is no socket stands there.
    case notASocket(path: String)
    /// A descriptor handed over by systemd is no listening Unix stream socket.
    case notListening(descriptor: Int32)
    case failed(operation: String, path: String, errno: Int32)

    package var description: String {
        switch self {
        case .pathTooLong(let path):
            "\(path): a socket's path has at most \(HelperSocket.pathBytesMax) bytes; choose a shorter one with --listen"
        case .inUse(let path):
            "\(path): another process serves there, a helper perhaps; stop it or choose another path with --listen"
        case .notASocket(let path):
            "\(path): a file that is no socket stands there; remove it or choose another path with --listen"
        case .notListening(let descriptor):
            "descriptor \(descriptor), handed over by systemd, is no listening Unix stream socket: see the .socket unit"
        case .failed(let operation, let path, let errno):
            "\(path): \(operation): \(String(cString: strerror(errno)))"
        }
    }
}

/// Unix sockets on which helpers listen, made here or handed over by systemd.
package enum HelperSocket {
    /// `sun_path` of Linux less its closing zero.
    package static let pathBytesMax = 107
    private static let backlog: Int32 = 64
    /// Owner and group read and write: 0660.
    private static let mask: mode_t = 0o117

    /// Makes a listening socket of mode 0660, replacing one that nobody serves. `group` nil leaves the process' own group.
    ///
    /// Nothing follows a link: the folder may belong to a less privileged user. Changes the process' file mask for the
    /// moment of the call, so it belongs before the services' start.
    package static func listen(
        path: String, group: UInt32?
    ) throws(HelperSocketError) -> Int32 {
        guard 1...pathBytesMax ~= path.utf8.count else { throw .pathTooLong(path: path) }
        try clear(path)
        let descriptor = try make(path)
        do throws(HelperSocketError) {
            let before = umask(mask)
            defer { umask(before) }
            guard withAddress(path, { bind(descriptor, $0, $1) }) == 0 else {
                throw .failed(operation: "bind", path: path, errno: errno)
            }
            if let group {
                guard fchownat(AT_FDCWD, path, uid_t.max, group, AT_SYMLINK_NOFOLLOW) == 0 else {
                    throw .failed(operation: "chown to group \(group)", path: path, errno: errno)
                }
            }
            guard Glibc.listen(descriptor, backlog) == 0 else {
                throw .failed(operation: "listen", path: path, errno: errno)
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Checks a socket that systemd handed over and keeps it from child processes. Source: sd_listen_fds(3).
    package static func adopt(_ descriptor: Int32) throws(HelperSocketError) -> Int32 {
        guard option(descriptor, SO_DOMAIN) == AF_UNIX, option(descriptor, SO_ACCEPTCONN) == 1,
            option(descriptor, SO_TYPE) == streamType,
            fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
        else { throw .notListening(descriptor: descriptor) }
        return descriptor
    }

    /// Removes what `listen` made; a socket of another process that took its place stays.
    package static func remove(path: String) {
        guard (try? isServed(path)) == false else { return }
        unlink(path)
    }

    private static let streamType = Int32(SOCK_STREAM.rawValue)

    private static func make(_ path: String) throws(HelperSocketError) -> Int32 {
        let type = streamType | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else {
            throw .failed(operation: "socket", path: path, errno: errno)
        }
        return descriptor
    }

    /// Removes a socket that a dead process left.
    private static func clear(_ path: String) throws(HelperSocketError) {
        guard try !isServed(path) else { throw .inUse(path: path) }
        guard unlink(path) == 0 || errno == ENOENT else {
            throw .failed(operation: "remove", path: path, errno: errno)
        }
    }

    private static func isServed(_ path: String) throws(HelperSocketError) -> Bool {
        var facts = stat()
        guard lstat(path, &facts) == 0 else {
            guard errno == ENOENT else {
                throw .failed(operation: "stat", path: path, errno: errno)
            }
            return false
        }
        guard facts.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
        let descriptor = try make(path)
        defer { close(descriptor) }
        guard withAddress(path, { connect(descriptor, $0, $1) }) != 0 else { return true }
        return errno != ECONNREFUSED && errno != ENOENT
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    private static func option(_ descriptor: Int32, _ name: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 else { return nil }
        return value
    }
}
