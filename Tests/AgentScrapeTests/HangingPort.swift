import Glibc

/// A port of loopback at which connections are neither taken nor refused: its queue is full.
final class HangingPort: Sendable {
    struct Unavailable: Error { var errno: Int32 }

    let port: Int
    private let descriptors: [Int32]

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard listener >= 0 else { throw Unavailable(errno: errno) }
        var opened = [listener]
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> Int32 in
                guard bind(listener, address, length) == 0, listen(listener, 0) == 0,
                    getsockname(listener, address, &length) == 0
                else { return -1 }
                // A queue of length 0 holds one; from the next on Linux lets the first packet of each fall.
                for _ in 0..<3 {
                    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue)
                    let client = socket(AF_INET, kind, 0)
                    opened.append(client)
                    _ = connect(client, address, length)
                }
                return 0
            }
        }
        descriptors = opened
        port = Int(UInt16(bigEndian: address.sin_port))
        guard status == 0 else {
            close()
            throw Unavailable(errno: errno)
        }
    }

    func close() { for descriptor in descriptors { _ = Glibc.close(descriptor) } }
}
