import NIOCore
import Synchronization

/// Which clients have hung up, so that nobody works on for one that is gone. Safe from any thread.
///
/// Source: a client that closes its socket shows as the end of its input; one that only ends its own half after a request
/// can't be told from it and counts as gone too.
final class HangUps: Sendable {
    private struct Client {
        var isGone = false
        var actions: [UInt64: @Sendable () -> Void] = [:]
    }

    private struct State {
        var clients: [ObjectIdentifier: Client] = [:]
        var nextAction: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Runs `body`, and cancels it when the client of `channel` hangs up or the caller is cancelled.
    func cancelling<Answer: Sendable>(
        _ channel: any Channel, _ body: @escaping @Sendable () async throws -> Answer
    ) async throws -> Answer {
        let task = Task(operation: body)
        let action = onHangUp(of: channel) { task.cancel() }
        defer { forget(action, of: channel) }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Begins to watch; forgotten again when the channel is closed.
    fileprivate func watch(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        state.withLock { $0.clients[id] = Client() }
        channel.closeFuture.whenComplete { [weak self] _ in
            self?.hungUp(id)
            self?.state.withLock { $0.clients[id] = nil }
        }
    }

    fileprivate func hungUp(_ id: ObjectIdentifier) {
        let actions = state.withLock { state in
            state.clients[id]?.isGone = true
            return state.clients[id].map { Array($0.actions.values) } ?? []
        }
        for action in actions { action() }
    }

    /// `action` runs at once where the client is gone already.
    private func onHangUp(
        of channel: any Channel, _ action: @escaping @Sendable () -> Void
    ) -> UInt64 {
        let id = ObjectIdentifier(channel)
        let (number, isGone) = state.withLock { state in
            state.nextAction += 1
            let isGone = state.clients[id]?.isGone ?? true
            if !isGone { state.clients[id]?.actions[state.nextAction] = action }
            return (state.nextAction, isGone)
        }
        if isGone { action() }
        return number
    }

    private func forget(_ action: UInt64, of channel: any Channel) {
        let id = ObjectIdentifier(channel)
        state.withLock { _ = $0.clients[id]?.actions.removeValue(forKey: action) }
    }
}

/// Tells `HangUps` of the end of its channel's input.
final class HangUpHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    private let hangUps: HangUps

    init(_ hangUps: HangUps) { self.hangUps = hangUps }

    func handlerAdded(context: ChannelHandlerContext) { hangUps.watch(context.channel) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed {
            hangUps.hungUp(ObjectIdentifier(context.channel))
        }
        context.fireUserInboundEventTriggered(event)
    }
}
