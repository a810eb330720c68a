import CollectorQuery
import Model
import PromQLSyntax
import QueryMath
import Storage

// Rules and alerts.
extension PrometheusAPI {
    func alerts() async throws(QueryFailure) -> WebResponse {
        let records: [AlertRecord]
        do { records = try await dependencies.alerts() } catch { throw QueryFailure(any: error) }
        return PrometheusEnvelope.success { json in
            json.object { $0.member("alerts") { Self.write(records, to: &$0) } }
        }
    }

    /// None: the collector itself sends what fires.
    func alertmanagers() -> WebResponse {
        PrometheusEnvelope.success { json in
            json.object { json in
                for key in ["activeAlertmanagers", "droppedAlertmanagers"] {
                    json.member(key) { $0.array { _ in } }
                }
            }
        }
    }

    func rules(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let filter = try RuleFilter(parameters, selectors: try matcherSets(parameters))
        let page = try RulePage(parameters)
        let (groups, nextToken) = try page.cut(
            await dependencies.ruleGroups(), filteredBy: filter.filtered)
        let metrics = dependencies.metrics
        return PrometheusEnvelope.success { json in
            json.object { json in
                json.member("groups") { json in
                    json.array { json in
                        for group in groups {
                            Self.write(
                                group, withAlerts: !filter.excludesAlerts, metrics, to: &json)
                        }
                    }
                }
                if let nextToken { json.member("groupNextToken", nextToken) }
            }
        }
    }

    /// Those that are pending or firing, as Prometheus shows them.
    private static func write(_ records: [AlertRecord], to json: inout JSONWriter) {
        json.array { json in
            for record in records where record.state != .inactive {
                json.object { json in
                    json.member("labels") { PrometheusEnvelope.labels(record.labels, to: &$0) }
                    json.member("annotations") {
                        PrometheusEnvelope.labels(record.annotations, to: &$0)
                    }
                    json.member("state", record.state.rawValue)
                    json.member("activeAt", RFC3339.text(record.activeAt))
                    if let since = record.keepFiringSince {
                        json.member("keepFiringSince", RFC3339.text(since))
                    }
                    json.member("value", scientific(record.value))
                }
            }
        }
    }

    private static func write(
        _ group: RuleGroupStatus, withAlerts: Bool, _ metrics: MetricQueryService,
        to json: inout JSONWriter
    ) {
        json.object { json in
            json.member("name", group.name)
            json.member("file", group.file)
            json.member("rules") { json in
                json.array { json in
                    for rule in group.rules {
                        write(rule, withAlerts: withAlerts, metrics, to: &json)
                    }
                }
            }
            json.member("interval") { $0.number(group.intervalSeconds) }
            json.member("limit") { $0.number(Int64(group.limit)) }
            json.member("evaluationTime") { $0.number(group.evaluationSeconds) }
            json.member("lastEvaluation", timeText(group.lastEvaluation))
        }
    }

    private static func write(
        _ rule: RuleStatus, withAlerts: Bool, _ metrics: MetricQueryService,
        to json: inout JSONWriter
    ) {
        // As Prometheus prints it, whatever blanks and lines the file has.
        let query = (try? metrics.syntax(rule.query).description) ?? rule.query
        json.object { json in
            guard case .alerting(let held, let keepFiring, let annotations, let alerts) = rule.kind
            else {
                json.member("name", rule.name)
                json.member("query", query)
                json.member("labels") { PrometheusEnvelope.labels(rule.labels, to: &$0) }
                return writeEvaluation(rule, type: "recording", to: &json)
            }
            json.member("state", state(rule, alerts))
            json.member("name", rule.name)
            json.member("query", query)
            json.member("duration") { $0.number(Double(held) / 1000) }
            json.member("keepFiringFor") { $0.number(Double(keepFiring) / 1000) }
            json.member("labels") { PrometheusEnvelope.labels(rule.labels, to: &$0) }
            json.member("annotations") { PrometheusEnvelope.labels(annotations, to: &$0) }
            json.member("alerts") { write(withAlerts ? alerts : [], to: &$0) }
            writeEvaluation(rule, type: "alerting", to: &json)
        }
    }

    private static func writeEvaluation(
        _ rule: RuleStatus, type: String, to json: inout JSONWriter
    ) {
        json.member("health", rule.health.rawValue)
        if !rule.lastError.isEmpty { json.member("lastError", rule.lastError) }
        json.member("evaluationTime") { $0.number(rule.evaluationSeconds) }
        json.member("lastEvaluation", timeText(rule.lastEvaluation))
        json.member("type", type)
    }

