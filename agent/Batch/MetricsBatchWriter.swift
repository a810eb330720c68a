package import Model
package import Storage
import Wire

/// Turns scrapes into spooled payloads, naming each series once per dictionary.
///
/// When a scrape has the series of the one before it in the same order, their ids are reused by comparing label sets
/// (mostly the same storage) without hashing them. Series a dictionary: `WireLimits.dictionaryIDMax`; what exceeds it or
/// breaks another wire limit becomes a gap record.
package struct MetricsBatchWriter: Sendable {
    /// Ids of a dictionary, and what the last scrapes looked like.
    struct Interned: Sendable {
        var dictionary: SpoolDictionary?
        var ids: [Labels: UInt32] = [:]
        /// Families whose help and unit were sent.
        var toldFamilies: Set<String> = []
        /// By family index of the last scrape.
        var shape: [Shape] = []
        var targetLabels = Labels.empty
        /// Of scraped targets: by target, then by slot.
        var targets: [Int: [KnownSeries]] = [:]
    }

    /// The id of the series in a target's slot; 0 where it can't be sent.
    struct KnownSeries: Sendable {
        var labels = Labels.empty
        var id: UInt32 = 0
    }

    struct Shape: Sendable {
        var name: String
        var labels: [Labels]
        /// 0 where the point could not be sent.
        var ids: [UInt32]
    }

    var interned = Interned()

    package init() {}

    /// Hands a scrape to the spool in as few batches as the limits allow. Throws where the spool refuses; the batches
    /// handed over before stay, the rest of the scrape is not held.
    package mutating func write(
        _ scrape: MetricScrape, to sink: some SpoolSink
    ) throws(BatchError) -> WrittenBatch {
        var written = WrittenBatch()
        var firstProblem = ""
        var cursor = Cursor()
        while !cursor.isAtEnd(of: scrape) {
            let part = try writePart(of: scrape, from: cursor, to: sink)
            cursor = part.next
            written.records += part.records
            written.refused += part.refused
            written.batches += part.records > 0 ? 1 : 0
            if firstProblem.isEmpty { firstProblem = part.firstProblem }
        }
        guard written.refused > 0 else { return written }
        let gap = GapRecord(
            reason: .seriesLimited, count: UInt64(written.refused),
            from: scrape.timestamp.nanoseconds, to: scrape.timestamp.nanoseconds,
            source: scrape.targetLabels["job"], detail: firstProblem)
        do { try sink.append(gap, positions: []) } catch { throw .spool(error) }
        return written
    }

    /// Where in a scrape a part begins.
    private struct Cursor {
        var family = 0
        var point = 0

        func isAtEnd(of scrape: MetricScrape) -> Bool { family >= scrape.families.count }

        mutating func step(in scrape: MetricScrape) {
            point += 1
            while family < scrape.families.count, point >= scrape.families[family].points.count {
                family += 1
                point = 0
            }
        }
    }

    /// What became of a part of a scrape; `next` is where the one after it begins.
    struct Part<Place> {
        var next: Place
        var records = 0
        var refused = 0
        var firstProblem = ""
    }

    private mutating func writePart(
        of scrape: MetricScrape, from cursor: Cursor, to sink: some SpoolSink
    ) throws(BatchError) -> Part<Cursor> {
        try append(to: sink) { Self.encode(scrape, from: cursor, &$0) }
    }

    /// Hands what `encode` makes to the sink, anew for each dictionary that the sink begins meanwhile. The ids that it
    /// gave stay where the payload was taken.
    mutating func append<Place>(
        to sink: some SpoolSink, _ encode: (inout Interned) -> (Part<Place>, [UInt8])
    ) throws(BatchError) -> Part<Place> {
        do {
            var dictionary = try interned.dictionary ?? sink.dictionary(forPayloadBytes: 0)
            for _ in 0..<BatchError.attemptsMax {
                var next = interned
                if next.dictionary != dictionary { next = Interned(dictionary: dictionary) }
                var (part, payload) = encode(&next)
                guard part.records > 0 else {
                    interned = next
                    return part
                }
                let outcome = try sink.append(
                    .metrics, recordCount: part.records, payload: payload, positions: [],
                    dictionary: dictionary)
                switch outcome {
                case .appended:
                    interned = next
                    return part
                case .dictionaryChanged(let changed):
                    dictionary = changed
                    part.records = 0
                    payload = []
                }
            }
        } catch {
            throw .spool(error)
        }
        throw .dictionaryUnsettled(attempts: BatchError.attemptsMax)
    }

    private static func encode(
        _ scrape: MetricScrape, from start: Cursor, _ interned: inout Interned
    ) -> (Part<Cursor>, [UInt8]) {
        if interned.targetLabels != scrape.targetLabels {
            interned.targetLabels = scrape.targetLabels
            interned.shape = []
        }
        var builder = MetricsPayloadBuilder(timestamp: scrape.timestamp)
        var part = Part(next: start)
        var seen = Set<UInt32>()
        while part.next.family < scrape.families.count,
            scrape.families[part.next.family].points.isEmpty
        {
            part.next.family += 1
        }
        while !part.next.isAtEnd(of: scrape), builder.count < WireLimits.recordsMax,
            builder.bytesBound < WireLimits.payloadBytesMax - Self.sampleBytesMax
        {
            let family = scrape.families[part.next.family]
            let point = family.points[part.next.point]
            let id = Self.id(family, point, part.next, &interned, &builder)
            if id != 0, seen.insert(id).inserted {
                builder.add(id, point.value)
                part.records += 1
            } else {
                part.refused += 1
                if part.firstProblem.isEmpty {
                    part.firstProblem =
                        "\(family.name): a series twice, or past a limit of labels or series"
                }
            }
            part.next.step(in: scrape)
        }
        return (part, builder.finish())
    }

    /// Bytes that one sample with its definition and its exemplar can add.
    static let sampleBytesMax =
        WireLimits.labelsMax * (WireLimits.labelNameBytesMax + WireLimits.labelValueBytesMax + 8)
        + WireLimits.helpBytesMax + WireLimits.unitBytesMax + WireLimits.exemplarBytesMax + 1024

    private static func id(
        _ family: MetricFamily, _ point: MetricFamily.Point, _ at: Cursor,
        _ interned: inout Interned, _ builder: inout MetricsPayloadBuilder
    ) -> UInt32 {
        if at.family < interned.shape.count, interned.shape[at.family].name == family.name,
            at.point < interned.shape[at.family].labels.count,
            interned.shape[at.family].labels[at.point] == point.labels
        {
            return interned.shape[at.family].ids[at.point]
        }
        let labels = fullLabels(family, point, interned.targetLabels)
        let id =
            interned.ids[labels]
            ?? define(labels, family.name, family.metadata, &interned, &builder)
        remember(id, family.name, point.labels, at, &interned)
        return id
    }

    static func define(
        _ labels: Labels, _ family: String, _ metadata: MetricMetadata, _ interned: inout Interned,
        _ builder: inout MetricsPayloadBuilder
    ) -> UInt32 {
        guard interned.ids.count < WireLimits.dictionaryIDMax,
            MetricsPayloadBuilder.problem(with: labels) == nil
        else { return 0 }
        let id = UInt32(interned.ids.count + 1)
        interned.ids[labels] = id
        let isFirst =
            (!metadata.help.isEmpty || !metadata.unit.isEmpty)
            && interned.toldFamilies.insert(family).inserted
        builder.define(
            id, labels, metadata.type,
            help: isFirst ? LogPayload.withoutNUL(metadata.help) : nil,
            unit: isFirst ? LogPayload.withoutNUL(metadata.unit) : nil)
        return id
    }

    private static func remember(
        _ id: UInt32, _ name: String, _ labels: Labels, _ at: Cursor, _ interned: inout Interned
    ) {
        while interned.shape.count <= at.family {
            interned.shape.append(Shape(name: "", labels: [], ids: []))
        }
        if interned.shape[at.family].name != name || at.point == 0 {
            interned.shape[at.family] = Shape(name: name, labels: [], ids: [])
        }
        guard at.point <= interned.shape[at.family].labels.count else { return }
        if at.point < interned.shape[at.family].labels.count {
            interned.shape[at.family].labels[at.point] = labels
            interned.shape[at.family].ids[at.point] = id
        } else {
            interned.shape[at.family].labels.append(labels)
            interned.shape[at.family].ids.append(id)
        }
    }

    /// The sample's labels, the target's, and the name. A sample's own label that the target or the collector sets too is
    /// kept as `exported_<name>`. Source: Prometheus 3.14 scrape with `honor_labels: false`.
    private static func fullLabels(
        _ family: MetricFamily, _ point: MetricFamily.Point, _ target: Labels
    ) -> Labels {
        var labels = Array(target)
        var taken: [Label] = []
        var name = family.name
        for label in point.labels {
            let label = Label(label.name, LogPayload.withoutNUL(label.value))
            if label.name == Labels.metricNameLabel {
                name = label.value
            } else if target[label.name].isEmpty, !Labels.namesOfCollector.contains(label.name) {
                labels.append(label)
            } else {
                taken.append(label)
            }
        }
        for label in taken {
            var name = "exported_" + label.name
            while labels.contains(where: { $0.name == name }) { name = "exported_" + name }
            labels.append(Label(name, label.value))
        }
        labels.append(Label(Labels.metricNameLabel, name))
        return Labels(labels)
    }
}
