import Glibc
import World

/// The datagram socket of `sd_notify(3)`: a path, or a name in the abstract namespace that is written with `@`.
///
/// Source: sd_notify(3). The socket is opened for each message, a few a minute, and never blocks.
package struct LiveServiceManager: ServiceManager {
    private let address: sockaddr_un
    private let length: socklen_t

    /// Nil where `address` begins with neither `/` nor `@`, or does not fit into a socket's address.
    package init?(address text: String) {
        guard let first = text.utf8.first, first == UInt8(ascii: "/") || first == UInt8(ascii: "@"),
            text.utf8.count > 1
        else { return nil }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(text.utf8)
        if first == UInt8(ascii: "@") { name[0] = 0 }
        let isTooLong = withUnsafeMutableBytes(of: &address.sun_path) { path in
            // A path ends with NUL; an abstract name ends with the length.
            guard name.count < path.count else { return true }
            path.copyBytes(from: name)
            return false
        }
        guard !isTooLong, let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) else {
            return nil
        }
        self.address = address
        length = socklen_t(offset + name.count + (first == UInt8(ascii: "/") ? 1 : 0))
    }

    @discardableResult
    package func send(_ message: String) -> Bool {
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let number = socket(AF_UNIX, kind, 0)
        guard number >= 0 else { return false }
        defer { close(number) }
        let bytes = Array(message.utf8)
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        var target = address
        return withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                while true {
                    let sent = sendto(
                        number, bytes, bytes.count, flags, generic, length)
                    if sent == bytes.count { return true }
                    guard sent < 0, errno == EINTR else { return false }
                }
            }
        }
    }
}
