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
/// needs no capability. It takes less of the kernel and of the agent than the text of `/proc/net/tcp`. The request is
/// the older one without a family: one walk of the kernel's table has IPv4 and IPv6.
/// Source: Linux `net/ipv4/inet_diag.c` `inet_diag_dump_compat`.
package enum SocketDiagnostics {
    /// The kernel fills datagrams of a dump up to 32 KiB.
    static let datagramBytesMax = 32 << 10
    /// Bounds a dump: 0.5 GiB, some five million sockets.
    static let datagramCountMax = 16_384
    /// What the kernel may take for one datagram.
    static let receiveSecondsMax = 1

    /// The states that are asked for, as bits by the kernel's numbers.
    private static let allStates: UInt32 = 0xfff
    private static let listeningState: UInt8 = 10

    /// The sockets of TCP. Throws `.system` with EAGAIN where the kernel does not answer within a second, with
    /// EOVERFLOW past the bound, with one of `absences` where it has no `tcp_diag`, and `.malformed` where an answer is too
    /// short for what it says.
    static func tcpCounts() throws(ReadError) -> TCPCounts {
        var counts = TCPCounts()
        try dump(allStates) { (datagram) throws(ReadError) in
            try add(datagram, sequence: sequence, to: &counts)
        }
        return counts
    }

    /// The ports on which a program listens at a loopback or at every address. Throws as `tcpCounts`; the kernel looks
    /// at listening sockets alone.
    static func listeningPorts() throws(ReadError) -> Set<UInt16> {
        var ports: Set<UInt16> = []
        try dump(1 << UInt32(listeningState)) { (datagram) throws(ReadError) in
            try add(datagram, sequence: sequence, to: &ports)
        }
        return ports
    }

    /// How the kernel says that it was built without, or has not loaded, what answers: ENOENT without `tcp_diag`,
    /// EOPNOTSUPP without `inet_diag`, EPROTONOSUPPORT without `sock_diag`.
    package static let absences: Set<Int32> = [ENOENT, EOPNOTSUPP, EPROTONOSUPPORT]

    /// Adds the sockets of one datagram to `counts`; true where one of its messages ends the dump. Messages that answer
    /// another request than `sequence` are skipped. Throws `.malformed` for a length that does not fit,
    /// `.system` for an error that the kernel tells.
    package static func add(
        _ datagram: ArraySlice<UInt8>, sequence: UInt32, to counts: inout TCPCounts
    ) throws(ReadError) -> Bool {
        try forEachSocket(datagram, sequence: sequence) { socket in
            let state = Int(socket.idiag_state)
            if counts.states.indices.contains(state) { counts.states[state] &+= 1 }
            counts.receiveQueueBytes &+= UInt64(socket.idiag_rqueue)
            counts.sendQueueBytes &+= UInt64(socket.idiag_wqueue)
        }
    }

    /// As the other one, for the ports of sockets that listen at a loopback or at every address.
    package static func add(
        _ datagram: ArraySlice<UInt8>, sequence: UInt32, to ports: inout Set<UInt16>
    ) throws(ReadError) -> Bool {
        try forEachSocket(datagram, sequence: sequence) { socket in
            guard socket.idiag_state == listeningState else { return }
            let address = withUnsafeBytes(of: socket.id.idiag_src) { Array($0) }
            if isReachable(address.prefix(Int32(socket.idiag_family) == AF_INET ? 4 : 16)) {
                ports.insert(UInt16(bigEndian: socket.id.idiag_sport))
            }
        }
    }

    /// Whether an address is every address, 127.0.0.0/8 or ::1, or one of these of IPv4 in IPv6's form.
    private static func isReachable(_ address: ArraySlice<UInt8>) -> Bool {
        guard address.count == 16 else {
            return address.first == 127 || address.allSatisfy { $0 == 0 }
        }
        if address.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]) {
            return isReachable(address.suffix(4))
        }
        return address.dropLast().allSatisfy { $0 == 0 } && address.suffix(1).allSatisfy { $0 < 2 }
    }

    private static func forEachSocket(
        _ datagram: ArraySlice<UInt8>, sequence: UInt32, _ body: (inet_diag_msg) -> Void
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
            case TCPDIAG_GETSOCK:
                guard let socket = load(inet_diag_msg.self, from: payload) else {
                    throw malformed("a socket of \(payload.count) bytes")
                }
                body(socket)
            default: break
            }
        }
        return false
    }

    private static let sequence: UInt32 = 1

    /// Asks for the sockets in `states` and gives `add` each datagram of the answer until that says it was the last.
    private static func dump(
        _ states: UInt32, _ add: (ArraySlice<UInt8>) throws(ReadError) -> Bool
    ) throws(ReadError) {
        let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_NETLINK, type, NETLINK_SOCK_DIAG)
        guard descriptor >= 0 else { throw failure("socket") }
        defer { close(descriptor) }
        var wait = timeval(tv_sec: receiveSecondsMax, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, size) == 0 else {
            throw failure("setsockopt")
        }
        let message = request(states)
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
            if try add(buffer[..<got]) { return }
        }
        throw .system(operation: "sock_diag dump", errno: EOVERFLOW)
    }

    /// A dump without extended attributes.
    private static func request(_ states: UInt32) -> [UInt8] {
        var body = inet_diag_req()
        body.idiag_states = states
        var header = nlmsghdr()
        header.nlmsg_len = UInt32(MemoryLayout<nlmsghdr>.size + MemoryLayout<inet_diag_req>.size)
        header.nlmsg_type = UInt16(TCPDIAG_GETSOCK)
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
