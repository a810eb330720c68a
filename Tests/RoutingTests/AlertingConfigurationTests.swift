import GoTemplate
import Model
import Routing
import Testing
import YAMLDocument

@Suite("alerting.yaml")
struct AlertingConfigurationTests {
    static let text = """
        global:
          resolve_timeout: 10m
          smtp_from: a@b
          slack_api_url: https://hooks.slack.example/global
          http_config:
            bearer_token_file: /run/token
        templates: [templates/*.tmpl]
        route:
          receiver: default
          group_by: [job, alertname]
          group_wait: 10s
          routes:
            - receiver: pager
              matchers: [severity="page", team=~"a|b"]
              continue: true
              repeat_interval: 1h
            - match: {severity: page}
              match_re: {team: b|c}
              group_by: ['...']
              mute_time_intervals: [nights]
              routes:
                - receiver: chat
                  matchers: ['host="h1"']
                  group_by: []
            - receiver: chat
              matchers: ["{severity=warning, env!=test}"]
        receivers:
          - name: default
          - name: pager
            webhook_configs:
              - url: http://127.0.0.1:1/a
                max_alerts: 5
                timeout: 3s
                send_resolved: no
                http_config: {authorization: {type: Token, credentials: s3cret}}
              - url_file: /run/url
          - name: chat
            slack_configs:
              - channel: '#ops'
                title: '{{ .GroupLabels.alertname }}'
                title_link: '{{ .ExternalURL }}'
                fields: [{title: Host, value: '{{ .CommonLabels.host }}', short: true}]
            discord_configs:
              - webhook_url: https://discord.example/x
                message: '{{ template "discord.default.message" . }}'
        inhibit_rules:
          - source_matchers: [alertname=AgentDown]
            target_match_re: {alertname: .+}
            equal: [host]
        time_intervals:
          - name: nights
            time_intervals:
              - times: [{start_time: "22:00", end_time: "24:00"}]
                weekdays: ['monday:friday', saturday]
                days_of_month: ['1:5', '-3:-1']
                months: ['january:march', '12']
                years: ['2026:2027']
                location: Europe/Berlin
        """

    private func failure(_ text: String) -> String? {
        do throws(YAMLError) {
            _ = try AlertingConfiguration.parse(text, file: "a.yaml")
            return nil
        } catch {
            return error.description
        }
    }

