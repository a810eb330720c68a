internal import GoTemplate
internal import Model
internal import YAMLDocument

/// Reads one entry of `receivers`.
struct ReceiverParser {
    var global: GlobalSettings

    /// Receivers of Alertmanager that Petrel does not have.
    private static let unsupported = [
        "email", "pagerduty", "opsgenie", "pushover", "sns", "victorops", "wechat", "telegram",
        "webex", "msteams", "msteamsv2", "jira", "rocketchat", "incidentio", "mattermost",
    ]

    func receiver(_ entry: inout YAMLMapping) throws(YAMLError) -> Receiver {
        let name = try entry.requiredString("name")
        var integrations: [ReceiverIntegration] = []
        for (index, var item) in try entry.mappings("webhook_configs").enumerated() {
            integrations.append(try webhook(&item, index))
        }
        for (index, var item) in try entry.mappings("slack_configs").enumerated() {
            integrations.append(try slack(&item, index))
        }
        for (index, var item) in try entry.mappings("discord_configs").enumerated() {
            integrations.append(try discord(&item, index))
        }
        for kind in Self.unsupported where entry.keys.contains("\(kind)_configs") {
            throw entry.error(
                at: "\(kind)_configs",
                "not supported yet: receivers are webhook, slack and discord; a webhook can feed "
                    + "a bridge to others")
        }
        try entry.finish()
        return Receiver(name: name, integrations: integrations)
    }

    private func webhook(
        _ item: inout YAMLMapping, _ index: Int
    ) throws(YAMLError) -> ReceiverIntegration {
        let url = try requiredURL(&item, "url", fallback: nil)
        let receiver = WebhookReceiver(
            url: url, alertCountMax: try item.int("max_alerts", default: 0, range: 0...1_000_000),
            timeout: try timeout(&item), http: try Self.http(&item, default: global.http))
        try refuse(&item, ["payload"])
        let sendsResolved = try item.bool("send_resolved", default: true)
        try item.finish()
        return ReceiverIntegration(
            name: "webhook/\(index)", sendsResolved: sendsResolved, kind: .webhook(receiver))
    }

    private func slack(
        _ item: inout YAMLMapping, _ index: Int
    ) throws(YAMLError) -> ReceiverIntegration {
        let url = try requiredURL(&item, "api_url", fallback: global.slackURL)
        try refuse(
            &item,
            ["actions", "app_token", "app_token_file", "app_url", "update_message", "blocks"])
        // Read and left to the sender's own way.
        for key in [
            "short_fields", "mrkdwn_in", "callback_id", "image_url", "thumb_url", "message_text",
        ]
        where item.keys.contains(key) { _ = item.has(key) }
        let receiver = SlackReceiver(
            url: url, channel: try template(&item, "channel"),
            username: try template(&item, "username"),
            iconEmoji: try template(&item, "icon_emoji"),
            iconURL: try template(&item, "icon_url"), color: try template(&item, "color"),
            title: try template(&item, "title"), titleLink: try template(&item, "title_link"),
            pretext: try template(&item, "pretext"), text: try template(&item, "text"),
            fallback: try template(&item, "fallback"), footer: try template(&item, "footer"),
            fields: try fields(&item), linksNames: try item.bool("link_names", default: false),
            timeout: try timeout(&item), http: try Self.http(&item, default: global.http))
        let sendsResolved = try item.bool("send_resolved", default: false)
        try item.finish()
        return ReceiverIntegration(
            name: "slack/\(index)", sendsResolved: sendsResolved, kind: .slack(receiver))
    }

    private func fields(_ item: inout YAMLMapping) throws(YAMLError) -> [SlackField] {
        var fields: [SlackField] = []
        for var entry in try item.mappings("fields") {
            guard let title = try template(&entry, "title"),
                let value = try template(&entry, "value")
            else { throw entry.error("a field needs `title` and `value`") }
            fields.append(
                SlackField(
                    title: title, value: value,
                    isShort: try entry.bool("short", default: false)))
            try entry.finish()
        }
        return fields
    }

