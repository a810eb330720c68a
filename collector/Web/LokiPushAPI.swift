import Model
import RemoteWrite

/// `POST /loki/api/v1/push`: Loki's push, in JSON and in protocol buffers with Snappy.
///
/// A request is committed before it is answered, and may be sent again. What of it can't be stored ever is answered with 400
/// and told, the rest of it is stored; what may be stored later is answered with 429 or 503.
/// Source: Loki 3.6's documentation "HTTP API", `distributor.PushHandler`.
struct LokiPushAPI: Sendable {
    static let path = ["loki", "api", "v1", "push"]
    /// Where senders of Loki's first versions push.
    static let olderPath = ["api", "prom", "push"]
    static let paths = [path, olderPath]

    let intake: LogIntake

    func respond(_ request: WebRequest) async -> WebResponse {
        guard request.method == "POST" else {
            var response = WebResponse.text("logs are pushed by POST\n", status: 405)
            response.headers.append((name: "allow", value: "POST"))
            return response
        }
        var format: Format?
        let response: WebResponse
        do throws(IngestRefusal) {
            let found = try Self.format(request)
            format = found
            response = try await write(request, found)
        } catch { response = .text(error) }
        intake.metrics.request(format.map { "loki_\($0.rawValue)" } ?? "", status: response.status)
        return response
    }

    // MARK: Form

    private enum Format: String { case json, protobuf }

    /// What is no JSON is protocol buffers, as in Loki.
    private static func format(_ request: WebRequest) throws(IngestRefusal) -> Format {
        let header = request.headers["content-type"] ?? "application/x-protobuf"
        guard let type = MediaType.type(header) else {
            throw IngestRefusal(400, "mime: content type \(header) is malformed")
        }
        return type == "application/json" ? .json : .protobuf
    }

    private static func encoding(
        _ request: WebRequest
    ) throws(IngestRefusal) -> IntakeBody.Encoding {
        let encoding = request.headers["content-encoding"] ?? ""
        switch encoding.lowercased() {
        // Snappy is a part of the other format, and some say so.
        case "", "identity", "snappy": return .plain
        case "gzip": return .gzip
        case "deflate": return .deflate
        default: throw IngestRefusal(415, "Content-Encoding \"\(encoding)\" not supported")
        }
    }

    // MARK: Writing

    private func write(
        _ request: WebRequest, _ format: Format
    ) async throws(IngestRefusal) -> WebResponse {
        // Lines are copied out of the content.
        var body = IntakeBody(
            budget: intake.budget, bytesMax: LogIntake.requestBytesMax, copies: 2)
        defer { body.giveBack() }
        let content = try body.content(of: request.body, try Self.encoding(request))
        let read =
            switch format {
            case .json: try LokiPushJSON.streams(content)
            case .protobuf: try Self.streams(content, request, &body)
            }
        let streams = try LokiBackfill.marked(read, request)
        guard !streams.isEmpty else {
            throw IngestRefusal(
                422, "error at least one valid stream is required for ingestion")
        }
        let report = try await intake.store(streams, of: request)
        return report.refusedCount == 0
            ? WebResponse(status: 204) : .text(report.text + "\n", status: 400)
    }

    private static func streams(
        _ content: [UInt8], _ request: WebRequest, _ body: inout IntakeBody
    ) throws(IngestRefusal) -> [LogStream] {
        let count: Int
        do throws(RemoteWriteError) {
            count = try SnappyBlock.decompressedCount(content)
        } catch { throw refusal(error, request) }
        guard count <= LogIntake.requestBytesMax else {
            throw refusal(.tooLong(bytes: count, max: LogIntake.requestBytesMax), request)
        }
        try body.take(count)
        let message: LokiPushMessage
        do throws(RemoteWriteError) {
            message = try LokiPushMessage(
                SnappyBlock.decompress(content, bytesMax: LogIntake.requestBytesMax))
        } catch { throw refusal(error, request) }
        var streams: [LogStream] = []
        for stream in message.streams {
            streams.append(
                LogStream(
                    labels: try LokiLabels.parse(stream.labels), entries: stream.entries))
        }
        return streams
    }

    /// Who sends something else than a push in Snappy is told so by the type that they named.
    private static func refusal(_ error: RemoteWriteError, _ request: WebRequest) -> IngestRefusal {
        let header = request.headers["content-type"] ?? "application/x-protobuf"
        guard error != .notSnappy || MediaType.type(header) == "application/x-protobuf" else {
            return IngestRefusal(
                415,
                "content type \(header) is not taken: a push is application/json, or "
                    + "application/x-protobuf in Snappy's block format")
        }
        return IngestRefusal(error.isAboutSize ? 413 : 400, error.description)
    }
}
