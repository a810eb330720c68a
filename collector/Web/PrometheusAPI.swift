import CollectorQuery
import Model
import PromQL
import World

/// `/prometheus/api/v1/…`. Source: Prometheus 3.14 `web/api/v1`, its documentation "HTTP API".
struct PrometheusAPI: Sendable {
    let dependencies: WebDependencies

    /// The answer; nil where `path` (after `/prometheus/api/v1`) or the method is no endpoint of this API.
    func respond(_ request: WebRequest, path: ArraySlice<String>) async -> WebResponse? {
        let parameters = request.parameters
        do throws(QueryFailure) {
            switch Array(path) {
            case ["query"]: return try await query(parameters)
            case ["query_range"]: return try await queryRange(parameters)
            case ["query_exemplars"]: return try exemplars(parameters)
            case ["format_query"]: return try formatQuery(parameters)
            case ["series"]: return try await series(parameters)
            case ["labels"]: return try await labels(parameters)
            case ["metadata"]: return try await metadata(parameters)
            case ["status", "buildinfo"]: return buildInformation()
            case ["rules"]: return await rules(parameters)
            case ["alerts"]: return try await alerts()
            case let path where path.count == 3 && path[0] == "label" && path[2] == "values":
                return try await labelValues(path[1], parameters)
            default: return nil
            }
        } catch { return PrometheusEnvelope.failure(error) }
    }

    private func query(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        let time =
            parameters["time"].isEmpty
            ? dependencies.clock.now.milliseconds : try Self.time("time", parameters)
        let answer = try await dependencies.metrics.instant(
            parameters["query"], at: time, options: try Self.options(parameters))
        return Self.response(answer, limit: limit)
    }

    private func queryRange(
        _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
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
        return Self.response(answer, limit: limit)
    }

    /// Petrel stores no exemplars, so no query has any; what is no query is refused all the same.
    private func exemplars(_ parameters: FormParameters) throws(QueryFailure) -> WebResponse {
        let start = try Self.time("start", parameters)
        guard try Self.time("end", parameters) >= start else {
            throw QueryFailure(.badData, "end timestamp must not be before start timestamp")
        }
        _ = try dependencies.metrics.format(parameters["query"])
        return PrometheusEnvelope.success { $0.array { _ in } }
    }

    private func formatQuery(_ parameters: FormParameters) throws(QueryFailure) -> WebResponse {
        let text = try dependencies.metrics.format(parameters["query"])
        return PrometheusEnvelope.success { $0.string(text) }
    }

    private func buildInformation() -> WebResponse {
        let dependencies = dependencies
        // No `features`: Grafana takes any for a Mimir. The version is the Prometheus whose API this is, for Grafana
        // decides by it what to call.
        return PrometheusEnvelope.success { json in
            json.object { json in
                for (key, value) in [
                    ("version", "3.14.0"), ("revision", dependencies.revision),
                    ("branch", "petrel-\(dependencies.version)"), ("buildUser", ""),
                    ("buildDate", ""), ("goVersion", ""),
                ] {
                    json.key(key)
                    json.string(value)
                }
            }
        }
    }

    private static func response(_ answer: MetricAnswer, limit: Int?) -> WebResponse {
        var warnings = answer.warnings
        let count =
            switch answer.value {
            case .vector(let elements): elements.count
            case .matrix(let series): series.count
            case .scalar, .string: 0
            }
        if let limit, count > limit { warnings.append(truncated) }
        return PrometheusEnvelope.success(
            warnings: warnings, infos: answer.infos, capacity: 64 * 1024
        ) {
            PrometheusEnvelope.value(answer.value, limit: limit ?? .max, to: &$0)
        }
    }

    static let truncated = "results truncated due to limit"
}

// What parameters mean.
extension PrometheusAPI {
    static func invalid(_ name: String, _ reason: String) -> QueryFailure {
        QueryFailure(.badData, "invalid parameter \"\(name)\": \(reason)")
    }

    static func time(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> TimestampMS {
        guard let time = TimeParameters.milliseconds(parameters[name]) else {
            throw invalid(name, "cannot parse \(quoted(parameters[name])) to a valid timestamp")
        }
        return time
    }

    /// The times of a metadata question; absent ones are the ends of time.
    static func scope(
        _ parameters: FormParameters, _ matcherSets: [[LabelMatcher]]
    ) throws(QueryFailure) -> MetricQueryService.Scope {
        let start = parameters["start"].isEmpty ? nil : try time("start", parameters)
        let end = parameters["end"].isEmpty ? nil : try time("end", parameters)
        return MetricQueryService.Scope(matcherSets: matcherSets, start: start, end: end)
    }

    static func duration(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> Int64 {
        guard let milliseconds = TimeParameters.durationMilliseconds(parameters[name]) else {
            throw invalid(name, "cannot parse \(quoted(parameters[name])) to a valid duration")
        }
        return milliseconds
    }

    /// Nil: no limit.
    static func limit(_ parameters: FormParameters) throws(QueryFailure) -> Int? {
        let text = parameters["limit"]
        guard !text.isEmpty else { return nil }
        guard let limit = Int(text) else {
            throw invalid("limit", "strconv.Atoi: parsing \(quoted(text)): invalid syntax")
        }
        guard limit >= 0 else { throw invalid("limit", "limit must be non-negative") }
        return limit == 0 ? nil : limit
    }

    private static func options(
        _ parameters: FormParameters
    ) throws(QueryFailure) -> MetricQueryService.Options {
        var options = MetricQueryService.Options()
        if !parameters["timeout"].isEmpty {
            options.timeoutMilliseconds = max(0, try duration("timeout", parameters))
        }
        if !parameters["lookback_delta"].isEmpty {
            let lookback = try duration("lookback_delta", parameters)
            guard lookback > 0 else { throw invalid("lookback_delta", "must be positive") }
            options.lookbackDeltaMilliseconds = lookback
        }
        return options
    }

    private static func quoted(_ text: String) -> String {
        var json = JSONWriter()
        json.string(text)
        return String(decoding: json.bytes, as: UTF8.self)
    }
}
