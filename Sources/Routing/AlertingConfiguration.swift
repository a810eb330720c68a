package import Model
package import YAMLDocument

/// Alerts that keep others quiet: while a source fires, targets with equal labels are muted.
package struct InhibitRule: Sendable {
    package var sourceMatchers: [AlertMatcher]
    package var targetMatchers: [AlertMatcher]
    /// Labels that both must have with the same value; missing is empty.
    package var equal: [String]
}

/// `alerting.yaml`, in Alertmanager's format.
package struct AlertingConfiguration: Sendable {
    /// How long an alert that says nothing of its end stays up. Alertmanager's default is 5 min.
    package var resolveTimeout: PrometheusDuration
    package var root: Route
    package var receivers: [Receiver]
    package var inhibitRules: [InhibitRule]
    package var timeIntervals: [NamedTimeInterval]
    /// Paths (with `*`) of files with template definitions, as written.
    package var templateFiles: [String]

    /// What holds without a file: every alert goes to a receiver without integrations.
    package static let standard = AlertingConfiguration(
        resolveTimeout: PrometheusDuration(milliseconds: 300_000),
        root: Route(receiver: "none", groupBy: .labels(["alertname"])),
        receivers: [Receiver(name: "none", integrations: [])], inhibitRules: [],
        timeIntervals: [], templateFiles: [])

    /// Reads and checks a file's text: unknown keys, receivers and time intervals that are not defined, matchers,
    /// regular expressions and templates that do not parse are errors with line and column.
    package static func parse(
        _ text: String, file: String
    ) throws(YAMLError) -> AlertingConfiguration {
        var root = try YAMLMapping.parse(text, file: file)
        let global = try GlobalSettings(root.section("global"))
        let receivers = try self.receivers(&root, global)
        let intervals = try self.timeIntervals(&root)
        let templates = try root.strings("templates")
        let inhibit = try self.inhibitRules(&root)
        guard let routeEntry = try root.mapping("route") else {
            throw root.error("the key `route` is missing: where alerts go")
        }
        var parser = RouteParser(
            receivers: Set(receivers.map(\.name)), timeIntervals: Set(intervals.map(\.name)))
        let route = try parser.root(routeEntry)
        try root.finish()
        return AlertingConfiguration(
            resolveTimeout: global.resolveTimeout, root: route, receivers: receivers,
            inhibitRules: inhibit, timeIntervals: intervals, templateFiles: templates)
    }

    /// The receiver of that name.
    package func receiver(_ name: String) -> Receiver? { receivers.first { $0.name == name } }

    private static func receivers(
        _ root: inout YAMLMapping, _ global: GlobalSettings
    ) throws(YAMLError) -> [Receiver] {
        var receivers: [Receiver] = []
        for var entry in try root.mappings("receivers") {
            let receiver = try ReceiverParser(global: global).receiver(&entry)
            guard !receivers.contains(where: { $0.name == receiver.name }) else {
                throw entry.error(
                    at: "name", "the receiver \"\(receiver.name)\" is already defined")
            }
            receivers.append(receiver)
        }
        return receivers
    }

    private static func timeIntervals(
        _ root: inout YAMLMapping
    ) throws(YAMLError) -> [NamedTimeInterval] {
        var found: [NamedTimeInterval] = []
        for key in ["time_intervals", "mute_time_intervals"] {
            for var entry in try root.mappings(key) {
                let interval = try NamedTimeInterval(&entry)
                guard !found.contains(where: { $0.name == interval.name }) else {
                    throw entry.error(
                        at: "name", "the time interval \"\(interval.name)\" is already defined")
                }
                found.append(interval)
            }
        }
        return found
    }

    private static func inhibitRules(
        _ root: inout YAMLMapping
    ) throws(YAMLError) -> [InhibitRule] {
        var rules: [InhibitRule] = []
        for var entry in try root.mappings("inhibit_rules") {
            _ = try entry.string("name")
            let source = try MatcherKeys(
                list: "source_matchers", equal: "source_match", regex: "source_match_re"
            ).matchers(&entry)
            let target = try MatcherKeys(
                list: "target_matchers", equal: "target_match", regex: "target_match_re"
            ).matchers(&entry)
            let equal = try entry.strings("equal")
            try entry.finish()
            rules.append(
                InhibitRule(sourceMatchers: source, targetMatchers: target, equal: equal))
        }
        return rules
    }
}

