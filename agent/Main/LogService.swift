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
/// content. The spool's thread does everything that waits for the disk.
final class LogService: Service {
    static let entriesPerRead = 1000
    static let waitMilliseconds = 250
    /// How long a full spool or a failing source is left alone.
    static let pauseNanoseconds: Int64 = 1_000_000_000
    /// Rounds of the writer without anything to write after which it flushes all the same.
    static let idleRoundsMax = 5
    /// Positions without entries that are held.
    static let positionsMax = 4096

    private let sources: [LogSourceRunner]
    private let spool: Spool
    private let spoolThread: DedicatedThread
    private let flushNanoseconds: Int64
    private let mark: ProgressMark
    private let clock: any WorldClock
    private let logger: Logger
    private let state: Mutex<State>

    private struct State {
        var collector: LogBatchCollector
        var writer = LogBatchWriter()
        /// Sources whose last reading failed, by what it said; each is logged once.
        var failing: [String: String] = [:]
        /// What of each source can't be read while the rest is; each is logged once.
        var problems: [String: [String]] = [:]
        /// Positions that moved without an entry, oldest first. A batch without a record is not written, so they go
        /// with the next chunk that has one. At most `positionsMax`; those past it go to the collector alone.
        var moved: [LogReadChunk] = []

        /// Takes a chunk. True where a batch is to be written now.
        mutating func add(_ chunk: LogReadChunk, now: Int64) -> Bool {
            if chunk.items.isEmpty, chunk.gaps.isEmpty, moved.count < LogService.positionsMax {
                moved.removeAll { $0.position.source == chunk.position.source }
                moved.append(chunk)
                return false
            }
            for position in moved { collector.add(position, now: now) }
            moved = []
            collector.add(chunk, now: now)
            return collector.heldBytes >= collector.configuration.bytesMax
        }
    }

    init(
        sources: [LogSourceRunner], spool: Spool, spoolThread: DedicatedThread,
        flushMilliseconds: Int64, mark: ProgressMark, clock: any WorldClock, logger: Logger
    ) {
        self.sources = sources
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
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                for source in self.sources { group.addTask { await self.read(source) } }
                group.addTask { await self.keepWriting() }
            }
        }
        // What was read is written before the end; what is not is read again after the start.
        await write(everything: true)
    }

    private func read(_ source: LogSourceRunner) async {
        while !Task.isCancelled {
            do {
                if spool.isFull || state.withLock({ $0.collector.isFull }) {
                    try await clock.sleep(nanoseconds: 50_000_000)
                    continue
                }
                let chunk = try await source.next(
                    max: Self.entriesPerRead, waitMilliseconds: Self.waitMilliseconds)
                noteSuccess(source.source)
                noteProblems(source)
                guard let chunk else { continue }
                let isDue = state.withLock { $0.add(chunk, now: clock.monotonicNanoseconds) }
                if isDue { await write(everything: false) }
            } catch let error as ReadError {
                noteFailure(source.source, "\(error)")
                do {
                    try await clock.sleep(nanoseconds: Self.pauseNanoseconds)
                } catch { return }
            } catch { return }
        }
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

    private func noteProblems(_ source: LogSourceRunner) {
        let problems = source.problems
        let new = state.withLock { state in
            let known = state.problems[source.source] ?? []
            guard known != problems else { return [String]() }
            state.problems[source.source] = problems
            return problems.filter { !known.contains($0) }
        }
        for problem in new {
            logger.warning(
                "a part of a log source can't be read",
                metadata: ["source": "\(source.source)", "error": "\(problem)"])
        }
    }

    private func noteSuccess(_ source: String) {
        let was = state.withLock { $0.failing.removeValue(forKey: source) }
        if was != nil {
            logger.notice("a log source is read again", metadata: ["source": "\(source)"])
        }
    }

    private func noteFailure(_ source: String, _ text: String) {
        let isNew = state.withLock { $0.failing.updateValue(text, forKey: source) != text }
        if isNew {
            logger.warning(
                "a log source can't be read", metadata: ["source": "\(source)", "error": "\(text)"])
        }
    }

    /// Whether each source could be read last time.
    func families() -> [MetricFamily] {
        let (failing, problems) = state.withLock { ($0.failing, $0.problems) }
        return [
            MetricFamily(
                "petrel_agent_log_source_up", .gauge,
                help: "1 while the log source can be read.",
                points: sources.map {
                    MetricFamily.Point(["source": $0.source], failing[$0.source] == nil ? 1 : 0)
                }),
            MetricFamily(
                "petrel_agent_log_source_problems", .gauge,
                help:
                    "What of the log source can't be read while the rest is, such as one of its files.",
                points: sources.map {
                    MetricFamily.Point(
                        ["source": $0.source], Double(problems[$0.source]?.count ?? 0))
                }),
        ]
    }
}
