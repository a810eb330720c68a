import NIOCore
import NIOPosix
import Synchronization

/// What answers in Docker's place: bytes by script, over a Unix socket.
final class FakeDocker: Sendable {
    /// What happens after a request has come in whole.
    enum Answer: Sendable {
        /// These bytes, then the end of the connection.
        case bytes(String)
        /// These bytes, and the connection stays open.
        case open(String)
        /// Many bytes, then the end.
        case repeated(head: String, String, count: Int)
        case silence
    }

    private struct State {
        var requests: [String] = []
        var channels: [any Channel] = []
    }

    private let state = Mutex(State())
    private let listener: Mutex<(any Channel)?>

    private init() { listener = Mutex(nil) }

    static func serving(
        _ path: String, _ script: @escaping @Sendable (String) -> Answer
    ) async throws -> FakeDocker {
        let fake = FakeDocker()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ScriptHandler(fake: fake, script: script))
                }
            }.bind(unixDomainSocketPath: path).get()
        fake.listener.withLock { $0 = channel }
        return fake
    }

    var requests: [String] { state.withLock { $0.requests } }

    /// Writes to every connection that is open.
    func push(_ text: String) async throws {
        for channel in state.withLock({ $0.channels }) where channel.isActive {
            try await channel.writeAndFlush(ByteBuffer(string: text))
        }
    }

    /// Ends every connection.
    func hangUp() async {
        for channel in state.withLock({ $0.channels }) { try? await channel.close() }
    }

    /// Returns when every connection has ended from the other side.
    func connectionsEnded() async throws {
        for channel in state.withLock({ $0.channels }) { try await channel.closeFuture.get() }
    }

    func stop() async {
        let channel = listener.withLock { $0.take() }
        try? await channel?.close()
        await hangUp()
    }

    fileprivate func note(_ request: String, _ channel: any Channel) {
        state.withLock {
            $0.requests.append(request)
            $0.channels.append(channel)
        }
    }
}

private final class ScriptHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let fake: FakeDocker
    private let script: @Sendable (String) -> FakeDocker.Answer
    private var text = ""

    init(fake: FakeDocker, script: @escaping @Sendable (String) -> FakeDocker.Answer) {
        self.fake = fake
        self.script = script
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        text += String(buffer: unwrapInboundIn(data))
        guard text.contains("\r\n\r\n") else { return }
        fake.note(text, context.channel)
        let target = text.split(separator: " ").dropFirst().first.map(String.init) ?? ""
        text = ""
        switch script(target) {
        case .bytes(let bytes):
            context.write(wrapOutboundOut(ByteBuffer(string: bytes)), promise: nil)
            end(context)
        case .open(let bytes):
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: bytes)), promise: nil)
        case .repeated(let head, let bytes, let count):
            context.write(wrapOutboundOut(ByteBuffer(string: head)), promise: nil)
            for _ in 0..<count {
                context.write(wrapOutboundOut(ByteBuffer(string: bytes)), promise: nil)
            }
            end(context)
        case .silence: break
        }
    }

    private func end(_ context: ChannelHandlerContext) {
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in
            channel.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
