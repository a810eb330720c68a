import AgentBatch
import AgentRead
import AgentSpool
import Logging
import Model
import ServiceLifecycle
import Startup
import Synchronization
import World

/// Reads log sources, each on its thread, into the log spool.
///
/// While the spool is full or too much waits to be written, sources are not read: the journal and files keep their
/// content; nor is one that is far behind while the spool holds what the collector takes in seconds (`BacklogGate`). The
/// spool's thread does everything that waits for the disk.
///
/// Sources may change while it runs. One that stays is read on untouched. One that goes, or is read in another way, is
/// stopped, and what comes in its place begins where it stood, with what is not written yet: no line is lost or twice.
final class LogService: Service {
    static let entriesPerRead = 1000
    /// Bytes of lines from which a chunk counts as long.
    static let longChunkBytes = LogLimits.chunkBytesMax / 2
    static let waitMilliseconds = 250
    /// How long a full spool or a failing source is left alone.
    static let pauseNanoseconds: Int64 = 1_000_000_000
    /// How long one without files is: Docker's, on a host without it, must cost nothing.
    static let emptyNanoseconds: Int64 = 2_000_000_000
    /// Rounds of the writer without anything to write after which it flushes all the same.
    static let idleRoundsMax = 5

    /// How long a source may take to stop; what one that hangs reads after that is read again by its successor.
    static let stopNanoseconds: Int64 = 5_000_000_000

    private let maker: LogSourceMaker
    private let spool: Spool
    private let spoolThread: DedicatedThread
    private let flushNanoseconds: Int64
    private let mark: ProgressMark
    private let clock: any WorldClock
    private let logger: Logger
    private let state: Mutex<State>
    /// Whose reading is to begin: a configuration's sources at a time.
    private let starts = AsyncStream.makeStream(of: LogReading.self)

    private struct State {
        /// Those that are read.
        var readings: [LogReading] = []
        /// Times of the newest entries, by source.
        var lastEntries: [String: TimestampNS] = [:]
        var collector: LogBatchCollector
        var writer = LogBatchWriter()
        /// Sources whose last reading failed, by what it said; each is logged once.
        var failing: [String: String] = [:]
        /// What of each source can't be read while the rest is; each is logged once.
        var problems: [String: [String]] = [:]
        /// Positions that moved without an entry, oldest first. A batch without a record is not written, so they go
        /// with the next chunk that has one. The newest of each source.
        var moved: [LogReadChunk] = []
        var gate = BacklogGate()

        /// Takes a chunk, but for one of a source that is no longer read. True where a batch is to be written now.
        mutating func add(_ chunk: LogReadChunk, of reading: LogReading, now: Int64) -> Bool {
            guard isRead(reading) else { return false }
            if let last = chunk.items.last { lastEntries[reading.source] = last.entry.timestamp }
            return add(chunk, now: now)
        }

        func isRead(_ reading: LogReading) -> Bool { readings.contains { $0 === reading } }

        private mutating func add(_ chunk: LogReadChunk, now: Int64) -> Bool {
            if chunk.items.isEmpty, chunk.gaps.isEmpty {
                moved.removeAll { $0.position.source == chunk.position.source }
                moved.append(chunk)
                return false
            }
            for position in moved { collector.add(position, now: now) }
            moved = []
            collector.add(chunk, now: now)
            return collector.heldBytes >= collector.configuration.bytesMax
        }

        /// Positions that belong to nothing any more.
        mutating func forget(_ sources: [String]) {
            moved.removeAll { sources.contains($0.position.source) }
            moved += sources.map {
                LogReadChunk(items: [], position: SourcePosition(source: $0, bytes: []))
            }
        }

        /// What is known of sources that are read no longer goes.
        mutating func forgetGone() {
            let names = Set(readings.map(\.source))
            failing = failing.filter { names.contains($0.key) }
            problems = problems.filter { names.contains($0.key) }
            lastEntries = lastEntries.filter { names.contains($0.key) }
        }
    }

