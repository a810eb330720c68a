import AgentHelper
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

extension DockerHelperServerTests {
    /// Chunks of HTTP/1.1.
    static func chunk(_ text: String) -> String {
        String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n"
    }

    static let eventsHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    static func event(_ action: String) -> String {
        #"{"Type":"container","Action":"\#(action)","Actor":{"ID":"1","Attributes":{"KEY":"s3c","name":"web"}},"time":1}"#
    }

    static func passed(_ action: String) -> String {
        #"{"Type":"container","Action":"\#(action)","Actor":{"ID":"1","Attributes":{"name":"web"}},"time":1}"#
    }

    /// Reads on until the text has `ending`.
    static func read(
        _ parts: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        until ending: String
    ) async throws -> String {
        var text = ""
        while !text.contains(ending), let part = try await parts.next() {
            text += String(buffer: part)
        }
        return text
    }

    @Test("events pass as they come, however Docker cuts them; a cut stream has no closing chunk")
    func events() async throws {
        try await Self.serving { _ in
            .open(Self.eventsHead)
        } run: { place, fake in
            try await Self.connect(place).executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: Self.get("/events?since=5")))
                var parts = inbound.makeAsyncIterator()
                let head = try await Self.read(&parts, until: "\r\n\r\n")
                #expect(head.hasPrefix("HTTP/1.1 200 "))
                #expect(head.lowercased().contains("transfer-encoding: chunked"))
                let line = Self.event("start") + "\n"
                try await fake.push(Self.chunk(String(line.prefix(20))))
                try await fake.push(Self.chunk(String(line.dropFirst(20))))
                let first = try await Self.read(&parts, until: "\n\r\n")
                #expect(first == Self.chunk(Self.passed("start") + "\n"))
                let long = "{\"Type\":\"\(String(repeating: "x", count: 2000))\"}\n"
                let exec = Self.event("exec_create: sh s3c")
                try await fake.push(Self.chunk(long + exec))
                let second = try await Self.read(&parts, until: "\n\r\n")
                #expect(second == Self.chunk(Self.passed("exec_create") + "\n"))
                await fake.hangUp()
                var rest = ""
                do {
                    while let part = try await parts.next() { rest += String(buffer: part) }
                } catch is IOError {}
                #expect(rest == "")
            }
            #expect(
                fake.requests.first?.hasPrefix(
                    "GET /events?since=5&filters=%7B%22type%22%3A%5B%22container%22%5D%7D HTTP/1.1")
                    == true)
        }
    }

    @Test("a stream that Docker ends in order ends in order")
    func ended() async throws {
        try await Self.serving { _ in
            .bytes(Self.eventsHead + Self.chunk(Self.event("die")) + "0\r\n\r\n")
        } run: { place, _ in
            let answer = try await Self.exchange(place, Self.get("/events?until=1"))
            #expect(Self.body(answer) == Self.chunk(Self.passed("die") + "\n") + "0\r\n\r\n")
        }
    }

    @Test("garbage between events cuts the stream")
    func garbage() async throws {
        try await Self.serving { _ in
            .open(Self.eventsHead + Self.chunk(Self.event("die")) + Self.chunk("<html>"))
        } run: { place, _ in
            let answer = try await Self.exchange(place, Self.get("/events"))
            #expect(!answer.hasSuffix("0\r\n\r\n") && !answer.contains("html"))
        }
    }

    @Test("a refusal of Docker's before the stream begins is an answer")
    func refusedEvents() async throws {
        try await Self.serving { _ in
            .bytes(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\n{\"message\":\"old\"}")
        } run: { place, _ in
            let answer = try await Self.exchange(place, Self.get("/v1.12/events"))
            #expect(answer.hasPrefix("HTTP/1.1 400 "))
            #expect(Self.body(answer) == "{\"message\":\"old\"}\n")
        }
    }

    @Test("when the client goes, the connection to Docker goes")
    func clientGone() async throws {
        try await Self.serving { _ in
            .open(Self.eventsHead)
        } run: { place, fake in
            try await Self.connect(place).executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: Self.get("/events")))
                var parts = inbound.makeAsyncIterator()
                _ = try await Self.read(&parts, until: "\r\n\r\n")
            }
            try await fake.connectionsEnded()
            #expect(fake.requests.count == 1)
        }
    }

    @Test("streams are bounded, and a shutdown ends them")
    func bounded() async throws {
        let held = Mutex<[any Channel]>([])
        try await Self.serving { _ in
            .open(Self.eventsHead)
        } run: { place, fake in
            for _ in 0..<4 {
                let channel = try await ClientBootstrap(group: Self.group)
                    .connect(unixDomainSocketPath: place.helper).get()
                try await channel.writeAndFlush(ByteBuffer(string: Self.get("/events")))
                held.withLock { $0.append(channel) }
            }
            while fake.requests.count < 4 { await Task.yield() }
            let answer = try await Self.exchange(place, Self.get("/events"))
            #expect(answer.hasPrefix("HTTP/1.1 429 "))
        }
        for channel in held.withLock({ $0 }) { try await channel.closeFuture.get() }
    }

    @Test("connections past the bound are told so")
    func connections() async throws {
        try await Self.serving(connectionsMax: 1) { _ in
            .open(Self.eventsHead)
        } run: { place, _ in
            try await Self.connect(place).executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: Self.get("/events")))
                var parts = inbound.makeAsyncIterator()
                _ = try await Self.read(&parts, until: "\r\n\r\n")
                // Told so unasked: a request that is still being written could meet the end of the connection.
                let answer = try await Self.exchange(place, "")
                #expect(answer.hasPrefix("HTTP/1.1 503 "), "\(answer)")
            }
        }
    }
}
