import Model
import OTLP
import RemoteWrite
import Storage

/// `POST /otlp/v1/metrics`: OTLP over HTTP, protocol buffers and JSON.
///
/// A request is committed before it is answered, and may be sent again. Data points that can never be stored are told in
/// `partial_success`, the others are stored; what may be stored later is answered with 503.
/// Source: OTLP 1.9 "OTLP/HTTP".
struct OTLPAPI: Sendable {
    static let path = ["otlp", "v1", "metrics"]
    /// Longest body as it is sent.
    static let bodyBytesMax = 16 << 20
    /// Longest body, decompressed, and as protocol buffers.
    static let requestBytesMax = 32 << 20
    /// Different causes of rejection that an answer tells.
    private static let causesMax = 10

    private let intake: SampleIntake
    private let metrics = OTLPMetrics()

    init(intake: SampleIntake) { self.intake = intake }

    /// Its own metrics.
    func families() -> [MetricFamily] { metrics.families() }

    func respond(_ request: WebRequest) async -> WebResponse {
        let encoding = Self.encoding(request.headers["content-type"])
        guard request.path == Self.path else {
            return Self.response(
                IngestRefusal(
                    404,
                    "no such path: /\(request.path.joined(separator: "/")); metrics are taken "
                        + "at /\(Self.path.joined(separator: "/")), logs at "
                        + "/\(OTLPLogsAPI.path.joined(separator: "/"))"), encoding)
        }
        return await Self.respond(request, encoding, by: write) { status in
            metrics.request(encoding, status: status)
        }
    }

    /// What `write` answers, its refusal as `response` has it, and 405 for what is no POST; `count` is given the status of
    /// what was posted.
    static func respond(
        _ request: WebRequest, _ encoding: MetricsExport.Encoding?,
        by write: (WebRequest, MetricsExport.Encoding?) async throws(IngestRefusal) -> WebResponse,
        count: (Int) -> Void
    ) async -> WebResponse {
        guard request.method == "POST" else {
            var response = response(IngestRefusal(405, "OTLP is sent by POST"), encoding)
            response.headers.append((name: "allow", value: "POST"))
            return response
        }
        let answer: WebResponse
        do throws(IngestRefusal) { answer = try await write(request, encoding) } catch {
            answer = response(error, encoding)
        }
        count(answer.status)
        return answer
    }

    // MARK: Form

    /// Nil for what is no encoding of OTLP.
    static func encoding(_ contentType: String?) -> MetricsExport.Encoding? {
        let type = (contentType ?? "").prefix { $0 != ";" }
        switch type.filter({ $0 != " " && $0 != "\t" }).lowercased() {
        case "application/x-protobuf": return .protobuf
        case "application/json": return .json
        default: return nil
        }
    }

    /// A `google.rpc.Status`; in JSON for who speaks neither encoding.
    static func response(
        _ refusal: IngestRefusal, _ encoding: MetricsExport.Encoding?
    ) -> WebResponse {
        // A sender of OTLP gives up at 500, and sends again at 503.
        let status = refusal.status == 500 ? 503 : refusal.status
        var response = response(
            .status(ExportResponse.Code(httpStatus: status), message: refusal.message),
            encoding ?? .json, status: status)
        if let seconds = refusal.retryAfter ?? (status == 503 ? 30 : nil) {
            response.headers.append((name: "retry-after", value: "\(seconds)"))
        }
        return response
    }

    static func response(
        _ answer: ExportResponse, _ encoding: MetricsExport.Encoding, status: Int = 200
    ) -> WebResponse {
        WebResponse(
            status: status,
            contentType: encoding == .protobuf ? "application/x-protobuf" : "application/json",
            body: answer.body(encoding))
    }

    // MARK: Writing

