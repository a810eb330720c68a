import CollectorQuery
import Gzip
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle
import Startup
import World

/// The HTTP server: carries requests to a `WebSite` and its answers back.
package struct WebService: Service {
    private let configuration: WebConfiguration
    private let site: WebSite
    private let logger: Logger
    private let onListening: @Sendable (Int) async -> Void

    /// Throws `WebError` where the configuration is not safe. `onListening` is called with the port that was bound.
    package init(
        configuration: WebConfiguration, site: WebSite, logger: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) throws(WebError) {
        try configuration.validate()
        self.configuration = configuration
        self.site = site
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until graceful shutdown; connections that do not end within `AcceptedConnections.drainNanoseconds` after it
    /// are cut. Throws where the address can't be bound.
    package func run() async throws {
        let onListening = onListening
        let connections = AcceptedConnections()
        let hangUps = HangUps()
        let application = Application(
            responder: WebResponder(
                site: site, hangUps: hangUps, bodyBytesMax: configuration.bodyBytesMax,
                stallMillisecondsMax: configuration.stallMillisecondsMax),
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [
                        ConnectionRegistrar(connections), HangUpHandler(hangUps),
                    ],
                    idleTimeout: .seconds(configuration.idleSecondsMax))),
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.address, port: configuration.port)),
            onServerRunning: { channel in
                await onListening(channel.localAddress?.port ?? 0)
            },
            logger: logger)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await application.run()
                return true
            }
            group.addTask { [site] in
                do {
                    try await gracefulShutdown()
                    try await site.dependencies.clock.sleep(
                        nanoseconds: AcceptedConnections.drainNanoseconds)
                } catch {
                    return false
                }
                connections.closeAll()
                return false
            }
            while let isOver = try await group.next() {
                if isOver { group.cancelAll() }
            }
        }
    }
}

/// Enters each accepted connection in the list of those that are cut at the end.
private final class ConnectionRegistrar: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    private let connections: AcceptedConnections

    init(_ connections: AcceptedConnections) { self.connections = connections }

    func handlerAdded(context: ChannelHandlerContext) { connections.add(context.channel) }
}

/// What belongs to a request: the connection on which it came.
struct WebRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}

/// Between Hummingbird's messages and ours.
struct WebResponder: HTTPResponder {
    typealias Context = WebRequestContext

    /// Bytes of great bodies that are in memory at once.
    private static let bodiesBytesMax = 64 << 20

    let site: WebSite
    let bodyBytesMax: Int
    private let hangUps: HangUps
    private let stallMillisecondsMax: Int64
    private let bodies = ByteBudget(bytesMax: bodiesBytesMax)

    init(site: WebSite, hangUps: HangUps, bodyBytesMax: Int, stallMillisecondsMax: Int64) {
        self.site = site
        self.hangUps = hangUps
        self.bodyBytesMax = bodyBytesMax
        self.stallMillisecondsMax = stallMillisecondsMax
    }

    /// Longest body of a request: pushed samples come in greater ones than queries.
    private func bodyBytesMax(_ request: Request) -> Int {
        switch try? Self.path(request.head.path ?? "") {
        case RemoteWriteAPI.path: return max(bodyBytesMax, RemoteWriteAPI.bodyBytesMax)
        case OTLPAPI.path: return max(bodyBytesMax, OTLPAPI.bodyBytesMax)
        case OTLPLogsAPI.path, LokiPushAPI.path, LokiPushAPI.olderPath:
            return max(bodyBytesMax, LogIntake.bodyBytesMax)
        default: return bodyBytesMax
        }
    }

    func respond(to request: Request, context: WebRequestContext) async throws -> Response {
        let channel = context.channel
        guard Self.onlyReads(request.head.path ?? "") else {
            return try await answer(request, channel)
        }
        return try await hangUps.cancelling(channel) { try await answer(request, channel) }
    }

    /// Whether nobody needs the answer once its client is gone. What was pushed, or is to be deleted or
    /// sealed, is done all the same.
    private static func onlyReads(_ target: String) -> Bool {
        let path = (try? Self.path(target)) ?? []
        switch path.first {
        case "loki": return path != LokiPushAPI.path
        case "api":
            return path.count > 2 && ["logs", "traces"].contains(path[2])
                && path != PetrelAPI.sealPath
        case "prometheus":
            return path.count < 4 || !["admin", "otlp", "write"].contains(path[3])
        default: return false
        }
    }

