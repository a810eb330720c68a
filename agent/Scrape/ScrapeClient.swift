package import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
package import World

/// An answer as it came: not yet decompressed, not yet read.
package struct ScrapedBody: Sendable {
    package var bytes: [UInt8]
    package var contentType: String
    package var isGzip: Bool
    /// Holds the body's share of the budget.
    let lease: ByteLease
}

/// Asks targets for their metrics, by HTTP/1.1, a connection a scrape.
///
/// Nothing is kept between scrapes: no buffers, no connections that the target may have closed. What waits for a disk or a
/// name server (secrets, certificates, `getaddrinfo`) is done by `offload`, which must never block its caller and says
/// false where it can't take the work; where it hangs, the target's scrapes fail, at most one piece of work a target
/// waits, and no other target is delayed.
package final class ScrapeClient: Sendable {
    private let group: any EventLoopGroup
    private let files: any WorldFileTree
    private let offload: @Sendable (@escaping @Sendable () -> Void) -> Bool
    private let resolve: Resolve
    private let budget: ByteBudget
    private let userAgent: String
    /// TLS by target, with its certificate and without; made anew after a failure, so that replaced files are taken.
    private let contexts = Mutex<[ContextKey: NIOSSLContext]>([:])
    /// Targets whose preparation has not returned; at most `preparationsMax`.
    private let preparing = Mutex<Set<Int>>([])

    /// The addresses of a host, at least one; blocks.
    package typealias Resolve = @Sendable (String, Int) throws(ScrapeFailure) -> [SocketAddress]

    package init(
        group: any EventLoopGroup, files: any WorldFileTree, version: String,
        budget: ByteBudget = ByteBudget(), resolve: @escaping Resolve = ScrapeAddresses.resolve,
        offload: @escaping @Sendable (@escaping @Sendable () -> Void) -> Bool
    ) {
        self.group = group
        self.files = files
        self.budget = budget
        self.resolve = resolve
        self.offload = offload
        userAgent = "petrel-agent/\(version)"
    }

    /// The target's answer, within its timeout; at once where the task is cancelled. Redirects are followed where the job
    /// says so; from the first on that leads to another server, or from TLS to plain HTTP, no request carries a secret.
    package func fetch(_ target: ScrapeTarget) async throws(ScrapeFailure) -> ScrapedBody {
        do throws(ScrapeFailure) {
            return try await follow(target)
        } catch {
            // A refused certificate of ours may come as TLS, as a status, as a redirect or as a cut connection.
            if error != .cancelled { forget(target.number) }
            throw error
        }
    }

    /// The files of that target are read anew when it is asked again, if it is.
    func forget(_ number: Int) {
        contexts.withLock { $0 = $0.filter { $0.key.target != number } }
    }

    private func follow(_ target: ScrapeTarget) async throws(ScrapeFailure) -> ScrapedBody {
        var request = Request(
            target: target, place: ScrapePlace(target), isTrusted: true,
            deadline: .now() + .milliseconds(target.timeoutMilliseconds))
        let own = request.place
        for _ in 0...ScrapeLimits.redirectsMax {
            switch try await ask(request) {
            case .body(let body): return body
            case .redirect(let location):
                request.place = try request.place.following(location)
                request.isTrusted = request.isTrusted && request.place.isSameServer(as: own)
            }
        }
        throw .redirect("more than \(ScrapeLimits.redirectsMax), one after the other")
    }

    /// One request of a scrape.
    private struct Request: Sendable {
        var target: ScrapeTarget
        var place: ScrapePlace
        /// The job's secrets are for the server that is asked.
        var isTrusted: Bool
        /// That of the scrape.
        var deadline: NIODeadline

        var context: ContextKey { ContextKey(target: target.number, isTrusted: isTrusted) }
    }

    private struct ContextKey: Hashable {
        var target: Int
        var isTrusted: Bool
    }

    private func ask(_ request: Request) async throws(ScrapeFailure) -> ScrapeAnswer {
        let promise = group.next().makePromise(of: ScrapeAnswer.self)
        let seconds = Double(request.target.timeoutMilliseconds) / 1000
        let alarm = promise.futureResult.eventLoop.scheduleTask(deadline: request.deadline) {
            promise.fail(ScrapeFailure.timeout(seconds: seconds))
        }
        promise.futureResult.whenComplete { _ in alarm.cancel() }
        prepare(request, promise)
        do {
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                promise.fail(ScrapeFailure.cancelled)
            }
        } catch {
            throw error as? ScrapeFailure ?? .connection("\(error)")
        }
    }

    // MARK: - Before the connection

    /// What a connection needs.
    private struct Prepared: Sendable {
        /// In the order in which they are tried.
        var addresses: [SocketAddress]
        var authorization: String?
        var context: NIOSSLContext?
    }

    private func prepare(_ request: Request, _ promise: EventLoopPromise<ScrapeAnswer>) {
        let (target, place) = (request.target, request.place)
        let context = contexts.withLock { $0[request.context] }
        if target.job.authorization.isNone || !request.isTrusted, !place.isTLS || context != nil,
            let address = try? SocketAddress(ipAddress: place.host, port: place.port)
        {
            connect(request, Prepared(addresses: [address], context: context), promise)
            return
        }
        let mayBegin = preparing.withLock {
            $0.count < Self.preparationsMax && $0.insert(target.number).inserted
        }
        guard mayBegin else {
            promise.fail(
                ScrapeFailure.preparation(
                    "the name \(place.host) or a file of the job is still being read, or "
                        + "\(Self.preparationsMax) others are"))
            return
        }
        let isTaken = offload { [self] in
            let result: Result<Prepared, any Error>
            do throws(ScrapeFailure) {
                result = .success(try prepared(request, context))
            } catch { result = .failure(error) }
            _ = preparing.withLock { $0.remove(target.number) }
            promise.futureResult.eventLoop.execute {
                switch result {
                case .success(let prepared): self.connect(request, prepared, promise)
                case .failure(let error): promise.fail(error)
                }
            }
        }
        guard !isTaken else { return }
        _ = preparing.withLock { $0.remove(target.number) }
        promise.fail(
            ScrapeFailure.preparation("the system has no thread for reading a file or name"))
    }

    /// Names and files that are being read at once: each has a thread.
    private static let preparationsMax = 16

    /// Blocks.
    private func prepared(
        _ request: Request, _ known: NIOSSLContext?
    ) throws(ScrapeFailure) -> Prepared {
        let (job, place) = (request.target.job, request.place)
        var context = known
        if place.isTLS, context == nil {
            var tls = job.tls
            if !request.isTrusted { (tls.certFile, tls.keyFile) = (nil, nil) }
            context = try ScrapeTLS.context(tls, files)
            contexts.withLock { $0[request.context] = context }
        }
        let authorization =
            request.isTrusted ? try ScrapeSecrets.header(job.authorization, files) : nil
        let addresses = try resolve(place.host, place.port)
        return Prepared(addresses: addresses, authorization: authorization, context: context)
    }

    // MARK: - The connection

    /// Tries the addresses from `index` on, each for its share of what is left of the timeout, until one is connected to;
    /// what fails on a connection is not tried again. `failed` says what became of those before.
    private func connect(
        _ request: Request, _ prepared: Prepared, _ promise: EventLoopPromise<ScrapeAnswer>,
        from index: Int = 0, failed: [String] = []
    ) {
        let target = request.target
        let head = head(request, prepared.authorization)
        let budget = budget
        let bodyBytesMax = target.job.bodyBytesMax
        let followsRedirects = target.job.followsRedirects
        let left = max((request.deadline - NIODeadline.now()).nanoseconds, 0)
        let share = left / Int64(prepared.addresses.count - index)
        // An address is no name to ask for; the certificate is held against the address then.
        let name = target.job.tls.serverName ?? request.place.host
        let isAddress = (try? SocketAddress(ipAddress: name, port: 1)) != nil
        ClientBootstrap(group: promise.futureResult.eventLoop)
            .connectTimeout(.nanoseconds(share))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // A scrape that is over needs no connection, whichever came first.
                    promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
                    let pipeline = channel.pipeline.syncOperations
                    if let context = prepared.context {
                        try pipeline.addHandler(
                            NIOSSLClientHandler(
                                context: context, serverHostname: isAddress ? nil : name))
                    }
                    var limits = NIOHTTPDecoderLimitConfiguration()
                    limits.maxHeaderFieldSize = ScrapeLimits.headBytesMax
                    limits.maxHeaderListSize = ScrapeLimits.headBytesMax
                    try pipeline.addHandler(
                        RawBytesLimitHandler(bodyBytesMax: bodyBytesMax, promise: promise))
                    try pipeline.addHandler(HTTPRequestEncoder())
                    try pipeline.addHandler(
                        ByteToMessageHandler(
                            HTTPResponseDecoder(
                                leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)))
                    try pipeline.addHandler(
                        ScrapeResponseHandler(
                            head: head, bodyBytesMax: bodyBytesMax,
                            followsRedirects: followsRedirects, lease: ByteLease(budget),
                            promise: promise))
                }
            }
            .connect(to: prepared.addresses[index])
            .whenFailure { error in
                let failure = ScrapeResponseHandler.failure(error)
                guard case .connection(let detail) = failure, prepared.addresses.count > 1 else {
                    promise.fail(failure)
                    return
                }
                let address = prepared.addresses[index].ipAddress ?? "?"
                let failed = failed + ["\(address) \(detail)"]
                guard failed.count < prepared.addresses.count else {
                    promise.fail(ScrapeFailure.connection(failed.joined(separator: "; ")))
                    return
                }
                self.connect(request, prepared, promise, from: index + 1, failed: failed)
            }
    }

    /// Source: Prometheus 3.14 `targetScraper.scrape`.
    private func head(_ request: Request, _ authorization: String?) -> HTTPRequestHead {
        var headers = HTTPHeaders([
            ("Host", request.place.address), ("Accept", ScrapeFormats.acceptHeader),
            ("Accept-Encoding", "gzip"), ("User-Agent", userAgent),
            (
                "X-Prometheus-Scrape-Timeout-Seconds",
                "\(Double(request.target.timeoutMilliseconds) / 1000)"
            ), ("Connection", "close"),
        ])
        if let authorization { headers.add(name: "Authorization", value: authorization) }
        return HTTPRequestHead(
            version: .http1_1, method: .GET, uri: request.place.requestPath, headers: headers)
    }
}
