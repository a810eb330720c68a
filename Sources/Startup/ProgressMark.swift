import Synchronization

/// What a service touches whenever it has done a round of its work, so that one that hangs is noticed. Safe from any
/// thread.
package final class ProgressMark: Sendable {
    /// The service's name as a person reads it: `scrape`.
    package let name: String
    /// How long it may go without progress, nanoseconds of running time.
    package let deadlineNanoseconds: Int64
    private let rounds = Mutex<UInt64>(0)

    package init(_ name: String, deadlineNanoseconds: Int64) {
        self.name = name
        self.deadlineNanoseconds = deadlineNanoseconds
    }

    /// A round is done.
    package func advance() { rounds.withLock { $0 &+= 1 } }

    /// Rounds done since the start.
    package var count: UInt64 { rounds.withLock { $0 } }
}

/// Asks a queue or an event loop to do a round: its mark advances when the queue gets to it. At most one request waits.
package final class EchoProbe: Sendable {
    private let mark: ProgressMark
    private let submit: @Sendable (@escaping @Sendable () -> Void) -> Void
    private let isWaiting = Mutex(false)

    /// `submit` hands a closure to the queue and returns at once.
    package init(
        _ mark: ProgressMark,
        submit: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void
    ) {
        self.mark = mark
        self.submit = submit
    }

    /// Asks once more, where the last request was answered.
    package func ask() {
        let isFree = isWaiting.withLock { waiting in
            defer { waiting = true }
            return !waiting
        }
        guard isFree else { return }
        submit { [self] in
            isWaiting.withLock { $0 = false }
            mark.advance()
        }
    }
}
