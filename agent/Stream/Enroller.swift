internal import FoundationEssentials
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
package import Identity
package import Model
package import NIOPosix
internal import Wire
internal import WireRPC
package import World

/// Makes a host a member of a fleet by a token.
package struct Enroller: Sendable {
    private let store: IdentityStore
    private let clock: any WorldClock
    private let eventLoops: MultiThreadedEventLoopGroup
    private static let callTimeout = Duration.seconds(20)

    /// The identity goes to `store`.
    package init(
        store: IdentityStore, clock: any WorldClock, eventLoops: MultiThreadedEventLoopGroup
    ) {
        self.store = store
        self.clock = clock
        self.eventLoops = eventLoops
    }

    /// Makes a key, has it certified and stores the identity; returns the host's name in the fleet.
    ///
    /// `collectorHost` overrides the names inside the token, which are tried in order until one is reached. The token
    /// is used up by the first call that the collector answers.
    package func join(
        token: EnrolmentToken, collectorHost: String?
    ) async throws(StreamError) -> HostName {
        let names = collectorHost.map { [$0] } ?? token.collectorNames
        guard !names.isEmpty else { throw .noCollectorAddress }
        var last = StreamError.noCollectorAddress
        for name in names {
            do {
                return try await join(token, at: name)
            } catch .unreachable(let address, let detail) {
                last = .unreachable(address: address, detail: detail)
            } catch {
                throw error
            }
        }
        throw last
    }

    private func join(
        _ token: EnrolmentToken, at name: String
    ) async throws(StreamError) -> HostName {
        let key = SigningKey()
        let connection = CollectorConnection(
            address: CollectorAddress(name: name, fleetPort: token.enrolmentPort),
            trust: .pinned(keyHash: token.authorityKeyHash), identity: nil, clock: clock,
            eventLoops: eventLoops)
        let response: Petrel_Fleet_V1_EnrollResponse
        do {
            var request = Petrel_Fleet_V1_EnrollRequest()
            request.secret = Data(token.secret)
            request.csr = Data(try key.signingRequest())
            let message = request
            var options = CallOptions.defaults
            options.timeout = Self.callTimeout
            let callOptions = options
            response = try await withGRPCClient(transport: connection.transport()) { client in
                try await Petrel_Fleet_V1_Enrolment.Client(wrapping: client).enroll(
                    message, options: callOptions)
            }
        } catch let error as IdentityError {
            throw .identity(error)
        } catch {
            throw connection.explain(error)
        }
        guard let pinned = connection.verdict.pinned else {
            throw .badAnswer("its authority was not checked")
        }
        do {
            let identity = try checkedIdentity(
                key: key, chain: response.certificateChain.map { [UInt8]($0) },
                authorities: response.authorities.map { [UInt8]($0) }, trusted: [pinned],
                now: clock.now.milliseconds)
            guard let host = identity.host, host.text == response.host else {
                throw StreamError.badAnswer("the certificate names another host")
            }
            try store.save(identity)
            try store.save(CollectorAddress(name: name, fleetPort: token.fleetPort))
            return host
        } catch let error as IdentityError {
            throw .identity(error)
        } catch let error as StreamError {
            throw error
        } catch {
            throw .badAnswer("\(error)")
        }
    }
}

/// An identity from the collector's answer: the certificate must be for `key` and signed by one of `trusted`; of the
/// authorities only trusted ones and those that come with a trusted one are kept.
func checkedIdentity(
    key: SigningKey, chain: [[UInt8]], authorities: [[UInt8]], trusted: [FleetCertificate],
    now: TimestampMS
) throws -> HostIdentity {
    var certificates: [FleetCertificate] = []
    for der in chain { certificates.append(try FleetCertificate(der: der)) }
    guard let leaf = certificates.first, key.matches(leaf) else {
        throw StreamError.badAnswer("the certificate is for another key")
    }
    let verifier = try PeerVerifier(authorities: trusted)
    do {
        // The collector's clock may be ahead of this host's.
        let at = max(now, leaf.notBefore)
        _ = try verifier.verifyAgent([leaf.der], now: min(at, leaf.notAfter)) { _ in false }
    } catch {
        throw StreamError.badAnswer("the certificate is not good: \(error.explanation)")
    }
    var kept: [FleetCertificate] = trusted
    for der in authorities {
        let authority = try FleetCertificate(der: der)
        if authority.isAuthority, !kept.contains(authority) { kept.append(authority) }
    }
    return HostIdentity(key: key, certificates: certificates, authorities: kept)
}