/// The `global` section, as far as Petrel uses it.
struct GlobalSettings {
    var resolveTimeout: PrometheusDuration
    var http: ReceiverHTTP
    var slackURL: Secret?

    /// Settings of receivers that Petrel does not have yet; harmless as long as no receiver needs them.
    private static let unused = [
        "smtp_from", "smtp_hello", "smtp_smarthost", "smtp_auth_username", "smtp_auth_password",
        "smtp_auth_password_file", "smtp_auth_secret", "smtp_auth_secret_file",
        "smtp_auth_identity", "smtp_require_tls", "smtp_tls_config", "smtp_force_implicit_tls",
        "pagerduty_url", "opsgenie_api_url", "opsgenie_api_key", "opsgenie_api_key_file",
        "victorops_api_url", "victorops_api_key", "victorops_api_key_file", "telegram_api_url",
        "telegram_bot_token", "telegram_bot_token_file", "webex_api_url", "wechat_api_url",
        "wechat_api_secret", "wechat_api_secret_file", "wechat_api_corp_id", "jira_api_url",
        "rocketchat_api_url", "rocketchat_token", "rocketchat_token_file", "rocketchat_token_id",
        "rocketchat_token_id_file", "mattermost_webhook_url", "mattermost_webhook_url_file",
        "slack_app_token", "slack_app_token_file", "slack_app_url",
    ]

    init(_ section: YAMLMapping) throws(YAMLError) {
        var section = section
        resolveTimeout = try section.duration(
            "resolve_timeout", default: PrometheusDuration(milliseconds: 300_000))
        http = try ReceiverParser.http(&section, default: ReceiverHTTP())
        slackURL = try ReceiverParser.secret(&section, "slack_api_url")
        for key in Self.unused where section.keys.contains(key) { _ = section.has(key) }
        try section.finish()
    }
}

/// The three ways in which a file writes a list of matchers.
struct MatcherKeys {
    var list: String
    /// Deprecated by Alertmanager, still read.
    var equal: String
    /// Deprecated by Alertmanager, still read.
    var regex: String

    /// All matchers of `entry`, sorted by name, value and operation. Source: Alertmanager labels.Matchers.Less.
    func matchers(_ entry: inout YAMLMapping) throws(YAMLError) -> [AlertMatcher] {
        var matchers: [AlertMatcher] = []
        // First among the keys that an error lists.
        _ = entry.has(list)
        for pair in try entry.stringPairs(equal) {
            matchers.append(
                try compile(LabelMatcher(pair.key, .equal, pair.value), entry.file, pair.mark))
        }
        for pair in try entry.stringPairs(regex) {
            matchers.append(
                try compile(
                    LabelMatcher(pair.key, .matchesRegex, pair.value), entry.file, pair.mark))
        }
        for item in try entry.sequence(list) ?? [] {
            guard case .scalar(let scalar) = item.content else {
                throw YAMLError(
                    file: entry.file, mark: item.mark,
                    message: "`\(list)`: expected a text, found \(item.kind)")
            }
            let parsed: [LabelMatcher]
            do throws(MatcherTextError) {
                parsed = try MatcherText.parse(scalar.text)
            } catch {
                throw YAMLError(
                    file: entry.file, mark: item.mark, message: "`\(list)`: \(error)")
            }
            for matcher in parsed {
                matchers.append(try compile(matcher, entry.file, item.mark))
            }
        }
        return matchers.sorted { a, b in
            let (a, b) = (a.matcher, b.matcher)
            if a.name != b.name { return bytesPrecede(a.name, b.name) }
            if a.value != b.value { return bytesPrecede(a.value, b.value) }
            return rank(a.operation) < rank(b.operation)
        }
    }

    private func rank(_ operation: LabelMatcher.Operation) -> Int {
        switch operation {
        case .equal: 0
        case .notEqual: 1
        case .matchesRegex: 2
        case .notMatchesRegex: 3
        }
    }

    private func compile(
        _ matcher: LabelMatcher, _ file: String, _ mark: YAMLMark
    ) throws(YAMLError) -> AlertMatcher {
        do {
            return try AlertMatcher(matcher)
        } catch {
            throw YAMLError(
                file: file, mark: mark,
                message: "the regular expression of `\(matcher.name)` does not compile: \(error)")
        }
    }
}
