import CollectorWeb
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

/// A server of a site, and the client's half of a WebSocket, as far as a test needs it. Source: RFC 6455.
struct SocketClient {
    struct Frame: Equatable {
        var kind: UInt8
        var payload: [UInt8]

        var text: String { String(decoding: payload, as: UTF8.self) }
        /// Of a close frame.
        var code: Int? {
            kind == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil
        }
    }

    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var bytes: [UInt8] = []

    init(
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
    }

    /// Runs a server over `site`, hands its port and its stop to `body`, and shuts it down.
    static func serving(
        _ site: WebSite, stallMillisecondsMax: Int64 = 60_000,
        _ body: @Sendable @escaping (Int, @escaping @Sendable () async -> Void) async throws -> Void
    ) async throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let (ports, source) = AsyncStream.makeStream(of: Int.self)
        var configuration = WebConfiguration(port: 0)
        configuration.stallMillisecondsMax = stallMillisecondsMax
        let service = try WebService(
            configuration: configuration, site: site, logger: quiet,
            onListening: { source.yield($0) })
        let services = ServiceGroup(
            configuration: .init(services: [.init(service: service)], logger: quiet))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            for await port in ports {
                try await body(port) { await services.triggerGracefulShutdown() }
                break
            }
            await services.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// A connection of its own.
    static func connected<Answer: Sendable>(
        _ port: Int, windowBytes: ChannelOptions.Types.SocketOption.Value? = nil,
        _ body: (inout SocketClient) async throws -> Answer
    ) async throws -> Answer {
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        if let windowBytes {
            bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: windowBytes)
        }
        let channel = try await bootstrap.connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            var client = SocketClient(inbound, outbound)
            return try await body(&client)
        }
    }

    func write(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

    /// Asks for a WebSocket, with the key of RFC 6455's example.
    func open(_ path: String, _ more: String = "") async throws {
        try await write(
            "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                + "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\(more)\r\n")
    }

    /// The head of an answer, in lower case.
    mutating func head() async throws -> String {
        let end = Array("\r\n\r\n".utf8)
        while true {
            if let found = bytes.firstRange(of: end) {
                let head = String(decoding: bytes[..<found.lowerBound], as: UTF8.self)
                bytes.removeSubrange(..<found.upperBound)
                return head.lowercased()
            }
            try #require(await more())
        }
    }

    /// All bytes up to the end of the connection.
    mutating func rest() async throws -> String {
        while try await more() {}
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Bytes up to and with `text`.
    mutating func text(through text: String) async throws -> String {
        while true {
            if let found = bytes.firstRange(of: Array(text.utf8)) {
                let read = String(decoding: bytes[..<found.upperBound], as: UTF8.self)
                bytes.removeSubrange(..<found.upperBound)
                return read
            }
            try #require(await more())
        }
    }

    /// The next frame; nil at the end of the connection.
    mutating func frame() async throws -> Frame? {
        while true {
            if let frame = take() { return frame }
            guard try await more() else { return nil }
        }
    }

    func send(_ kind: UInt8, _ payload: [UInt8], isMasked: Bool = true) async throws {
        try #require(payload.count < 126)
        let mask: [UInt8] = [1, 2, 3, 4]
        var bytes = [0x80 | kind, UInt8(payload.count) | (isMasked ? 0x80 : 0)]
        if isMasked { bytes += mask }
        bytes += payload.enumerated().map { isMasked ? $1 ^ mask[$0 % 4] : $1 }
        try await outbound.write(ByteBuffer(bytes: bytes))
    }

    func send(raw bytes: [UInt8]) async throws {
        try await outbound.write(ByteBuffer(bytes: bytes))
    }

    private mutating func take() -> Frame? {
        guard bytes.count >= 2 else { return nil }
        var length = Int(bytes[1] & 0x7f)
        var start = 2
        if length >= 126 {
            let count = length == 126 ? 2 : 8
            guard bytes.count >= 2 + count else { return nil }
            length = bytes[2..<2 + count].reduce(0) { $0 << 8 | Int($1) }
            start += count
        }
        guard bytes.count >= start + length else { return nil }
        let frame = Frame(kind: bytes[0] & 0xf, payload: Array(bytes[start..<start + length]))
        bytes.removeFirst(start + length)
        return frame
    }

    private mutating func more() async throws -> Bool {
        guard let part = try await inbound.next() else { return false }
        bytes += part.readableBytesView
        return true
    }
}
