package import CollectorQuery
package import Model
package import Storage
package import World

/// A rule as the Prometheus API shows it.
package struct RuleStatus: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case recording
        case alerting(
            forMilliseconds: Int64, keepFiringForMilliseconds: Int64, annotations: Labels,
            alerts: [AlertRecord])
    }

    package enum Health: String, Hashable, Sendable {
        case ok, err, unknown
    }

    /// The alert's name or the recorded metric's.
    package var name: String
    package var query: String
    package var labels: Labels
    package var kind: Kind
    package var health: Health
    /// Empty where the last evaluation went well.
    package var lastError: String
    package var evaluationSeconds: Double
    /// Nil before the first.
    package var lastEvaluation: TimestampMS?

    package init(
        name: String, query: String, labels: Labels = .empty, kind: Kind,
        health: Health = .unknown, lastError: String = "", evaluationSeconds: Double = 0,
        lastEvaluation: TimestampMS? = nil
    ) {
        self.name = name
        self.query = query
        self.labels = labels
        self.kind = kind
        self.health = health
        self.lastError = lastError
        self.evaluationSeconds = evaluationSeconds
        self.lastEvaluation = lastEvaluation
    }
}

/// A rule group as the Prometheus API shows it.
package struct RuleGroupStatus: Hashable, Sendable {
    package var name: String
    package var file: String
    package var intervalSeconds: Double
    /// Most alerts or series of a rule; 0: no bound.
    package var limit: Int
    package var rules: [RuleStatus]
    package var evaluationSeconds: Double
    package var lastEvaluation: TimestampMS?

    package init(
        name: String, file: String, intervalSeconds: Double, limit: Int = 0, rules: [RuleStatus],
        evaluationSeconds: Double = 0, lastEvaluation: TimestampMS? = nil
    ) {
        self.name = name
        self.file = file
        self.intervalSeconds = intervalSeconds
        self.limit = limit
        self.rules = rules
        self.evaluationSeconds = evaluationSeconds
        self.lastEvaluation = lastEvaluation
    }
}

/// How a test notification to one integration of a receiver went.
package struct NotifyTestOutcome: Hashable, Sendable {
    /// `webhook/0`.
    package var integration: String
    /// Empty on success; holds no secret.
    package var error: String
    /// The receiver's HTTP status; nil where no answer came.
    package var status: Int?

    package init(integration: String, error: String, status: Int? = nil) {
        self.integration = integration
        self.error = error
        self.status = status
    }
}

/// What the process and its settings are, as Prometheus' status pages show them.
package struct ServerFacts: Hashable, Sendable {
    package var startedAt: TimestampMS
    package var workingDirectory: String
    package var hostName: String
    package var coreCount: Int
    /// How long samples are kept: `30d`.
    package var retention: String
    /// Settings by the name of the Prometheus flag that means the same, without dashes.
    package var flags: [String: String]
    /// The settings that a Prometheus configuration file has, as such a file; holds no secret.
    package var configurationYAML: String

    package init(
        startedAt: TimestampMS = TimestampMS(0), workingDirectory: String = "/",
        hostName: String = "", coreCount: Int = 1, retention: String = "",
        flags: [String: String] = [:], configurationYAML: String = ""
    ) {
        self.startedAt = startedAt
        self.workingDirectory = workingDirectory
        self.hostName = hostName
        self.coreCount = coreCount
        self.retention = retention
        self.flags = flags
        self.configurationYAML = configurationYAML
    }
}

/// What the store holds of metrics.
package struct MetricExtent: Hashable, Sendable {
    package var chunkCount: Int
    /// Times of the oldest and the newest sample.
    package var first: TimestampMS
    package var last: TimestampMS

    package init(chunkCount: Int, first: TimestampMS, last: TimestampMS) {
        self.chunkCount = chunkCount
        self.first = first
        self.last = last
    }
}

/// What the HTTP surfaces show, given by the program that wires them.
package struct WebDependencies: Sendable {
    package var version: String
    /// Commit of the build; empty where unknown.
    package var revision: String
    package var clock: any WorldClock
    package var metrics: MetricQueryService
    package var logs: LogQueryService
    /// Where samples go that senders push.
    package var sampleWriter: any SampleWriter
    /// Where logs go that senders push; nil where none are taken.
    package var logWriter: (any LogWriter)? = nil
    package var logPush = LogPushConfiguration()
    package var exemplars: any ExemplarReader
    package var deleter: any SeriesDeleter
    /// Every rule group, in the order of files and of groups in them.
    package var ruleGroups: @Sendable () async -> [RuleGroupStatus]
    /// Alerts that are pending, firing or freshly resolved.
    package var alerts: @Sendable () async throws -> [AlertRecord]
    package var hosts: @Sendable () async throws -> [FleetHost]
    /// The newest attempts first, at most that many.
    package var deliveries:
        @Sendable (Int) async throws -> [(message: OutboxMessage, attempt: DeliveryAttempt)]
    /// Sends a test notification to the receiver of that name; nil where there is none.
    package var notifyTest: @Sendable (String) async throws -> [NotifyTestOutcome]?
    /// Throws while the collector can't do its work; the error's text says why.
    package var checkReadiness: @Sendable () async throws -> Void
    /// The collector's own metrics.
    package var ownMetrics: @Sendable () async -> [MetricFamily]
    package var server = ServerFacts()
    /// Writes all log lines that wait as blocks; how many that made.
    package var sealLogs: @Sendable () async throws -> Int = { 0 }
    /// Log entries as they are committed; nil where nobody can follow them.
    package var logFeed: (any LogFeed)?
    /// Nil while there are no samples.
    package var metricExtent: @Sendable () async throws -> MetricExtent? = { nil }
    /// What limits the number of series; nil where nothing does.
    package var seriesLimits: @Sendable () async -> SeriesLimitStatus? = { nil }

    package init(
        version: String, revision: String = "", clock: any WorldClock,
        metrics: MetricQueryService, logs: LogQueryService, sampleWriter: any SampleWriter,
        exemplars: any ExemplarReader, deleter: any SeriesDeleter,
        ruleGroups: @escaping @Sendable () async -> [RuleGroupStatus],
        alerts: @escaping @Sendable () async throws -> [AlertRecord],
        hosts: @escaping @Sendable () async throws -> [FleetHost],
        deliveries:
            @escaping @Sendable (Int) async throws -> [(
                message: OutboxMessage, attempt: DeliveryAttempt
            )],
        notifyTest: @escaping @Sendable (String) async throws -> [NotifyTestOutcome]?,
        checkReadiness: @escaping @Sendable () async throws -> Void,
        ownMetrics: @escaping @Sendable () async -> [MetricFamily]
    ) {
        self.version = version
        self.revision = revision
        self.clock = clock
        self.metrics = metrics
        self.logs = logs
        self.sampleWriter = sampleWriter
        self.exemplars = exemplars
        self.deleter = deleter
        self.ruleGroups = ruleGroups
        self.alerts = alerts
        self.hosts = hosts
        self.deliveries = deliveries
        self.notifyTest = notifyTest
        self.checkReadiness = checkReadiness
        self.ownMetrics = ownMetrics
    }
}
