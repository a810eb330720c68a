import Glibc
package import Model

/// Sizes of a mounted file system, in bytes and inodes.
package struct FileSystemStatistics: Hashable, Sendable {
    package var size: Double
    package var free: Double
    /// What an unprivileged process may still use.
    package var available: Double
    package var files: Double
    package var filesFree: Double
    package var isReadOnly: Bool

    package init(
        size: Double, free: Double, available: Double, files: Double, filesFree: Double,
        isReadOnly: Bool
    ) {
        self.size = size
        self.free = free
        self.available = available
        self.files = files
        self.filesFree = filesFree
        self.isReadOnly = isReadOnly
    }
}

/// What `uname` says.
package struct HostIdentity: Hashable, Sendable {
    package var system: String
    package var release: String
    package var version: String
    package var machine: String
    package var node: String
    package var domain: String

    package init(
        system: String, release: String, version: String, machine: String, node: String,
        domain: String
    ) {
        self.system = system
        self.release = release
        self.version = version
        self.machine = machine
        self.node = node
        self.domain = domain
    }
}

/// The system calls of node readers that are no file reads, as a seam for tests.
package protocol HostCalls: Sendable {
    /// `statvfs`; hangs while a network file system's server is away.
    func fileSystem(_ path: String) throws(ReadError) -> FileSystemStatistics
    func identity() throws(ReadError) -> HostIdentity
    /// The local zone's name and its offset from UTC in seconds at `time`.
    func zone(at time: TimestampNS) -> (name: String, offsetSeconds: Int)
}

/// The calls through glibc. They stand here and not in the world's protocols because no other target asks for them.
package struct GlibcHostCalls: HostCalls {
    package init() {}

    package func fileSystem(_ path: String) throws(ReadError) -> FileSystemStatistics {
        var facts = statvfs()
        var code: Int32
        repeat { code = statvfs(path, &facts) } while code != 0 && errno == EINTR
        guard code == 0 else { throw .system(operation: "statvfs \(path)", errno: errno) }
        let unit = Double(facts.f_frsize)
        return FileSystemStatistics(
            size: Double(facts.f_blocks) * unit, free: Double(facts.f_bfree) * unit,
            available: Double(facts.f_bavail) * unit, files: Double(facts.f_files),
            filesFree: Double(facts.f_ffree), isReadOnly: facts.f_flag & 1 != 0)
    }

    package func identity() throws(ReadError) -> HostIdentity {
        var facts = utsname()
        guard uname(&facts) == 0 else { throw .system(operation: "uname", errno: errno) }
        return HostIdentity(
            system: text(of: facts.sysname), release: text(of: facts.release),
            version: text(of: facts.version), machine: text(of: facts.machine),
            node: text(of: facts.nodename), domain: text(of: facts.__domainname))
    }

    package func zone(at time: TimestampNS) -> (name: String, offsetSeconds: Int) {
        var seconds = time_t(time.rawValue / 1_000_000_000)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil, let name = parts.tm_zone else {
            return ("UTC", 0)
        }
        return (String(cString: name), Int(parts.tm_gmtoff))
    }

    /// The text of a fixed array of C characters, up to its zero.
    private func text<Characters>(of characters: Characters) -> String {
        withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
