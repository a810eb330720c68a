import NIOCore
import NIOHTTP1
import NIOSSL

/// What a request of a scrape is answered with.
enum ScrapeAnswer: Sendable {
    case body(ScrapedBody)
    /// The Location of a redirect that the job follows.
    case redirect(String)
}

/// Sends one request of a scrape and collects the answer, within its limits.
final class ScrapeResponseHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let head: HTTPRequestHead
    private let bodyBytesMax: Int
    private let followsRedirects: Bool
    /// Handed over with the body, or given back at the end.
    private var lease: ByteLease?
    private let promise: EventLoopPromise<ScrapeAnswer>
    private var isDone = false
    /// The answer has a length or chunks.
    private var endsItself = false
    private var bytes: [UInt8] = []
    private var contentType = ""
    private var isGzip = false

    init(
        head: HTTPRequestHead, bodyBytesMax: Int, followsRedirects: Bool, lease: ByteLease,
        promise: EventLoopPromise<ScrapeAnswer>
    ) {
        self.head = head
        self.bodyBytesMax = bodyBytesMax
        self.followsRedirects = followsRedirects
        self.lease = lease
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDone else { return }
        switch unwrapInboundIn(data) {
        case .head(let head): begin(head)
        case .body(var buffer): add(&buffer)
        case .end:
            guard let lease else { return }
            finish(
                .success(
                    .body(
                        ScrapedBody(
                            bytes: bytes, contentType: contentType, isGzip: isGzip, lease: lease))))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.failure(.connection(Self.cutOff)))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? NIOSSLError, case .uncleanShutdown = error else {
            finish(.failure(Self.failure(error)))
            return
        }
        // A peer that closes TLS without saying so has sent what it sent: the answer tells itself whether it is whole. One
        // that ends where the connection does may have been cut by anybody. Source: RFC 8446 section 6.1.
        if !endsItself { finish(.failure(.connection(Self.cutOff))) }
    }

    /// Those that a GET follows as a GET. Source: Go's net/http `redirectBehavior`.
    private static let redirects: Set<UInt> = [301, 302, 303, 307, 308]

    private func begin(_ head: HTTPResponseHead) {
        if followsRedirects, Self.redirects.contains(head.status.code),
            let location = head.headers.first(name: "Location")
        {
            finish(.success(.redirect(location)))
            return
        }
        guard head.status == .ok else {
            finish(
                .failure(
                    .status(code: Int(head.status.code), reason: head.status.reasonPhrase)))
            return
        }
        endsItself =
            head.headers.contains(name: "Content-Length")
            || head.headers[canonicalForm: "Transfer-Encoding"].last?.lowercased() == "chunked"
        contentType = head.headers.first(name: "Content-Type") ?? ""
        switch head.headers[canonicalForm: "Content-Encoding"].map({ $0.lowercased() }) {
        case [], ["identity"]: isGzip = false
        case ["gzip"]: isGzip = true
        case let names:
            finish(.failure(.contentEncoding(names.joined(separator: ", "))))
            return
        }
        if let length = head.headers.first(name: "Content-Length").flatMap({ Int($0) }) {
            guard length <= bodyBytesMax else {
                finish(.failure(.bodyTooLarge(max: bodyBytesMax)))
                return
            }
            // Room, which takes no memory before there is something in it; the lease is for what has come.
            announced = length
            bytes.reserveCapacity(length)
        }
    }

    /// `Content-Length`.
    private var announced: Int?
    /// Bytes that the lease has; taken in steps, so that a target that announces much and sends nothing has little.
    private var leased = 0
    private static let leaseBytes = 64 << 10

    private func add(_ buffer: inout ByteBuffer) {
        let count = bytes.count + buffer.readableBytes
        guard count <= bodyBytesMax else {
            finish(.failure(.bodyTooLarge(max: bodyBytesMax)))
            return
        }
        if count > leased {
            // Growing by doubling may hold the old and the new at once; where the length is known nothing grows.
            var more = max(count - leased, Self.leaseBytes)
            if let announced {
                more = max(count, min(leased + more, announced)) - leased
            } else {
                more = max(more, leased)
            }
            guard lease?.grow(by: more) ?? false else {
                finish(.failure(.bodiesTooLarge(max: ScrapeLimits.bodyBytesTotalMax)))
                return
            }
            leased += more
        }
        buffer.readWithUnsafeReadableBytes { part in
            bytes.append(contentsOf: part)
            return part.count
        }
    }

    private func finish(_ result: Result<ScrapeAnswer, ScrapeFailure>) {
        guard !isDone else { return }
        isDone = true
        bytes = []
        lease = nil
        switch result {
        case .success(let answer): promise.succeed(answer)
        case .failure(let failure): promise.fail(failure)
        }
    }

    private static let cutOff = "the target closed it before the answer was whole"

    /// What an error of the channel means.
    static func failure(_ error: any Error) -> ScrapeFailure {
        switch error {
        case let failure as ScrapeFailure: failure
        case let error as NIOHTTPDecoderError: .malformed("\(error)")
        case let error as NIOSSLError: .tls("\(error)")
        case let error as NIOSSLExtraError: .tls("\(error)")
        case HTTPParserError.invalidEOFState: .connection(cutOff)
        case let error as HTTPParserError: .malformed("\(error)")
        case is ChannelError: .connection(channelText(error))
        case let error as IOError: .connection(systemText(error))
        default: .connection("\(error)")
        }
    }

    /// Source: errno.h of Linux.
    private static func systemText(_ error: IOError) -> String {
        switch error.errnoCode {
        case 111: "refused: nothing listens there"
        case 110: "nobody answers"
        case 104, 32: cutOff
        case 101, 113: "there is no route to the host"
        case let code: "errno \(code)"
        }
    }

    private static func channelText(_ error: any Error) -> String {
        if case .connectTimeout? = error as? ChannelError { return "nobody answers" }
        return "\(error)"
    }
}

/// Ends a scrape whose answer has more bytes than any body within the limit needs: framing without content is no way
/// around it.
final class RawBytesLimitHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Bytes of framing that one byte of a body may take: chunks of one byte, `1\r\nx\r\n`.
    private static let framingRatio = 6
    private let bytesMax: Int
    private let promise: EventLoopPromise<ScrapeAnswer>
    private let bodyBytesMax: Int
    private var bytes = 0

    init(bodyBytesMax: Int, promise: EventLoopPromise<ScrapeAnswer>) {
        self.bodyBytesMax = bodyBytesMax
        self.promise = promise
        bytesMax = Self.framingRatio * bodyBytesMax + ScrapeLimits.headBytesMax
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes += unwrapInboundIn(data).readableBytes
        guard bytes <= bytesMax else {
            promise.fail(ScrapeFailure.bodyTooLarge(max: bodyBytesMax))
            return
        }
        context.fireChannelRead(data)
    }
}
