import Dispatch
package import Logging
import Synchronization

/// A role's password. Its description hides it.
package struct PostgresPassword: Hashable, Sendable, CustomStringConvertible {
    let text: String

    package init(_ text: String) { self.text = text }

    package var description: String { "(password)" }
}

/// How a pool connects and how much it holds.
package struct PostgresPoolConfiguration: Sendable {
    /// A libpq URL or keyword string.
    package var url: String
    /// Goes before one in `url`; nil: libpq's own ways (`passfile`, peer, certificates).
    package var password: PostgresPassword?
    /// Shown in `pg_stat_activity`.
    package var applicationName: String
    package var connectionsMax: Int
    /// How long a caller waits for a connection, a lost server included, milliseconds.
    package var waitMilliseconds: Int
    package var connectMilliseconds: Int
    /// Longest silence of the server within one answer, milliseconds.
    package var replyMilliseconds: Int
    /// First and longest pause between attempts to reconnect, milliseconds; doubled each time, with full jitter.
    package var backoffMilliseconds: ClosedRange<Int>
    /// Statements that each new connection runs first (`SET …`).
    package var prologue: [String]

    package init(
        url: String, password: PostgresPassword? = nil,
        applicationName: String = "petrel-collector", connectionsMax: Int = 8,
        waitMilliseconds: Int = 10_000, connectMilliseconds: Int = 5_000,
        replyMilliseconds: Int = 120_000, backoffMilliseconds: ClosedRange<Int> = 50...5_000,
        prologue: [String] = []
    ) {
        self.url = url
        self.password = password
        self.applicationName = applicationName
        self.connectionsMax = connectionsMax
        self.waitMilliseconds = waitMilliseconds
        self.connectMilliseconds = connectMilliseconds
        self.replyMilliseconds = replyMilliseconds
        self.backoffMilliseconds = backoffMilliseconds
        self.prologue = prologue
    }
}

