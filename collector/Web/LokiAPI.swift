import CollectorQuery
import Model
import Storage
import World

/// `/loki/api/v1/…`. Source: Loki's documentation "HTTP API".
struct LokiAPI: Sendable {
    /// How far back a query looks that names no start.
    static let queryRangeNanoseconds: Int64 = 3600 * 1_000_000_000
    /// How far back a question about labels looks that names no start. Source: Loki 3.6 `determineBounds`.
    static let labelRangeNanoseconds = queryRangeNanoseconds
    /// The Loki whose API this is.
    static let lokiVersion = "3.6.0"
    /// Points of a range of time when no step is given.
    private static let defaultPointCount: Int64 = 250

    let dependencies: WebDependencies
    let tails = FollowPlaces(countMax: tailsMax)

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
            case ["index", "volume"]: return try await volume(parameters, isRange: false)
            case ["index", "volume_range"]: return try await volume(parameters, isRange: true)
            case ["patterns"]: return try patterns(parameters)
            case ["detected_labels"]: return try await detectedLabels(parameters)
            case ["detected_fields"]: return try await detectedFields(parameters)
            case ["drilldown-limits"]: return drilldownLimits()
            case ["tail"]: return try tail(request)
            case ["format_query"]: return formatQuery(parameters)
            case ["status", "buildinfo"]: return buildInformation()
            case let path where path.count == 3 && path[0] == "label" && path[2] == "values":
                return try await labelValues(path[1], parameters)
            case let path
            where path.count == 3 && path[0] == "detected_field" && path[2] == "values":
                return try await detectedFieldValues(path[1], parameters)
            default: return nil
            }
        } catch { return LokiEnvelope.failure(error) }
    }

    private func query(_ request: WebRequest) async throws(QueryFailure) -> WebResponse {
        let parameters = request.parameters
        _ = try Self.count("limit", parameters)
        let time =
            parameters["time"].isEmpty
            ? dependencies.clock.now : try Self.time("time", parameters)
        _ = try Self.direction(parameters)
        let answer = try await dependencies.logs.instant(
            parameters["query"], at: time, isCutAtSeriesMax: Self.isOfDrilldown(request))
        return LokiEnvelope.answer(answer, hasCategories: Self.wantsCategories(request))
    }

    private func queryRange(_ request: WebRequest) async throws(QueryFailure) -> WebResponse {
        let parameters = request.parameters
        let (from, to) = try bounds(parameters, rangeNanoseconds: Self.queryRangeNanoseconds)
        var wanted = LogRangeRequest(
            text: parameters["query"], from: from, to: to,
            entriesMax: try Self.count("limit", parameters) ?? 100,
            direction: try Self.direction(parameters),
            stepNanoseconds: try Self.duration("step", parameters)
                ?? Self.defaultStepNanoseconds(from, to))
        wanted.intervalNanoseconds = try Self.duration("interval", parameters) ?? 0
        wanted.hasCategories = Self.wantsCategories(request)
        wanted.isCutAtSeriesMax = Self.isOfDrilldown(request)
        try Self.readExtensions(parameters, into: &wanted)
        let answer = try await dependencies.logs.range(wanted)
        return LokiEnvelope.answer(answer, hasCategories: wanted.hasCategories)
    }

    /// Parameters that Loki does not have.
    private static func readExtensions(
        _ parameters: FormParameters, into wanted: inout LogRangeRequest
    ) throws(QueryFailure) {
        let context = parameters["petrel_context"]
        if !context.isEmpty {
            guard let count = Int(context) else {
                throw QueryFailure(
                    .badData, "petrel_context '\(context)' is no number of lines")
            }
            wanted.contextCount = count
        }
        let distinct = parameters["petrel_distinct"]
        if !distinct.isEmpty { wanted.distinctLabel = distinct }
        // Empty for the first page.
        guard let after = parameters.all("petrel_after").first else { return }
        wanted.isPaged = true
        guard !after.isEmpty else { return }
        guard let cursor = LogCursor(after) else {
            throw QueryFailure(
                .badData,
                "petrel_after '\(after)' is no cursor: take data.petrel.next of the answer before")
        }
        wanted.cursor = cursor
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
        // Grafana would split queries by this one.
        let values =
            name == "__stream_shard__" ? [] : try await dependencies.logs.labelValues(name, scope)
        return LokiEnvelope.success { PrometheusEnvelope.strings(values, to: &$0) }
    }

    private func series(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let selectors = parameters.all("match") + parameters.all("match[]")
        let scope = try scope(parameters, selectors)
        let streams = try await dependencies.logs.streams(scope)
        return LokiEnvelope.success { json in
            json.array { json in
                for labels in streams { PrometheusEnvelope.labels(labels, to: &json) }
            }
        }
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
                ("version", Self.lokiVersion), ("revision", dependencies.revision),
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
    func bounds(
        _ parameters: FormParameters, rangeNanoseconds: Int64 = queryRangeNanoseconds
    ) throws(QueryFailure) -> (from: TimestampNS, to: TimestampNS) {
        let now = dependencies.clock.now
        let to = parameters["end"].isEmpty ? now : try Self.time("end", parameters)
        var range = rangeNanoseconds
        let given = parameters["since"]
        if !given.isEmpty {
            guard let since = PrometheusDuration(given) else {
                throw QueryFailure(
                    .badData,
                    "could not parse 'since' parameter: not a valid duration string: \"\(given)\"")
            }
            range = since.milliseconds.multipliedReportingOverflow(by: 1_000_000).partialValue
        }
        guard parameters["start"].isEmpty else { return (try Self.time("start", parameters), to) }
        // A start in the future of `end` would make an empty range of a query that named only an old end.
        return (min(to, now).advanced(byNanoseconds: -range), to)
    }

    /// Bounds of which the end is not before the start.
    func orderedBounds(
        _ parameters: FormParameters
    ) throws(QueryFailure) -> (from: TimestampNS, to: TimestampNS) {
        let (from, to) = try bounds(parameters)
        guard from <= to else {
            throw QueryFailure(.badData, "end timestamp must not be before or equal to start time")
        }
        return (from, to)
    }

    /// `step`, of which there may not be too many between two times; else the one for them.
    func step(
        _ parameters: FormParameters, _ from: TimestampNS, _ to: TimestampNS
    ) throws(QueryFailure) -> Int64 {
        let step =
            try Self.duration("step", parameters) ?? Self.defaultStepNanoseconds(from, to)
        try dependencies.logs.checkStep(step, from: from, to: to)
        return step
    }

    func scope(
        _ parameters: FormParameters, _ selectors: [String],
        rangeNanoseconds: Int64 = labelRangeNanoseconds
    ) throws(QueryFailure) -> LabelScope {
        let (from, to) = try bounds(parameters, rangeNanoseconds: rangeNanoseconds)
        return LabelScope(
            matcherSets: try dependencies.logs.matcherSets(selectors),
            start: from.milliseconds, end: to.milliseconds)
    }

    func limit(
        _ parameters: FormParameters, _ name: String = "limit"
    ) throws(QueryFailure) -> Int {
        let limit = try Self.count(name, parameters) ?? 100
        try dependencies.logs.checkEntries(limit)
        return limit
    }

    /// A number above 0 of 32 bits; nil where there is none.
    static func count(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> Int? {
        let text = parameters[name]
        guard !text.isEmpty else { return nil }
        guard let count = Int(text) else {
            throw QueryFailure(.badData, "strconv.Atoi: parsing \"\(text)\": invalid syntax")
        }
        guard count > 0 else { throw QueryFailure(.badData, "\(name) must be a positive value") }
        guard count <= UInt32.max else {
            throw QueryFailure(
                .badData, "\(name) value \(count) is out of range [0, \(UInt32.max)]")
        }
        return count
    }

    static func time(
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
    static func defaultStepNanoseconds(_ from: TimestampNS, _ to: TimestampNS) -> Int64 {
        let seconds =
            (to.milliseconds.rawValue - from.milliseconds.rawValue) / 1000 / defaultPointCount
        return max(1, seconds) * 1_000_000_000
    }

    /// In nanoseconds; nil where there is none.
    static func duration(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> Int64? {
        let text = parameters[name]
        guard !text.isEmpty else { return nil }
        guard let duration = TimeParameters.durationNanoseconds(text) else {
            throw QueryFailure(.badData, "cannot parse \"\(text)\" to a valid duration")
        }
        return duration
    }

    /// Whether Logs Drilldown asks, which shows part of many series where others want to be refused.
    /// Source: Loki 3.6 `httpreq.IsLogsDrilldownRequest`.
    static func isOfDrilldown(_ request: WebRequest) -> Bool {
        (request.headers["x-query-tags"] ?? "").lowercased().split(separator: ",").contains {
            $0.filter { $0 != " " } == "source=grafana-lokiexplore-app"
        }
    }

    static func wantsCategories(_ request: WebRequest) -> Bool {
        (request.headers["x-loki-response-encoding-flags"] ?? "").split(separator: ",")
            .contains { $0.filter { $0 != " " } == "categorize-labels" }
    }
}
