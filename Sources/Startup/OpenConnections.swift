package import NIOCore
internal import Synchronization

/// The accepted connections of one server, so that those which do not end with it can be cut: a peer that neither reads
/// nor hangs up would hold up the program's end for ever. Safe from any thread.
package final class OpenConnections: Sendable {
    /// How long connections have to end after a stop, nanoseconds; then they are cut. Less than the programs'
    /// deadline for a graceful end.
    package static let drainNanoseconds: Int64 = 5_000_000_000

    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    package init() {}

    /// Remembers an accepted connection until it is closed.
    package func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        channels.withLock { $0[id] = channel }
        channel.closeFuture.whenComplete { [weak self] _ in
            self?.channels.withLock { $0[id] = nil }
        }
    }

    /// Connections that are open.
    package var count: Int { channels.withLock { $0.count } }

    /// Closes all; returns how many there were.
    @discardableResult
    package func closeAll() -> Int {
        let open = channels.withLock { Array($0.values) }
        for channel in open { channel.close(mode: .all, promise: nil) }
        return open.count
    }
}