    private static func state(_ rule: RuleStatus, _ alerts: [AlertRecord]) -> String {
        if alerts.contains(where: { $0.state == .firing }) { return "firing" }
        if alerts.contains(where: { $0.state == .pending }) { return "pending" }
        return rule.lastEvaluation == nil ? "unknown" : "inactive"
    }

    /// Go's zero time stands for "never".
    static func timeText(_ time: TimestampMS?) -> String {
        time.map(RFC3339.text) ?? "0001-01-01T00:00:00Z"
    }

    /// Source: Go `strconv.FormatFloat(x, 'e', -1, 64)`.
    private static func scientific(_ value: Double) -> String {
        guard value.isFinite else { return GoFloat.json(value) }
        guard value != 0 else { return value.sign == .minus ? "-0e+00" : "0e+00" }
        return GoFloat.general(value, exponentMax: .min)
    }
}

/// Which rules of which groups a request is about.
private struct RuleFilter {
    let excludesAlerts: Bool
    private let type: String
    private let names: Set<String>
    private let groupNames: Set<String>
    private let files: Set<String>
    private let selectors: SelectorSet

    init(_ parameters: FormParameters, selectors: [[LabelMatcher]]) throws(QueryFailure) {
        type = parameters["type"].lowercased()
        guard ["", "alert", "record"].contains(type) else {
            throw PrometheusAPI.invalid(
                "type", "not supported value \(PrometheusAPI.quoted(type))")
        }
        let excluding = parameters["exclude_alerts"].lowercased()
        guard let excludes = excluding.isEmpty ? false : PrometheusAPI.boolean(excluding) else {
            throw PrometheusAPI.invalid(
                "exclude_alerts",
                "error converting exclude_alerts: strconv.ParseBool: parsing "
                    + "\(PrometheusAPI.quoted(excluding)): invalid syntax")
        }
        excludesAlerts = excludes
        names = Set(parameters.all("rule_name[]"))
        groupNames = Set(parameters.all("rule_group[]"))
        files = Set(parameters.all("file[]"))
        self.selectors = try SelectorSet(selectors)
    }

    /// The group with the wanted rules alone; nil where none is left.
    func filtered(_ group: RuleGroupStatus) -> RuleGroupStatus? {
        guard groupNames.isEmpty || groupNames.contains(group.name),
            files.isEmpty || files.contains(group.file)
        else { return nil }
        var group = group
        group.rules = group.rules.filter { rule in
            (names.isEmpty || names.contains(rule.name))
                && (type.isEmpty || (type == "record") == (rule.kind == .recording))
                && selectors.accepts(rule.labels)
        }
        return group.rules.isEmpty ? nil : group
    }
}

/// Which part of the groups a request wants. Source: Prometheus 3.14 `parseListRulesPaginationRequest`.
private struct RulePage {
    private let groupsMax: Int?
    private let token: String

    init(_ parameters: FormParameters) throws(QueryFailure) {
        let text = parameters["group_limit"]
        token = parameters["group_next_token"]
        guard !text.isEmpty else {
            guard token.isEmpty else {
                throw PrometheusAPI.invalid(
                    "group_next_token",
                    "group_limit needs to be present in order to paginate over the groups")
            }
            groupsMax = nil
            return
        }
        guard let count = Int32(text) else {
            throw PrometheusAPI.invalid(
                "group_limit",
                "group_limit needs to be a valid number: "
                    + PrometheusAPI.integerProblem(text, function: "ParseInt"))
        }
        guard count > 0 else {
            throw PrometheusAPI.invalid(
                "group_limit", "group_limit needs to be greater than 0")
        }
        groupsMax = Int(count)
    }

    /// The groups of the page, and the token of the group that the next one begins with; nil where this is the last.
    func cut(
        _ groups: [RuleGroupStatus], filteredBy filter: (RuleGroupStatus) -> RuleGroupStatus?
    ) throws(QueryFailure) -> ([RuleGroupStatus], String?) {
        guard let groupsMax else { return (groups.compactMap(filter), nil) }
        var rest = groups[...]
        if !token.isEmpty {
            rest = groups.drop { Self.token($0) != token }
            guard !rest.isEmpty else {
                throw PrometheusAPI.invalid(
                    "group_next_token",
                    "invalid group_next_token '\(token)'. were rule groups changed?")
            }
        }
        var page: [RuleGroupStatus] = []
        for group in rest {
            guard let filtered = filter(group) else { continue }
            if page.count == groupsMax { return (page, Self.token(group)) }
            page.append(filtered)
        }
        return (page, nil)
    }

    private static func token(_ group: RuleGroupStatus) -> String {
        String(
            Labels([Label("file", group.file), Label("group", group.name)]).fingerprint, radix: 16)
    }
}
