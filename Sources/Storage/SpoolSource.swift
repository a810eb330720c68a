package import Model

/// What a spooled payload is.
package enum PayloadKind: UInt8, Hashable, Sendable {
    case metrics = 1
    case logs = 2
    case gap = 3
}

/// A durable batch of an agent's spool.
package struct SpooledBatch: Hashable, Sendable {
    package var sequence: UInt64
    package var kind: PayloadKind
    /// First sequence of the segment; the payload's ids are defined in it or in earlier batches of the same dictionary.
    package var dictionary: UInt64
    /// Samples or log entries; for a gap the records it stands for.
    package var recordCount: Int
    /// A serialised MetricsBatch, LogBatch or Gap.
    package var payload: [UInt8]

    package init(
        sequence: UInt64, kind: PayloadKind, dictionary: UInt64, recordCount: Int, payload: [UInt8]
    ) {
        self.sequence = sequence
        self.kind = kind
        self.dictionary = dictionary
        self.recordCount = recordCount
        self.payload = payload
    }
}

/// A spool's figures; `producedRecords = acknowledged + gapRecords + spoolRecords` at every moment.
package struct SpoolStatus: Hashable, Sendable {
    package var epoch: UInt64
    /// Lowest sequence still held; `lastSequence + 1` when it is empty.
    package var firstSequence: UInt64
    /// Highest durable sequence, 0: none yet.
    package var lastSequence: UInt64
    package var producedRecords: UInt64
    package var gapRecords: UInt64
    package var spoolRecords: UInt64
    package var spoolBytes: UInt64

    package init(
        epoch: UInt64, firstSequence: UInt64, lastSequence: UInt64, producedRecords: UInt64,
        gapRecords: UInt64, spoolRecords: UInt64, spoolBytes: UInt64
    ) {
        self.epoch = epoch
        self.firstSequence = firstSequence
        self.lastSequence = lastSequence
        self.producedRecords = producedRecords
        self.gapRecords = gapRecords
        self.spoolRecords = spoolRecords
        self.spoolBytes = spoolBytes
    }
}

/// The sending side's view of a spool. Only durable batches are visible.
package protocol SpoolSource: Sendable {
    var kind: StreamKind { get }
    func status() -> SpoolStatus
    /// Durable batches from `sequence` on, in order, at least one where there is one, then up to `bytesMax` in sum.
    func read(from sequence: UInt64, bytesMax: Int) throws -> [SpooledBatch]
    /// The batches of the same dictionary before `sequence`: their definitions are what a new connection lacks.
    func preceding(_ sequence: UInt64) throws -> [SpooledBatch]
    /// Returns when a batch after `sequence` is durable. Throws `CancellationError` when cancelled.
    func waitForBatch(after sequence: UInt64) async throws
    /// Everything through `sequence` is committed at the collector: its space may be freed.
    func acknowledge(through sequence: UInt64)
    /// The collector refuses this batch for good: it is read as a gap (reason `rejected`) of its record count from now on.
    func reject(_ sequence: UInt64, detail: String)
    /// A restored collector asks for sequences that are no longer held: what is missing becomes a gap (reason `restore`)
    /// and the spool goes on under a new epoch, which is returned.
    func beginEpochAfterRestore(lastCommitted: UInt64) throws -> UInt64
}
