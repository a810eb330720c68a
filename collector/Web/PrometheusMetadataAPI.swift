import CollectorQuery
import Model
import QueryMath
import Storage

// Series, labels, metadata, rules and alerts.
extension PrometheusAPI {
    func series(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        let selectors = parameters.all("match[]")
        guard !selectors.isEmpty else {
            throw QueryFailure(.badData, "no match[] parameter provided")
        }
        let scope = try Self.scope(parameters, try matcherSets(selectors))
        let found = try await dependencies.metrics.series(scope)
        return Self.limited(found, limit) { labels, json in
            PrometheusEnvelope.labels(labels, to: &json)
        }
    }

    func labels(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        let scope = try Self.scope(parameters, try matcherSets(parameters.all("match[]")))
        let found = try await dependencies.metrics.labelNames(scope)
        return Self.limited(found, limit) { $1.string($0) }
    }

    func labelValues(
        _ name: String, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        guard !name.isEmpty else {
            throw QueryFailure(.badData, "invalid label name: \"\"")
        }
        let scope = try Self.scope(parameters, try matcherSets(parameters.all("match[]")))
        let found = try await dependencies.metrics.labelValues(
            EscapedName.unescape(name), scope)
        return Self.limited(found, limit) { $1.string($0) }
    }

    func metadata(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters) ?? .max
        let perMetric = Int(parameters["limit_per_metric"]).map { $0 > 0 ? $0 : .max } ?? .max
        let metric = parameters["metric"].isEmpty ? nil : parameters["metric"]
        let found = try await dependencies.metrics.metadata(metric: metric)
        let names = found.filter { !$0.value.isEmpty }.keys.sorted(by: bytesPrecede).prefix(limit)
        return PrometheusEnvelope.success { json in
            json.object { json in
                for name in names {
                    json.key(name)
                    json.array { json in
                        for one in (found[name] ?? []).prefix(perMetric) {
                            Self.write(one, to: &json)
                        }
                    }
                }
            }
        }
    }

    func alerts() async throws(QueryFailure) -> WebResponse {
        let records: [AlertRecord]
        do { records = try await dependencies.alerts() } catch { throw QueryFailure(any: error) }
        return PrometheusEnvelope.success { json in
            json.object { json in
                json.key("alerts")
                Self.write(records, to: &json)
            }
        }
    }

    func rules(_ parameters: FormParameters) async -> WebResponse {
        let type = parameters["type"].lowercased()
        guard ["", "alert", "record"].contains(type) else {
            return PrometheusEnvelope.failure(
                QueryFailure(.badData, "not supported value \"\(type)\""))
        }
        let names = Set(parameters.all("rule_name[]"))
        let groupNames = Set(parameters.all("rule_group[]"))
        let files = Set(parameters.all("file[]"))
        let groups = await dependencies.ruleGroups().compactMap { group -> RuleGroupStatus? in
            guard groupNames.isEmpty || groupNames.contains(group.name),
                files.isEmpty || files.contains(group.file)
            else { return nil }
            var group = group
            group.rules = group.rules.filter { rule in
                (names.isEmpty || names.contains(rule.name))
                    && (type.isEmpty || (type == "record") == (rule.kind == .recording))
            }
            return group.rules.isEmpty && !(names.isEmpty && type.isEmpty) ? nil : group
        }
        let withAlerts = parameters["exclude_alerts"] != "true"
        return PrometheusEnvelope.success { json in
            json.object { json in
                json.key("groups")
                json.array { json in
                    for group in groups {
                        Self.write(group, withAlerts: withAlerts, to: &json)
                    }
                }
            }
        }
    }

    private func matcherSets(_ selectors: [String]) throws(QueryFailure) -> [[LabelMatcher]] {
        do { return try dependencies.metrics.matcherSets(selectors) } catch {
            throw Self.invalid("match[]", error.message)
        }
    }

    private static func limited<Element>(
        _ found: [Element], _ limit: Int?, _ write: (Element, inout JSONWriter) -> Void
    ) -> WebResponse {
        let isTruncated = limit.map { found.count > $0 } ?? false
        return PrometheusEnvelope.success(warnings: isTruncated ? [truncated] : []) { json in
            json.array { json in
                for element in found.prefix(limit ?? .max) { write(element, &json) }
            }
        }
    }

    private static func write(_ metadata: MetricMetadata, to json: inout JSONWriter) {
        json.object { json in
            json.key("type")
            json.string(metadata.type.rawValue)
            json.key("help")
            json.string(metadata.help)
            json.key("unit")
            json.string(metadata.unit)
        }
    }

    /// Those that are pending or firing, as Prometheus shows them.
    private static func write(_ records: [AlertRecord], to json: inout JSONWriter) {
        json.array { json in
            for record in records where record.state != .inactive {
                json.object { json in
                    json.key("labels")
                    PrometheusEnvelope.labels(record.labels, to: &json)
                    json.key("annotations")
                    PrometheusEnvelope.labels(record.annotations, to: &json)
                    json.key("state")
                    json.string(record.state.rawValue)
                    json.key("activeAt")
                    json.string(RFC3339.text(record.activeAt))
                    if let since = record.keepFiringSince {
                        json.key("keepFiringSince")
                        json.string(RFC3339.text(since))
                    }
                    json.key("value")
                    json.string(scientific(record.value))
                }
            }
        }
    }

    private static func write(
        _ group: RuleGroupStatus, withAlerts: Bool, to json: inout JSONWriter
    ) {
        json.object { json in
            json.key("name")
            json.string(group.name)
            json.key("file")
            json.string(group.file)
            json.key("rules")
            json.array { json in
                for rule in group.rules { write(rule, withAlerts: withAlerts, to: &json) }
            }
            json.key("interval")
            json.number(group.intervalSeconds)
            json.key("limit")
            json.number(Int64(group.limit))
            json.key("evaluationTime")
            json.number(group.evaluationSeconds)
            json.key("lastEvaluation")
            json.string(evaluationTime(group.lastEvaluation))
        }
    }

    private static func write(
        _ rule: RuleStatus, withAlerts: Bool, to json: inout JSONWriter
    ) {
        json.object { json in
            if case .alerting(let held, let keepFiring, let annotations, let alerts) = rule.kind {
                let states = alerts.map(\.state)
                json.key("state")
                json.string(
                    states.contains(.firing)
                        ? "firing" : states.contains(.pending) ? "pending" : "inactive")
                json.key("duration")
                json.number(Double(held) / 1000)
                json.key("keepFiringFor")
                json.number(Double(keepFiring) / 1000)
                json.key("annotations")
                PrometheusEnvelope.labels(annotations, to: &json)
                json.key("alerts")
                write(withAlerts ? alerts : [], to: &json)
            }
            json.key("name")
            json.string(rule.name)
            json.key("query")
            json.string(rule.query)
            json.key("labels")
            PrometheusEnvelope.labels(rule.labels, to: &json)
            json.key("health")
            json.string(rule.health.rawValue)
            if !rule.lastError.isEmpty {
                json.key("lastError")
                json.string(rule.lastError)
            }
            json.key("evaluationTime")
            json.number(rule.evaluationSeconds)
            json.key("lastEvaluation")
            json.string(evaluationTime(rule.lastEvaluation))
            json.key("type")
            json.string(rule.kind == .recording ? "recording" : "alerting")
        }
    }

    /// Go's zero time stands for "never".
    private static func evaluationTime(_ time: TimestampMS?) -> String {
        time.map(RFC3339.text) ?? "0001-01-01T00:00:00Z"
    }

    /// Source: Go `strconv.FormatFloat(x, 'e', -1, 64)`.
    private static func scientific(_ value: Double) -> String {
        guard value.isFinite else { return GoFloat.json(value) }
        guard value != 0 else { return value.sign == .minus ? "-0e+00" : "0e+00" }
        return GoFloat.general(value, exponentMax: .min)
    }
}

/// Names with characters that old clients don't take, as `U__service_2e_name`. Source: Prometheus, "UTF-8 guide".
enum EscapedName {
    /// The name that `text` stands for; `text` itself where it is not escaped.
    static func unescape(_ text: String) -> String {
        guard text.hasPrefix("U__") else { return text }
        var name = ""
        var rest = text.dropFirst(3)
        while let character = rest.popFirst() {
            guard character == "_" else {
                name.append(character)
                continue
            }
            if rest.first == "_" {
                name.append("_")
                rest.removeFirst()
                continue
            }
            let digits = rest.prefix { $0 != "_" }
            guard digits.utf8.count <= 6, rest.dropFirst(digits.count).first == "_",
                let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
            else { return text }
            name.unicodeScalars.append(scalar)
            rest = rest.dropFirst(digits.count + 1)
        }
        return name
    }
}
