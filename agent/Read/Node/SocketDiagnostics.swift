import CHost
import Glibc

/// How many TCP sockets are in each state, and what waits in their queues.
package struct TCPCounts: Hashable, Sendable {
    /// By the kernel's number of the state: `TCP_ESTABLISHED` (1) to `TCP_CLOSING` (11); the first is of no use.
    package var states: [UInt64]
    /// Bytes.
    package var receiveQueueBytes: UInt64
    package var sendQueueBytes: UInt64

    package init(
        states: [UInt64] = Array(repeating: 0, count: 12), receiveQueueBytes: UInt64 = 0,
        sendQueueBytes: UInt64 = 0
    ) {
        self.states = states
        self.receiveQueueBytes = receiveQueueBytes
        self.sendQueueBytes = sendQueueBytes
    }
}

/// Asks the kernel for its TCP sockets by netlink (`sock_diag(7)`): sees those of the agent's network namespace and
/// needs no capability. It takes less of the kernel and of the agent than the text of `/proc/net/tcp`.
package enum SocketDiagnostics {
    /// The kernel fills datagrams of a dump up to 32 KiB.
    static let datagramBytesMax = 32 << 10
    /// Bounds one family's dump: 0.5 GiB, some five million sockets.
    static let datagramCountMax = 16_384
    /// What the kernel may take for one datagram.
    static let receiveSecondsMax = 1

    /// The sockets of TCP over IPv4 and, where `includesIPv6`, IPv6. Throws `.system` with EAGAIN where the kernel does
    /// not answer within a second, with ENOENT where it has no `tcp_diag`, with EOVERFLOW past the bound, and
    /// `.malformed` where an answer is too short for what it says.
    static func tcpCounts(includesIPv6: Bool) throws(ReadError) -> TCPCounts {
        let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_NETLINK, type, NETLINK_SOCK_DIAG)
        guard descriptor >= 0 else { throw failure("socket") }
        defer { close(descriptor) }
        var wait = timeval(tv_sec: receiveSecondsMax, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, size) == 0 else {
            throw failure("setsockopt")
        }
        var counts = TCPCounts()
        try dump(descriptor, family: AF_INET, sequence: 1, into: &counts)
        if includesIPv6 { try dump(descriptor, family: AF_INET6, sequence: 2, into: &counts) }
        return counts
    }

    /// Adds the messages of one datagram to `counts`; true where one of them ends the dump. Messages that answer
    /// another request than `sequence` are skipped. Throws `.malformed` for a length that does not fit,
    /// `.system` for an error that the kernel tells.
    package static func add(
        _ datagram: ArraySlice<UInt8>, sequence: UInt32, to counts: inout TCPCounts
    ) throws(ReadError) -> Bool {
        var rest = datagram
        while !rest.isEmpty {
            guard let header = load(nlmsghdr.self, from: rest),
                header.nlmsg_len >= UInt32(MemoryLayout<nlmsghdr>.size),
                header.nlmsg_len <= UInt32(clamping: rest.count)
            else { throw malformed("a message of \(rest.count) bytes") }
            let length = Int(header.nlmsg_len)
            let payload = rest.prefix(length).dropFirst(MemoryLayout<nlmsghdr>.size)
            // Messages begin at multiples of four; the last need not be filled up.
            rest = rest.dropFirst((length + 3) & ~3)
            guard header.nlmsg_seq == sequence else { continue }
            switch Int32(header.nlmsg_type) {
            case NLMSG_DONE:
                // Old kernels end a dump without its result.
                try check(load(Int32.self, from: payload) ?? 0)
                return true
            case NLMSG_ERROR:
                guard let result = load(Int32.self, from: payload) else {
                    throw malformed("an error of \(payload.count) bytes")
                }
                try check(result)
            case NLMSG_OVERRUN:
                throw .system(operation: "sock_diag dump", errno: ENOBUFS)
            case Int32(SOCK_DIAG_BY_FAMILY):
                guard let socket = load(inet_diag_msg.self, from: payload) else {
                    throw malformed("a socket of \(payload.count) bytes")
                }
                let state = Int(socket.idiag_state)
                if counts.states.indices.contains(state) { counts.states[state] &+= 1 }
                counts.receiveQueueBytes &+= UInt64(socket.idiag_rqueue)
                counts.sendQueueBytes &+= UInt64(socket.idiag_wqueue)
            default: break
            }
        }
        return false
    }

    private static func dump(
        _ descriptor: Int32, family: Int32, sequence: UInt32, into counts: inout TCPCounts
    ) throws(ReadError) {
        let message = request(family: family, sequence: sequence)
        let sent = retried { send(descriptor, message, message.count, 0) }
        guard sent == message.count else { throw failure("send") }
        var buffer = [UInt8](repeating: 0, count: datagramBytesMax)
        for _ in 0..<datagramCountMax {
            // With MSG_TRUNC the result is the datagram's own length, however much of it was kept.
            let got = retried { recv(descriptor, &buffer, buffer.count, Int32(MSG_TRUNC)) }
            guard got >= 0 else { throw failure("recv") }
            guard got > 0, got <= buffer.count else {
                throw .system(operation: "sock_diag recv", errno: EMSGSIZE)
            }
            if try add(buffer[..<got], sequence: sequence, to: &counts) { return }
        }
        throw .system(operation: "sock_diag dump", errno: EOVERFLOW)
    }

    /// A dump of all states, without extended attributes.
    private static func request(family: Int32, sequence: UInt32) -> [UInt8] {
        var body = inet_diag_req_v2()
        body.sdiag_family = UInt8(family)
        body.sdiag_protocol = UInt8(IPPROTO_TCP)
        body.idiag_states = 0xfff
        var header = nlmsghdr()
        header.nlmsg_len = UInt32(
            MemoryLayout<nlmsghdr>.size + MemoryLayout<inet_diag_req_v2>.size)
        header.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
        header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        header.nlmsg_seq = sequence
        return withUnsafeBytes(of: header) { Array($0) } + withUnsafeBytes(of: body) { Array($0) }
    }

    /// The call's result, asked again where a signal broke it off.
    private static func retried(_ call: () -> Int) -> Int {
        while true {
            let result = call()
            guard result < 0, errno == EINTR else { return result }
        }
    }

    /// The value at the start of `bytes`; nil where they are fewer than it has.
    private static func load<Value: BitwiseCopyable>(
        _ type: Value.Type, from bytes: ArraySlice<UInt8>
    ) -> Value? {
        guard bytes.count >= MemoryLayout<Value>.size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: type) }
    }

    /// The kernel tells errors as negative numbers.
    private static func check(_ result: Int32) throws(ReadError) {
        guard result >= 0 else {
            throw .system(operation: "sock_diag dump", errno: 0 &- result)
        }
    }

    private static func malformed(_ detail: String) -> ReadError {
        .malformed(path: "netlink sock_diag", detail: detail)
    }

    private static func failure(_ call: String) -> ReadError {
        let code = errno
        return .system(operation: "sock_diag \(call)", errno: code)
    }
}
