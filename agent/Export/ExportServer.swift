package import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Where the agent's HTTP server listens and what it allows.
package struct ExportConfiguration: Hashable, Sendable {
    package var host: String
    /// 0 lets the system choose.
    package var port: Int
    /// Connections past this are closed at once.
    package var connectionsMax: Int
    /// Bytes that a request may have, body included; a connection that sends more is closed.
    package var requestBytesMax: Int
    /// A connection without traffic for so long is closed.
    package var idleSecondsMax: Int64

    package init(
        host: String = "127.0.0.1", port: Int = 9100, connectionsMax: Int = 32,
        requestBytesMax: Int = 16 * 1024, idleSecondsMax: Int64 = 60
    ) {
        self.host = host
        self.port = port
        self.connectionsMax = connectionsMax
        self.requestBytesMax = requestBytesMax
        self.idleSecondsMax = idleSecondsMax
    }
}

/// What the server serves. The closures may be called at the same time, at most `connectionsMax` times.
package struct ExportContent: Sendable {
    /// `/metrics`: an exposition of text format 0.0.4.
    package var metrics: @Sendable () async -> [UInt8]
    /// `/healthz`: nil is 200 `ok`, a text is 503 with that text.
    package var ailment: @Sendable () async -> String?
    /// `/status`: 200 where the agent can work, else 503, with a text for a person, which may name files and servers:
    /// for a socket that others can't reach. Nil is 404.
    package var status: (@Sendable () async -> (isWell: Bool, text: String))?

    package init(
        metrics: @escaping @Sendable () async -> [UInt8],
        ailment: @escaping @Sendable () async -> String? = { nil },
        status: (@Sendable () async -> (isWell: Bool, text: String))? = nil
    ) {
        self.metrics = metrics
        self.ailment = ailment
        self.status = status
    }
}

/// Why the server can't listen.
package enum ExportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another program has the port, on most hosts that are migrating node_exporter.
    case addressInUse(host: String, port: Int)
    case cannotListen(host: String, port: Int, detail: String)

    package var description: String {
        switch self {
        case .addressInUse(let host, let port):
            """
            \(host):\(port) is taken by another program, node_exporter perhaps: stop it, or set another address with \
            --listen
            """
        case .cannotListen(let host, let port, let detail):
            "can't listen on \(host):\(port): \(detail)"
        }
    }
}