    /// Throws where a stored position can't be understood, or the host refuses a thread.
    init(
        _ choices: [LogSourceChoice], maker: LogSourceMaker, spool: Spool,
        spoolThread: DedicatedThread, flushMilliseconds: Int64, mark: ProgressMark,
        clock: any WorldClock, logger: Logger
    ) throws(ReadError) {
        self.maker = maker
        self.spool = spool
        self.spoolThread = spoolThread
        flushNanoseconds = flushMilliseconds * 1_000_000
        self.mark = mark
        self.clock = clock
        self.logger = logger
        state = Mutex(
            State(
                collector: LogBatchCollector(
                    LogBatchCollector.Configuration(delayNanoseconds: flushNanoseconds / 2))))
        let threads = try Self.threads(choices.count)
        try begin(choices, of: choices, on: threads, keeping: [], at: spool.positions)
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.keepWriting() }
                for await reading in self.starts.stream {
                    group.addTask { await self.read(reading) }
                }
            }
        }
        // What was read is written before the end; what is not is read again after the start.
        await write(everything: true)
    }

    // MARK: - Which sources are read

    /// These are read from now on, and no others. `change` is called when those that go have stopped and before new ones
    /// begin. One at a time. Throws where the host refuses threads, and then nothing changes; where a position can't be
    /// understood, the new sources are not read.
    func change(to wanted: [LogSourceChoice], _ change: () -> Void) async throws(ReadError) {
        let current = state.withLock { $0.readings }
        let kept = current.filter { wanted.contains($0.choice) }
        let new = wanted.filter { choice in !kept.contains { $0.choice == choice } }
        let threads = try Self.threads(new.count)
        await stop(current.filter { !wanted.contains($0.choice) })
        change()
        await write(everything: true)
        let positions = await spoolThread.run { [self] in
            state.withLock { state in
                // From here on nothing comes of a source that goes, so its successor goes on from these.
                state.readings = kept
                return spool.positions.moved(by: state.collector.positions)
                    .moved(by: state.moved.map(\.position)).filter { !$0.bytes.isEmpty }
            }
        }
        try begin(new, of: wanted, on: threads, keeping: kept, at: positions)
    }

    /// A thread for each source.
    private static func threads(_ count: Int) throws(ReadError) -> [DedicatedThread] {
        var threads: [DedicatedThread] = []
        for _ in 0..<count { threads.append(try DedicatedThread()) }
        return threads
    }

    private func begin(
        _ new: [LogSourceChoice], of wanted: [LogSourceChoice], on threads: [DedicatedThread],
        keeping kept: [LogReading], at positions: [SourcePosition]
    ) throws(ReadError) {
        let made = try maker.make(new, of: wanted, at: positions)
        let begun = zip(zip(new, made.sources), threads).map { source, thread in
            LogReading(source.0, LogSourceRunner(source.1, thread: thread))
        }
        state.withLock { state in
            state.forget(made.forgotten)
            // In the order of the configuration.
            state.readings = wanted.compactMap { choice in
                (kept + begun).first { $0.choice == choice }
            }
            state.forgetGone()
        }
        for reading in begun { starts.continuation.yield(reading) }
    }

    /// Returns when `readings` have ended, or have taken too long for it.
    private func stop(_ readings: [LogReading]) async {
        for reading in readings { reading.stop() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for reading in readings { await reading.end() } }
            group.addTask { try? await self.clock.sleep(nanoseconds: Self.stopNanoseconds) }
            await group.next()
            group.cancelAll()
        }
    }

    // MARK: - Reading and writing

    private func read(_ reading: LogReading) async {
        await readOn(reading)
        reading.ended()
    }

    private func readOn(_ reading: LogReading) async {
        let source = reading.runner
        var isFarBehind = false
        while !Task.isCancelled {
            guard !reading.isStopping else { return await source.close() }
            do {
                if spool.isFull || mustWait(isFarBehind: isFarBehind) {
                    try await clock.sleep(nanoseconds: 50_000_000)
                    continue
                }
                let chunk = try await source.next(
                    max: Self.entriesPerRead,
                    // What is empty is slept over below.
                    waitMilliseconds: source.isEmpty ? 0 : Self.waitMilliseconds)
                noteSuccess(reading)
                noteProblems(reading)
                isFarBehind = chunk.map(Self.isLong) ?? false
                guard let chunk else {
                    if source.isEmpty {
                        try await clock.sleep(nanoseconds: Self.emptyNanoseconds)
                    }
                    continue
                }
                let isDue = state.withLock {
                    $0.add(chunk, of: reading, now: clock.monotonicNanoseconds)
                }
                if isDue { await write(everything: false) }
            } catch let error as ReadError {
                noteFailure(reading, "\(error)")
                do {
                    try await clock.sleep(nanoseconds: Self.pauseNanoseconds)
                } catch { return }
            } catch { return }
        }
    }

    private func mustWait(isFarBehind: Bool) -> Bool {
        let now = clock.monotonicNanoseconds
        return state.withLock { state in
            let isHeld = isFarBehind && state.gate.holds(spool.status(), now: now)
            return isHeld || state.collector.isFull
        }
    }

    /// A chunk with about as much as fits one: there is more where it came from.
    private static func isLong(_ chunk: LogReadChunk) -> Bool {
        chunk.items.count >= entriesPerRead / 2
            || chunk.items.reduce(0) { $0 + $1.entry.line.count } >= longChunkBytes
    }

    private func keepWriting() async {
        var idleRounds = 0
        while !Task.isCancelled {
            // An idle spool still notes acknowledgements now and then.
            let holds = state.withLock { $0.collector.heldBytes > 0 }
            if holds || idleRounds >= Self.idleRoundsMax {
                await write(everything: false)
                idleRounds = 0
            } else {
                idleRounds += 1
            }
            mark.advance()
            do { try await clock.sleep(nanoseconds: flushNanoseconds) } catch { return }
        }
    }

    /// Hands what is ready to the spool and makes it durable, on the spool's thread.
    private func write(everything: Bool) async {
        let (spool, clock, logger) = (spool, clock, logger)
        let state = StateReference(service: self)
        await spoolThread.run {
            state.service.state.withLock { state in
                while let batch = everything
                    ? state.collector.drain()
                    : state.collector.take(now: clock.monotonicNanoseconds)
                {
                    do throws(BatchError) {
                        let written = try state.writer.write(batch, to: spool)
                        if written.refused > 0 {
                            logger.warning(
                                "log entries can't be sent",
                                metadata: ["stream": "logs", "count": "\(written.refused)"])
                        }
                    } catch {
                        logger.debug("log entries wait", metadata: ["error": "\(error)"])
                        state.collector.putBack(batch)
                        break
                    }
                }
            }
            spool.flush()
        }
    }

    private struct StateReference: Sendable { let service: LogService }

    // MARK: - What is in the way

    private func noteProblems(_ reading: LogReading) {
        let problems = reading.runner.problems
        let new = state.withLock { state in
            let known = state.problems[reading.source] ?? []
            guard known != problems, state.isRead(reading) else { return [String]() }
            state.problems[reading.source] = problems
            return problems.filter { !known.contains($0) }
        }
        for problem in new {
            logger.warning(
                "a part of a log source can't be read",
                metadata: ["source": "\(reading.source)", "error": "\(problem)"])
        }
    }

    private func noteSuccess(_ reading: LogReading) {
        let was = state.withLock {
            $0.isRead(reading) ? $0.failing.removeValue(forKey: reading.source) : nil
        }
        if was != nil {
            logger.notice("a log source is read again", metadata: ["source": "\(reading.source)"])
        }
    }

    private func noteFailure(_ reading: LogReading, _ text: String) {
        let isNew = state.withLock {
            $0.isRead(reading) && $0.failing.updateValue(text, forKey: reading.source) != text
        }
        if isNew {
            logger.warning(
                "a log source can't be read",
                metadata: ["source": "\(reading.source)", "error": "\(text)"])
        }
    }

    /// How each source that is read stands.
    func standing() -> [AgentStatus.Source] {
        state.withLock { state in
            state.readings.map(\.source).map { source in
                AgentStatus.Source(
                    source, error: state.failing[source], problems: state.problems[source] ?? [],
                    lastAt: state.lastEntries[source])
            }
        }
    }

    /// Whether each source could be read last time.
    func families() -> [MetricFamily] {
        let standing = standing()
        return [
            MetricFamily(
                "petrel_agent_log_source_up", .gauge,
                help: "1 while the log source can be read.",
                points: standing.map {
                    MetricFamily.Point(["source": $0.name], $0.error == nil ? 1 : 0)
                }),
            MetricFamily(
                "petrel_agent_log_source_problems", .gauge,
                help:
                    "What of the log source can't be read while the rest is, such as one of its files.",
                points: standing.map {
                    MetricFamily.Point(["source": $0.name], Double($0.problems.count))
                }),
        ]
    }
}

/// A log source that is read: until it is told to stop.
final class LogReading: Sendable {
    let choice: LogSourceChoice
    let runner: LogSourceRunner
    private let isTold = Atomic(false)
    private let ends = AsyncStream.makeStream(of: Void.self)

    init(_ choice: LogSourceChoice, _ runner: LogSourceRunner) {
        self.choice = choice
        self.runner = runner
    }

    var source: String { runner.source }
    var isStopping: Bool { isTold.load(ordering: .relaxed) }

    func stop() { isTold.store(true, ordering: .relaxed) }

    /// Nothing is read any more.
    func ended() { ends.continuation.finish() }

    /// Returns when `ended` was called, or the caller is cancelled. One caller.
    func end() async { for await _ in ends.stream {} }
}
