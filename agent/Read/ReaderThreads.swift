import Synchronization

/// The few threads that readers share. A reading that hangs keeps its thread; where nothing goes on because of such,
/// another thread is started, which ends as soon as nothing waits. So a host's forty readers cost two threads, and hung
/// ones never hold up the others for longer than `NodeReaderSet.reliefNanoseconds` each.
final class ReaderThreads: Sendable {
    static let standing = 2
    private let queue = ThreadQueue()
    /// Threads that help out at the moment, and how many may.
    private let helping = Mutex(0)
    private let helpersMax: Int

    /// `helpersMax` is the number of readers: each may hang once. Throws `system` where the host refuses a thread.
    init(helpersMax: Int) throws(ReadError) {
        self.helpersMax = helpersMax
        let queue = queue
        for _ in 0..<Self.standing { try DedicatedThread.spawn { queue.run() } }
    }

    deinit { queue.stop() }

    func submit(_ work: @escaping @Sendable () -> Void) { queue.push(work) }

    /// Begun so far; for `relieve`.
    var begunCount: UInt64 { queue.progress.begun }

    /// Starts a thread where work waits and none was begun since `begunCount` was `count`. The count now.
    func relieve(unlessBegunSince count: UInt64) -> UInt64 {
        let (begun, isWaiting) = queue.progress
        guard isWaiting, begun == count else { return begun }
        let mayHelp = helping.withLock { helping in
            guard helping < helpersMax else { return false }
            helping += 1
            return true
        }
        guard mayHelp else { return begun }
        do throws(ReadError) {
            try DedicatedThread.spawn { [self] in
                queue.drain()
                helping.withLock { $0 -= 1 }
            }
        } catch {
            // The host refuses threads: what waits has its deadline.
            helping.withLock { $0 -= 1 }
        }
        return begun
    }
}
