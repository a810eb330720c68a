import AgentRead
import AgentScrape
import Logging
import Model
import ServiceLifecycle
import Synchronization
import UnixSignals
import World

/// Reads the configuration again on SIGHUP and takes the scrape jobs of it; every other key is read at a start alone.
///
/// A file that is wrong changes nothing and is said. Signals that come while a file is being read are one.
struct ReloadService: Service {
    let source: ConfigurationSource
    let targets: TargetScrapeService
    let outcome: ReloadOutcome
    /// Files are read on it.
    let thread: DedicatedThread
    let clock: any WorldClock
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await _ in await UnixSignalsSequence(trapping: .sighup) { await reload() }
        }
    }

    private func reload() async {
        let source = source
        switch await thread.run({ Result { try source.configuration() } }) {
        case .success(let configuration):
            targets.change(to: configuration.scrapeTargets)
            outcome.note(isTaken: true, at: clock.now)
            logger.notice(
                "the configuration was read again: its scrape jobs are taken, other keys at a start",
                metadata: ["targets": "\(configuration.scrapeTargets.count)"])
        case .failure(let error):
            outcome.note(isTaken: false, at: clock.now)
            logger.error(
                "the configuration is not taken, and the one before stays: mend it and send SIGHUP again",
                metadata: ["error": "\(error)"])
        }
    }
}

/// Whether the newest configuration was taken, in Prometheus' words.
final class ReloadOutcome: Sendable {
    private let state: Mutex<(isTaken: Bool, takenAt: TimestampNS)>

    /// The configuration of the start was.
    init(startedAt: TimestampNS) { state = Mutex((true, startedAt)) }

    func note(isTaken: Bool, at time: TimestampNS) {
        state.withLock { state in
            state.isTaken = isTaken
            if isTaken { state.takenAt = time }
        }
    }

    func families() -> [MetricFamily] {
        let (isTaken, takenAt) = state.withLock { $0 }
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
