package import Model

/// Which set of definitions the ids of a payload belong to. An encoder forgets its ids when this changes.
package struct SpoolDictionary: Hashable, Sendable {
    package var epoch: UInt64
    /// First sequence of the spool segment; unique within the epoch.
    package var number: UInt64

    package init(epoch: UInt64, number: UInt64) {
        self.epoch = epoch
        self.number = number
    }
}

/// What an append came to.
package enum SpoolAppendOutcome: Hashable, Sendable {
    /// Held under this sequence; durable after the next flush.
    case appended(sequence: UInt64)
    /// The payload's ids belong to an older dictionary: encode it again for this one.
    case dictionaryChanged(SpoolDictionary)
}

/// The batching side's view of a spool.
package protocol SpoolSink: Sendable {
    /// The dictionary for a payload of `bytes` (positions included); makes room for it by a new segment where needed.
    func dictionary(forPayloadBytes bytes: Int) throws -> SpoolDictionary
    /// Holds a payload, and the source positions that advance with it; not durable before the next flush.
    func append(
        _ kind: PayloadKind, recordCount: Int, payload: [UInt8], positions: [SourcePosition],
        dictionary: SpoolDictionary
    ) throws -> SpoolAppendOutcome
    /// Holds a loss that happened before the spool, with the positions that advance past it.
    func append(_ gap: GapRecord, positions: [SourcePosition]) throws
    /// Sources that can be read again later must not be read now.
    var isFull: Bool { get }
}
