internal import Crypto
internal import Identity
internal import Logging
internal import Model
internal import Storage
internal import SwiftProtobuf
internal import Wire
internal import World

/// What the sessions of a listener share.
struct SessionParts: Sendable {
    let writer: any IngestWriter
    let registry: any FleetRegistry
    let clock: any WorldClock
    let metrics: ReceiveMetrics
    let presence: PresenceBoard
    let board: SessionBoard
    let audit: AuditTrail
    let limits: ReceiveLimits
    let random: any RandomSource
    let log: Logger
}

/// One agent stream: takes its messages in order, stores, and answers. It belongs to one task.
struct StreamSession {
    typealias Send = (Petrel_Fleet_V1_CollectorMessage) async throws -> Void

    private let identity: AgentIdentity
    private let parts: SessionParts
    private let ticket: SessionBoard.Ticket
    private var machine = SessionMachine()
    private var dictionary: SessionDictionary
    private(set) var kind: StreamKind = .metrics

    init(identity: AgentIdentity, ticket: SessionBoard.Ticket, parts: SessionParts) {
        self.identity = identity
        self.ticket = ticket
        self.parts = parts
        dictionary = SessionDictionary(host: identity.host, role: "")
    }

    /// Processes queued messages; false when the stream is over. Throws what `send` throws, and cancellation.
    mutating func process(_ messages: [Inbound], send: Send) async throws -> Bool {
        var taken: [TakenBatch] = []
        for message in messages {
            switch message {
            case .hello(let hello):
                try await greet(hello, send)
            case .dictionary(let update):
                // Ids of batches that are taken already must not change their meaning.
                if dictionary.number != update.dictionary { try await store(&taken, send) }
                dictionary.define(update)
            case .batch(let batch):
                if dictionary.number != batch.dictionary {
                    try await store(&taken, send)
                }
                try await take(batch, &taken, send)
            }
            if machine.isEnded { break }
        }
        try await store(&taken, send)
        return !machine.isEnded
    }

    private mutating func greet(_ hello: Petrel_Fleet_V1_Hello, _ send: Send) async throws {
        let facts = HelloFacts(
            versions: FleetProtocol(newest: hello.protocol, oldest: hello.protocolMin),
            kind: StreamKind(hello.kind), epoch: hello.epoch,
            agentVersion: HostFacts(hello).agentVersion)
        switch machine.hello(facts) {
        case .refuse(let notice): try await refuse(notice, send)
        case .open(let kind, let epoch, let version):
            self.kind = kind
            let role = HostName(hello.role)?.text ?? ""
            dictionary = SessionDictionary(host: identity.host, role: role)
            try await open(kind, epoch, version, hello, send)
        }
    }

    private mutating func open(
        _ kind: StreamKind, _ epoch: UInt64, _ version: UInt32, _ hello: Petrel_Fleet_V1_Hello,
        _ send: Send
    ) async throws {
        let now = parts.clock.now
        noteSkew(sent: hello.sentNs, now: now, atHello: true)
        do {
            // First of all: a collector whose storage is away judges nobody.
            let generation = try await parts.writer.storageGeneration()
            let origin = StreamOrigin(HostFacts(hello))
            let claim = try await parts.board.claim(
                ticket, kind, from: origin, clock: parts.clock, random: parts.random)
            switch claim {
            case .admitted: break
            case .refused(let holder, let isNews):
                machine.end()
                return try await refuseClone(origin, holder, isNews, send)
            case .undecided:
                machine.end()
                return try await refuse(undecided(), send)
            }
            let (session, last) = try await parts.writer.openSession(
                host: identity.host, kind: kind, epoch: epoch)
            try await parts.registry.recordHello(
                host: identity.host, facts: HostFacts(hello), at: now.milliseconds)
            machine.opened(session, lastSequence: last)
            var welcome = Petrel_Fleet_V1_Welcome()
            welcome.protocol = version
            welcome.storageGeneration = generation
            welcome.lastSequence = last
            welcome.sentNs = parts.clock.now.rawValue
            welcome.host = identity.host.text
            welcome.window = UInt32(parts.limits.windowBatchesMax)
            try await send(.with { $0.welcome = welcome })
        } catch let error as StorageError {
            machine.end()
            try await refuse(unavailable(error, sequence: 0), send)
        }
    }

