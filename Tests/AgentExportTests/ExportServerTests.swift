import AgentExport
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@Suite("Export server", .serialized)
struct ExportServerTests {
    static let group = MultiThreadedEventLoopGroup.singleton
    static let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    static let content = ExportContent(
        metrics: { Array("# TYPE up gauge\nup 1\n".utf8) }, ailment: { nil })

    /// Runs a server, hands its port to `body`, and shuts it down by the group.
    static func serving(
        _ configuration: ExportConfiguration = ExportConfiguration(port: 0),
        _ content: ExportContent = content, _ body: @Sendable @escaping (Int) async throws -> Void
    ) async throws {
        let server = try await ExportServer.bind(configuration, content: content, group: group)
        let services = ServiceGroup(
            configuration: .init(services: [.init(service: server)], logger: quiet))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            try await body(server.port)
            await services.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// Sends `request` and returns all bytes until the server closes.
    static func exchange(_ port: Int, _ request: String) async throws -> String {
        try await exchange(SocketAddress(ipAddress: "127.0.0.1", port: port), request)
    }

    static func exchange(_ address: SocketAddress, _ request: String) async throws -> String {
        let channel = try await ClientBootstrap(group: group)
            .connect(to: address) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel)
                }
            }
        let text = Mutex("")
        do {
            try await channel.executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: request))
                for try await part in inbound { text.withLock { $0 += String(buffer: part) } }
            }
        } catch is IOError {
            // A reset, or a close before the request was written, is how a refused connection may look.
        } catch is ChannelError {}
        return text.withLock { $0 }
    }

    static func get(
        _ path: String, method: String = "GET", version: String = "1.1", extra: String = ""
    ) -> String {
        "\(method) \(path) HTTP/\(version)\r\nHost: x\r\nConnection: close\r\n\(extra)\r\n"
    }

    @Test("metrics, health and the page")
    func pages() async throws {
        try await Self.serving { port in
            let metrics = try await Self.exchange(port, Self.get("/metrics?x=1"))
            #expect(metrics.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(
                metrics.contains(
                    "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"))
            #expect(metrics.contains("Content-Length: 21\r\n"))
            #expect(metrics.hasSuffix("\r\n\r\n# TYPE up gauge\nup 1\n"))
            let health = try await Self.exchange(port, Self.get("/healthz"))
            #expect(health.hasPrefix("HTTP/1.1 200 ") && health.hasSuffix("\r\n\r\nok\n"))
            let page = try await Self.exchange(port, Self.get("/"))
            #expect(page.contains("Content-Type: text/html") && page.contains("/metrics"))
            let head = try await Self.exchange(port, Self.get("/metrics", method: "HEAD"))
            #expect(head.contains("Content-Length: 21\r\n") && head.hasSuffix("\r\n\r\n"))
        }
    }

    @Test(
        "what is not served",
        arguments: [
            ("/nothing", "GET", "404"), ("/metrics/x", "GET", "404"), ("/metrics", "POST", "405"),
            ("/", "DELETE", "405"),
        ])
    func refused(path: String, method: String, status: String) async throws {
        try await Self.serving { port in
            let answer = try await Self.exchange(
                port, Self.get(path, method: method, extra: "Content-Length: 0\r\n"))
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
            #expect(answer.contains("Allow: GET, HEAD") == (status == "405"))
        }
    }

    @Test("an ailment is 503 with its text")
    func ailing() async throws {
        let content = ExportContent(metrics: { [] }, ailment: { "spool is full" })
        try await Self.serving(ExportConfiguration(port: 0), content) { port in
            let answer = try await Self.exchange(port, Self.get("/healthz"))
            #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.hasSuffix("spool is full\n"))
        }
    }

    @Test("several requests on one connection, each with its own limit")
    func keepAlive() async throws {
        let configuration = ExportConfiguration(port: 0, requestBytesMax: 200)
        try await Self.serving(configuration) { port in
            let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            let answers = try await Self.exchange(port, one + one + Self.get("/healthz"))
            #expect(answers.ranges(of: "HTTP/1.1 200 OK").count == 3)
        }
    }

    @Test("a request past the limit is cut off, a malformed one is 400")
    func limits() async throws {
        try await Self.serving { port in
            let long = Self.get(
                "/metrics", extra: "X: \(String(repeating: "a", count: 20_000))\r\n")
            let cutOff = try await Self.exchange(port, long)
            #expect(cutOff == "")
            let malformed = try await Self.exchange(port, "nonsense\r\n\r\n")
            #expect(malformed.hasPrefix("HTTP/1.1 400 "))
            let next = try await Self.exchange(port, Self.get("/healthz"))
            #expect(next.contains(" 200 "))
        }
    }

    @Test(
        "a socket's server answers the status, well or not; the port's has none",
        arguments: [true, false])
    func status(isWell: Bool) async throws {
        // mkdtemp(3) asks for six of these at the end.
        let place = "/tmp/petrel-export-" + String(repeating: "X", count: 6)
        var name: [UInt8] = Array(place.utf8) + [0]
        let folder = try #require(
            name.withUnsafeMutableBytes { bytes in
                bytes.baseAddress.flatMap { mkdtemp($0.assumingMemoryBound(to: CChar.self)) }
                    .map { String(cString: $0) }
            })
        let path = folder + "/s"
        defer {
            unlink(path)
            rmdir(folder)
        }
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(isBound == 0 && listen(descriptor, 4) == 0)
        let content = ExportContent(
            metrics: { [] }, status: { (isWell, "agent  runs\n") })
        let server = try await ExportServer.adopt(
            descriptor, ExportConfiguration(), content: content, group: Self.group)
        let services = ServiceGroup(
            configuration: .init(services: [.init(service: server)], logger: Self.quiet))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            let address = try SocketAddress(unixDomainSocketPath: path)
            let answer = try await Self.exchange(address, Self.get("/status"))
            #expect(answer.hasPrefix("HTTP/1.1 \(isWell ? 200 : 503) "))
            #expect(answer.hasSuffix("\r\n\r\nagent  runs\n"))
            await services.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        try await Self.serving { port in
            let answer = try await Self.exchange(port, Self.get("/status"))
            #expect(answer.hasPrefix("HTTP/1.1 404 "))
        }
    }

    @Test("a taken port is an error of its own")
    func taken() async throws {
        try await Self.serving { port in
            await #expect(
                throws: ExportError.addressInUse(host: "127.0.0.1", port: port)
            ) {
                _ = try await ExportServer.bind(
                    ExportConfiguration(port: port), content: Self.content, group: Self.group)
            }
        }
    }

    @Test("connections past the bound are closed, and shutdown does not wait for idle ones")
    func connections() async throws {
        let configuration = ExportConfiguration(port: 0, connectionsMax: 1)
        try await Self.serving(configuration) { port in
            let idle = try await ClientBootstrap(group: Self.group)
                .connect(host: "127.0.0.1", port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                            wrappingChannelSynchronously: channel)
                    }
                }
            try await idle.executeThenClose { inbound, outbound in
                // An answer proves that the server counts this connection.
                try await outbound.write(
                    ByteBuffer(string: "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
                var parts = inbound.makeAsyncIterator()
                _ = try await parts.next()
                let refused = try await Self.exchange(port, Self.get("/healthz"))
                #expect(refused == "")
            }
        }
        // An idle connection that stays open while the server stops: `serving` returns all the same.
        let held = Mutex<(any Channel)?>(nil)
        try await Self.serving { port in
            let channel = try await ClientBootstrap(group: Self.group).connect(
                host: "127.0.0.1", port: port
            ).get()
            held.withLock { $0 = channel }
        }
        try? await held.withLock { $0 }?.close()
    }
}
