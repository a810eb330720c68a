import CollectorNotify
import GoTemplate
import Model
import Routing
import Storage
import Testing

/// The bodies of messages, byte for byte.
@Suite("Payloads")
struct PayloadTests {
    private func body(
        _ message: OutboxMessage, _ receiver: String, externalURL: String = "http://c:9600"
    ) throws -> String {
        let renderer = MessageRenderer(externalURL: externalURL, regex: { .re2 })
        let integration = try #require(try Sample.integrations(receiver).first)
        return String(
            decoding: try renderer.body(message, integration, now: Sample.now), as: UTF8.self)
    }

    private func webhook(_ settings: String = "") -> String {
        "{name: team, webhook_configs: [{url: 'http://h/'\(settings)}]}"
    }
    private func slack(_ settings: String = "") -> String {
        "{name: team, slack_configs: [{api_url: 'http://h/'\(settings)}]}"
    }
    private func discord(_ settings: String = "") -> String {
        "{name: team, discord_configs: [{webhook_url: 'http://h/'\(settings)}]}"
    }

    private static let two = Sample.message([
        Sample.alert(), Sample.alert("Busy", ["host": "h2"], ended: true),
    ])

    @Test("webhook: Alertmanager's version 4")
    func webhookGolden() throws {
        let expected = """
            {"alerts":[\
            {"annotations":{"summary":"load is 7"},"endsAt":"0001-01-01T00:00:00Z",\
            "fingerprint":"900a8474c4cff286","generatorURL":"",\
            "labels":{"alertname":"Busy","host":"h1"},\
            "startsAt":"2025-11-22T03:00:00Z","status":"firing"},\
            {"annotations":{"summary":"load is 7"},"endsAt":"2025-11-22T03:59:59.500Z",\
            "fingerprint":"90008474c4c79e01","generatorURL":"",\
            "labels":{"alertname":"Busy","host":"h2"},\
            "startsAt":"2025-11-22T03:00:00Z","status":"resolved"}],\
            "commonAnnotations":{"summary":"load is 7"},"commonLabels":{"alertname":"Busy"},\
            "externalURL":"http://c:9600","groupKey":"{}:{alertname=\\"Busy\\"}",\
            "groupLabels":{"alertname":"Busy"},"receiver":"team","status":"firing",\
            "truncatedAlerts":0,"version":"4"}
            """
        #expect(try body(Self.two, webhook()) == expected)
    }

    @Test("webhook: what max_alerts cuts is counted", arguments: [(0, 5, 0), (2, 2, 3), (9, 5, 0)])
    func truncated(alertCountMax: Int, shown: Int, cut: Int) throws {
        let alerts = (0..<5).map { Sample.alert("Busy", ["host": "h\($0)"], ended: $0 < 4) }
        let text = try body(
            Sample.message(alerts), webhook(", max_alerts: \(alertCountMax)"))
        #expect(text.split(separator: "\"startsAt\"").count - 1 == shown)
        #expect(text.contains("\"truncatedAlerts\":\(cut),"))
        // The status is of all alerts, those that are not shown included.
        #expect(text.contains("\"receiver\":\"team\",\"status\":\"firing\""))
    }

    @Test("Slack: the standard text")
    func slackGolden() throws {
        let expected = """
            {"attachments":[{"color":"danger","fallback":"[FIRING:1] Busy",\
            "footer":"petrel \(Sample.id)","mrkdwn_in":["fallback","pretext","text"],\
            "text":"Firing: load is 7\\nhost=h1\\nsince 2025-11-22T03:00:00Z\\n\\n\
            Resolved: load is 7\\nhost=h2\\nsince 2025-11-22T03:00:00Z, \
            until 2025-11-22T03:59:59.500Z",\
            "title":"[FIRING:1] Busy","title_link":"http://c:9600"}]}
            """
        #expect(try body(Self.two, slack()) == expected)
    }

    @Test("Discord: the standard text, nobody pinged")
    func discordGolden() throws {
        let expected = """
            {"allowed_mentions":{"parse":[]},"content":"","embeds":[{"color":3066993,\
            "description":"Resolved: load is 7\\nsince 2025-11-22T03:00:00Z, \
            until 2025-11-22T03:59:59.500Z","footer":{"text":"petrel \(Sample.id)"},\
            "title":"[RESOLVED] Busy (h1)"}],"username":"bird"}
            """
        #expect(
            try body(Sample.message([Sample.alert(ended: true)]), discord(", username: bird"))
                == expected)
    }

    private static let hostile = Sample.message([
        Sample.alert(
            "Busy", ["host": "<!channel>"],
            annotations: ["summary": "a & b <http://x|y> @everyone \"q\" \u{1}"])
    ])

    @Test("Slack: labels neither ping nor link")
    func slackEscapes() throws {
        let text = try body(Self.hostile, slack())
        #expect(!text.contains("<") && !text.contains(">"))
        #expect(text.contains("\"title\":\"[FIRING:1] Busy (&lt;!channel&gt;)\""))
        #expect(text.contains("a &amp; b &lt;http://x|y&gt; @everyone \\\"q\\\" \\u0001"))
        #expect(!text.contains("link_names"))
    }

    @Test("Discord: whatever a label or template says, no mention is allowed")
    func discordMentions() throws {
        let text = try body(
            Self.hostile, discord(", content: '@everyone {{ .CommonLabels.alertname }}'"))
        #expect(
            text.hasPrefix("{\"allowed_mentions\":{\"parse\":[]},\"content\":\"@everyone Busy\""))
    }

    @Test("Discord: cut by UTF-16 units to its limits")
    func discordLimits() throws {
        // Two units each.
        let long = String(repeating: "🐦", count: 3000)
        let text = try body(
            Self.two, discord(", content: '\(long)', title: '\(long)', message: '\(long)'"))
        func units(_ key: String) throws -> Int {
            let start = try #require(text.firstRange(of: "\"\(key)\":\"")).upperBound
            return text[start...].prefix { $0 != "\"" }.utf16.count
        }
        #expect(try units("content") == 1999)
        #expect(try units("title") == 255)
        #expect(try units("description") == 4095)
        #expect(text.contains("🐦…\""))
        let fits = String(repeating: "x", count: 256)
        #expect(try body(Self.two, discord(", title: '\(fits)'")).contains("\"\(fits)\""))
    }

    @Test("Slack: cut to its limits")
    func slackLimits() throws {
        let alerts = [
            Sample.alert(
                annotations: ["summary": String(repeating: "s", count: 20_000)])
        ]
        let text = try body(
            Sample.message(alerts),
            slack(", title: '\(String(repeating: "t", count: 2000))'"))
        #expect(text.contains("\"title\":\"\(String(repeating: "t", count: 1023))…\""))
        #expect(text.utf8.count < 12_000)
    }
}
