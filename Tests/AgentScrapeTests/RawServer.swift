import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A server of bytes on loopback: it answers each request's head with what a test says, then closes, or keeps silent.
final class RawServer: Sendable {
    /// What follows a request's head.
    struct Answer: Sendable {
        var bytes: [UInt8]
        /// False: the connection stays open and nothing more comes.
        var closes = true
        /// Closes the connection below TLS, as who cuts it would.
        var cuts = false

        init(_ bytes: [UInt8], closes: Bool = true, cuts: Bool = false) {
            self.bytes = bytes
            self.closes = closes
            self.cuts = cuts
        }

        init(_ text: String, closes: Bool = true, cuts: Bool = false) {
            self.init(Array(text.utf8), closes: closes, cuts: cuts)
        }

        /// An answer 200 with a body.
        static func ok(
            _ body: [UInt8], type: String = "text/plain; version=0.0.4", encoding: String? = nil
        ) -> Answer {
            var head = "HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\n"
            if let encoding { head += "Content-Encoding: \(encoding)\r\n" }
            return Answer(Array((head + "Content-Length: \(body.count)\r\n\r\n").utf8) + body)
        }

        static func ok(_ body: String, type: String = "text/plain; version=0.0.4") -> Answer {
            ok(Array(body.utf8), type: type)
        }
    }

    static let group = MultiThreadedEventLoopGroup.singleton
    let port: Int
    private let channel: any Channel
    private let log: RequestLog

    /// Heads of the requests so far.
    var requests: [String] { log.heads.withLock { $0 } }

    private init(channel: any Channel, log: RequestLog) {
        self.channel = channel
        port = channel.localAddress?.port ?? 0
        self.log = log
    }

    final class RequestLog: Sendable {
        let heads = Mutex<[String]>([])
    }

    static func start(
        tls: NIOSSLContext? = nil, _ answer: @escaping @Sendable (String) -> Answer
    ) async throws -> RawServer {
        let log = RequestLog()
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture {
                    if let tls {
                        try child.pipeline.syncOperations.addHandler(
                            NIOSSLServerHandler(context: tls))
                    }
                    try child.pipeline.syncOperations.addHandler(Handler(log, answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return RawServer(channel: channel, log: log)
    }

    func stop() async throws { try await channel.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let log: RequestLog
        private let answer: @Sendable (String) -> Answer
        private var head = ""

        init(_ log: RequestLog, _ answer: @escaping @Sendable (String) -> Answer) {
            self.log = log
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            head += String(buffer: unwrapInboundIn(data))
            guard head.hasSuffix("\r\n\r\n") else { return }
            let request = head
            log.heads.withLock { $0.append(request) }
            let answer = answer(request)
            let written = context.eventLoop.makePromise(of: Void.self)
            context.writeAndFlush(
                wrapOutboundOut(ByteBuffer(bytes: answer.bytes)), promise: written)
            let channel = context.channel
            guard answer.closes else { return }
            let cuts = answer.cuts
            written.futureResult.whenComplete { _ in
                let below =
                    cuts
                    ? try? channel.pipeline.syncOperations.context(
                        handlerType: NIOSSLServerHandler.self) : nil
                if let below { below.close(promise: nil) } else { channel.close(promise: nil) }
            }
        }
    }
}
