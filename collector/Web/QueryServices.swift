package import CollectorQuery
package import GoTemplate
import PromQL
package import PromQLSyntax
package import Storage
package import World

/// PromQL for people and PromQL for rules. They share the store alone: neither places, memory nor threads, so that a crowd
/// at the dashboards, or two long queries, keep no alert from being evaluated.
package struct QueryServices: Sendable {
    /// What `limits` of `collector.yaml` says.
    package struct Limits: Hashable, Sendable {
        /// Queries of people that run at once.
        package var runningMax = 20
        /// The longest time of one query.
        package var timeoutMilliseconds: Int64 = 120_000
        /// Samples that one query reads; a rule's holds no more than that either.
        package var samplesMax = 20_000_000
        /// Samples and points that the queries of people hold in memory together, and so the most that one may hold.
        package var samplesTotalMax = 40_000_000
        /// Series that one query reads in all, and rows of each of its parts.
        package var seriesMax = 200_000
        /// Points of one answer.
        package var pointsMax = 10_000_000

        package init() {}
    }

    /// Rules evaluated at once; the others wait.
    private static let rulesRunningMax = 4

    /// Whatever comes over HTTP.
    package let metrics: MetricQueryService
    /// What rules ask.
    package let rules: MetricQueryService
    private let gate: QueryGate
    private let clock: any WorldClock
    private let limits: Limits
    private let executors: [QueryExecutor]
    private let locations: GoLocations

    /// Starts the threads: for people's queries more than there are likely processors, so that a short one shares time with
    /// long ones and waits for none; one for their questions about series and labels, one for rules. End them with `shutDown`.
    package init(
        reader: any MetricReader, clock: any WorldClock, limits: Limits = Limits(),
        features: Set<PromQLFeature> = [], locations: GoLocations = .utcAlone
    ) {
        self.locations = locations
        executors = [8, 1, 1].map { QueryExecutor(threadCount: $0) }
        gate = QueryGate(runningMax: limits.runningMax)
        self.clock = clock
        self.limits = limits
        var bounds = MetricQueryLimits(timeoutMilliseconds: limits.timeoutMilliseconds)
        bounds.read.samplesMax = limits.samplesMax
        bounds.read.seriesMax = limits.seriesMax
        bounds.evaluation.seriesMax = limits.seriesMax
        bounds.evaluation.pointsMax = limits.pointsMax
        // What would not fit with nobody else there is refused for good, not asked to come again.
        bounds.evaluation.samplesMax = limits.samplesTotalMax
        metrics = MetricQueryService(
            reader: reader, clock: clock, executor: executors[0], lookupExecutor: executors[1],
            gate: gate, limits: bounds, budget: SampleBudget(samplesMax: limits.samplesTotalMax),
            features: features)
        bounds.evaluation.samplesMax = limits.samplesMax
        bounds.evaluation.threadsMax = 1
        rules = MetricQueryService(
            reader: reader, clock: clock, executor: executors[2],
            gate: QueryGate(runningMax: Self.rulesRunningMax), limits: bounds, features: features)
    }

    /// LogQL for people: in the places, on the threads and in the time of their other queries.
    package func logs(_ reader: any LogReader) -> LogQueryService {
        LogQueryService(
            reader: reader, clock: clock, executor: executors[0], gate: gate,
            limits: LogQueryLimits(timeoutMilliseconds: limits.timeoutMilliseconds),
            locations: locations)
    }

    /// Ends the threads after what runs.
    package func shutDown() async throws {
        for executor in executors { try await executor.shutDown() }
    }
}
