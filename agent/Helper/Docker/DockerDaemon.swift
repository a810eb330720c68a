import Glibc
import JSONReading
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Why Docker gave no answer that can be passed on.
enum DockerDaemonError: Error, Hashable, Sendable {
    /// No connection: Docker is not installed, not running, or its socket is closed to the helper.
    case unreachable(path: String, errno: Int32)
    case late(seconds: Int64)
    /// The answer is no HTTP, or has a status that these requests don't have.
    case notHTTP(detail: String)
    case cutOff
    case tooLong(bytesMax: Int)
    /// Other exchanges hold as much as the helper may hold in all.
    case busy
    case notJSON(JSONError)
    /// Docker's own refusal, with its message.
    case refused(status: Int, message: String)

    /// The HTTP status for the helper's client.
    var status: Int {
        switch self {
        case .unreachable, .notHTTP, .cutOff, .tooLong, .notJSON: 502
        case .late: 504
        case .busy: 503
        case .refused(let status, _): status
        }
    }

    var message: String {
        switch self {
        case .unreachable(let path, let errno):
            "Docker does not answer at \(path): \(String(cString: strerror(errno))). Is docker.service running, and may "
                + "the helper's user open the socket (group docker)?"
        case .late(let seconds): "Docker did not answer within \(seconds) s."
        case .notHTTP(let detail): "What answers in Docker's place speaks no HTTP: \(detail)."
        case .cutOff: "Docker closed the connection in the middle of its answer."
        case .tooLong(let bytesMax): "Docker's answer has more than \(bytesMax) bytes."
        case .busy: "Other answers take the helper's memory; ask again."
        case .notJSON(let error): "Docker's answer can't be read: \(error)."
        case .refused(_, let message): message
        }
    }
}

/// What the helper answers.
struct DockerAnswer: Hashable, Sendable {
    var body: [UInt8]
    var type = "application/json"
    /// Docker's `Api-Version`, where it has the form of a version.
    var version: String?
}

/// How an event stream came to its end.
struct EventStreamEnd: Hashable, Sendable {
    /// Events over the limit, left out.
    var skippedCount: Int
    /// Why it broke; nil where Docker ended it in order.
    var cut: DockerDaemonError?
}

/// The Docker daemon at the end of a Unix socket. Every request has a connection of its own.
struct DockerDaemon: Sendable {
    typealias Connection = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

    let path: String
    let deadlineMilliseconds: Int64
    let answerBytesMax: Int
    let eventBytesMax: Int
    /// Of all answers that are in memory.
    let budget: ByteBudget
    let group: any EventLoopGroup

    /// Hands what may pass of Docker's answer to `reply`. Throws what happened before; what `reply` throws is its own
    /// business and ends the exchange.
    ///
    /// `client` is whom the answer is for: when it closes, the connection to Docker closes.
    func ask(
        _ request: DockerRequest, for client: any Channel,
        _ reply: (DockerAnswer) async throws -> Void
    ) async throws(DockerDaemonError) {
        let answer = try await answer(to: request, for: client)
        guard budget.take(answer.body.count) else { throw .busy }
        defer { budget.giveBack(answer.body.count) }
        try? await reply(answer)
    }

    private func answer(
        to request: DockerRequest, for client: any Channel
    ) async throws(DockerDaemonError) -> DockerAnswer {
        do {
            return try await connected(for: client) { connection, deadline in
                try await connection.executeThenClose { inbound, outbound in
                    try await send(request, outbound)
                    var parts = inbound.makeAsyncIterator()
                    let head = try await Self.head(&parts)
                    return try await withBody(&parts) { body in
                        deadline.cancel()
                        try Self.check(head, body)
                        return try Self.projected(body, of: request.route, head)
                    }
                }
            }
        } catch { throw Self.daemonError(error) }
    }

