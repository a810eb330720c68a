import ArgumentParser
import AsyncHTTPClient
import CollectorEvaluate
import CollectorNotify
import CollectorQuery
import CollectorReceive
import CollectorStore
import CollectorWeb
import GoTemplate
import Identity
import Logging
import Model
import NIOCore
import NIOPosix
import PromQL
import Routing
import Rules
import ServiceLifecycle
import Startup
import Storage
import World
import WorldLive

/// `petrel-collector run`: the collector until it is told to stop.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs the collector until SIGTERM or SIGINT.")
    @OptionGroup var common: CommonOptions

    func run() async throws {
        FreedMemory.prepare()
        let surroundings = LiveSurroundings()
        let notifier = SystemdNotifier(surroundings)
        let configuration = try common.configuration()
        let logger = configuration.logger(surroundings)
        let rules = try RuleLoading.load(configuration)
        let routing = try RuleLoading.routing(configuration) ?? .standard
        try configuration.prepareDataDirectory(LiveFileTree())
        let store = try await notifier.whileStarting(
            "opening and migrating the database", clock: LiveClock()
        ) { try await openStore(configuration, logger: logger, writesMetrics: true) }
        do {
            try await serve(
                configuration, store: store, rules: rules, routing: routing, notifier: notifier,
                logger: logger)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
        logger.info("stopped")
    }

    private func serve(
        _ configuration: CollectorConfiguration, store: CollectorStore, rules: [RuleGroup],
        routing: AlertingConfiguration, notifier: SystemdNotifier, logger: Logger
    ) async throws {
        let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let locations = SystemTimeZones.locations(LiveFileTree())
        let queries = QueryServices(
            reader: store, clock: LiveClock(), limits: configuration.queryLimits,
            features: configuration.queryFeatures, locations: locations)
        var outbound = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: HTTPClient.Configuration.Timeout(connect: .seconds(5)))
        // The outbox decides when to try again, and with which wait.
        outbound.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(
            eventLoopGroupProvider: .shared(eventLoops), configuration: outbound)
        let wiring = try CollectorWiring(
            configuration: configuration, store: store, rules: rules, routing: routing,
            eventLoops: eventLoops, queries: queries, client: client, notifier: notifier,
            locations: locations, logger: logger)
        var failure: (any Error)?
        do {
            try await wiring.group().run()
        } catch { failure = error }
        try? await client.shutdown()
        try? await queries.shutDown()
        try? await eventLoops.shutdownGracefully()
        if let failure { throw StartError(Self.explain(failure, configuration)) }
    }

    /// The error of a service that could not go on, as one line with its remedy.
    private static func explain(
        _ error: any Error, _ configuration: CollectorConfiguration
    ) -> String {
        if let error = error as? IOError, error.errnoCode == EADDRINUSE {
            return
                "the HTTP port \(configuration.http) is taken: end what listens there (ss -ltnp), or choose another with --http"
        }
        return String(describing: error)
    }
}

/// The collector's stages, put together. The only place that knows all of them.
struct CollectorWiring {
    let configuration: CollectorConfiguration
    let store: CollectorStore
    let receiver: FleetReceiver
    let presence: PresenceReporter
    let evaluate: EvaluateService
    let outbox: OutboxService
    let web: WebService
    let liveness: [any Service]
    let logger: Logger

    init(
        configuration: CollectorConfiguration, store: CollectorStore, rules: [RuleGroup],
        routing: AlertingConfiguration, eventLoops: MultiThreadedEventLoopGroup,
        queries: QueryServices, client: HTTPClient, notifier: SystemdNotifier,
        locations: GoLocations, logger: Logger
    ) throws {
        let clock = LiveClock()
        let random = LiveRandom()
        let files = LiveFileTree()
        self.configuration = configuration
        self.store = store
        self.logger = logger
        receiver = FleetReceiver(
            configuration: configuration.receiveConfiguration,
            authority: try configuration.authority(
                files, random: random, now: clock.now.milliseconds),
            writer: store, registry: store, clock: clock, random: random, eventLoops: eventLoops,
            log: logger)
        presence = PresenceReporter(
            board: receiver.presence, registry: store, writer: store, clock: clock, logger: logger)
        let directory = ReceiverDirectory(routing.receivers)
        let planner = NotificationPlanner(root: routing.root, directory: directory, random: random)
        let externalURL = configuration.externalURL
        evaluate = EvaluateService(
            groups: rules,
            dependencies: EvaluateDependencies(
                query: { try await queries.rules.elements($0, at: $1) },
                plan: { planner.plan($0, now: $1) },
                templates: { now, answers in
                    TemplateEnvironment(
                        now: now, externalURL: externalURL, regex: .re2,
                        query: TemplateEnvironment.answers(answers))
                }, alerts: store, writer: store, clock: clock), logger: logger)
        let sender = HTTPNotificationSender(
            client: client,
            renderer: MessageRenderer(
                externalURL: externalURL, library: try RuleLoading.templates(routing),
                locations: locations, regex: { .re2 }),
            clock: clock, readSecret: { try secretText($0) })
        outbox = OutboxService(
            store: store, directory: directory, sender: sender, clock: clock, random: random,
            logger: logger)
        let notifyTest = NotifyTest(
            directory: directory, sender: sender, clock: clock, random: random)
        let webConfiguration = configuration.webConfiguration
        let site = WebSite(
            configuration: webConfiguration,
            dependencies: Self.webDependencies(
                configuration: configuration, metrics: queries.metrics,
                logs: queries.logs(store),
                store: store,
                receiver: receiver, evaluate: evaluate, outbox: outbox, notifyTest: notifyTest),
            random: random, logger: logger)
        let isListening = ReadyLatch()
        web = try WebService(
            configuration: webConfiguration, site: site, logger: logger,
            onListening: { _ in isListening.open() })
        liveness = CollectorLiveness.services(
            store: store, receiver: receiver, evaluate: evaluate, webIsListening: isListening,
            eventLoops: eventLoops, notifier: notifier, clock: clock, logger: logger)
    }

