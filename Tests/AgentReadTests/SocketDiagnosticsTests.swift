import AgentRead
import Glibc
import Model
import Testing
import World

/// TCP sockets on this machine's loopback address, open until `close`.
final class LoopbackSockets {
    struct Failure: Error {
        var call: String
        var errno: Int32
    }

    static let unreadBytes = 100
    static let hasIPv6: Bool = {
        guard let sockets = try? LoopbackSockets(listeners: 1, isIPv6: true) else { return false }
        sockets.close()
        return true
    }()

    private var descriptors: [Int32] = []

    /// Listeners on 127.0.0.1, or ::1, and connections to the last of 127.0.0.1, each with bytes that nobody reads.
    init(listeners: Int, connections: Int = 0, isIPv6: Bool = false) throws {
        do {
            for _ in 0..<listeners { try addListener(isIPv6: isIPv6) }
            if let listener = descriptors.last {
                for _ in 0..<connections { try addConnection(to: listener) }
            }
        } catch {
            close()
            throw error
        }
    }

    func close() {
        for descriptor in descriptors { _ = Glibc.close(descriptor) }
        descriptors = []
    }

    private func add(_ descriptor: Int32, _ call: String) throws -> Int32 {
        guard descriptor >= 0 else { throw Failure(call: call, errno: errno) }
        descriptors.append(descriptor)
        return descriptor
    }

    private func check(_ result: Int32, _ call: String) throws {
        guard result == 0 else { throw Failure(call: call, errno: errno) }
    }

    private func addListener(isIPv6: Bool) throws {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let listener = try add(socket(isIPv6 ? AF_INET6 : AF_INET, type, 0), "socket")
        if isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0[15] = 1 }
            try check(Self.with(&address) { bind(listener, $0, $1) }, "bind")
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
            try check(Self.with(&address) { bind(listener, $0, $1) }, "bind")
        }
        try check(listen(listener, 16), "listen")
    }

    private func addConnection(to listener: Int32) throws {
        var address = sockaddr_in()
        let named = Self.with(&address) { pointer, size in
            var size = size
            return getsockname(listener, pointer, &size)
        }
        try check(named, "getsockname")
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let client = try add(socket(AF_INET, type, 0), "socket")
        try check(Self.with(&address) { connect(client, $0, $1) }, "connect")
        let server = try add(accept(listener, nil, nil), "accept")
        var bytes = [UInt8](repeating: 1, count: Self.unreadBytes)
        guard send(client, bytes, bytes.count, 0) == bytes.count,
            // Waits until they have come and leaves them there.
            recv(server, &bytes, bytes.count, Int32(MSG_PEEK) | Int32(MSG_WAITALL)) == bytes.count
        else { throw Failure(call: "send", errno: errno) }
    }

    private static func with<Address>(
        _ address: inout Address, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<Address>.size))
            }
        }
    }
}

