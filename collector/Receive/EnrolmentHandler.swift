internal import FoundationEssentials
internal import GRPCCore
internal import Identity
internal import Logging
internal import Model
internal import Storage
internal import Synchronization
internal import Wire
internal import WireRPC
internal import World

/// Redeems enrolment tokens: the one call that a host without a certificate may make.
struct EnrolmentHandler: Petrel_Fleet_V1_Enrolment.SimpleServiceProtocol {
    let authority: CertificateAuthority
    let registry: any FleetRegistry
    let clock: any WorldClock
    let random: any RandomSource
    let metrics: ReceiveMetrics
    let audit: AuditTrail
    let board: SessionBoard
    let limiter: EnrolmentLimiter
    let log: Logger

    func enroll(
        request: Petrel_Fleet_V1_EnrollRequest, context: ServerContext
    ) async throws -> Petrel_Fleet_V1_EnrollResponse {
        let address = addressPart(ofPeer: context.remotePeer)
        guard limiter.admit(address, now: clock.monotonicNanoseconds) else {
            throw refuse("rate_limited", address, .resourceExhausted, "too many; wait a minute")
        }
        let csr = [UInt8](request.csr)
        do {
            // Before the token is used up: a bad request must not cost it.
            try CertificateAuthority.check(request: csr)
        } catch {
            throw refuse("bad_request", address, .invalidArgument, "\(error)")
        }
        let now = clock.now.milliseconds
        let host: HostName
        do {
            host = try await registry.redeemToken(
                hash: EnrolmentToken.hash(ofSecret: [UInt8](request.secret)), now: now)
        } catch let refusal as TokenRefusal {
            throw refuse(
                "token_\(refusal)", address, .permissionDenied,
                "the token is \(refusal); make a new one with `petrel-collector enroll create`")
        } catch {
            throw refuse("unavailable", address, .unavailable, "the storage is down; try again")
        }
        do {
            let certificate = try authority.issueAgent(
                request: csr, host: host, random: random, now: now)
            try await registry.recordCertificate(
                IssuedCertificate(certificate, host: host), isEnrolment: true)
            await closeFormer(host)
            metrics.enrolment("issued")
            audit.record(
                "enroll.redeem", subject: host.text,
                detail: "certificate \(certificate.serial) to \(address)")
            log.notice("host \(host) joined from \(address)")
            var response = Petrel_Fleet_V1_EnrollResponse()
            response.certificateChain = [Data(certificate.der)]
            response.authorities = [Data(authority.certificate.der)]
            response.host = host.text
            return response
        } catch {
            throw refuse(
                "unavailable", address, .unavailable,
                "the certificate could not be recorded and the token is used up; make a new one")
        }
    }

    /// Ends the streams of the certificates that the host held before, at once and not at the next poll.
    private func closeFormer(_ host: HostName) async {
        if let revoked = try? await registry.revokedSerials(now: clock.now.milliseconds) {
            board.revoke(revoked)
        }
        board.forget(host)
    }

    private func refuse(
        _ outcome: String, _ address: String, _ code: RPCError.Code, _ message: String
    ) -> RPCError {
        metrics.enrolment(outcome)
        audit.record("enroll.refuse", subject: address, detail: outcome)
        log.warning("enrolment refused: \(outcome)", metadata: ["from": "\(address)"])
        return RPCError(code: code, message: message)
    }
}

/// The rate limiter of enrolment calls behind a lock.
final class EnrolmentLimiter: Sendable {
    private let limiter: Mutex<RateLimiter>

    init(limits: ReceiveLimits, now: Int64) {
        limiter = Mutex(
            RateLimiter(
                perKeyPerMinute: limits.enrolmentsPerAddressPerMinute,
                perMinute: limits.enrolmentsPerMinute, now: now))
    }

    func admit(_ address: String, now: Int64) -> Bool {
        limiter.withLock { $0.admit(address, now: now) }
    }
}

/// The address of gRPC's peer text: `ipv4:10.0.0.2:41234` gives `10.0.0.2`.
func addressPart(ofPeer peer: String) -> String {
    let withoutKind = peer.drop { $0 != ":" }.dropFirst()
    guard let port = withoutKind.lastIndex(of: ":") else { return peer }
    return String(withoutKind[..<port])
}

extension IssuedCertificate {
    init(_ certificate: FleetCertificate, host: HostName) {
        self.init(
            host: host, serial: certificate.serial, notBefore: certificate.notBefore,
            notAfter: certificate.notAfter)
    }
}
