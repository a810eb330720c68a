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
    /// A newer connection of the same agent has taken its place.
    case superseded
    case shutdown
    /// The listener restarts with a renewed certificate.
    case restart
}

/// The live sessions, the revoked serial numbers, and which agent holds which host. Safe from any thread.
package final class SessionBoard: Sendable {
    /// A live session's place on the board.
    struct Ticket: Sendable {
        let number: UInt64
        let host: HostName
        /// Yields once when the collector wants the session to end.
        let ended: AsyncStream<SessionEnd>
        /// Yields the number of a probe that the agent should be asked.
        let probes: AsyncStream<UInt64>
    }

    /// What a hello's claim to stream as its host came to.
    enum Claim: Hashable, Sendable {
        case admitted
        /// Another agent with the same identity is alive; `isNews` at the first refusal of this one.
        case refused(holder: StreamOrigin, isNews: Bool)
        /// Those who stream as the host are not read, for the storage is slow: whether they live can't be told now.
        case undecided
    }

    private struct Entry {
        var serial: String
        var host: HostName
        var holdUps: @Sendable () -> Int
        var end: AsyncStream<SessionEnd>.Continuation
        var probe: AsyncStream<UInt64>.Continuation
    }

    /// A claim that waits for the answer of those who hold the host.
    private struct Rival {
        var host: HostName
        var outcome: AsyncStream<ProbeOutcome>.Continuation
    }

    private enum ProbeOutcome: Sendable {
        case answered
        case left
        case silent
        /// No answer, but answers that came were not read.
        case unheard
    }

    private struct State {
        var revoked: Set<String> = []
        /// Set while the listener stops: sessions that arrive meanwhile end at once, or it would wait for them for ever.
        var ending: SessionEnd?
        var entries: [UInt64: Entry] = [:]
        var nextNumber: UInt64 = 1
        /// One a host that said hello since the start or its enrolment: bounded by the fleet.
        var fences: [HostName: HostFence] = [:]
        /// By probe number; one a waiting claim, so bounded by the sessions.
        var rivals: [UInt64: Rival] = [:]
    }

    /// How long a session has to answer a probe, nanoseconds: a round trip and an agent's pause; dead ones cost this much.
    static let probeNanoseconds: Int64 = 3_000_000_000
    /// Rounds of probing that one claim may cause, for others may claim the host meanwhile; then it is refused.
    static let probeRoundsMax = 4

    private let state = Mutex(State())
    private let sessionsMax: Int

    /// An empty board of at most `sessionsMax` sessions.
    package init(sessionsMax: Int = ReceiveLimits().sessionsMax) { self.sessionsMax = sessionsMax }

    func isRevoked(_ serial: String) -> Bool { state.withLock { $0.revoked.contains(serial) } }

    /// A place for a session of the certificate `serial` of `host`, whose reader counts its `holdUps` as `InboundQueue`
    /// does; nil when the board is full.
    func enter(
        host: HostName, serial: String, holdUps: @escaping @Sendable () -> Int
    ) -> Ticket? {
        let (stream, continuation) = AsyncStream.makeStream(
            of: SessionEnd.self, bufferingPolicy: .bufferingOldest(1))
        let (probes, probe) = AsyncStream.makeStream(
            of: UInt64.self, bufferingPolicy: .bufferingNewest(8))
        let number: UInt64? = state.withLock { state in
            guard state.entries.count < sessionsMax else { return nil }
            let number = state.nextNumber
            state.nextNumber += 1
            state.entries[number] = Entry(
                serial: serial, host: host, holdUps: holdUps, end: continuation, probe: probe)
            // A revocation between the session's check and its entry must not be missed.
            if state.revoked.contains(serial) { continuation.yield(.revoked) }
            if let ending = state.ending { continuation.yield(ending) }
            return number
        }
        return number.map { Ticket(number: $0, host: host, ended: stream, probes: probes) }
    }

    func leave(_ ticket: Ticket) {
        let (entry, rivals) = state.withLock { state in
            let entry = state.entries.removeValue(forKey: ticket.number)
            state.fences[ticket.host]?.leave(ticket.number)
            return (entry, Self.rivalsOfEmpty(ticket.host, state))
        }
        entry?.end.finish()
        entry?.probe.finish()
        for rival in rivals { rival.outcome.yield(.left) }
    }

    /// Asks for the right to stream as the ticket's host, waiting at most `probeNanoseconds` a round for those who have
    /// it. Throws cancellation.
    func claim(
        _ ticket: Ticket, _ kind: StreamKind, from origin: StreamOrigin, clock: any WorldClock,
        random: any RandomSource
    ) async throws -> Claim {
        var probed: [UInt64]?
        for _ in 0..<Self.probeRoundsMax {
            let verdict = fence(ticket.host) { fence in
                if let probed {
                    return fence.arrive(ticket.number, kind, from: origin, silent: probed)
                }
                return fence.arrive(ticket.number, kind, from: origin)
            }
            switch verdict {
            case .admit(let ending):
                end(ending, .superseded)
                return .admitted
            case .refuse(let holder, let isNews): return .refused(holder: holder, isNews: isNews)
            case .probe(let sessions):
                switch try await probe(sessions, ticket.host, clock, random.next()) {
                case .answered: return refusal(of: origin, ticket.host)
                case .left: probed = nil
                case .silent: probed = sessions
                case .unheard: return .undecided
                }
            }
        }
        return refusal(of: origin, ticket.host)
    }

    /// A session's agent answered the probe `number`: it lives, which refuses every claim that waits for its host. Of
    /// probes that follow each other closely an agent answers the newest alone.
    func answered(_ number: UInt64, by ticket: Ticket) {
        let refused = state.withLock { state -> [Rival] in
            guard state.rivals[number]?.host == ticket.host else { return [] }
            return state.rivals.values.filter { $0.host == ticket.host }
        }
        for rival in refused { rival.outcome.yield(.answered) }
    }

    /// The host was enrolled anew: whoever streamed as it before has no claim.
    func forget(_ host: HostName) { state.withLock { $0.fences[host] = nil } }

    /// Whether `host` is refused with this detail for the first time, as far as is remembered.
    func isNews(refusal detail: String, of host: HostName) -> Bool {
        state.withLock { $0.fences[host, default: HostFence()].isNews(refusal: detail) }
    }

    private func refusal(of origin: StreamOrigin, _ host: HostName) -> Claim {
        guard
            case .refuse(let holder, let isNews) = fence(host, { $0.answered(against: origin) })
        else { preconditionFailure("an answered probe refuses") }
        return .refused(holder: holder, isNews: isNews)
    }

    private func fence(
        _ host: HostName, _ body: (inout HostFence) -> HostFence.Verdict
    ) -> HostFence.Verdict {
        state.withLock { body(&$0.fences[host, default: HostFence()]) }
    }

    private func end(_ numbers: [UInt64], _ reason: SessionEnd) {
        let entries = state.withLock { state in numbers.compactMap { state.entries[$0] } }
        for entry in entries { entry.end.yield(reason) }
    }

    private func probe(
        _ sessions: [UInt64], _ host: HostName, _ clock: any WorldClock, _ random: UInt64
    ) async throws -> ProbeOutcome {
        let number = max(1, random)
        let (outcomes, outcome) = AsyncStream.makeStream(
            of: ProbeOutcome.self, bufferingPolicy: .bufferingOldest(1))
        let entries = state.withLock { state in
            state.rivals[number] = Rival(host: host, outcome: outcome)
            // They may all have left since the fence was asked.
            if !Self.rivalsOfEmpty(host, state).isEmpty { outcome.yield(.left) }
            return sessions.compactMap { state.entries[$0] }
        }
        defer { _ = state.withLock { $0.rivals.removeValue(forKey: number) } }
        let holdUps = entries.map { $0.holdUps() }
        for entry in entries { entry.probe.yield(number) }
        let result = try await withThrowingTaskGroup(of: ProbeOutcome.self) { group in
            group.addTask {
                for await outcome in outcomes { return outcome }
                throw CancellationError()
            }
            group.addTask {
                try await clock.sleep(nanoseconds: Self.probeNanoseconds)
                return .silent
            }
            defer { group.cancelAll() }
            return try await group.next() ?? .silent
        }
        guard result == .silent else { return result }
        // Only who could have been heard all the time is silent.
        let wasHeldUp = zip(entries, holdUps).contains { entry, before in
            before % 2 == 1 || entry.holdUps() != before
        }
        return wasHeldUp ? .unheard : .silent
    }

    private static func rivalsOfEmpty(_ host: HostName, _ state: State) -> [Rival] {
        guard state.fences[host]?.live.isEmpty ?? true else { return [] }
        return state.rivals.values.filter { $0.host == host }
    }

    /// Ends every session, and those that enter before `reopen`.
    func endAll(_ reason: SessionEnd) {
        let entries = state.withLock { state in
            state.ending = reason
            return Array(state.entries.values)
        }
        for entry in entries { entry.end.yield(reason) }
    }

    /// Sessions may enter to stay again.
    func reopen() { state.withLock { $0.ending = nil } }

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
