import NIOCore
import Synchronization

/// The connections that are open and which of them owe an answer.
final class OpenConnections: Sendable {
    private struct State {
        var isStopping = false
        var open: [ObjectIdentifier: (channel: any Channel, isBusy: Bool)] = [:]
    }

    private let state = Mutex(State())

    /// False where there are `max` already, or the server stops.
    func insert(_ channel: any Channel, max: Int) -> Bool {
        state.withLock { state in
            guard state.open.count < max, !state.isStopping else { return false }
            state.open[ObjectIdentifier(channel)] = (channel, false)
            return true
        }
    }

    func remove(_ channel: any Channel) {
        state.withLock { $0.open[ObjectIdentifier(channel)] = nil }
    }

    func mark(_ channel: any Channel, isBusy: Bool) {
        state.withLock { $0.open[ObjectIdentifier(channel)]?.isBusy = isBusy }
    }

    /// Accepts no connection from now on; returns those that owe nothing.
    func stop() -> [any Channel] {
        state.withLock { state in
            state.isStopping = true
            return state.open.values.filter { !$0.isBusy }.map(\.channel)
        }
    }

    var isStopping: Bool { state.withLock { $0.isStopping } }
}

/// Closes a connection whose request, head and body together, passes a limit. Counts anew after each response.
final class RequestLimitHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let bytesMax: Int
    private var bytes = 0

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes += unwrapInboundIn(data).readableBytes
        guard bytes <= bytesMax else {
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        bytes = 0
        context.write(data, promise: promise)
    }
}

/// Closes a connection that `IdleStateHandler` calls idle.
final class IdleCloseHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }
}
