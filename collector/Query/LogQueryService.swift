import LogQL
import LogQLSyntax
package import Model
package import Storage
import Synchronization
package import World

/// Answers LogQL from a `LogReader`.
///
/// The gates bound how many queries run at once. Pages are looked at where the reader hands them over; putting a metric
/// query's answer together runs on an executor of its own, as PromQL does.
package struct LogQueryService: Sendable {
    /// Queries that read at once: each holds one of the store's connections for as long as it reads, and the metrics' readers
    /// need theirs.
    package static let readingMax = 4

    package let limits: LogQueryLimits
    private let reader: any LogReader
    private let clock: any WorldClock
    private let executor: (any TaskExecutor)?
    private let gate: QueryGate
    private let readingGate = QueryGate(runningMax: readingMax)

    /// `executor` is where answers are put together; nil: where the asker runs.
    package init(
        reader: any LogReader, clock: any WorldClock, executor: (any TaskExecutor)? = nil,
        gate: QueryGate = QueryGate(), limits: LogQueryLimits = LogQueryLimits()
    ) {
        self.reader = reader
        self.clock = clock
        self.executor = executor
        self.gate = gate
        self.limits = limits
    }

    /// Entries or points over a range of time. Throws `QueryFailure`.
    package func range(_ request: LogRangeRequest) async throws(QueryFailure) -> LogAnswer {
        guard request.from <= request.to else {
            throw QueryFailure(.badData, "end timestamp must not be before or equal to start time")
        }
        try checkSteps(request)
        switch try Self.prepare(request.text) {
        case .log(let query): return try await answer { try await entries(query, request) }
        case .metric(let expression):
            return try await numbers(
                expression,
                .range(
                    start: request.from, end: request.to, stepNanoseconds: request.stepNanoseconds))
        }
    }

    /// A metric query at one time. Throws `QueryFailure`.
    package func instant(
        _ text: String, at time: TimestampNS
    ) async throws(QueryFailure) -> LogAnswer {
        switch try Self.prepare(text) {
        case .log:
            throw QueryFailure(
                .badData,
                "log queries are not supported as an instant query type, "
                    + "please change your query to a range query type")
        case .metric(let expression): return try await numbers(expression, .instant(time))
        }
    }

    /// The text of a query over as many lines as make it readable. Throws `QueryFailure`.
    package func format(_ text: String) throws(QueryFailure) -> String {
        do { return try LogQLParser.parse(text).pretty() } catch {
            throw QueryFailure(.badData, error.description)
        }
    }

    /// The matchers of selectors such as `{a="b"}`, one list a selector; an empty text stands for none.
    package func matcherSets(_ selectors: [String]) throws(QueryFailure) -> [[LabelMatcher]] {
        var sets: [[LabelMatcher]] = []
        for selector in selectors where !selector.isEmpty {
            do {
                let matchers = try LogQLParser.parseMatchers(selector)
                if !matchers.isEmpty { sets.append(matchers) }
            } catch { throw QueryFailure(.badData, error.description) }
        }
        return sets
    }

    package func labelNames(_ scope: LabelScope) async throws(QueryFailure) -> [String] {
        do { return try await reader.logLabelNames(scope) } catch { throw QueryFailure(error) }
    }

    package func labelValues(
        _ name: String, _ scope: LabelScope
    ) async throws(QueryFailure) -> [String] {
        do { return try await reader.logLabelValues(name, scope) } catch {
            throw QueryFailure(error)
        }
    }

    package func streams(_ scope: LabelScope) async throws(QueryFailure) -> [Labels] {
        do { return try await reader.logStreams(scope) } catch { throw QueryFailure(error) }
    }

    private static func prepare(_ text: String) throws(QueryFailure) -> PreparedLogQL {
        do { return try PreparedLogQL.prepare(text) } catch { throw QueryFailure(error) }
    }

    /// Also of log queries, which have no steps. Source: Loki 3.6 `ParseRangeQuery`.
    private func checkSteps(_ request: LogRangeRequest) throws(QueryFailure) {
        guard request.stepNanoseconds > 0 else {
            throw QueryFailure(
                .badData,
                "zero or negative query resolution step widths are not accepted. "
                    + "Try a positive integer")
        }
        guard request.intervalNanoseconds >= 0 else {
            throw QueryFailure(.badData, "interval must be >= 0")
        }
        let (length, isOverflow) = request.to.rawValue.subtractingReportingOverflow(
            request.from.rawValue)
        let pointsMax = limits.metric.pointsMax
        guard !isOverflow, length / request.stepNanoseconds <= pointsMax else {
            throw QueryFailure(MetricError.tooManyPoints(pointsMax))
        }
    }

    /// Runs `body` when there is room and as long as there is time. The time in the queue counts, too.
    private func answer(
        _ body: @escaping @Sendable () async throws -> LogAnswer
    ) async throws(QueryFailure) -> LogAnswer {
        let service = self
        let asked = clock.monotonicNanoseconds
        do {
            return try await withQueryDeadline(
                milliseconds: limits.timeoutMilliseconds, clock: clock
            ) {
                try await service.gate.run {
                    try await service.readingGate.run {
                        let began = service.clock.monotonicNanoseconds
                        var answer = try await body()
                        answer.statistics.queueNanoseconds = began - asked
                        answer.statistics.evaluationNanoseconds =
                            service.clock.monotonicNanoseconds - began
                        return answer
                    }
                }
            }
        } catch { throw QueryFailure(any: error) }
    }
}

