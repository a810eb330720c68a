package import Storage

/// The body of a Slack incoming webhook: one attachment, coloured by state.
///
/// The standard text is escaped (`&`, `<`, `>`), so a label can neither ping a channel nor hide a link; a receiver's own
/// templates are its author's and stay as they are.
/// Source: Slack "Formatting text for app surfaces"; Alertmanager 0.34 `notify/slack`.
package struct SlackPayload: Encodable, Sendable {
    /// What a receiver's templates came to; nil takes the standard text.
    package struct Texts: Sendable {
        var channel: String?
        var username: String?
        var iconEmoji: String?
        var iconURL: String?
        var color: String?
        var title: String?
        var titleLink: String?
        var pretext: String?
        var text: String?
        var fallback: String?
        var footer: String?
        var fields: [Field] = []
    }

    /// A field of the attachment.
    package struct Field: Encodable, Sendable {
        var title: String
        var value: String
        var short: Bool
    }

    struct Attachment: Encodable, Sendable {
        var color: String
        var fallback: String
        var title: String
        var titleLink: String?
        var pretext: String?
        var text: String
        var fields: [Field]?
        var footer: String
        var markdownIn = ["fallback", "pretext", "text"]

        private enum CodingKeys: String, CodingKey {
            case color, fallback, title, pretext, text, fields, footer
            case titleLink = "title_link"
            case markdownIn = "mrkdwn_in"
        }
    }

    var channel: String?
    var username: String?
    var iconEmoji: String?
    var iconURL: String?
    var linkNames: Bool?
    var attachments: [Attachment]

    private enum CodingKeys: String, CodingKey {
        case channel, username, attachments
        case iconEmoji = "icon_emoji"
        case iconURL = "icon_url"
        case linkNames = "link_names"
    }

    static let titleCharactersMax = 1024
    static let textCharactersMax = 7000

    /// `externalURL` is where a person finds the collector, empty for nowhere.
    package init(
        _ message: OutboxMessage, _ texts: Texts, linksNames: Bool, externalURL: String
    ) {
        let standard = NotificationText(message)
        let title = NotificationText.cut(
            texts.title ?? Self.escape(standard.title), to: Self.titleCharactersMax)
        let body = texts.text ?? Self.escape(standard.paragraphs.joined(separator: "\n\n"))
        channel = texts.channel
        username = texts.username
        iconEmoji = texts.iconEmoji
        iconURL = texts.iconURL
        linkNames = linksNames ? true : nil
        attachments = [
            Attachment(
                color: texts.color ?? (standard.isFiring ? "danger" : "good"),
                fallback: texts.fallback ?? title, title: title,
                titleLink: texts.titleLink ?? (externalURL.isEmpty ? nil : externalURL),
                pretext: texts.pretext,
                text: NotificationText.cut(body, to: Self.textCharactersMax),
                fields: texts.fields.isEmpty ? nil : texts.fields,
                footer: texts.footer ?? "petrel \(message.id)")
        ]
    }

    package func body() throws -> [UInt8] { try encodedBody(self) }

    static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
