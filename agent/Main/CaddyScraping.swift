import AgentRead
import AgentScrape
import Model
import ServiceLifecycle
import Startup
import Synchronization
import World
import WorldLive

/// What is scraped: the configuration's targets, and Caddy, which is looked for where the configuration names none.
///
/// Caddy that was found stays a target as long as the agent runs, so that one which ends is down. It is looked for again
/// while none was found or the last scrape of it failed: it may listen at another address now.
final class CaddyScraping: Service {
    static let job = "caddy"
    private static let lookSeconds: Int64 = 15

    private struct State {
        var configuration: AgentConfiguration
        var found: ServiceAddress?

        var services: [ScrapedService] {
            guard configuration.services.isOn(CaddyScraping.job) else { return [] }
            let named = configuration.services.caddy
            guard named.isEmpty else {
                return named.map { CaddyScraping.service($0, isFound: false) }
            }
            return found.map { [CaddyScraping.service(CaddyTarget($0), isFound: true)] } ?? []
        }

        var targets: [ScrapeTarget] {
            ScrapeTarget.all(
                configuration.scrapeTargets, and: services, interval: configuration.interval)
        }

        var isSought: Bool { CaddyScraping.isSought(configuration.services) }
    }

    private let state: Mutex<State>
    private let paths: NodePaths
    private let clock: any WorldClock
    /// Set once, before anything runs.
    private let parts = Mutex<(targets: TargetScrapeService, figures: ScrapeFigures)?>(nil)
    private let thread: DedicatedThread

    /// Looks for Caddy, for at most a second.
    init(
        _ configuration: AgentConfiguration, paths: NodePaths, thread: DedicatedThread,
        clock: any WorldClock
    ) {
        self.paths = paths
        self.thread = thread
        self.clock = clock
        state = Mutex(State(configuration: configuration))
        _ = look()
    }

    var targets: [ScrapeTarget] { state.withLock { $0.targets } }

    /// Who scrapes the targets from now on.
    func attach(_ targets: TargetScrapeService, _ figures: ScrapeFigures) {
        parts.withLock { $0 = (targets, figures) }
    }

    /// The targets of this configuration are scraped from now on.
    func change(to configuration: AgentConfiguration) {
        update { state in
            state.configuration = configuration
            if !state.isSought { state.found = nil }
        }
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await self.clock.sleep(nanoseconds: Self.lookSeconds * 1_000_000_000)
                } catch { return }
                if self.isDue { await self.thread.run { _ = self.look() } }
            }
        }
    }

    private var isDue: Bool {
        let (isSought, found) = state.withLock { ($0.isSought, $0.found) }
        guard isSought, let found else { return isSought }
        let last = parts.withLock { $0 }?.figures.lastScrapes().first {
            $0.target.isScraped(at: "\(found)")
        }
        return last?.last?.error != nil
    }

    /// Looks where Caddy is, and has it scraped there; blocks. Absent where it is not to be looked for.
    private func look() -> CaddyProbe.Finding {
        guard state.withLock({ $0.isSought }) else { return .absent }
        let finding = CaddyProbe.look(tree: LiveFileTree(), paths: paths, clock: clock)
        if case .caddy(let address, _) = finding, state.withLock({ $0.found }) != address {
            update { if $0.isSought { $0.found = address } }
        }
        return finding
    }

    /// The service hears of changes in the order in which they are made.
    private func update(_ body: (inout State) -> Void) {
        state.withLock { state in
            body(&state)
            parts.withLock { $0 }?.targets.change(to: state.targets)
        }
    }

    /// As all that the agent finds of a host, it has the host's name as `instance`.
    private static func service(_ target: CaddyTarget, isFound: Bool) -> ScrapedService {
        var labels = ["instance": HostReading.nodeName()]
        if let label = target.label { labels["server"] = label }
        return ScrapedService(
            job: job, address: "\(target.address)", labels: Labels(labels), isFound: isFound)
    }

    // MARK: - What is in its way

    /// The targets' last scrapes, with what is to be said of Caddy at this moment; blocks.
    func standing() -> [AgentStatus.Source] {
        var sources = (parts.withLock { $0 }?.figures.lastScrapes() ?? []).map { target, last in
            (
                target: target,
                source: AgentStatus.Source(
                    target.name, error: last?.error, lastAt: last?.at.nanoseconds)
            )
        }
        let options = state.withLock { $0.configuration.services }
        let findings = Self.isSought(options) ? [look()] : Self.named(options, clock)
        var others: [AgentStatus.Source] = []
        for (address, remark) in findings.compactMap(Self.remark) {
            let indices = sources.indices.filter {
                sources[$0].target.isScraped(at: "\(address)")
            }
            for index in indices { sources[index].source.problems.append(remark) }
            if indices.isEmpty {
                others.append(AgentStatus.Source("\(Self.job) \(address)", error: remark))
            }
        }
        return sources.map(\.source) + others
    }

    /// What is to be said of Caddy where no agent runs, a line each; blocks.
    static func remarks(_ options: ServiceOptions, paths: NodePaths) -> [String] {
        let clock = LiveClock()
        let findings =
            isSought(options)
            ? [CaddyProbe.look(tree: LiveFileTree(), paths: paths, clock: clock)]
            : named(options, clock)
        return findings.compactMap(remark).map { "\(job) \($0.address): \($0.text)" }
    }

    /// Nobody has said where Caddy is, nor that it is left alone.
    private static func isSought(_ options: ServiceOptions) -> Bool {
        options.isOn(job) && options.caddy.isEmpty
    }

    /// Those that the configuration names, asked within one look's time.
    private static func named(
        _ options: ServiceOptions, _ clock: any WorldClock
    ) -> [CaddyProbe.Finding] {
        guard options.isOn(job) else { return [] }
        let milliseconds = CaddyProbe.milliseconds / Int64(max(1, options.caddy.count))
        return options.caddy.map {
            CaddyProbe.ask(
                [$0.address], isExpected: true, clock: clock, milliseconds: milliseconds)
        }
    }

    private static func remark(
        _ finding: CaddyProbe.Finding
    ) -> (address: ServiceAddress, text: String)? {
        switch finding {
        case .absent, .caddy(_, countsRequests: true): nil
        case .caddy(let address, _):
            (
                address,
                "no HTTP request is counted: the Caddyfile lacks `metrics` in its global options "
                    + "(before Caddy 2.9 `servers { metrics }`), or none came yet; "
                    + "sudo petrel-agent setup caddy"
            )
        case .refuses(let address, let status):
            (
                address,
                "/metrics is answered with \(status): no Caddy listens there, or one without "
                    + "metrics; name its admin endpoint under services.caddy in agent.yaml, or "
                    + "see: sudo petrel-agent setup caddy"
            )
        }
    }
}