    private func discord(
        _ item: inout YAMLMapping, _ index: Int
    ) throws(YAMLError) -> ReceiverIntegration {
        let receiver = DiscordReceiver(
            url: try requiredURL(&item, "webhook_url", fallback: nil),
            title: try template(&item, "title"), message: try template(&item, "message"),
            content: try template(&item, "content"), username: try item.string("username"),
            avatarURL: try item.string("avatar_url"),
            http: try Self.http(&item, default: global.http))
        let sendsResolved = try item.bool("send_resolved", default: true)
        try item.finish()
        return ReceiverIntegration(
            name: "discord/\(index)", sendsResolved: sendsResolved, kind: .discord(receiver))
    }

    private func timeout(_ item: inout YAMLMapping) throws(YAMLError) -> PrometheusDuration? {
        guard let timeout = try item.duration("timeout"), timeout.milliseconds > 0 else {
            return nil
        }
        return timeout
    }

    private func template(
        _ item: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> NotificationTemplate? {
        guard let source = try item.string(key) else { return nil }
        do throws(GoTemplateError) {
            return try NotificationTemplate(source)
        } catch {
            throw item.error(at: key, "the template does not parse: \(error)")
        }
    }

    private func requiredURL(
        _ item: inout YAMLMapping, _ key: String, fallback: Secret?
    ) throws(YAMLError) -> Secret {
        guard let secret = try Self.secret(&item, key) ?? fallback else {
            throw item.error("one of `\(key)` and `\(key)_file` is missing")
        }
        if case .text(let url) = secret {
            guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
                throw item.error(
                    at: key, "expected an address that begins with https:// or http://")
            }
        }
        return secret
    }

    private func refuse(
        _ item: inout YAMLMapping, _ keys: [String]
    ) throws(YAMLError) { try Self.refuse(&item, keys) }

    static func refuse(
        _ item: inout YAMLMapping, _ keys: [String]
    ) throws(YAMLError) {
        for key in keys where item.keys.contains(key) {
            throw item.error(at: key, "not supported yet")
        }
    }

    /// `key` or `key_file`, not both; nil where neither is there.
    static func secret(
        _ item: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> Secret? {
        let text = try item.string(key) ?? ""
        let path = try item.string("\(key)_file") ?? ""
        guard text.isEmpty || path.isEmpty else {
            throw item.error(at: "\(key)_file", "only one of it and `\(key)` may be there")
        }
        if !path.isEmpty { return .file(path: path) }
        return text.isEmpty ? nil : .text(text)
    }

    /// `http_config`, over what `global` says.
    static func http(
        _ item: inout YAMLMapping, default inherited: ReceiverHTTP
    ) throws(YAMLError) -> ReceiverHTTP {
        guard var section = try item.mapping("http_config") else { return inherited }
        var http = ReceiverHTTP()
        http.followsRedirects = try section.bool("follow_redirects", default: true)
        _ = try section.bool("enable_http2")
        if let proxy = try section.string("proxy_url"), !proxy.isEmpty {
            http.proxy = .text(proxy)
        }
        var found: [ReceiverHTTP.Authorization] = []
        if let token = try secret(&section, "bearer_token") {
            found.append(.scheme("Bearer", token))
        }
        if var entry = try section.mapping("authorization") {
            let scheme = try entry.string("type", default: "Bearer")
            guard let credentials = try secret(&entry, "credentials") else {
                throw entry.error("one of `credentials` and `credentials_file` is missing")
            }
            try entry.finish()
            found.append(.scheme(scheme, credentials))
        }
        if var entry = try section.mapping("basic_auth") {
            let username = try entry.requiredString("username")
            let password = try secret(&entry, "password") ?? .text("")
            try entry.finish()
            found.append(.basic(username: username, password: password))
        }
        guard found.count <= 1 else {
            throw section.error(
                "only one of `bearer_token`, `authorization` and `basic_auth` may be there")
        }
        http.authorization = found.first ?? .none
        try refuse(
            &section,
            [
                "oauth2", "tls_config", "no_proxy", "proxy_from_environment",
                "proxy_connect_header", "http_headers",
            ])
        try section.finish()
        return http
    }
}
