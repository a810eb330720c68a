package import Model
package import Storage
package import Wire

/// Why the collector does not take something. The raw value is the `reason` label of metrics.
package enum RefusalKind: String, Hashable, Sendable, CaseIterable {
    case invalid
    case unavailable
    case outOfOrder = "out_of_order"
    case fenced
    case hello
    case identity
    case `protocol`
    case clone
}

/// A refusal to be sent.
package struct RefusalNotice: Hashable, Sendable {
    package var kind: RefusalKind
    package var sequence: UInt64
    package var expectedSequence: UInt64
    package var retryAfterMS: UInt32
    package var detail: String

    package init(
        kind: RefusalKind, sequence: UInt64 = 0, expectedSequence: UInt64 = 0,
        retryAfterMS: UInt32 = 0, detail: String
    ) {
        self.kind = kind
        self.sequence = sequence
        self.expectedSequence = expectedSequence
        self.retryAfterMS = retryAfterMS
        self.detail = detail
    }
}

/// What an agent says first.
package struct HelloFacts: Hashable, Sendable {
    package var versions: FleetProtocol
    /// Nil for a kind that this collector does not know.
    package var kind: StreamKind?
    package var epoch: UInt64
    /// Version of petrel-agent, for a person; may be empty.
    package var agentVersion: String

    package init(
        versions: FleetProtocol, kind: StreamKind?, epoch: UInt64, agentVersion: String = ""
    ) {
        self.versions = versions
        self.kind = kind
        self.epoch = epoch
        self.agentVersion = agentVersion
    }
}

/// The order of a session: a hello, then batches by contiguous sequence.
///
/// A refused batch leaves the session waiting: whatever was sent behind it is dropped without a word until the awaited
/// sequence arrives, so a full window causes one refusal and not eight.
package struct SessionMachine: Hashable, Sendable {
    /// Where the session stands.
    package enum State: Hashable, Sendable {
        /// Becomes `opening` by an acceptable hello, else `ended`.
        case greeting
        /// Becomes `open` once the storage gave a session, else `ended`.
        case opening
        /// Becomes `ended` by a fence.
        case open(session: IngestSession, next: UInt64, isWaiting: Bool)
        case ended
    }

    /// What a hello comes to.
    package enum HelloVerdict: Hashable, Sendable {
        /// `version` is the protocol that both sides speak from here on.
        case open(kind: StreamKind, epoch: UInt64, version: UInt32)
        case refuse(RefusalNotice)
    }

    /// What is to be done with a batch.
    package enum BatchVerdict: Hashable, Sendable {
        case take
        case drop
        case refuse(RefusalNotice)
    }

    /// What came of storing some batches.
    package struct Settlement: Hashable, Sendable {
        /// Acknowledge through this sequence.
        package var ackThrough: UInt64?
        package var refusal: RefusalNotice?
        /// A number was used again for other content.
        package var integrityAlerts = 0
        /// Which of the batches are newly committed, and which had been before.
        package var stored: [Int] = []
        package var duplicates: [Int] = []
    }

    package private(set) var state: State = .greeting
    private let versions: FleetProtocol

    /// Waits for a hello in one of `versions`.
    package init(versions: FleetProtocol = .current) { self.versions = versions }

    /// Nothing more is taken.
    package var isEnded: Bool { state == .ended }

    /// The storage's session while open.
    package var session: IngestSession? {
        guard case .open(let session, _, _) = state else { return nil }
        return session
    }

    /// The first message arrived.
    package mutating func hello(_ hello: HelloFacts) -> HelloVerdict {
        guard case .greeting = state else {
            state = .ended
            return .refuse(RefusalNotice(kind: .hello, detail: "a second hello on one stream"))
        }
        state = .ended
        guard let version = versions.common(with: hello.versions) else {
            return .refuse(RefusalNotice(kind: .protocol, detail: skew(hello)))
        }
        guard let kind = hello.kind else {
            return .refuse(RefusalNotice(kind: .hello, detail: "unknown kind of stream"))
        }
        guard hello.epoch != 0 else {
            return .refuse(RefusalNotice(kind: .hello, detail: "epoch 0 names no spool"))
        }
        state = .opening
        return .open(kind: kind, epoch: hello.epoch, version: version)
    }

    /// Why no version is common, and which side to upgrade.
    private func skew(_ hello: HelloFacts) -> String {
        let isAgentNewer = hello.versions.oldest > versions.newest
        let agent =
            hello.agentVersion.isEmpty ? "this agent" : "petrel-agent \(hello.agentVersion)"
        return "\(agent) speaks version \(hello.versions.text) of the fleet protocol, the "
            + "collector \(versions.text): upgrade "
            + (isAgentNewer ? "petrel-collector" : "petrel-agent on this host")
            + " (one version apart works)"
    }

    /// The storage gave a session whose last committed sequence is `lastSequence`.
    package mutating func opened(_ session: IngestSession, lastSequence: UInt64) {
        precondition(state == .opening, "a session opens once, after its hello")
        state = .open(session: session, next: lastSequence &+ 1, isWaiting: false)
    }

    /// Ends the session.
    package mutating func end() { state = .ended }

    /// A batch of the stream's sequence arrived.
    package mutating func batch(sequence: UInt64) -> BatchVerdict {
        switch state {
        case .greeting, .opening:
            state = .ended
            return .refuse(RefusalNotice(kind: .hello, detail: "a batch came before the hello"))
        case .ended: return .drop
        case .open(let session, let next, let isWaiting):
            if sequence == next || sequence < next && !isWaiting {
                state = .open(
                    session: session, next: max(next, sequence &+ 1), isWaiting: false)
                return .take
            }
            guard !isWaiting else { return .drop }
            state = .open(session: session, next: next, isWaiting: true)
            return .refuse(
                RefusalNotice(
                    kind: .outOfOrder, sequence: sequence, expectedSequence: next,
                    detail: "batch \(next) is missing before batch \(sequence)"))
        }
    }

    /// The batch `sequence` that was taken is refused: the stream goes on only when it comes again.
    package mutating func refused(_ sequence: UInt64) {
        guard case .open(let session, _, _) = state else { return }
        state = .open(session: session, next: sequence, isWaiting: true)
    }

    /// The storage answered for the batches `sequences` in order.
    package mutating func settle(_ sequences: [UInt64], _ outcomes: [IngestOutcome]) -> Settlement {
        precondition(sequences.count == outcomes.count, "an outcome a batch")
        var settlement = Settlement()
        for (index, outcome) in outcomes.enumerated() {
            switch outcome {
            case .stored:
                settlement.stored.append(index)
                settlement.ackThrough = sequences[index]
            case .duplicate(let sameDigest):
                settlement.duplicates.append(index)
                settlement.ackThrough = sequences[index]
                if !sameDigest { settlement.integrityAlerts += 1 }
            case .outOfOrder(let expected):
                refused(expected)
                settlement.refusal = RefusalNotice(
                    kind: .outOfOrder, sequence: sequences[index], expectedSequence: expected,
                    detail: "batch \(expected) is missing before batch \(sequences[index])")
                return settlement
            case .fenced:
                state = .ended
                settlement.refusal = RefusalNotice(
                    kind: .fenced, sequence: sequences[index],
                    detail: "a newer connection of this stream exists; if it lasts, two agents "
                        + "run with one identity")
                return settlement
            }
        }
        return settlement
    }
}
