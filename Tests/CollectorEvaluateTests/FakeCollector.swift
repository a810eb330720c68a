import CollectorEvaluate
import GoTemplate
import Model
import Rules
import Storage
import Synchronization
import World

/// The collector around a rule group, in memory: what the expressions answer, what was committed.
final class FakeCollector: AlertStore, IngestWriter, WorldClock {
    struct State {
        var answers: [String: [EvaluatedElement]] = [:]
        var refusesCommits = false
        /// Failures before the next `loadAlerts` succeeds.
        var failedLoads = 0
        /// What `loadAlerts` answers.
        var stored: [AlertRecord] = []
        /// Every record of every commit, in order.
        var committed: [AlertRecord] = []
        /// What happens at each sleep, by its number; the clock's wait is over when it returns.
        var sleeps = 0
        var atSleep: (@Sendable (Int, inout State) throws -> Void)?
        var transitions: [AlertTransition] = []
        var messages: [OutboxMessage] = []
        var samples: [(Labels, Sample)] = []
        var histograms: [(Labels, HistogramSample)] = []
        var nextID = 0

        mutating func takeFailedLoad() -> Bool {
            guard failedLoads > 0 else { return true }
            failedLoads -= 1
            return false
        }
    }
    let state = Mutex(State())

    var now: TimestampNS { TimestampNS(0) }
    var monotonicNanoseconds: Int64 { 0 }
    func sleep(nanoseconds: Int64) async throws {
        try state.withLock { state in
            state.sleeps += 1
            guard let act = state.atSleep else { throw CancellationError() }
            try act(state.sleeps, &state)
        }
    }

    func loadAlerts() async throws(StorageError) -> [AlertRecord] {
        guard state.withLock({ $0.takeFailedLoad() }) else { throw .unavailable("down") }
        return state.withLock { $0.stored }
    }
    func commit(
        _ records: [AlertRecord], _ transitions: [AlertTransition], _ messages: [OutboxMessage]
    ) async throws(StorageError) {
        guard !state.withLock({ $0.refusesCommits }) else { throw .unavailable("down") }
        state.withLock {
            $0.committed += records
            for record in records {
                $0.stored.removeAll { $0.rule == record.rule && $0.labels == record.labels }
                let isRemoved = record.state == .inactive && record.resolvedAt == nil
                if !isRemoved { $0.stored.append(record) }
            }
            $0.transitions += transitions
            $0.messages += messages
        }
    }

    func storageGeneration() async throws(StorageError) -> String { "g" }
    func openSession(
        host: HostName, kind: StreamKind, epoch: UInt64
    ) async throws(StorageError) -> (session: IngestSession, lastSequence: UInt64) {
        throw .refused("not used")
    }
    func intern(
        _ series: [SeriesDefinition], host: HostName
    ) async throws(StorageError) -> [SeriesID?] { [] }
    func store(
        _ batches: [IngestBatch], session: IngestSession
    ) async throws(StorageError) -> [IngestOutcome] { [] }
    func storeOwn(_ samples: [(SeriesDefinition, Sample)]) async throws(StorageError) {
        state.withLock { $0.samples += samples.map { ($0.0.labels, $0.1) } }
    }
    func storeOwn(
        histograms: [(SeriesDefinition, HistogramSample)]
    ) async throws(StorageError) {
        state.withLock { $0.histograms += histograms.map { ($0.0.labels, $0.1) } }
    }

    func dependencies() -> EvaluateDependencies {
        EvaluateDependencies(
            query: { text, _ in
                guard let answer = self.state.withLock({ $0.answers[text] }) else {
                    throw StorageError.unavailable("no answer for \(text)")
                }
                return answer
            },
            plan: { alerts, now in
                self.state.withLock {
                    $0.nextID += 1
                    return [
                        OutboxMessage(
                            id: "m\($0.nextID)", receiver: "team", integration: "webhook/0",
                            groupKey: "{}", groupLabels: .empty, alerts: alerts, createdAt: now)
                    ]
                }
            },
            templates: { now, answers in
                TemplateEnvironment(now: now, query: TemplateEnvironment.answers(answers))
            }, alerts: self, writer: self, clock: self)
    }
}
