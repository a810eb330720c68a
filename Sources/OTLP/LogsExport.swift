package import Model

/// An export of logs, read: streams of lines as Loki makes them of it.
package struct LogsExport: Sendable {
    /// What one request may hold; more is `OTLPError.tooMany`.
    package struct Limits: Hashable, Sendable {
        package var recordsMax = 200_000
        /// Resources, and scopes too.
        package var resourcesMax = 200_000
        /// Attributes and their values, those inside of others too.
        package var attributesMax = 2_000_000
        /// Arrays and maps inside each other, in an attribute's value or a body.
        package var valueDepthMax = 16
        /// Fields of all lines together: each line has those of its resource and its scope.
        package var fieldsMax = 2_000_000
        /// Bytes of all lines and of all their fields.
        package var bytesMax = 64 << 20
        /// Bytes of a field's name; a longer one is cut off.
        package var nameBytesMax = 1_024

        package init() {}
    }

    /// No two with the same labels, in the order of the request; `service_name` may be missing.
    package internal(set) var streams: [LogStream] = []
    package internal(set) var recordCount = 0
    /// Whether lines have their time from us: the records brought none.
    package internal(set) var isTimedHere = false

    /// Reads a decompressed body of at most `bytesMax` bytes, in JSON or not. Records without any time have `now`. Throws
    /// `OTLPError` where it is no request or passes a limit, `tooLong` where the body does.
    package init(
        _ body: [UInt8], _ encoding: MetricsExport.Encoding, bytesMax: Int, now: TimestampNS,
        rules: LogAttributeRules = .standard, limits: Limits = Limits()
    ) throws(OTLPError) {
        guard body.count <= bytesMax else { throw .tooLong(max: bytesMax) }
        let bytes =
            switch encoding {
            case .protobuf: body
            case .json: try JSONTranscoder.protobuf(body, .logsRequest, bytesMax: bytesMax)
            }
        var reader = LogRequestReader(limits, rules, now: now)
        var failure: OTLPError?
        bytes.withUnsafeBytes { bytes in
            do throws(OTLPError) { try reader.read(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
        self = reader.export
    }

    init() {}
}
