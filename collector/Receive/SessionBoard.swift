package import Logging
internal import Model
internal import ServiceLifecycle
package import Storage
internal import Synchronization
package import World

/// Why the collector ends a live session.
enum SessionEnd: Hashable, Sendable {
    case revoked
    case expired
    case shutdown
    /// The listener restarts with a renewed certificate.
    case restart
}

/// The live sessions and the revoked serial numbers. Safe from any thread.
package final class SessionBoard: Sendable {
    /// A live session's place on the board; `ended` yields once when the collector wants it to end.
    struct Ticket: Sendable {
        let number: UInt64
        let ended: AsyncStream<SessionEnd>
    }

    private struct Entry {
        var serial: String
        var end: AsyncStream<SessionEnd>.Continuation
    }

    private struct State {
        var revoked: Set<String> = []
        var entries: [UInt64: Entry] = [:]
        var nextNumber: UInt64 = 1
    }

    private let state = Mutex(State())
    private let sessionsMax: Int

    /// An empty board of at most `sessionsMax` sessions.
    package init(sessionsMax: Int = ReceiveLimits().sessionsMax) { self.sessionsMax = sessionsMax }

    func isRevoked(_ serial: String) -> Bool { state.withLock { $0.revoked.contains(serial) } }

    /// A place for a session of the certificate `serial`; nil when the board is full.
    func enter(serial: String) -> Ticket? {
        let (stream, continuation) = AsyncStream.makeStream(
            of: SessionEnd.self, bufferingPolicy: .bufferingOldest(1))
        let number: UInt64? = state.withLock { state in
            guard state.entries.count < sessionsMax else { return nil }
            let number = state.nextNumber
            state.nextNumber += 1
            state.entries[number] = Entry(serial: serial, end: continuation)
            // A revocation between the session's check and its entry must not be missed.
            if state.revoked.contains(serial) { continuation.yield(.revoked) }
            return number
        }
        return number.map { Ticket(number: $0, ended: stream) }
    }

    func leave(_ ticket: Ticket) {
        let entry = state.withLock { $0.entries.removeValue(forKey: ticket.number) }
        entry?.end.finish()
    }

    func endAll(_ reason: SessionEnd) {
        for entry in state.withLock({ Array($0.entries.values) }) { entry.end.yield(reason) }
    }

    /// Replaces the revoked serial numbers and ends the sessions of those among them; returns how many it ended.
    @discardableResult
    func revoke(_ serials: Set<String>) -> Int {
        let ending = state.withLock { state in
            state.revoked = serials
            return state.entries.values.filter { serials.contains($0.serial) }
        }
        for entry in ending { entry.end.yield(.revoked) }
        return ending.count
    }

    /// Whether the certificate with this serial number is known to be revoked.
    package func knowsRevoked(_ serial: String) -> Bool { isRevoked(serial) }

    /// Live sessions.
    package var count: Int { state.withLock { $0.entries.count } }
}

/// Keeps the board's revoked serial numbers up to date, and hosts' last-seen times in the registry.
package struct RevocationService: Service {
    private let registry: any FleetRegistry
    private let board: SessionBoard
    private let presence: PresenceBoard
    private let clock: any WorldClock
    private let log: Logger
    /// Revoking a host closes its stream within a second: this period, plus one query.
    static let pollNanoseconds: Int64 = 400_000_000
    /// Presence is written every so many polls (4.8 s).
    static let pollsPerPresence = 12

    package init(
        registry: any FleetRegistry, board: SessionBoard, presence: PresenceBoard,
        clock: any WorldClock, log: Logger
    ) {
        self.registry = registry
        self.board = board
        self.presence = presence
        self.clock = clock
        self.log = log
    }

    /// Polls until shut down; failures are logged and retried, never thrown.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var polls = 0
            var isFailing = false
            while !Task.isCancelled {
                do {
                    let ended = board.revoke(
                        try await registry.revokedSerials(now: clock.now.milliseconds))
                    if ended > 0 { log.notice("closed \(ended) streams of a revoked host") }
                    if polls % Self.pollsPerPresence == 0 { try await recordPresence() }
                    if isFailing { log.notice("the list of revoked certificates is read again") }
                    isFailing = false
                } catch {
                    // The list read last stays in force.
                    if !isFailing, !Task.isCancelled {
                        log.warning("the list of revoked certificates can't be read: \(error)")
                    }
                    isFailing = true
                }
                polls += 1
                try? await clock.sleep(nanoseconds: Self.pollNanoseconds)
            }
        }
    }

    private func recordPresence() async throws {
        let seen = presence.snapshot().mapValues(\.at)
        guard !seen.isEmpty else { return }
        try await registry.recordPresence(seen)
    }
}
