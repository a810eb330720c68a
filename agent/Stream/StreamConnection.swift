internal import FoundationEssentials
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import Identity
internal import Logging
internal import Model
internal import Storage
internal import SwiftProtobuf
internal import Synchronization
internal import Wire
internal import WireRPC
internal import World

/// What the connections of a stream share.
struct StreamParts: Sendable {
    let spool: any SpoolSource
    let facts: HostFacts
    let metrics: StreamMetrics
    let clock: any WorldClock
    let log: Logger
    let complaints = Complaints()
}

/// One connection of one stream, from hello to its end.
///
/// One task sends and nobody else writes; answers change the machine and wake it.
final class StreamConnection: Sendable {
    private let parts: StreamParts
    private let connection: CollectorConnection
    private let machine: Mutex<StreamStateMachine>
    private let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation
    private let onWelcome: @Sendable () -> Void
    private let wasWelcomed = Atomic(false)

    /// `onWelcome` is called once, when the collector has welcomed the stream.
    init(
        parts: StreamParts, connection: CollectorConnection, storageGeneration: String,
        onWelcome: @escaping @Sendable () -> Void
    ) {
        self.parts = parts
        self.connection = connection
        self.onWelcome = onWelcome
        machine = Mutex(
            StreamStateMachine(
                storageGeneration: storageGeneration, now: parts.clock.monotonicNanoseconds))
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// How the connection ended, and what it learned.
    struct Ended: Sendable {
        var end: StreamStateMachine.End
        var storageGeneration: String
        var didStream: Bool
        /// Why no connection came about or it broke; nil where the machine ended it.
        var error: StreamError?
    }

    private var kind: StreamKind { parts.spool.kind }

    /// Lets the connection finish without sending more; what is unacknowledged is sent by its successor.
    func retire() {
        machine.withLock { $0.retire() }
        waker.yield()
    }

    /// Connects, streams until something ends it, and says what. Never throws: every failure is an end.
    func run() async -> Ended {
        var failure: StreamError?
        do {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask { [self] in
                    try await call()
                    return true
                }
                group.addTask { [self] in try await watchSpool() }
                group.addTask { [self] in try await tick() }
                defer { group.cancelAll() }
                while let isCallOver = try await group.next() {
                    if isCallOver { return }
                }
            }
        } catch {
            failure = connection.explain(error)
        }
        if wasWelcomed.load(ordering: .relaxed) { parts.metrics.disconnected(kind) }
        return machine.withLock { machine in
            let didStream = machine.isStreaming || machine.acknowledged > 0
            machine.broke()
            guard case .ended(let end) = machine.state else {
                preconditionFailure("a broken machine has ended")
            }
            return Ended(
                end: failure?.needsJoining == true ? .later : end,
                storageGeneration: machine.storageGeneration, didStream: didStream,
                error: failure)
        }
    }

    private func call() async throws {
        try await withGRPCClient(transport: connection.transport()) { client in
            try await Petrel_Fleet_V1_Fleet.Client(wrapping: client).stream { [self] writer in
                try await sendAll(writer)
            } onResponse: { [self] response in
                for try await message in response.messages {
                    receive(message)
                    waker.yield()
                    if case .ended = machine.withLock({ $0.state }) { break }
                }
                // The sender must not wait for answers that no longer come.
                machine.withLock { $0.broke() }
                waker.yield()
            }
        }
    }

    /// Wakes the sender when a batch becomes durable. A failing spool is looked at again every second.
    private func watchSpool() async throws -> Bool {
        while true {
            let last = parts.spool.status().lastSequence
            waker.yield()
            do {
                try await parts.spool.waitForBatch(after: last)
            } catch is CancellationError {
                return false
            } catch {
                try await parts.clock.sleep(nanoseconds: 1_000_000_000)
            }
        }
    }

    /// Wakes the sender for heartbeats and ends of pauses, which are a second late at most.
    private func tick() async throws -> Bool {
        while true {
            try await parts.clock.sleep(nanoseconds: 500_000_000)
            waker.yield()
        }
    }

