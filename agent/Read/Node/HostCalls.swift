import CHost
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

/// How the kernel steers the clock, what `adjtimex` says when it is asked to change nothing.
package struct ClockAdjustment: Hashable, Sendable {
    /// `TIME_OK` (0) to `TIME_ERROR` (5).
    package var state: Int32
    /// `STA_…` bits; `STA_NANO` (0x2000) says that `offset`, `jitter` and the time are in nanoseconds.
    package var status: Int32
    /// Microseconds, or nanoseconds.
    package var offset: Int
    /// Parts per million, scaled by 65,536.
    package var frequency: Int
    /// Microseconds.
    package var maxError: Int
    package var estimatedError: Int
    package var loopTimeConstant: Int
    /// Microseconds between clock ticks.
    package var tick: Int
    /// Parts per million, scaled by 65,536.
    package var ppsFrequency: Int
    /// Microseconds, or nanoseconds.
    package var ppsJitter: Int
    /// As a power of two of seconds.
    package var ppsShift: Int32
    /// Parts per million, scaled by 65,536.
    package var ppsStability: Int
    package var ppsJitterExceeded: Int
    package var ppsCalibrations: Int
    package var ppsErrors: Int
    package var ppsStabilityExceeded: Int
    /// Seconds between TAI and UTC.
    package var taiOffset: Int32

    package init() {
        (state, status, offset, frequency, maxError, estimatedError) = (0, 0, 0, 0, 0, 0)
        (loopTimeConstant, tick, ppsFrequency, ppsJitter, ppsShift) = (0, 0, 0, 0, 0)
        (ppsStability, ppsJitterExceeded, ppsCalibrations, ppsErrors) = (0, 0, 0, 0)
        (ppsStabilityExceeded, taiOffset) = (0, 0)
    }
}

/// The system calls of node readers that are no file reads, as a seam for tests.
package protocol HostCalls: Sendable {
    /// `statvfs`; hangs while a network file system's server is away.
    func fileSystem(_ path: String) throws(ReadError) -> FileSystemStatistics
    func identity() throws(ReadError) -> HostIdentity
    /// The local zone's name and its offset from UTC in seconds at `time`.
    func zone(at time: TimestampNS) -> (name: String, offsetSeconds: Int)
    /// `adjtimex` with no mode; needs no capability.
    func clockAdjustment() throws(ReadError) -> ClockAdjustment
    /// The sockets of TCP over IPv4 and IPv6.
    func tcpCounts() throws(ReadError) -> TCPCounts
    /// The ports of TCP on which a program listens at a loopback or at every address, over IPv4 or IPv6.
    func listeningPorts() throws(ReadError) -> Set<UInt16>
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

    package func clockAdjustment() throws(ReadError) -> ClockAdjustment {
        var facts = timex()
        let state = petrel_adjtimex(&facts)
        guard state >= 0 else { throw .system(operation: "adjtimex", errno: errno) }
        var clock = ClockAdjustment()
        clock.state = state
        clock.status = facts.status
        clock.offset = facts.offset
        clock.frequency = facts.freq
        clock.maxError = facts.maxerror
        clock.estimatedError = facts.esterror
        clock.loopTimeConstant = facts.constant
        clock.tick = facts.tick
        clock.ppsFrequency = facts.ppsfreq
        clock.ppsJitter = facts.jitter
        clock.ppsShift = facts.shift
        clock.ppsStability = facts.stabil
        clock.ppsJitterExceeded = facts.jitcnt
        clock.ppsCalibrations = facts.calcnt
        clock.ppsErrors = facts.errcnt
        clock.ppsStabilityExceeded = facts.stbcnt
        clock.taiOffset = facts.tai
        return clock
    }

    package func tcpCounts() throws(ReadError) -> TCPCounts { try SocketDiagnostics.tcpCounts() }

    package func listeningPorts() throws(ReadError) -> Set<UInt16> {
        try SocketDiagnostics.listeningPorts()
    }

    /// The text of a fixed array of C characters, up to its zero.
    private func text<Characters>(of characters: Characters) -> String {
        withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
