package import NIOCore
internal import Synchronization

/// The accepted connections of one server, so that those which do not end with it can be cut: a peer that neither reads
/// nor hangs up would hold up the program's end for ever. Safe from any thread.
package final class OpenConnections: Sendable {
    /// How long connections have to end after a stop, nanoseconds; then they are cut. Servers stop one after another:
    /// the sum over a program's servers stays below `ServiceList`'s deadline for a graceful end.
    package static let drainNanoseconds: Int64 = 3_000_000_000

    private let cuts = Mutex<[ObjectIdentifier: @Sendable () -> Void]>([:])

    package init() {}

    /// Remembers an accepted connection until it is closed. `cut` closes it without waiting for the peer; nil where a
    /// plain close does.
    package func add(_ channel: any Channel, cut: (@Sendable () -> Void)? = nil) {
        let id = ObjectIdentifier(channel)
        cuts.withLock { $0[id] = cut ?? { channel.close(mode: .all, promise: nil) } }
        channel.closeFuture.whenComplete { [weak self] _ in
            self?.cuts.withLock { $0[id] = nil }
        }
    }

    /// Connections that are open.
    package var count: Int { cuts.withLock { $0.count } }

    /// Closes all; returns how many there were.
    @discardableResult
    package func closeAll() -> Int {
        let open = cuts.withLock { Array($0.values) }
        for cut in open { cut() }
        return open.count
    }
}
