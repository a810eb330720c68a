package import Storage

/// The body of a Slack incoming webhook: one attachment, coloured by state.
///
/// Text from alerts is escaped (`&`, `<`, `>`), so a label can neither ping a channel nor hide a link.
/// Source: Slack "Formatting text for app surfaces"; Alertmanager 0.34 `notify/slack`.
package struct SlackPayload: Encodable, Sendable {
    struct Attachment: Encodable, Sendable {
        var color: String
        var fallback: String
        var title: String
        var titleLink: String?
        var text: String
        var footer: String
        var markdownIn = ["text"]

        private enum CodingKeys: String, CodingKey {
            case color, fallback, title, text, footer
            case titleLink = "title_link"
            case markdownIn = "mrkdwn_in"
        }
    }

    var channel: String?
    var username: String?
    var attachments: [Attachment]

    /// `channel` and `username` nil leave the choice to the webhook. `title` and `text` nil take the standard ones.
    package init(
        _ message: OutboxMessage, channel: String?, username: String?, externalURL: String,
        title: String? = nil, text: String? = nil
    ) {
        let standard = NotificationText(message)
        let shownTitle = NotificationText.cut(Self.escape(title ?? standard.title), to: 1024)
        let body = text ?? standard.paragraphs.joined(separator: "\n\n")
        self.channel = channel
        self.username = username
        attachments = [
            Attachment(
                color: standard.isFiring ? "danger" : "good", fallback: shownTitle,
                title: shownTitle, titleLink: externalURL.isEmpty ? nil : externalURL,
                text: NotificationText.cut(Self.escape(body), to: 7000),
                footer: "petrel \(message.id)")
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
