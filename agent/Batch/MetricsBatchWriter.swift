package import Model
package import Storage
import Wire

/// Turns scrapes into spooled payloads, naming each series once per dictionary.
///
/// The host's own readers are a target among the scraped ones. Series a dictionary: `WireLimits.dictionaryIDMax`; what
/// exceeds it or breaks another wire limit becomes a gap record.
package struct MetricsBatchWriter: Sendable {
    /// Ids of a dictionary.
    struct Interned: Sendable {
        var dictionary: SpoolDictionary?
        var ids: [Labels: UInt32] = [:]
        /// Families whose help and unit were sent.
        var toldFamilies: Set<String> = []
        /// By target, then by slot.
        var targets: [Int: [KnownSeries]] = [:]
    }

    /// The id of the series in a target's slot; 0 where it can't be sent.
    struct KnownSeries: Sendable {
        var labels = Labels.empty
        var id: UInt32 = 0
    }

    var interned = Interned()
    private var host = HostSeries()

    package init() {}

    /// The series that the host's own readers have.
    package var hostSeries: [Labels] { host.labels }

    /// Series of the host's own readers that end with their first scrape where it does not bring them.
    package mutating func inherit(_ labels: [Labels]) { host.inherit(labels) }

    /// Hands over what the host's own readers gave at one time, by job: all of it, for what was there before and is not
    /// now ends with a staleness marker. Nothing is done where `scrapes` is empty. Throws where the spool refuses: the
    /// batches handed over before stay, the rest is not held, and what ended does so with the next scrape.
    package mutating func write(
        _ scrapes: [MetricScrape], to sink: some SpoolSink
    ) throws(BatchError) -> WrittenBatch {
        guard !scrapes.isEmpty else { return WrittenBatch() }
        var next = host
        let (scrape, refused) = next.take(scrapes)
        let written = try write(scrape, refused: refused, to: sink)
        host = next
        return written
    }

    /// What became of a part of a scrape; `next` is where the one after it begins.
    struct Part<Place> {
        var next: Place
        var records = 0
        var refused = 0
        var firstProblem = ""
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

    /// Bytes that one sample with its definition and its exemplar can add.
    static let sampleBytesMax =
        WireLimits.labelsMax * (WireLimits.labelNameBytesMax + WireLimits.labelValueBytesMax + 8)
        + WireLimits.helpBytesMax + WireLimits.unitBytesMax + WireLimits.exemplarBytesMax + 1024

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
}
