package import Model
package import Storage
import Wire

// Scrapes of targets, and of the host's own readers as one of them: they share a dictionary, and so the numbers.
extension MetricsBatchWriter {
    /// Times of one payload: the collector's work for each is not small.
    static let timesMax = 64

    /// Hands a target's scrape to the spool in as few batches as the limits allow. Throws where the spool refuses; the
    /// batches handed over before stay, the rest is not held. A slot whose labels are those of the last scrape costs one
    /// comparison of storage.
    package mutating func write(
        _ scrape: TargetScrape, to sink: some SpoolSink
    ) throws(BatchError) -> WrittenBatch {
        defer { if scrape.isLast { interned.targets[scrape.target] = nil } }
        return try write(scrape, refused: HostSeries.Refused(), to: sink)
    }

    /// The gap record counts what was `refused` already, too.
    mutating func write(
        _ scrape: TargetScrape, refused: HostSeries.Refused, to sink: some SpoolSink
    ) throws(BatchError) -> WrittenBatch {
        var written = WrittenBatch()
        written.refused = refused.count
        var firstProblem = refused.problem
        var place = Place()
        while place.row < scrape.rows.count {
            let from = place
            let part = try append(to: sink) { Self.encode(scrape, from: from, &$0) }
            place = part.next
            written.records += part.records
            written.refused += part.refused
            written.batches += part.records > 0 ? 1 : 0
            if firstProblem.isEmpty { firstProblem = part.firstProblem }
        }
        guard written.refused > 0 else { return written }
        let times = scrape.rows.map(\.timestamp)
        let gap = GapRecord(
            reason: .seriesLimited, count: UInt64(written.refused),
            from: times.min()?.nanoseconds, to: times.max()?.nanoseconds, source: scrape.name,
            detail: firstProblem)
        do { try sink.append(gap, positions: []) } catch { throw .spool(error) }
        return written
    }

    /// Where in a scrape a part begins.
    private struct Place {
        var row = 0
        /// Index of the first exemplar that is not of an earlier row.
        var exemplar = 0
    }

    private static func encode(
        _ scrape: TargetScrape, from start: Place, _ interned: inout Interned
    ) -> (Part<Place>, [UInt8]) {
        var part = Part(next: start)
        var builder = MetricsPayloadBuilder(timestamp: scrape.rows[start.row].timestamp)
        while part.next.row < scrape.rows.count, builder.count < WireLimits.recordsMax,
            builder.bytesBound < WireLimits.payloadBytesMax - sampleBytesMax,
            builder.closedScrapes < timesMax, builder.exemplarCount < WireLimits.exemplarsMax
        {
            let row = scrape.rows[part.next.row]
            builder.next(timestamp: row.timestamp)
            let id = id(scrape, row.slot, &interned, &builder)
            if id != 0 {
                builder.add(
                    id, row.value,
                    start: scrape.startTimestamps.isEmpty
                        ? 0 : scrape.startTimestamps[part.next.row])
                part.records += 1
            } else {
                part.refused += 1
                if part.firstProblem.isEmpty {
                    let name = scrape.series[row.slot].labels.metricName
                    part.firstProblem = "\(name): past a limit of labels or series"
                }
            }
            addExemplars(scrape, of: id, &part.next, &builder)
            part.next.row += 1
        }
        return (part, builder.finish())
    }

    /// Adds the exemplars of the row at `place`, which has at most one, and steps over them. Those of a row that is not
    /// sent (`id` 0) go with it.
    private static func addExemplars(
        _ scrape: TargetScrape, of id: UInt32, _ place: inout Place,
        _ builder: inout MetricsPayloadBuilder
    ) {
        while place.exemplar < scrape.exemplars.count,
            scrape.exemplars[place.exemplar].row <= place.row
        {
            if id != 0 { builder.add(scrape.exemplars[place.exemplar].exemplar, of: id) }
            place.exemplar += 1
        }
    }

    private static func id(
        _ scrape: TargetScrape, _ slot: Int, _ interned: inout Interned,
        _ builder: inout MetricsPayloadBuilder
    ) -> UInt32 {
        let series = scrape.series[slot]
        if let known = interned.targets[scrape.target], slot < known.count,
            known[slot].id != 0, known[slot].labels == series.labels
        {
            return known[slot].id
        }
        let id =
            interned.ids[series.labels]
            ?? define(series.labels, series.family, series.metadata, &interned, &builder)
        var known = interned.targets.removeValue(forKey: scrape.target) ?? []
        while known.count <= slot { known.append(KnownSeries()) }
        known[slot] = KnownSeries(labels: series.labels, id: id)
        interned.targets[scrape.target] = known
        return id
    }
}
