import GoTemplate
import Model
import Testing

@Suite("Notification templates")
struct NotificationTemplateTests {
    static let data = NotificationData(
        receiver: "chat",
        alerts: [
            Alert(
                labels: ["alertname": "Down", "host": "a", "job": "n"],
                annotations: ["summary": "a is down"], startsAt: TimestampMS(1_435_065_584_000)),
            Alert(
                labels: ["alertname": "Down", "host": "b", "job": "n"],
                annotations: ["summary": "b is down"], startsAt: TimestampMS(1_435_065_584_000),
                endsAt: TimestampMS(1_435_065_590_000)),
        ], groupLabels: ["alertname": "Down"], externalURL: "http://p")

    private func expand(_ source: String) -> String {
        do throws(GoTemplateError) {
            return try NotificationTemplate(source).expand(
                Self.data,
                NotificationTemplate.Environment(
                    now: TimestampMS(1_435_065_594_500), locations: GoLocationTests.locations))
        } catch {
            return "error: \(error)"
        }
    }

    @Test(
        "expand",
        arguments: [
            ("{{ .Status }} {{ .Receiver }} {{ .ExternalURL }}", "firing chat http://p"),
            (
                "{{ .GroupLabels.alertname }} {{ .CommonLabels.job }} [{{ .CommonLabels.host }}]",
                "Down n []"
            ),
            ("{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}", "2 1 1"),
            (
                "{{ range .Alerts }}{{ .Labels.host }}:{{ .Status }}:{{ .Annotations.summary }} {{ end }}",
                "a:firing:a is down b:resolved:b is down "
            ),
            ("{{ (index .Alerts 0).StartsAt.Format \"15:04:05\" }}", "13:19:44"),
            ("{{ (index .Alerts 1).EndsAt | date \"2006-01-02\" }}", "2015-06-23"),
            (
                "{{ (index .Alerts 0).StartsAt | tz \"Europe/Berlin\" | date \"15:04 MST\" }}",
                "15:19 CEST"
            ),
            (
                "{{ range (index .Alerts 0).Labels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
                "alertname=Down;host=a;job=n;"
            ),
            (
                "{{ .CommonLabels.Names | join \",\" }} {{ (.CommonLabels.Remove (stringSlice \"job\")).Values | join \",\" }}",
                "alertname,job Down"
            ),
            ("{{ template \"slack.default.title\" . }}", "[FIRING:1] Down (n)"),
            ("{{ template \"slack.default.color\" . }}", "danger"),
            ("{{ since (index .Alerts 0).StartsAt }}", "10.5s"),
            ("{{ toJson .GroupLabels }}", "{\"alertname\":\"Down\"}"),
            ("{{ trimSpace \" a \" }}|{{ toUpper \"a\" }}", "a|A"),
            ("{{ if gt (len .Alerts.Firing) 0 }}x{{ end }}", "x"),
        ])
    func expands(source: String, output: String) { #expect(expand(source) == output) }

    @Test("a list of all alerts")
    func list() {
        let text = expand("{{ template \"discord.default.message\" . }}")
        #expect(
            text == """
                Alerts Firing:
                Labels:
                 - alertname = Down
                 - host = a
                 - job = n
                Annotations:
                 - summary = a is down
                Source: 
                Alerts Resolved:
                Labels:
                 - alertname = Down
                 - host = b
                 - job = n
                Annotations:
                 - summary = b is down
                Source: 

                """)
    }

    @Test("a library of one's own comes before the defaults")
    func library() throws {
        let library = try NotificationTemplate.library(
            "{{ define \"slack.default.title\" }}mine {{ .Receiver }}{{ end }}")
        let text = try NotificationTemplate("{{ template \"slack.default.title\" . }}").expand(
            Self.data, NotificationTemplate.Environment(now: TimestampMS(0)), library: library)
        #expect(text == "mine chat")
    }
}
