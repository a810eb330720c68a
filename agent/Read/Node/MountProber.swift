import Glibc
import Synchronization

/// Asks for the sizes of mounts one after another on a helper thread. A call that does not return in time gives up its
/// thread and puts the mount on the stuck list, where it stays until the call returns; the next mounts go on with a new
/// thread. At most `stuckMax` calls hang at a time: past that every mount counts as stuck.
final class MountProber: Sendable {
    enum Outcome: Hashable, Sendable {
        case answered(FileSystemStatistics)
        case failed(errno: Int32)
        case stuck
    }

    static let stuckMax = 8
    private let host: any HostCalls
    private let timeoutMilliseconds: Int32
    private let stuck = StuckMounts()

    init(host: any HostCalls, timeoutMilliseconds: Int32) {
        self.host = host
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// An outcome for each path, in order.
    func probe(_ paths: [String]) throws(ReadError) -> [Outcome] {
        var outcomes: [Outcome] = []
        outcomes.reserveCapacity(paths.count)
        var run: ProbeRun?
        for path in paths {
            guard stuck.mayAsk(path) else {
                outcomes.append(.stuck)
                continue
            }
            if run == nil { run = try ProbeRun(host: host, stuck: stuck) }
            guard let current = run else { continue }
            if let outcome = current.ask(path, timeoutMilliseconds: timeoutMilliseconds) {
                outcomes.append(outcome)
            } else {
                outcomes.append(.stuck)
                run = nil
            }
        }
        return outcomes
    }
}

/// The paths whose call has not returned.
private final class StuckMounts: Sendable {
    private let paths = Mutex<Set<String>>([])

    func mayAsk(_ path: String) -> Bool {
        paths.withLock { !$0.contains(path) && $0.count < MountProber.stuckMax }
    }
    func insert(_ path: String) { _ = paths.withLock { $0.insert(path) } }
    func remove(_ path: String) { _ = paths.withLock { $0.remove(path) } }
}

/// One helper thread and the question it works on.
private final class ProbeRun: Sendable {
    private struct State {
        var outcome: MountProber.Outcome?
        var isAbandoned = false
    }

    private let host: any HostCalls
    private let stuck: StuckMounts
    private let thread: DedicatedThread
    /// A pipe with a byte per answer; waiting for it with a timeout is what a condition variable can't do without
    /// reading a clock.
    private let answers: Int32
    private let answered: Int32
    private let state = Mutex(State())

    init(host: any HostCalls, stuck: StuckMounts) throws(ReadError) {
        self.host = host
        self.stuck = stuck
        thread = try DedicatedThread()
        var ends: [Int32] = [-1, -1]
        let code = pipe(&ends)
        (answers, answered) = (ends[0], ends[1])
        guard code == 0 else { throw .system(operation: "pipe", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    }

    deinit {
        if answers >= 0 { close(answers) }
        if answered >= 0 { close(answered) }
    }

    /// Nil where no answer came in time; the run is of no use after that.
    func ask(_ path: String, timeoutMilliseconds: Int32) -> MountProber.Outcome? {
        thread.submit { [self] in
            let outcome = answer(path)
            let isLate = state.withLock { state in
                state.outcome = outcome
                return state.isAbandoned
            }
            if isLate { stuck.remove(path) }
            var byte: UInt8 = 1
            _ = Glibc.write(answered, &byte, 1)
        }
        var wait = pollfd(fd: answers, events: Int16(POLLIN), revents: 0)
        var ready: Int32
        repeat { ready = poll(&wait, 1, timeoutMilliseconds) } while ready < 0 && errno == EINTR
        if ready > 0 {
            var byte: UInt8 = 0
            _ = Glibc.read(answers, &byte, 1)
        }
        return state.withLock { state in
            if let outcome = state.outcome {
                state.outcome = nil
                return outcome
            }
            state.isAbandoned = true
            // Under the lock: the helper removes the path only after it saw the mark.
            stuck.insert(path)
            return nil
        }
    }

    private func answer(_ path: String) -> MountProber.Outcome {
        do throws(ReadError) {
            return .answered(try host.fileSystem(path))
        } catch {
            guard case .system(_, let errno) = error else { return .failed(errno: EIO) }
            return .failed(errno: errno)
        }
    }
}
