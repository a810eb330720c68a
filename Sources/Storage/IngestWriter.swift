package import Model

/// The collector's own number of a series; never reused.
package struct SeriesID: RawRepresentable, Hashable, Comparable, Sendable {
    package var rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// A series as a sender defines it.
package struct SeriesDefinition: Hashable, Sendable {
    /// With `__name__`.
    package var labels: Labels
    package var metadata: MetricMetadata

    package init(labels: Labels, metadata: MetricMetadata) {
        self.labels = labels
        self.metadata = metadata
    }
}

/// Samples of one scrape: one timestamp, `values[i]` of `series[i]`.
package struct ScrapeColumns: Hashable, Sendable {
    package var timestamp: TimestampMS
    package var series: [SeriesID]
    package var values: [Double]
    /// When the counting of `values[i]` began, milliseconds since the epoch, 0 where it isn't known; empty where it is
    /// known of none.
    package var startTimestamps: [Int64]

    package init(
        timestamp: TimestampMS, series: [SeriesID], values: [Double], startTimestamps: [Int64] = []
    ) {
        precondition(
            series.count == values.count
                && (startTimestamps.isEmpty || startTimestamps.count == values.count),
            "columns of different length")
        self.timestamp = timestamp
        self.series = series
        self.values = values
        self.startTimestamps = startTimestamps
    }

    /// The samples at these indices, in their order.
    package func keeping(_ indices: [Int]) -> ScrapeColumns {
        let starts = startTimestamps.isEmpty ? [] : indices.map { startTimestamps[$0] }
        return ScrapeColumns(
            timestamp: timestamp, series: indices.map { series[$0] },
            values: indices.map { values[$0] },
            startTimestamps: starts.contains { $0 != 0 } ? starts : [])
    }
}

/// A received batch, decoded and checked, with `host` taken from the certificate.
package struct IngestBatch: Sendable {
    package enum Content: Sendable {
        case metrics([ScrapeColumns])
        /// Stream labels already carry the certificate's `host`.
        case logs([LogStream])
        /// Only gaps.
        case none
    }

    package var position: BatchPosition
    package var content: Content
    /// In any order, of series with samples in the batch or without. They are no records: what is left out of them leaves
    /// no gap.
    package var exemplars: [PushedExemplar] = []
    /// Exemplars that the sender had in it and that can't be stored.
    package var rejectedExemplarCount = 0
    /// Losses the agent reports, and records of this batch that the collector refused one by one.
    package var gaps: [GapRecord]
    /// Samples or log entries in `content`.
    package var recordCount: Int
    /// SHA-256 of the payload as received: a repeat with another digest is an integrity alert.
    package var digest: [UInt8]
    package var receivedAt: TimestampNS

    package init(
        position: BatchPosition, content: Content, gaps: [GapRecord] = [], recordCount: Int,
        digest: [UInt8], receivedAt: TimestampNS
    ) {
        self.position = position
        self.content = content
        self.gaps = gaps
        self.recordCount = recordCount
        self.digest = digest
        self.receivedAt = receivedAt
    }
}

/// One live connection's right to write one stream; a newer session of the same stream fences an older one.
package struct IngestSession: Hashable, Sendable {
    package var host: HostName
    package var kind: StreamKind
    package var epoch: UInt64
    /// Unique per session; written with every cursor update.
    package var token: Int64

    package init(host: HostName, kind: StreamKind, epoch: UInt64, token: Int64) {
        self.host = host
        self.kind = kind
        self.epoch = epoch
        self.token = token
    }
}

/// What a batch came to.
package enum IngestOutcome: Hashable, Sendable {
    /// Committed with its cursor.
    case stored
    /// Its sequence was committed before; nothing was written. `sameDigest` false: other content under that number.
    case duplicate(sameDigest: Bool)
    /// A hole would come before it; nothing was written.
    case outOfOrder(expected: UInt64)
    /// A newer session of this stream exists; nothing was written.
    case fenced
}

/// How the receiving side writes. Every call that returns normally is committed and durable.
package protocol IngestWriter: Sendable {
    /// Which incarnation of the database this is; a restored backup has another.
    func storageGeneration() async throws(StorageError) -> String
    /// Registers a session, fencing older ones, and answers with the last committed sequence of the epoch (0: none).
    func openSession(
        host: HostName, kind: StreamKind, epoch: UInt64
    ) async throws(StorageError) -> (session: IngestSession, lastSequence: UInt64)
    /// Numbers for series, made where they are new; nil where a series limit refuses a new one.
    /// `result[i]` belongs to `series[i]`.
    func intern(
        _ series: [SeriesDefinition], host: HostName
    ) async throws(StorageError) -> [SeriesID?]
    /// Commits the batches in order, cursor included, in one transaction; `result[i]` belongs to `batches[i]`. Of their
    /// exemplars what is untimely, or past the store's bounds, is left out.
    /// After the first `outOfOrder` or `fenced` the rest have that outcome too. Throws `seriesRemoved` where a number is of
    /// no series any more.
    func store(
        _ batches: [IngestBatch], session: IngestSession
    ) async throws(StorageError) -> [IngestOutcome]
    /// All that `store` does for one batch but the commit: throws `refused` where `store` would. The receiver searches
    /// with it for the records that the storage does not take.
    func rehearse(_ batch: IngestBatch, session: IngestSession) async throws(StorageError)
    /// Commits samples that the collector itself makes (its own metrics, presence, recording rules, ALERTS).
    func storeOwn(
        _ samples: [(SeriesDefinition, Sample)]
    ) async throws(StorageError)
    /// Commits native histograms that recording rules make; those older than the retention, or more than an hour ahead of
    /// the clock, are left out.
    func storeOwn(
        histograms: [(SeriesDefinition, HistogramSample)]
    ) async throws(StorageError)
}

extension IngestWriter {
    /// A storage that can't rehearse takes no batch that it refused once: its records become a gap.
    package func rehearse(
        _ batch: IngestBatch, session: IngestSession
    ) async throws(StorageError) {
        throw .refused("this storage can't rehearse")
    }
}