    private func answer(_ request: Request, _ channel: any Channel) async throws -> Response {
        let path = (try? Self.path(request.head.path ?? "/")) ?? []
        var held = 0
        defer { bodies.giveBack(held) }
        let answer: Response
        do throws(WebRefusal) {
            let asked = try await read(request, &held)
            let given = await site.respond(to: asked)
            if given.status == 101, let live = given.live {
                return try await messages(of: live, given, asked, channel)
            }
            answer = response(given, channel)
        } catch {
            let type = request.headers[.contentType]
            answer = response(site.refuse(error, path: path, contentType: type), channel)
        }
        return request.headers[.upgrade] == nil ? answer : await last(answer, channel)
    }

    /// `held` becomes what of `bodies` the request takes.
    private func read(
        _ request: Request, _ held: inout Int
    ) async throws(WebRefusal) -> WebRequest {
        let target = request.head.path ?? "/"
        var parameters = try FormParameters(
            target.utf8.drop { $0 != UInt8(ascii: "?") }.dropFirst())
        let bytes = try await collect(request, &held)
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        headers["host"] = request.head.authority
        let type = (headers["content-type"] ?? "").lowercased().prefix { $0 != ";" && $0 != " " }
        if [.post, .put].contains(request.method), type == "application/x-www-form-urlencoded" {
            parameters = try FormParameters(bytes).merging(parameters)
        }
        return WebRequest(
            method: request.method.rawValue, path: try Self.path(target), parameters: parameters,
            headers: headers, body: bytes)
    }

    private func collect(
        _ request: Request, _ held: inout Int
    ) async throws(WebRefusal) -> [UInt8] {
        let bodyBytesMax = bodyBytesMax(request)
        let tooLong = WebRefusal(413, "the request body is longer than \(bodyBytesMax) bytes")
        guard !isTooLong(request) else { throw tooLong }
        var bytes: [UInt8] = []
        var count = 0
        var isCrowded = false
        do {
            // Read to its end whatever its length: what nobody reads would hold the connection up for ever.
            for try await part in request.body {
                count += part.readableBytes
                // What every request may have is not counted.
                if count > self.bodyBytesMax, count <= bodyBytesMax, !isCrowded {
                    isCrowded = !bodies.take(count - held)
                    if !isCrowded { held = count }
                }
                if count <= bodyBytesMax, !isCrowded { bytes += part.readableBytesView }
            }
        } catch {
            throw WebRefusal(400, "the request body can't be read")
        }
        guard count <= bodyBytesMax else { throw tooLong }
        guard !isCrowded else {
            throw WebRefusal(
                503, "too many great requests are being read; send it again", retryAfter: 1)
        }
        return bytes
    }

    private func isTooLong(_ request: Request) -> Bool {
        request.headers[.contentLength].flatMap { Int($0) }.map { $0 > bodyBytesMax(request) }
            ?? false
    }

    private static func path(_ target: String) throws(WebRefusal) -> [String] {
        var segments: [String] = []
        let path = Array(target.utf8).prefix { $0 != UInt8(ascii: "?") }
        for segment in path.split(separator: UInt8(ascii: "/")) {
            segments.append(try PercentCoding.decode(segment, plusIsSpace: false))
        }
        return segments
    }

    private func response(_ response: WebResponse, _ channel: any Channel) -> Response {
        let headers = Self.fields(response.headers)
        let body: ResponseBody
        if let live = response.live {
            body = self.body(response.body, live, channel)
        } else if let rest = response.rest {
            body = self.body(
                response.body, rest, isCompressed: response.compressesRest, channel)
        } else if response.body.isEmpty {
            body = ResponseBody()
        } else {
            body = ResponseBody(byteBuffer: ByteBuffer(bytes: response.body))
        }
        return Response(
            status: HTTPResponse.Status(code: response.status), headers: headers, body: body)
    }

    private static func fields(_ headers: [(name: String, value: String)]) -> HTTPFields {
        var fields = HTTPFields()
        for (name, value) in headers {
            if let name = HTTPFields.Element.Name(name) {
                fields.append(HTTPFields.Element(name: name, value: value))
            }
        }
        return fields
    }

