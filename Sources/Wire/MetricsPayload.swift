package import Model
import SwiftProtobuf

/// A scrape as received: `values[i]` belongs to the series that the dictionary names `series[i]`.
package struct DecodedScrape: Hashable, Sendable {
    package var timestamp: TimestampMS
    /// Ids that the dictionary defines, each once.
    package var series: [UInt32]
    package var values: [Double]
    /// When the counting of `values[i]` began, milliseconds since the epoch, 0 where it isn't known; empty where it is
    /// known of none.
    package var startTimestamps: [Int64] = []

    package init(timestamp: TimestampMS, series: [UInt32], values: [Double]) {
        precondition(series.count == values.count, "columns of different length")
        self.timestamp = timestamp
        self.series = series
        self.values = values
    }
}

/// An exemplar as received, of the series that the dictionary names `series`.
package struct DecodedExemplar: Hashable, Sendable {
    package var series: UInt32
    package var exemplar: Exemplar

    package init(series: UInt32, exemplar: Exemplar) {
        self.series = series
        self.exemplar = exemplar
    }
}

/// What of a metrics batch can be stored.
package struct DecodedMetrics: Hashable, Sendable {
    package var scrapes: [DecodedScrape] = []
    package var exemplars: [DecodedExemplar] = []
    /// Exemplars that are none, are of no defined series, or come after `WireLimits.exemplarsMax` of them. They are no
    /// records: no gap stands for them.
    package var rejectedExemplarCount = 0

    package init() {}

    package var sampleCount: Int { scrapes.reduce(0) { $0 + $1.series.count } }
}

/// Reads and writes the payload of a metrics batch.
package enum MetricsPayload {
    /// Takes the payload's definitions into `dictionary` and returns the samples that can be stored, and what is wrong
    /// with the rest. Throws where the payload as a whole is no metrics batch or too large; the dictionary is then
    /// unchanged. `good.sampleCount + sum(problems.count)` is the number of samples sent.
    package static func decode(
        _ payload: [UInt8], dictionary: inout StreamDictionary
    ) throws(WireError) -> (good: DecodedMetrics, problems: [RecordProblem]) {
        let message: Petrel_Fleet_V1_MetricsBatch = try parsed(payload, "MetricsBatch")
        let samples = message.scrapes.reduce(0) { $0 + $1.seriesDeltas.count }
        guard samples <= WireLimits.recordsMax else {
            throw .tooLarge(what: "samples", actual: samples, maximum: WireLimits.recordsMax)
        }
        var problems = ProblemList()
        dictionary.define(series: message.definitions, &problems)
        var good = DecodedMetrics()
        good.scrapes.reserveCapacity(message.scrapes.count)
        for (index, scrape) in message.scrapes.enumerated() {
            let decoded = Self.decode(scrape, index, dictionary, &problems)
            if let decoded, !decoded.series.isEmpty { good.scrapes.append(decoded) }
        }
        for exemplar in message.exemplars.prefix(WireLimits.exemplarsMax) {
            if let decoded = Self.decode(exemplar, dictionary) { good.exemplars.append(decoded) }
        }
        good.rejectedExemplarCount = message.exemplars.count - good.exemplars.count
        return (good, problems.problems)
    }

    private static func decode(
        _ exemplar: Petrel_Fleet_V1_Exemplar, _ dictionary: StreamDictionary
    ) -> DecodedExemplar? {
        guard dictionary.series(exemplar.series) != nil,
            case .success(let labels) = LabelPairs.labels(exemplar.labels),
            Exemplar.mayHave(labels)
        else { return nil }
        return DecodedExemplar(
            series: exemplar.series,
            exemplar: Exemplar(
                labels: labels, value: exemplar.value,
                timestamp: TimestampMS(exemplar.timestampMs)))
    }

    private static func decode(
        _ scrape: Petrel_Fleet_V1_Scrape, _ index: Int, _ dictionary: StreamDictionary,
        _ problems: inout ProblemList
    ) -> DecodedScrape? {
        let count = scrape.seriesDeltas.count
        let values: [Double]
        do {
            values = try ValuesCodec.decode([UInt8](scrape.values), count: count)
        } catch {
            problems.note(index, lost: count, "scrape \(index): \(error)")
            return nil
        }
        var good = DecodedScrape(
            timestamp: TimestampMS(scrape.timestampMs), series: [], values: [])
        good.series.reserveCapacity(count)
        good.values.reserveCapacity(count)
        var seen = [Bool](repeating: false, count: Int(dictionary.seriesIDMax) + 1)
        // Another number of them than of values says nothing of anyone.
        let starts = scrape.starts.count == count ? scrape.starts : []
        var lastStart = scrape.timestampMs
        var lost = 0
        var firstLost: Int64 = 0
        var id: Int64 = 0
        for (index, (delta, value)) in zip(scrape.seriesDeltas, values).enumerated() {
            id += Int64(delta)
            let start = starts.isEmpty ? 0 : StartsCodec.decode(starts[index], last: &lastStart)
            guard id >= 1, id < seen.count, !seen[Int(id)], dictionary.series(UInt32(id)) != nil
            else {
                if lost == 0 { firstLost = id }
                lost += 1
                continue
            }
            seen[Int(id)] = true
            good.series.append(UInt32(id))
            good.values.append(value)
            if !starts.isEmpty { good.startTimestamps.append(start) }
        }
        if lost > 0 {
            let detail =
                "scrape \(index): \(lost) samples of series that are undefined or named twice, "
                + "first id \(firstLost)"
            problems.note(index, lost: lost, detail)
        }
        return good
    }
}

/// A message from bytes that may be anything: bounded in size and depth, never a trap.
func parsed<Message: SwiftProtobuf.Message>(
    _ bytes: [UInt8], _ name: String
) throws(WireError) -> Message {
    guard bytes.count <= WireLimits.payloadBytesMax else {
        throw .tooLarge(what: name, actual: bytes.count, maximum: WireLimits.payloadBytesMax)
    }
    do {
        return try Message(serializedBytes: bytes)
    } catch {
        throw .malformed(message: name, detail: "\(error)")
    }
}

/// The bytes of a message without required fields, which can't fail to serialise below 2 GiB.
func serialized(_ message: some SwiftProtobuf.Message) -> [UInt8] {
    do {
        return try message.serializedBytes()
    } catch {
        preconditionFailure("a bounded proto3 message did not serialise: \(error)")
    }
}
