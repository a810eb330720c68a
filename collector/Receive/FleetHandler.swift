internal import FoundationEssentials
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import Identity
internal import Logging
internal import Model
internal import Storage
internal import SwiftASN1
internal import SwiftProtobuf
internal import Wire
internal import WireRPC
internal import World

/// The calls of agents: renewal and the stream. Identity is the client certificate's and nothing else.
struct FleetHandler: Petrel_Fleet_V1_Fleet.SimpleServiceProtocol {
    let authority: CertificateAuthority
    let gate: HandshakeGate
    let parts: SessionParts
    let random: any RandomSource

    func renew(
        request: Petrel_Fleet_V1_RenewRequest, context: ServerContext
    ) async throws -> Petrel_Fleet_V1_RenewResponse {
        let identity = try identify(context)
        let certificate: FleetCertificate
        do {
            certificate = try authority.issueAgent(
                request: [UInt8](request.csr), host: identity.host, random: random,
                now: parts.clock.now.milliseconds)
        } catch {
            throw RPCError(code: .invalidArgument, message: "\(error)")
        }
        do {
            try await parts.registry.recordCertificate(
                IssuedCertificate(certificate, host: identity.host), isEnrolment: false)
        } catch {
            throw RPCError(code: .unavailable, message: "the storage is down; try again later")
        }
        parts.audit.record(
            "renew", subject: identity.host.text, detail: "certificate \(certificate.serial)")
        var response = Petrel_Fleet_V1_RenewResponse()
        response.certificateChain = [Data(certificate.der)]
        response.authorities = [Data(authority.certificate.der)]
        return response
    }

    func stream(
        request: RPCAsyncSequence<Petrel_Fleet_V1_AgentMessage, any Error>,
        response: RPCWriter<Petrel_Fleet_V1_CollectorMessage>, context: ServerContext
    ) async throws {
        let identity = try identify(context)
        let queue = InboundQueue(
            itemsMax: parts.limits.windowBatchesMax, bytesMax: parts.limits.windowBytesMax)
        guard
            let ticket = parts.board.enter(
                host: identity.host, serial: identity.serial, holdUps: { queue.holdUps })
        else {
            parts.metrics.refusal("sessions_limited")
            throw RPCError(
                code: .resourceExhausted, message: "the collector has all the streams it takes")
        }
        parts.metrics.session(1)
        defer {
            parts.metrics.session(-1)
            parts.board.leave(ticket)
        }
        let reader = StreamReader(
            identity: identity, ticket: ticket, parts: parts, queue: queue)
        try await withThrowingTaskGroup(of: Outcome.self) { group in
            group.addTask { await reader.read(request) }
            group.addTask {
                var session = StreamSession(identity: identity, ticket: ticket, parts: parts)
                while true {
                    let messages = await queue.takeAll()
                    guard !messages.isEmpty else { return .drained }
                    let goesOn = try await session.process(messages) { message in
                        try await response.write(message)
                    }
                    guard goesOn else { return .processed }
                }
            }
            group.addTask {
                for await end in ticket.ended { return .ended(end) }
                return .other
            }
            group.addTask {
                for await number in ticket.probes {
                    try? await response.write(.with { $0.probe.number = number })
                }
                return .other
            }
            group.addTask { try await expiry(of: identity) }
            defer { group.cancelAll() }
            // What was read is still processed, and why no more was read is still said.
            var isRead = false
            var isDrained = false
            while let outcome = try await group.next() {
                switch outcome {
                case .read: isRead = true
                case .drained: isDrained = true
                case .processed: return
                case .other: continue
                case .malformed(let kind, let detail): throw malformed(identity, kind, detail)
                case .ended(let end): throw error(for: end, identity)
                }
                if isRead && isDrained { return }
            }
        }
    }

    /// What a task of a stream came to.
    enum Outcome: Sendable {
        /// No more messages come.
        case read
        /// Something came that is no message; `StreamKind` is the hello's, or metrics before it.
        case malformed(StreamKind, detail: String)
        /// Everything read was processed.
        case drained
        /// The session came to its end by itself.
        case processed
        case ended(SessionEnd)
        case other
    }

