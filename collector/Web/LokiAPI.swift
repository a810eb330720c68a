import CollectorQuery
import Model
import Storage
import World

/// `/loki/api/v1/…`. Source: Loki's documentation "HTTP API".
struct LokiAPI: Sendable {
    /// How far back a query looks that names no start.
    private static let queryRangeNanoseconds: Int64 = 3600 * 1_000_000_000
    /// How far back a question about labels looks that names no start.
    private static let labelRangeNanoseconds: Int64 = 6 * 3600 * 1_000_000_000
    /// Points of a range of time when no step is given.
    private static let defaultPointCount: Int64 = 250

    let dependencies: WebDependencies

    /// The answer; nil where `path` (after `/loki/api/v1`) is no endpoint of this API.
    func respond(_ request: WebRequest, path: ArraySlice<String>) async -> WebResponse? {
        let parameters = request.parameters
        do throws(QueryFailure) {
            switch Array(path) {
            case ["query"]: return try await query(request)
            case ["query_range"]: return try await queryRange(request)
            case ["labels"], ["label"]: return try await labels(parameters)
            case ["series"]: return try await series(parameters)
            case ["index", "stats"]: return try await indexStatistics(parameters)
            case ["format_query"]: return formatQuery(parameters)
            case ["status", "buildinfo"]: return buildInformation()
            case let path where path.count == 3 && path[0] == "label" && path[2] == "values":
                return try await labelValues(path[1], parameters)
            default: return nil
            }
        } catch { return LokiEnvelope.failure(error) }
    }

    private func query(_ request: WebRequest) async throws(QueryFailure) -> WebResponse {
        let parameters = request.parameters
        _ = try limit(parameters)
        let time =
            parameters["time"].isEmpty
            ? dependencies.clock.now : try Self.time("time", parameters)
        _ = try Self.direction(parameters)
        let answer = try await dependencies.logs.instant(parameters["query"], at: time)
        return LokiEnvelope.answer(answer, hasCategories: Self.wantsCategories(request))
    }

    private func queryRange(_ request: WebRequest) async throws(QueryFailure) -> WebResponse {
        let parameters = request.parameters
        let (from, to) = try bounds(parameters, rangeNanoseconds: Self.queryRangeNanoseconds)
        var wanted = LogRangeRequest(
            text: parameters["query"], from: from, to: to, entriesMax: try limit(parameters),
            direction: try Self.direction(parameters),
            stepNanoseconds: try Self.duration("step", parameters)
                ?? Self.defaultStepNanoseconds(from, to))
        wanted.intervalNanoseconds = try Self.duration("interval", parameters) ?? 0
        wanted.hasCategories = Self.wantsCategories(request)
        let answer = try await dependencies.logs.range(wanted)
        return LokiEnvelope.answer(answer, hasCategories: wanted.hasCategories)
    }

    private func labels(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let scope = try scope(parameters, [parameters["query"]])
        let names = try await dependencies.logs.labelNames(scope)
        return LokiEnvelope.success { PrometheusEnvelope.strings(names, to: &$0) }
    }

    private func labelValues(
        _ name: String, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        let scope = try scope(parameters, [parameters["query"]])
        let values = try await dependencies.logs.labelValues(name, scope)
        return LokiEnvelope.success { PrometheusEnvelope.strings(values, to: &$0) }
    }

    private func series(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let selectors = parameters.all("match[]") + parameters.all("match")
        let scope = try scope(parameters, selectors)
        let streams = try await dependencies.logs.streams(scope)
        return LokiEnvelope.success { json in
            json.array { json in
                for labels in streams { PrometheusEnvelope.labels(labels, to: &json) }
            }
        }
    }

    /// A bare object. Only streams are counted: entries and bytes would need a read of all of them.
    private func indexStatistics(
        _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        let scope = try scope(parameters, [parameters["query"]])
        let streams = try await dependencies.logs.streams(scope)
        var json = JSONWriter()
        json.object { json in
            json.key("streams")
            json.number(Int64(streams.count))
            for key in ["chunks", "entries", "bytes"] {
                json.key(key)
                json.number(Int64(0))
            }
        }
        return .json(json)
    }

    private func formatQuery(_ parameters: FormParameters) -> WebResponse {
        var json = JSONWriter()
        do {
            let text = try dependencies.logs.format(parameters["query"])
            json.object { json in
                json.key("status")
                json.string("success")
                json.key("data")
                json.string(text)
            }
            return .json(json)
        } catch {
            json.object { json in
                json.key("status")
                json.string("invalid-query")
                json.key("error")
                json.string(error.message)
            }
            return .json(json, status: 400)
        }
    }

