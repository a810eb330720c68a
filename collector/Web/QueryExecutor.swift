import NIOPosix

/// Runs queries on threads of their own, so that the event loops and the tasks of the rest never wait for one.
package final class QueryExecutor: TaskExecutor {
    private let pool: NIOThreadPool

    /// Starts `threadCount` threads, which live until `shutDown`.
    package init(threadCount: Int) {
        precondition(threadCount > 0, "executor without threads")
        pool = NIOThreadPool(numberOfThreads: threadCount)
        pool.start()
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedTaskExecutor()
        // A job must run even when the pool is going down: its task would never end.
        pool.submit { _ in job.runSynchronously(on: executor) }
    }

    /// Ends the threads after what runs.
    package func shutDown() async throws { try await pool.shutdownGracefully() }
}