    /// Follows Docker's events until either side ends: `begin` when Docker has agreed, then `each` with what may pass of
    /// every event, a line each. Throws what happened before `begin`, returns what happened after.
    ///
    /// `client` is whom the events are for: when it closes, the connection to Docker closes.
    func follow(
        _ request: DockerRequest, for client: any Channel,
        begin: () async throws -> Void, each: ([UInt8]) async throws -> Void
    ) async throws(DockerDaemonError) -> EventStreamEnd {
        do {
            return try await connected(for: client) { connection, deadline in
                try await connection.executeThenClose { inbound, outbound in
                    try await send(request, outbound)
                    var parts = inbound.makeAsyncIterator()
                    let head = try await Self.head(&parts)
                    if head.status != .ok {
                        try await withBody(&parts) { try Self.check(head, $0) }
                    }
                    deadline.cancel()
                    try await begin()
                    var scanner = JSONObjectScanner(objectBytesMax: eventBytesMax)
                    var cut: DockerDaemonError?
                    do {
                        try await Self.pass(&parts, &scanner, each)
                    } catch { cut = Self.daemonError(error) }
                    return EventStreamEnd(skippedCount: scanner.skippedCount, cut: cut)
                }
            }
        } catch { throw Self.daemonError(error) }
    }

    private static func pass(
        _ parts: inout NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator,
        _ scanner: inout JSONObjectScanner, _ each: ([UInt8]) async throws -> Void
    ) async throws {
        while let part = try await parts.next() {
            switch part {
            case .head: break
            case .body(let buffer):
                var lines: [UInt8] = []
                for event in try scanner.objects(endingIn: buffer.readableBytesView) {
                    lines += try DockerFilter.filtered(event, of: .events)
                    lines.append(UInt8(ascii: "\n"))
                }
                if !lines.isEmpty { try await each(lines) }
            case .end: return
            }
        }
        throw DockerDaemonError.cutOff
    }

    /// Connects and runs `body` under the deadline, which closes the connection, as the end of `client` does.
    private func connected<Result: Sendable>(
        for client: any Channel, _ body: (Connection, Deadline) async throws -> Result
    ) async throws -> Result {
        let wait = TimeAmount.milliseconds(deadlineMilliseconds)
        let channel = try await connect(wait)
        client.closeFuture.whenComplete { _ in channel.close(promise: nil) }
        let deadline = Deadline(channel, after: wait)
        defer { deadline.cancel() }
        let connection = try await Connection.wrapping(channel)
        do {
            return try await body(connection, deadline)
        } catch  where deadline.hasPassed {
            throw DockerDaemonError.late(seconds: deadlineMilliseconds / 1000)
        }
    }

