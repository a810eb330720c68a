import CollectorNotify
import Model
import Routing
import Simulation
import Storage
import Testing

@Suite("Notification planner")
struct NotificationPlannerTests {
    private static let yaml = """
        route:
          receiver: person
          group_by: [alertname]
          routes:
            - {receiver: machine, matchers: ['alertname="Watchdog"']}
            - {receiver: pager, matchers: ['severity="page"'], group_by: ['...'], continue: true}
            - {receiver: chat, matchers: ['severity=~"page|warning"'], group_by: [host]}
        receivers:
          - {name: person, webhook_configs: [{url: 'http://a/'}]}
          - {name: machine, webhook_configs: [{url: 'http://b/'}]}
          - name: pager
            webhook_configs: [{url: 'http://c/'}, {url: 'http://d/', send_resolved: false}]
          - {name: chat, slack_configs: [{api_url: 'http://e/'}], discord_configs: [{webhook_url: 'http://f/'}]}
        """

    private func plan(_ alerts: [Alert], yaml: String = yaml) throws -> [OutboxMessage] {
        let configuration = try AlertingConfiguration.parse(yaml, file: "alerting.yaml")
        let planner = NotificationPlanner(
            root: configuration.root, directory: ReceiverDirectory(configuration.receivers),
            random: SeededRandom(seed: 1))
        return planner.plan(alerts, now: Sample.now)
    }

    private func alert(
        _ name: String, severity: String = "", host: String = "h1", ended: Bool = false
    ) -> Alert {
        Sample.alert(name, ["host": host, "severity": severity], ended: ended)
    }

    private func places(_ messages: [OutboxMessage]) -> [String] {
        messages.map { "\($0.receiver)/\($0.integration)" }
    }

    @Test("alerts of one group share a message, other groups have their own")
    func groups() throws {
        let messages = try plan([
            alert("Busy"), alert("Full", host: "h2"), alert("Busy", host: "h3"),
        ])
        #expect(places(messages) == ["person/webhook/0", "person/webhook/0"])
        #expect(messages.map(\.groupKey) == ["{}:{alertname=\"Busy\"}", "{}:{alertname=\"Full\"}"])
        #expect(messages[0].alerts.map { $0.labels["host"] } == ["h1", "h3"])
        #expect(messages[0].groupLabels == ["alertname": "Busy"])
        #expect(messages.allSatisfy { $0.createdAt == Sample.now && $0.attemptCount == 0 })
    }

    @Test("every integration of every route that matches, in the order of the file")
    func routes() throws {
        let messages = try plan([alert("Busy", severity: "page")])
        #expect(
            places(messages) == [
                "pager/webhook/0", "pager/webhook/1", "chat/slack/0", "chat/discord/0",
            ])
        #expect(messages[0].groupLabels == messages[0].alerts[0].labels)
        #expect(messages[2].groupKey == "{}/{severity=~\"page|warning\"}:{host=\"h1\"}")
        #expect(Set(messages.map(\.id)).count == 4)
    }

    @Test("resolved alerts are kept from integrations that don't want them")
    func resolved() throws {
        let ended = try plan([alert("Busy", severity: "page", ended: true)])
        // Slack wants none by default, Discord and webhooks do.
        #expect(places(ended) == ["pager/webhook/0", "chat/discord/0"])
        let mixed = try plan([
            alert("Busy", severity: "warning"),
            alert("Full", severity: "warning", ended: true),
        ])
        #expect(places(mixed) == ["chat/slack/0", "chat/discord/0"])
        #expect(mixed.map { $0.alerts.map(\.name) } == [["Busy"], ["Busy", "Full"]])
    }

    @Test("alerts for machines don't reach the default receiver, but a route that asks for them")
    func severityNone() throws {
        #expect(try plan([alert("Heartbeat", severity: "none")]).isEmpty)
        #expect(
            places(try plan([alert("Watchdog", severity: "none")])) == ["machine/webhook/0"])
    }

    @Test("a receiver without integrations swallows what it gets")
    func swallowed() throws {
        let yaml = "route: {receiver: none}\nreceivers: [{name: none}]"
        #expect(try plan([alert("Busy")], yaml: yaml).isEmpty)
        #expect(try plan([]).isEmpty)
    }

    @Test("ids are random UUIDs, lower case", arguments: 0..<50)
    func ids(seed: Int) {
        let id = MessageID.make(SeededRandom(seed: UInt64(seed)))
        let parts = id.split(separator: "-", omittingEmptySubsequences: false)
        #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
        #expect(id.allSatisfy { $0 == "-" || "0123456789abcdef".contains($0) })
        #expect(parts.count == 5 && parts[2].first == "4")
        #expect(parts.count == 5 && "89ab".contains(parts[3].first ?? "x"))
        #expect(id == MessageID.make(SeededRandom(seed: UInt64(seed))))
        #expect(id != MessageID.make(SeededRandom(seed: UInt64(seed + 1000))))
    }
}
