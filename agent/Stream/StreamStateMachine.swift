/// A refusal as the collector sent it.
package struct ReceivedRefusal: Hashable, Sendable {
    /// Why; the raw value is the `reason` label of metrics.
    package enum Reason: String, Hashable, Sendable {
        case invalid
        case unavailable
        case outOfOrder = "out_of_order"
        case fenced
        case hello
        case identity
        case `protocol`
        case clone
        case unknown
    }

    package var reason: Reason
    package var sequence: UInt64
    package var expectedSequence: UInt64
    package var retryAfterMS: UInt32
    package var detail: String

    package init(
        reason: Reason, sequence: UInt64 = 0, expectedSequence: UInt64 = 0,
        retryAfterMS: UInt32 = 0, detail: String = ""
    ) {
        self.reason = reason
        self.sequence = sequence
        self.expectedSequence = expectedSequence
        self.retryAfterMS = retryAfterMS
        self.detail = detail
    }
}

/// One connection of one stream: what to send next, and what each answer means. Pure; `now` is monotonic nanoseconds.
package struct StreamStateMachine: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        /// The hello is sent. Becomes `streaming` by a welcome, else `ended`.
        case greeting
        /// Becomes `ended` by a refusal that the connection can't outlive.
        case streaming
        case ended(End)
    }

    /// Why a connection is over, by what should follow.
    package enum End: Hashable, Sendable {
        /// Connect again by the usual back-off.
        case again
        /// Connect again after so many milliseconds.
        case after(milliseconds: UInt32)
        /// Repeating won't mend it soon.
        case later
        /// A newer connection has taken over, or the service ends.
        case retired
    }

    /// What the service is to do about an answer.
    package enum Action: Hashable, Sendable {
        case acknowledge(through: UInt64)
        case reject(sequence: UInt64, detail: String)
        /// The spool must go on under a new epoch; the connection ends.
        case beginEpoch(lastCommitted: UInt64)
        case note(String)
        case warn(String)
    }

    /// What the sender is to do next.
    package enum Send: Hashable, Sendable {
        case heartbeat
        /// Read and send batches from `sequence` on, at most so many and (but for the first) so many bytes.
        case batches(from: UInt64, countMax: Int, bytesMax: Int)
        /// Nothing until an answer, a new batch, or `at` (monotonic nanoseconds).
        case wait(until: Int64)
        case stop
    }

    private struct Flight: Hashable {
        var sequence: UInt64
        var bytes: Int
    }

    /// Most that may be unacknowledged.
    package static let windowBatchesMax = 8
    /// Most that may be unacknowledged.
    package static let windowBytesMax = 4 << 20
    /// Between heartbeats.
    package static let heartbeatNanoseconds: Int64 = 10_000_000_000
    /// A greeting that is not answered within this time ends the connection.
    package static let welcomeNanosecondsMax: Int64 = 15_000_000_000
    /// Rejections of one sequence after which the connection gives up for a while.
    package static let rejectionsMax = 2
    /// Longest wait that a collector can ask for, milliseconds.
    package static let retryAfterMSMax: UInt32 = 60_000

    /// Where the conversation stands.
    package private(set) var state: State = .greeting
    /// Next sequence to send.
    package private(set) var next: UInt64 = 0
    /// Highest sequence known to be committed.
    package private(set) var acknowledged: UInt64 = 0
    /// The last welcome's, empty before the first.
    package private(set) var storageGeneration: String
    /// The dictionary whose definitions the connection has through the last batch sent.
    package private(set) var dictionary: UInt64?
    private var flights: [Flight] = []
    private var flightBytes = 0
    private var window = windowBatchesMax
    private var pausedUntil: Int64 = .min
    private var heartbeatAt: Int64
    private var deadline: Int64
    private var rejectedSequence: UInt64 = 0
    private var rejectedTimes = 0
    /// A rejected batch is not yet a gap in the spool: reading it now would send the same bytes again.
    private var isSettling = false
    /// The collector's question whether this agent is alive; 0: none.
    private var probe: UInt64 = 0

    /// `storageGeneration` is the last welcome's, empty before the first.
    package init(storageGeneration: String, now: Int64) {
        self.storageGeneration = storageGeneration
        heartbeatAt = now
        deadline = now + Self.welcomeNanosecondsMax
    }

    /// Whether the collector welcomed the stream and it goes on.
    package var isStreaming: Bool { state == .streaming }
    /// Unacknowledged batches.
    package var inFlight: Int { flights.count }

    /// The collector answered the hello. `first` and `last` are the spool's bounds now.
    package mutating func welcome(
        lastSequence: UInt64, generation: String, window: UInt32, first: UInt64, last: UInt64
    ) -> [Action] {
        guard case .greeting = state else { return [] }
        var actions: [Action] = []
        if !storageGeneration.isEmpty, storageGeneration != generation {
            actions.append(
                .warn(
                    "the collector's storage was restored or replaced; going on after "
                        + "sequence \(lastSequence)"))
        }
        storageGeneration = generation
        self.window = max(1, min(Int(window), Self.windowBatchesMax))
        // Below: sequences that were acknowledged and freed. Above: numbers that this spool would use a second time.
        guard lastSequence &+ 1 >= first, lastSequence <= last else {
            state = .ended(.again)
            actions.append(.beginEpoch(lastCommitted: lastSequence))
            return actions
        }
        state = .streaming
        next = lastSequence + 1
        acknowledged = lastSequence
        actions.append(.acknowledge(through: lastSequence))
        return actions
    }

    /// Everything through `sequence` is committed.
    package mutating func ack(_ sequence: UInt64) -> [Action] {
        guard case .streaming = state, sequence > acknowledged, sequence < next else { return [] }
        acknowledged = sequence
        while let flight = flights.first, flight.sequence <= sequence {
            flightBytes -= flight.bytes
            flights.removeFirst()
        }
        return [.acknowledge(through: sequence)]
    }

    /// The collector refused something. `first` is the spool's lowest sequence now.
    package mutating func refusal(_ refusal: ReceivedRefusal, first: UInt64, now: Int64) -> [Action]
    {
        switch refusal.reason {
        case .invalid:
            guard case .streaming = state, refusal.sequence > acknowledged else { return [] }
            rejectedTimes = rejectedSequence == refusal.sequence ? rejectedTimes + 1 : 1
            rejectedSequence = refusal.sequence
            if rejectedTimes > Self.rejectionsMax {
                state = .ended(.later)
                return [.warn("batch \(refusal.sequence) is refused again: \(refusal.detail)")]
            }
            seek(to: refusal.sequence)
            isSettling = true
            return [.reject(sequence: refusal.sequence, detail: refusal.detail)]
        case .unavailable:
            let wait = min(max(refusal.retryAfterMS, 100), Self.retryAfterMSMax)
            guard case .streaming = state, refusal.sequence > acknowledged else {
                state = .ended(.after(milliseconds: wait))
                return [.note("the collector can't take data now: \(refusal.detail)")]
            }
            seek(to: refusal.sequence)
            pausedUntil = now + Int64(wait) * 1_000_000
            return [.note("the collector can't store now: \(refusal.detail)")]
        case .outOfOrder:
            guard case .streaming = state else { return [] }
            guard refusal.expectedSequence >= first else {
                state = .ended(.again)
                return [.beginEpoch(lastCommitted: refusal.expectedSequence &- 1)]
            }
            seek(to: refusal.expectedSequence)
            return [.note("going back to sequence \(refusal.expectedSequence)")]
        case .fenced:
            state = .ended(.later)
            return [.warn("fenced: \(refusal.detail); do two agents run with one identity?")]
        case .hello:
            state = .ended(.later)
            return [.warn("the collector does not accept this agent: \(refusal.detail)")]
        case .identity:
            state = .ended(.later)
            return [.warn("\(refusal.detail); join the fleet again with `petrel-agent join`")]
        case .protocol:
            state = .ended(.later)
            return [.warn("\(refusal.detail); what is read stays in the spool until then")]
        case .clone:
            state = .ended(.later)
            return [.warn(refusal.detail)]
        case .unknown:
            state = .ended(.later)
            return [.warn("refused for a reason unknown to this agent: \(refusal.detail)")]
        }
    }

    /// What to send at `now`, when the spool holds durable batches through `last`.
    package func send(now: Int64, last: UInt64) -> Send {
        switch state {
        case .ended: return .stop
        case .greeting:
            if probe != 0 { return .heartbeat }
            return now >= deadline ? .stop : .wait(until: deadline)
        case .streaming:
            if probe != 0 || now >= heartbeatAt { return .heartbeat }
            guard now >= pausedUntil else { return .wait(until: min(pausedUntil, heartbeatAt)) }
            guard !isSettling else { return .wait(until: heartbeatAt) }
            let room = window - flights.count
            let bytes = Self.windowBytesMax - flightBytes
            guard room > 0, bytes > 0, next <= last else { return .wait(until: heartbeatAt) }
            return .batches(from: next, countMax: room, bytesMax: bytes)
        }
    }

    /// The spool has made a gap of the rejected batch.
    package mutating func settled() { isSettling = false }

    /// The collector asks whether this agent is alive: the next heartbeat is due at once and carries `number`.
    package mutating func probed(_ number: UInt64) { probe = number }

    /// A heartbeat is sent at `now`; returns the probe that it answers, 0 where it answers none.
    package mutating func sendHeartbeat(now: Int64) -> UInt64 {
        heartbeatAt = now + Self.heartbeatNanoseconds
        defer { probe = 0 }
        return probe
    }

    /// Whether `sequence` is still the batch to send: an answer may have moved the position since it was read. If so it
    /// counts as sent.
    package mutating func send(_ sequence: UInt64, bytes: Int) -> Bool {
        guard case .streaming = state, sequence == next else { return false }
        flights.append(Flight(sequence: sequence, bytes: bytes))
        flightBytes += bytes
        next += 1
        return true
    }

    /// The connection's definitions are now those of `dictionary` before `sequence`; false where the position moved.
    package mutating func prepared(_ dictionary: UInt64, for sequence: UInt64) -> Bool {
        guard case .streaming = state, sequence == next else { return false }
        self.dictionary = dictionary
        return true
    }

    /// A newer connection has taken over.
    package mutating func retire() { state = .ended(.retired) }

    /// The greeting was not answered, or the connection broke.
    package mutating func broke() {
        if case .ended = state { return }
        state = .ended(.again)
    }

    private mutating func seek(to sequence: UInt64) {
        next = sequence
        while let flight = flights.last, flight.sequence >= sequence {
            flightBytes -= flight.bytes
            flights.removeLast()
        }
        dictionary = nil
    }
}
