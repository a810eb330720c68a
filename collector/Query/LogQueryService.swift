package import GoTemplate
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
    /// Lines before and after a line, each, that a query may ask for.
    package static let contextMax = 100
    /// Lines of an answer that are given with what is around them.
    package static let contextEntriesMax = 500

    package let limits: LogQueryLimits
    /// Names of the fields beside the lines of the streams that satisfy all matchers, or more names;
    /// nil where that is not known: then counts are only grouped by labels that all streams have.
    package var fieldNames: FieldNames?

    package typealias FieldNames = @Sendable ([LabelMatcher]) async throws -> Set<String>?

    let reader: any LogReader
    let clock: any WorldClock
    let executor: (any TaskExecutor)?
    /// The time zones of templates.
    let locations: GoLocations
    private let gate: QueryGate
    private let readingGate = QueryGate(runningMax: readingMax)

    /// `executor` is where answers are put together; nil: where the asker runs.
    package init(
        reader: any LogReader, clock: any WorldClock, executor: (any TaskExecutor)? = nil,
        gate: QueryGate = QueryGate(), limits: LogQueryLimits = LogQueryLimits(),
        locations: GoLocations = .utcAlone
    ) {
        self.locations = locations
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
        try checkExtensions(request)
        switch try Self.prepare(request.text) {
        case .log(let query):
            try checkEntries(request.entriesMax)
            return try await answer { [self] in try await entries(query, request) }
        case .metric(let expression):
            return try await numbers(
                expression, Self.steps(of: request), isCut: request.isCutAtSeriesMax)
        }
    }

    /// The times at which a metric query is evaluated: multiples of the step, from the last at or before `from` to the
    /// first at or after `to`, so that the points of a graph stay where they are as time goes on; nearly always they are
    /// whole minutes. A step counts in milliseconds. Source: Loki 3.6 `metricQuerySplitter.alignStartEnd`.
    private static func steps(of request: LogRangeRequest) -> MetricTimes {
        let step = max(1, request.stepNanoseconds / 1_000_000) * 1_000_000
        func down(_ time: TimestampNS) -> TimestampNS {
            let rest = time.rawValue % step
            return time.advanced(byNanoseconds: rest < 0 ? -step - rest : -rest)
        }
        let last = down(request.to)
        return .range(
            start: down(request.from),
            end: last == request.to ? last : last.advanced(byNanoseconds: step),
            stepNanoseconds: step)
    }

    /// A metric query at one time; with `isCutAtSeriesMax` too many series are cut, with a warning. Throws `QueryFailure`.
    package func instant(
        _ text: String, at time: TimestampNS, isCutAtSeriesMax: Bool = false
    ) async throws(QueryFailure) -> LogAnswer {
        switch try Self.prepare(text) {
        case .log:
            throw QueryFailure(
                .badData,
                "log queries are not supported as an instant query type, "
                    + "please change your query to a range query type")
        case .metric(let expression):
            return try await numbers(expression, .instant(time), isCut: isCutAtSeriesMax)
        }
    }

    /// The text of a query over as many lines as make it readable. Throws `QueryFailure`.
    package func format(_ text: String) throws(QueryFailure) -> String {
        do { return try LogQLParser.parse(text).pretty() } catch {
            throw QueryFailure(.badData, error.description)
        }
    }

    /// The matchers of selectors such as `{a="b"}`, one list a selector; an empty text stands for none. Of several none may
    /// be without matchers, for it would find all.
    package func matcherSets(_ selectors: [String]) throws(QueryFailure) -> [[LabelMatcher]] {
        var sets: [[LabelMatcher]] = []
        for selector in selectors where !selector.isEmpty {
            do {
                let matchers = try LogQLParser.parseMatchers(selector)
                guard matchers.isEmpty else {
                    sets.append(matchers)
                    continue
                }
            } catch { throw QueryFailure(.badData, error.description) }
            guard selectors.count == 1 else {
                throw QueryFailure(.badData, "0 matchers in group: \(selector)")
            }
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

    static func prepare(_ text: String) throws(QueryFailure) -> PreparedLogQL {
        do { return try PreparedLogQL.prepare(text) } catch { throw QueryFailure(error) }
    }

    /// Throws `badData` for a metric query, too. Source: Loki 3.6 `ParseLogSelector`.
    static func prepareLog(_ text: String) throws(QueryFailure) -> LogQuery {
        guard case .log(let query) = try prepare(text) else {
            throw QueryFailure(.badData, LogQLSyntaxError.onlySelector.description)
        }
        return query
    }

    /// Also of log queries, which have no steps. Source: Loki 3.6 `ParseRangeQuery`.
    private func checkSteps(_ request: LogRangeRequest) throws(QueryFailure) {
        try checkStep(request.stepNanoseconds, from: request.from, to: request.to)
        guard request.intervalNanoseconds >= 0 else {
            throw QueryFailure(.badData, "interval must be >= 0")
        }
    }

    /// What only Petrel has.
    private func checkExtensions(_ request: LogRangeRequest) throws(QueryFailure) {
        guard (0...Self.contextMax).contains(request.contextCount) else {
            throw QueryFailure(
                .badData, "petrel_context must be between 0 and \(Self.contextMax) lines")
        }
        guard request.contextCount == 0 || request.entriesMax <= Self.contextEntriesMax else {
            throw QueryFailure(
                .badData,
                "with petrel_context, limit must be at most \(Self.contextEntriesMax) lines "
                    + "(\(request.entriesMax) > \(Self.contextEntriesMax))")
        }
        guard
            !request.isPaged || request.distinctLabel == nil && request.intervalNanoseconds == 0
        else {
            throw QueryFailure(
                .badData,
                "petrel_after can't be combined with petrel_distinct or interval: "
                    + "what they leave out is not known to the next page")
        }
    }

    /// Throws `badData` where a step is not above 0, or has too many points between two times.
    package func checkStep(
        _ stepNanoseconds: Int64, from: TimestampNS, to: TimestampNS
    ) throws(QueryFailure) {
        guard stepNanoseconds > 0 else {
            throw QueryFailure(
                .badData,
                "zero or negative query resolution step widths are not accepted. "
                    + "Try a positive integer")
        }
        let (length, isOverflow) = to.rawValue.subtractingReportingOverflow(from.rawValue)
        let pointsMax = limits.metric.pointsMax
        guard !isOverflow, length / stepNanoseconds <= pointsMax else {
            throw QueryFailure(MetricError.tooManyPoints(pointsMax))
        }
    }

    /// Throws `badData` where an answer may not have so many entries.
    package func checkEntries(_ count: Int) throws(QueryFailure) {
        guard count <= limits.entriesMax else {
            throw QueryFailure(
                .badData,
                "max entries limit per query exceeded, limit > max_entries_limit_per_query "
                    + "(\(count) > \(limits.entriesMax))")
        }
    }

    /// Runs `body` when there is room and as long as there is time. The time in the queue counts, too.
    func answer(
        _ body: @escaping @Sendable () async throws -> LogAnswer
    ) async throws(QueryFailure) -> LogAnswer {
        let clock = clock
        let asked = clock.monotonicNanoseconds
        return try await whenThereIsRoom {
            let began = clock.monotonicNanoseconds
            var answer = try await body()
            answer.statistics.queueNanoseconds = began - asked
            answer.statistics.evaluationNanoseconds = clock.monotonicNanoseconds - began
            return answer
        }
    }

    /// The same for what is no answer of LogQL.
    func whenThereIsRoom<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws(QueryFailure) -> Value {
        let (gate, readingGate) = (gate, readingGate)
        do {
            return try await withQueryDeadline(
                milliseconds: limits.timeoutMilliseconds, clock: clock
            ) {
                try await gate.run { try await readingGate.run(body) }
            }
        } catch { throw QueryFailure(any: error) }
    }

    /// Reading ends soon after the asker went away: `body` runs on a thread without a task, where nobody would tell it.
    func forEachPage(
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

    /// Those of a pipeline's `equalities` that only a field beside the line can meet: no stream of the query has a label
    /// of that name.
    func fieldsWanted(
        _ equalities: [Label], _ matchers: [LabelMatcher]
    ) async throws -> [Label] {
        guard !equalities.isEmpty else { return [] }
        let streams = try await reader.logStreams(
            LabelScope(
                matcherSets: [matchers], start: TimestampMS(.min), end: TimestampMS(.max)))
        return equalities.filter { wanted in
            !streams.contains { !$0[wanted.name].isEmpty }
        }
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
        options.locations = locations
        options.distinctLabel = request.distinctLabel
        options.skippedTime = request.cursor?.timestamp
        options.skippedCount = request.cursor?.count ?? 0
        options.keepsFound = request.contextCount > 0
        var selection = LogSelection(
            matchers: query.matchers, needles: query.needles, from: request.from,
            to: request.to, direction: request.direction)
        if let time = request.cursor?.timestamp {
            switch request.direction {
            case .forward: selection.from = max(selection.from, time)
            case .backward: selection.to = min(selection.to, time.advanced(byNanoseconds: 1))
            }
        }
        selection.metadata = try await fieldsWanted(query.metadataEqualities, query.matchers)
        let collection = Mutex(LogCollection(query: query, options: options))
        try await forEachPage(selection) { page in
            try collection.withLock {
                try $0.process(
                    page.entries, streamIndexes: page.streamIndexes, streams: page.streams)
            }
        }
        var (answer, found) = collection.withLock {
            var statistics = LogStatistics()
            statistics.scannedLineCount = $0.scannedLineCount
            statistics.scannedByteCount = $0.scannedByteCount
            var answer = LogAnswer(.streams($0.streams), statistics)
            if request.isPaged { answer.paging = Self.paging($0, request) }
            return (answer, $0.found)
        }
        if request.contextCount > 0 {
            answer.value = .streams(try await LogContextReader(self, request).streams(of: found))
        }
        return answer
    }

    private static func paging(
        _ collection: LogCollection, _ request: LogRangeRequest
    ) -> LogAnswer.Paging {
        guard collection.isFull, let time = collection.lastTaken else { return .init(next: nil) }
        let before = request.cursor?.timestamp == time ? request.cursor?.count ?? 0 : 0
        return .init(
            next: LogCursor(timestamp: time, count: before + collection.lastTakenCount))
    }
}

/// Is set once, by any thread.
private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
