package import Model

/// Reads and writes the payload of a gap batch.
package enum GapPayload {
    /// The gap as bytes; texts are cut to `WireLimits.gapTextBytesMax`.
    package static func encode(_ gap: GapRecord) -> [UInt8] {
        var message = Petrel_Fleet_V1_Gap()
        message.reason = gap.reason.rawValue
        message.count = gap.count
        message.fromNs = gap.from?.rawValue ?? 0
        message.toNs = gap.to?.rawValue ?? 0
        message.source = cut(gap.source)
        message.detail = cut(gap.detail)
        return serialized(message)
    }

    /// A reason that this version does not know keeps its name in `detail` and counts as `rejected`.
    package static func decode(_ payload: [UInt8]) throws(WireError) -> GapRecord {
        let message: Petrel_Fleet_V1_Gap = try parsed(payload, "Gap")
        let reason = GapReason(rawValue: message.reason)
        let detail =
            reason == nil ? "unknown reason '\(message.reason)': \(message.detail)" : message.detail
        return GapRecord(
            reason: reason ?? .rejected, count: message.count,
            from: message.fromNs == 0 ? nil : TimestampNS(message.fromNs),
            to: message.toNs == 0 ? nil : TimestampNS(message.toNs),
            source: LogPayload.withoutNUL(cut(message.source)),
            detail: LogPayload.withoutNUL(cut(detail)))
    }

    /// At most the limit's bytes, cut between characters.
    private static func cut(_ text: String) -> String {
        guard text.utf8.count > WireLimits.gapTextBytesMax else { return text }
        var bytes = 0
        let kept = text.prefix { character in
            bytes += character.utf8.count
            return bytes <= WireLimits.gapTextBytesMax
        }
        return String(kept)
    }
}
