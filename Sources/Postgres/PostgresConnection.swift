import CLibPQ
import Dispatch
import Glibc
import Synchronization

/// A connection with a serial queue of its own: libpq is asked on that queue alone, in non-blocking mode, and waits in
/// `poll` there. A thread exists only while a statement runs.
///
/// `@unchecked Sendable`: `session` is touched on `queue` only; the rest is constant or behind a lock.
final class PostgresConnection: @unchecked Sendable {
    private let queue: DispatchQueue
    private var session: PostgresSession?
    private let canceller: Canceller

    private init(queue: DispatchQueue, session: PostgresSession, canceller: Canceller) {
        self.queue = queue
        self.session = session
        self.canceller = canceller
    }

    /// Connects and runs `prepare` on the new session. `keywords` override those in `url`.
    static func open(
        url: String, keywords: [(String, String)], connectMilliseconds: Int,
        replyMillisecondsMax: Int, prepare: @escaping @Sendable (PostgresSession) throws -> Void
    ) async throws -> PostgresConnection {
        let queue = DispatchQueue(label: "petrel.postgres")
        let result: Result<PostgresConnection, any Error> = await withCheckedContinuation { done in
            queue.async {
                done.resume(
                    returning: Result {
                        let raw = try connect(url, keywords, connectMilliseconds)
                        let session = PostgresSession(
                            connection: raw, replyMillisecondsMax: replyMillisecondsMax)
                        guard PQsetnonblocking(raw, 1) == 0, let handle = PQgetCancel(raw) else {
                            throw PostgresError.connection(trimmed(PQerrorMessage(raw)))
                        }
                        try prepare(session)
                        return PostgresConnection(
                            queue: queue, session: session, canceller: Canceller(handle))
                    })
            }
        }
        return try result.get()
    }

    /// Runs `body` on the connection's queue. Cancelling the task cancels the running statement at the server.
    /// Returns also whether the connection may serve again.
    func run<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async -> (Result<T, any Error>, isUsable: Bool) {
        await withTaskCancellationHandler {
            await withCheckedContinuation { done in
                queue.async { [self] in
                    guard let session else {
                        done.resume(returning: (.failure(PostgresError.closed), false))
                        return
                    }
                    guard canceller.begin() else {
                        _ = canceller.end()
                        done.resume(returning: (.failure(PostgresError.cancelled), true))
                        return
                    }
                    var result = Result { try body(session) }
                    let wasCancelled = canceller.end()
                    if wasCancelled {
                        // The signal may still be on its way and would hit whoever came next.
                        session.markBroken()
                        if case .failure(let error as PostgresError) = result,
                            error.sqlState == "57014"
                        {
                            result = .failure(PostgresError.cancelled)
                        }
                    }
                    session.settle()
                    done.resume(returning: (result, !session.isBroken))
                }
            }
        } onCancel: {
            canceller.cancel()
        }
    }

    /// Whether the server has not hung up meanwhile.
    func isAlive() async -> Bool {
        await withCheckedContinuation { done in
            queue.async { [self] in done.resume(returning: session.map { !$0.hasHungUp } ?? false) }
        }
    }

    func close() async {
        await withCheckedContinuation { done in
            queue.async { [self] in
                session = nil
                done.resume()
            }
        }
    }

    /// The non-blocking connect dance of the manual: poll for what `PQconnectPoll` asks.
    private static func connect(
        _ url: String, _ keywords: [(String, String)], _ milliseconds: Int
    ) throws(PostgresError) -> OpaquePointer {
        let names = ["dbname"] + keywords.map(\.0)
        let values = [url] + keywords.map(\.1)
        let started = withCStrings(names) { names in
            withCStrings(values) { values in PQconnectStartParams(names, values, 1) }
        }
        guard let raw = started else { throw .connection("out of memory") }
        do throws(PostgresError) {
            guard PQstatus(raw) != CONNECTION_BAD else {
                throw .connection(trimmed(PQerrorMessage(raw)))
            }
            var next = PGRES_POLLING_WRITING
            while true {
                switch next {
                case PGRES_POLLING_OK: return raw
                case PGRES_POLLING_FAILED: throw .connection(trimmed(PQerrorMessage(raw)))
                case PGRES_POLLING_READING:
                    try waitForSocket(raw, events: POLLIN, milliseconds: milliseconds)
                default: try waitForSocket(raw, events: POLLOUT, milliseconds: milliseconds)
                }
                next = PQconnectPoll(raw)
            }
        } catch {
            PQfinish(raw)
            throw error
        }
    }
}

/// The right to cancel what a connection is doing, from any thread.
///
/// `@unchecked Sendable`: `PQcancel` is thread-safe, and the state is behind the lock.
private final class Canceller: @unchecked Sendable {
    private struct State {
        var isRunning = false
        var isCancelled = false
    }

    private let handle: OpaquePointer
    private let state = Mutex(State())

    init(_ handle: OpaquePointer) { self.handle = handle }

    deinit { PQfreeCancel(handle) }

    /// False where the task was cancelled before its turn.
    func begin() -> Bool {
        state.withLock {
            $0.isRunning = true
            return !$0.isCancelled
        }
    }

    /// Whether the run was cancelled; readies for the next one.
    func end() -> Bool {
        state.withLock {
            let wasCancelled = $0.isCancelled
            $0 = State()
            return wasCancelled
        }
    }

    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            guard state.isRunning else { return }
            var message = [CChar](repeating: 0, count: 256)
            _ = PQcancel(handle, &message, 256)
        }
    }
}

/// A NULL-terminated array of C strings for the time of `body`.
private func withCStrings<T>(
    _ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> T
) -> T {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    let pointers = copies.map { $0.map { UnsafePointer($0) } } + [nil]
    return pointers.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("the array ends with nil") }
        return body(base)
    }
}