    /// Says no to a copy of the agent that streams as this host.
    private func refuseClone(
        _ origin: StreamOrigin, _ holder: StreamOrigin, _ isNews: Bool, _ send: Send
    ) async throws {
        if isNews {
            parts.audit.record(
                "stream.clone", subject: identity.host.text,
                detail: "refused \(origin.text); \(holder.text) streams")
            parts.log.warning(
                "two agents run as \(identity.host): refused \(origin.text); \(holder.text) streams"
            )
        }
        try await refuse(
            RefusalNotice(
                kind: .clone,
                detail: "another agent streams as \(identity.host) (\(holder.text)): one of the "
                    + "two is a copy. Give the copy a name of its own: `petrel-collector enroll "
                    + "create --host NAME` on the collector, then `petrel-agent join --force "
                    + "--token TOKEN` on the copy"), send)
    }

    private mutating func take(
        _ batch: Petrel_Fleet_V1_Batch, _ taken: inout [TakenBatch], _ send: Send
    ) async throws {
        switch machine.batch(sequence: batch.sequence) {
        case .drop: return
        case .refuse(let notice):
            try await store(&taken, send)
            try await refuse(notice, send)
        case .take:
            dictionary.select(batch.dictionary)
            do {
                taken.append(try decode(batch))
            } catch {
                try await store(&taken, send)
                guard !machine.isEnded else { return }
                parts.metrics.malformed(host: identity.host, kind: kind)
                parts.log.warning(
                    "batch \(batch.sequence) of \(identity.host) refused: \(error)",
                    metadata: place(batch.sequence))
                machine.refused(batch.sequence)
                try await refuse(
                    RefusalNotice(
                        kind: .invalid, sequence: batch.sequence, detail: "\(error)"), send)
            }
        }
    }

    private mutating func decode(
        _ batch: Petrel_Fleet_V1_Batch
    ) throws(WireError) -> TakenBatch {
        let payloadKind: PayloadKind
        switch (batch.kind, kind) {
        case (.metrics, .metrics): payloadKind = .metrics
        case (.logs, .logs): payloadKind = .logs
        case (.gap, _): payloadKind = .gap
        case (.metrics, _), (.logs, _), (.unspecified, _), (.UNRECOGNIZED, _):
            throw .malformed(
                message: "batch", detail: "kind \(batch.kind.rawValue) in a \(kind.name) stream")
        }
        let digest = Array(SHA256.hash(data: batch.payload))
        let (payload, problems) = try dictionary.decode([UInt8](batch.payload), payloadKind)
        let count = problems.reduce(payload.recordCount) { $0 + $1.count }
        guard payloadKind == .gap || count == Int(batch.recordCount) else {
            throw .malformed(
                message: "batch", detail: "\(batch.recordCount) records announced, \(count) held")
        }
        return TakenBatch(
            sequence: batch.sequence, digest: digest, payload: payload, problems: problems)
    }

    /// Stores what was taken in one call and answers; afterwards `taken` is empty.
    private mutating func store(_ taken: inout [TakenBatch], _ send: Send) async throws {
        guard !taken.isEmpty, let session = machine.session else {
            taken = []
            return
        }
        let batches = taken
        taken = []
        do {
            try await number(batches)
            let translator = BatchTranslator(
                dictionary: dictionary, limits: parts.limits, receivedAt: parts.clock.now)
            let ingest = batches.map { translator.translate($0, epoch: session.epoch) }
            try await commit(ingest, session, send)
        } catch let error as StorageError {
            if error == .cancelled { throw CancellationError() }
            if error == .seriesRemoved { dictionary.forgetNumbers() }
            machine.refused(batches[0].sequence)
            parts.log.warning(
                "a batch of \(identity.host) can't be stored now: \(error)",
                metadata: place(batches[0].sequence))
            try await refuse(unavailable(error, sequence: batches[0].sequence), send)
        }
    }