// Log queries.
extension LogQueryService {
    private func entries(_ query: LogQuery, _ request: LogRangeRequest) async throws -> LogAnswer {
        var options = LogQueryOptions(entriesMax: request.entriesMax)
        options.direction = request.direction == .forward ? .forward : .backward
        options.intervalNanoseconds = request.intervalNanoseconds
        options.hasCategories = request.hasCategories
        options.scannedBytesMax = limits.scannedBytesMax
        options.now = clock.now
        let collection = Mutex(LogCollection(query: query, options: options))
        try await forEachPage(
            LogSelection(
                matchers: query.matchers, needles: query.needles, from: request.from,
                to: request.to, direction: request.direction)
        ) { page in
            try collection.withLock {
                try $0.process(
                    page.entries, streamIndexes: page.streamIndexes, streams: page.streams)
            }
        }
        return collection.withLock {
            var statistics = LogStatistics()
            statistics.scannedLineCount = $0.scannedLineCount
            statistics.scannedByteCount = $0.scannedByteCount
            return LogAnswer(.streams($0.streams), statistics)
        }
    }

    /// Reading ends soon after the asker went away: `body` runs on a thread without a task, where nobody would tell it.
    private func forEachPage(
        _ selection: LogSelection, _ body: @escaping @Sendable (LogPage) throws -> Bool
    ) async throws {
        let isCancelled = Flag()
        try await withTaskCancellationHandler {
            try await reader.forEachPage(selection) { page in
                guard !isCancelled.isSet else { throw CancellationError() }
                return try body(page)
            }
        } onCancel: {
            isCancelled.set()
        }
        try Task.checkCancellation()
    }
}

// Metric queries.
extension LogQueryService {
    private func numbers(
        _ expression: MetricExpression, _ times: MetricTimes
    ) async throws(QueryFailure) -> LogAnswer {
        let plan: MetricPlan
        do { plan = try MetricPlan(expression, at: times, limits: limits.metric) } catch {
            throw QueryFailure(error)
        }
        return try await answer { try await numbers(plan) }
    }

    private func numbers(_ plan: MetricPlan) async throws -> LogAnswer {
        let run = Mutex(try MetricRun(plan))
        let bytesMax = limits.scannedBytesMax
        for (index, selection) in plan.selections.enumerated() {
            try await forEachPage(
                LogSelection(
                    matchers: selection.matchers, needles: selection.needles, from: selection.from,
                    to: selection.to, direction: .forward)
            ) { page in
                try run.withLock {
                    try $0.accept(page.entries, page.streamIndexes, page.streams, selection: index)
                    guard $0.scannedByteCount <= bytesMax else {
                        throw LogQLError.limit(.scannedBytes(max: bytesMax))
                    }
                }
                return true
            }
        }
        return try await withTaskExecutorPreference(executor) {
            try run.withLock {
                var statistics = LogStatistics()
                statistics.scannedLineCount = $0.scannedLineCount
                statistics.scannedByteCount = $0.scannedByteCount
                return LogAnswer(.metric(try $0.result()), statistics)
            }
        }
    }
}

/// Is set once, by any thread.
private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
