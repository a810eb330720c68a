internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
package import Identity
internal import Model
package import NIOPosix
internal import Wire
internal import WireRPC
package import World

/// Tries whether the collector accepts this host's certificate, and this host the collector's, without streaming.
package enum HandshakeProbe {
    /// Seconds that the whole attempt may take.
    package static let secondsMax: Int64 = 5

    /// Opens a stream, says nothing and ends it. Throws what a stream would end with.
    package static func attempt(
        identity: HostIdentity, address: CollectorAddress, clock: any WorldClock,
        eventLoops: MultiThreadedEventLoopGroup
    ) async throws(StreamError) {
        let verifier: PeerVerifier
        do {
            verifier = try PeerVerifier(authorities: identity.authorities)
        } catch {
            throw .identity(error)
        }
        let connection = CollectorConnection(
            address: address, trust: .authorities(verifier), identity: identity, clock: clock,
            eventLoops: eventLoops)
        var options = CallOptions.defaults
        options.timeout = .seconds(secondsMax)
        do {
            let chosen = options
            try await withGRPCClient(transport: connection.transport()) { client in
                try await Petrel_Fleet_V1_Fleet.Client(wrapping: client).stream(
                    options: chosen, requestProducer: { _ in },
                    onResponse: { response in for try await _ in response.messages {} })
            }
        } catch {
            throw connection.explain(error)
        }
    }
}
