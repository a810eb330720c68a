import Glibc

/// A thread of its own for calls that block: readers, the journal, a mount that hangs. The Swift pool has a thread per
/// core and must never wait for a disk.
///
/// Work runs in the order it was submitted, one at a time. The thread ends after its last work when the owner lets go of
/// this object; work that never returns keeps its thread and nothing else.
package final class DedicatedThread: Sendable {
    private let queue: ThreadQueue

    /// Starts the thread. Throws `system` where the host refuses another thread.
    package init() throws(ReadError) {
        let queue = ThreadQueue()
        self.queue = queue
        try Self.spawn { queue.run() }
    }

    deinit { queue.stop() }

    /// Runs `work` on the thread and returns its result. Does not react to cancellation: `work` bounds itself.
    package func run<Result: Sendable>(
        _ work: @escaping @Sendable () -> Result
    ) async -> Result {
        await withCheckedContinuation { continuation in
            submit { continuation.resume(returning: work()) }
        }
    }

    /// Queues `work`. At most `ThreadQueue.pendingMax` may wait.
    package func submit(_ work: @escaping @Sendable () -> Void) { queue.push(work) }

    /// Starts a detached thread that runs `body` once. Its stack is 256 KiB: a default stack is 8 MiB of address space.
    static func spawn(_ body: @escaping @Sendable () -> Void) throws(ReadError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackBytes)
        let box = Unmanaged.passRetained(ThreadBody(body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<ThreadBody>.fromOpaque(pointer).takeRetainedValue().body()
                return nil
            }, box.toOpaque())
        guard code == 0 else {
            box.release()
            throw .system(operation: "pthread_create", errno: code)
        }
    }

    private static let stackBytes = 256 * 1024
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