@Suite("The kernel's sockets of TCP")
struct SocketDiagnosticsTests {
    @Test("tcpstat: states that have sockets, and their queues")
    func tcpstat() throws {
        var host = FakeHost()
        #expect(try TCPStatReader(host: host).read(now: NodeReaderTests.now) == [])
        host.tcp = .success(
            TCPCounts(
                states: [99, 5, 1, 0, 0, 0, 7, 0, 0, 0, 3, 2, 88], receiveQueueBytes: 0,
                sendQueueBytes: 12))
        let families = try TCPStatReader(host: host).read(now: NodeReaderTests.now)
        func key(_ state: String) -> String { "node_tcp_connection_states{state=\"\(state)\"}" }
        #expect(
            NodeReaderTests.samples(families) == [
                key("established"): 5, key("syn_sent"): 1, key("time_wait"): 7, key("listen"): 3,
                key("closing"): 2, key("rx_queued_bytes"): 0, key("tx_queued_bytes"): 12,
            ])
        #expect(
            families.map(\.metadata)
                == [MetricMetadata(type: .gauge, help: "Number of connection states.")])
    }

    @Test(
        "tcpstat: a kernel that can't tell is no error, one that does not is",
        arguments: [(ENOENT, true), (EPROTONOSUPPORT, true), (EPERM, false), (EAGAIN, false)])
    func tcpstatAbsent(errno: Int32, isAbsent: Bool) throws {
        var host = FakeHost()
        let error = ReadError.system(operation: "sock_diag dump", errno: errno)
        host.tcp = .failure(error)
        let reader = TCPStatReader(host: host)
        if isAbsent {
            #expect(try reader.read(now: NodeReaderTests.now) == [])
        } else {
            #expect(throws: error) { try reader.read(now: NodeReaderTests.now) }
        }
    }

    /// Some sandboxes have no inet_diag. Any other failure is one of the tests.
    static let hasDiagnostics: Bool = {
        do throws(ReadError) {
            _ = try GlibcHostCalls().tcpCounts()
            return true
        } catch {
            let absences = [ENOENT, EPROTONOSUPPORT, EAFNOSUPPORT, EPERM, EOPNOTSUPP]
            guard case .system(_, let errno) = error else { return true }
            return !absences.contains(errno)
        }
    }()

    @Test(
        "the kernel's counts rise with a listener and its connections",
        .enabled(if: hasDiagnostics, "the kernel's inet_diag does not answer here"))
    func tcpLive() throws {
        // Other sockets of this machine come and go: one undisturbed try is enough.
        var hasRisen = false
        for _ in 0..<20 where !hasRisen {
            let before = try GlibcHostCalls().tcpCounts()
            let sockets = try LoopbackSockets(listeners: 1, connections: 8)
            defer { sockets.close() }
            let after = try GlibcHostCalls().tcpCounts()
            #expect(after.states[1] >= 16)
            #expect(after.states[10] >= 1)
            #expect(after.receiveQueueBytes >= UInt64(8 * LoopbackSockets.unreadBytes))
            hasRisen =
                after.states[1] >= before.states[1] + 16
                && after.states[10] >= before.states[10] + 1
        }
        #expect(hasRisen)
    }

    @Test(
        "the sockets of IPv6 are among them",
        .enabled(if: LoopbackSockets.hasIPv6, "no IPv6 loopback address here"),
        .enabled(if: hasDiagnostics, "the kernel's inet_diag does not answer here"))
    func tcpIPv6() throws {
        let sockets = try LoopbackSockets(listeners: 64, isIPv6: true)
        defer { sockets.close() }
        let name = "node_tcp_connection_states{state=\"listen\"}"
        let reader = TCPStatReader(host: GlibcHostCalls())
        #expect(
            try NodeReaderTests.samples(reader.read(now: NodeReaderTests.now))[name, default: 0]
                >= 64)
        #expect(try GlibcHostCalls().listeningPorts().count >= 64)
    }

    @Test(
        "the kernel's listening ports are those of its file",
        .enabled(if: hasDiagnostics, "the kernel's inet_diag does not answer here"))
    func listeningPortsLive() throws {
        let sockets = try LoopbackSockets(listeners: 8)
        defer { sockets.close() }
        // Other sockets of this machine come and go: one undisturbed try is enough.
        var isSame = false
        for _ in 0..<20 where !isSame {
            let told = try GlibcHostCalls().listeningPorts()
            #expect(told.count >= 8)
            isSame =
                told
                == ListeningPorts.read(tree: PosixTree(), paths: NodePaths(), host: FakeHost())
        }
        #expect(isSame)
    }

    // MARK: the kernel's answers

    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }

    /// A netlink message: a header, what follows it, and zeros up to a multiple of four.
    static func message(
        _ type: UInt16, sequence: UInt32 = 7, length: Int? = nil, _ payload: [UInt8] = []
    ) -> [UInt8] {
        let head =
            bytes(UInt32(length ?? 16 + payload.count)) + bytes(type) + bytes(UInt16(2))
            + bytes(sequence) + bytes(UInt32(0))
        return head + payload + Array(repeating: 0, count: (4 - payload.count % 4) % 4)
    }

    /// The facts of a socket, 72 bytes. The address is of IPv4 where it has four bytes.
    static func facts(
        state: UInt8, received: UInt32 = 0, toSend: UInt32 = 0, port: UInt16 = 0,
        address: [UInt8] = [0, 0, 0, 0]
    ) -> [UInt8] {
        [address.count == 4 ? 2 : 10, state, 0, 0] + bytes(port.bigEndian) + [0, 0] + address
            + Array(repeating: 0, count: 48 - address.count) + bytes(received) + bytes(toSend)
            + bytes(UInt64(0))
    }

    static let (errorType, doneType, overrunType, socketType): (UInt16, UInt16, UInt16, UInt16) = (
        2, 3, 4, 18
    )

    @Test("a dump's messages are counted up to its end")
    func datagram() throws {
        var counts = TCPCounts()
        // A socket with one attribute more, one that another request asked for, one of an unknown state, no operation.
        let first =
            Self.message(
                Self.socketType, Self.facts(state: 1, received: 5, toSend: 6) + [5, 0, 8, 0, 3])
            + Self.message(Self.socketType, sequence: 6, Self.facts(state: 1, received: 9))
            + Self.message(Self.socketType, Self.facts(state: 200, received: 1, toSend: .max))
            + Self.message(1) + Self.message(Self.errorType, Self.bytes(Int32(0)))
        // From the middle of an array, as of a buffer.
        let isDone = try SocketDiagnostics.add(
            ([1, 2, 3] + first)[3...], sequence: 7, to: &counts)
        #expect(!isDone)
        #expect(counts.states == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(counts.receiveQueueBytes == 6)
        #expect(counts.sendQueueBytes == 6 + UInt64(UInt32.max))
        let last =
            Self.message(Self.socketType, Self.facts(state: 10))
            + Self.message(Self.doneType, Self.bytes(Int32(0)))
        #expect(try SocketDiagnostics.add(last[...], sequence: 7, to: &counts))
        #expect(counts.states[10] == 1)
        let oldEnd = Self.message(Self.doneType)
        #expect(try SocketDiagnostics.add(oldEnd[...], sequence: 7, to: &counts))
        #expect(try !SocketDiagnostics.add([], sequence: 7, to: &counts))
    }

    @Test("a dump's ports are those that listen at a loopback or at every address")
    func datagramPorts() throws {
        let zeros = [UInt8](repeating: 0, count: 10)
        let sockets: [(port: UInt16, state: UInt8, address: [UInt8])] = [
            (1, 10, [127, 0, 0, 1]), (2, 10, [0, 0, 0, 0]), (3, 10, [10, 0, 0, 1]),
            (4, 1, [127, 0, 0, 1]), (6_379, 10, zeros + [0, 0, 0, 0, 0, 1]),
            (6, 10, zeros + [0, 0, 0, 0, 0, 0]), (7, 10, zeros + [0, 0, 0, 0, 0, 2]),
            (8, 10, [0x20] + zeros + [0, 0, 0, 0, 1]), (9, 10, zeros + [255, 255, 127, 1, 1, 1]),
            (10, 10, zeros + [255, 255, 9, 9, 9, 9]), (11, 10, [0, 0, 0, 1]),
        ]
        let datagram =
            sockets.flatMap {
                Self.message(
                    Self.socketType,
                    Self.facts(state: $0.state, port: $0.port, address: $0.address))
            } + Self.message(Self.doneType)
        var ports: Set<UInt16> = []
        #expect(try SocketDiagnostics.add(datagram[...], sequence: 7, to: &ports))
        #expect(ports == [1, 2, 6_379, 6, 9])
    }

    @Test(
        "errors of the kernel",
        arguments: [
            (errorType, bytes(Int32(-2)), ENOENT), (doneType, bytes(Int32(-4)), EINTR),
            (overrunType, [], ENOBUFS), (errorType, bytes(Int32.min), Int32.min),
        ] as [(UInt16, [UInt8], Int32)])
    func datagramError(type: UInt16, payload: [UInt8], expect: Int32) {
        var counts = TCPCounts()
        #expect(throws: ReadError.system(operation: "sock_diag dump", errno: expect)) {
            try SocketDiagnostics.add(
                Self.message(type, payload)[...], sequence: 7, to: &counts)
        }
    }

    @Test(
        "lengths that do not fit",
        arguments: [
            message(socketType, Array(facts(state: 1).dropLast())), message(socketType),
            message(socketType, length: 15, facts(state: 1)),
            message(socketType, length: 0, facts(state: 1)),
            message(socketType, length: 89, facts(state: 1)),
            message(socketType, length: 0xffff_ffff, facts(state: 1)),
            message(errorType, [1, 2]), message(1) + [1, 2, 3, 4],
            Array(message(1).dropLast()), [0],
        ])
    func datagramMalformed(datagram: [UInt8]) {
        var counts = TCPCounts()
        let error = #expect(throws: ReadError.self) {
            try SocketDiagnostics.add(datagram[...], sequence: 7, to: &counts)
        }
        guard case .malformed("netlink sock_diag", _)? = error else {
            Issue.record("no malformed answer: \(String(describing: error))")
            return
        }
        #expect(counts == TCPCounts())
    }
}
