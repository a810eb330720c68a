package import NIOCore
internal import Synchronization

/// The accepted connections of one server, so that those which do not end with it can be cut: a peer that neither reads
/// nor hangs up would hold up the program's end for ever. Safe from any thread.
package final class AcceptedConnections: Sendable {
    /// How long connections have to end after a stop, nanoseconds; then they are cut. Servers stop one after another:
    /// the sum over a program's servers stays below `ServiceList`'s deadline for a graceful end.
    package static let drainNanoseconds: Int64 = 3_000_000_000

    private struct State {
        var cuts: [ObjectIdentifier: @Sendable () -> Void] = [:]
        /// Nothing may stay open any more.
        var isOver = false
    }

    private let state = Mutex(State())

    package init() {}

    /// Remembers an accepted connection until it is closed; after `closeAll` it is closed at once. `cut` closes it
    /// without waiting for the peer; nil where a plain close does.
    package func add(_ channel: any Channel, cut: (@Sendable () -> Void)? = nil) {
        let id = ObjectIdentifier(channel)
        let cut = cut ?? { channel.close(mode: .all, promise: nil) }
        let isLate = state.withLock { state in
            if !state.isOver { state.cuts[id] = cut }
            return state.isOver
        }
        if isLate { return cut() }
        channel.closeFuture.whenComplete { [weak self] _ in
            self?.state.withLock { $0.cuts[id] = nil }
        }
    }

    /// Connections that are open.
    package var count: Int { state.withLock { $0.cuts.count } }

    /// Closes all, and those that are added later; returns how many there were.
    @discardableResult
    package func closeAll() -> Int {
        let open = state.withLock { state in
            state.isOver = true
            return Array(state.cuts.values)
        }
        for cut in open { cut() }
        return open.count
    }
}