    private mutating func commit(
        _ batches: [IngestBatch], _ session: IngestSession, _ send: Send
    ) async throws {
        do {
            let outcomes = try await parts.writer.store(batches, session: session)
            try await settle(batches, outcomes, send)
        } catch StorageError.refused {
            // One of them holds what the storage does not take: each on its own, the poison ones cleaned.
            for batch in batches {
                let outcome: IngestOutcome
                do {
                    outcome = try await parts.writer.store([batch], session: session)[0]
                    try await settle([batch], [outcome], send)
                } catch StorageError.refused(let detail) {
                    try await commitCleaned(batch, detail, session, send)
                }
                if machine.isEnded { return }
            }
        }
    }

    private mutating func commitCleaned(
        _ batch: IngestBatch, _ detail: String, _ session: IngestSession, _ send: Send
    ) async throws {
        let said = "refused by the storage: \(detail.prefix(200))"
        var search = PoisonSearch(
            itemCount: batch.recordCount, trialsMax: parts.limits.rehearsalsMax)
        while let range = search.next {
            let part = batch.keeping({ range.contains($0) }, detail: said)
            do {
                try await parts.writer.rehearse(part, session: session)
                search.report(isAccepted: true)
            } catch StorageError.refused {
                search.report(isAccepted: false)
            }
        }
        let poison = Set(search.poison)
        parts.log.warning(
            """
            \(poison.count) records of batch \(batch.position.sequence) of \(identity.host) \
            \(said)
            """, metadata: place(batch.position.sequence))
        do {
            let cleaned = batch.keeping({ !poison.contains($0) }, detail: said)
            let outcomes = try await parts.writer.store([cleaned], session: session)
            try await settle([cleaned], outcomes, send)
        } catch StorageError.refused(let detail) {
            machine.refused(batch.position.sequence)
            parts.metrics.malformed(host: identity.host, kind: kind)
            try await refuse(
                RefusalNotice(
                    kind: .invalid, sequence: batch.position.sequence, detail: detail), send)
        }
    }

    private mutating func settle(
        _ batches: [IngestBatch], _ outcomes: [IngestOutcome], _ send: Send
    ) async throws {
        let settlement = machine.settle(batches.map(\.position.sequence), outcomes)
        let stored = settlement.stored.map { batches[$0] }
        parts.metrics.batches(
            stored: UInt64(stored.count), duplicates: UInt64(settlement.duplicates.count),
            records: stored.reduce(0) { $0 + UInt64($1.recordCount) },
            gaps: stored.reduce(0) { sum, batch in
                batch.gaps.reduce(sum) { $0 &+ $1.count }
            }, host: identity.host, kind: kind)
        parts.metrics.exemplars(
            taken: stored.reduce(0) { $0 + UInt64($1.exemplars.count) },
            rejected: stored.reduce(0) { $0 + UInt64($1.rejectedExemplarCount) },
            host: identity.host, kind: kind)
        if settlement.integrityAlerts > 0 {
            parts.metrics.integrityAlert()
            parts.audit.record(
                "stream.integrity", subject: identity.host.text,
                detail: "a sequence number came again with other content")
        }
        if let through = settlement.ackThrough {
            try await send(.with { $0.ack.sequence = through })
        }
        if let notice = settlement.refusal { try await refuse(notice, send) }
    }

    /// Asks for the numbers of all series of `batches` that have none yet.
    private mutating func number(_ batches: [TakenBatch]) async throws {
        let scrapes = batches.flatMap { batch -> [DecodedScrape] in
            if case .metrics(let metrics) = batch.payload { metrics.scrapes } else { [] }
        }
        let (ids, series) = dictionary.unasked(in: scrapes)
        guard !ids.isEmpty else { return }
        do {
            try await number(ids[...], series[...])
        } catch StorageError.refused {
            var search = PoisonSearch(itemCount: ids.count, trialsMax: parts.limits.rehearsalsMax)
            while let range = search.next {
                do {
                    try await number(ids[range], series[range])
                    search.report(isAccepted: true)
                } catch StorageError.refused {
                    search.report(isAccepted: false)
                }
            }
            for index in search.poison {
                dictionary.note(
                    ids[index], .refused(.rejected, detail: "a series refused by the storage"))
            }
        }
    }

