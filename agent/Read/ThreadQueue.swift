import Glibc

/// Work waiting for threads.
///
/// `@unchecked Sendable`: what is stored is touched only between lock and unlock of `mutex`, and both pthread objects stay
/// at one address from `init` to `deinit`. A `Mutex` has no condition to wait for.
final class ThreadQueue: @unchecked Sendable {
    static let pendingMax = 1024
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var pending: [@Sendable () -> Void] = []
    private var begun: UInt64 = 0
    private var isStopped = false

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func push(_ work: @escaping @Sendable () -> Void) {
        pthread_mutex_lock(mutex)
        precondition(
            pending.count < Self.pendingMax, "a thread's queue overflows: a caller does not wait")
        pending.append(work)
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func stop() {
        pthread_mutex_lock(mutex)
        isStopped = true
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }

    /// How much was begun so far, and whether more waits.
    var progress: (begun: UInt64, isWaiting: Bool) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return (begun, !pending.isEmpty)
    }

    /// A thread's life, until `stop`.
    func run() {
        while let work = next(waits: true) { work() }
    }

    /// The life of a thread that helps out: until nothing waits.
    func drain() {
        while let work = next(waits: false) { work() }
    }

    private func next(waits: Bool) -> (@Sendable () -> Void)? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while pending.isEmpty {
            if isStopped || !waits { return nil }
            pthread_cond_wait(condition, mutex)
        }
        begun += 1
        return pending.removeFirst()
    }
}
