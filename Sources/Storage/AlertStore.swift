package import Model

/// The stored state of one alert of one rule: what lets `for` survive a restart.
package struct AlertRecord: Hashable, Sendable {
    /// Identity of the rule: `<file>;<group>;<alertname>;<index in the group>`.
    package var rule: String
    /// The alert's labels, `alertname` included; with `rule` the record's key.
    package var labels: Labels
    package var annotations: Labels
    package var state: AlertState
    package var value: Double
    /// When the expression began to hold.
    package var activeAt: TimestampMS
    package var firedAt: TimestampMS?
    package var resolvedAt: TimestampMS?
    /// When the expression last stopped holding while `keep_firing_for` keeps it up.
    package var keepFiringSince: TimestampMS?
    /// When receivers were last told of it (`outbox`), for repeats.
    package var lastNotifiedAt: TimestampMS?

    package init(
        rule: String, labels: Labels, annotations: Labels = .empty, state: AlertState,
        value: Double, activeAt: TimestampMS, firedAt: TimestampMS? = nil,
        resolvedAt: TimestampMS? = nil, keepFiringSince: TimestampMS? = nil,
        lastNotifiedAt: TimestampMS? = nil
    ) {
        self.rule = rule
        self.labels = labels
        self.annotations = annotations
        self.state = state
        self.value = value
        self.activeAt = activeAt
        self.firedAt = firedAt
        self.resolvedAt = resolvedAt
        self.keepFiringSince = keepFiringSince
        self.lastNotifiedAt = lastNotifiedAt
    }
}

/// A change of an alert's state, kept as history.
package struct AlertTransition: Hashable, Sendable {
    package var rule: String
    package var labels: Labels
    package var from: AlertState
    package var to: AlertState
    package var value: Double
    package var at: TimestampMS

    package init(
        rule: String, labels: Labels, from: AlertState, to: AlertState, value: Double,
        at: TimestampMS
    ) {
        self.rule = rule
        self.labels = labels
        self.from = from
        self.to = to
        self.value = value
        self.at = at
    }
}

/// A notification to one integration of one receiver, waiting to be sent or sent.
package struct OutboxMessage: Hashable, Sendable {
    /// Lower-case UUID, minted once: every attempt and repeat of this message carries it.
    package var id: String
    package var receiver: String
    /// Which integration of the receiver: `webhook/0`, `slack/0`, `discord/1`.
    package var integration: String
    /// `{}/{severity="page"}:{alertname="X"}`: route and group labels. Source: Alertmanager 0.34 `groupKey`.
    package var groupKey: String
    package var groupLabels: Labels
    package var alerts: [Alert]
    package var createdAt: TimestampMS
    package var attemptCount: Int

    package init(
        id: String, receiver: String, integration: String, groupKey: String, groupLabels: Labels,
        alerts: [Alert], createdAt: TimestampMS, attemptCount: Int = 0
    ) {
        self.id = id
        self.receiver = receiver
        self.integration = integration
        self.groupKey = groupKey
        self.groupLabels = groupLabels
        self.alerts = alerts
        self.createdAt = createdAt
        self.attemptCount = attemptCount
    }
}

/// One try to deliver a message, for the delivery log.
package struct DeliveryAttempt: Hashable, Sendable {
    package var messageID: String
    package var at: TimestampMS
    /// HTTP status; nil where no answer came.
    package var status: Int?
    /// Empty on success; never holds a secret (URLs are left out).
    package var error: String
    package var durationMilliseconds: Int64

    package init(
        messageID: String, at: TimestampMS, status: Int?, error: String,
        durationMilliseconds: Int64
    ) {
        self.messageID = messageID
        self.at = at
        self.status = status
        self.error = error
        self.durationMilliseconds = durationMilliseconds
    }
}

/// What becomes of a message after an attempt.
package enum DeliveryVerdict: Hashable, Sendable {
    case delivered
    case retry(at: TimestampMS)
    /// Given up: the receiver refuses it for good, or its time is over.
    case abandoned
}

/// The state of rules, in one transaction with the notifications that follow from it.
package protocol AlertStore: Sendable {
    /// Records that are not inactive, and resolved ones younger than 15 minutes.
    func loadAlerts() async throws(StorageError) -> [AlertRecord]
    /// Commits new states (a record that is `inactive` without `resolvedAt` is removed), the history and the outbox
    /// messages, all or nothing.
    func commit(
        _ records: [AlertRecord], _ transitions: [AlertTransition], _ messages: [OutboxMessage]
    ) async throws(StorageError)
}

/// The notifications waiting to be sent, and the delivery log.
package protocol OutboxStore: Sendable {
    func enqueue(_ messages: [OutboxMessage]) async throws(StorageError)
    /// Takes up to `limit` due messages, oldest first, and hides them from other claims until `now + leaseMilliseconds`.
    func claim(
        now: TimestampMS, limit: Int, leaseMilliseconds: Int64
    ) async throws(StorageError) -> [OutboxMessage]
    /// Writes the attempt to the delivery log and settles or reschedules the message, in one transaction.
    func settle(
        _ attempt: DeliveryAttempt, _ verdict: DeliveryVerdict
    ) async throws(StorageError)
    /// The newest attempts first, with their messages.
    func deliveries(
        limit: Int
    ) async throws(StorageError) -> [(message: OutboxMessage, attempt: DeliveryAttempt)]
}
