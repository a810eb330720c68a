package import Model

/// A write request of either version, read: samples as columns, label sets still as bytes.
///
/// The samples of `series[i]` follow those of `series[i - 1]` in `timestamps` and `values`, its histograms those in
/// `histograms`, its exemplars those in `exemplars`.
/// Source: prometheus/prometheus `prompb/remote.proto`, `prompb/types.proto` and
/// `prompb/io/prometheus/write/v2/types.proto` (2.0-rc.4, and the created timestamp of rc.3).
package struct WriteRequest: Sendable {
    /// Which message the body is.
    package enum Version: Hashable, Sendable {
        /// `prometheus.WriteRequest`.
        case v1
        /// `io.prometheus.write.v2.Request`.
        case v2
    }

    /// What one request may hold; more is `RemoteWriteError.tooMany`.
    package struct Limits: Hashable, Sendable {
        package var seriesMax = 200_000
        /// Floats and staleness markers.
        package var samplesMax = 2_000_000
        package var histogramsMax = 100_000
        /// Buckets of all histograms together, and labels, bounds and spans alike.
        package var bucketsMax = 2_000_000
        package var exemplarsMax = 100_000
        package var metadataMax = 100_000
        package var symbolsMax = 1_000_000
        /// Bytes of all label sets in memory, those of a request of version 2 spelled out.
        package var labelBytesMax = 32 << 20
        /// The same where a part that series share counts with each of them: who reads the label sets reads it so often.
        package var spelledBytesMax = 96 << 20

        package init() {}
    }

    /// Type, help and unit of a series; the texts are places in `bytes`.
    package struct RawMetadata: Hashable, Sendable {
        package var type: MetricType
        package var help: Range<Int>
        package var unit: Range<Int>

        package init(type: MetricType, help: Range<Int>, unit: Range<Int>) {
            self.type = type
            self.help = help
            self.unit = unit
        }
    }

    package struct Series: Hashable, Sendable {
        /// The place of the label set in `labelBytes`, but for what is in `sharedLabels`; see `RawLabels`.
        package var labels: Range<Int>
        /// The place of the labels that it shares with other series; empty where there are none.
        package var sharedLabels: Range<Int> = 0..<0
        package var sampleCount = 0
        package var histogramCount = 0
        /// Histograms that make no sense and are not in `histograms`.
        package var refusedHistogramCount = 0
        package var exemplarCount = 0
        /// Version 2; nil where nothing is said.
        package var metadata: RawMetadata?

        /// The label set; `labelBytes` are those of the request, and must outlive it.
        package func spelling(in labelBytes: UnsafeRawBufferPointer) -> RawLabels.Spelling {
            RawLabels.Spelling(
                UnsafeRawBufferPointer(rebasing: labelBytes[labels]),
                shared: UnsafeRawBufferPointer(rebasing: labelBytes[sharedLabels]))
        }
    }

    /// An exemplar; its labels have a place in `labelBytes`.
    package struct Exemplar: Hashable, Sendable {
        package var labels: Range<Int>
        package var value: Double
        /// Milliseconds since the epoch.
        package var timestamp: Int64
    }

    /// What version 1 says of a metric family.
    package struct FamilyMetadata: Hashable, Sendable {
        package var family: String
        package var metadata: MetricMetadata

        package init(family: String, metadata: MetricMetadata) {
            self.family = family
            self.metadata = metadata
        }
    }

    package internal(set) var series: [Series] = []
    /// Milliseconds since the epoch, in the order sent.
    package internal(set) var timestamps: [Int64] = []
    package internal(set) var values: [Double] = []
    /// When the counting of `values[i]` began, 0 where it isn't known; empty where it is known of none.
    package internal(set) var startTimestamps: [Int64] = []
    package internal(set) var histograms: [HistogramSample] = []
    package internal(set) var exemplars: [Exemplar] = []
    package internal(set) var metadata: [FamilyMetadata] = []
    /// Why the first histogram that makes no sense makes none.
    package internal(set) var histogramDefect: String?
    /// The body.
    package internal(set) var bytes: [UInt8] = []
    package internal(set) var labelBytes: [UInt8] = []

    init() {}

    /// Reads a decompressed body. Throws `RemoteWriteError` where it is not that message or passes a limit.
    package init(
        _ body: [UInt8], _ version: Version, limits: Limits = Limits()
    ) throws(RemoteWriteError) {
        var request = WriteRequest()
        var failure: RemoteWriteError?
        body.withUnsafeBytes { bytes in
            do throws(RemoteWriteError) {
                switch version {
                case .v1:
                    var reader = RequestReaderV1(limits)
                    try reader.read(bytes, into: &request)
                case .v2:
                    var reader = RequestReaderV2(bytes, limits)
                    try reader.read(into: &request)
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        request.bytes = body
        switch version {
        case .v1:
            // What stands apart in the body has been gathered in `labelBytes`, as if it stood behind it.
            request.labelBytes = request.labelBytes.isEmpty ? body : body + request.labelBytes
        case .v2: break
        }
        self = request
    }

    /// The text at a place in `bytes`; what is no UTF-8 becomes U+FFFD.
    package func text(_ range: Range<Int>) -> String {
        String(decoding: bytes[range], as: UTF8.self)
    }
}

extension WriteRequest {
    /// Adds a sample to the series that is being read.
    @inline(__always)
    mutating func append(
        _ timestamp: Int64, _ value: Double, start: Int64, _ limits: Limits
    ) throws(RemoteWriteError) {
        guard timestamps.count < limits.samplesMax else {
            throw .tooMany("samples", max: limits.samplesMax)
        }
        if start != 0 || !startTimestamps.isEmpty {
            if startTimestamps.isEmpty {
                startTimestamps = [Int64](repeating: 0, count: timestamps.count)
            }
            startTimestamps.append(start)
        }
        timestamps.append(timestamp)
        values.append(value)
    }

    /// Adds what a histogram message held to `series`, the one that is being read.
    mutating func append(
        _ message: HistogramMessage, to series: inout Series, _ limits: Limits
    ) throws(RemoteWriteError) {
        // A stale histogram has the marker as its sum; here a series has one marker for values of both kinds.
        if StalenessMarker.isMarker(message.sum) {
            series.sampleCount += 1
            return try append(
                message.timestamp, message.sum, start: message.startTimestamp, limits)
        }
        guard histograms.count < limits.histogramsMax else {
            throw .tooMany("histograms", max: limits.histogramsMax)
        }
        do throws(HistogramDefect) {
            histograms.append(
                HistogramSample(
                    message.timestamp, try message.histogram(),
                    startTimestamp: message.startTimestamp))
            series.histogramCount += 1
        } catch {
            series.refusedHistogramCount += 1
            if histogramDefect == nil { histogramDefect = error.description }
        }
    }

    /// Says of samples without a start timestamp when their counting began.
    mutating func setStart(_ start: Int64, samplesFrom: Int, histogramsFrom: Int) {
        if samplesFrom < timestamps.count, startTimestamps.isEmpty {
            startTimestamps = [Int64](repeating: 0, count: timestamps.count)
        }
        for index in samplesFrom..<timestamps.count where startTimestamps[index] == 0 {
            startTimestamps[index] = start
        }
        for index in histogramsFrom..<histograms.count
        where histograms[index].startTimestamp == 0 {
            histograms[index].startTimestamp = start
        }
    }

    mutating func append(_ new: Series, _ limits: Limits) throws(RemoteWriteError) {
        guard series.count < limits.seriesMax else {
            throw .tooMany("series", max: limits.seriesMax)
        }
        series.append(new)
    }
}
