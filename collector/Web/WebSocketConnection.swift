import CollectorQuery
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// An accepted connection that has become, or is about to become, a WebSocket. Safe from any thread.
struct WebSocketConnection: Sendable {
    /// Of the answer to the handshake.
    let headers: [(name: String, value: String)]
    private let channel: any Channel
    private let handler: NIOLoopBound<WebSocketHandler>

    /// Accepts the handshake of `request`; `begin` is for when the answer has been written. Throws where it is none.
    static func open(
        on channel: any Channel, _ request: WebRequest
    ) async throws -> WebSocketConnection {
        let answer = try await accept(channel, request)
        let handler = try await channel.eventLoop.submit {
            let handler = WebSocketHandler()
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(handler, position: .first)
            try pipeline.addHandler(
                ByteToMessageHandler(
                    WebSocketFrameDecoder(maxFrameSize: WebSocketHandler.frameBytesMax)),
                position: .first)
            return NIOLoopBound(handler, eventLoop: channel.eventLoop)
        }.get()
        return WebSocketConnection(headers: answer, channel: channel, handler: handler)
    }

    /// The headers that accept; NIO has what they are made of.
    private static func accept(
        _ channel: any Channel, _ request: WebRequest
    ) async throws -> [(name: String, value: String)] {
        var headers = HTTPHeaders()
        for name in ["sec-websocket-key", "sec-websocket-version"] {
            headers.add(name: name, value: request.headers[name] ?? "")
        }
        let upgrader = NIOWebSocketServerUpgrader(
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
        let answer = try await upgrader.buildUpgradeResponse(
            channel: channel,
            upgradeRequest: HTTPRequestHead(
                version: .http1_1, method: .GET, uri: "/", headers: headers),
            initialResponseHeaders: [:]
        ).get()
        return answer.map { (name: $0.name.lowercased(), value: $0.value) }
    }

    /// To be called once the answer to the handshake is on its way.
    func begin() async throws {
        let handler = handler
        try await channel.eventLoop.submit { handler.value.begin() }.get()
    }

    /// Returns once the socket has taken the message. A message after the close is dropped.
    func send(_ message: [UInt8]) async throws {
        let (handler, channel) = (handler, channel)
        try await channel.eventLoop.flatSubmit {
            handler.value.send(message) ?? channel.eventLoop.makeSucceededVoidFuture()
        }.get()
    }

    /// `reason` is for a person; the client sees at most 123 bytes of it.
    func close(_ code: WebSocketHandler.CloseCode, _ reason: String = "") {
        let handler = handler
        channel.eventLoop.execute { handler.value.close(code, reason) }
    }
}
