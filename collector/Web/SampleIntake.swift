import Model
import QueryMath
import RemoteWrite
import Storage

/// What pushed samples go through, whichever way they come in: numbers for their series, checks, one transaction, metadata.
struct SampleIntake: Sendable {
    /// Decompressed bytes of all requests under way.
    static let requestsBytesMax = 96 << 20
    /// Bytes of a metric's help that are kept.
    private static let helpBytesMax = 4_096

    /// Take the bytes of a request before it is read.
    let budget = ByteBudget(bytesMax: requestsBytesMax)
    private let writer: any SampleWriter
    private let cache = SeriesNumberCache()

    init(writer: any SampleWriter) { self.writer = writer }

    /// Series known by the bytes of their labels.
    var cachedSeriesCount: Int { cache.count }

    /// Why nothing was stored, or not yet.
    static let isCrowded = IngestRefusal(
        503, "too many requests are being stored", retryAfter: 1)

    /// Stores what can be stored, in one transaction. The same request again changes nothing.
    func store(_ request: WriteRequest) async throws(StorageError) -> IntakeReport {
        do throws(StorageError) {
            return try await attempt(request)
        } catch {
            guard error == .seriesRemoved else { throw error }
        }
        // The cache knows numbers of series that are gone: once more with new ones.
        cache.removeAll()
        return try await attempt(request)
    }

    private func attempt(_ request: WriteRequest) async throws(StorageError) -> IntakeReport {
        var report = IntakeReport()
        let numbers = try await numbers(of: request, &report)
        var batch = Self.batch(request, numbers, &report)
        batch.exemplars = Self.exemplars(request, numbers, &report)
        report.outcome = try await writer.storeSamples(batch)
        let families = Self.metadata(request.metadata)
        if !families.isEmpty { try await writer.noteMetadata(families) }
        report.problems.add(report.outcome.tooOldCount, .tooOld, IntakeProblems.tooOld)
        report.problems.add(
            report.outcome.tooFarAheadCount, .tooFarAhead, IntakeProblems.tooFarAhead)
        report.exemplars.add(report.outcome.untimelyExemplarCount, .time)
        report.exemplars.add(report.outcome.excessExemplarCount, .limit)
        return report
    }

    /// The numbers of the request's series; nil where a series has none.
    private func numbers(
        of request: WriteRequest, _ report: inout IntakeReport
    ) async throws(StorageError) -> [SeriesID?] {
        var entries = cache.entries(of: request)
        let hashes = request.series.map { Self.hash($0.metadata, request) }
        let unknown = entries.indices.filter { entries[$0] == nil }
        if !unknown.isEmpty {
            let (indexes, definitions) = Self.definitions(request, unknown, &report)
            let made = try await writer.internPushed(definitions)
            var fresh: [(index: Int, entry: SeriesNumberCache.Entry)] = []
            for ((index, number), definition) in zip(zip(indexes, made), definitions) {
                guard let number else {
                    let series = request.series[index]
                    report.refuse(
                        index, series.sampleCount + series.histogramCount, .limit,
                        "of new series past a limit of series, as of "
                            + definition.labels.metricName
                            + " (status/tsdb says what grew; see limits in collector.yaml)")
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
        _ request: WriteRequest, _ indexes: [Int], _ report: inout IntakeReport
    ) -> (indexes: [Int], definitions: [SeriesDefinition]) {
        var result: (indexes: [Int], definitions: [SeriesDefinition]) = ([], [])
        request.labelBytes.withUnsafeBytes { bytes in
            for index in indexes {
                let series = request.series[index]
                do throws(LabelDefect) {
                    let labels = try RawLabels.seriesLabels(series.spelling(in: bytes))
                    result.indexes.append(index)
                    result.definitions.append(
                        SeriesDefinition(
                            labels: labels,
                            metadata: series.metadata.map { metadata($0, request) }
                                ?? MetricMetadata()))
                } catch {
                    report.refuse(
                        index, max(1, series.sampleCount + series.histogramCount), .labels,
                        "of \(error.description)")
                }
            }
        }
        return result
    }

    /// The samples of the series that have numbers; the source of a run is the series' index in the request.
    private static func batch(
        _ request: WriteRequest, _ numbers: [SeriesID?], _ report: inout IntakeReport
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
        for (index, (series, number)) in zip(request.series, numbers).enumerated() {
            let samples = sample..<sample + series.sampleCount
            let histograms = histogram..<histogram + series.histogramCount
            sample = samples.upperBound
            histogram = histograms.upperBound
            if series.refusedHistogramCount > 0 {
                report.refuse(
                    index, series.refusedHistogramCount, .histogram,
                    request.histogramDefect ?? "")
            }
            guard let number else { continue }
            var run = SampleBatch.Run(
                series: number, sampleCount: samples.count, source: Int32(index))
            if !isWhole {
                batch.timestamps += request.timestamps[samples]
                batch.values += request.values[samples]
                if !request.startTimestamps.isEmpty {
                    batch.startTimestamps += request.startTimestamps[samples]
                }
                for one in request.histograms[histograms] {
                    if let defect = one.histogram.defect {
                        report.refuse(index, 1, .histogram, defect)
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

    /// The exemplars of the series that have numbers.
    private static func exemplars(
        _ request: WriteRequest, _ numbers: [SeriesID?], _ report: inout IntakeReport
    ) -> [PushedExemplar] {
        guard !request.exemplars.isEmpty else { return [] }
        var result: [PushedExemplar] = []
        var next = 0
        request.labelBytes.withUnsafeBytes { bytes in
            for (series, number) in zip(request.series, numbers) {
                let own = request.exemplars[next..<next + series.exemplarCount]
                next += series.exemplarCount
                guard let number else {
                    report.exemplars.add(own.count, .series)
                    continue
                }
                for raw in own {
                    guard
                        let labels = try? RawLabels.labels(
                            .init(UnsafeRawBufferPointer(rebasing: bytes[raw.labels]))),
                        Exemplar.mayHave(labels)
                    else {
                        report.exemplars.add(1, .labels)
                        continue
                    }
                    result.append(
                        PushedExemplar(
                            series: number,
                            exemplar: Exemplar(
                                labels: labels, value: raw.value,
                                timestamp: TimestampMS(raw.timestamp))))
                }
            }
        }
        return result
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

    /// What is said with these series, by metric name.
    private static func metadata(
        _ request: WriteRequest, _ indexes: [Int]
    ) -> [ExactText: MetricMetadata] {
        var result: [ExactText: MetricMetadata] = [:]
        request.labelBytes.withUnsafeBytes { bytes in
            for index in indexes {
                let series = request.series[index]
                guard let raw = series.metadata,
                    let labels = try? RawLabels.seriesLabels(series.spelling(in: bytes))
                else { continue }
                result[ExactText(labels.metricName)] = metadata(raw, request)
            }
        }
        return result
    }

    /// What version 1 of remote write says of metric families, by the names of their series. Source: OpenMetrics 1.0,
    /// "Suffixes".
    private static func metadata(
        _ families: [WriteRequest.FamilyMetadata]
    ) -> [ExactText: MetricMetadata] {
        var result: [ExactText: MetricMetadata] = [:]
        for family in families {
            let suffixes =
                switch family.metadata.type {
                case .histogram: ["", "_bucket", "_sum", "_count", "_created"]
                case .summary: ["", "_sum", "_count", "_created"]
                case .counter: ["", "_total", "_created"]
                case .gauge, .unknown: ["", "_info"]
                }
            for suffix in suffixes {
                result[ExactText(family.family + suffix)] = kept(family.metadata)
            }
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