    private static func webDependencies(
        configuration: CollectorConfiguration, metrics: MetricQueryService, logs: LogQueryService,
        store: CollectorStore, receiver: FleetReceiver, evaluate: EvaluateService,
        outbox: OutboxService,
        notifyTest: NotifyTest
    ) -> WebDependencies {
        var dependencies = WebDependencies(
            version: PetrelCollector.version, clock: LiveClock(), metrics: metrics, logs: logs,
            sampleWriter: store, exemplars: store, deleter: store,
            ruleGroups: { evaluate.snapshot.map(RuleGroupStatus.init) },
            alerts: {
                evaluate.snapshot.flatMap { machine in
                    machine.group.rules.indices.flatMap { machine.records(ofRuleAt: $0) }
                }
            },
            hosts: { try await store.hosts() },
            deliveries: { try await store.deliveries(limit: $0) },
            notifyTest: { await notifyTest.send(to: $0) },
            checkReadiness: { try await store.ping() },
            ownMetrics: {
                receiver.metrics.families() + store.metricFamilies() + metrics.metricFamilies()
                    + evaluate.metrics()
                    + outbox.metrics()
            })
        dependencies.metricExtent = {
            try await store.chunkExtent().map {
                MetricExtent(
                    chunkCount: $0.chunkCount, first: TimestampMS($0.first),
                    last: TimestampMS($0.last))
            }
        }
        dependencies.logWriter = store
        dependencies.logFeed = store.logFeed
        dependencies.logs.fieldNames = { try store.logFieldNames($0) }
        dependencies.sealLogs = { try await store.sealAllLogs() }
        dependencies.seriesLimits = { store.seriesLimitStatus() }
        dependencies.server = ServerFacts(
            configuration, startedAt: LiveClock().now.milliseconds)
        return dependencies
    }

    /// Every long life, in data order; shut down in reverse.
    func group() -> ServiceGroup {
        ServiceList.group(
            store.services + receiver.services + [presence, evaluate, outbox, web]
                + [MemoryRelease(clock: LiveClock())] + liveness,
            endsWithFirst: true, logger: logger)
    }
}

extension CollectorConfiguration {
    /// The bounds of queries.
    fileprivate var queryLimits: QueryServices.Limits {
        var limits = QueryServices.Limits()
        limits.runningMax = queriesMax
        limits.timeoutMilliseconds = queryTimeout.milliseconds
        limits.samplesMax = querySamplesMax
        limits.samplesTotalMax = querySamplesTotalMax
        limits.seriesMax = querySeriesMax
        limits.pointsMax = queryPointsMax
        return limits
    }

    /// Where agents are listened to, and under which names.
    fileprivate var receiveConfiguration: ReceiveConfiguration {
        ReceiveConfiguration(
            fleet: .init(address: fleet.address, port: fleet.port),
            enrolment: .init(address: enroll.address, port: enroll.port),
            serverNames: reachableNames)
    }
}

extension MetricQueryService {
    /// The instant result of a rule's expression: a vector's elements, or a scalar as one without labels.
    func elements(_ text: String, at time: TimestampMS) async throws -> [EvaluatedElement] {
        switch try await instant(text, at: time).value {
        case .vector(let elements):
            return elements.map { element in
                if let histogram = element.histogram {
                    EvaluatedElement(labels: element.labels, histogram: histogram)
                } else {
                    EvaluatedElement(labels: element.labels, value: element.sample.value)
                }
            }
        case .scalar(let sample): return [EvaluatedElement(labels: .empty, value: sample.value)]
        case .string, .matrix:
            throw StartError("rule expression `\(text)` must give a vector or a scalar")
        }
    }
}

extension RuleGroupStatus {
    /// What the API shows of a group.
    init(_ machine: RuleGroupMachine) {
        let group = machine.group
        self.init(
            name: group.name, file: group.file,
            intervalSeconds: Double(group.interval.milliseconds) / 1000, limit: group.limit,
            rules: group.rules.indices.map { index in
                RuleStatus(
                    group.rules[index], machine.health[index],
                    machine.records(ofRuleAt: index))
            }, evaluationSeconds: machine.health.reduce(0) { $0 + $1.seconds },
            lastEvaluation: machine.health.compactMap(\.lastEvaluation).max())
    }
}

extension RuleStatus {
    /// What the API shows of a rule.
    fileprivate init(_ rule: Rule, _ health: RuleHealth, _ records: [AlertRecord]) {
        let kind: Kind =
            switch rule.kind {
            case .recording: .recording
            case .alerting(let alerting):
                .alerting(
                    forMilliseconds: alerting.hold.milliseconds,
                    keepFiringForMilliseconds: alerting.keepFiring.milliseconds,
                    annotations: Labels(alerting.annotations.map { Label($0.name, $0.source) }),
                    alerts: records)
            }
        self.init(
            name: rule.name, query: rule.expression,
            labels: Labels(rule.labels.map { Label($0.name, $0.source) }), kind: kind,
            health: health.lastEvaluation == nil
                ? .unknown : health.lastError.isEmpty ? .ok : .err,
            lastError: health.lastError, evaluationSeconds: health.seconds,
            lastEvaluation: health.lastEvaluation)
    }
}

/// The text of a secret's file, without the white space around it.
func secretText(_ path: String) throws -> String {
    let text = try StartFiles.live.text(path)
    let kept = text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()
    return String(kept)
}
