import Model
import Storage
import Synchronization
import Wire

/// An `IngestWriter` in memory with the rules of the cursor: duplicates, holes and fences.
final class FakeWriter: IngestWriter {
    struct Stream: Hashable {
        var host: HostName
        var kind: StreamKind
        var epoch: UInt64
    }

    struct State {
        var cursors: [Stream: UInt64] = [:]
        var tokens: [Stream: Int64] = [:]
        var nextToken: Int64 = 1
        var series: [Labels: SeriesID] = [:]
        var batches: [IngestBatch] = []
        var storeCalls = 0
        /// Store calls that fail as unavailable before others succeed.
        var failures = 0
        /// A value that the storage refuses.
        var poison: Double?
        /// A value of an exemplar that it refuses.
        var exemplarPoison: Double?
        /// What a store call waits for.
        var gate: Gate?
    }

    let state = Mutex(State())

    func storageGeneration() async throws(StorageError) -> String { "g1" }

    func openSession(
        host: HostName, kind: StreamKind, epoch: UInt64
    ) async throws(StorageError) -> (session: IngestSession, lastSequence: UInt64) {
        state.withLock { state in
            let stream = Stream(host: host, kind: kind, epoch: epoch)
            let token = state.nextToken
            state.nextToken += 1
            state.tokens[stream] = token
            let session = IngestSession(host: host, kind: kind, epoch: epoch, token: token)
            return (session, state.cursors[stream] ?? 0)
        }
    }

    func intern(
        _ series: [SeriesDefinition], host: HostName
    ) async throws(StorageError) -> [SeriesID?] {
        state.withLock { state in
            series.map { definition in
                if let id = state.series[definition.labels] { return id }
                let id = SeriesID(rawValue: Int32(state.series.count + 1))
                state.series[definition.labels] = id
                return id
            }
        }
    }

    func store(
        _ batches: [IngestBatch], session: IngestSession
    ) async throws(StorageError) -> [IngestOutcome] {
        let gate = state.withLock { state in
            state.storeCalls += 1
            return state.gate
        }
        await gate?.wait()
        let result: Result<[IngestOutcome], StorageError> = state.withLock { state in
            if state.failures > 0 {
                state.failures -= 1
                return .failure(.unavailable("away"))
            }
            if batches.contains(where: { Self.isPoisoned($0, state) }) {
                return .failure(.refused("poison"))
            }
            return .success(Self.commit(batches, session, &state))
        }
        return try result.get()
    }

    func rehearse(_ batch: IngestBatch, session: IngestSession) async throws(StorageError) {
        if state.withLock({ Self.isPoisoned(batch, $0) }) { throw .refused("poison") }
    }

    func storeOwn(_ samples: [(SeriesDefinition, Sample)]) async throws(StorageError) {}
    func storeOwn(
        histograms: [(SeriesDefinition, HistogramSample)]
    ) async throws(StorageError) {}

    private static func isPoisoned(_ batch: IngestBatch, _ state: State) -> Bool {
        if batch.exemplars.contains(where: { $0.exemplar.value == state.exemplarPoison }) {
            return true
        }
        guard let poison = state.poison, case .metrics(let scrapes) = batch.content else {
            return false
        }
        return scrapes.contains { $0.values.contains(poison) }
    }

    private static func commit(
        _ batches: [IngestBatch], _ session: IngestSession, _ state: inout State
    ) -> [IngestOutcome] {
        let stream = Stream(host: session.host, kind: session.kind, epoch: session.epoch)
        guard state.tokens[stream] == session.token else {
            return batches.map { _ in .fenced }
        }
        return batches.map { batch in
            let last = state.cursors[stream] ?? 0
            if batch.position.sequence <= last { return .duplicate(sameDigest: true) }
            guard batch.position.sequence == last + 1 else {
                return .outOfOrder(expected: last + 1)
            }
            state.cursors[stream] = last + 1
            state.batches.append(batch)
            return .stored
        }
    }

    var records: Int { state.withLock { $0.batches.reduce(0) { $0 + $1.recordCount } } }
    var gaps: [GapRecord] { state.withLock { $0.batches.flatMap(\.gaps) } }
    var sequences: [UInt64] { state.withLock { $0.batches.map(\.position.sequence) } }
    var labels: Set<Labels> { state.withLock { Set($0.series.keys) } }
}

/// A `FleetRegistry` in memory.
final class FakeRegistry: FleetRegistry {
    struct State {
        var tokens: [[UInt8]: (host: HostName, expiresAt: TimestampMS, isUsed: Bool)] = [:]
        var certificates: [IssuedCertificate] = []
        var revoked: Set<String> = []
        var audit: [AuditEvent] = []
    }

    let state = Mutex(State())

