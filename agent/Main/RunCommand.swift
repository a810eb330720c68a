import AgentExport
import AgentHelper
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
            let servers = [await wiring.export(), await wiring.statusServer()].compactMap(\.self)
            try await wiring.group(servers, notifier).run()
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
    private let caddy: CaddyScraping
    private let reload: ReloadService
    private let streams: [any Service]
    private let liveness: AgentLiveness
    private let identity: IdentityStore
    private let statusThread: DedicatedThread
    private let status: StatusReading
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
        refinement = LogRefinement(
            redaction: configuration.redaction, metrics: configuration.logMetrics)
        logs = try LogService(
            configuration.logSources, maker: LogSourceMaker(refinement),
            spool: logSpool, spoolThread: try DedicatedThread(),
            flushMilliseconds: configuration.spoolFlush.milliseconds, mark: liveness.logs,
            clock: clock, logger: logger)
        let memory = TargetMemory(tree: LiveFileTree(), folder: configuration.scrapeFolder)
        let spooler = MetricsSpooler(
            spool: metricsSpool, thread: try DedicatedThread(), memory: memory, logger: logger)
        statusThread = try DedicatedThread()
        caddy = CaddyScraping(configuration, paths: paths, thread: statusThread, clock: clock)
        targets = try TargetScraping(
            caddy, memory: memory, spooler: spooler, eventLoops: eventLoops,
            clock: clock, logger: logger)
        reload = ReloadService(
            configuration, from: source, paths: paths, readers: readers, logs: logs,
            refinement: refinement, targets: caddy, thread: statusThread, clock: clock,
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
        status = StatusReading(
            startedAt: clock.now,
            spools: spools.map { ($0, Self.bytesMax($0.kind, configuration)) },
            streams: metrics, identity: store, logs: logs, scrape: scrape,
            targets: caddy, source: source, reload: reload.outcome, thread: statusThread,
            clock: clock)
    }

    /// A quarter of the bytes is for metrics, the rest for logs.
    private static func bytesMax(_ kind: StreamKind, _ configuration: AgentConfiguration) -> Int {
        switch kind {
        case .metrics: configuration.spoolBytesMax / 4
        case .logs: configuration.spoolBytesMax * 3 / 4
        }
    }

    private static func spool(
        _ kind: StreamKind, _ configuration: AgentConfiguration
    ) throws -> Spool {
        try Spool(
            kind: kind, directory: configuration.spoolFolder + "/" + kind.name,
            tree: LiveFileTree(), clock: LiveClock(), random: LiveRandom(),
            configuration: SpoolConfiguration(
                bytesMax: bytesMax(kind, configuration),
                overflow: kind == .metrics ? .dropOldest : .refuse))
    }

    /// The HTTP server; nil where its port is taken, which stops nothing.
    func export() async -> ExportServer? {
        guard let place = AddressAndPort(configuration.listen) else { return nil }
        let (readers, scrape) = (readers, scrape)
        do throws(ExportError) {
            return try await ExportServer.bind(
                ExportConfiguration(host: place.address, port: place.port),
                content: ExportContent(metrics: {
                    ExpositionWriter.text(
                        await readers.scrape(now: LiveClock().now) + scrape.ownFamilies())
                }), group: eventLoops)
        } catch {
            logger.warning("\(error); streaming goes on without /metrics")
            return nil
        }
    }

    /// Every long life, in data order; shut down in reverse.
    func group(_ servers: [ExportServer], _ notifier: SystemdNotifier) -> ServiceGroup {
        var services: [any Service] =
            [reload, scrape, targets.service, caddy, logs] + streams + [MemoryTrim(clock: clock)]
        services += servers
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

    /// The socket of `petrel-agent status`; nil where there can't be one, which stops nothing.
    func statusServer() async -> ExportServer? {
        await status.server(configuration.statusSocket, group: eventLoops, logger: logger)
    }

    func close() {
        HelperSocket.remove(path: configuration.statusSocket)
        for spool in spools { spool.close() }
    }
}
