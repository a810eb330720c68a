import AgentRead
import Logging
import Model
import ServiceLifecycle
import Startup
import Synchronization
import UnixSignals
import World

/// Reads the configuration again on SIGHUP and takes all of it that can be taken while the agent runs.
///
/// A file that is wrong changes nothing and is said. Signals that come while a file is being taken are one. What a reading
/// or a scrape is about goes on as long as its keys are the same.
final class ReloadService: Service {
    private let source: ConfigurationSource
    private let paths: NodePaths
    private let readers: NodeReaderSet
    private let logs: LogService
    private let refinement: LogRefinement
    private let targets: CaddyScraping
    let outcome: ReloadOutcome
    /// Files are read on it.
    private let thread: DedicatedThread
    private let clock: any WorldClock
    private let logger: Logger
    /// What holds.
    private let running: Mutex<AgentConfiguration>

    init(
        _ configuration: AgentConfiguration, from source: ConfigurationSource, paths: NodePaths,
        readers: NodeReaderSet, logs: LogService, refinement: LogRefinement,
        targets: CaddyScraping, thread: DedicatedThread, clock: any WorldClock,
        logger: Logger
    ) {
        self.source = source
        self.paths = paths
        self.readers = readers
        self.logs = logs
        self.refinement = refinement
        self.targets = targets
        outcome = ReloadOutcome(startedAt: clock.now)
        self.thread = thread
        self.clock = clock
        self.logger = logger
        running = Mutex(configuration)
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await _ in await UnixSignalsSequence(trapping: .sighup) { await self.reload() }
        }
    }

    private func reload() async {
        let source = source
        do {
            let before = running.withLock { $0 }
            let (configuration, waiting, sources) = try await thread.run {
                Result {
                    let (taken, waiting) = try source.configuration().takeable(over: before)
                    return (taken, waiting, taken.logSources)
                }
            }.get()
            // The logs come first: what they lack, threads, is found before anything has changed.
            try await logs.change(to: sources) {
                refinement.change(
                    redaction: configuration.redaction, metrics: configuration.logMetrics)
            }
            await changeReaders(from: before, to: configuration)
            targets.change(to: configuration)
            running.withLock { $0 = configuration }
            outcome.noteTaken(waiting: waiting, at: clock.now)
            say(configuration, sources.count, waiting)
        } catch {
            outcome.noteFault("\(error)", at: clock.now)
            logger.error(
                "the configuration is not taken, and the one before stays: mend it and send SIGHUP again",
                metadata: ["error": "\(error)"])
        }
    }

    /// Readers whose keys are the same stay: their connections, what they count themselves, and what hangs.
    private func changeReaders(
        from before: AgentConfiguration, to configuration: AgentConfiguration
    ) async {
        let (paths, logger) = (paths, logger)
        let made = await thread.run {
            HostReading.readers(paths, configuration, logger: logger)
        }
        readers.change(
            to: made,
            deadlineNanoseconds: configuration.readerDeadline.milliseconds * 1_000_000,
            isKept: {
                before.nodeOptions.isSame($0, as: configuration.nodeOptions)
                    && before.services.isSame($0, as: configuration.services)
                    && ($0 != "posture" || before.posture == configuration.posture)
            })
    }

    private func say(
        _ configuration: AgentConfiguration, _ sources: Int, _ waiting: [String]
    ) {
        logger.notice(
            "the configuration was read again and is taken",
            metadata: [
                "targets": "\(configuration.scrapeTargets.count)",
                "log_sources": "\(sources)",
            ])
        if !waiting.isEmpty {
            logger.warning(
                "keys changed that are taken at a start alone: systemctl restart petrel-agent",
                metadata: ["keys": "\(waiting.joined(separator: " "))"])
        }
    }
}

extension AgentConfiguration {
    /// What of this configuration can be taken by an agent that runs with `running`, and the keys that changed and can't
    /// be.
    func takeable(
        over running: AgentConfiguration
    ) -> (configuration: AgentConfiguration, waiting: [String]) {
        var taken = self
        var waiting: [String] = []
        func keep<Value: Equatable>(
            _ key: String, _ path: WritableKeyPath<AgentConfiguration, Value>
        ) {
            guard taken[keyPath: path] != running[keyPath: path] else { return }
            taken[keyPath: path] = running[keyPath: path]
            waiting.append(key)
        }
        keep("listen", \.listen)
        keep("state_dir", \.stateDirectory)
        keep("role", \.role)
        keep("log_level", \.logLevel)
        keep("log_format", \.logFormat)
        keep("metrics.interval", \.interval)
        keep("spool.size_max", \.spoolBytesMax)
        keep("spool.flush", \.spoolFlush)
        taken.readerDeadline = min(taken.readerDeadline, taken.interval)
        return (taken, waiting)
    }
}

/// Whether the newest configuration was taken, in Prometheus' words.
final class ReloadOutcome: Sendable {
    private struct State {
        var takenAt: TimestampNS
        /// Why the newest was not taken.
        var fault: AgentStatus.Fault?
        var waiting: [String] = []
    }

    private let state: Mutex<State>

    /// The configuration of the start was.
    init(startedAt: TimestampNS) { state = Mutex(State(takenAt: startedAt)) }

    /// `waiting` are keys that are taken at a start alone.
    func noteTaken(waiting: [String], at time: TimestampNS) {
        state.withLock { $0 = State(takenAt: time, waiting: waiting) }
    }

    func noteFault(_ text: String, at time: TimestampNS) {
        state.withLock { $0.fault = AgentStatus.Fault(text, at: time) }
    }

    /// As the status shows it; `file` is the configuration's.
    func standing(file: String?) -> AgentStatus.Configuration {
        state.withLock { state in
            AgentStatus.Configuration(
                file: file, takenAt: state.takenAt, fault: state.fault, waiting: state.waiting)
        }
    }

    func families() -> [MetricFamily] {
        let (isTaken, takenAt) = state.withLock { ($0.fault == nil, $0.takenAt) }
        return [
            MetricFamily(
                "petrel_agent_config_last_reload_successful", .gauge,
                help: "1 where the newest configuration was taken, 0 where it was wrong.",
                points: [.init(.empty, isTaken ? 1 : 0)]),
            MetricFamily(
                "petrel_agent_config_last_reload_success_timestamp_seconds", .gauge,
                help: "When a configuration was taken last.",
                points: [.init(.empty, Double(takenAt.rawValue) / 1e9)]),
        ]
    }
}