    func createToken(
        hash: [UInt8], host: HostName, expiresAt: TimestampMS
    ) async throws(StorageError) {
        state.withLock { $0.tokens[hash] = (host, expiresAt, false) }
    }

    func redeemToken(hash: [UInt8], now: TimestampMS) async throws -> HostName {
        try state.withLock { state in
            guard let token = state.tokens[hash] else { throw TokenRefusal.unknown }
            guard !token.isUsed else { throw TokenRefusal.used }
            guard now <= token.expiresAt else { throw TokenRefusal.expired }
            state.tokens[hash]?.isUsed = true
            return token.host
        }
    }

    func recordCertificate(
        _ certificate: IssuedCertificate, isEnrolment: Bool
    ) async throws(StorageError) {
        state.withLock { state in
            if isEnrolment {
                let former = state.certificates.filter { $0.host == certificate.host }
                state.revoked.formUnion(former.map(\.serial))
            }
            state.certificates.append(certificate)
        }
    }

    func revoke(host: HostName, now: TimestampMS) async throws(StorageError) -> Bool {
        state.withLock { state in
            let serials = state.certificates.filter { $0.host == host }.map(\.serial)
            state.revoked.formUnion(serials)
            return !serials.isEmpty
        }
    }

    func revokedSerials(now: TimestampMS) async throws(StorageError) -> Set<String> {
        state.withLock { $0.revoked }
    }

    func hosts() async throws(StorageError) -> [FleetHost] { [] }
    func recordHello(
        host: HostName, facts: HostFacts, at: TimestampMS
    ) async throws(StorageError) {}
    func recordPresence(_ lastSeen: [HostName: TimestampMS]) async throws(StorageError) {}
    func audit(_ event: AuditEvent, at: TimestampMS) async throws(StorageError) {
        state.withLock { $0.audit.append(event) }
    }
}

/// A spool in memory whose batches all belong to one dictionary.
final class FakeSpool: SpoolSource {
    struct State {
        var epoch: UInt64 = 99
        var batches: [SpooledBatch] = []
        var acknowledged: UInt64 = 0
        var rejected: [UInt64] = []
    }

    let kind = StreamKind.metrics
    let state = Mutex(State())

    /// Adds a batch of `values`, one sample a series `m{i=…, host=…}`; definitions come with the first batch.
    func append(_ values: [Double], at timestamp: TimestampMS, claimingHost host: String) {
        state.withLock { state in
            var builder = MetricsPayloadBuilder(timestamp: timestamp)
            for (index, value) in values.enumerated() {
                let id = UInt32(index + 1)
                if state.batches.isEmpty {
                    builder.define(
                        id, ["__name__": "m", "i": "\(index)", "host": host], .gauge, help: nil)
                }
                builder.add(id, value)
            }
            append(builder.finish(), records: values.count, &state)
        }
    }

    /// Adds any payload.
    func append(garbage payload: [UInt8], records: Int) {
        state.withLock { append(payload, records: records, &$0) }
    }

    private func append(_ payload: [UInt8], records: Int, _ state: inout State) {
        state.batches.append(
            SpooledBatch(
                sequence: UInt64(state.batches.count + 1), kind: .metrics, dictionary: 1,
                recordCount: records, payload: payload))
    }

    var acknowledged: UInt64 { state.withLock { $0.acknowledged } }

    func status() -> SpoolStatus {
        state.withLock { state in
            SpoolStatus(
                epoch: state.epoch, firstSequence: state.acknowledged + 1,
                lastSequence: UInt64(state.batches.count), producedRecords: 0, gapRecords: 0,
                spoolRecords: 0, spoolBytes: 0)
        }
    }

    func read(from sequence: UInt64, bytesMax: Int) throws -> [SpooledBatch] {
        state.withLock { Array($0.batches.dropFirst(Int(sequence) - 1).prefix(20)) }
    }

    func preceding(_ sequence: UInt64) throws -> [SpooledBatch] {
        state.withLock { Array($0.batches.prefix(Int(sequence) - 1)) }
    }

    func waitForBatch(after sequence: UInt64) async throws {
        while state.withLock({ $0.batches.count }) <= Int(sequence) {
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    func acknowledge(through sequence: UInt64) {
        state.withLock { $0.acknowledged = max($0.acknowledged, sequence) }
    }

    func reject(_ sequence: UInt64, detail: String) {
        state.withLock { state in
            let index = Int(sequence) - 1
            state.rejected.append(sequence)
            state.batches[index].kind = .gap
            state.batches[index].payload = GapPayload.encode(
                GapRecord(
                    reason: .rejected, count: UInt64(state.batches[index].recordCount),
                    detail: detail))
        }
    }

    func beginEpochAfterRestore(lastCommitted: UInt64) throws -> UInt64 {
        state.withLock { state in
            state.epoch += 1
            return state.epoch
        }
    }
}
