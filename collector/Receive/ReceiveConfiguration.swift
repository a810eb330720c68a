internal import Startup

/// Where the collector listens for agents, and the bounds of what it takes from them.
package struct ReceiveConfiguration: Sendable {
    /// An IP address and a port; port 0 lets the system choose.
    package struct Endpoint: Hashable, Sendable {
        package var address: String
        package var port: Int

        /// `address` in text form, IPv4 or IPv6.
        package init(address: String, port: Int) {
            self.address = address
            self.port = port
        }
    }

    /// Where agents with a certificate connect.
    package var fleet: Endpoint
    /// Where hosts join.
    package var enrolment: Endpoint
    /// Host names and addresses for the server certificate.
    package var serverNames: [String]
    package var limits: ReceiveLimits

    package init(
        fleet: Endpoint = Endpoint(address: "0.0.0.0", port: 9601),
        enrolment: Endpoint = Endpoint(address: "0.0.0.0", port: 9602),
        serverNames: [String] = [], limits: ReceiveLimits = ReceiveLimits()
    ) {
        self.fleet = fleet
        self.enrolment = enrolment
        self.serverNames = serverNames
        self.limits = limits
    }
}

/// The bounds of the receiving side; each says what happens at it.
package struct ReceiveLimits: Sendable {
    /// Unacknowledged batches of a session; past it the session is not read (HTTP/2 flow control holds the agent back).
    package var windowBatchesMax = 8
    /// Bytes of unacknowledged payloads of a session; as above.
    package var windowBytesMax = 4 << 20
    /// Bytes of one fleet message; a longer one ends its call with RESOURCE_EXHAUSTED.
    package var messageBytesMax = 4 << 20
    /// Bytes of one enrolment message; as for `messageBytesMax`.
    package var enrolmentBytesMax = 64 << 10
    /// How far ahead of the collector's clock a timestamp may be, milliseconds; a record beyond becomes a gap (`clock`).
    package var futureMSMax: Int64 = 10 * 60 * 1000
    /// How old a timestamp may be, milliseconds; as above.
    package var pastMSMax: Int64 = 400 * 24 * 60 * 60 * 1000
    /// What an agent is told to wait when the storage can't take its batch, milliseconds.
    package var retryAfterMS: UInt32 = 2000
    /// The same when the storage is full.
    package var retryAfterExhaustedMS: UInt32 = 15_000
    /// Live sessions of the whole collector; further ones are refused with a retry time.
    package var sessionsMax = 2048
    /// Enrolment calls a minute from one address, and in sum; further ones are refused.
    package var enrolmentsPerAddressPerMinute = 10
    package var enrolmentsPerMinute = 60
    /// Seconds within which a connection must finish its handshake and send its first bytes, else it is closed.
    package var handshakeSecondsMax: Int64 = 10
    /// How long a listener's connections have to end by themselves when it stops, nanoseconds; then they are cut.
    package var drainNanoseconds = AcceptedConnections.drainNanoseconds
    /// Dry runs that the search for records which the storage refuses may make; what is undecided then is refused too.
    package var rehearsalsMax = 64

    /// The default bounds.
    package init() {}
}
