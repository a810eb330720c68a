import AgentExport
import AgentRead
import AgentScrape
import AgentSpool
import AgentStream
import ArgumentParser
import Exposition
import Identity
import Logging
import Model
import NIOCore
import NIOPosix
import ServiceLifecycle
import Startup
import Storage
import World
import WorldLive

/// `petrel-agent run`: the agent until it is told to stop.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs the agent until SIGTERM or SIGINT.")
    @OptionGroup var options: AgentOptions

    func run() async throws {
        let surroundings = LiveSurroundings()
        let notifier = SystemdNotifier(surroundings)
        let configuration = try options.configuration()
        let logger = configuration.logger(surroundings)
        try configuration.prepareStateDirectory(LiveFileTree())
        let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let (paths, source) = (options.paths, options.source)
        // Off the Swift pool, which may have one thread alone: the notifier goes on asking for time meanwhile.
        let startThread = try DedicatedThread()
        let wiring = try await notifier.whileStarting("reading the spool", clock: LiveClock()) {
            try await startThread.run {
                Result {
                    try AgentWiring(
                        configuration: configuration, source: source, paths: paths,
                        eventLoops: eventLoops, logger: logger)
                }
            }.get()
        }
        var failure: (any Error)?
        do {
            let export = await wiring.export()
            try await wiring.group(export, notifier).run()
        } catch { failure = error }
        wiring.close()
        try? await eventLoops.shutdownGracefully()
        if let failure { throw StartError("\(failure)") }
        logger.info("stopped")
    }
}

/// The agent's stages, put together. The only place that knows all of them.
struct AgentWiring {
    private let configuration: AgentConfiguration
    private let logger: Logger
    private let eventLoops: MultiThreadedEventLoopGroup
    private let spools: [Spool]
    private let readers: NodeReaderSet
    private let streamMetrics = StreamMetrics()
    private let refinement: LogRefinement
    private let logs: LogService
    private let scrape: ScrapeService
    private let targets: TargetScraping
    private let reload: ReloadService
    private let streams: [any Service]
    private let liveness: AgentLiveness
    private let identity: IdentityStore
    private let statusThread: DedicatedThread
    private let clock = LiveClock()

    init(
        configuration: AgentConfiguration, source: ConfigurationSource, paths: NodePaths,
        eventLoops: MultiThreadedEventLoopGroup, logger: Logger
    ) throws {
        self.configuration = configuration
        self.logger = logger
        self.eventLoops = eventLoops
        let random = LiveRandom()
        let clock = LiveClock()
        let metricsSpool = try Self.spool(.metrics, configuration)
        let logSpool = try Self.spool(.logs, configuration)
        spools = [metricsSpool, logSpool]
        readers = try NodeReaderSet(
            readers: HostReading.readers(paths, configuration, logger: logger),
            clock: clock,
            deadlineNanoseconds: configuration.readerDeadline.milliseconds * 1_000_000)
        let liveness = AgentLiveness(intervalMilliseconds: configuration.interval.milliseconds)
        self.liveness = liveness
        let refinement = LogRefinement(
            redactor: LineRedactor(configuration.redaction),
            metrics: LogMetrics(configuration.logMetrics))
        self.refinement = refinement
        logs = LogService(
            sources: try Self.logSources(configuration, logSpool.positions, logger).map {
                try LogSourceRunner(RefinedLogSource($0, refinement))
            },
            spool: logSpool, spoolThread: try DedicatedThread(),
            flushMilliseconds: configuration.spoolFlush.milliseconds, mark: liveness.logs,
            clock: clock, logger: logger)
        let spooler = MetricsSpooler(
            spool: metricsSpool, thread: try DedicatedThread(), logger: logger)
        targets = try TargetScraping(
            configuration.scrapeTargets, folder: configuration.scrapeFolder, spooler: spooler,
            eventLoops: eventLoops, clock: clock,
            logger: logger)
        statusThread = try DedicatedThread()
        reload = ReloadService(
            source: source, targets: targets.service,
            outcome: ReloadOutcome(startedAt: clock.now), thread: statusThread, clock: clock,
            logger: logger)
        let own = OwnFamilies(
            spools: spools, streams: streamMetrics, logs: logs, refinement: refinement,
            targets: targets.figures, reload: reload.outcome)
        scrape = ScrapeService(
            readers: readers, ownFamilies: { own.families() }, spooler: spooler,
            intervalMilliseconds: configuration.interval.milliseconds,
            instance: HostReading.nodeName(), mark: liveness.scrape, clock: clock)
        let store = IdentityStore(files: LiveFileTree(), folder: configuration.identityFolder)
        identity = store
        let holder = IdentityHolder(store: store)
        let facts = HostReading.facts(role: configuration.role)
        let metrics = streamMetrics
        let renewal = RenewalService(
            holder: holder, store: store, metrics: metrics, clock: clock, random: random,
            eventLoops: eventLoops, log: logger)
        streams =
            [renewal]
            + spools.map { spool in
                StreamService(
                    spool: spool, holder: holder, store: store, facts: facts, metrics: metrics,
                    clock: clock, random: random, eventLoops: eventLoops, log: logger)
            }
    }

