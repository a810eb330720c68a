import Synchronization

/// Opens once, when a part of a program does its work. Safe from any thread.
package final class ReadyLatch: Sendable {
    private let isOpen = Mutex(false)
    private let opened: AsyncStream<Void>
    private let opener: AsyncStream<Void>.Continuation

    package init() { (opened, opener) = AsyncStream.makeStream() }

    package func open() {
        isOpen.withLock { $0 = true }
        opener.finish()
    }

    /// Waits until it is open; false when cancelled before. One waiter at a time.
    package func wait() async -> Bool {
        for await _ in opened {}
        return isOpen.withLock { $0 }
    }
}
