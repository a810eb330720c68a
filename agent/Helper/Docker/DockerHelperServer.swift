import Glibc
package import Logging
package import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle

/// Whom the Docker helper serves, where Docker is, and what it allows.
package struct DockerHelperConfiguration: Hashable, Sendable {
    /// Docker's own socket.
    package var dockerSocket: String
    /// Users that may ask, by number.
    package var users: Set<UInt32>
    /// Connections past this are answered 503.
    package var connectionsMax: Int
    /// Requests whose answers are in memory at once; past this 503.
    package var exchangesMax: Int
    /// Event streams at once; past this 429.
    package var eventStreamsMax: Int
    /// Bytes of one of Docker's answers; a longer one is answered 502.
    package var answerBytesMax: Int
    /// Bytes of all answers in memory, Docker's and the helper's; past this 503.
    package var answersBytesMax: Int
    /// Bytes of one event; a longer one is left out of the stream.
    package var eventBytesMax: Int
    /// How long Docker may take for its answer; for events, for its consent.
    package var deadlineMilliseconds: Int64
    /// How long a client may take for its request, for reading the answer, and for reading what came of events at once.
    package var clientDeadlineMilliseconds: Int64
    /// How long exchanges may go on after a stop; then they are cut.
    package var stopDeadlineMilliseconds: Int64

    package init(
        dockerSocket: String = "/var/run/docker.sock", users: Set<UInt32>,
        connectionsMax: Int = 16, exchangesMax: Int = 4, eventStreamsMax: Int = 4,
        answerBytesMax: Int = 8 << 20, answersBytesMax: Int = 10 << 20,
        eventBytesMax: Int = 256 << 10,
        deadlineMilliseconds: Int64 = 5000, clientDeadlineMilliseconds: Int64 = 5000,
        stopDeadlineMilliseconds: Int64 = 3000
    ) {
        self.dockerSocket = dockerSocket
        self.users = users
        self.connectionsMax = connectionsMax
        self.exchangesMax = exchangesMax
        self.eventStreamsMax = eventStreamsMax
        self.answerBytesMax = answerBytesMax
        self.answersBytesMax = answersBytesMax
        self.eventBytesMax = eventBytesMax
        self.deadlineMilliseconds = deadlineMilliseconds
        self.clientDeadlineMilliseconds = clientDeadlineMilliseconds
        self.stopDeadlineMilliseconds = stopDeadlineMilliseconds
    }
}

