import JSONReading
import NIOCore
import NIOHTTP1

/// Whoever asks the helper, as the answers' destination.
///
/// Everything is written through the channel and awaited until the kernel has it: closing a `NIOAsyncChannel` drops what its
/// writer has accepted and the socket has not.
struct DockerHelperClient: Sendable {
    /// Bytes that are handed to the kernel at once.
    private static let pieceBytes = 64 << 10

    let channel: any Channel
    /// How long the client may take to read a whole answer, or one part of a stream.
    let deadlineMilliseconds: Int64

    /// `{"message":"…"}` with a status.
    func refuse(_ status: Int, _ message: String) async throws {
        try await reply(
            HTTPResponseStatus(statusCode: status),
            DockerAnswer(body: JSONText.message(message)))
    }

    /// A whole answer.
    func reply(_ status: HTTPResponseStatus, _ answer: DockerAnswer) async throws {
        var more = [("Content-Length", "\(answer.body.count)")]
        if status == .methodNotAllowed { more.append(("Allow", "GET")) }
        if let version = answer.version { more.append(("Api-Version", version)) }
        try await withDeadline {
            try await writeHead(status, type: answer.type, more)
            try await writeBody(answer.body)
            try await write(.end(nil))
        }
    }

    /// The head of a stream without a length, sent in chunks.
    func begin() async throws {
        try await withDeadline { try await writeHead(.ok, type: "application/json", []) }
    }

    /// A part of a stream.
    func send(_ bytes: [UInt8]) async throws {
        try await withDeadline { try await writeBody(bytes) }
    }

    /// The orderly end of a stream.
    func end() async throws { try await withDeadline { try await write(.end(nil)) } }

    private func writeBody(_ bytes: [UInt8]) async throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = ByteBuffer(bytes: rest.prefix(Self.pieceBytes))
            rest = rest.dropFirst(Self.pieceBytes)
            try await write(.body(.byteBuffer(piece)))
        }
    }

    private func writeHead(
        _ status: HTTPResponseStatus, type: String, _ more: [(String, String)]
    ) async throws {
        let headers = HTTPHeaders(
            [
                ("Content-Type", type), ("X-Content-Type-Options", "nosniff"),
                ("Connection", "close"),
            ] + more)
        try await write(
            .head(HTTPResponseHead(version: .http1_1, status: status, headers: headers)))
    }

    private func write(_ part: HTTPServerResponsePart) async throws {
        try await channel.writeAndFlush(part).get()
    }

    /// A client that has not read by the deadline is let go.
    private func withDeadline(_ body: () async throws -> Void) async throws {
        let deadline = Deadline(channel, after: .milliseconds(deadlineMilliseconds))
        defer { deadline.cancel() }
        try await body()
    }
}
