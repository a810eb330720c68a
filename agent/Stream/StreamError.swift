package import Identity
package import Model

/// Why the agent could not join, renew or stream.
package enum StreamError: Error, Sendable, CustomStringConvertible {
    case identity(IdentityError)
    /// The collector showed a certificate that is not acceptable.
    case collectorRefused(PeerRefusal, address: String)
    /// No connection came about.
    case unreachable(address: String, detail: String)
    /// The collector refused the call and said why.
    case refused(detail: String)
    /// The collector does not accept this host's certificate.
    case notAccepted(host: String, address: String, detail: String)
    /// This host's certificate ended, by its own clock.
    case expired(host: String, at: TimestampMS)
    /// Neither the token nor the caller names the collector.
    case noCollectorAddress
    /// The answer does not fit the question.
    case badAnswer(String)
    case cancelled

    /// What is wrong and what to do.
    package var description: String {
        switch self {
        case .identity(let error): "\(error)"
        case .collectorRefused(let refusal, let address):
            "the collector at \(address) is not the one of this fleet: \(refusal.explanation)"
        case .unreachable(let address, let detail):
            "the collector at \(address) can't be reached (\(detail)); check the address, its "
                + "firewall and that petrel-collector runs"
        case .refused(let detail): "the collector refused: \(detail)"
        case .notAccepted(let host, let address, let detail):
            "the collector at \(address) does not accept this host's certificate (\(detail)). "
                + Self.remedy(host)
        case .expired(let host, let at):
            "this host's certificate ended at \(RFC3339.text(at)). " + Self.remedy(host)
        case .noCollectorAddress:
            "the token names no collector; say where it is with --collector HOST"
        case .badAnswer(let detail): "the collector's answer is not usable: \(detail)"
        case .cancelled: "cancelled"
        }
    }

    /// Whether only a new token helps.
    var needsJoining: Bool {
        switch self {
        case .notAccepted, .expired: true
        case .identity, .collectorRefused, .unreachable, .refused, .noCollectorAddress,
            .badAnswer, .cancelled:
            false
        }
    }

    private static func remedy(_ host: String) -> String {
        "Join again: `petrel-collector enroll create --host \(host)` on the collector prints a "
            + "token, then here `petrel-agent join --token TOKEN`. What is read stays in the spool "
            + "and is sent then"
    }
}