    private func write(
        _ request: WebRequest, _ encoding: MetricsExport.Encoding?
    ) async throws(IngestRefusal) -> WebResponse {
        guard let encoding else { throw Self.wrongType(request) }
        // JSON is in memory in both forms.
        var body = IntakeBody(
            budget: intake.budget, bytesMax: Self.requestBytesMax,
            copies: encoding == .json ? 2 : 1)
        defer { body.giveBack() }
        let content = try body.content(of: request.body, try Self.contentEncoding(request))
        let export = try Self.export(content, encoding)
        do throws(StorageError) {
            return answer(try await intake.store(export.request), export, encoding)
        } catch { throw IngestRefusal(error) }
    }

    static func wrongType(_ request: WebRequest) -> IngestRefusal {
        IngestRefusal(
            415,
            "content type \(request.headers["content-type"] ?? "none") is not taken: OTLP is "
                + "application/x-protobuf or application/json")
    }

    /// Throws 415 for what is neither gzip nor nothing.
    static func contentEncoding(
        _ request: WebRequest
    ) throws(IngestRefusal) -> IntakeBody.Encoding {
        let encoding = request.headers["content-encoding"] ?? "identity"
        switch encoding.lowercased() {
        case "gzip": return .gzip
        case "identity", "none", "": return .plain
        default:
            throw IngestRefusal(
                415, "content encoding \(encoding) is not taken, only gzip is, and none")
        }
    }

    private static func export(
        _ body: [UInt8], _ encoding: MetricsExport.Encoding
    ) throws(IngestRefusal) -> MetricsExport {
        do throws(OTLPError) {
            return try MetricsExport(body, encoding, bytesMax: requestBytesMax)
        } catch { throw IngestRefusal(error.isAboutSize ? 413 : 400, error.description) }
    }

    // MARK: Answers

    private func answer(
        _ report: IntakeReport, _ export: MetricsExport, _ encoding: MetricsExport.Encoding
    ) -> WebResponse {
        let problems = Self.problems(report, export)
        let rejected = problems.points.reduce(0) { $0 + $1.count }
        metrics.stored(
            report, pointCount: export.pointCount + export.refusedCount, rejected: rejected,
            export)
        let message = [
            Self.sentence("data points were rejected", problems.points),
            // No data point: a warning beside what was accepted.
            Self.sentence("series of target_info were not stored whole", problems.targets),
        ].compactMap { $0 }.joined(separator: ". ")
        return Self.response(
            message.isEmpty ? .full : .partial(rejectedDataPoints: rejected, message: message),
            encoding)
    }

    private typealias Cause = (text: String, count: Int)

    /// `3 data points were rejected: 2 of …; 1 older than …`; nil where there is no cause.
    private static func sentence(_ what: String, _ causes: [Cause]) -> String? {
        guard !causes.isEmpty else { return nil }
        var sentence = "\(causes.reduce(0) { $0 + $1.count }) \(what):"
        for cause in causes.prefix(causesMax) { sentence += " \(cause.count) \(cause.text);" }
        let untold = causes.dropFirst(causesMax).reduce(0) { $0 + $1.count }
        if untold > 0 { sentence += " \(untold) for other reasons;" }
        return String(sentence.dropLast())
    }

    /// Why data points, and series of `target_info`, were not stored, or not whole, each counted once.
    private static func problems(
        _ report: IntakeReport, _ export: MetricsExport
    ) -> (points: [Cause], targets: [Cause]) {
        var causes: [Cause] = export.refusals.map { ($0.text, $0.count) }
        if export.untoldCount > 0 { causes.append(("for other reasons", export.untoldCount)) }
        guard !report.isWhole else { return (causes, []) }
        var ofPoint: [Int32: String] = [:]
        var targets: [String: Int] = [:]
        for (index, point) in export.points.enumerated() {
            if point >= 0, ofPoint[point] != nil { continue }
            guard let text = report.problem(of: index) else { continue }
            if point >= 0 { ofPoint[point] = text } else { targets[text, default: 0] += 1 }
        }
        var points: [String: Int] = [:]
        for text in ofPoint.values { points[text, default: 0] += 1 }
        func sorted(_ counts: [String: Int]) -> [Cause] {
            counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
        return (causes + sorted(points), sorted(targets))
    }
}
