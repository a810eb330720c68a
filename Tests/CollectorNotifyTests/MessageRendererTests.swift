import CollectorNotify
import GoTemplate
import Model
import Routing
import Storage
import Testing

@Suite("Receivers' own templates")
struct MessageRendererTests {
    private func body(
        _ receiver: String, library: GoTemplate? = nil, regex: TemplateRegex = .re2
    ) throws -> String {
        let renderer = MessageRenderer(
            externalURL: "http://c:9600", library: library, regex: { regex })
        let integration = try #require(try Sample.integrations(receiver).first)
        let message = Sample.message([
            Sample.alert(), Sample.alert("Busy", ["host": "h2"], ended: true),
        ])
        return String(
            decoding: try renderer.body(message, integration, now: Sample.now), as: UTF8.self)
    }

    @Test("Slack: every text, and fields")
    func slack() throws {
        let text = try body(
            """
            name: team
                slack_configs:
                  - api_url: http://h/
                    channel: '#{{ .CommonLabels.alertname | toLower }}'
                    username: '{{ .Receiver }}'
                    icon_emoji: ':bird:'
                    color: '{{ if eq .Status "firing" }}#f00{{ else }}#0f0{{ end }}'
                    title: '{{ .Alerts.Firing | len }} of {{ .Alerts | len }}'
                    title_link: '{{ .ExternalURL }}/alerts'
                    pretext: '<!here>'
                    text: '{{ range .Alerts }}{{ .Labels.host }};{{ end }}'
                    fallback: f
                    footer: foot
                    link_names: true
                    fields:
                      - {title: Name, value: '{{ .GroupLabels.alertname }}', short: true}
            """)
        #expect(
            text == """
                {"attachments":[{"color":"#f00","fallback":"f",\
                "fields":[{"short":true,"title":"Name","value":"Busy"}],"footer":"foot",\
                "mrkdwn_in":["fallback","pretext","text"],"pretext":"<!here>","text":"h1;h2;",\
                "title":"1 of 2","title_link":"http://c:9600/alerts"}],\
                "channel":"#busy","icon_emoji":":bird:","link_names":true,"username":"team"}
                """)
    }

    @Test("Discord: title, message and content")
    func discord() throws {
        let text = try body(
            """
            {name: team, discord_configs: [{webhook_url: 'http://h/', avatar_url: 'http://i/',
                title: '{{ .Status }}', message: '{{ .CommonAnnotations.summary }}', content: 'c'}]}
            """)
        #expect(
            text == """
                {"allowed_mentions":{"parse":[]},"avatar_url":"http://i/","content":"c",\
                "embeds":[{"color":10038562,"description":"load is 7",\
                "footer":{"text":"petrel \(Sample.id)"},"title":"firing"}]}
                """)
    }

    @Test(
        "a template that fails gives way to the standard text",
        arguments: ["{{ .NoSuchField.x }}", "{{ template \"missing\" . }}", "{{ join 1 2 }}"])
    func failing(template: String) throws {
        let slack = try body(
            "{name: team, slack_configs: [{api_url: 'http://h/', title: '\(template)', text: 'mine'}]}"
        )
        #expect(slack.contains("\"title\":\"[FIRING:1] Busy\""))
        #expect(slack.contains("\"text\":\"mine\""))
        let discord = try body(
            "{name: team, discord_configs: [{webhook_url: 'http://h/', message: '\(template)'}]}")
        #expect(discord.contains("\"description\":\"Firing: load is 7\\nhost=h1"))
    }

    @Test("definitions come from the configuration's template files")
    func library() throws {
        let library = try NotificationTemplate.library(
            "{{ define \"own\" }}{{ .Status | toUpper }}!{{ end }}")
        let receiver =
            "{name: team, slack_configs: [{api_url: 'http://h/', title: '{{ template \"own\" . }}'}]}"
        #expect(try body(receiver, library: library).contains("\"title\":\"FIRING!\""))
        #expect(try body(receiver).contains("\"title\":\"[FIRING:1] Busy\""))
    }

    @Test("regular expressions come from outside; without them the standard text stands in")
    func regex() throws {
        let receiver =
            "{name: team, slack_configs: [{api_url: 'http://h/', title: '{{ reReplaceAll \"B(.)\" \"$1\" .CommonLabels.alertname }}'}]}"
        #expect(try body(receiver).contains("\"title\":\"usy\""))
        #expect(
            try body(receiver, regex: .unavailable).contains("\"title\":\"[FIRING:1] Busy\""))
    }

    @Test("secrets are in no description")
    func descriptions() throws {
        let integrations = try Sample.integrations(
            """
            name: team
                webhook_configs:
                  - url: http://h/SECRET
                    http_config: {authorization: {credentials: SECRET}}
                slack_configs: [{api_url: 'http://h/SECRET'}]
                discord_configs: [{webhook_url: 'http://h/SECRET', http_config: {basic_auth: {username: u, password: SECRET}}}]
            """)
        #expect(integrations.count == 3)
        for integration in integrations {
            #expect(!String(describing: integration).contains("SECRET"))
            #expect(!String(reflecting: integration).contains("SECRET"))
        }
    }
}
