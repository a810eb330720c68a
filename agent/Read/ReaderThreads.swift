import Synchronization

/// The few threads that readers share. A reading that hangs keeps its thread; where nothing goes on because of such,
/// another thread is started, which ends as soon as nothing waits. So a host's forty readers cost two threads, and hung
/// ones never hold up the others for longer than `NodeReaderSet.reliefNanoseconds` each.
final class ReaderThreads: Sendable {
    static let standing = 2
    private let queue = ThreadQueue()
    /// Threads that help out at the moment, and how many may.
    private let helpers: Mutex<(count: Int, max: Int)>

    /// `helpersMax` is the number of readers: each may hang once. Throws `system` where the host refuses a thread.
    init(helpersMax: Int) throws(ReadError) {
        helpers = Mutex((0, helpersMax))
        let queue = queue
        for _ in 0..<Self.standing { try DedicatedThread.spawn { queue.run() } }
    }

    deinit { queue.stop() }

    /// There are more readers: that many may hang.
    func allow(helpersMax: Int) { helpers.withLock { $0.max = max($0.max, helpersMax) } }

    func submit(_ work: @escaping @Sendable () -> Void) { queue.push(work) }

    /// Begun so far; for `relieve`.
    var begunCount: UInt64 { queue.progress.begun }

    /// Starts a thread where work waits and none was begun since `begunCount` was `count`. The count now.
    func relieve(unlessBegunSince count: UInt64) -> UInt64 {
        let (begun, isWaiting) = queue.progress
        guard isWaiting, begun == count else { return begun }
        let mayHelp = helpers.withLock { helpers in
            guard helpers.count < helpers.max else { return false }
            helpers.count += 1
            return true
        }
        guard mayHelp else { return begun }
        do throws(ReadError) {
            try DedicatedThread.spawn { [self] in
                queue.drain()
                helpers.withLock { $0.count -= 1 }
            }
        } catch {
            // The host refuses threads: what waits has its deadline.
            helpers.withLock { $0.count -= 1 }
        }
        return begun
    }
}
