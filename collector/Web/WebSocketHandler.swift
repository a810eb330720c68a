import NIOCore
import NIOWebSocket

/// The server's side of a WebSocket on a connection that began as HTTP.
///
/// It stands, with the decoder of frames before it, at the head of the channel's pipeline: the handlers of HTTP behind it
/// see no byte of the connection any more, and end with it. What is sent goes past them to the socket. Clients have
/// nothing to say but pings, pongs and the close; what else they send is ignored.
///
/// Source: RFC 6455.
final class WebSocketHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = ByteBuffer

    /// Why a connection is closed. Source: RFC 6455, section 7.4.1.
    enum CloseCode: UInt16 {
        case normal = 1000
        case goingAway = 1001
        case protocolError = 1002
        case tooBig = 1009
        case internalError = 1011
    }

    /// The longest frame of a client, bytes.
    static let frameBytesMax = 4096
    private static let pingSeconds: Int64 = 20
    /// Pings without an answer after which the client is gone.
    private static let silentPingsMax = 3
    /// How long a client may take to answer a close.
    private static let closeSeconds: Int64 = 1
    /// Of a close frame's text. Source: RFC 6455, section 5.5.
    private static let reasonBytesMax = 123

    private enum Kind {
        static let text: UInt8 = 0x1
        static let close: UInt8 = 0x8
        static let ping: UInt8 = 0x9
        static let pong: UInt8 = 0xa
    }

    private enum State {
        /// The answer to the handshake is not written yet; becomes open or closing.
        case opening
        /// Becomes closing.
        case open
        /// Our close frame is on its way; nothing is sent after it.
        case closing
    }

    private var state = State.opening
    private var context: ChannelHandlerContext?
    private var pings: RepeatedTask?
    private var silentPings = 0

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    /// The answer to the handshake is written: frames may follow.
    func begin() {
        guard state == .opening, let context else { return }
        state = .open
        let interval = TimeAmount.seconds(Self.pingSeconds)
        let me = NIOLoopBound(self, eventLoop: context.eventLoop)
        pings = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
            _ in me.value.ping()
        }
    }

    /// One message; succeeds once the socket has taken it.
    func send(_ message: [UInt8]) -> EventLoopFuture<Void>? {
        guard state == .open, let context else { return nil }
        let promise = context.eventLoop.makePromise(of: Void.self)
        write(Kind.text, message, promise)
        return promise.futureResult
    }

    /// Says why, and ends the connection as soon as the client has answered, or soon anyway.
    func close(_ code: CloseCode, _ reason: String) {
        guard state != .closing, let context else { return }
        let wasOpen = state == .open
        state = .closing
        stopPings()
        let channel = context.channel
        guard wasOpen else { return channel.close(promise: nil) }
        var payload = [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 0xff)]
        var text = reason
        while text.utf8.count > Self.reasonBytesMax { text.removeLast() }
        payload += Array(text.utf8)
        write(Kind.close, payload, nil)
        context.eventLoop.scheduleTask(in: .seconds(Self.closeSeconds)) {
            channel.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        guard frame.maskKey != nil else {
            return close(.protocolError, "a frame of a client must be masked")
        }
        silentPings = 0
        switch frame.opcode {
        case .connectionClose:
            // Its own code goes back.
            if state == .open {
                write(Kind.close, Array(frame.unmaskedData.readableBytesView.prefix(2)), nil)
            }
            state = .closing
            stopPings()
            let channel = context.channel
            // After what is written.
            context.eventLoop.execute { channel.close(promise: nil) }
        case .ping:
            // A client that pings and does not read gets no more than it takes.
            guard state == .open, context.channel.isWritable else { return }
            write(Kind.pong, Array(frame.unmaskedData.readableBytesView), nil)
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength:
            close(.tooBig, "a frame of more than \(Self.frameBytesMax) bytes")
        case is NIOWebSocketError: close(.protocolError, "")
        default: context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { close(.goingAway, "the collector stops") }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func ping() {
        guard state == .open, let context else { return }
        guard silentPings < Self.silentPingsMax else { return context.close(promise: nil) }
        // Behind a message that the client has not taken yet there is no need of one.
        guard context.channel.isWritable else { return }
        silentPings += 1
        write(Kind.ping, [], nil)
    }

    private func stopPings() {
        pings?.cancel()
        pings = nil
    }

    private func end() {
        state = .closing
        stopPings()
        context = nil
    }

    /// Source: RFC 6455, section 5.2.
    private func write(_ kind: UInt8, _ payload: [UInt8], _ promise: EventLoopPromise<Void>?) {
        guard let context else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        var frame = context.channel.allocator.buffer(capacity: payload.count + 10)
        // The whole message in one frame.
        frame.writeInteger(0x80 | kind)
        switch payload.count {
        case ..<126: frame.writeInteger(UInt8(payload.count))
        case ...0xffff:
            frame.writeInteger(UInt8(126))
            frame.writeInteger(UInt16(payload.count))
        default:
            frame.writeInteger(UInt8(127))
            frame.writeInteger(UInt64(payload.count))
        }
        frame.writeBytes(payload)
        context.writeAndFlush(wrapOutboundOut(frame), promise: promise)
    }
}

/// Keeps nothing of what a client sends on a connection that is about to end.
final class InputDiscarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}
