internal import FoundationEssentials
internal import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
package import Identity
package import Logging
internal import Model
package import NIOPosix
internal import ServiceLifecycle
internal import Wire
internal import WireRPC
package import World

/// Keeps the identity fresh: takes over what `join` writes, and renews at half of the certificate's life.
package struct RenewalService: Service {
    private let holder: IdentityHolder
    private let store: IdentityStore
    private let collector: CollectorAddress?
    private let metrics: StreamMetrics
    private let clock: any WorldClock
    private let random: any RandomSource
    private let eventLoops: MultiThreadedEventLoopGroup
    private let log: Logger
    private static let pollNanoseconds: Int64 = 5_000_000_000
    private static let callTimeout = Duration.seconds(20)

    /// `collector` overrides the address that the host learned when it joined.
    package init(
        holder: IdentityHolder, store: IdentityStore, collector: CollectorAddress? = nil,
        metrics: StreamMetrics, clock: any WorldClock, random: any RandomSource,
        eventLoops: MultiThreadedEventLoopGroup, log: Logger
    ) {
        self.holder = holder
        self.store = store
        self.collector = collector
        self.metrics = metrics
        self.clock = clock
        self.random = random
        self.eventLoops = eventLoops
        self.log = log
    }

    /// Renews until shut down; failures are logged and retried, never thrown.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var schedule = RenewalSchedule()
            var complained = false
            while !Task.isCancelled {
                do {
                    try holder.refresh()
                    complained = false
                } catch {
                    if !complained { log.warning("\(error)") }
                    complained = true
                }
                if let held = holder.current {
                    metrics.certificate(notAfter: held.identity.leaf.notAfter)
                    let leaf = held.identity.leaf
                    let now = clock.now.milliseconds
                    if schedule.isDue(leaf: leaf, now: now, random: random.next()) {
                        let isRenewed = await renewOnce(held.identity)
                        schedule.attempted(succeeded: isRenewed, now: now, random: random.next())
                    }
                }
                try? await clock.sleep(nanoseconds: Self.pollNanoseconds)
            }
        }
    }

    /// One attempt, with its outcome counted and logged.
    private func renewOnce(_ identity: HostIdentity) async -> Bool {
        do {
            try await renew(identity)
            metrics.renewal(nil)
            log.notice("certificate renewed")
            return true
        } catch {
            metrics.renewal(NotedError(text: "\(error)", at: clock.now))
            log.warning(
                "certificate not renewed, it ends at \(identity.leaf.notAfter.seconds): \(error)")
            return false
        }
    }

    /// Has a new key certified over the present identity, stores both and takes them over.
    package func renew(_ identity: HostIdentity) async throws(StreamError) {
        guard let address = collector ?? store.collector() else { throw .noCollectorAddress }
        do {
            let key = SigningKey()
            let connection = CollectorConnection(
                address: address,
                trust: .authorities(try PeerVerifier(authorities: identity.authorities)),
                identity: identity, clock: clock, eventLoops: eventLoops)
            var request = Petrel_Fleet_V1_RenewRequest()
            request.csr = Data(try key.signingRequest())
            let message = request
            var options = CallOptions.defaults
            options.timeout = Self.callTimeout
            let callOptions = options
            let response: Petrel_Fleet_V1_RenewResponse
            do {
                response = try await withGRPCClient(transport: connection.transport()) { client in
                    try await Petrel_Fleet_V1_Fleet.Client(wrapping: client).renew(
                        message, options: callOptions)
                }
            } catch {
                throw connection.explain(error)
            }
            let renewed = try checkedIdentity(
                key: key, chain: response.certificateChain.map { [UInt8]($0) },
                authorities: response.authorities.map { [UInt8]($0) },
                trusted: identity.authorities, now: clock.now.milliseconds)
            guard renewed.host == identity.host else {
                throw StreamError.badAnswer("the certificate names another host")
            }
            try holder.replace(renewed)
        } catch let error as StreamError {
            throw error
        } catch let error as IdentityError {
            throw .identity(error)
        } catch {
            throw .badAnswer("\(error)")
        }
    }
}

/// When to renew: at half life plus up to a tenth of it, so that a fleet enrolled at once does not renew at once; after
/// a failure again in half a minute, doubling to half an hour. Pure.
struct RenewalSchedule {
    private var serial = ""
    private var dueAt = TimestampMS(0)
    private var failures = 0
    private static let retryMSMin: Int64 = 30_000
    private static let retryMSMax: Int64 = 1_800_000

    init() {}

    /// Whether `leaf` is due. An expired certificate is never due: only joining again helps.
    mutating func isDue(leaf: FleetCertificate, now: TimestampMS, random: UInt64) -> Bool {
        let life = leaf.notAfter.rawValue - leaf.notBefore.rawValue
        if serial != leaf.serial {
            serial = leaf.serial
            failures = 0
            let jitter = Int64(random % UInt64(max(1, life / 20)))
            dueAt = leaf.notBefore.advanced(byMilliseconds: life / 2 + jitter)
        }
        return now >= dueAt && now <= leaf.notAfter
    }

    mutating func attempted(succeeded: Bool, now: TimestampMS, random: UInt64) {
        guard !succeeded else { return }
        failures = min(failures + 1, 20)
        let ceiling = min(Self.retryMSMax, Self.retryMSMin << min(failures - 1, 10))
        let wait = Self.retryMSMin / 2 + Int64(random % UInt64(ceiling))
        dueAt = now.advanced(byMilliseconds: wait)
    }
}
