import Glibc
package import World

/// Where a service of this host listens.
package enum ServiceAddress: Hashable, Sendable, CustomStringConvertible {
    case unix(path: String)
    /// An IP address or `localhost`, and a port. No resolver is asked: it would keep its own time.
    case tcp(host: String, port: UInt16)

    package var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}

/// Why a service did not answer as it should.
package enum ServiceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Nobody listens, or the connection broke; `errno` of the call.
    case connection(ServiceAddress, operation: String, errno: Int32)
    /// The time was over before the answer was whole.
    case timeout(ServiceAddress, operation: String)
    /// The peer closed the connection.
    case closed(ServiceAddress)
    /// The service refuses: its own words, and its code where it has one.
    case refused(ServiceAddress, code: String, message: String)
    /// The answer is not what the protocol says, or too large.
    case malformed(ServiceAddress, detail: String)

    package var description: String {
        switch self {
        case .connection(let address, let operation, let errno):
            "\(address): \(operation): errno \(errno)"
        case .timeout(let address, let operation): "\(address): \(operation) took too long"
        case .closed(let address): "\(address): closed the connection"
        case .refused(let address, let code, let message):
            "\(address): \(code.isEmpty ? "" : code + ": ")\(message)"
        case .malformed(let address, let detail): "\(address): \(detail)"
        }
    }
}

extension ServiceError {
    /// Whether nobody is there: no socket, or one that somebody left behind, or a port where none listens.
    var isAbsence: Bool {
        guard case .connection(_, _, let errno) = self else { return false }
        return errno == ENOENT || errno == ECONNREFUSED
    }
}