    @Test("a whole file")
    func whole() throws {
        let configuration = try AlertingConfiguration.parse(Self.text, file: "a.yaml")
        #expect(configuration.resolveTimeout.milliseconds == 600_000)
        #expect(configuration.templateFiles == ["templates/*.tmpl"])
        #expect(configuration.receivers.map(\.name) == ["default", "pager", "chat"])
        #expect(
            configuration.receiver("pager")?.integrations.map(\.name) == ["webhook/0", "webhook/1"])
        #expect(
            configuration.receiver("chat")?.integrations.map { "\($0.name) \($0.sendsResolved)" }
                == ["slack/0 false", "discord/0 true"])
        #expect(configuration.inhibitRules.map(\.equal) == [["host"]])
        #expect(configuration.inhibitRules[0].targetMatchers.text == "{alertname=~\".+\"}")
        let night = try #require(configuration.timeIntervals.first?.intervals.first)
        #expect(night.minutes == [1320..<1440])
        #expect(night.weekdays == [1...5, 6...6])
        #expect(night.daysOfMonth.map(\.begin) == [1, -3])
        #expect(night.months == [1...3, 12...12])
        #expect(night.years == [2026...2027])
        #expect(night.location == "Europe/Berlin")
    }

    @Test("receivers' settings")
    func receivers() throws {
        let configuration = try AlertingConfiguration.parse(Self.text, file: "a.yaml")
        let pager = try #require(configuration.receiver("pager"))
        guard case .webhook(let first) = pager.integrations[0].kind,
            case .webhook(let second) = pager.integrations[1].kind,
            case .slack(let slack) = configuration.receiver("chat")?.integrations[0].kind
        else {
            Issue.record("not the expected kinds")
            return
        }
        #expect(first.alertCountMax == 5)
        #expect(first.timeout?.milliseconds == 3000)
        #expect(!pager.integrations[0].sendsResolved)
        #expect(first.http.authorization == .scheme("Token", .text("s3cret")))
        #expect(second.url == .file(path: "/run/url"))
        #expect(second.http.authorization == .scheme("Bearer", .file(path: "/run/token")))
        #expect(slack.url == .text("https://hooks.slack.example/global"))
        #expect(slack.fields.map(\.isShort) == [true])
        #expect("\(first.url) \(first.http)".contains("s3cret") == false)
        #expect("\(first)".contains("127.0.0.1") == false)
        let data = NotificationData(
            receiver: "chat", alerts: [], groupLabels: ["alertname": "Down"],
            externalURL: "http://p")
        let environment = NotificationTemplate.Environment(now: TimestampMS(0))
        #expect(try slack.title?.expand(data, environment) == "Down")
    }

    @Test(
        "routing",
        arguments: [
            (["alertname": "X"], ["default {}:{alertname=\"X\"}"]),
            (
                ["alertname": "X", "severity": "warning"],
                ["chat {}/{env!=\"test\",severity=\"warning\"}:{alertname=\"X\"}"]
            ),
            (
                ["alertname": "X", "severity": "warning", "env": "test"],
                ["default {}:{alertname=\"X\"}"]
            ),
            (
                ["job": "j", "severity": "page", "team": "a"],
                ["pager {}/{severity=\"page\",team=~\"a|b\"}:{job=\"j\"}"]
            ),
            (
                ["job": "j", "severity": "page", "team": "b"],
                [
                    "pager {}/{severity=\"page\",team=~\"a|b\"}:{job=\"j\"}",
                    "default {}/{severity=\"page\",team=~\"b|c\"}:"
                        + "{job=\"j\", severity=\"page\", team=\"b\"}",
                ]
            ),
            (
                ["severity": "page", "team": "c", "host": "h1"],
                ["chat {}/{severity=\"page\",team=~\"b|c\"}/{host=\"h1\"}:{}"]
            ),
        ] as [([String: String], [String])])
    func routing(labels: [String: String], expected: [String]) throws {
        let configuration = try AlertingConfiguration.parse(Self.text, file: "a.yaml")
        let matches = configuration.root.route(Labels(labels))
        #expect(matches.map { "\($0.receiver) \($0.groupKey)" } == expected)
    }

    @Test("children inherit timings, not matchers nor time intervals")
    func inheritance() throws {
        let root = try AlertingConfiguration.parse(Self.text, file: "a.yaml").root
        #expect(root.timings.groupWait.milliseconds == 10_000)
        #expect(root.timings.groupInterval == RouteTimings.standard.groupInterval)
        #expect(root.children[0].timings.groupWait.milliseconds == 10_000)
        #expect(root.children[0].timings.repeatInterval.milliseconds == 3_600_000)
        #expect(root.children[0].groupBy == .labels(["alertname", "job"]))
        #expect(root.children[1].receiver == "default")
        #expect(root.children[1].groupBy == .all)
        #expect(root.children[1].muteTimeIntervals == ["nights"])
        #expect(root.children[1].children[0].muteTimeIntervals == [])
        #expect(root.children[1].children[0].groupBy == .labels([]))
        #expect(root.children[1].continues == false)
    }

    private static func file(_ route: String, _ receivers: String = "- name: d") -> String {
        "route: \(route)\nreceivers:\n\(receivers)"
    }

    @Test(
        "refusals",
        arguments: [
            ("receivers: []", "a.yaml:1:1: the key `route` is missing: where alerts go"),
            (file("{}"), "a.yaml:1:8: the root route has no `receiver`"),
            (
                file("{receiver: x}"),
                "a.yaml:1:19: `receiver`: there is no receiver \"x\"; expected one of d"
            ),
            (
                file("{receiver: d, matchers: [a=b]}"),
                "a.yaml:1:32: `matchers`: the root route takes every alert and can't have it"
            ),
            (
                file("{receiver: d, group_by: [a, '...']}"),
                "a.yaml:1:32: `group_by`: `...` groups by every label and must stand alone"
            ),
            (
                file("{receiver: d, group_by: [a, a]}"),
                "a.yaml:1:32: `group_by`: the label `a` stands there twice"
            ),
            (
                file("{receiver: d, group_interval: 0s}"),
                "a.yaml:1:38: `group_interval`: expected a duration above 0"
            ),
            (
                file("{receiver: d, group_wait: 5}"),
                "a.yaml:1:34: `group_wait`: expected a duration such as 15s, 5m or 1h30m, found `5`"
            ),
            (
                file("{receiver: d, recever: x}"),
                "a.yaml:1:22: unknown key `recever`: did you mean `receiver`? expected one of receiver, group_by, "
                    + "matchers, match, match_re, continue, group_wait, group_interval, "
                    + "repeat_interval, mute_time_intervals, active_time_intervals, routes"
            ),
            (
                file("{receiver: d, routes: [{matchers: ['a=~\"[\"']}]}"),
                "a.yaml:1:43: the regular expression of `a`"
            ),
            (
                file("{receiver: d, routes: [{matchers: ['a']}]}"),
                "a.yaml:1:43: `matchers`: bad matcher `a`"
            ),
            (
                file("{receiver: d, routes: [{mute_time_intervals: [n]}]}"),
                "a.yaml:1:53: `mute_time_intervals`: there is no time interval \"n\""
            ),
            (
                file("{receiver: d}", "- name: d\n- name: d"),
                "a.yaml:4:9: `name`: the receiver \"d\" is already defined"
            ),
            (
                file("{receiver: d}", "- name: d\n  email_configs: [{to: a}]"),
                "a.yaml:4:18: `email_configs`: not supported yet"
            ),
            (
                file("{receiver: d}", "- name: d\n  webhook_configs: [{}]"),
                "a.yaml:4:21: one of `url` and `url_file` is missing"
            ),
            (
                file("{receiver: d}", "- name: d\n  webhook_configs: [{url: ftp://secret}]"),
                "a.yaml:4:27: `url`: expected an address that begins with https:// or http://"
            ),
            (
                file(
                    "{receiver: d}", "- name: d\n  webhook_configs: [{url: http://a, url_file: b}]"),
                "a.yaml:4:47: `url_file`: only one of it and `url` may be there"
            ),
            (
                file(
                    "{receiver: d}",
                    "- name: d\n  slack_configs: [{api_url: http://a, title: '{{ .X'}]"),
                "a.yaml:4:46: `title`: the template does not parse: line 1: unclosed action"
            ),
            (
                file(
                    "{receiver: d}",
                    "- name: d\n  discord_configs: [{webhook_url: http://a, http_config: {oauth2: {}}}]"
                ),
                "a.yaml:4:67: `oauth2`: not supported yet"
            ),
        ])
    func refusals(text: String, message: String) {
        let found = failure(text)
        #expect(found?.hasPrefix(message) == true, "\(found ?? "accepted")")
    }

    @Test("without a file alerts go nowhere, but grouped")
    func standard() {
        let match = AlertingConfiguration.standard.root.route(["alertname": "A", "x": "y"])
        #expect(match.map(\.groupKey) == ["{}:{alertname=\"A\"}"])
        #expect(AlertingConfiguration.standard.receiver("none")?.integrations.isEmpty == true)
    }
}
