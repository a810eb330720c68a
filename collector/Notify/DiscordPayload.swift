package import Storage

/// The body of a Discord webhook: one embed, nobody pinged whatever a label says.
///
/// Limits: content 2,000, title 256, description 4,096, 6,000 characters over all embeds; in UTF-16 units, so cut with
/// room to spare. Source: Discord "Execute Webhook", "Embed limits".
package struct DiscordPayload: Encodable, Sendable {
    struct Embed: Encodable, Sendable {
        struct Footer: Encodable, Sendable { var text: String }
        var title: String
        var description: String
        var color: Int
        var footer: Footer
    }
    struct AllowedMentions: Encodable, Sendable { var parse: [String] = [] }

    var content: String
    var username: String?
    var avatarURL: String?
    var embeds: [Embed]
    var allowedMentions = AllowedMentions()

    private enum CodingKeys: String, CodingKey {
        case content, username, embeds
        case avatarURL = "avatar_url"
        case allowedMentions = "allowed_mentions"
    }

    /// `title` and `text` nil take the standard ones.
    package init(
        _ message: OutboxMessage, username: String?, avatarURL: String?, content: String = "",
        title: String? = nil, text: String? = nil
    ) {
        let standard = NotificationText(message)
        let body = text ?? standard.paragraphs.joined(separator: "\n\n")
        self.content = Self.cut(content, to: 2000)
        self.username = username
        self.avatarURL = avatarURL
        embeds = [
            Embed(
                title: Self.cut(title ?? standard.title, to: 256),
                description: Self.cut(body, to: 4096),
                color: standard.isFiring ? 0x99_2D22 : 0x2E_CC71,
                footer: Embed.Footer(text: "petrel \(message.id)"))
        ]
    }

    package func body() throws -> [UInt8] { try encodedBody(self) }

    /// Cuts by UTF-16 units, the way Discord counts.
    static func cut(_ text: String, to units: Int) -> String {
        guard text.utf16.count > units else { return text }
        var cut = ""
        var count = 1
        for character in text {
            count += character.utf16.count
            guard count <= units else { break }
            cut.append(character)
        }
        return cut + "…"
    }
}
