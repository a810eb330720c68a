package import RemoteWrite

/// An export of metrics, read: what Prometheus would be sent by remote write for it.
package struct MetricsExport: Sendable {
    /// How the body is written.
    package enum Encoding: Hashable, Sendable { case protobuf, json }

    /// What one request may hold; more is `OTLPError.tooMany` or `columns`.
    package struct Limits: Hashable, Sendable {
        package var pointsMax = 200_000
        /// With data points or without.
        package var metricsMax = 200_000
        package var resourcesMax = 200_000
        /// Attributes and their values, those inside of others too.
        package var attributesMax = 2_000_000
        /// Buckets, bounds and quantiles of all data points.
        package var bucketsMax = 2_000_000
        package var exemplarsMax = 100_000
        /// Arrays and maps inside each other, in an attribute's value.
        package var valueDepthMax = 16
        /// Of the series that the data points become; a histogram's bucket is one.
        package var columns = WriteRequest.Limits()

        package init() {}
    }

    /// Why data points were not taken.
    package enum RefusalReason: String, CaseIterable, Hashable, Sendable {
        /// Sums and histograms that are not cumulative.
        case temporality
        case name, labels, histogram
    }

    /// Data points that were not taken, of one cause.
    package struct Refusal: Hashable, Sendable {
        package var reason: RefusalReason
        /// For the sender: `of metric "a", …`.
        package var text: String
        package var count: Int
    }

    /// Each series has one sample or one histogram, but for those of `target_info`, which may have more samples.
    package internal(set) var request: WriteRequest
    /// The data point, from 0, that made each series of `request`; -1: `target_info`, which none did.
    package internal(set) var points: [Int32]
    /// Data points that were taken.
    package internal(set) var pointCount: Int
    package internal(set) var refusals: [Refusal]
    /// Data points that were not taken for causes that `refusals` has no room for.
    package internal(set) var untoldCount: Int
    /// Exemplars without a value or with labels that are no UTF-8.
    package internal(set) var refusedExemplarCount: Int

    /// Data points that were not taken.
    package var refusedCount: Int { refusals.reduce(untoldCount) { $0 + $1.count } }

    /// Reads a decompressed body of at most `bytesMax` bytes, in JSON or not. Throws `OTLPError` where it is no request or
    /// passes a limit.
    package init(
        _ body: [UInt8], _ encoding: Encoding, bytesMax: Int, limits: Limits = Limits()
    ) throws(OTLPError) {
        guard body.count <= bytesMax else { throw .tooLong(max: bytesMax) }
        let bytes =
            switch encoding {
            case .protobuf: body
            case .json: try JSONTranscoder.protobuf(body, .request, bytesMax: bytesMax)
            }
        var translator = MetricTranslator(limits)
        var failure: OTLPError?
        bytes.withUnsafeBytes { bytes in
            do throws(OTLPError) {
                var reader = RequestReader(limits)
                try reader.read(bytes, into: &translator)
            } catch { failure = error }
        }
        if let failure { throw failure }
        self = translator.finish()
    }

    init(
        request: WriteRequest, points: [Int32], pointCount: Int, refusals: [Refusal],
        untoldCount: Int, refusedExemplarCount: Int
    ) {
        self.request = request
        self.points = points
        self.pointCount = pointCount
        self.refusals = refusals
        self.untoldCount = untoldCount
        self.refusedExemplarCount = refusedExemplarCount
    }
}