    private func sendAll(_ writer: RPCWriter<Petrel_Fleet_V1_AgentMessage>) async throws {
        try await writer.write(.with { $0.hello = hello() })
        for await _ in wake {
            while true {
                let last = parts.spool.status().lastSequence
                let now = parts.clock.monotonicNanoseconds
                let step = machine.withLock { $0.send(now: now, last: last) }
                switch step {
                case .stop: return
                case .heartbeat:
                    let probe = machine.withLock { $0.sendHeartbeat(now: now) }
                    try await writer.write(.with { $0.heartbeat = heartbeat(answering: probe) })
                    continue
                case .batches(let from, let countMax, let bytesMax):
                    if try await send(from, countMax, bytesMax, writer) { continue }
                case .wait: break
                }
                break
            }
        }
    }

    /// Sends batches from `from` on; false where the spool gave none.
    private func send(
        _ from: UInt64, _ countMax: Int, _ bytesMax: Int,
        _ writer: RPCWriter<Petrel_Fleet_V1_AgentMessage>
    ) async throws -> Bool {
        let batches = try parts.spool.read(from: from, bytesMax: bytesMax)
        guard let first = batches.first, first.sequence == from else { return false }
        for batch in batches.prefix(countMax) {
            let known = machine.withLock { $0.dictionary }
            if batch.kind != .gap, known != batch.dictionary {
                for message in try definitions(before: batch) {
                    try await writer.write(.with { $0.dictionary = message })
                }
                guard machine.withLock({ $0.prepared(batch.dictionary, for: batch.sequence) })
                else { return true }
            }
            let dictionary = machine.withLock { $0.dictionary ?? batch.dictionary }
            guard machine.withLock({ $0.send(batch.sequence, bytes: batch.payload.count) })
            else { return true }
            // A gap has no ids; it stays within the dictionary around it.
            let message = Petrel_Fleet_V1_Batch(
                batch, dictionary: batch.kind == .gap ? dictionary : batch.dictionary)
            try await writer.write(.with { $0.batch = message })
        }
        return true
    }

    /// What the collector must know before `batch`: the definitions in earlier batches of its dictionary.
    private func definitions(
        before batch: SpooledBatch
    ) throws -> [Petrel_Fleet_V1_Dictionary] {
        let payloads = try parts.spool.preceding(batch.sequence)
            .filter { $0.kind == batch.kind && $0.dictionary == batch.dictionary }.map(\.payload)
        return batch.kind == .metrics
            ? DictionaryMessages.make(batch.dictionary, metricsPayloads: payloads)
            : DictionaryMessages.make(batch.dictionary, logPayloads: payloads)
    }

    private func receive(_ message: Petrel_Fleet_V1_CollectorMessage) {
        let first = parts.spool.status().firstSequence
        let now = parts.clock.monotonicNanoseconds
        switch message.message {
        case .welcome(let welcome) where !FleetProtocol.current.speaks(welcome.protocol):
            parts.metrics.refused(kind, ReceivedRefusal.Reason.protocol.rawValue)
            let refusal = ReceivedRefusal(
                reason: .protocol,
                detail: "the collector goes on in version \(welcome.protocol) of the fleet "
                    + "protocol, this agent speaks \(FleetProtocol.current.text): upgrade the "
                    + "older of both")
            perform(machine.withLock { $0.refusal(refusal, first: first, now: now) })
        case .welcome(let welcome):
            let last = parts.spool.status().lastSequence
            let (actions, isStreaming) = machine.withLock { machine in
                let actions = machine.welcome(
                    lastSequence: welcome.lastSequence, generation: welcome.storageGeneration,
                    window: welcome.window, first: first, last: last)
                return (actions, machine.isStreaming)
            }
            perform(actions)
            // A second welcome on one stream says nothing new.
            guard isStreaming, !wasWelcomed.exchange(true, ordering: .relaxed) else { return }
            parts.metrics.connected(kind, at: parts.clock.now)
            parts.complaints.settle()
            parts.log.info(
                "the \(kind.name) stream goes on after \(welcome.lastSequence)",
                metadata: place(welcome.lastSequence))
            onWelcome()
        case .ack(let ack): perform(machine.withLock { $0.ack(ack.sequence) })
        case .refusal(let refusal):
            let received = ReceivedRefusal(refusal)
            parts.metrics.refused(kind, received.reason.rawValue)
            perform(machine.withLock { $0.refusal(received, first: first, now: now) })
        case .probe(let probe): machine.withLock { $0.probed(probe.number) }
        case nil: break
        }
    }

