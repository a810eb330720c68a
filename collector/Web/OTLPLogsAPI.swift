import Model
import OTLP
import World

/// `POST /otlp/v1/logs`: OTLP over HTTP, protocol buffers and JSON.
///
/// A request is committed before it is answered, and may be sent again. Log records that can never be stored are told in
/// `partial_success`, the others are stored; what may be stored later is answered with 429 or 503.
/// Source: OTLP 1.9 "OTLP/HTTP".
struct OTLPLogsAPI: Sendable {
    static let path = ["otlp", "v1", "logs"]

    let intake: LogIntake

    func respond(_ request: WebRequest) async -> WebResponse {
        let encoding = OTLPAPI.encoding(request.headers["content-type"])
        let name = encoding.map { $0 == .protobuf ? "otlp_protobuf" : "otlp_json" } ?? ""
        return await OTLPAPI.respond(request, encoding, by: write) { status in
            intake.metrics.request(name, status: status)
        }
    }

    private func write(
        _ request: WebRequest, _ encoding: MetricsExport.Encoding?
    ) async throws(IngestRefusal) -> WebResponse {
        guard let encoding else { throw OTLPAPI.wrongType(request) }
        // Lines are copied out of the content; JSON becomes protocol buffers first.
        var body = IntakeBody(
            budget: intake.budget, bytesMax: LogIntake.requestBytesMax,
            copies: encoding == .json ? 3 : 2)
        defer { body.giveBack() }
        let content = try body.content(of: request.body, try OTLPAPI.contentEncoding(request))
        let export: LogsExport
        do throws(OTLPError) {
            export = try LogsExport(
                content, encoding, bytesMax: LogIntake.requestBytesMax, now: intake.clock.now,
                rules: intake.configuration.attributes)
        } catch { throw IngestRefusal(error.isAboutSize ? 413 : 400, error.description) }
        let report = try await intake.store(
            try LokiBackfill.marked(export.streams, request), of: request,
            isTimedHere: export.isTimedHere)
        return OTLPAPI.response(
            report.refusedCount == 0
                ? .full
                : .partialLogs(
                    rejectedLogRecords: report.refusedCount, message: report.recordText), encoding)
    }
}