    /// A bare object; the version is the Loki whose API this is.
    private func buildInformation() -> WebResponse {
        var json = JSONWriter()
        json.object { json in
            for (key, value) in [
                ("version", "3.6.0"), ("revision", dependencies.revision),
                ("branch", "petrel-\(dependencies.version)"), ("buildUser", ""),
                ("buildDate", ""), ("goVersion", ""),
            ] {
                json.key(key)
                json.string(value)
            }
        }
        return .json(json)
    }
}

// What parameters mean.
extension LokiAPI {
    /// `from` and `to`; `since` counts back from `to`.
    private func bounds(
        _ parameters: FormParameters, rangeNanoseconds: Int64
    ) throws(QueryFailure) -> (from: TimestampNS, to: TimestampNS) {
        let now = dependencies.clock.now
        let to = parameters["end"].isEmpty ? now : try Self.time("end", parameters)
        guard parameters["start"].isEmpty else { return (try Self.time("start", parameters), to) }
        var range = rangeNanoseconds
        if !parameters["since"].isEmpty {
            guard let since = PrometheusDuration(parameters["since"]) else {
                throw QueryFailure(
                    .badData, "could not parse 'since' parameter: \(parameters["since"])")
            }
            range = since.milliseconds.multipliedReportingOverflow(by: 1_000_000).partialValue
        }
        // A start in the future of `end` would make an empty range of a query that named only an old end.
        return (min(to, now).advanced(byNanoseconds: -range), to)
    }

    private func scope(
        _ parameters: FormParameters, _ selectors: [String]
    ) throws(QueryFailure) -> LabelScope {
        let (from, to) = try bounds(parameters, rangeNanoseconds: Self.labelRangeNanoseconds)
        return LabelScope(
            matcherSets: try dependencies.logs.matcherSets(selectors),
            start: from.milliseconds, end: to.milliseconds)
    }

    private func limit(_ parameters: FormParameters) throws(QueryFailure) -> Int {
        let text = parameters["limit"]
        guard !text.isEmpty else { return 100 }
        guard let limit = Int(text) else {
            throw QueryFailure(.badData, "strconv.ParseUint: parsing \"\(text)\": invalid syntax")
        }
        guard limit > 0 else { throw QueryFailure(.badData, "limit must be a positive value") }
        let maximum = dependencies.logs.limits.entriesMax
        guard limit <= maximum else {
            throw QueryFailure(
                .badData,
                "max entries limit per query exceeded, limit > max_entries_limit_per_query "
                    + "(\(limit) > \(maximum))")
        }
        return limit
    }

    private static func time(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> TimestampNS {
        guard let time = TimeParameters.nanoseconds(parameters[name]) else {
            throw QueryFailure(
                .badData,
                "could not parse '\(name)' parameter: \(parameters[name]) is neither nanoseconds, "
                    + "nor seconds, nor RFC 3339")
        }
        return time
    }

    private static func direction(
        _ parameters: FormParameters
    ) throws(QueryFailure) -> LogSelection.Direction {
        let text = parameters["direction"]
        guard !text.isEmpty else { return .backward }
        guard let direction = LogSelection.Direction(rawValue: text.lowercased()) else {
            throw QueryFailure(.badData, "invalid direction '\(text)'")
        }
        return direction
    }

    /// Whole seconds, at least one.
    private static func defaultStepNanoseconds(_ from: TimestampNS, _ to: TimestampNS) -> Int64 {
        let seconds =
            (to.milliseconds.rawValue - from.milliseconds.rawValue) / 1000 / defaultPointCount
        return max(1, seconds) * 1_000_000_000
    }

    /// In nanoseconds; nil where there is none.
    private static func duration(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> Int64? {
        let text = parameters[name]
        guard !text.isEmpty else { return nil }
        guard let duration = TimeParameters.durationNanoseconds(text) else {
            throw QueryFailure(.badData, "cannot parse \"\(text)\" to a valid duration")
        }
        return duration
    }

    private static func wantsCategories(_ request: WebRequest) -> Bool {
        (request.headers["x-loki-response-encoding-flags"] ?? "").split(separator: ",")
            .contains { $0.filter { $0 != " " } == "categorize-labels" }
    }
}