    private func perform(_ actions: [StreamStateMachine.Action]) {
        for action in actions {
            switch action {
            case .acknowledge(let through):
                parts.spool.acknowledge(through: through)
                parts.metrics.acknowledged(kind, through)
            case .reject(let sequence, let detail):
                parts.log.error(
                    "batch \(sequence) refused, it becomes a gap: \(detail)",
                    metadata: place(sequence))
                parts.spool.reject(sequence, detail: detail)
                machine.withLock { $0.settled() }
            case .beginEpoch(let lastCommitted):
                do {
                    let epoch = try parts.spool.beginEpochAfterRestore(
                        lastCommitted: lastCommitted)
                    parts.log.warning(
                        """
                        the collector has the \(kind.name) stream through \(lastCommitted), which \
                        this spool can't follow; going on under epoch \(epoch)
                        """)
                } catch {
                    parts.log.error("the spool can't begin a new epoch: \(error)")
                }
            case .note(let text):
                parts.log.info("\(kind.name) stream: \(text)", metadata: place(nil))
            case .warn(let text):
                parts.metrics.failed(kind, text, at: parts.clock.now)
                guard parts.complaints.isNews(text, now: parts.clock.monotonicNanoseconds) else {
                    continue
                }
                parts.log.warning("\(kind.name) stream: \(text)", metadata: place(nil))
            }
        }
    }

    /// Names this stream, and a batch of it, in a log line.
    private func place(_ sequence: UInt64?) -> Logger.Metadata {
        var place: Logger.Metadata = [
            "stream": "\(kind.name)", "epoch": "\(parts.spool.status().epoch)",
        ]
        if let sequence { place["sequence"] = "\(sequence)" }
        return place
    }

    private func hello() -> Petrel_Fleet_V1_Hello {
        let status = parts.spool.status()
        var hello = Petrel_Fleet_V1_Hello(parts.facts)
        hello.protocol = FleetProtocol.current.newest
        hello.protocolMin = FleetProtocol.current.oldest
        hello.kind = kind.wire
        hello.epoch = status.epoch
        hello.firstSequence = status.firstSequence
        hello.lastSequence = status.lastSequence
        hello.storageGeneration = machine.withLock { $0.storageGeneration }
        hello.sentNs = parts.clock.now.rawValue
        return hello
    }

    private func heartbeat(answering probe: UInt64) -> Petrel_Fleet_V1_Heartbeat {
        let status = parts.spool.status()
        var heartbeat = Petrel_Fleet_V1_Heartbeat()
        heartbeat.probe = probe
        heartbeat.sentNs = parts.clock.now.rawValue
        heartbeat.producedRecords = status.producedRecords
        heartbeat.gapRecords = status.gapRecords
        heartbeat.spoolRecords = status.spoolRecords
        heartbeat.spoolBytes = status.spoolBytes
        return heartbeat
    }
}

extension Petrel_Fleet_V1_Batch {
    init(_ batch: SpooledBatch, dictionary: UInt64) {
        self.init()
        sequence = batch.sequence
        kind =
            switch batch.kind {
            case .metrics: .metrics
            case .logs: .logs
            case .gap: .gap
            }
        self.dictionary = dictionary
        recordCount = batch.kind == .gap ? 0 : UInt32(batch.recordCount)
        payload = Data(batch.payload)
    }
}

extension ReceivedRefusal {
    init(_ refusal: Petrel_Fleet_V1_Refusal) {
        let reason: Reason =
            switch refusal.reason {
            case .invalid: .invalid
            case .unavailable: .unavailable
            case .outOfOrder: .outOfOrder
            case .fenced: .fenced
            case .hello: .hello
            case .identity: .identity
            case .protocol: .protocol
            case .clone: .clone
            case .unspecified, .UNRECOGNIZED: .unknown
            }
        self.init(
            reason: reason, sequence: refusal.sequence,
            expectedSequence: refusal.expectedSequence, retryAfterMS: refusal.retryAfterMs,
            detail: refusal.detail)
    }
}