    private func connect(_ wait: TimeAmount) async throws(DockerDaemonError) -> any Channel {
        do {
            return try await ClientBootstrap(group: group)
                .connectTimeout(wait)
                .channelOption(.autoRead, value: false)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    }
                }
                .connect(unixDomainSocketPath: path).get()
        } catch let error as IOError {
            throw .unreachable(path: path, errno: error.errnoCode)
        } catch is SocketAddressError {
            throw .unreachable(path: path, errno: ENAMETOOLONG)
        } catch { throw .unreachable(path: path, errno: ETIMEDOUT) }
    }

    /// The request, made from scratch: no header of the helper's client is among these.
    private func send(
        _ request: DockerRequest,
        _ outbound: NIOAsyncChannelOutboundWriter<HTTPClientRequestPart>
    ) async throws {
        let headers = HTTPHeaders([
            ("Host", "docker"), ("Accept", "application/json"), ("Connection", "close"),
            ("User-Agent", "petrel-agent"),
        ])
        let head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: request.target, headers: headers)
        // In one step: after the head a quick Docker answers and closes, and a second write would fail.
        try await outbound.write(contentsOf: [.head(head), .end(nil)])
    }

    private static func head(
        _ parts: inout NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator
    ) async throws -> HTTPResponseHead {
        guard case .head(let head) = try await parts.next() else {
            throw DockerDaemonError.cutOff
        }
        return head
    }

    /// Docker's answer in whole, handed to `use`; it counts against the budget until `use` returns.
    private func withBody<Result>(
        _ parts: inout NIOAsyncChannelInboundStream<HTTPClientResponsePart>.AsyncIterator,
        _ use: ([UInt8]) throws -> Result
    ) async throws -> Result {
        var bytes: [UInt8] = []
        defer { budget.giveBack(bytes.count) }
        while let part = try await parts.next() {
            switch part {
            case .head: break
            case .body(let buffer):
                guard bytes.count + buffer.readableBytes <= answerBytesMax else {
                    throw DockerDaemonError.tooLong(bytesMax: answerBytesMax)
                }
                guard budget.take(buffer.readableBytes) else { throw DockerDaemonError.busy }
                bytes += buffer.readableBytesView
            case .end: return try use(bytes)
            }
        }
        throw DockerDaemonError.cutOff
    }

    /// Throws unless the status is 200: a refusal with Docker's message where it has one.
    private static func check(_ head: HTTPResponseHead, _ body: [UInt8]) throws(DockerDaemonError) {
        let status = Int(head.status.code)
        guard status != 200 else { return }
        guard 400..<600 ~= status else { throw .notHTTP(detail: "status \(status)") }
        throw .refused(
            status: status, message: message(in: body) ?? "Docker answered with status \(status).")
    }

    private static func message(in body: [UInt8]) -> String? {
        var reader = JSONReader(body)
        guard let kind = try? reader.kind(), kind == .object, (try? reader.enter()) != nil else {
            return nil
        }
        var isFirst = true
        while let name = try? reader.nextName(isFirst: &isFirst) {
            guard name == "message" else {
                guard (try? reader.skip()) != nil else { return nil }
                continue
            }
            guard let kind = try? reader.kind(), kind == .string else { return nil }
            return (try? reader.string()).map { String($0.prefix(messageLengthMax)) }
        }
        return nil
    }

    /// Characters of Docker's message that are passed on.
    private static let messageLengthMax = 1024

    private static func projected(
        _ body: [UInt8], of route: DockerRoute, _ head: HTTPResponseHead
    ) throws(DockerDaemonError) -> DockerAnswer {
        let version = head.headers.first(name: "Api-Version").flatMap { text in
            text.utf8.count <= 16 && text.utf8.allSatisfy { 48...57 ~= $0 || $0 == 46 } ? text : nil
        }
        do throws(JSONError) {
            var answer = DockerAnswer(
                body: try DockerFilter.filtered(body, of: route), version: version)
            if route == .ping { answer.type = "text/plain; charset=utf-8" }
            return answer
        } catch { throw .notJSON(error) }
    }

    private static func daemonError(_ error: any Error) -> DockerDaemonError {
        switch error {
        case let error as DockerDaemonError: error
        case let error as JSONError: .notJSON(error)
        case HTTPParserError.invalidEOFState: .cutOff
        case let error as HTTPParserError: .notHTTP(detail: "\(error)")
        default: .cutOff
        }
    }
}

extension NIOAsyncChannel where Inbound: Sendable, Outbound: Sendable {
    /// Wraps a channel that does not read yet, and lets it read. Whoever wraps must execute.
    static func wrapping(_ channel: any Channel) async throws -> Self {
        try await channel.eventLoop.submit {
            let wrapped = try NIOAsyncChannel(wrappingChannelSynchronously: channel)
            channel.setOption(.autoRead, value: true).whenFailure { _ in
                channel.close(promise: nil)
            }
            return wrapped
        }.get()
    }
}

/// Closes a channel after a while, unless it is cancelled before.
final class Deadline: Sendable {
    private let state = Mutex(false)
    private let task: Mutex<Scheduled<Void>?>

    init(_ channel: any Channel, after wait: TimeAmount) {
        task = Mutex(nil)
        let scheduled = channel.eventLoop.scheduleTask(in: wait) { [self] in
            state.withLock { $0 = true }
            channel.close(promise: nil)
        }
        task.withLock { $0 = scheduled }
    }

    func cancel() { task.withLock { $0.take() }?.cancel() }

    var hasPassed: Bool { state.withLock { $0 } }
}
