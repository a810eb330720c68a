import CollectorQuery
import Model
import PromQL
import PromQLSyntax
import Storage
import World

// Questions in PromQL.
extension PrometheusAPI {
    func query(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        let time =
            try Self.optionalTime("time", parameters) ?? dependencies.clock.now.milliseconds
        let answer = try await dependencies.metrics.instant(
            parameters["query"], at: time, options: try Self.options(parameters))
        return Self.response(answer, limit: limit, statistics: parameters["stats"])
    }

    func queryRange(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        let start = try Self.time("start", parameters)
        let end = try Self.time("end", parameters)
        guard end >= start else {
            throw Self.invalid("end", "end timestamp must not be before start time")
        }
        let step = try Self.duration("step", parameters)
        guard step > 0 else {
            throw Self.invalid(
                "step",
                "zero or negative query resolution step widths are not accepted. "
                    + "Try a positive integer")
        }
        let answer = try await dependencies.metrics.range(
            parameters["query"], from: start, through: end, stepMilliseconds: step,
            options: try Self.options(parameters))
        return Self.response(answer, limit: limit, statistics: parameters["stats"])
    }

    /// Exemplars of one answer.
    private static let exemplarsMax = 50_000

    /// Those of all series that any of the query's selectors matches, whatever their offsets. A query without a selector
    /// is answered with nothing at all, as Prometheus does.
    func exemplars(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let start = try Self.optionalTime("start", parameters) ?? TimestampMS(.min)
        let end = try Self.optionalTime("end", parameters) ?? TimestampMS(.max)
        guard end >= start else {
            throw QueryFailure(.badData, "end timestamp must not be before start timestamp")
        }
        let selectors = try dependencies.metrics.syntax(parameters["query"]).selectors
        guard !selectors.isEmpty else { return WebResponse(status: 204) }
        let selection = ExemplarSelection(
            matcherSets: selectors.map(\.matchers), start: start, end: end)
        let exemplars = dependencies.exemplars
        let found = try await dependencies.metrics.lookUp {
            try await exemplars.exemplars(selection, exemplarsMax: Self.exemplarsMax)
        }
        return PrometheusEnvelope.exemplars(found)
    }

    func formatQuery(_ parameters: FormParameters) throws(QueryFailure) -> WebResponse {
        let text = try syntax(parameters).prettyDescription()
        return PrometheusEnvelope.success { $0.string(text) }
    }

    func parseQuery(_ parameters: FormParameters) throws(QueryFailure) -> WebResponse {
        let expression = try syntax(parameters)
        guard ExpressionJSON.isShallow(expression) else {
            throw QueryFailure(
                .execution,
                "the expression is nested deeper than \(ExpressionJSON.depthMax) levels, "
                    + "too deep for its tree to be shown")
        }
        return PrometheusEnvelope.success { ExpressionJSON.write(expression, to: &$0) }
    }

    private func syntax(_ parameters: FormParameters) throws(QueryFailure) -> Expression {
        do { return try dependencies.metrics.syntax(parameters["query"]) } catch {
            throw Self.invalid("query", error)
        }
    }

    private static func options(
        _ parameters: FormParameters
    ) throws(QueryFailure) -> MetricQueryService.Options {
        var options = MetricQueryService.Options()
        if !parameters["timeout"].isEmpty {
            options.timeoutMilliseconds = max(0, try duration("timeout", parameters))
        }
        // A word of ours, by VictoriaMetrics' name for it.
        options.skipsCache = ["1", "true"].contains(parameters["nocache"])
        let lookback = parameters["lookback_delta"]
        if !lookback.isEmpty {
            guard let delta = milliseconds(lookback) else {
                throw QueryFailure(
                    .badData,
                    "error parsing lookback delta duration: \(durationProblem(lookback))")
            }
            // Anything but a positive one stands for the usual one.
            if delta > 0 { options.lookbackDeltaMilliseconds = delta }
        }
        return options
    }

    private static func response(
        _ answer: MetricAnswer, limit: Int?, statistics: String
    ) -> WebResponse {
        var warnings = answer.warnings
        let count =
            switch answer.value {
            case .vector(let elements): elements.count
            case .matrix(let series): series.count
            case .scalar, .string: 0
            }
        // First, so that it is never among those left out.
        if let limit, count > limit { warnings.insert(truncated, at: 0) }
        if !["", "true", "all"].contains(statistics) {
            warnings.append(
                "value \(quoted(statistics)) for parameter \"stats\" is deprecated and will be "
                    + "rejected in the next major release, use \"true\" or \"all\"")
        }
        return PrometheusEnvelope.success(
            warnings: warnings, infos: answer.infos,
            QueryValuePieces(
                answer.value, limit: limit ?? .max,
                statistics: statistics.isEmpty ? nil : answer.statistics, share: answer.share))
    }
}