/// The agent's HTTP/1.1 server: `GET` and `HEAD` of `/metrics`, `/healthz`, `/` and, on its own socket, `/status`.
///
/// `bind` and `run` are apart so that a taken port is known before the services start and the agent can go on without.
/// Stopping closes the listener and idle connections at once and lets a request that is under way have its answer.
package final class ExportServer: Service {
    typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>

    /// The port that is listened on.
    package let port: Int
    private let configuration: ExportConfiguration
    private let content: ExportContent
    private let listener: NIOAsyncChannel<any Channel, Never>
    private let connections = OpenConnections()

    private init(
        _ configuration: ExportConfiguration, _ content: ExportContent,
        _ listener: NIOAsyncChannel<any Channel, Never>
    ) {
        self.configuration = configuration
        self.content = content
        self.listener = listener
        port = listener.channel.localAddress?.port ?? configuration.port
    }

    /// Listens. Whoever binds must run: an unrun server keeps its port.
    package static func bind(
        _ configuration: ExportConfiguration, content: ExportContent, group: any EventLoopGroup
    ) async throws(ExportError) -> ExportServer {
        do {
            let listener = try await ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: backlog)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.autoRead, value: false)
                .bind(host: configuration.host, port: configuration.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try configure(channel, configuration)
                        return channel
                    }
                }
            return ExportServer(configuration, content, listener)
        } catch let error as IOError where error.errnoCode == addressInUse {
            throw .addressInUse(host: configuration.host, port: configuration.port)
        } catch {
            throw .cannotListen(
                host: configuration.host, port: configuration.port, detail: "\(error)")
        }
    }

    /// Takes over `descriptor`, a Unix socket that listens; the configuration's place is not used. Throws
    /// `cannotListen`.
    package static func adopt(
        _ descriptor: Int32, _ configuration: ExportConfiguration, content: ExportContent,
        group: any EventLoopGroup
    ) async throws(ExportError) -> ExportServer {
        do {
            let listener = try await ServerBootstrap(group: group)
                .childChannelOption(.autoRead, value: false)
                .bind(descriptor) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try configure(channel, configuration)
                        return channel
                    }
                }
            return ExportServer(configuration, content, listener)
        } catch {
            throw .cannotListen(host: "descriptor", port: Int(descriptor), detail: "\(error)")
        }
    }

    private static let backlog: Int32 = 64

    private static func configure(
        _ channel: any Channel, _ configuration: ExportConfiguration
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(RequestLimitHandler(bytesMax: configuration.requestBytesMax))
        try pipeline.addHandler(
            IdleStateHandler(allTimeout: .seconds(configuration.idleSecondsMax)))
        try pipeline.addHandler(IdleCloseHandler())
        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
    }

    /// Serves until the service group shuts down.
    package func run() async throws {
        try await withGracefulShutdownHandler {
            try await listener.executeThenClose { inbound in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in inbound {
                        group.addTask { await self.serve(connection) }
                    }
                }
            }
        } onGracefulShutdown: {
            self.listener.channel.close(promise: nil)
            for channel in self.connections.stop() { channel.close(promise: nil) }
        }
    }

    /// Serves one connection to its end. A connection that breaks concerns nobody else.
    ///
    /// The channel is wrapped only here: a wrapper that nobody executes, as one accepted while the listener closes would
    /// be, ends the process. Nothing is read before.
    private func serve(_ channel: any Channel) async {
        let wrapped = channel.eventLoop.submit {
            let connection = try Connection(wrappingChannelSynchronously: channel)
            channel.setOption(.autoRead, value: true).whenFailure { _ in
                channel.close(promise: nil)
            }
            return connection
        }
        guard let connection = try? await wrapped.get() else {
            channel.close(promise: nil)
            return
        }
        try? await connection.executeThenClose { inbound, outbound in
            guard connections.insert(connection.channel, max: configuration.connectionsMax) else {
                return
            }
            defer { connections.remove(connection.channel) }
            var head: HTTPRequestHead?
            for try await part in inbound {
                switch part {
                case .head(let request): head = request
                case .body: break
                case .end:
                    guard let request = head else { return }
                    head = nil
                    connections.mark(connection.channel, isBusy: true)
                    let isKept = try await answer(request, outbound)
                    connections.mark(connection.channel, isBusy: false)
                    guard isKept, !connections.isStopping else { return }
                }
            }
        }
    }

    /// Writes the response; returns whether the connection stays open.
    private func answer(
        _ request: HTTPRequestHead,
        _ outbound: NIOAsyncChannelOutboundWriter<HTTPServerResponsePart>
    ) async throws -> Bool {
        let response = await response(to: request)
        let isKept = request.isKeepAlive && !connections.isStopping
        var headers = HTTPHeaders([
            ("Content-Type", response.type), ("Content-Length", "\(response.body.count)"),
            ("X-Content-Type-Options", "nosniff"),
        ])
        if response.status == .methodNotAllowed { headers.add(name: "Allow", value: "GET, HEAD") }
        if !isKept {
            headers.add(name: "Connection", value: "close")
        } else if request.version.minor == 0 {
            headers.add(name: "Connection", value: "keep-alive")
        }
        try await outbound.write(
            .head(
                HTTPResponseHead(
                    version: request.version, status: response.status, headers: headers)))
        if request.method != .HEAD, !response.body.isEmpty {
            try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: response.body))))
        }
        try await outbound.write(.end(nil))
        return isKept
    }

    private struct Response {
        var status = HTTPResponseStatus.ok
        var type = "text/plain; charset=utf-8"
        var body: [UInt8]

        init(_ status: HTTPResponseStatus, _ text: String) {
            self.status = status
            body = Array(text.utf8)
        }
    }

    private func response(to request: HTTPRequestHead) async -> Response {
        let path = request.uri.prefix { $0 != "?" }
        guard
            ["/", "/metrics", "/healthz"].contains(path)
                || (path == "/status" && content.status != nil)
        else { return Response(.notFound, "404 not found: /metrics, /healthz\n") }
        guard request.method == .GET || request.method == .HEAD else {
            return Response(.methodNotAllowed, "405 method not allowed: GET, HEAD\n")
        }
        switch path {
        case "/metrics":
            var response = Response(.ok, "")
            response.type = Self.metricsType
            response.body = await content.metrics()
            return response
        case "/status":
            guard let status = await content.status?() else { return Response(.notFound, "") }
            return Response(status.isWell ? .ok : .serviceUnavailable, status.text)
        case "/healthz":
            if let ailment = await content.ailment() {
                return Response(.serviceUnavailable, ailment + "\n")
            }
            return Response(.ok, "ok\n")
        default:
            var response = Response(.ok, Self.page)
            response.type = "text/html; charset=utf-8"
            return response
        }
    }

    /// `ExpositionWriter.contentType`.
    private static let metricsType = "text/plain; version=0.0.4; charset=utf-8"
    private static let page =
        "<!doctype html><title>petrel-agent</title><p>petrel-agent: <a href=\"/metrics\">metrics</a></p>\n"
    /// EADDRINUSE of Linux.
    private static let addressInUse: Int32 = 98
}
