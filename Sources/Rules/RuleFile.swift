internal import GoTemplate
internal import Model
package import YAMLDocument

/// Reads rule files in Prometheus' format: `groups`, each with recording and alerting rules.
///
/// Unknown keys, wrong types, duplicate groups, repeated rules and templates that do not parse are errors with file,
/// line and column. Source: Prometheus 3.14 model/rulefmt.
package enum RuleFile {
    /// Most rules that one file may hold.
    package static let rulesMax = 10_000

    /// The groups of `text`, in order. `validateExpression` answers with what is wrong with an expression, or nil.
    package static func parse(
        _ text: String, file: String, validateExpression: (String) -> String?
    ) throws(YAMLError) -> [RuleGroup] {
        var root = try YAMLMapping.parse(text, file: file)
        var groups: [RuleGroup] = []
        var names: Set<String> = []
        for var entry in try root.mappings("groups") {
            let group = try self.group(&entry, validateExpression)
            guard names.insert(group.name).inserted else {
                throw entry.error(
                    at: "name", "the group \"\(group.name)\" is already defined in this file")
            }
            groups.append(group)
        }
        try root.finish()
        guard groups.reduce(0, { $0 + $1.rules.count }) <= rulesMax else {
            throw root.error("more than \(rulesMax) rules in one file")
        }
        return groups
    }

    private static func group(
        _ entry: inout YAMLMapping, _ validate: (String) -> String?
    ) throws(YAMLError) -> RuleGroup {
        let name = try entry.requiredString("name")
        let interval = try entry.duration("interval", default: RuleGroup.intervalDefault)
        let offset = try entry.duration(
            "query_offset", default: PrometheusDuration(milliseconds: 0))
        let limit = try entry.int("limit", default: 0, range: 0...1_000_000)
        let labels = try texts(&entry, "labels")
        var rules: [Rule] = []
        var seen: [String: Int] = [:]
        for var ruleEntry in try entry.mappings("rules") {
            let rule = try self.rule(&ruleEntry, groupLabels: labels, validate)
            if let line = seen.updateValue(rule.mark.line, forKey: fingerprint(rule)) {
                throw ruleEntry.error(
                    "the rule \"\(rule.name)\" repeats the one on line \(line): "
                        + "same expression and labels")
            }
            rules.append(rule)
        }
        try entry.finish()
        guard interval.milliseconds > 0 else {
            throw entry.error(at: "interval", "expected a duration above 0")
        }
        return RuleGroup(
            file: entry.file, name: name, interval: interval, queryOffset: offset, limit: limit,
            rules: rules)
    }

    /// What makes two rules the same one. Prometheus loads such files and evaluates the copy for nothing.
    private static func fingerprint(_ rule: Rule) -> String {
        let labels = rule.labels.map { "\($0.name)=\($0.source)" }.sorted()
        return ([rule.name, rule.expression] + labels).joined(separator: "\u{0}")
    }

    private static func rule(
        _ entry: inout YAMLMapping, groupLabels: [RuleText], _ validate: (String) -> String?
    ) throws(YAMLError) -> Rule {
        let record = try entry.string("record") ?? ""
        let alert = try entry.string("alert") ?? ""
        let expression = try entry.requiredString("expr")
        let hold = try entry.duration("for")
        let keepFiring = try entry.duration("keep_firing_for")
        let own = try texts(&entry, "labels")
        let annotations = try texts(&entry, "annotations")
        try entry.finish()
        guard record.isEmpty != alert.isEmpty else {
            throw entry.error(
                record.isEmpty
                    ? "a rule needs one of `record` and `alert`"
                    : "a rule has only one of `record` and `alert`")
        }
        if let problem = validate(expression) {
            throw entry.error(at: "expr", "does not parse: \(problem)")
        }
        let ownNames = Set(own.map(\.name))
        let labels = groupLabels.filter { !ownNames.contains($0.name) } + own
        let zero = PrometheusDuration(milliseconds: 0)
        guard record.isEmpty else {
            for key in ["for", "keep_firing_for", "annotations"] where entry.has(key) {
                throw entry.error(at: key, "a recording rule can't have it")
            }
            guard !record.contains("{"), !record.contains("}") else {
                throw entry.error(
                    at: "record", "expected a metric name without braces; should it be in `expr`?")
            }
            return Rule(
                kind: .recording(metric: record), expression: expression, labels: labels,
                mark: entry.mark)
        }
        return Rule(
            kind: .alerting(
                AlertingRule(
                    name: alert, hold: hold ?? zero, keepFiring: keepFiring ?? zero,
                    annotations: annotations)), expression: expression, labels: labels,
            mark: entry.mark)
    }

    /// Labels or annotations, their names checked and their templates parsed.
    private static func texts(
        _ entry: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> [RuleText] {
        var texts: [RuleText] = []
        for pair in try entry.stringPairs(key) {
            let isReserved = key == "labels" && pair.key == Labels.metricNameLabel
            guard !pair.key.isEmpty, !isReserved else {
                throw YAMLError(
                    file: entry.file, mark: pair.keyMark,
                    message: "`\(key)`: expected a label name, found `\(pair.key)`")
            }
            do throws(GoTemplateError) {
                texts.append(try RuleText(name: pair.key, source: pair.value))
            } catch {
                throw YAMLError(
                    file: entry.file, mark: pair.mark,
                    message: "`\(key).\(pair.key)`: the template does not parse: \(error)")
            }
        }
        return texts
    }
}
