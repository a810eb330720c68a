package import Model

/// What the templates of a receiver see: one notification. Source: Alertmanager 0.34 template/template.go `Data`.
package struct NotificationData: Sendable {
    package var receiver: String
    /// Firing and resolved ones.
    package var alerts: [Alert]
    package var groupLabels: Labels
    /// The collector's address as people reach it, without a slash at the end.
    package var externalURL: String

    package init(receiver: String, alerts: [Alert], groupLabels: Labels, externalURL: String) {
        self.receiver = receiver
        self.alerts = alerts
        self.groupLabels = groupLabels
        self.externalURL = externalURL
    }

    /// `firing` while any alert fires, else `resolved`.
    package var status: String { alerts.contains(where: \.isFiring) ? "firing" : "resolved" }

    /// Labels that all alerts have with the same value.
    package var commonLabels: Labels { Self.common(alerts.map(\.labels)) }

    /// Annotations that all alerts have with the same value.
    package var commonAnnotations: Labels { Self.common(alerts.map(\.annotations)) }

    private static func common(_ sets: [Labels]) -> Labels {
        guard let first = sets.first else { return .empty }
        return Labels(
            first.filter { label in sets.allSatisfy { $0[label.name] == label.value } })
    }

    /// The data as templates see it.
    package var value: TemplateValue {
        .object(
            TemplateObject(
                "*template.Data",
                fields: [
                    "Receiver": .string(receiver), "Status": .string(status),
                    "Alerts": Self.alertList(alerts), "GroupLabels": Self.pairs(groupLabels),
                    "CommonLabels": Self.pairs(commonLabels),
                    "CommonAnnotations": Self.pairs(commonAnnotations),
                    "RouteLabels": Self.pairs(.empty), "ExternalURL": .string(externalURL),
                ]))
    }

    private static func alertList(_ alerts: [Alert]) -> TemplateValue {
        let values = { @Sendable (chosen: [Alert]) in TemplateValue.list(chosen.map(alert)) }
        return .object(
            TemplateObject(
                "template.Alerts",
                methods: [
                    "Firing": TemplateFunction(0...0) { _ in values(alerts.filter(\.isFiring)) },
                    "Resolved": TemplateFunction(0...0) { _ in
                        values(alerts.filter { !$0.isFiring })
                    },
                ], base: values(alerts)))
    }

    private static func alert(_ alert: Alert) -> TemplateValue {
        let digits = String(alert.labels.fingerprint, radix: 16)
        // A firing alert ends at Go's zero time, 0001-01-01, which nanoseconds since the epoch can't hold.
        let end = alert.endsAt.map { TemplateValue.time($0.nanoseconds) } ?? .string("")
        return .object(
            TemplateObject(
                "template.Alert",
                fields: [
                    "Status": .string(alert.isFiring ? "firing" : "resolved"),
                    "Labels": pairs(alert.labels), "Annotations": pairs(alert.annotations),
                    "StartsAt": .time(alert.startsAt.nanoseconds), "EndsAt": end,
                    "GeneratorURL": .string(alert.generatorURL),
                    "Fingerprint": .string(
                        String(repeating: "0", count: 16 - digits.count) + digits),
                ]))
    }

    /// A label set with the methods of Alertmanager's `KV`.
    static func pairs(_ labels: Labels) -> TemplateValue {
        // `alertname` comes first. Source: Alertmanager KV.SortedPairs.
        let ordered =
            labels.filter { $0.name == "alertname" } + labels.filter { $0.name != "alertname" }
        let names = TemplateValue.list(ordered.map { .string($0.name) })
        let values = TemplateValue.list(ordered.map { .string($0.value) })
        let list = TemplateValue.list(
            ordered.map {
                .object(
                    TemplateObject(
                        "template.Pair",
                        fields: ["Name": .string($0.name), "Value": .string($0.value)]))
            })
        let sorted = TemplateValue.object(
            TemplateObject(
                "template.Pairs",
                methods: [
                    "Names": TemplateFunction(0...0) { _ in names },
                    "Values": TemplateFunction(0...0) { _ in values },
                ], base: list))
        return .object(
            TemplateObject(
                "template.KV",
                methods: [
                    "SortedPairs": TemplateFunction(0...0) { _ in sorted },
                    "Names": TemplateFunction(0...0) { _ in names },
                    "Values": TemplateFunction(0...0) { _ in values },
                    "Remove": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                        pairs(labels.dropping(Set(try NotificationTemplate.texts(a[0]))))
                    },
                ],
                base: .stringMap(
                    Dictionary(uniqueKeysWithValues: labels.map { ($0.name, $0.value) }))))
    }
}

