package import Model
package import PromQL
package import PromQLSyntax
package import Storage
package import World

/// A PromQL answer, ready for any surface.
package struct MetricAnswer: Sendable {
    package var value: QueryValue
    /// With positions, distinct, in ascending order.
    package var warnings: [String]
    package var infos: [String]
    package var statistics: MetricStatistics
    /// What the value takes of the budget of all queries; it is given back when the answer and all copies of this are gone.
    package var share: SampleShare?

    package init(
        value: QueryValue, warnings: [String] = [], infos: [String] = [],
        statistics: MetricStatistics = MetricStatistics()
    ) {
        self.value = value
        self.warnings = warnings
        self.infos = infos
        self.statistics = statistics
    }

    /// What `warnings` and `infos` say.
    private(set) var annotations: [Annotation] = []

    /// Makes `annotations` on the query `text` what there is to say.
    mutating func note(_ annotations: [Annotation], on text: String) {
        func texts(_ severity: Annotation.Severity) -> [String] {
            Set(annotations.filter { $0.severity == severity }.map { $0.text(in: text) })
                .sorted(by: bytesPrecede)
        }
        self.annotations = annotations
        warnings = texts(.warning)
        infos = texts(.info)
    }
}

/// What a query cost. Times are nanoseconds of the monotonic clock.
package struct MetricStatistics: Hashable, Sendable {
    /// Parsing and planning.
    package var preparationNanoseconds: Int64 = 0
    /// Waiting for a place among those that run.
    package var queueNanoseconds: Int64 = 0
    /// Reading and evaluating.
    package var evaluationNanoseconds: Int64 = 0
    /// Samples read from the store for the query.
    package var samplesRead = 0

    package init() {}
}

