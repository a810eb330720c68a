package import GoTemplate
package import Model
package import Routing
package import Storage

/// The body of a message for an integration: its own templates where it has some, the standard text elsewhere.
package struct MessageRenderer: Sendable {
    private let externalURL: String
    private let library: GoTemplate?
    private let locations: GoLocations
    private let regex: @Sendable () -> TemplateRegex

    /// `externalURL` is where a person finds the collector, empty for nowhere; `library` holds the definitions of
    /// the configuration's template files, nil where it names none; `locations` are the time zones of `tz`.
    package init(
        externalURL: String, library: GoTemplate? = nil, locations: GoLocations = .utcAlone,
        regex: @escaping @Sendable () -> TemplateRegex
    ) {
        self.locations = locations
        self.externalURL = externalURL
        self.library = library
        self.regex = regex
    }

    /// The JSON for `integration`. A template that fails is replaced by the standard text: the message matters more.
    package func body(
        _ message: OutboxMessage, _ integration: ReceiverIntegration, now: TimestampMS
    ) throws -> [UInt8] {
        let data = NotificationData(
            receiver: message.receiver, alerts: message.alerts, groupLabels: message.groupLabels,
            externalURL: externalURL)
        let environment = NotificationTemplate.Environment(
            now: now, regex: regex(), locations: locations)
        func text(_ template: NotificationTemplate?) -> String? {
            guard let template,
                let text = try? template.expand(data, environment, library: library)
            else { return nil }
            return text.isEmpty ? nil : text
        }
        switch integration.kind {
        case .webhook(let webhook):
            return try WebhookPayload(
                message, externalURL: externalURL, alertCountMax: webhook.alertCountMax
            ).body()
        case .slack(let slack):
            return try SlackPayload(
                message,
                SlackPayload.Texts(
                    channel: text(slack.channel), username: text(slack.username),
                    iconEmoji: text(slack.iconEmoji), iconURL: text(slack.iconURL),
                    color: text(slack.color), title: text(slack.title),
                    titleLink: text(slack.titleLink), pretext: text(slack.pretext),
                    text: text(slack.text), fallback: text(slack.fallback),
                    footer: text(slack.footer),
                    fields: slack.fields.map {
                        SlackPayload.Field(
                            title: text($0.title) ?? "", value: text($0.value) ?? "",
                            short: $0.isShort)
                    }), linksNames: slack.linksNames, externalURL: externalURL
            ).body()
        case .discord(let discord):
            return try DiscordPayload(
                message, username: discord.username, avatarURL: discord.avatarURL,
                content: text(discord.content) ?? "", title: text(discord.title),
                text: text(discord.message)
            ).body()
        }
    }
}
