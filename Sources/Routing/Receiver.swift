package import GoTemplate
package import Model

/// A secret of the configuration: its text, or the file that holds it. Prints as `<secret>`.
package enum Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    case text(String)
    /// Read at each use, so that it can be rotated; white space around it does not count.
    case file(path: String)

    package var description: String {
        switch self {
        case .text: "<secret>"
        case .file(let path): "<secret in \(path)>"
        }
    }
    package var debugDescription: String { description }
}

/// How a receiver's HTTP request is made.
package struct ReceiverHTTP: Hashable, Sendable {
    /// Credentials for the Authorization header.
    package enum Authorization: Hashable, Sendable {
        case none
        /// `<scheme> <secret>`, usually `Bearer`.
        case scheme(String, Secret)
        case basic(username: String, password: Secret)
    }

    package var authorization: Authorization
    package var followsRedirects: Bool
    /// Nil: the collector's own way out (`outbound.proxy`). May hold credentials.
    package var proxy: Secret?

    package init(
        authorization: Authorization = .none, followsRedirects: Bool = true, proxy: Secret? = nil
    ) {
        self.authorization = authorization
        self.followsRedirects = followsRedirects
        self.proxy = proxy
    }
}

/// `webhook_configs`: Alertmanager's JSON, version 4.
package struct WebhookReceiver: Sendable {
    package var url: Secret
    /// Most alerts in one message; 0: no limit.
    package var alertCountMax: Int
    /// Nil: the sender's default.
    package var timeout: PrometheusDuration?
    package var http: ReceiverHTTP
}

/// A field of a Slack attachment.
package struct SlackField: Sendable {
    package var title: NotificationTemplate
    package var value: NotificationTemplate
    package var isShort: Bool
}

/// `slack_configs`, an incoming webhook. A nil text is the sender's own.
package struct SlackReceiver: Sendable {
    package var url: Secret
    package var channel: NotificationTemplate?
    package var username: NotificationTemplate?
    package var iconEmoji: NotificationTemplate?
    package var iconURL: NotificationTemplate?
    package var color: NotificationTemplate?
    package var title: NotificationTemplate?
    package var titleLink: NotificationTemplate?
    package var pretext: NotificationTemplate?
    package var text: NotificationTemplate?
    package var fallback: NotificationTemplate?
    package var footer: NotificationTemplate?
    package var fields: [SlackField]
    package var linksNames: Bool
    package var timeout: PrometheusDuration?
    package var http: ReceiverHTTP
}

/// `discord_configs`. A nil text is the sender's own.
package struct DiscordReceiver: Sendable {
    package var url: Secret
    package var title: NotificationTemplate?
    package var message: NotificationTemplate?
    package var content: NotificationTemplate?
    package var username: String?
    package var avatarURL: String?
    package var http: ReceiverHTTP
}

/// One integration of a receiver.
package struct ReceiverIntegration: Sendable {
    /// What it speaks, with its settings.
    package enum Kind: Sendable {
        case webhook(WebhookReceiver)
        case slack(SlackReceiver)
        case discord(DiscordReceiver)
    }

    /// `webhook/0`, `slack/0`, `discord/1`: its kind and index within the receiver.
    package var name: String
    /// Whether it is told that alerts are resolved. Alertmanager's defaults: webhook and Discord yes, Slack no.
    package var sendsResolved: Bool
    package var kind: Kind
}

/// A named receiver; without integrations it swallows what it gets.
package struct Receiver: Sendable {
    package var name: String
    package var integrations: [ReceiverIntegration]
}