/// The bounds of metric queries.
package struct MetricQueryLimits: Hashable, Sendable {
    package var evaluation: QueryLimits
    package var read: ReadLimits
    /// The longest time one query may take, also where its asker grants more.
    package var timeoutMilliseconds: Int64

    package init(
        evaluation: QueryLimits = QueryLimits(), read: ReadLimits = ReadLimits(),
        timeoutMilliseconds: Int64 = 120_000
    ) {
        self.evaluation = evaluation
        self.read = read
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// Answers PromQL from a `MetricReader`.
///
/// Evaluation runs on an executor of its own, so that a long query never holds up the event loops or other tasks; the
/// gate bounds how many run at once.
package struct MetricQueryService: Sendable {
    /// What a request may choose for itself.
    package struct Options: Hashable, Sendable {
        /// Nil, or more than the limit: the limit.
        package var timeoutMilliseconds: Int64?
        /// Nil: five minutes.
        package var lookbackDeltaMilliseconds: Int64?
        /// Computes every step of a range anew.
        package var skipsCache = false

        package init() {}
    }

    /// What a metadata question is about; a nil end stands for the end of time on that side.
    package struct Scope: Hashable, Sendable {
        package var matcherSets: [[LabelMatcher]]
        package var start: TimestampMS?
        package var end: TimestampMS?

        package init(
            matcherSets: [[LabelMatcher]] = [], start: TimestampMS? = nil, end: TimestampMS? = nil
        ) {
            self.matcherSets = matcherSets
            self.start = start
            self.end = end
        }

        /// Within the years 1 to 9999, which every store can compare with.
        var bounded: LabelScope {
            let range: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999
            return LabelScope(
                matcherSets: matcherSets,
                start: TimestampMS(
                    start.map { $0.rawValue.clamped(to: range) } ?? range.lowerBound),
                end: TimestampMS(end.map { $0.rawValue.clamped(to: range) } ?? range.upperBound))
        }
    }

    package let limits: MetricQueryLimits
    /// What of PromQL is understood beyond its stable part.
    package let features: Set<PromQLFeature>
    let reader: any MetricReader
    let budget: SampleBudget
    let clock: any WorldClock
    let gate: QueryGate
    let lookupGate = QueryGate(runningMax: lookupsRunningMax)
    let executor: any TaskExecutor
    let lookupExecutor: any TaskExecutor
    private let cache = RangeAnswerCache()

    /// `budget` is what all queries of the service hold in memory together; nil: as much as one may read. Questions about
    /// series and labels run on `lookupExecutor`; nil: where queries run.
    package init(
        reader: any MetricReader, clock: any WorldClock, executor: any TaskExecutor,
        lookupExecutor: (any TaskExecutor)? = nil, gate: QueryGate = QueryGate(),
        limits: MetricQueryLimits = MetricQueryLimits(), budget: SampleBudget? = nil,
        features: Set<PromQLFeature> = []
    ) {
        self.reader = reader
        self.budget = budget ?? SampleBudget(samplesMax: limits.read.samplesMax)
        self.clock = clock
        self.executor = executor
        self.lookupExecutor = lookupExecutor ?? executor
        self.gate = gate
        self.limits = limits
        self.features = features
    }

    /// The value of `text` at `time`. Throws `QueryFailure`.
    package func instant(
        _ text: String, at time: TimestampMS, options: Options = Options()
    ) async throws(QueryFailure) -> MetricAnswer {
        var parameters = QueryParameters(
            at: time, lookbackDeltaMS: options.lookbackDeltaMilliseconds ?? 300_000,
            limits: limits.evaluation)
        parameters.usesStartTimestamps = features.contains(.startTimestamps)
        parameters.delaysNameRemoval = features.contains(.delayedNameRemoval)
        return try await answer(text, parameters, options)
    }

    /// The values of `text` from `start` through `end`, every `stepMilliseconds` (above 0). Throws `QueryFailure`.
    package func range(
        _ text: String, from start: TimestampMS, through end: TimestampMS,
        stepMilliseconds: Int64, options: Options = Options()
    ) async throws(QueryFailure) -> MetricAnswer {
        let (span, overflow) = end.rawValue.subtractingReportingOverflow(start.rawValue)
        guard !overflow, span / stepMilliseconds <= Int64(limits.evaluation.stepsMax) else {
            let error = QueryError.stepsExceeded(max: limits.evaluation.stepsMax)
            throw QueryFailure(.badData, error.description)
        }
        var parameters = QueryParameters(
            start: start, end: end, stepMS: stepMilliseconds,
            lookbackDeltaMS: options.lookbackDeltaMilliseconds ?? 300_000,
            limits: limits.evaluation)
        parameters.usesStartTimestamps = features.contains(.startTimestamps)
        parameters.delaysNameRemoval = features.contains(.delayedNameRemoval)
        return try await range(text, parameters, options)
    }

    /// The steps that the cache does not know are computed, the others taken from it.
    private func range(
        _ text: String, _ parameters: QueryParameters, _ options: Options
    ) async throws(QueryFailure) -> MetricAnswer {
        let query = try prepare(text, parameters)
        guard !options.skipsCache, query.isSeparable,
            let range = CachedRange(
                text, parameters, now: clock.now.milliseconds.rawValue, cache: cache,
                history: { reader.historyChange(since: $0) })
        else { return try await answer(text, parameters, options) }
        var computed: MetricAnswer?
        if let first = range.firstUnknown {
            var rest = parameters
            rest.start = TimestampMS(first)
            computed = try await answer(text, rest, options)
        }
        return range.joined(&computed, keepingIn: cache)
    }

    /// The tree of a query. Throws `QueryFailure` with the parser's text alone: `badData`, or `execution` for one that is
    /// too long or too deep.
    package func syntax(_ text: String) throws(QueryFailure) -> Expression {
        let language = PromQLParserOptions(features)
        do { return try PromQLParser.parse(text, options: language) } catch {
            throw Self.failure(error)
        }
    }

    private static func failure(_ error: PromQLParseError) -> QueryFailure {
        QueryFailure(error.isOfSize ? .execution : .badData, error.description)
    }

    /// The matchers of selectors such as `up{job="a"}`, one list a selector. Throws as `syntax`.
    package func matcherSets(_ selectors: [String]) throws(QueryFailure) -> [[LabelMatcher]] {
        var sets: [[LabelMatcher]] = []
        for selector in selectors {
            do { sets.append(try PromQLParser.parseSelector(selector)) } catch {
                throw Self.failure(error)
            }
        }
        return sets
    }

    /// The service's own metrics.
    package func metricFamilies() -> [MetricFamily] {
        let counts = cache.counts
        return [
            MetricFamily(
                "petrel_query_range_cache_total", .counter,
                help: "Range queries by what of their steps was known from answers before.",
                points: [
                    MetricFamily.Point(["known": "all"], Double(counts.whole)),
                    MetricFamily.Point(["known": "some"], Double(counts.partial)),
                    MetricFamily.Point(["known": "none"], Double(counts.none)),
                ]),
            MetricFamily(
                "petrel_query_range_cache_bytes", .gauge,
                help: "Bytes of answers that are kept in memory.",
                points: [MetricFamily.Point([:], Double(counts.byteCount))]),
            MetricFamily(
                "petrel_query_samples_held", .gauge,
                help:
                    "Samples and points that queries hold in memory, until their answers are sent.",
                points: [MetricFamily.Point([:], Double(budget.held))]),
        ]
    }

    private func answer(
        _ text: String, _ parameters: QueryParameters, _ options: Options
    ) async throws(QueryFailure) -> MetricAnswer {
        let start = clock.monotonicNanoseconds
        let query = try prepare(text, parameters)
        let timeout = min(
            options.timeoutMilliseconds ?? limits.timeoutMilliseconds, limits.timeoutMilliseconds)
        guard timeout > 0 else {
            throw QueryFailure(.timeout, "query timed out in query execution")
        }
        let prepared = clock.monotonicNanoseconds
        let service = self
        do {
            // The time in the queue counts too.
            let ((result, share), began) = try await withQueryDeadline(
                milliseconds: timeout, clock: clock
            ) {
                try await service.gate.run {
                    let began = service.clock.monotonicNanoseconds
                    return (try await service.evaluate(query), began)
                }
            }
            var answer = Self.answer(result, text)
            answer.share = share
            answer.statistics.preparationNanoseconds = prepared - start
            answer.statistics.queueNanoseconds = began - prepared
            answer.statistics.evaluationNanoseconds = clock.monotonicNanoseconds - began
            return answer
        } catch { throw QueryFailure(any: error) }
    }

    private func prepare(
        _ text: String, _ parameters: QueryParameters
    ) throws(QueryFailure) -> PreparedQuery {
        do { return try PreparedQuery(try syntax(text), parameters: parameters) } catch {
            throw Self.preparationFailure(error)
        }
    }

    /// What is wrong with the query's own text is said of the parameter that it came in.
    private static func preparationFailure(_ error: any Error) -> QueryFailure {
        switch error {
        case let failure as QueryFailure where failure.kind == .badData:
            QueryFailure(.badData, "invalid parameter \"query\": \(failure.message)")
        case let error as QueryError:
            if case .invalidRangeQueryType = error {
                QueryFailure(.badData, "invalid parameter \"query\": \(error)")
            } else {
                QueryFailure(any: error)
            }
        default: QueryFailure(any: error)
        }
    }

    private func evaluate(
        _ query: PreparedQuery
    ) async throws -> (result: QueryResult, share: SampleShare) {
        let selections = query.selections.map {
            SeriesSelection(matchers: $0.matchers, after: $0.after, through: $0.through)
        }
        let share = SampleShare(of: budget)
        let reader = reader
        let limits = limits.read
        // Decoding is as long a work as evaluating: neither may take the threads that all else runs on.
        let result = try await withTaskExecutorPreference(executor) {
            let data =
                selections.isEmpty
                ? [] : try await reader.select(selections, limits: limits, share: share)
            try Task.checkCancellation()
            // Parts of it run on threads without a task, where `Task.isCancelled` is false.
            return try withUnsafeCurrentTask { task in
                try query.evaluate(
                    data, isCancelled: { task?.isCancelled == true },
                    mayHold: { share.grow(to: $0) })
            }
        }
        share.shrink(to: result.value.weight)
        return (result, share)
    }

    private static func answer(_ result: QueryResult, _ text: String) -> MetricAnswer {
        var answer = MetricAnswer(value: result.value)
        answer.note(result.annotations, on: text)
        answer.statistics.samplesRead = result.samplesRead
        return answer
    }
}

extension Int64 {
    fileprivate func clamped(to range: ClosedRange<Int64>) -> Int64 {
        Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
    }
}
