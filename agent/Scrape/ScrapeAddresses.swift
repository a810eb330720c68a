import Glibc
package import NIOCore

/// The addresses that a target's host stands for.
package enum ScrapeAddresses {
    /// Addresses of one name; those past it are never tried.
    package static let countMax = 8

    /// The addresses of `host`, a name or an address, each once, in the order in which the system wants them tried
    /// (RFC 6724); at least one. Throws `preparation`. Blocks.
    package static func resolve(
        _ host: String, _ port: Int
    ) throws(ScrapeFailure) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else { throw failure(host, String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee, addresses.count < countMax {
            next = entry.ai_next
            guard let address = address(entry), !addresses.contains(address) else { continue }
            addresses.append(address)
        }
        guard !addresses.isEmpty else { throw failure(host, "none of IPv4 or IPv6") }
        return addresses
    }

    private static func failure(_ host: String, _ detail: String) -> ScrapeFailure {
        .preparation("the name \(host) leads to no address: \(detail)")
    }

    /// Nil for a family that is neither IPv4 nor IPv6.
    private static func address(_ entry: addrinfo) -> SocketAddress? {
        let bytes = UnsafeRawPointer(entry.ai_addr)
        return switch entry.ai_family {
        case AF_INET: bytes.map { SocketAddress($0.loadUnaligned(as: sockaddr_in.self)) }
        case AF_INET6: bytes.map { SocketAddress($0.loadUnaligned(as: sockaddr_in6.self)) }
        default: nil
        }
    }
}
