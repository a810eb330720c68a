import Synchronization

/// What all followed log files share: descriptors, and the room for their positions in the spool.
package final class LogFileBudget: Sendable {
    /// At most this many log files are open at a time; the rest take turns. Every source may have one, whatever others
    /// have.
    package static let openFilesMax = 256
    /// Bytes for positions, names included: some 250 files. The spool has 60 KiB for all.
    package static let positionBytesMax = 28 << 10

    private struct State {
        var openFiles = 0
        var positionBytes = 0
    }

    private let openMax: Int
    private let bytesMax: Int
    private let state = Mutex(State())

    package init(
        openFilesMax: Int = LogFileBudget.openFilesMax,
        positionBytesMax: Int = LogFileBudget.positionBytesMax
    ) {
        openMax = openFilesMax
        bytesMax = positionBytesMax
    }

    /// Notes an open file. False where there are enough and `isForced` is not.
    func open(isForced: Bool) -> Bool {
        state.withLock { state in
            guard isForced || state.openFiles < openMax else { return false }
            state.openFiles += 1
            return true
        }
    }

    func closed() { state.withLock { $0.openFiles -= 1 } }

    /// Takes room for a position. False where there is none left.
    func take(positionBytes: Int) -> Bool {
        state.withLock { state in
            guard state.positionBytes + positionBytes <= bytesMax else { return false }
            state.positionBytes += positionBytes
            return true
        }
    }

    func give(positionBytes: Int) { state.withLock { $0.positionBytes -= positionBytes } }
}
