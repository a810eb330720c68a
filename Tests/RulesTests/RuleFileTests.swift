import FoundationEssentials
import Model
import Rules
import Testing
import YAMLDocument

@Suite("Rule files")
struct RuleFileTests {
    static func validate(_ expression: String) -> String? { RuleExpression.problem(expression) }

    static let conformance =
        ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance"

    private func read(_ path: String) -> String? {
        FileManager.default.contents(atPath: Self.conformance + "/" + path).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private func failure(_ text: String) -> String? {
        do throws(YAMLError) {
            _ = try RuleFile.parse(text, file: "r.yaml", validateExpression: Self.validate)
            return nil
        } catch {
            return error.description
        }
    }

    private static func rules(_ body: String) -> String {
        "groups:\n- name: g\n  rules:\n" + body
    }

    @Test("a whole file")
    func whole() throws {
        let text = """
            groups:
              - name: web
                interval: 30s
                query_offset: 1m
                limit: 10
                labels: {team: infra, tier: a}
                rules:
                  - record: job:up:sum
                    expr: sum by (job) (up)
                    labels: {tier: b}
                  - alert: Down
                    expr: up == 0
                    for: 5m
                    keep_firing_for: 2m
                    labels: {severity: page}
                    annotations:
                      summary: "{{ $labels.instance }} down"
              - name: other
            """
        let groups = try RuleFile.parse(text, file: "r.yaml", validateExpression: Self.validate)
        #expect(groups.map(\.name) == ["web", "other"])
        let web = groups[0]
        #expect(web.interval.milliseconds == 30_000)
        #expect(web.queryOffset.milliseconds == 60_000)
        #expect(web.limit == 10)
        #expect(groups[1].interval == RuleGroup.intervalDefault)
        #expect(web.rules.map(\.name) == ["job:up:sum", "Down"])
        #expect(web.rules[0].labels.map { "\($0.name)=\($0.source)" } == ["team=infra", "tier=b"])
        #expect(web.identity(ofRuleAt: 1) == "r.yaml;web;Down;1")
        guard case .alerting(let down) = web.rules[1].kind else {
            Issue.record("not an alerting rule")
            return
        }
        #expect(down.hold.milliseconds == 300_000)
        #expect(down.keepFiring.milliseconds == 120_000)
        #expect(down.annotations.map(\.source) == ["{{ $labels.instance }} down"])
    }

    @Test(
        "refusals",
        arguments: [
            (
                "group: []",
                "r.yaml:1:1: unknown key `group`: did you mean `groups`? expected one of groups"
            ),
            ("groups: 5", "r.yaml:1:9: `groups`: expected a list, found `5`"),
            ("groups: [{rules: []}]", "r.yaml:1:10: the key `name` is missing"),
            (
                "groups:\n- name: a\n- name: a",
                "r.yaml:3:9: `name`: the group \"a\" is already defined in this file"
            ),
            (
                "groups: [{name: a, interval: 0s}]",
                "r.yaml:1:30: `interval`: expected a duration above 0"
            ),
            (rules("  - alert: A"), "r.yaml:4:5: the key `expr` is missing"),
            (rules("  - expr: up"), "r.yaml:4:5: a rule needs one of `record` and `alert`"),
            (
                rules("  - {alert: A, record: a, expr: up}"),
                "r.yaml:4:5: a rule has only one of `record` and `alert`"
            ),
            (
                rules("  - alert: A\n    expr: 'up +'"),
                "r.yaml:5:11: `expr`: does not parse: 1:5: parse error: unexpected end of input"
            ),
            (
                rules("  - alert: A\n    expr: up[5m]"),
                "r.yaml:5:11: `expr`: does not parse: a rule needs an instant vector or a scalar, "
                    + "not a range vector"
            ),
            (
                rules("  - {record: a, expr: up, for: 5m}"),
                "r.yaml:4:32: `for`: a recording rule can't have it"
            ),
            (
                rules("  - {record: 'a{b=\"c\"}', expr: up}"),
                "r.yaml:4:14: `record`: expected a metric name without braces; should it be in `expr`?"
            ),
            (
                rules("  - {alert: A, expr: up, fro: 5m}"),
                "r.yaml:4:26: unknown key `fro`: did you mean `for`? expected one of "
                    + "record, alert, expr, for, keep_firing_for, labels, annotations"
            ),
            (
                rules("  - {alert: A, expr: up, for: 5}"),
                "r.yaml:4:31: `for`: expected a duration such as 15s, 5m or 1h30m, found `5`"
            ),
            (
                rules("  - {alert: A, expr: up, labels: {__name__: b}}"),
                "r.yaml:4:35: `labels`: expected a label name, found `__name__`"
            ),
            (
                rules("  - {alert: A, expr: up, labels: {\"\": b}}"),
                "r.yaml:4:35: `labels`: expected a label name, found ``"
            ),
            (
                rules("  - alert: A\n    expr: up\n    annotations:\n      s: '{{ $label.x }}'"),
                "r.yaml:7:10: `annotations.s`: the template does not parse: "
                    + "line 1: undefined variable \"$label\""
            ),
            (
                rules("  - {alert: A, expr: up}\n  - {alert: A, expr: up}"),
                "r.yaml:5:5: the rule \"A\" repeats the one on line 4: same expression and labels"
            ),
        ])
    func refusals(text: String, message: String) { #expect(failure(text) == message) }

    @Test("rules of one name with other labels are no repetition")
    func sameName() {
        let text = Self.rules(
            "  - {alert: A, expr: up, labels: {s: a}}\n  - {alert: A, expr: up, labels: {s: b}}")
        #expect(failure(text) == nil)
    }

    @Test(
        "public collections load",
        .enabled(
            if: FileManager.default.fileExists(atPath: conformance + "/rules"),
            "no conformance data: set PETREL_CONFORMANCE"),
        arguments: [
            ("rules/awesome-host-and-hardware-node-exporter.yml", 30),
            ("rules/awesome-postgresql-postgres-exporter.yml", 15),
            ("rules/mixin-alertmanager-alerts.yaml", 5),
            ("rules/mixin-node-exporter-alerts.yaml", 15),
            ("rules/mixin-node-exporter-rules.yaml", 5), ("promtool/rules.yml", 5),
            ("promtool/bad-rules-error.yml", 1), ("promtool/at-modifier.yml", 1),
            ("promtool/negative-offset.yml", 1),
        ])
    func collections(path: String, atLeast: Int) throws {
        let text = try #require(read(path))
        let groups = try RuleFile.parse(text, file: path, validateExpression: Self.validate)
        #expect(groups.reduce(0) { $0 + $1.rules.count } >= atLeast)
    }

    @Test(
        "bad files are refused",
        .enabled(
            if: FileManager.default.fileExists(atPath: conformance + "/promtool"),
            "no conformance data: set PETREL_CONFORMANCE"),
        arguments: [
            ("promtool/bad-rules-syntax.yml", "bad-rules-syntax.yml:7:15: `expr`"),
            ("promtool/rules-bad.yml", "undefined variable \"$label\""),
        ])
    func badFiles(path: String, part: String) throws {
        let text = try #require(read(path))
        let message: String
        do throws(YAMLError) {
            _ = try RuleFile.parse(text, file: path, validateExpression: Self.validate)
            message = ""
        } catch {
            message = error.description
        }
        #expect(message.contains(part), "\(message)")
    }

    @Test("the built-in rules")
    func builtIn() throws {
        let groups = try BuiltInRules.groups(validateExpression: Self.validate)
        #expect(groups.map(\.name) == ["petrel"])
        #expect(groups[0].interval.milliseconds == 5000)
        #expect(
            groups[0].rules.map(\.name) == [
                "AgentDown", "DiskFull", "DiskFull", "SeriesLimitReached", "Watchdog",
            ])
        for rule in groups[0].rules {
            guard case .alerting(let alerting) = rule.kind else {
                Issue.record("\(rule.name) is no alerting rule")
                continue
            }
            #expect(alerting.annotations.map(\.name) == ["summary", "description"])
            #expect(rule.labels.contains { $0.name == "severity" })
        }
    }
}
