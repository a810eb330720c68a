import Model
import RemoteWrite
import Storage

/// `POST /prometheus/api/v1/write`: Prometheus remote write 1.0 and 2.0.
///
/// A request is committed before it is answered, and may be sent again. What of it can't be stored ever is answered with
/// 400 and told, the rest of it is stored; what may be stored later is answered with 503.
/// Source: prometheus.io "Remote-Write 1.0" and "2.0" (rc.4).
struct RemoteWriteAPI: Sendable {
    static let path = ["prometheus", "api", "v1", "write"]
    /// Longest body, compressed.
    static let bodyBytesMax = 16 << 20
    /// Longest body, decompressed.
    static let requestBytesMax = 32 << 20

    private let intake: SampleIntake
    private let metrics = RemoteWriteMetrics()

    init(intake: SampleIntake) { self.intake = intake }

    /// Its own metrics.
    func families() -> [MetricFamily] {
        metrics.families(cachedSeries: intake.cachedSeriesCount)
    }

    func respond(_ request: WebRequest) async -> WebResponse {
        guard request.method == "POST" else {
            var response = WebResponse.text("remote write is sent by POST\n", status: 405)
            response.headers.append((name: "allow", value: "POST"))
            return response
        }
        var version: WriteRequest.Version?
        let response: WebResponse
        do throws(IngestRefusal) {
            let found = try Self.version(request)
            version = found
            response = try await write(request, found)
        } catch { response = Self.response(error, version) }
        metrics.request(
            version: version.map { $0 == .v1 ? "1.0" : "2.0" } ?? "", status: response.status)
        return response
    }

    // MARK: Negotiation

    private static func refusal(_ error: RemoteWriteError) -> IngestRefusal {
        IngestRefusal(error.isAboutSize ? 413 : 400, error.description)
    }

    private static func response(
        _ refusal: IngestRefusal, _ version: WriteRequest.Version?
    ) -> WebResponse {
        var response = WebResponse.text(refusal)
        if version == .v2 { response.headers += writtenHeaders(SampleOutcome()) }
        return response
    }

    /// Which message the body is; a sender that says nothing sends version 1 in Snappy, as Prometheus takes it.
    private static func version(
        _ request: WebRequest
    ) throws(IngestRefusal) -> WriteRequest.Version {
        let encoding = request.headers["content-encoding"] ?? "snappy"
        guard encoding.lowercased() == "snappy" else {
            throw IngestRefusal(
                415, "content encoding \(encoding) is not taken, only snappy is")
        }
        let type = request.headers["content-type"] ?? "application/x-protobuf"
        var parts = type.split(separator: ";", omittingEmptySubsequences: false).map { part in
            part.filter { $0 != " " && $0 != "\t" }
        }
        guard parts.removeFirst().lowercased() == "application/x-protobuf" else {
            throw IngestRefusal(
                415, "content type \(type) is not taken, only application/x-protobuf is")
        }
        for part in parts where part.lowercased().hasPrefix("proto=") {
            switch part.dropFirst(6).filter({ $0 != "\"" }) {
            case "prometheus.WriteRequest": return .v1
            case "io.prometheus.write.v2.Request": return .v2
            default:
                throw IngestRefusal(
                    415,
                    "content type \(type) is not taken: proto is prometheus.WriteRequest or "
                        + "io.prometheus.write.v2.Request")
            }
        }
        return .v1
    }

    // MARK: Writing

    private func write(
        _ request: WebRequest, _ version: WriteRequest.Version
    ) async throws(IngestRefusal) -> WebResponse {
        let length: Int
        do throws(RemoteWriteError) {
            length = try SnappyBlock.decompressedCount(request.body)
        } catch { throw Self.refusal(error) }
        guard length <= Self.requestBytesMax else {
            throw Self.refusal(.tooLong(bytes: length, max: Self.requestBytesMax))
        }
        guard intake.budget.take(length) else { throw SampleIntake.isCrowded }
        defer { intake.budget.giveBack(length) }
        let decoded = try Self.decoded(request.body, version)
        do throws(StorageError) {
            return answer(try await intake.store(decoded), version)
        } catch { throw IngestRefusal(error) }
    }

    private static func decoded(
        _ body: [UInt8], _ version: WriteRequest.Version
    ) throws(IngestRefusal) -> WriteRequest {
        do throws(RemoteWriteError) {
            return try WriteRequest(
                SnappyBlock.decompress(body, bytesMax: requestBytesMax), version)
        } catch { throw refusal(error) }
    }

    private func answer(_ report: IntakeReport, _ version: WriteRequest.Version) -> WebResponse {
        metrics.stored(report)
        let stored = report.outcome.storedSamples + report.outcome.storedHistograms
        let refused = report.problems.counts.values.reduce(0, +)
        var response =
            report.problems.isEmpty
            ? WebResponse(status: 204)
            : .text(
                "\(refused) samples were not stored and should not be sent again, "
                    + "\(stored) were stored:\(report.problems.text)\n", status: 400)
        if version == .v2 { response.headers += Self.writtenHeaders(report.outcome) }
        return response
    }

    private static func writtenHeaders(
        _ outcome: SampleOutcome
    ) -> [(name: String, value: String)] {
        [
            ("samples", outcome.storedSamples), ("histograms", outcome.storedHistograms),
            ("exemplars", outcome.storedExemplars),
        ].map { (name: "x-prometheus-remote-write-\($0)-written", value: "\($1)") }
    }
}
