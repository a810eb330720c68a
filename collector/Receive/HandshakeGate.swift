internal import Identity
internal import Logging
internal import Model
internal import NIOCore
internal import NIOSSL
internal import World

/// Judges the certificates of connecting agents. It takes the place of the TLS library's own checks.
struct HandshakeGate: Sendable {
    let verifier: PeerVerifier
    let board: SessionBoard
    let clock: any WorldClock
    let metrics: ReceiveMetrics
    let audit: AuditTrail
    let log: Logger

    /// Who shows `chain` (leaf first, DER); a refusal is counted, logged and audited.
    func admit(_ chain: [[UInt8]]) throws(PeerRefusal) -> AgentIdentity {
        do {
            return try verifier.verifyAgent(
                chain, now: clock.now.milliseconds, isRevoked: board.isRevoked)
        } catch {
            let certificate = chain.first.flatMap { try? FleetCertificate(der: $0) }
            note(error, subject: certificate?.uris.first ?? "")
            throw error
        }
    }

    func note(_ refusal: PeerRefusal, subject: String) {
        metrics.handshakeRefused(refusal.rawValue)
        audit.record("handshake.refuse", subject: subject, detail: refusal.rawValue)
        log.warning("connection refused: \(refusal.explanation)", metadata: ["from": "\(subject)"])
    }

    /// The verification callback of the TLS library.
    func verify(
        _ certificates: [NIOSSLCertificate],
        _ promise: EventLoopPromise<NIOSSLVerificationResultWithMetadata>
    ) {
        do {
            _ = try admit(certificates.map { try $0.toDERBytes() })
            promise.succeed(.certificateVerified(VerificationMetadata(nil)))
        } catch {
            promise.succeed(.failed)
        }
    }

    /// Watches an accepted connection until its first decrypted bytes; called on the channel's event loop.
    func watch(_ channel: any Channel, secondsMax: Int64) throws {
        let pipeline = channel.pipeline.syncOperations
        let tls = try pipeline.handler(type: NIOSSLServerHandler.self)
        try pipeline.addHandler(
            HandshakeWatch(gate: self, secondsMax: secondsMax), position: .after(tls))
    }
}

/// Closes a connection that does not finish its handshake in time, and reports handshakes that fail before a certificate
/// was seen. It steps aside at the first decrypted bytes.
private final class HandshakeWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let gate: HandshakeGate
    private let secondsMax: Int64
    private var timeout: Scheduled<Void>?

    init(gate: HandshakeGate, secondsMax: Int64) {
        self.gate = gate
        self.secondsMax = secondsMax
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timeout = context.eventLoop.scheduleTask(in: .seconds(secondsMax)) { [gate] in
            gate.metrics.handshakeRefused("timeout")
            channel.close(mode: .all, promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timeout?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timeout?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case NIOSSLError.handshakeFailed(let reason) = error {
            let text = "\(reason)"
            if text.contains("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
                gate.note(.noCertificate, subject: context.remoteAddress?.ipAddress ?? "")
            } else if !text.contains("CERTIFICATE_VERIFY_FAILED") {
                gate.metrics.handshakeRefused("tls")
            }
        }
        context.fireErrorCaught(error)
    }
}
