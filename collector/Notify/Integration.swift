/// Where one integration of a receiver sends, and in which shape. Holds secrets: it has no description of its content.
package struct Integration: Sendable, CustomStringConvertible {
    package enum Shape: Sendable {
        /// `alertCountMax` 0 is no limit.
        case webhook(alertCountMax: Int)
        case slack(channel: String?, username: String?)
        case discord(username: String?, avatarURL: String?, content: String)
    }

    package var receiver: String
    /// `webhook/0`, `slack/0`, `discord/1`: its kind and index within the receiver.
    package var name: String
    package var shape: Shape
    /// Secret: for Slack and Discord it is the whole credential.
    package var url: String
    /// Value of the Authorization header, secret; nil sends none.
    package var authorization: String?
    package var sendsResolved: Bool
    package var timeoutMilliseconds: Int64

    package init(
        receiver: String, name: String, shape: Shape, url: String, authorization: String? = nil,
        sendsResolved: Bool = true, timeoutMilliseconds: Int64 = 10_000
    ) {
        self.receiver = receiver
        self.name = name
        self.shape = shape
        self.url = url
        self.authorization = authorization
        self.sendsResolved = sendsResolved
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    package var description: String { "\(receiver)/\(name)" }
}
