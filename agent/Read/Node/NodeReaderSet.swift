package import Model
import Synchronization
package import World

/// The life of one reader's reading. Idle becomes running; running becomes idle when the reader returns or overdue at the
/// deadline; overdue becomes idle when the reader returns after all.
package struct ReaderRunStateMachine: Sendable {
    private enum State {
        case idle
        /// Since, in nanoseconds of the monotonic clock.
        case running(Int64)
        case overdue(Int64)
    }

    /// What to do after an event.
    package enum Action: Hashable, Sendable {
        case start
        /// Wait for the reading that is under way.
        case join
        /// The reading fails; nothing is started. Nanoseconds since the reader was started.
        case fail(afterNanoseconds: Int64)
        case deliver(afterNanoseconds: Int64)
        /// The result is too late for anybody.
        case discard
        case nothing
    }

    private var state = State.idle

    package init() {}

    /// A reading is wanted.
    package mutating func begin(now: Int64) -> Action {
        switch state {
        case .idle:
            state = .running(now)
            return .start
        case .running: return .join
        case .overdue(let start): return .fail(afterNanoseconds: now - start)
        }
    }

    /// Whether a reading is under way and not overdue.
    package var isRunning: Bool {
        guard case .running = state else { return false }
        return true
    }

    /// The reader returned.
    package mutating func finish(now: Int64) -> Action {
        defer { state = .idle }
        switch state {
        case .idle, .overdue: return .discard
        case .running(let start): return .deliver(afterNanoseconds: now - start)
        }
    }

    /// The deadline of the reading passed, or nobody waits for it any more.
    package mutating func deadline(now: Int64) -> Action {
        switch state {
        case .idle, .overdue: return .nothing
        case .running(let start):
            state = .overdue(start)
            return .fail(afterNanoseconds: now - start)
        }
    }
}

/// What became of one reader in one scrape.
package struct ReaderOutcome: Sendable {
    package var reader: String
    package var job: String
    /// Of the reading alone, not of the wait for a thread.
    package var durationNanoseconds: Int64
    package var families: [MetricFamily]
    package var problems: [String] = []
    /// Nil where the reader succeeded.
    package var error: ReadError?
}