/// A template of a receiver's text: `{{ .GroupLabels.alertname }} on {{ .CommonLabels.instance }}`.
package struct NotificationTemplate: Sendable {
    /// What the functions depend on beside their arguments.
    package struct Environment: Sendable {
        package var now: TimestampMS
        package var regex: TemplateRegex
        /// The time zones of `tz`.
        package var locations: GoLocations

        package init(
            now: TimestampMS, regex: TemplateRegex = .unavailable,
            locations: GoLocations = .utcAlone
        ) {
            self.now = now
            self.regex = regex
            self.locations = locations
        }
    }

    /// As the file has it.
    package let source: String
    private let template: GoTemplate

    /// Parses `source`; names it takes from `template` are looked for at expansion.
    package init(_ source: String) throws(GoTemplateError) {
        self.source = source
        template = try GoTemplate(
            source, functions: Self.functions(Environment(now: TimestampMS(0))))
    }

    /// The text for one notification. `library` holds further definitions, from the configuration's template files.
    package func expand(
        _ data: NotificationData, _ environment: Environment, library: GoTemplate? = nil
    ) throws(GoTemplateError) -> String {
        var complete = template
        if let defaults = Self.defaults { complete = complete.including(defaults) }
        if let library { complete = template.including(library.including(complete)) }
        return try complete.expand(data.value, functions: Self.functions(environment))
    }

    /// A file of definitions for receivers' templates.
    package static func library(_ source: String) throws(GoTemplateError) -> GoTemplate {
        try GoTemplate(source, functions: functions(Environment(now: TimestampMS(0))))
    }

    /// The names that configurations written for Alertmanager refer to.
    private static let defaults = try? library(
        """
        {{ define "__subject" }}[{{ .Status | toUpper }}\
        {{ if eq .Status "firing" }}:{{ .Alerts.Firing | len }}{{ end }}] \
        {{ .GroupLabels.SortedPairs.Values | join " " }}\
        {{ with (.CommonLabels.Remove .GroupLabels.Names) }}{{ if .Names }} \
        ({{ .Values | join " " }}){{ end }}{{ end }}{{ end }}\
        {{ define "__alertmanager" }}Petrel{{ end }}\
        {{ define "__alertmanagerURL" }}{{ .ExternalURL }}{{ end }}\
        {{ define "__text_alert_list" }}{{ range . }}Labels:
        {{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}
        {{ end }}Annotations:
        {{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}
        {{ end }}Source: {{ .GeneratorURL }}
        {{ end }}{{ end }}\
        {{ define "slack.default.title" }}{{ template "__subject" . }}{{ end }}\
        {{ define "slack.default.titlelink" }}{{ template "__alertmanagerURL" . }}{{ end }}\
        {{ define "slack.default.username" }}{{ template "__alertmanager" . }}{{ end }}\
        {{ define "slack.default.fallback" }}{{ template "__subject" . }}{{ end }}\
        {{ define "slack.default.text" }}{{ end }}{{ define "slack.default.pretext" }}{{ end }}\
        {{ define "slack.default.color" }}\
        {{ if eq .Status "firing" }}danger{{ else }}good{{ end }}{{ end }}\
        {{ define "discord.default.content" }}{{ end }}\
        {{ define "discord.default.title" }}{{ template "__subject" . }}{{ end }}\
        {{ define "discord.default.message" }}\
        {{ if .Alerts.Firing }}Alerts Firing:
        {{ template "__text_alert_list" .Alerts.Firing }}{{ end }}\
        {{ if .Alerts.Resolved }}Alerts Resolved:
        {{ template "__text_alert_list" .Alerts.Resolved }}{{ end }}{{ end }}
        """)

    static func texts(_ value: TemplateValue) throws(GoTemplateError) -> [String] {
        guard case .list(let items) = value.plain else {
            throw .function("expected a list of texts, got \(value.typeName)")
        }
        var texts: [String] = []
        for item in items { texts.append(try item.requireString()) }
        return texts
    }

    private static func functions(_ environment: Environment) -> [String: TemplateFunction] {
        let shared = PrometheusFunctions.functions(
            TemplateEnvironment(now: environment.now, regex: environment.regex))
        var functions: [String: TemplateFunction] = [:]
        for name in [
            "toUpper", "toLower", "title", "match", "reReplaceAll", "safeHtml", "humanizeDuration",
        ] { functions[name] = shared[name] }
        return functions.merging(own(environment)) { _, own in own }
    }

    private static func own(_ environment: Environment) -> [String: TemplateFunction] {
        [
            "trimSpace": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                let text = try a[0].requireString()
                let kept = text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace)
                return .string(String(kept.reversed()))
            },
            "join": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
                .string(try texts(a[1]).joined(separator: a[0].requireString()))
            },
            "stringSlice": TemplateFunction(0...Int.max) { .list($0) },
            "list": TemplateFunction(0...Int.max) { .list($0) },
            "append": TemplateFunction(1...Int.max) { (a) throws(GoTemplateError) in
                guard case .list(let items) = a[0].plain else {
                    throw .function("expected a list, got \(a[0].typeName)")
                }
                return .list(items + a.dropFirst())
            },
            "dict": TemplateFunction(0...Int.max) { (a) throws(GoTemplateError) in
                guard a.count % 2 == 0 else { throw .function("a key has no value") }
                var entries: [String: TemplateValue] = [:]
                for index in stride(from: 0, to: a.count, by: 2) {
                    entries[try a[index].requireString()] = a[index + 1]
                }
                return .map(entries)
            },
            "now": TemplateFunction(0...0) { _ in .time(environment.now.nanoseconds) },
            "since": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                let now = GoInstant(environment.now.nanoseconds)
                return .duration(nanoseconds: now.nanoseconds(since: try time(a[0])))
            },
            "date": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
                .string(GoTime.format(try time(a[1]), try a[0].requireString()))
            },
            "tz": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
                let name = try a[0].requireString()
                guard let location = environment.locations.location(name) else {
                    throw .function("unknown time zone \(name)")
                }
                return .instant(location.instant(try time(a[1])))
            },
            "safeUrl": TemplateFunction(1...1) { $0[0] },
            "toJson": TemplateFunction(1...1) { .string(TemplateEscape.json($0[0])) },
        ]
    }

    private static func time(_ value: TemplateValue) throws(GoTemplateError) -> GoInstant {
        guard case .instant(let time) = value else {
            throw .function("expected a time, got \(value.typeName)")
        }
        return time
    }
}
