import Model
import QueryMath
import RemoteWrite
import Storage
import World

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
    /// Decompressed bytes of all requests under way.
    static let requestsBytesMax = 96 << 20
    /// Bytes of a metric's help that are kept.
    private static let helpBytesMax = 4_096

    private let writer: any SampleWriter
    private let cache = SeriesNumberCache()
    private let budget = ByteBudget(bytesMax: requestsBytesMax)
    private let metrics = RemoteWriteMetrics()

    init(writer: any SampleWriter) { self.writer = writer }

    /// Its own metrics.
    func families() -> [MetricFamily] { metrics.families(cachedSeries: cache.count) }

    func respond(_ request: WebRequest) async -> WebResponse {
        guard request.method == "POST" else {
            var response = WebResponse.text("remote write is sent by POST\n", status: 405)
            response.headers.append((name: "allow", value: "POST"))
            return response
        }
        var version: WriteRequest.Version?
        let response: WebResponse
        do throws(Refusal) {
            let found = try Self.version(request)
            version = found
            response = try await write(request, found)
        } catch { response = Self.response(error, version) }
        metrics.request(
            version: version.map { $0 == .v1 ? "1.0" : "2.0" } ?? "", status: response.status)
        return response
    }

    // MARK: Negotiation

    /// Why a request is answered with an error. Nothing of it was stored, or all of it may be sent again.
    private struct Refusal: Error {
        var status: Int
        var message: String
        /// Seconds after which the sender should try again.
        var retryAfter: Int?

        init(_ status: Int, _ message: String, retryAfter: Int? = nil) {
            self.status = status
            self.message = message
            self.retryAfter = retryAfter
        }

        init(_ error: RemoteWriteError) {
            self.init(error.isAboutSize ? 413 : 400, error.description)
        }

        init(_ error: StorageError) {
            switch error {
            case .unavailable(let text): self.init(503, text, retryAfter: 5)
            case .exhausted(let text): self.init(503, text, retryAfter: 30)
            case .cancelled: self.init(503, "the collector is stopping", retryAfter: 5)
            // Sent again until it is mended: nothing is lost.
            case .refused(let text), .corrupt(let text): self.init(500, text)
            case .limitExceeded(let limit, let maximum):
                self.init(503, "\(limit) of \(maximum) is reached", retryAfter: 30)
            case .badMatcher(let text): self.init(500, text)
            }
        }
    }

    private static func response(
        _ refusal: Refusal, _ version: WriteRequest.Version?
    ) -> WebResponse {
        var response = WebResponse.text(refusal.message + "\n", status: refusal.status)
        if let seconds = refusal.retryAfter {
            response.headers.append((name: "retry-after", value: "\(seconds)"))
        }
        if version == .v2 { response.headers += writtenHeaders(SampleOutcome()) }
        return response
    }

    /// Which message the body is; a sender that says nothing sends version 1 in Snappy, as Prometheus takes it.
    private static func version(_ request: WebRequest) throws(Refusal) -> WriteRequest.Version {
        let encoding = request.headers["content-encoding"] ?? "snappy"
        guard encoding.lowercased() == "snappy" else {
            throw Refusal(415, "content encoding \(encoding) is not taken, only snappy is")
        }
        let type = request.headers["content-type"] ?? "application/x-protobuf"
        var parts = type.split(separator: ";", omittingEmptySubsequences: false).map { part in
            part.filter { $0 != " " && $0 != "\t" }
        }
        guard parts.removeFirst().lowercased() == "application/x-protobuf" else {
            throw Refusal(415, "content type \(type) is not taken, only application/x-protobuf is")
        }
        for part in parts where part.lowercased().hasPrefix("proto=") {
            switch part.dropFirst(6).filter({ $0 != "\"" }) {
            case "prometheus.WriteRequest": return .v1
            case "io.prometheus.write.v2.Request": return .v2
            default:
                throw Refusal(
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
    ) async throws(Refusal) -> WebResponse {
        let length: Int
        do throws(RemoteWriteError) {
            length = try SnappyBlock.decompressedCount(request.body)
        } catch { throw Refusal(error) }
        guard length <= Self.requestBytesMax else {
            throw Refusal(.tooLong(bytes: length, max: Self.requestBytesMax))
        }
        guard budget.take(length) else {
            throw Refusal(503, "too many requests are being stored", retryAfter: 1)
        }
        defer { budget.giveBack(length) }
        let decoded = try Self.decoded(request.body, version)
        do throws(StorageError) {
            return try await store(decoded, version)
        } catch { throw Refusal(error) }
    }

    private static func decoded(
        _ body: [UInt8], _ version: WriteRequest.Version
    ) throws(Refusal) -> WriteRequest {
        do throws(RemoteWriteError) {
            return try WriteRequest(
                SnappyBlock.decompress(body, bytesMax: requestBytesMax), version)
        } catch { throw Refusal(error) }
    }

    private func store(
        _ request: WriteRequest, _ version: WriteRequest.Version
    ) async throws(StorageError) -> WebResponse {
        var problems = Problems()
        let numbers = try await numbers(of: request, &problems)
        let batch = Self.batch(request, numbers, &problems)
        let outcome = try await writer.storeSamples(batch)
        let families = Self.metadata(request.metadata)
        if !families.isEmpty { try await writer.noteMetadata(families) }
        problems.add(outcome.tooOldCount, .tooOld, "older than the retention")
        problems.add(
            outcome.tooFarAheadCount, .tooFarAhead,
            "more than an hour ahead of the collector's clock")
        metrics.stored(
            samples: outcome.storedSamples, histograms: outcome.storedHistograms,
            exemplarsLost: request.exemplars.count)
        for (reason, count) in problems.counts { metrics.rejected(count, reason) }
        var response =
            problems.isEmpty
            ? WebResponse(status: 204)
            : .text(
                problems.text(stored: outcome.storedSamples + outcome.storedHistograms),
                status: 400)
        if version == .v2 { response.headers += Self.writtenHeaders(outcome) }
        return response
    }

    private static func writtenHeaders(
        _ outcome: SampleOutcome
    ) -> [(name: String, value: String)] {
        [
            ("samples", outcome.storedSamples), ("histograms", outcome.storedHistograms),
            ("exemplars", 0),
        ].map { (name: "x-prometheus-remote-write-\($0)-written", value: "\($1)") }
    }

    /// The numbers of the request's series; nil where a series has none.
    private func numbers(
        of request: WriteRequest, _ problems: inout Problems
    ) async throws(StorageError) -> [SeriesID?] {
        var entries = cache.entries(of: request)
        let hashes = request.series.map { Self.hash($0.metadata, request) }
        let unknown = entries.indices.filter { entries[$0] == nil }
        if !unknown.isEmpty {
            let (indexes, definitions) = Self.definitions(request, unknown, &problems)
            let made = try await writer.internPushed(definitions)
            var fresh: [(index: Int, entry: SeriesNumberCache.Entry)] = []
            for (index, number) in zip(indexes, made) {
                guard let number else {
                    let series = request.series[index]
                    problems.add(
                        series.sampleCount + series.histogramCount, .limit,
                        "of new series past limits.series_max")
                    continue
                }
                // What metadata it was made with, or had before, is found out below.
                let entry = SeriesNumberCache.Entry(number: number)
                entries[index] = entry
                fresh.append((index, entry))
            }
            cache.insert(fresh, of: request)
        }
        let changed = entries.indices.filter { index in
            hashes[index] != 0 && entries[index].map { $0.metadataHash != hashes[index] } ?? false
        }
        if !changed.isEmpty {
            try await writer.noteMetadata(Self.metadata(request, changed))
            cache.insert(
                changed.compactMap { index in
                    entries[index].map {
                        (index, .init(number: $0.number, metadataHash: hashes[index]))
                    }
                }, of: request)
        }
        return entries.map { $0?.number }
    }

    /// The definitions of the series of these indexes that have sound labels.
    private static func definitions(
        _ request: WriteRequest, _ indexes: [Int], _ problems: inout Problems
    ) -> (indexes: [Int], definitions: [SeriesDefinition]) {
        var result: (indexes: [Int], definitions: [SeriesDefinition]) = ([], [])
        request.labelBytes.withUnsafeBytes { bytes in
            for index in indexes {
                let series = request.series[index]
                do throws(LabelDefect) {
                    let labels = try RawLabels.seriesLabels(
                        UnsafeRawBufferPointer(rebasing: bytes[series.labels]))
                    result.indexes.append(index)
                    result.definitions.append(
                        SeriesDefinition(
                            labels: labels,
                            metadata: series.metadata.map { metadata($0, request) }
                                ?? MetricMetadata()))
                } catch {
                    problems.add(
                        max(1, series.sampleCount + series.histogramCount), .labels,
                        "of \(error.description)")
                }
            }
        }
        return result
    }

    /// The samples of the series that have numbers.
    private static func batch(
        _ request: WriteRequest, _ numbers: [SeriesID?], _ problems: inout Problems
    ) -> SampleBatch {
        var batch = SampleBatch(runs: [], timestamps: [], values: [])
        batch.runs.reserveCapacity(numbers.count)
        let isWhole = !numbers.contains(nil) && request.histograms.isEmpty
        if isWhole {
            batch.timestamps = request.timestamps
            batch.values = request.values
            batch.startTimestamps = request.startTimestamps
        }
        var sample = 0
        var histogram = 0
        for (series, number) in zip(request.series, numbers) {
            let samples = sample..<sample + series.sampleCount
            let histograms = histogram..<histogram + series.histogramCount
            sample = samples.upperBound
            histogram = histograms.upperBound
            if series.refusedHistogramCount > 0 {
                problems.add(
                    series.refusedHistogramCount, .histogram, request.histogramDefect ?? "")
            }
            guard let number else { continue }
            var run = SampleBatch.Run(series: number, sampleCount: samples.count)
            if !isWhole {
                batch.timestamps += request.timestamps[samples]
                batch.values += request.values[samples]
                if !request.startTimestamps.isEmpty {
                    batch.startTimestamps += request.startTimestamps[samples]
                }
                for one in request.histograms[histograms] {
                    if let defect = one.histogram.defect {
                        problems.add(1, .histogram, defect)
                    } else {
                        batch.histograms.append(one)
                        run.histogramCount += 1
                    }
                }
            }
            if run.sampleCount + run.histogramCount > 0 { batch.runs.append(run) }
        }
        return batch
    }

    // MARK: Metadata

    /// 0 where there is none.
    private static func hash(
        _ metadata: WriteRequest.RawMetadata?, _ request: WriteRequest
    ) -> Int {
        guard let metadata else { return 0 }
        var hasher = Hasher()
        hasher.combine(metadata.type)
        request.bytes.withUnsafeBytes { bytes in
            hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[metadata.help]))
            hasher.combine(metadata.help.count)
            hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[metadata.unit]))
        }
        let hash = hasher.finalize()
        return hash == 0 ? 1 : hash
    }

    private static func metadata(
        _ raw: WriteRequest.RawMetadata, _ request: WriteRequest
    ) -> MetricMetadata {
        kept(
            MetricMetadata(
                type: raw.type, help: request.text(raw.help), unit: request.text(raw.unit)))
    }

    /// What version 2 says of these series, by metric name.
    private static func metadata(
        _ request: WriteRequest, _ indexes: [Int]
    ) -> [String: MetricMetadata] {
        var result: [String: MetricMetadata] = [:]
        request.labelBytes.withUnsafeBytes { bytes in
            for index in indexes {
                let series = request.series[index]
                guard let raw = series.metadata,
                    let labels = try? RawLabels.seriesLabels(
                        UnsafeRawBufferPointer(rebasing: bytes[series.labels]))
                else { continue }
                result[labels.metricName] = metadata(raw, request)
            }
        }
        return result
    }

    /// What version 1 says of metric families, by the names of their series. Source: OpenMetrics 1.0, "Suffixes".
    private static func metadata(
        _ families: [WriteRequest.FamilyMetadata]
    ) -> [String: MetricMetadata] {
        var result: [String: MetricMetadata] = [:]
        for family in families {
            let suffixes =
                switch family.metadata.type {
                case .histogram: ["", "_bucket", "_sum", "_count", "_created"]
                case .summary: ["", "_sum", "_count", "_created"]
                case .counter: ["", "_total", "_created"]
                case .gauge, .unknown: ["", "_info"]
                }
            for suffix in suffixes { result[family.family + suffix] = kept(family.metadata) }
        }
        return result
    }

    private static func kept(_ metadata: MetricMetadata) -> MetricMetadata {
        var kept = metadata
        if kept.help.utf8.count > helpBytesMax {
            kept.help = String(decoding: kept.help.utf8.prefix(helpBytesMax), as: UTF8.self)
        }
        if kept.unit.utf8.count > helpBytesMax { kept.unit = "" }
        return kept
    }
}

/// What of a request can never be stored.
private struct Problems {
    /// Different sentences that the answer has.
    private static let sentencesMax = 10

    private(set) var counts: [RemoteWriteMetrics.Rejection: Int] = [:]
    private var sentences: [(text: String, count: Int)] = []
    private var untold = 0

    var isEmpty: Bool { counts.isEmpty }

    mutating func add(_ count: Int, _ reason: RemoteWriteMetrics.Rejection, _ text: String) {
        guard count > 0 else { return }
        counts[reason, default: 0] += count
        if let known = sentences.firstIndex(where: { $0.text == text }) {
            sentences[known].count += count
        } else if sentences.count < Self.sentencesMax {
            sentences.append((text, count))
        } else {
            untold += count
        }
    }

    func text(stored: Int) -> String {
        let total = counts.values.reduce(0, +)
        var text =
            "\(total) samples were not stored and should not be sent again, \(stored) were stored:"
        for sentence in sentences { text += " \(sentence.count) \(sentence.text);" }
        if untold > 0 { text += " \(untold) for other reasons;" }
        return text.dropLast() + "\n"
    }
}