/// A connection to a service for calls that block, with one deadline for all of them together: a service that accepts and
/// never answers costs its reader that time and no more. One thread at a time.
package final class ServiceSocket {
    package let address: ServiceAddress
    private let descriptor: Int32
    private let clock: any WorldClock
    /// Nanoseconds of the monotonic clock.
    private var deadline: Int64
    private var received: [UInt8] = []
    private var at = 0

    /// Connects within `milliseconds`.
    package init(
        _ address: ServiceAddress, clock: any WorldClock, milliseconds: Int64
    ) throws(ServiceError) {
        self.address = address
        self.clock = clock
        deadline = clock.monotonicNanoseconds + milliseconds * 1_000_000
        descriptor = try Self.connect(address, clock, until: deadline)
    }

    deinit { close(descriptor) }

    /// What follows has `milliseconds` in all.
    package func extend(milliseconds: Int64) {
        deadline = clock.monotonicNanoseconds + milliseconds * 1_000_000
    }

    /// Writes all of `bytes`.
    package func write(_ bytes: [UInt8]) throws(ServiceError) {
        var sent = 0
        while sent < bytes.count {
            try requireTime("write")
            let count = bytes.withUnsafeBytes { buffer in
                send(
                    descriptor, buffer.baseAddress.map { $0 + sent }, bytes.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if count < 0, errno == EAGAIN {
                try wait(for: POLLOUT, "write")
            } else if count < 0, errno != EINTR {
                throw .connection(address, operation: "write", errno: errno)
            }
        }
    }

    /// The next byte.
    package func byte() throws(ServiceError) -> UInt8 {
        if at == received.count { try fill() }
        defer { at += 1 }
        return received[at]
    }

    /// The next `count` bytes; check it against a bound first.
    package func bytes(_ count: Int) throws(ServiceError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(min(count, 1 << 16))
        while bytes.count < count {
            if at == received.count { try fill() }
            let end = min(received.count, at + count - bytes.count)
            bytes += received[at..<end]
            at = end
        }
        return bytes
    }

    /// A line without its CR LF or LF, of at most `bytesMax` bytes.
    package func line(bytesMax: Int) throws(ServiceError) -> [UInt8] {
        var line: [UInt8] = []
        while true {
            let next = try byte()
            guard next != 10 else { break }
            guard line.count < bytesMax else {
                throw .malformed(address, detail: "a line of more than \(bytesMax) bytes")
            }
            line.append(next)
        }
        if line.last == 13 { line.removeLast() }
        return line
    }

    /// All until the peer closes, at most `bytesMax` bytes.
    package func rest(bytesMax: Int) throws(ServiceError) -> [UInt8] {
        var bytes = Array(received[at...])
        at = received.count
        while true {
            guard bytes.count <= bytesMax else {
                throw .malformed(address, detail: "an answer of more than \(bytesMax) bytes")
            }
            do throws(ServiceError) { try fill() } catch .closed { return bytes }
            bytes += received
            at = received.count
        }
    }

    // MARK: - Below

    /// Replaces what was received and used by what comes next.
    private func fill() throws(ServiceError) {
        received = try [UInt8](unsafeUninitializedCapacity: 16 * 1024) {
            (buffer, count) throws(ServiceError) in
            count = try receive(into: buffer)
        }
        at = 0
    }

    private func receive(into buffer: UnsafeMutableBufferPointer<UInt8>) throws(ServiceError) -> Int
    {
        while true {
            try requireTime("the answer")
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return count }
            guard count < 0 else { throw .closed(address) }
            if errno == EAGAIN {
                try wait(for: POLLIN, "the answer")
            } else if errno != EINTR {
                throw .connection(address, operation: "read", errno: errno)
            }
        }
    }

    /// A peer that is always ready never lets the socket wait, where the deadline is met otherwise.
    private func requireTime(_ operation: String) throws(ServiceError) {
        guard clock.monotonicNanoseconds < deadline else {
            throw .timeout(address, operation: operation)
        }
    }

    private func wait(for event: Int32, _ operation: String) throws(ServiceError) {
        try Self.wait(descriptor, event, clock, until: deadline, address, operation)
    }

    private static func wait(
        _ descriptor: Int32, _ event: Int32, _ clock: any WorldClock, until deadline: Int64,
        _ address: ServiceAddress, _ operation: String
    ) throws(ServiceError) {
        while true {
            let left = deadline - clock.monotonicNanoseconds
            guard left > 0 else { throw .timeout(address, operation: operation) }
            var item = pollfd(fd: descriptor, events: Int16(event), revents: 0)
            let ready = poll(&item, 1, Int32(min(left / 1_000_000 + 1, 60_000)))
            if ready > 0 { return }
            guard ready < 0 else { throw .timeout(address, operation: operation) }
            guard errno == EINTR else {
                throw .connection(address, operation: operation, errno: errno)
            }
        }
    }

    private static func connect(
        _ address: ServiceAddress, _ clock: any WorldClock, until deadline: Int64
    ) throws(ServiceError) -> Int32 {
        var failure = ServiceError.connection(address, operation: "connect", errno: EADDRNOTAVAIL)
        for (family, place) in try places(of: address) {
            let type =
                Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
                | Int32(SOCK_NONBLOCK.rawValue)
            let descriptor = socket(family, type, 0)
            guard descriptor >= 0 else {
                throw .connection(address, operation: "socket", errno: errno)
            }
            do throws(ServiceError) {
                try connect(descriptor, place, address, clock, until: deadline)
                return descriptor
            } catch {
                close(descriptor)
                failure = error
            }
        }
        throw failure
    }

    private static func connect(
        _ descriptor: Int32, _ place: [UInt8], _ address: ServiceAddress, _ clock: any WorldClock,
        until deadline: Int64
    ) throws(ServiceError) {
        let code = place.withUnsafeBytes { bytes in
            bytes.baseAddress.map {
                Glibc.connect(
                    descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            } ?? -1
        }
        guard code != 0 else { return }
        // A Unix socket whose queue is full says EAGAIN and will never say that it is ready.
        guard errno == EINPROGRESS else {
            throw .connection(address, operation: "connect", errno: errno)
        }
        try wait(descriptor, POLLOUT, clock, until: deadline, address, "connect")
        var reason: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &reason, &size)
        guard reason == 0 else {
            throw .connection(address, operation: "connect", errno: reason)
        }
    }

    /// The families and socket addresses that an address stands for.
    private static func places(
        of address: ServiceAddress
    ) throws(ServiceError) -> [(family: Int32, place: [UInt8])] {
        switch address {
        case .unix(let path):
            var place = sockaddr_un()
            place.sun_family = sa_family_t(AF_UNIX)
            let isTooLong = withUnsafeMutableBytes(of: &place.sun_path) { bytes in
                guard path.utf8.count < bytes.count else { return true }
                bytes.copyBytes(from: path.utf8)
                return false
            }
            guard !isTooLong else {
                throw .connection(address, operation: "connect", errno: ENAMETOOLONG)
            }
            return [(AF_UNIX, withUnsafeBytes(of: &place) { Array($0) })]
        case .tcp("localhost", let port):
            return ["127.0.0.1", "::1"].compactMap { Self.place($0, port) }
        case .tcp(let host, let port):
            guard let place = Self.place(host, port) else {
                throw .connection(address, operation: "resolve", errno: EADDRNOTAVAIL)
            }
            return [place]
        }
    }

    /// Nil where `host` is no IP address.
    fileprivate static func place(_ host: String, _ port: UInt16) -> (
        family: Int32, place: [UInt8]
    )? {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &list) == 0 else { return nil }
        defer { freeaddrinfo(list) }
        guard let info = list?.pointee, let address = info.ai_addr else { return nil }
        let bytes = UnsafeRawBufferPointer(start: address, count: Int(info.ai_addrlen))
        return (info.ai_family, Array(bytes))
    }
}

extension ServiceAddress {
    /// Whether the host is a name other than `localhost`, which `ServiceSocket` does not take.
    var needsResolver: Bool {
        guard case .tcp(let host, let port) = self else { return false }
        return host != "localhost" && ServiceSocket.place(host, port) == nil
    }
}