    private mutating func number(
        _ ids: ArraySlice<UInt32>, _ series: ArraySlice<SeriesDefinition>
    ) async throws {
        let numbers = try await parts.writer.intern(Array(series), host: identity.host)
        for ((id, number), definition) in zip(zip(ids, numbers), series) {
            dictionary.note(
                id,
                number.map(SeriesSlot.numbered)
                    ?? .refused(
                        .seriesLimited,
                        detail: "new series of \(definition.labels.metricName) past a limit"))
        }
    }

    /// Names a batch of this stream in a log line.
    private func place(_ sequence: some BinaryInteger) -> Logger.Metadata {
        [
            "host": "\(identity.host)", "stream": "\(kind.name)",
            "epoch": "\(machine.session?.epoch ?? 0)", "sequence": "\(sequence)",
        ]
    }

    private func unavailable(_ error: StorageError, sequence: UInt64) -> RefusalNotice {
        var notice = RefusalNotice(
            kind: .unavailable, sequence: sequence, retryAfterMS: parts.limits.retryAfterMS,
            detail: "the collector's storage is unavailable")
        if case .exhausted = error {
            notice.retryAfterMS = parts.limits.retryAfterExhaustedMS
            notice.detail = "the collector's storage is full"
        }
        return notice
    }

    /// Nobody can tell yet whether those who stream as this host live.
    private func undecided() -> RefusalNotice {
        RefusalNotice(
            kind: .unavailable, retryAfterMS: parts.limits.retryAfterMS,
            detail: "the collector's storage is slow: whether another agent streams as "
                + "\(identity.host) can't be told")
    }

    private func refuse(_ notice: RefusalNotice, _ send: Send) async throws {
        parts.metrics.refusal(notice.kind.rawValue)
        let detail = "\(notice.kind.rawValue): \(notice.detail)"
        switch notice.kind {
        case .fenced:
            parts.audit.record("stream.refuse", subject: identity.host.text, detail: detail)
        case .hello, .protocol:
            // The agent repeats it for as long as nobody mends it.
            guard parts.board.isNews(refusal: detail, of: identity.host) else { break }
            parts.audit.record("stream.refuse", subject: identity.host.text, detail: detail)
            parts.log.warning(
                "a stream is refused: \(notice.detail)", metadata: ["host": "\(identity.host)"])
        case .invalid, .unavailable, .outOfOrder, .identity, .clone: break
        }
        try await send(.with { $0.refusal = Petrel_Fleet_V1_Refusal(notice) })
    }

    /// Notes the difference of the clocks; `sent` 0 says nothing.
    func noteSkew(sent: Int64, now: TimestampNS, atHello: Bool) {
        guard sent != 0 else { return }
        let skew = Double(sent) / 1e9 - Double(now.rawValue) / 1e9
        parts.metrics.skew(seconds: skew, host: identity.host, kind: kind)
        if atHello, abs(skew) > 30 {
            parts.log.warning(
                "the clock of \(identity.host) is off by \(Int64(skew)) s; check its time service")
        }
    }
}

extension Petrel_Fleet_V1_Refusal {
    init(_ notice: RefusalNotice) {
        self.init()
        reason =
            switch notice.kind {
            case .invalid: .invalid
            case .unavailable: .unavailable
            case .outOfOrder: .outOfOrder
            case .fenced: .fenced
            case .hello: .hello
            case .identity: .identity
            case .protocol: .protocol
            case .clone: .clone
            }
        sequence = notice.sequence
        expectedSequence = notice.expectedSequence
        retryAfterMs = notice.retryAfterMS
        detail = notice.detail
    }
}
