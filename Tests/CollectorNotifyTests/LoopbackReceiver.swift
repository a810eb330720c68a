import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A receiver of webhooks on loopback that answers by a script, then with 200; keeps what it was asked.
final class LoopbackReceiver: Sendable {
    struct Answer: Sendable {
        var status: HTTPResponseStatus
        var headers: [(String, String)] = []
        var body = "ok"
        /// Whether the answer ends; otherwise it announces one byte more than it sends.
        var ends = true
        /// Whether there is an answer at all.
        var isGiven = true
    }
    struct Request: Sendable {
        var head: HTTPRequestHead
        var body: [UInt8]
    }

    private let script: Mutex<[Answer]>
    private let received = Mutex<[Request]>([])
    private let channel: any Channel

    private init(script: [Answer], channel: any Channel, box: Box) {
        self.script = Mutex(script)
        self.channel = channel
        box.receiver.withLock { $0 = self }
    }

    private final class Box: Sendable {
        let receiver = Mutex<LoopbackReceiver?>(nil)
    }

    /// A running receiver, handed to `body` and stopped after it.
    static func serving(
        _ script: [Answer], _ body: (LoopbackReceiver) async throws -> Void
    ) async throws {
        let box = Box()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { box.receiver.withLock { $0 }?.answer($0) })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let receiver = LoopbackReceiver(script: script, channel: channel, box: box)
        do {
            try await body(receiver)
        } catch {
            try? await channel.close()
            throw error
        }
        try await channel.close()
        box.receiver.withLock { $0 = nil }
    }

    var url: String { "http://127.0.0.1:\(channel.localAddress?.port ?? 0)" }
    var requests: [Request] { received.withLock { $0 } }

    private func answer(_ request: Request) -> Answer {
        received.withLock { $0.append(request) }
        return script.withLock { $0.isEmpty ? Answer(status: .ok) : $0.removeFirst() }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        private let answer: (Request) -> Answer?
        private var request: Request?

        init(_ answer: @escaping (Request) -> Answer?) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): request = Request(head: head, body: [])
            case .body(let part): request?.body += part.readableBytesView
            case .end:
                if let request, let answer = answer(request) { write(answer, context) }
                request = nil
            }
        }

        private func write(_ answer: Answer, _ context: ChannelHandlerContext) {
            guard answer.isGiven else { return }
            var headers = HTTPHeaders(answer.headers)
            let bytes = answer.body.utf8.count + (answer.ends ? 0 : 1)
            headers.add(name: "Content-Length", value: String(bytes))
            let head = HTTPResponseHead(
                version: .http1_1, status: answer.status, headers: headers)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            let body = ByteBuffer(string: answer.body)
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            guard answer.ends else { return }
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}