    /// Waits for the end of the certificate's life by the wall clock, looking once a minute for jumps.
    private func expiry(of identity: AgentIdentity) async throws -> Outcome {
        while true {
            let left = identity.notAfter.rawValue - parts.clock.now.milliseconds.rawValue
            guard left >= 0 else { return .ended(.expired) }
            try await parts.clock.sleep(nanoseconds: (min(left, 60_000) + 1) * 1_000_000)
        }
    }

    /// The certificate is judged again at each call: it may have been revoked since the handshake.
    private func identify(_ context: ServerContext) throws -> AgentIdentity {
        let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context
        var chain: [[UInt8]] = []
        if let certificate = transport?.peerCertificate {
            var serializer = DER.Serializer()
            try serializer.serialize(certificate)
            chain = [serializer.serializedBytes]
        }
        do {
            return try gate.admit(chain)
        } catch {
            throw RPCError(code: .unauthenticated, message: error.explanation)
        }
    }

    private func malformed(
        _ identity: AgentIdentity, _ kind: StreamKind, _ detail: String
    ) -> RPCError {
        parts.metrics.malformed(host: identity.host, kind: kind)
        parts.metrics.refusal(RefusalKind.invalid.rawValue)
        parts.log.warning(
            "a stream sent what is no message",
            metadata: [
                "host": "\(identity.host)", "stream": "\(kind.name)", "error": "\(detail)",
            ])
        return RPCError(code: .invalidArgument, message: "a message does not decode: \(detail)")
    }

    private func error(for end: SessionEnd, _ identity: AgentIdentity) -> RPCError {
        switch end {
        case .revoked, .expired:
            let refusal: PeerRefusal = end == .revoked ? .revoked : .expired
            parts.metrics.refusal(RefusalKind.identity.rawValue)
            parts.audit.record(
                "stream.close", subject: identity.host.text, detail: refusal.rawValue)
            return RPCError(code: .unauthenticated, message: refusal.explanation)
        case .superseded:
            return RPCError(code: .unavailable, message: "a newer connection has taken over")
        case .shutdown, .restart:
            return RPCError(code: .unavailable, message: "the collector restarts")
        }
    }
}

/// Reads an agent's messages into the queue; heartbeats end here.
private struct StreamReader: Sendable {
    let identity: AgentIdentity
    let ticket: SessionBoard.Ticket
    let parts: SessionParts
    let queue: InboundQueue
    /// How the transport says that a message is no protobuf, too long, or compressed.
    private static let malformedCodes: Set<RPCError.Code> = [
        .invalidArgument, .internalError, .resourceExhausted, .unimplemented,
    ]

    func read(
        _ messages: RPCAsyncSequence<Petrel_Fleet_V1_AgentMessage, any Error>
    ) async -> FleetHandler.Outcome {
        defer { queue.finish() }
        var kind = StreamKind.metrics
        do {
            for try await message in messages {
                let now = parts.clock.now
                parts.presence.saw(
                    identity.host, monotonicNanoseconds: parts.clock.monotonicNanoseconds,
                    at: now.milliseconds)
                switch message.message {
                case .hello(let hello):
                    kind = StreamKind(hello.kind) ?? kind
                    await queue.push(.hello(hello))
                case .dictionary(let dictionary): await queue.push(.dictionary(dictionary))
                case .batch(let batch): await queue.push(.batch(batch))
                case .heartbeat(let heartbeat): note(heartbeat, kind, now)
                case nil: return .malformed(kind, detail: "it is of no known kind")
                }
            }
            return .read
        } catch let error as RPCError where Self.malformedCodes.contains(error.code) {
            return .malformed(kind, detail: error.message)
        } catch {
            // The connection is gone: what was read is stored all the same.
            return .read
        }
    }

    private func note(
        _ heartbeat: Petrel_Fleet_V1_Heartbeat, _ kind: StreamKind, _ now: TimestampNS
    ) {
        if heartbeat.probe != 0 { parts.board.answered(heartbeat.probe, by: ticket) }
        parts.metrics.reported(
            produced: heartbeat.producedRecords, gaps: heartbeat.gapRecords,
            inSpool: heartbeat.spoolRecords, spoolBytes: heartbeat.spoolBytes,
            host: identity.host, kind: kind)
        guard heartbeat.sentNs != 0 else { return }
        parts.metrics.skew(
            seconds: Double(heartbeat.sentNs &- now.rawValue) / 1e9, host: identity.host,
            kind: kind)
    }
}
