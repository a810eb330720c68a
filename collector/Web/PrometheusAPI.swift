import CollectorQuery
import Model
import World

/// `/prometheus/api/v1/…`. Source: Prometheus 3.14 `web/api/v1`, its documentation "HTTP API".
struct PrometheusAPI: Sendable {
    /// The warning of an answer that was cut.
    static let truncated = "results truncated due to limit"

    let dependencies: WebDependencies

    /// The answer; nil where `path` (after `/prometheus/api/v1`) is no endpoint of this API.
    func respond(_ request: WebRequest, path: ArraySlice<String>) async -> WebResponse? {
        let path = Array(path)
        guard let methods = Self.methods(of: path) else { return nil }
        guard methods.contains(request.method) else {
            var response = PrometheusEnvelope.failure(
                405, "bad_data",
                "method \(request.method) is not allowed here; use \(methods.joined(separator: " or "))"
            )
            response.headers.append((name: "allow", value: methods.joined(separator: ", ")))
            return response
        }
        do throws(QueryFailure) { return try await answer(path, request) } catch {
            return PrometheusEnvelope.failure(error)
        }
    }

    /// The methods that an endpoint answers to, GET standing for HEAD too; nil where there is no such endpoint.
    private static func methods(of path: [String]) -> [String]? {
        switch path {
        case ["query"], ["query_range"], ["query_exemplars"], ["format_query"], ["parse_query"],
            ["labels"], ["series"]:
            return ["GET", "POST"]
        case ["metadata"], ["rules"], ["alerts"], ["alertmanagers"], ["targets"],
            ["targets", "metadata"], ["targets", "relabel_steps"], ["scrape_pools"],
            ["scrape_pools", "config"], ["notifications"], ["notifications", "live"],
            ["status", "buildinfo"], ["status", "config"], ["status", "flags"],
            ["status", "runtimeinfo"], ["status", "tsdb"], ["status", "tsdb", "blocks"],
            ["status", "walreplay"], ["status", "self_metrics"]:
            return ["GET"]
        case ["admin", "tsdb", "delete_series"], ["admin", "tsdb", "clean_tombstones"],
            ["admin", "tsdb", "snapshot"]:
            return ["POST", "PUT"]
        case ["read"]: return ["POST"]
        default:
            // By POST too, which Grafana's suggestions use, and not by GET alone as in Prometheus.
            return path.count == 3 && path[0] == "label" && path[2] == "values"
                ? ["GET", "POST"] : nil
        }
    }

    private func answer(
        _ path: [String], _ request: WebRequest
    ) async throws(QueryFailure) -> WebResponse {
        let parameters = request.parameters
        switch path[0] {
        case "query": return try await query(parameters)
        case "query_range": return try await queryRange(parameters)
        case "query_exemplars": return try await exemplars(parameters)
        case "format_query": return try formatQuery(parameters)
        case "parse_query": return try parseQuery(parameters)
        case "series": return try await series(parameters)
        case "labels": return try await labels(parameters)
        case "label": return try await labelValues(path[1], parameters)
        case "metadata": return try await metadata(parameters)
        case "rules": return try await rules(parameters)
        case "alerts": return try await alerts()
        case "alertmanagers": return alertmanagers()
        case "targets": return try await targets(path.dropFirst(), parameters)
        case "scrape_pools": return try await scrapePools(path.dropFirst(), parameters)
        case "status": return try await status(path.dropFirst(), parameters)
        case "notifications":
            return path.count > 1
                ? WebResponse(status: 204) : PrometheusEnvelope.success { $0.array { _ in } }
        case "admin": return try await admin(path[2], parameters)
        default: return remoteRead()
        }
    }
}

// What parameters mean.
extension PrometheusAPI {
    static func invalid(_ name: String, _ reason: String) -> QueryFailure {
        QueryFailure(.badData, "invalid parameter \"\(name)\": \(reason)")
    }

    /// `failure`, said of the parameter `name` where its text is what is wrong.
    static func invalid(_ name: String, _ failure: QueryFailure) -> QueryFailure {
        failure.kind == .badData ? invalid(name, failure.message) : failure
    }

    /// A time that must be there.
    static func time(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> TimestampMS {
        guard let time = TimeParameters.milliseconds(parameters[name]) else {
            throw invalid(name, "cannot parse \(quoted(parameters[name])) to a valid timestamp")
        }
        return time
    }

    /// A time that may be left out.
    static func optionalTime(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> TimestampMS? {
        let text = parameters[name]
        guard !text.isEmpty else { return nil }
        guard let time = TimeParameters.milliseconds(text) else {
            throw invalid(
                name,
                "invalid time value for '\(name)': cannot parse \(quoted(text)) "
                    + "to a valid timestamp")
        }
        return time
    }

    /// What a metadata question is about: absent times are the ends of time, absent selectors everything.
    func scope(
        _ parameters: FormParameters
    ) throws(QueryFailure) -> MetricQueryService.Scope {
        let start = try Self.optionalTime("start", parameters)
        let end = try Self.optionalTime("end", parameters)
        return MetricQueryService.Scope(
            matcherSets: try matcherSets(parameters), start: start, end: end)
    }

    /// The selectors of `match[]`, each of which must exclude something.
    func matcherSets(_ parameters: FormParameters) throws(QueryFailure) -> [[LabelMatcher]] {
        let sets = try dependencies.metrics.matcherSets(parameters.all("match[]"))
        guard try SelectorSet(sets).areAllBounded else {
            throw QueryFailure(
                .badData, "match[] must contain at least one non-empty matcher")
        }
        return sets
    }

    /// Milliseconds.
    static func duration(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> Int64 {
        guard let milliseconds = milliseconds(parameters[name]) else {
            throw invalid(name, durationProblem(parameters[name]))
        }
        return milliseconds
    }

    static func milliseconds(_ text: String) -> Int64? {
        isTooLong(text) ? nil : TimeParameters.durationMilliseconds(text)
    }

    static func durationProblem(_ text: String) -> String {
        "cannot parse \(quoted(text)) to a valid duration"
            + (isTooLong(text) ? ". It overflows int64" : "")
    }

    /// Whether a number of seconds is more than 64 bits of nanoseconds.
    private static func isTooLong(_ text: String) -> Bool {
        Double(text).map { $0.magnitude * 1e9 >= 0x1p63 } ?? false
    }

    /// Nil: no limit.
    static func limit(_ parameters: FormParameters) throws(QueryFailure) -> Int? {
        let text = parameters["limit"]
        guard !text.isEmpty else { return nil }
        guard let limit = Int(text) else { throw invalid("limit", integerProblem(text)) }
        guard limit >= 0 else { throw invalid("limit", "limit must be non-negative") }
        return limit == 0 ? nil : limit
    }

    /// Why `text` is no integer, in Go's words. Source: Go `strconv.NumError`.
    static func integerProblem(_ text: String, function: String = "Atoi") -> String {
        let digits = text.first.map("+-".contains) == true ? text.dropFirst() : text[...]
        let isNumber = !digits.isEmpty && digits.utf8.allSatisfy { (48...57).contains($0) }
        return "strconv.\(function): parsing \(quoted(text)): "
            + (isNumber ? "value out of range" : "invalid syntax")
    }

    /// Source: Go `strconv.ParseBool`.
    static func boolean(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }

    static func quoted(_ text: String) -> String {
        var json = JSONWriter()
        json.string(text)
        return String(decoding: json.bytes, as: UTF8.self)
    }
}