/// A bounded pool: a caller has a connection for itself for as long as its closure runs.
///
/// Overflow: further callers wait in order, at most `waitMilliseconds`, then `poolExhausted`. Lost connections are
/// dropped and made anew; while the server is away callers wait the same time and then get `connection`.
package final class PostgresPool: Sendable {
    private enum Grant: Sendable {
        case idle(PostgresConnection)
        /// A place in the pool for which a connection must be opened.
        case place
        case refused(PostgresError)
    }

    private struct State {
        var idle: [PostgresConnection] = []
        /// Connections idle, lent or being opened.
        var openCount = 0
        var waiters: [(id: Int, resume: CheckedContinuation<Grant, Never>)] = []
        var nextWaiter = 0
        var isClosed = false
    }

    private let configuration: PostgresPoolConfiguration
    private let logger: Logger
    private let random: @Sendable () -> UInt64
    private let state = Mutex(State())
    private let timers = DispatchQueue(label: "petrel.postgres.timers")

    /// `random` gives the jitter of the back-off.
    package init(
        _ configuration: PostgresPoolConfiguration, logger: Logger,
        random: @escaping @Sendable () -> UInt64
    ) {
        precondition(configuration.connectionsMax > 0, "an empty pool serves nobody")
        self.configuration = configuration
        self.logger = logger
        self.random = random
    }

    /// Runs `body` with a pool of its own of one connection, which is closed when this returns or throws. Throws what
    /// `body` throws.
    package static func once<T: Sendable>(
        _ configuration: PostgresPoolConfiguration, logger: Logger,
        _ body: (PostgresPool) async throws -> T
    ) async throws -> T {
        var single = configuration
        single.connectionsMax = 1
        // One caller alone needs no jitter: each pause between attempts is as long as the first.
        let pause = UInt64(max(1, single.backoffMilliseconds.lowerBound))
        let pool = PostgresPool(single, logger: logger, random: { pause - 1 })
        do {
            let answer = try await body(pool)
            await pool.close()
            return answer
        } catch {
            await pool.close()
            throw error
        }
    }

    /// Runs `body` with a connection of its own. Throws what `body` throws, or `PostgresError`: `poolExhausted`,
    /// `connection`, `closed`, `cancelled`. A transaction that `body` leaves open is rolled back.
    package func withSession<T: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        let connection = try await borrow()
        let (result, isUsable) = await connection.run(body)
        if isUsable { give(back: connection) } else { await discard(connection) }
        return try result.get()
    }

    /// Closes idle connections and refuses new callers; lent ones are closed when they come back.
    package func close() async {
        let (idle, waiters) = state.withLock { state in
            state.isClosed = true
            defer {
                state.idle = []
                state.waiters = []
            }
            return (state.idle, state.waiters)
        }
        for waiter in waiters { waiter.resume.resume(returning: .refused(.closed)) }
        for connection in idle { await connection.close() }
    }

    private func borrow() async throws(PostgresError) -> PostgresConnection {
        let deadline = ContinuousClock.now + .milliseconds(configuration.waitMilliseconds)
        while true {
            switch await grant(until: deadline) {
            case .refused(let error): throw error
            case .idle(let connection):
                if await connection.isAlive() { return connection }
                await discard(connection)
            case .place:
                do throws(PostgresError) {
                    return try await open(until: deadline)
                } catch {
                    vacate()
                    throw error
                }
            }
        }
    }

    private func grant(until deadline: ContinuousClock.Instant) async -> Grant {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let granted: Grant? = state.withLock { state in
                    if state.isClosed { return .refused(.closed) }
                    if Task.isCancelled { return .refused(.cancelled) }
                    if let connection = state.idle.popLast() { return .idle(connection) }
                    if state.openCount < configuration.connectionsMax {
                        state.openCount += 1
                        return .place
                    }
                    state.waiters.append((id, waiter))
                    return nil
                }
                if let granted {
                    waiter.resume(returning: granted)
                    return
                }
                let pause = (deadline - ContinuousClock.now).components
                let milliseconds =
                    max(0, pause.seconds * 1000 + pause.attoseconds / 1_000_000_000_000_000)
                timers.asyncAfter(deadline: .now() + .milliseconds(Int(milliseconds))) { [self] in
                    refuse(
                        id,
                        .poolExhausted(
                            connectionsMax: configuration.connectionsMax,
                            waitMilliseconds: configuration.waitMilliseconds))
                }
            }
        } onCancel: {
            refuse(id, .cancelled)
        }
    }

    private func refuse(_ id: Int, _ error: PostgresError) {
        let waiter = state.withLock { state in
            state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
        }
        waiter?.resume.resume(returning: .refused(error))
    }

    /// Tries to connect until the deadline, with jittered pauses.
    private func open(
        until deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> PostgresConnection {
        var pause = configuration.backoffMilliseconds.lowerBound
        while true {
            do {
                return try await connect()
            } catch {
                let failure = error as? PostgresError ?? .connection("\(error)")
                let jittered = 1 + Int(random() % UInt64(max(1, pause)))
                let resumesAt = ContinuousClock.now + .milliseconds(jittered)
                guard failure.isTransient, resumesAt < deadline else { throw failure }
                logger.debug("no connection yet", metadata: ["error": "\(failure)"])
                do { try await Task.sleep(until: resumesAt) } catch { throw .cancelled }
                pause = min(pause * 2, configuration.backoffMilliseconds.upperBound)
            }
        }
    }

    private func connect() async throws -> PostgresConnection {
        let prologue = configuration.prologue
        return try await PostgresConnection.open(
            url: configuration.url,
            keywords: [
                ("client_encoding", "UTF8"),
                ("fallback_application_name", configuration.applicationName),
                ("keepalives_idle", "20"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
                ("tcp_user_timeout", "30000"),
            ] + (configuration.password.map { [("password", $0.text)] } ?? []),
            connectMilliseconds: configuration.connectMilliseconds,
            replyMillisecondsMax: configuration.replyMilliseconds
        ) { session in
            for statement in prologue { try session.execute(statement) }
        }
    }

    private func give(back connection: PostgresConnection) {
        let (waiter, isClosed) = state.withLock { state in
            if state.isClosed {
                state.openCount -= 1
                return (CheckedContinuation<Grant, Never>?.none, true)
            }
            if state.waiters.isEmpty {
                state.idle.append(connection)
                return (nil, false)
            }
            return (state.waiters.removeFirst().resume, false)
        }
        waiter?.resume(returning: .idle(connection))
        // The last reference goes with this call, and the connection with it.
        if isClosed { logger.trace("connection closed with its pool") }
    }

    private func discard(_ connection: PostgresConnection) async {
        await connection.close()
        vacate()
    }

    /// Frees a place; the first waiter may open a connection in it.
    private func vacate() {
        let waiter = state.withLock { state -> CheckedContinuation<Grant, Never>? in
            guard !state.waiters.isEmpty else {
                state.openCount -= 1
                return nil
            }
            return state.waiters.removeFirst().resume
        }
        waiter?.resume(returning: .place)
    }
}