    /// `first` and what follows it, each piece made once the one before is on its way. A client that takes nothing for
    /// `stallMillisecondsMax` is cut, which ends this and lets go what the answer is made of.
    private func body(
        _ first: [UInt8], _ rest: PiecewiseBody, isCompressed: Bool, _ channel: any Channel
    ) -> ResponseBody {
        let stallMillisecondsMax = stallMillisecondsMax
        return ResponseBody { writer in
            let gzip: GzipWriter? = if isCompressed { try GzipWriter() } else { nil }
            var rest = rest
            var next: [UInt8]? = first
            while let piece = next {
                let bytes = try gzip?.compress(piece) ?? piece
                if !bytes.isEmpty {
                    let cut = Self.cut(channel, afterMilliseconds: stallMillisecondsMax)
                    defer { cut.cancel() }
                    try await writer.write(ByteBuffer(bytes: bytes))
                }
                next = rest.next()
            }
            if let last = try gzip?.finish() { try await writer.write(ByteBuffer(bytes: last)) }
            try await writer.finish(nil)
        }
    }
}

// Answers that go on.
extension WebResponder {
    /// Closes the channel, unless it is cancelled before.
    private static func cut(
        _ channel: any Channel, afterMilliseconds milliseconds: Int64
    ) -> Scheduled<Void> {
        channel.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) {
            channel.close(promise: nil)
        }
    }

    /// `first` and what comes after it until the client hangs up, is too slow, or the server stops.
    private func body(
        _ first: [UInt8], _ live: any LiveBody, _ channel: any Channel
    ) -> ResponseBody {
        let (stallMillisecondsMax, hangUps) = (stallMillisecondsMax, hangUps)
        return ResponseBody { writer in
            do {
                var next: [UInt8]? = first
                while let bytes = next {
                    let cut = Self.cut(channel, afterMilliseconds: stallMillisecondsMax)
                    defer { cut.cancel() }
                    try await writer.write(ByteBuffer(bytes: bytes))
                    cut.cancel()
                    next = try await hangUps.cancelling(channel) {
                        try await cancelWhenGracefulShutdown { try await live.next() }
                    }
                }
            } catch is CancellationError {}
            try await writer.finish(nil)
        }
    }

    /// Makes the connection a WebSocket. The handlers of HTTP stay behind it, with a request whose answer does not end.
    private func messages(
        of live: any LiveBody, _ answer: WebResponse, _ request: WebRequest, _ channel: any Channel
    ) async throws(WebRefusal) -> Response {
        let socket: WebSocketConnection
        do { socket = try await WebSocketConnection.open(on: channel, request) } catch {
            throw WebRefusal(400, "the WebSocket can't be opened: \(error)")
        }
        let (stallMillisecondsMax, hangUps) = (stallMillisecondsMax, hangUps)
        let body = ResponseBody { _ in
            do {
                // The head of the answer went to the event loop before this does.
                try await socket.begin()
                while let message = try await hangUps.cancelling(
                    channel, { try await live.next() })
                {
                    let cut = Self.cut(channel, afterMilliseconds: stallMillisecondsMax)
                    defer { cut.cancel() }
                    try await socket.send(message)
                }
                socket.close(.goingAway, "the collector stops")
            } catch is CancellationError {
                socket.close(.normal)
            } catch {
                socket.close(.internalError, QueryFailure(any: error).message)
            }
        }
        return Response(
            status: .switchingProtocols, headers: Self.fields(answer.headers + socket.headers),
            body: body)
    }

    /// An answer after which the connection ends: the decoder of HTTP stops at a request that asks for another protocol,
    /// and would keep whatever comes after it.
    private func last(_ answer: Response, _ channel: any Channel) async -> Response {
        try? await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(InputDiscarder(), position: .first)
        }.get()
        var answer = answer
        answer.headers[.connection] = "close"
        let body = answer.body
        answer.body = ResponseBody(contentLength: body.contentLength) { writer in
            try await body.write(writer)
            channel.eventLoop.execute { channel.close(mode: .output, promise: nil) }
        }
        return answer
    }
}
