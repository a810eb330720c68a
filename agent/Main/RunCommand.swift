import AgentExport
import AgentRead
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
        let paths = options.paths
        // Off the Swift pool, which may have one thread alone: the notifier goes on asking for time meanwhile.
        let startThread = try DedicatedThread()
        let wiring = try await notifier.whileStarting("reading the spool", clock: LiveClock()) {
            try await startThread.run {
                Result {
                    try AgentWiring(
                        configuration: configuration, paths: paths, eventLoops: eventLoops,
                        logger: logger)
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
    private let logs: LogService
    private let scrape: ScrapeService
    private let streams: [any Service]
    private let liveness: AgentLiveness
    private let identity: IdentityStore
    private let statusThread: DedicatedThread
    private let clock = LiveClock()

    init(
        configuration: AgentConfiguration, paths: NodePaths,
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
            readers: HostReading.readers(paths), clock: clock,
            deadlineNanoseconds: configuration.readerDeadline.milliseconds * 1_000_000)
        let liveness = AgentLiveness(intervalMilliseconds: configuration.interval.milliseconds)
        self.liveness = liveness
        logs = LogService(
            sources: try Self.logSources(configuration, logSpool.positions, logger),
            spool: logSpool, spoolThread: try DedicatedThread(),
            flushMilliseconds: configuration.spoolFlush.milliseconds, mark: liveness.logs,
            clock: clock, logger: logger)
        let own = OwnFamilies(spools: spools, streams: streamMetrics, logs: logs)
        scrape = ScrapeService(
            readers: readers, ownFamilies: { own.families() }, spool: metricsSpool,
            spoolThread: try DedicatedThread(),
            intervalMilliseconds: configuration.interval.milliseconds,
            instance: HostReading.nodeName(), mark: liveness.scrape, clock: clock, logger: logger)
        let store = IdentityStore(files: LiveFileTree(), folder: configuration.identityFolder)
        identity = store
        statusThread = try DedicatedThread()
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
    ) throws -> [LogSourceRunner] {
        let stored = Dictionary(
            positions.map { ($0.source, $0) }, uniquingKeysWith: { first, _ in first })
        var sources: [LogSourceRunner] = []
        if configuration.readsJournal {
            let directory = configuration.journalDirectory
            let journal = JournalReader(
                access: SystemdJournal(directory: directory.isEmpty ? nil : directory),
                configuration: JournalConfiguration(
                    start: configuration.readsJournalFromHead ? .head : .tail),
                position: stored[JournalReader.sourceName])
            sources.append(try LogSourceRunner(journal))
        }
        for file in configuration.files {
            let source = FileTailReader.source(path: file.path)
            let reader = try FileTailReader(
                FileTailConfiguration(path: file.path, serviceName: file.service),
                tree: LiveFileTree(), clock: LiveClock(), position: stored[source])
            sources.append(try LogSourceRunner(reader))
        }
        return sources
    }

    /// The HTTP server; nil where its port is taken, which stops nothing.
    func export() async -> ExportServer? {
        guard let place = AddressAndPort(configuration.listen) else { return nil }
        let readers = readers
        let own = OwnFamilies(spools: spools, streams: streamMetrics, logs: logs)
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
        var services: [any Service] = [scrape, logs] + streams + [MemoryTrim(clock: clock)]
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

/// What the agent says of itself: both in `/metrics` and in the stream.
struct OwnFamilies: Sendable {
    let spools: [Spool]
    let streams: StreamMetrics
    let logs: LogService

    func families() -> [MetricFamily] {
        let states = spools.map { ($0.kind.name, $0.status(), $0.isDegraded) }
        func family(
            _ name: String, _ type: MetricType, _ help: String,
            _ value: (SpoolStatusFigures) -> Double
        ) -> MetricFamily {
            MetricFamily(
                name, type, help: help,
                points: states.map { name, status, degraded in
                    MetricFamily.Point(
                        ["stream": name],
                        value(
                            SpoolStatusFigures(
                                produced: status.producedRecords, gap: status.gapRecords,
                                held: status.spoolRecords, bytes: status.spoolBytes,
                                isDegraded: degraded)))
                })
        }
        return streams.families() + logs.families() + [
            family(
                "petrel_agent_records_produced_total", .counter,
                "Samples or log entries that entered the spool.", { Double($0.produced) }),
            family(
                "petrel_agent_gap_records_total", .counter,
                "Records lost and accounted for by a gap record.", { Double($0.gap) }),
            family(
                "petrel_agent_spool_records", .gauge,
                "Records spooled and not yet acknowledged.", { Double($0.held) }),
            family(
                "petrel_agent_spool_bytes", .gauge, "Bytes of the spool on disk.",
                { Double($0.bytes) }),
            family(
                "petrel_agent_spool_degraded", .gauge,
                "1 while the disk refuses and what is read is held in memory.",
                { $0.isDegraded ? 1 : 0 }),
        ]
    }

    private struct SpoolStatusFigures {
        var produced: UInt64
        var gap: UInt64
        var held: UInt64
        var bytes: UInt64
        var isDegraded: Bool
    }
}