/// All readers of a host, on threads that they share. A hung one fails alone: it is reported as failed, holds up the
/// others for `reliefNanoseconds` at most, and is not started again before it returns. A thread more for each reader that
/// hangs is the bound.
package final class NodeReaderSet: Sendable {
    /// How long nothing may go on before another thread is started.
    package static let reliefNanoseconds: Int64 = 50_000_000
    private let slots: Mutex<[ReaderSlot]>
    private let threads: ReaderThreads
    private let clock: any WorldClock

    /// `deadlineNanoseconds` bounds each reading; keep it within the scrape interval. Throws `system` where the host
    /// refuses a thread.
    package init(
        readers: [any NodeReader], clock: any WorldClock,
        deadlineNanoseconds: Int64 = 5_000_000_000
    ) throws(ReadError) {
        let threads = try ReaderThreads(helpersMax: readers.count)
        slots = Mutex(readers.map { ReaderSlot($0, threads, clock, deadlineNanoseconds) })
        self.threads = threads
        self.clock = clock
    }

    /// These are read from the next reading on. Of a name that `isKept` the reader that is there stays with all it knows;
    /// of any other name a new one comes in its place, and where the old one hangs it is not begun before that returns.
    package func change(
        to readers: [any NodeReader], deadlineNanoseconds: Int64, isKept: (String) -> Bool
    ) {
        threads.allow(helpersMax: readers.count)
        slots.withLock { slots in
            let known = Dictionary(
                slots.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
            slots = readers.map { reader in
                guard let slot = known[reader.name] else {
                    return ReaderSlot(reader, threads, clock, deadlineNanoseconds)
                }
                slot.change(to: isKept(reader.name) ? nil : reader, deadlineNanoseconds)
                return slot
            }
        }
    }

    /// Reads every reader at once and returns within the deadline, or at once when cancelled. In the order of `readers`.
    package func outcomes(now: TimestampNS) async -> [ReaderOutcome] {
        let slots = slots.withLock { $0 }
        return await withTaskGroup(of: (Int, ReaderOutcome)?.self) { group in
            for (index, slot) in slots.enumerated() {
                group.addTask { (index, await slot.read(now: now)) }
            }
            group.addTask {
                await self.relieve()
                return nil
            }
            var outcomes: [ReaderOutcome?] = Array(repeating: nil, count: slots.count)
            var missing = slots.count
            while missing > 0, let result = await group.next() {
                guard let (index, outcome) = result else { continue }
                outcomes[index] = outcome
                missing -= 1
            }
            group.cancelAll()
            return outcomes.compactMap(\.self)
        }
    }

    /// Starts threads where hung readers keep those that are there, until it is cancelled.
    private func relieve() async {
        var begun = threads.begunCount
        while true {
            do { try await clock.sleep(nanoseconds: Self.reliefNanoseconds) } catch { return }
            begun = threads.relieve(unlessBegunSince: begun)
        }
    }

    /// `outcomes` as families, with `node_scrape_collector_{duration_seconds,success}` of every reader.
    package func scrape(now: TimestampNS) async -> [MetricFamily] {
        Self.families(of: await outcomes(now: now)).flatMap(\.families)
    }

    /// The families of `outcomes` by their job, `node` first: with the two there that tell how each reader fared. Jobs
    /// without a family are left out.
    package static func families(
        of outcomes: [ReaderOutcome]
    ) -> [(job: String, families: [MetricFamily])] {
        var duration = MetricFamily(
            "node_scrape_collector_duration_seconds", .gauge,
            help: "node_exporter: Duration of a collector scrape.")
        var success = MetricFamily(
            "node_scrape_collector_success", .gauge,
            help: "node_exporter: Whether a collector succeeded.")
        var jobs = [(job: "node", families: [MetricFamily]())]
        for outcome in outcomes {
            let labels = Labels.one("collector", outcome.reader)
            duration.points.append(.init(labels, Double(outcome.durationNanoseconds) / 1e9))
            success.points.append(.init(labels, outcome.error == nil ? 1 : 0))
            guard !outcome.families.isEmpty else { continue }
            if let index = jobs.firstIndex(where: { $0.job == outcome.job }) {
                jobs[index].families += outcome.families
            } else {
                jobs.append((outcome.job, outcome.families))
            }
        }
        jobs[0].families += [duration, success]
        return jobs
    }
}

/// A reader and its state.
private final class ReaderSlot: Sendable {
    private typealias Waiting = CheckedContinuation<ReaderOutcome, Never>

    private struct State {
        var reader: any NodeReader
        var deadlineNanoseconds: Int64
        var machine = ReaderRunStateMachine()
        /// The number of the latest reading: the deadline of an earlier one does not concern it.
        var reading: UInt64 = 0
        /// Who began the reading, then who joined it.
        var waiting: [Waiting] = []
        /// The reading was given up before its beginner waited.
        var isGivenUp = false

        mutating func takeWaiting() -> [Waiting] {
            defer { waiting = [] }
            return waiting
        }
    }

    let name: String
    private let clock: any WorldClock
    private let threads: ReaderThreads
    private let state: Mutex<State>

    init(
        _ reader: any NodeReader, _ threads: ReaderThreads, _ clock: any WorldClock,
        _ deadlineNanoseconds: Int64
    ) {
        name = reader.name
        self.clock = clock
        self.threads = threads
        state = Mutex(State(reader: reader, deadlineNanoseconds: deadlineNanoseconds))
    }

    /// Another reader of the same name, nil for the one that is there; from the next reading on.
    func change(to reader: (any NodeReader)?, _ deadlineNanoseconds: Int64) {
        state.withLock { state in
            if let reader { state.reader = reader }
            state.deadlineNanoseconds = deadlineNanoseconds
        }
    }

    func read(now: TimestampNS) async -> ReaderOutcome {
        let (action, reading) = state.withLock { state in
            let action = state.machine.begin(now: clock.monotonicNanoseconds)
            if action == .start { state.reading &+= 1 }
            return (action, state.reading)
        }
        switch action {
        case .start: return await begin(reading, now)
        case .join: return await withCheckedContinuation { join($0) }
        case .fail(let nanoseconds): return overdue(nanoseconds)
        case .deliver, .discard, .nothing: preconditionFailure("begin starts, joins or fails")
        }
    }

    /// The reading against its deadline.
    private func begin(_ reading: UInt64, _ now: TimestampNS) async -> ReaderOutcome {
        let deadlineNanoseconds = state.withLock { $0.deadlineNanoseconds }
        return await withTaskGroup(of: ReaderOutcome?.self) { group in
            group.addTask {
                let outcome: ReaderOutcome = await withCheckedContinuation { self.start($0, now) }
                return outcome
            }
            group.addTask {
                // Cancelled by the reader's return, or by the agent's end: then nobody waits either.
                try? await self.clock.sleep(nanoseconds: deadlineNanoseconds)
                self.giveUp(reading)
                return nil
            }
            var result: ReaderOutcome?
            for await outcome in group where outcome != nil {
                result = outcome
                group.cancelAll()
            }
            return result ?? overdue(deadlineNanoseconds)
        }
    }

    private func start(_ waiting: Waiting, _ now: TimestampNS) {
        let isGivenUp = state.withLock { state in
            guard !state.isGivenUp, state.machine.isRunning else {
                state.isGivenUp = false
                _ = state.machine.finish(now: clock.monotonicNanoseconds)
                return true
            }
            state.waiting.insert(waiting, at: 0)
            return false
        }
        guard !isGivenUp else {
            waiting.resume(returning: overdue(0))
            return
        }
        threads.submit { self.work(now) }
    }

    private func join(_ waiting: Waiting) {
        let isJoined = state.withLock { state in
            guard state.machine.isRunning else { return false }
            state.waiting.append(waiting)
            return true
        }
        if !isJoined { waiting.resume(returning: overdue(0)) }
    }

    private func work(_ now: TimestampNS) {
        var families: [MetricFamily] = []
        var failure: ReadError?
        let reader = state.withLock { $0.reader }
        let started = clock.monotonicNanoseconds
        do throws(ReadError) { families = try reader.read(now: now) } catch { failure = error }
        let ended = clock.monotonicNanoseconds
        let (waiting, action) = state.withLock { state in
            (state.takeWaiting(), state.machine.finish(now: ended))
        }
        guard case .deliver = action else { return }
        for continuation in waiting {
            continuation.resume(
                returning: ReaderOutcome(
                    reader: reader.name, job: reader.job, durationNanoseconds: ended - started,
                    families: families,
                    problems: reader.problems, error: failure))
        }
    }

    private func giveUp(_ reading: UInt64) {
        let (waiting, action) = state.withLock {
            state -> ([Waiting], ReaderRunStateMachine.Action) in
            guard state.reading == reading else { return ([], .nothing) }
            let waiting = state.takeWaiting()
            guard !waiting.isEmpty else {
                state.isGivenUp = state.machine.isRunning
                return (waiting, .nothing)
            }
            return (waiting, state.machine.deadline(now: clock.monotonicNanoseconds))
        }
        guard case .fail(let nanoseconds) = action else { return }
        for continuation in waiting { continuation.resume(returning: overdue(nanoseconds)) }
    }

    private func overdue(_ nanoseconds: Int64) -> ReaderOutcome {
        ReaderOutcome(
            reader: name, job: state.withLock { $0.reader.job }, durationNanoseconds: nanoseconds,
            families: [], error: .overdue(reader: name))
    }
}
