internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import Identity
internal import Model
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization
internal import World

/// How a connection decides whether it reached its collector.
enum CollectorTrust: Sendable {
    /// By the authorities that the host got when it joined.
    case authorities(PeerVerifier)
    /// By the hash of the authority's key inside a token.
    case pinned(keyHash: [UInt8])
}

/// Makes transports to the collector. TLS checks are replaced by `PeerVerifier`'s; each attempt is a transport of its own
/// because back-off is decided here and not in the transport.
struct CollectorConnection: Sendable {
    let address: CollectorAddress
    let trust: CollectorTrust
    /// Nil when joining.
    let identity: HostIdentity?
    let clock: any WorldClock
    let eventLoops: MultiThreadedEventLoopGroup
    /// What the last check said.
    let verdict = Verdict()

    /// The outcome of the last certificate check of a connection.
    final class Verdict: Sendable {
        private let state = Mutex<(refusal: PeerRefusal?, pinned: FleetCertificate?)>((nil, nil))
        var refusal: PeerRefusal? { state.withLock { $0.refusal } }
        /// The authority that a token pinned.
        var pinned: FleetCertificate? { state.withLock { $0.pinned } }
        func set(refusal: PeerRefusal?, pinned: FleetCertificate? = nil) {
            state.withLock { $0 = (refusal, pinned) }
        }
    }

    /// HTTP/2 flow control window, bytes.
    static let windowBytes = 1 << 20

    func transport() throws -> HTTP2ClientTransport.Posix {
        let clock = clock
        let trust = trust
        let verdict = verdict
        let security = HTTP2ClientTransport.Posix.TransportSecurity.tls { tls in
            tls.serverCertificateVerification = .noHostnameVerification
            tls.trustRoots = .certificates([])
            tls.customVerificationCallback = { certificates, promise in
                promise.succeed(
                    Self.verify(certificates, trust, clock.now.milliseconds, verdict))
            }
            guard let identity else { return }
            tls.certificateChain = identity.certificates.map { .bytes($0.der, format: .der) }
            tls.privateKey = .bytes(Array(identity.key.pem.utf8), format: .pem)
        }
        let configuration = HTTP2ClientTransport.Posix.Config.defaults {
            $0.http2.targetWindowSize = Self.windowBytes
            $0.http2.authority = "petrel-collector"
            $0.connection.maxIdleTime = .seconds(60)
            $0.connection.keepalive = .init(
                time: .seconds(15), timeout: .seconds(5), allowWithoutCalls: false)
        }
        let target: any ResolvableTarget
        switch addressBytes(address.name)?.count {
        case 4: target = .ipv4(address: address.name, port: Int(address.fleetPort))
        case 16: target = .ipv6(address: address.name, port: Int(address.fleetPort))
        default: target = .dns(host: address.name, port: Int(address.fleetPort))
        }
        return try HTTP2ClientTransport.Posix(
            target: target, transportSecurity: security, config: configuration,
            eventLoopGroup: eventLoops)
    }

    /// Source: RFC 8446 section 6.2, by the names of BoringSSL.
    private static let alerts = [
        "ALERT_CERTIFICATE_UNKNOWN", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_REVOKED",
        "ALERT_CERTIFICATE_EXPIRED", "ALERT_UNKNOWN_CA", "ALERT_ACCESS_DENIED",
        "ALERT_HANDSHAKE_FAILURE",
    ]

    private var hostText: String { identity?.host?.text ?? "NAME" }

    var addressText: String { "\(address.name):\(address.fleetPort)" }

    /// What a failed call means, in the order of what is most telling.
    func explain(_ error: any Error) -> StreamError {
        if let refusal = verdict.refusal {
            return .collectorRefused(refusal, address: addressText)
        }
        if let identity, identity.leaf.notAfter < clock.now.milliseconds {
            return .expired(host: hostText, at: identity.leaf.notAfter)
        }
        guard let call = error as? RPCError else {
            return error is CancellationError
                ? .cancelled : .unreachable(address: addressText, detail: "\(error)")
        }
        switch call.code {
        case .unavailable:
            let cause = call.cause.map { ": \($0)" } ?? ""
            // What TLS says where the collector's verification of this host's certificate failed.
            if identity != nil, Self.alerts.contains(where: { cause.contains($0) }) {
                return .notAccepted(
                    host: hostText, address: addressText,
                    detail: "it was revoked, or replaced by a later join, or ended by the "
                        + "collector's clock")
            }
            return .unreachable(address: addressText, detail: call.message + cause)
        case .unauthenticated where identity != nil:
            return .notAccepted(
                host: hostText, address: addressText, detail: call.message)
        case .cancelled: return .cancelled
        default: return .refused(detail: call.message)
        }
    }

    private static func verify(
        _ certificates: [NIOSSLCertificate], _ trust: CollectorTrust, _ now: TimestampMS,
        _ verdict: Verdict
    ) -> NIOSSLVerificationResultWithMetadata {
        do {
            let chain = try certificates.map { try $0.toDERBytes() }
            switch trust {
            case .authorities(let verifier):
                try verifier.verifyCollector(chain, now: now)
                verdict.set(refusal: nil)
            case .pinned(let keyHash):
                let pinned = try PeerVerifier.verifyPinned(
                    chain, authorityKeyHash: keyHash, now: now)
                verdict.set(refusal: nil, pinned: pinned)
            }
            return .certificateVerified(VerificationMetadata(nil))
        } catch {
            verdict.set(refusal: error as? PeerRefusal ?? .unreadable)
            return .failed
        }
    }
}
