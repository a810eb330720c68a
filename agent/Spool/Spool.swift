package import Model
package import Storage
import Synchronization
import Wire
package import World

/// One stream's batches on disk between their making and the collector's acknowledgement.
///
/// Thread-safe. Appends and flushes wait for each other; reading and acknowledging never wait for a flush's `fdatasync`;
/// `status` and `isDegraded` never wait for the disk. Nothing is visible to `read` before it is durable (see `SpoolStore`
/// for the one exception and its proof).
/// Format and rules: `docs/formats/spool.md`.
package final class Spool: SpoolSource, SpoolSink {
    package let kind: StreamKind
    private let writing = Mutex<Void>(())
    private let state: Mutex<State>
    /// What `state` comes to, as of its last change: `state` is held while the disk works.
    private let figures: Mutex<Figures>

    private struct State {
        var store: SpoolStore
        var waiters: [Int: (after: UInt64, continuation: CheckedContinuation<Void, any Error>)] =
            [:]
        var waiterNumber = 0
    }

    private struct Figures {
        var status: SpoolStatus
        var isDegraded: Bool

        init(_ store: SpoolStore) {
            status = store.status()
            isDegraded = store.isDegraded
        }
    }

    /// Opens or makes the spool of `directory` and recovers it; afterwards disk errors no longer throw but degrade.
    /// Throws `locked` where another process has it, `file` where the directory can't be used.
    package init(
        kind: StreamKind, directory: String, tree: any WorldFileTree, clock: any WorldClock,
        random: any RandomSource, configuration: SpoolConfiguration
    ) throws(SpoolError) {
        self.kind = kind
        let store = try SpoolStore.open(
            kind: kind, directory: directory, tree: tree, clock: clock, random: random,
            configuration: configuration)
        state = Mutex(State(store: store))
        figures = Mutex(Figures(store))
    }

    // MARK: the batching side

    /// Where the sources stand, appended batches included; after opening the durable ones. Ascending by source.
    package var positions: [SourcePosition] {
        state.withLock { $0.store.list($0.store.positions) }
    }

    /// Sources that can be read again must wait: the spool is at its bound, or in memory mode and that is nearly full.
    package var isFull: Bool {
        state.withLock { $0.store.isFull }
    }

    /// In memory mode: the disk refused, what is appended is not durable. For the metric `petrel_spool_degraded`.
    package var isDegraded: Bool { figures.withLock { $0.isDegraded } }

    /// When the oldest record that the collector has not acknowledged was appended; nil where there is none, or it can't
    /// be read. Waits for the disk.
    package var oldestAt: TimestampNS? { update { $0.oldestAt() } }

    /// The spool has reached its bound, or the disk its own: of metrics the oldest are dropped, logs wait. Waits for the
    /// disk.
    package var isAtBound: Bool { state.withLock { $0.store.isOverBounds } }

    /// Records whose content the collector has acknowledged.
    package var acknowledgedRecords: UInt64 {
        state.withLock {
            $0.store.ledger.acknowledgedThrough.data - $0.store.ledger.lostPassed
        }
    }

    package func dictionary(forPayloadBytes bytes: Int) throws -> SpoolDictionary {
        try changing { (store) throws(SpoolError) in
            try store.prepare(bodyBytes: SegmentFormat.envelopeBytes + bytes + 2)
            return store.dictionary
        }
    }

    package func append(
        _ kind: PayloadKind, recordCount: Int, payload: [UInt8], positions: [SourcePosition],
        dictionary: SpoolDictionary
    ) throws -> SpoolAppendOutcome {
        try changing { (store) throws(SpoolError) in
            let bytes = try Self.checkedBodyBytes(store, payload, positions)
            try store.prepare(bodyBytes: bytes)
            guard store.dictionary == dictionary else {
                return .dictionaryChanged(store.dictionary)
            }
            store.append(
                kind, recordCount: UInt64(max(0, recordCount)), payload: payload,
                positions: positions)
            return .appended(sequence: store.last)
        }
    }

    /// Never refused for want of space: losses must be told.
    package func append(_ gap: GapRecord, positions: [SourcePosition]) throws {
        let payload = GapPayload.encode(gap)
        try changing { (store) throws(SpoolError) in
            let bytes = try Self.checkedBodyBytes(store, payload, positions)
            if let active = store.active, !active.fits(bodyBytes: bytes) {
                try store.rotate(isForced: true)
            }
            store.append(.gap, recordCount: gap.count, payload: payload, positions: positions)
        }
    }

    private static func checkedBodyBytes(
        _ store: SpoolStore, _ payload: [UInt8], _ positions: [SourcePosition]
    ) throws(SpoolError) -> Int {
        guard payload.count <= WireLimits.payloadBytesMax else {
            throw .payloadTooLarge(bytes: payload.count, maximum: WireLimits.payloadBytesMax)
        }
        let moved = PositionsFormat.encode(positions).count
        let sources = Set(positions.map(\.source))
        let held = store.positions.reduce(moved) {
            sources.contains($1.key) ? $0 : $0 + $1.key.utf8.count + $1.value.count + 6
        }
        guard held <= SegmentFormat.positionsBytesMax else {
            throw .positionsTooLarge(bytes: held, maximum: SegmentFormat.positionsBytesMax)
        }
        return SegmentFormat.envelopeBytes + payload.count + moved
    }

    /// Makes everything appended so far durable with one `fdatasync`, and the acknowledgements now and then; the owner
    /// calls it every 200 ms or 256 KiB. In memory mode it tries to leave it. Never throws: see `isDegraded`.
    package func flush() {
        writing.withLock { _ in
            let job = update { $0.beginFlush() }
            guard let job else { return wake() }
            let isDurable = (try? job.file.synchronize()) != nil
            update { store in
                if isDurable {
                    store.markDurable(through: job.through)
                } else {
                    store.replaceActive()
                }
            }
            wake()
        }
    }

    private func changing<Result: Sendable>(
        _ body: (inout SpoolStore) throws(SpoolError) -> Result
    ) throws(SpoolError) -> Result {
        let result: Swift.Result<Result, SpoolError> = writing.withLock { _ in
            update { store in
                do throws(SpoolError) {
                    return .success(try body(&store))
                } catch {
                    return .failure(error)
                }
            }
        }
        wake()
        return try result.get()
    }

    /// Changes the store and then its figures, also where `body` throws.
    private func update<Result: Sendable>(
        _ body: (inout SpoolStore) throws -> Result
    ) rethrows -> Result {
        try state.withLock { state in
            defer { figures.withLock { $0 = Figures(state.store) } }
            return try body(&state.store)
        }
    }

    // MARK: the sending side

    package func status() -> SpoolStatus { figures.withLock { $0.status } }

    package func read(from sequence: UInt64, bytesMax: Int) throws -> [SpooledBatch] {
        try update { try $0.read(from: sequence, bytesMax: bytesMax) }
    }

    package func preceding(_ sequence: UInt64) throws -> [SpooledBatch] {
        update { $0.preceding(sequence) }
    }

    package func acknowledge(through sequence: UInt64) {
        update { $0.acknowledge(through: sequence) }
    }

    package func reject(_ sequence: UInt64, detail: String) {
        update { $0.reject(sequence) }
    }

    package func beginEpochAfterRestore(lastCommitted: UInt64) throws -> UInt64 {
        flush()
        return try changing { (store) throws(SpoolError) in
            let missing = store.firstHeld > lastCommitted + 1
            let lead = GapRecord(
                reason: .restore, count: 0,
                detail: "the collector's database was restored; batches \(lastCommitted + 1) to "
                    + "\(store.firstHeld - 1) of the old epoch are no longer held")
            return try store.beginEpoch(after: lastCommitted, lead: missing ? lead : nil)
        }
    }

    package func waitForBatch(after sequence: UInt64) async throws {
        let number = state.withLock { state in
            state.waiterNumber += 1
            return state.waiterNumber
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isReady = state.withLock { state in
                    if state.store.visible > sequence { return true }
                    state.waiters[number] = (sequence, continuation)
                    return false
                }
                if isReady { continuation.resume() }
                if Task.isCancelled { cancel(number) }
            }
        } onCancel: {
            cancel(number)
        }
    }

    private func cancel(_ number: Int) {
        let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
        waiter?.continuation.resume(throwing: CancellationError())
    }

    private func wake() {
        let ready = state.withLock { state in
            let visible = state.store.visible
            let ready = state.waiters.filter { $0.value.after < visible }
            for number in ready.keys { state.waiters[number] = nil }
            return ready.values.map(\.continuation)
        }
        for continuation in ready { continuation.resume() }
    }

    /// Flushes and releases the files and the lock. Nothing may be called afterwards.
    package func close() {
        flush()
        state.withLock { state in
            state.store.writeLedger()
            state.store.active?.file.close()
            state.store.scanned?.file.close()
            state.store.state.close()
            state.store.lock.close()
        }
    }
}

extension SpoolStore {
    /// Nanoseconds between two writings of a changed ledger.
    static let ledgerIntervalNanoseconds: Int64 = 1_000_000_000

    var dictionary: SpoolDictionary {
        SpoolDictionary(epoch: ledger.epoch, number: encoderDictionary)
    }

    var isFull: Bool {
        guard let active else {
            return pendingBytes + WireLimits.payloadBytesMax > configuration.memoryBytesMax
        }
        let room = min(WireLimits.payloadBytesMax, configuration.segmentBytes / 4)
        return configuration.overflow == .refuse && !active.fits(bodyBytes: room) && isOverBounds
    }

    /// What a flush has to synchronize; nil where there is nothing.
    mutating func beginFlush() -> (file: any WorldFile, through: UInt64)? {
        let now = clock.monotonicNanoseconds
        if active == nil, retriedAt == .min || now - retriedAt >= configuration.retryNanoseconds {
            leaveMemory()
        }
        if isLedgerDirty,
            ledgerWrittenAt == .min || now - ledgerWrittenAt >= Self.ledgerIntervalNanoseconds
        {
            writeLedger()
        }
        guard let active, durable < last else { return nil }
        return (active.file, last)
    }
}