/// Answers a few questions about containers from Docker, without the secrets and without the power of Docker's socket.
///
/// A connection carries one request. It is read as HTTP, checked against `DockerRequest`'s list, and asked anew over a
/// connection of the helper's own; the answer is rebuilt from `DockerShapes`. The format: docs/formats/docker-helper.md.
package final class DockerHelperServer: Service {
    typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>

    private let configuration: DockerHelperConfiguration
    private let daemon: DockerDaemon
    private let listener: NIOAsyncChannel<any Channel, Never>
    private let slots: DockerHelperSlots
    private let logger: Logger

    private init(
        _ configuration: DockerHelperConfiguration, _ group: any EventLoopGroup,
        _ listener: NIOAsyncChannel<any Channel, Never>, _ logger: Logger
    ) {
        self.configuration = configuration
        self.listener = listener
        self.logger = logger
        daemon = DockerDaemon(
            path: configuration.dockerSocket,
            deadlineMilliseconds: configuration.deadlineMilliseconds,
            answerBytesMax: configuration.answerBytesMax,
            eventBytesMax: configuration.eventBytesMax,
            budget: ByteBudget(bytesMax: configuration.answersBytesMax), group: group)
        slots = DockerHelperSlots(
            connectionsMax: configuration.connectionsMax,
            exchangesMax: configuration.exchangesMax,
            eventStreamsMax: configuration.eventStreamsMax)
    }

    /// Takes over `listener`, a listening socket of `HelperSocket`. Whoever makes a server must run it.
    package static func make(
        _ configuration: DockerHelperConfiguration, listener descriptor: Int32,
        group: any EventLoopGroup, logger: Logger
    ) async throws -> DockerHelperServer {
        let listener = try await ServerBootstrap(group: group)
            .childChannelOption(.autoRead, value: false)
            .bind(descriptor) { channel in
                channel.eventLoop.makeCompletedFuture {
                    var limits = NIOHTTPDecoderLimitConfiguration()
                    limits.maxHeaderFieldSize = 8 << 10
                    limits.maxHeaderListSize = 16 << 10
                    limits.maxHeaderFieldCount = 64
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withPipeliningAssistance: false, withErrorHandling: true,
                        withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
                    return channel
                }
            }
        return DockerHelperServer(configuration, group, listener, logger)
    }

    /// Serves until the service group shuts down.
    package func run() async throws {
        try await withGracefulShutdownHandler {
            try await listener.executeThenClose { inbound in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await channel in inbound {
                        group.addTask { await self.serve(channel) }
                    }
                }
            }
        } onGracefulShutdown: {
            self.listener.channel.close(promise: nil)
            self.slots.stop()
            self.listener.channel.eventLoop.scheduleTask(
                in: .milliseconds(self.configuration.stopDeadlineMilliseconds)
            ) { self.slots.cut() }
        }
    }

    /// Serves one connection to its end. A connection that breaks concerns nobody else.
    private func serve(_ channel: any Channel) async {
        guard let connection = try? await Connection.wrapping(channel) else {
            channel.close(promise: nil)
            return
        }
        let client = DockerHelperClient(
            channel: channel, deadlineMilliseconds: configuration.clientDeadlineMilliseconds)
        try? await connection.executeThenClose { inbound, _ in
            guard slots.insert(channel) else {
                try await client.refuse(
                    503, "All \(configuration.connectionsMax) connections are taken.")
                return
            }
            defer { slots.remove(channel) }
            let deadline = Deadline(
                channel, after: .milliseconds(configuration.clientDeadlineMilliseconds))
            defer { deadline.cancel() }
            var parts = inbound.makeAsyncIterator()
            guard case .head(let head) = try await parts.next() else { return }
            deadline.cancel()
            try await answer(head, client)
        }
    }

    private func answer(
        _ head: HTTPRequestHead, _ client: DockerHelperClient
    ) async throws {
        let user = await PeerCredentials.user(of: client.channel)
        guard let user, configuration.users.contains(user) else {
            logger.warning(
                "a user that may not ask was refused",
                metadata: ["uid": "\(user.map(String.init) ?? "unknown")"])
            try await client.refuse(
                403, "Only the agent's user and root may ask the Docker helper.")
            return
        }
        let request: DockerRequest
        do throws(DockerRefusal) {
            request = try DockerRequest(head)
        } catch {
            logger.notice(
                "a request was refused",
                metadata: ["method": "\(head.method)", "status": "\(error.status)"])
            try await client.refuse(error.status, error.message)
            return
        }
        switch request.route {
        case .ping, .info, .containers, .container:
            try await exchange(request, client)
        case .events: try await follow(request, head.version, client)
        }
    }

    private func exchange(
        _ request: DockerRequest, _ client: DockerHelperClient
    ) async throws {
        guard slots.begin(.exchange, client.channel) else {
            try await client.refuse(
                503, "\(configuration.exchangesMax) requests are under way; ask again.")
            return
        }
        do throws(DockerDaemonError) {
            try await daemon.ask(request, for: client.channel) {
                try await client.reply(.ok, $0)
            }
        } catch { try await client.refuse(error.status, error.message) }
    }

    private func follow(
        _ request: DockerRequest, _ version: HTTPVersion, _ client: DockerHelperClient
    ) async throws {
        guard (version.major, version.minor) >= (1, 1) else {
            try await client.refuse(505, "Events need HTTP/1.1.")
            return
        }
        guard slots.begin(.events, client.channel) else {
            try await client.refuse(
                429, "\(configuration.eventStreamsMax) event streams are open already.")
            return
        }
        let end: EventStreamEnd
        do throws(DockerDaemonError) {
            end = try await daemon.follow(
                request, for: client.channel, begin: { try await client.begin() },
                each: { try await client.send($0) })
        } catch {
            try await client.refuse(error.status, error.message)
            return
        }
        if end.skippedCount > 0 {
            logger.warning(
                "events over the limit were left out", metadata: ["count": "\(end.skippedCount)"])
        }
        guard let cut = end.cut else {
            try await client.end()
            return
        }
        guard client.channel.isActive else { return }
        // No closing chunk: the client sees that the stream was cut, and asks again with `since`.
        logger.info("an event stream was cut", metadata: ["reason": "\(cut.message)"])
    }
}

extension DockerRequest {
    /// The request of a head as it was parsed; one that announces a body or an upgrade is refused.
    init(_ head: HTTPRequestHead) throws(DockerRefusal) {
        self = try DockerRequest(method: head.method.rawValue, target: head.uri)
        let lengths = head.headers["Content-Length"]
        guard lengths.allSatisfy({ $0 == "0" }), !head.headers.contains(name: "Transfer-Encoding"),
            !head.headers.contains(name: "Expect")
        else { throw .body }
        guard !head.headers.contains(name: "Upgrade") else { throw .upgrade }
    }
}
