package import Model

/// A certificate that the built-in authority issued.
package struct IssuedCertificate: Hashable, Sendable {
    package var host: HostName
    /// Serial number, lower-case hexadecimal.
    package var serial: String
    package var notBefore: TimestampMS
    package var notAfter: TimestampMS

    package init(host: HostName, serial: String, notBefore: TimestampMS, notAfter: TimestampMS) {
        self.host = host
        self.serial = serial
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}

/// Why a token was not redeemed.
package enum TokenRefusal: Error, Hashable, Sendable {
    case unknown
    case used
    case expired
}

/// A host as the collector knows it.
package struct FleetHost: Hashable, Sendable {
    package var host: HostName
    package var facts: HostFacts
    package var enrolledAt: TimestampMS
    /// Nil before the first heartbeat.
    package var lastSeenAt: TimestampMS?
    package var revoked: Bool

    package init(
        host: HostName, facts: HostFacts, enrolledAt: TimestampMS, lastSeenAt: TimestampMS?,
        revoked: Bool
    ) {
        self.host = host
        self.facts = facts
        self.enrolledAt = enrolledAt
        self.lastSeenAt = lastSeenAt
        self.revoked = revoked
    }
}

/// An entry of the audit log.
package struct AuditEvent: Hashable, Sendable {
    /// `enroll.create`, `enroll.redeem`, `enroll.refuse`, `handshake.refuse`, `enroll.revoke`, `renew`, …
    package var action: String
    /// Host or address that acted; empty where unknown.
    package var subject: String
    /// The outcome and its reason.
    package var detail: String

    package init(action: String, subject: String, detail: String) {
        self.action = action
        self.subject = subject
        self.detail = detail
    }
}

/// Enrolment, certificates, presence and audit.
package protocol FleetRegistry: Sendable {
    /// Stores the SHA-256 of a single-use token bound to `host`. An older unused token of the host stays valid.
    func createToken(
        hash: [UInt8], host: HostName, expiresAt: TimestampMS
    ) async throws(StorageError)
    /// Uses up the token: of any number of racing callers one gets the host, the others `TokenRefusal.used`.
    func redeemToken(hash: [UInt8], now: TimestampMS) async throws -> HostName
    /// Records an issued certificate and makes the host known and not revoked. Enrolment (not renewal) also revokes
    /// the certificates that the host held before.
    func recordCertificate(
        _ certificate: IssuedCertificate, isEnrolment: Bool
    ) async throws(StorageError)
    /// Revokes every certificate of `host`; false where the host is unknown.
    func revoke(host: HostName, now: TimestampMS) async throws(StorageError) -> Bool
    /// Serials (lower-case hexadecimal) of revoked certificates that have not expired. Cheap; polled twice a second.
    func revokedSerials(now: TimestampMS) async throws(StorageError) -> Set<String>
    func hosts() async throws(StorageError) -> [FleetHost]
    func recordHello(
        host: HostName, facts: HostFacts, at: TimestampMS
    ) async throws(StorageError)
    /// Last-seen times of many hosts in one statement.
    func recordPresence(_ lastSeen: [HostName: TimestampMS]) async throws(StorageError)
    func audit(_ event: AuditEvent, at: TimestampMS) async throws(StorageError)
}