    private static func spool(
        _ kind: StreamKind, _ configuration: AgentConfiguration
    ) throws -> Spool {
        let share = configuration.spoolBytesMax / (kind == .metrics ? 4 : 1)
        return try Spool(
            kind: kind, directory: configuration.spoolFolder + "/" + kind.name,
            tree: LiveFileTree(), clock: LiveClock(), random: LiveRandom(),
            configuration: SpoolConfiguration(
                bytesMax: kind == .metrics ? share : configuration.spoolBytesMax * 3 / 4,
                overflow: kind == .metrics ? .dropOldest : .refuse))
    }

    private static func logSources(
        _ configuration: AgentConfiguration, _ positions: [SourcePosition], _ logger: Logger
    ) throws -> [any LogSource] {
        let stored = Dictionary(
            positions.map { ($0.source, $0) }, uniquingKeysWith: { first, _ in first })
        var sources: [any LogSource] = []
        if configuration.readsJournal {
            let directory = configuration.journalDirectory
            let journal = JournalReader(
                access: SystemdJournal(directory: directory.isEmpty ? nil : directory),
                configuration: JournalConfiguration(
                    start: configuration.readsJournalFromHead ? .head : .tail),
                position: stored[JournalReader.sourceName])
            sources.append(journal)
        }
        // Positions of files that are not configured any more stay in the spool and take up room there.
        let patterns = configuration.files.map { PathPattern($0.path) }
        let others = positions.filter { position in
            !patterns.contains { FileSet.slot(of: position.source, $0) != nil }
        }
        let budget = LogFileBudget(
            positionBytesTaken: others.reduce(0) {
                $0 + $1.source.utf8.count + $1.bytes.count + 6
            })
        for file in configuration.files {
            let reader = try FileTailReader(
                file.readerConfiguration(), tree: LiveFileTree(), clock: LiveClock(),
                positions: positions, budget: budget)
            sources.append(reader)
        }
        return sources
    }

    /// The HTTP server; nil where its port is taken, which stops nothing.
    func export() async -> ExportServer? {
        guard let place = AddressAndPort(configuration.listen) else { return nil }
        let readers = readers
        let own = OwnFamilies(
            spools: spools, streams: streamMetrics, logs: logs, refinement: refinement,
            targets: targets.figures, reload: reload.outcome)
        do throws(ExportError) {
            return try await ExportServer.bind(
                ExportConfiguration(host: place.address, port: place.port),
                content: ExportContent(metrics: {
                    ExpositionWriter.text(
                        await readers.scrape(now: LiveClock().now) + own.families())
                }), group: eventLoops)
        } catch {
            logger.warning("\(error); streaming goes on without /metrics")
            return nil
        }
    }

    /// Every long life, in data order; shut down in reverse.
    func group(_ export: ExportServer?, _ notifier: SystemdNotifier) -> ServiceGroup {
        var services: [any Service] =
            [reload, scrape, targets.service, logs] + streams + [MemoryTrim(clock: clock)]
        if let export { services.append(export) }
        let (spools, metrics, identity) = (spools, streamMetrics, identity)
        services.append(
            liveness.service(
                notifier, eventLoops: eventLoops, statusThread: statusThread,
                status: {
                    AgentLiveness.status(
                        collector: identity.collector(), isConnected: metrics.isConnected,
                        held: spools.reduce(0) { $0 + $1.status().spoolRecords })
                }, clock: clock, logger: logger))
        return ServiceList.group(services, endsWithFirst: false, logger: logger)
    }

    func close() {
        for spool in spools { spool.close() }
    }
}
