internal import Model
internal import Storage
internal import Wire

/// A payload as the wire has it, decoded but not judged.
enum DecodedPayload: Sendable {
    case metrics(DecodedMetrics)
    /// Labels are owned by the collector already.
    case logs([LogStream])
    case gap(GapRecord)

    /// Samples or log entries; 0 for a gap.
    var recordCount: Int {
        switch self {
        case .metrics(let metrics): metrics.sampleCount
        case .logs(let streams): LogPayload.entryCount(of: streams)
        case .gap: 0
        }
    }
}

/// A batch that was taken and decoded, waiting to be stored.
struct TakenBatch: Sendable {
    var sequence: UInt64
    /// SHA-256 of the payload.
    var digest: [UInt8]
    var payload: DecodedPayload
    /// Records that did not decode.
    var problems: [RecordProblem] = []
}

/// Losses of one batch by reason and detail.
struct GapTally {
    private struct Key: Hashable {
        var reason: GapReason
        var detail: String
    }

    private struct Loss {
        var count: UInt64 = 0
        var from = Int64.max
        var to = Int64.min
    }

    private var losses: [Key: Loss] = [:]
    /// Most gap records of one batch; further details are tallied under their reason alone.
    private static let keysMax = 32

    /// Adds `count` records lost at `at`, or at an unknown time.
    mutating func add(_ reason: GapReason, detail: String, count: Int = 1, at: TimestampNS?) {
        var key = Key(reason: reason, detail: detail)
        if losses[key] == nil, losses.count >= Self.keysMax { key.detail = "further records" }
        var loss = losses[key] ?? Loss()
        loss.count += UInt64(count)
        if let at {
            loss.from = min(loss.from, at.rawValue)
            loss.to = max(loss.to, at.rawValue)
        }
        losses[key] = loss
    }

    /// The losses as gap records, ascending by reason and detail.
    var records: [GapRecord] {
        losses.sorted {
            ($0.key.reason.rawValue, $0.key.detail) < ($1.key.reason.rawValue, $1.key.detail)
        }.map { key, loss in
            let isTimeKnown = loss.from <= loss.to
            return GapRecord(
                reason: key.reason, count: loss.count,
                from: isTimeKnown ? TimestampNS(loss.from) : nil,
                to: isTimeKnown ? TimestampNS(loss.to) : nil, detail: key.detail)
        }
    }
}

/// Makes a stored batch of a taken one: ids become series and streams, and every record that can't be stored becomes part
/// of a gap. Records in = records stored + records in gaps. Pure.
struct BatchTranslator {
    let dictionary: SessionDictionary
    let limits: ReceiveLimits
    let receivedAt: TimestampNS

    func translate(_ batch: TakenBatch, epoch: UInt64) -> IngestBatch {
        var gaps = GapTally()
        var reported: [GapRecord] = []
        for problem in batch.problems where problem.count > 0 {
            gaps.add(problem.reason, detail: problem.detail, count: problem.count, at: nil)
        }
        let content: IngestBatch.Content
        var exemplars: [PushedExemplar] = []
        var exemplarCount = 0
        switch batch.payload {
        case .metrics(let metrics):
            content = .metrics(columns(metrics.scrapes, &gaps))
            exemplars = kept(metrics.exemplars)
            exemplarCount = metrics.exemplars.count + metrics.rejectedExemplarCount
        case .logs(let streams): content = .logs(kept(streams, &gaps))
        case .gap(let gap):
            content = .none
            reported = [gap]
        }
        var ingest = IngestBatch(
            position: BatchPosition(epoch: epoch, sequence: batch.sequence), content: content,
            gaps: reported + gaps.records, recordCount: content.recordCount,
            digest: batch.digest, receivedAt: receivedAt)
        ingest.exemplars = exemplars
        ingest.rejectedExemplarCount = exemplarCount - exemplars.count
        return ingest
    }

