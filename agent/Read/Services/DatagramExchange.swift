import CHost
import Glibc

/// A question and its answer over UDP.
package enum DatagramExchange {
    /// Datagrams that are looked at until the answer is among them.
    private static let datagramsMax = 4

    /// Sends `question` to an IP address and gives the first datagram of that address's that `isAnswer` accepts. Blocks
    /// for `milliseconds` at most with each of four datagrams. Throws `connection`, with ECONNREFUSED where nobody
    /// listens on a port of this host, and `timeout`.
    package static func ask(
        _ host: String, port: UInt16, _ question: [UInt8], milliseconds: Int,
        isAnswer: ([UInt8]) -> Bool
    ) throws(ServiceError) -> [UInt8] {
        let address = ServiceAddress.tcp(host: host, port: port)
        let descriptor = try connected(host, port, address, milliseconds)
        defer { close(descriptor) }
        guard send(descriptor, question, question.count, Int32(MSG_NOSIGNAL)) == question.count
        else { throw .connection(address, operation: "send", errno: errno) }
        var left = datagramsMax
        while left > 0 {
            var bytes = [UInt8](repeating: 0, count: 2_048)
            let count = recv(descriptor, &bytes, bytes.count, 0)
            if count >= 0 {
                left -= 1
                bytes.removeLast(bytes.count - count)
                if isAnswer(bytes) { return bytes }
            } else if errno == EAGAIN {
                break
            } else if errno == EINTR {
                left -= 1
            } else {
                throw .connection(address, operation: "receive", errno: errno)
            }
        }
        throw .timeout(address, operation: "the answer")
    }

    /// A socket that hears that one address alone, and waits `milliseconds` for each datagram.
    private static func connected(
        _ host: String, _ port: UInt16, _ address: ServiceAddress, _ milliseconds: Int
    ) throws(ServiceError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &list) == 0, let place = list?.pointee else {
            throw .connection(address, operation: "resolve", errno: EADDRNOTAVAIL)
        }
        defer { freeaddrinfo(list) }
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(place.ai_family, type, 0)
        guard descriptor >= 0 else {
            throw .connection(address, operation: "socket", errno: errno)
        }
        var wait = timeval(
            tv_sec: milliseconds / 1_000, tv_usec: suseconds_t(milliseconds % 1_000 * 1_000))
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, size) == 0,
            connect(descriptor, place.ai_addr, place.ai_addrlen) == 0
        else {
            let reason = errno
            close(descriptor)
            throw .connection(address, operation: "connect", errno: reason)
        }
        return descriptor
    }
}
