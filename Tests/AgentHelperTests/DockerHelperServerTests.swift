import AgentHelper
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing
import World
import WorldLive

@Suite("Docker helper", .serialized, .timeLimit(.minutes(1)))
struct DockerHelperServerTests {
    static let group = MultiThreadedEventLoopGroup.singleton
    static let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    /// Sockets of one test, in a folder that goes with it.
    struct Place: Sendable {
        var folder = "/tmp/ph-\(LiveRandom().next())"
        var docker: String { folder + "/docker.sock" }
        var helper: String { folder + "/helper.sock" }
    }

    static func inFolder(_ body: (Place) async throws -> Void) async throws {
        let place = Place()
        let files = LiveFileTree()
        try files.makeDirectory(place.folder)
        defer {
            for name in (try? files.list(place.folder)) ?? [] {
                try? files.remove(place.folder + "/" + name)
            }
            try? files.remove(place.folder)
        }
        try await body(place)
    }

    /// Runs a helper in front of a fake Docker and shuts both down.
    static func serving(
        deadlineMilliseconds: Int64 = 5000, clientDeadlineMilliseconds: Int64 = 5000,
        stopDeadlineMilliseconds: Int64 = 3000, users: Set<UInt32> = [getuid()],
        connectionsMax: Int = 16, exchangesMax: Int = 4,
        _ script: @escaping @Sendable (String) -> FakeDocker.Answer,
        run body: @Sendable @escaping (Place, FakeDocker) async throws -> Void
    ) async throws {
        try await inFolder { place in
            let fake = try await FakeDocker.serving(place.docker, script)
            let listener = try HelperSocket.listen(path: place.helper, group: nil)
            let server = try await DockerHelperServer.make(
                DockerHelperConfiguration(
                    dockerSocket: place.docker, users: users, connectionsMax: connectionsMax,
                    exchangesMax: exchangesMax, answerBytesMax: 1 << 20, eventBytesMax: 1000,
                    deadlineMilliseconds: deadlineMilliseconds,
                    clientDeadlineMilliseconds: clientDeadlineMilliseconds,
                    stopDeadlineMilliseconds: stopDeadlineMilliseconds),
                listener: listener, group: group, logger: quiet)
            let services = ServiceGroup(
                configuration: .init(services: [.init(service: server)], logger: quiet))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await services.run() }
                try await body(place, fake)
                await services.triggerGracefulShutdown()
                try await tasks.waitForAll()
            }
            await fake.stop()
        }
    }

    typealias Client = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    static func connect(_ place: Place) async throws -> Client {
        try await ClientBootstrap(group: group).connect(unixDomainSocketPath: place.helper) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try Client(wrappingChannelSynchronously: channel)
            }
        }
    }

    /// Sends `request` and returns all bytes until the helper closes.
    static func exchange(_ place: Place, _ request: String) async throws -> String {
        let text = Mutex("")
        do {
            try await connect(place).executeThenClose { inbound, outbound in
                if !request.isEmpty { try await outbound.write(ByteBuffer(string: request)) }
                for try await part in inbound { text.withLock { $0 += String(buffer: part) } }
            }
        } catch is IOError {
            // A reset is how a connection that was closed with bytes unread may look.
        } catch is ChannelError {}
        return text.withLock { $0 }
    }

    static func get(_ target: String, _ headers: String = "") -> String {
        "GET \(target) HTTP/1.1\r\nHost: x\r\n\(headers)\r\n"
    }

    static func ok(_ body: String, _ headers: String = "") -> String {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\(headers)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    static func body(_ response: String) -> String {
        response.firstRange(of: "\r\n\r\n").map { String(response[$0.upperBound...]) } ?? ""
    }

    @Test("the request is made anew: no header of the client reaches Docker")
    func rebuilt() async throws {
        try await Self.serving { _ in
            .bytes(Self.ok("{\"NCPU\":4,\"ID\":\"x\"}"))
        } run: {
            place, fake in
            let answer = try await Self.exchange(
                place,
                Self.get(
                    "/v1.43/info",
                    "Authorization: secret\r\nX-Registry-Auth: secret\r\nCookie: secret\r\nContent-Length: 0\r\n"
                ))
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(Self.body(answer) == "{\"NCPU\":4}")
            #expect(
                fake.requests == [
                    "GET /v1.43/info HTTP/1.1\r\nHost: docker\r\nAccept: application/json\r\n"
                        + "Connection: close\r\nUser-Agent: petrel-agent\r\n\r\n"
                ])
        }
    }

    @Test("each path's answer, plain and chunked")
    func paths() async throws {
        try await Self.serving { target in
            switch target {
            case "/_ping":
                .bytes("HTTP/1.1 200 OK\r\nApi-Version: 1.43\r\nContent-Length: 2\r\n\r\nOK")
            case "/containers/json?all=1":
                .bytes(
                    Self.eventsHead + Self.chunk("[{\"Id\"")
                        + Self.chunk(":\"1\",\"Command\":\"s3c\"}")
                        + Self.chunk("]") + "0\r\n\r\n")
            case "/containers/web/json":
                .bytes(Self.ok("{\"Id\":\"1\",\"Config\":{\"Env\":[\"A=s3c\"],\"Image\":\"i\"}}"))
            default: .bytes(Self.ok("{}"))
            }
        } run: { place, _ in
            let ping = try await Self.exchange(place, Self.get("/_ping"))
            #expect(ping.contains("\r\nApi-Version: 1.43\r\n") && ping.hasSuffix("\r\n\r\nOK"))
            let list = try await Self.exchange(place, Self.get("/containers/json?all=1"))
            #expect(Self.body(list) == "[{\"Id\":\"1\"}]")
            let one = try await Self.exchange(place, Self.get("/containers/web/json"))
            #expect(Self.body(one) == "{\"Id\":\"1\",\"Config\":{\"Image\":\"i\"}}")
        }
    }

    @Test(
        "what is refused never reaches Docker",
        arguments: [
            ("POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "405"),
            ("POST /containers/json HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
            ("HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
            ("CONNECT docker:80 HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
            (get("/images/json"), "403"), (get("/containers/x/logs?stdout=1"), "403"),
            (get("/info", "Content-Length: 5\r\n") + "hello", "400"),
            (get("/info", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", "400"),
            (
                get("/info", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n")
                    + "0\r\n\r\nGET /images/json HTTP/1.1\r\n\r\n", "400"
            ),
            (get("/info", "Content-Length: 0\r\nContent-Length: 9\r\n"), "400"),
            (get("/info", "Connection: Upgrade\r\nUpgrade: tcp\r\n"), "403"),
            (get("/info", "Expect: 100-continue\r\n"), "400"),
            (get("/containers/json?size=1"), "400"), ("nonsense\r\n\r\n", "400"),
            ("GET /info HTTP/9.9\r\n\r\n", "400"),
            (get("/info", "X: \(String(repeating: "a", count: 40_000))\r\n"), "431"),
            (get("/" + String(repeating: "a", count: 5000)), "414"),
        ])
    func refused(request: String, status: String) async throws {
        try await Self.serving { _ in
            .bytes(Self.ok("{}"))
        } run: { place, fake in
            let answer = try await Self.exchange(place, request)
            let isCutOff = status == "431" && (answer.isEmpty || answer.contains(" 400 "))
            #expect(answer.hasPrefix("HTTP/1.1 \(status) ") || isCutOff, "\(answer)")
            #expect(answer.contains("\r\nAllow: GET\r\n") == (status == "405"))
            #expect(fake.requests.isEmpty)
        }
    }

    @Test("a second request on a connection is not read")
    func pipelined() async throws {
        try await Self.serving { _ in
            .bytes(Self.ok("{}"))
        } run: { place, fake in
            let answer = try await Self.exchange(
                place, Self.get("/info") + Self.get("/containers/json") + Self.get("/info"))
            #expect(answer.ranges(of: "HTTP/1.1 ").count == 1)
            #expect(fake.requests.count == 1)
        }
    }

    @Test("a user that may not ask is refused by the kernel's word")
    func peers() async throws {
        try await Self.serving(users: [getuid() &+ 1]) { _ in
            .bytes(Self.ok("{}"))
        } run: {
            place, fake in
            let answer = try await Self.exchange(place, Self.get("/info"))
            #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("Only the agent's user"))
            #expect(fake.requests.isEmpty)
        }
    }

    @Test(
        "what Docker does wrong is named, and the helper goes on",
        arguments: [
            (FakeDocker.Answer.bytes("garbage\r\n\r\n"), "502", "speaks no HTTP"),
            (.bytes(ok("<html>")), "502", "can't be read"),
            (.bytes(ok("[]")), "502", "unexpected shape"),
            (.bytes("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"NCPU\":"), "502", ""),
            (.bytes(""), "502", "closed the connection"),
            (.bytes("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "502", "status 302"),
            (
                .bytes("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"),
                "502", ""
            ),
            (
                .repeated(
                    head: "HTTP/1.1 200 OK\r\n\r\n", String(repeating: " ", count: 64 << 10),
                    count: 20),
                "502", "more than 1048576 bytes"
            ),
            (
                .bytes(
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 31\r\n\r\n{\"message\":\"No such container\"}"
                ), "404", "{\"message\":\"No such container\"}"
            ),
            (
                .bytes("HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\noops"), "500",
                "Docker answered with status 500."
            ),
        ])
    func faults(answer: FakeDocker.Answer, status: String, message: String) async throws {
        try await Self.serving { target in
            target == "/info" ? answer : .bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        } run: { place, _ in
            let response = try await Self.exchange(place, Self.get("/info"))
            #expect(response.hasPrefix("HTTP/1.1 \(status) "), "\(response)")
            #expect(Self.body(response).hasPrefix("{\"message\":\""))
            #expect(response.contains(message), "\(response)")
            let next = try await Self.exchange(place, Self.get("/_ping"))
            #expect(next.hasPrefix("HTTP/1.1 200 "))
        }
    }

    @Test("a Docker that says nothing is late, whether it answers half or not at all")
    func slow() async throws {
        try await Self.serving(deadlineMilliseconds: 100) { target in
            target == "/info"
                ? .silence : .open("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"N")
        } run: { place, fake in
            for target in ["/info", "/containers/x/json"] {
                let response = try await Self.exchange(place, Self.get(target))
                #expect(response.hasPrefix("HTTP/1.1 504 "), "\(response)")
                #expect(response.contains("did not answer within"))
            }
            try await fake.connectionsEnded()
        }
    }

    @Test("a client that says nothing is let go")
    func slowClient() async throws {
        try await Self.serving(clientDeadlineMilliseconds: 100) { _ in
            .silence
        } run: { place, fake in
            let response = try await Self.exchange(place, "GET /info HT")
            #expect(response == "" || response.contains(" 400 "))
            #expect(fake.requests.isEmpty)
        }
    }

    @Test("Docker absent is 502 with a remedy, and found again when it is there")
    func absent() async throws {
        try await Self.serving { _ in
            .bytes(Self.ok("{}"))
        } run: { place, fake in
            await fake.stop()
            try? LiveFileTree().remove(place.docker)
            let response = try await Self.exchange(place, Self.get("/info"))
            #expect(response.hasPrefix("HTTP/1.1 502 "))
            #expect(response.contains("Is docker.service running"))
            let again = try await FakeDocker.serving(place.docker) { _ in .bytes(Self.ok("{}")) }
            let next = try await Self.exchange(place, Self.get("/info"))
            #expect(next.hasPrefix("HTTP/1.1 200 "))
            await again.stop()
        }
    }

    @Test(
        "an answer is whole however late its reader begins")
    func lateReader() async throws {
        let path = String(repeating: "x", count: 1000)
        try await Self.serving { target in
            let one = "{\"Id\":\"1\",\"Names\":[\"/web\"]}"
            return target == "/info"
                ? .bytes(Self.ok("{\"DockerRootDir\":\"/\(path)\"}"))
                : .bytes(
                    Self.ok("[" + Array(repeating: one, count: 30_000).joined(separator: ",") + "]")
                )
        } run: { place, _ in
            let channel = try await ClientBootstrap(group: Self.group)
                .channelOption(.autoRead, value: false)
                .connect(unixDomainSocketPath: place.helper) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try Client(
                            wrappingChannelSynchronously: channel,
                            configuration: .init(
                                backPressureStrategy: .init(lowWatermark: 1, highWatermark: 2)))
                    }
                }
            try await channel.executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: Self.get("/containers/json")))
                // Another exchange, begun and ended while the first waits for its reader.
                let other = try await Self.exchange(place, Self.get("/info"))
                #expect(Self.body(other).contains(path))
                try await channel.channel.setOption(.autoRead, value: true).get()
                var text = ""
                for try await part in inbound { text += String(buffer: part) }
                #expect(Self.body(text).hasSuffix("]"))
                #expect(Self.body(text).utf8.count == 30_000 * 28 + 1)
            }
        }
    }

    @Test("a reader that never begins is let go")
    func noReader() async throws {
        let body = "[" + String(repeating: "{\"Id\":\"1\"},", count: 80_000) + "{}]"
        try await Self.serving(clientDeadlineMilliseconds: 100, exchangesMax: 1) { _ in
            .bytes(Self.ok(body))
        } run: { place, fake in
            let never = try await ClientBootstrap(group: Self.group)
                .channelOption(.autoRead, value: false)
                .connect(unixDomainSocketPath: place.helper).get()
            try await never.writeAndFlush(ByteBuffer(string: Self.get("/containers/json")))
            while fake.requests.isEmpty { await Task.yield() }
            // The one exchange is free again.
            var answer = ""
            while !answer.hasPrefix("HTTP/1.1 200 ") {
                answer = try await Self.exchange(place, Self.get("/containers/json"))
            }
            try await never.closeFuture.get()
        }
    }

    @Test("a reader that goes on and on is let go: the answer as a whole has a deadline")
    func drip() async throws {
        let body = "[" + String(repeating: "{\"Id\":\"1\"},", count: 80_000) + "{}]"
        let received = Mutex("")
        try await Self.serving(clientDeadlineMilliseconds: 1000) { _ in
            .bytes(Self.ok(body))
        } run: { place, _ in
            // 64 KiB in 200 ms, the whole in more than the kernel's buffers and 2 s.
            let slow = try await ClientBootstrap(group: Self.group)
                .channelOption(.autoRead, value: false)
                .channelOption(.maxMessagesPerRead, value: 1)
                .channelOption(
                    .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 16 << 10)
                )
                .channelInitializer { channel in
                    channel.pipeline.addHandler(
                        Collecting { text in received.withLock { $0 += text } })
                }
                .connect(unixDomainSocketPath: place.helper).get()
            try await slow.writeAndFlush(ByteBuffer(string: Self.get("/containers/json")))
            let reading = slow.eventLoop.scheduleRepeatedTask(
                initialDelay: .zero, delay: .milliseconds(50)
            ) { _ in slow.read() }
            try await slow.closeFuture.get()
            reading.cancel()
        }
        let count = received.withLock { $0.utf8.count }
        #expect(count > 0 && count < body.utf8.count)
    }

    @Test("a stop waits for exchanges, and not for long")
    func stopCuts() async throws {
        let held = Mutex<(any Channel)?>(nil)
        try await Self.serving(
            deadlineMilliseconds: 600_000, clientDeadlineMilliseconds: 600_000,
            stopDeadlineMilliseconds: 100
        ) { _ in
            .silence
        } run: { place, fake in
            let channel = try await ClientBootstrap(group: Self.group)
                .connect(unixDomainSocketPath: place.helper).get()
            try await channel.writeAndFlush(ByteBuffer(string: Self.get("/info")))
            held.withLock { $0 = channel }
            while fake.requests.isEmpty { await Task.yield() }
        }
        try await held.withLock { $0 }?.closeFuture.get()
    }

    @Test("exchanges past the bound are told to come again")
    func busy() async throws {
        try await Self.serving(exchangesMax: 1) { _ in
            .open("HTTP/1.1 200 OK\r\n")
        } run: {
            place, fake in
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<2 {
                    group.addTask { try await Self.exchange(place, Self.get("/info")) }
                }
                // One of the two is refused at once; only then does Docker answer the other.
                let refused = try await group.next() ?? ""
                #expect(refused.hasPrefix("HTTP/1.1 503 ") && refused.contains("ask again"))
                while fake.requests.isEmpty { await Task.yield() }
                try await fake.push("Content-Length: 2\r\n\r\n{}")
                let answered = try await group.next() ?? ""
                #expect(answered.hasPrefix("HTTP/1.1 200 "))
            }
        }
    }
}

/// Hands on what comes.
private final class Collecting: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    private let take: @Sendable (String) -> Void

    init(_ take: @escaping @Sendable (String) -> Void) { self.take = take }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        take(String(buffer: unwrapInboundIn(data)))
    }
}