    private func columns(
        _ scrapes: [DecodedScrape], _ gaps: inout GapTally
    ) -> [ScrapeColumns] {
        var columns: [ScrapeColumns] = []
        for scrape in scrapes {
            let at = scrape.timestamp.nanoseconds
            let clockFault = fault(of: at)
            var series: [SeriesID] = []
            var values: [Double] = []
            var starts: [Int64] = []
            for (index, id) in scrape.series.enumerated() {
                if let clockFault {
                    gaps.add(.clock, detail: clockFault, at: at)
                    continue
                }
                switch dictionary.slot(id) {
                case .numbered(let number):
                    series.append(number)
                    values.append(scrape.values[index])
                    if !scrape.startTimestamps.isEmpty {
                        starts.append(scrape.startTimestamps[index])
                    }
                case .refused(let reason, let detail): gaps.add(reason, detail: detail, at: at)
                case .unasked: gaps.add(.rejected, detail: "undefined series", at: at)
                }
            }
            if !series.isEmpty {
                columns.append(
                    ScrapeColumns(
                        timestamp: scrape.timestamp, series: series, values: values,
                        startTimestamps: starts.contains { $0 != 0 } ? starts : []))
            }
        }
        return columns
    }

    /// Those of series that have numbers, at times that may be.
    private func kept(_ exemplars: [DecodedExemplar]) -> [PushedExemplar] {
        exemplars.compactMap { one in
            guard case .numbered(let number) = dictionary.slot(one.series),
                fault(of: one.exemplar.timestamp.nanoseconds) == nil
            else { return nil }
            return PushedExemplar(series: number, exemplar: one.exemplar)
        }
    }

    private func kept(_ streams: [LogStream], _ gaps: inout GapTally) -> [LogStream] {
        streams.compactMap { stream in
            let entries = stream.entries.filter { entry in
                guard let fault = fault(of: entry.timestamp) else { return true }
                gaps.add(.clock, detail: fault, at: entry.timestamp)
                return false
            }
            return entries.isEmpty ? nil : LogStream(labels: stream.labels, entries: entries)
        }
    }

    private func fault(of time: TimestampNS) -> String? {
        let now = receivedAt.milliseconds
        let at = time.milliseconds
        if at > now.advanced(byMilliseconds: limits.futureMSMax) {
            return "a time more than \(limits.futureMSMax / 1000) s ahead of the collector's"
        }
        if at < now.advanced(byMilliseconds: -limits.pastMSMax) {
            return "a time more than \(limits.pastMSMax / 86_400_000) days ago"
        }
        return nil
    }
}

extension IngestBatch.Content {
    /// Samples or log entries.
    var recordCount: Int {
        switch self {
        case .metrics(let scrapes): scrapes.reduce(0) { $0 + $1.values.count }
        case .logs(let streams): streams.reduce(0) { $0 + $1.entries.count }
        case .none: 0
        }
    }
}

extension IngestBatch {
    /// This batch with only the records whose index satisfies `isKept`, counted sample by sample or entry by entry;
    /// what is left out becomes a gap. Exemplars go: one of them may be what is refused.
    func keeping(_ isKept: (Int) -> Bool, detail: String) -> IngestBatch {
        var index = 0
        var tally = GapTally()
        func keep(_ at: TimestampNS) -> Bool {
            defer { index += 1 }
            if isKept(index) { return true }
            tally.add(.rejected, detail: detail, at: at)
            return false
        }
        var batch = self
        switch content {
        case .none: break
        case .metrics(let scrapes):
            batch.content = .metrics(
                scrapes.compactMap { scrape in
                    let kept = scrape.series.indices.filter { _ in
                        keep(scrape.timestamp.nanoseconds)
                    }
                    return kept.isEmpty ? nil : scrape.keeping(kept)
                })
        case .logs(let streams):
            batch.content = .logs(
                streams.compactMap { stream in
                    let kept = stream.entries.filter { keep($0.timestamp) }
                    return kept.isEmpty ? nil : LogStream(labels: stream.labels, entries: kept)
                })
        }
        batch.recordCount = batch.content.recordCount
        batch.rejectedExemplarCount += batch.exemplars.count
        batch.exemplars = []
        batch.gaps += tally.records
        return batch
    }
}
