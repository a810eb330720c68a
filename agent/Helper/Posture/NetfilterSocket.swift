import Glibc

/// Asks the kernel for its nf_tables chains over netlink. Needs CAP_NET_ADMIN and sees its own network namespace.
struct NetfilterSocket: NetfilterSource {
    static let dumpBytesMax = 4 << 20
    /// A dump that another change crossed is asked for again.
    static let triesMax = 3
    private static let netfilter: Int32 = 12
    private static let dumpInterrupted: UInt8 = 0x10

    func chainDump() throws(NetfilterError) -> [UInt8] {
        let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_NETLINK, type, Self.netfilter)
        guard descriptor >= 0 else {
            switch errno {
            case EPROTONOSUPPORT: throw .absent
            // EAFNOSUPPORT is how RestrictAddressFamilies= of systemd says no.
            case EPERM, EACCES, EAFNOSUPPORT: throw .denied
            default: throw .failed(operation: "socket", errno: errno)
            }
        }
        defer { close(descriptor) }
        var wait = timeval(tv_sec: 5, tv_usec: 0)
        guard
            setsockopt(
                descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
                == 0
        else { throw .failed(operation: "setsockopt", errno: errno) }
        for _ in 1..<Self.triesMax {
            let dump = try ask(descriptor)
            if !dump.isInterrupted { return dump.bytes }
        }
        return try ask(descriptor).bytes
    }

    private func ask(
        _ descriptor: Int32
    ) throws(NetfilterError) -> (bytes: [UInt8], isInterrupted: Bool) {
        // nlmsghdr: length, NFT_MSG_GETCHAIN of subsystem 10, REQUEST | DUMP, sequence, port; nfgenmsg: any family.
        let request: [UInt8] = [20, 0, 0, 0, 4, 10, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        guard send(descriptor, request, request.count, 0) == request.count else {
            throw errno == EPERM ? .denied : .failed(operation: "send", errno: errno)
        }
        var bytes: [UInt8] = []
        var isInterrupted = false
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else {
                if count < 0, errno == EINTR { continue }
                throw .failed(operation: "recv", errno: count < 0 ? errno : EIO)
            }
            let part = buffer[..<count]
            guard bytes.count + part.count <= Self.dumpBytesMax else { throw .tooLong }
            bytes += part
            switch Self.ending(part) {
            case .more(let interrupted): isInterrupted = isInterrupted || interrupted
            case .last(let interrupted): return (bytes, isInterrupted || interrupted)
            }
        }
    }

    private enum Ending {
        case more(interrupted: Bool)
        case last(interrupted: Bool)
    }

    /// Whether one of the messages says that the dump is done or failed.
    private static func ending(_ part: ArraySlice<UInt8>) -> Ending {
        var rest = part
        var isInterrupted = false
        while rest.count >= 16 {
            let start = rest.startIndex
            let length =
                Int(rest[start]) | Int(rest[start + 1]) << 8 | Int(rest[start + 2]) << 16
                | Int(rest[start + 3]) << 24
            if rest[start + 6] & dumpInterrupted != 0 { isInterrupted = true }
            if rest[start + 5] == 0, rest[start + 4] == 2 || rest[start + 4] == 3 {
                return .last(interrupted: isInterrupted)
            }
            guard length >= 16 else { return .last(interrupted: isInterrupted) }
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return .more(interrupted: isInterrupted)
    }
}
