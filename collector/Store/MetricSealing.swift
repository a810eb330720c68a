import ChunkCodec
internal import Logging
import Model
import Postgres
internal import ServiceLifecycle
package import Storage
import Synchronization
import World

// Samples come to rest in two steps. `ingest_batch` holds what was committed, as it came: the write-ahead log, which the
// head in memory mirrors. Every two hours, or when the head is full, one transaction writes the head's samples as chunks
// and notes up to which number and time of `ingest_batch` they reach. What is not noted is read from `ingest_batch` again
// at the next start; a sample that is in both is the same sample.

/// The head of the metric store and what goes with it.
final class MetricState: Sendable {
    let head = MetricHead()
    let numbers = BatchNumbers()
    let cache = ChunkCache()
    let history = HistoryLog()
    /// One seal at a time; nothing is deleted beside it.
    let sealing = AsyncLock()
    /// One deletion or cleaning at a time.
    let deleting = AsyncLock()
    /// One removal of series' rows at a time.
    let removing = AsyncLock()

    struct Progress: Sendable {
        /// Which writer this collector is in `petrel.metric_seal`; nil: none, it writes no metrics.
        var writer: Int64?
        /// It was one, until another collector took over.
        var isReplaced = false
        /// The end of the last window that was sealed, milliseconds since the epoch.
        var sealedThrough = Int64.min
        /// What was told last, and when, nanoseconds since the epoch.
        var extent: (at: Int64, extent: ChunkExtent?)?
        /// Deletions whose commit was not answered and that are to be taken back.
        var undoneDeletions: [Int64] = []
        var counts = SealCounts()
        /// Since the start.
        var removedSeries = 0
        /// Samples whose day was dropped while they waited to be sealed.
        var expiredSamples = 0
        /// Samples of the log that were left out because nobody knows their series.
        var unknownSamples = 0
    }

    let progress = Mutex(Progress())
}

extension CollectorStore {
    /// How long a window stays open for late samples, milliseconds.
    static let sealGraceMilliseconds: Int64 = 10 * 60_000
    /// How long a writer that comes waits for calls of the one before it.
    static let takeOverMilliseconds = 30_000

    // MARK: Taking over

    /// Makes this collector the writer of metrics in place of any other, and reads what is not sealed into the head.
    /// Before it, nothing is stored and reads answer with sealed samples alone.
    package func takeOverMetrics() async throws(StorageError) {
        let dayMin = dayOf(clock.now.milliseconds.rawValue) - 2
        let (writer, number, through, sealed) = try await own { session in
            try session.transaction { session in
                // Waits for calls under way, so that what they commit is read below; later ones are refused.
                try session.query("SET LOCAL lock_timeout = '\(Self.takeOverMilliseconds)ms'")
                try session.query("LOCK TABLE petrel.ingest_batch IN SHARE MODE")
                let rows = try session.query(
                    "UPDATE petrel.metric_seal SET writer = writer + 1 RETURNING writer, number, through_ms"
                )
                // Of older days the first millisecond after them is told: later than all that they hold.
                let sealed = try session.query(
                    "SELECT coalesce(max(last_ms), $1) FROM petrel.chunk WHERE day >= $2",
                    [.int8(Int64(dayMin) * 86_400_000), .int4(dayMin)])
                return (
                    try rows.integer(0, 0), try rows.integer(0, 1), try rows.integer(0, 2),
                    try sealed.integer(0, 0)
                )
            }
        }
        metrics.head.startSealed(through: sealed)
        // The writer before may have made or removed series since ours were read.
        let catalogue = catalogue
        let now = hour(clock.now)
        try await own { try catalogue.load($0, now: now) }
        let last = try await replay(after: number, through: through)
        // A long replay writes chunks.
        metrics.cache.forget(nil)
        metrics.history.note(earliest: .min)
        // A call that was refused used a number up and left no row; what is deleted up to it must not hide what comes.
        let deleted = catalogue.series.withLock { $0.deletions.map(\.number).max() ?? 0 }
        metrics.numbers.start(after: max(number, last, deleted))
        metrics.progress.withLock { progress in
            progress.writer = writer
            progress.isReplaced = false
        }
    }

    /// Reads rows of `ingest_batch` that are not sealed into the head, and answers with their last number. More than the
    /// head may hold, as after an upgrade or a smaller limit, goes into chunks at once; `metric_seal` does not move for
    /// them, so that a failure on the way loses nothing.
    private func replay(after number: Int64, through: Int64) async throws(StorageError) -> Int64 {
        let catalogue = catalogue
        let metrics = metrics
        let sampleMax = configuration.headSamplesMax
        let now = clock.now
        let (last, unknownCount) = try await own { session in
            try session.transaction { session in
                try session.query(
                    """
                    DECLARE unsealed NO SCROLL CURSOR FOR
                    SELECT number, ts, series, vals, data FROM petrel.ingest_batch
                    WHERE ts IS NOT NULL AND (number > $1 OR ts > $2)
                    ORDER BY number, recv_hour, part
                    """, [.int8(number), .int8(through)])
                var last = number
                var unknownCount = 0
                while true {
                    let rows = try session.query("FETCH \(Self.replayRows) FROM unsealed")
                    guard rows.count > 0 else { return (last, unknownCount) }
                    for row in 0..<rows.count {
                        let of = try rows.integer(row, 0)
                        last = max(last, of)
                        // What of it is at or before `through` is in chunks, where it may have been replaced since.
                        unknownCount += try Self.insert(
                            rows, at: row, 1, number: of, after: of > number ? .min : through,
                            hour: hour(now), catalogue, metrics)
                    }
                    if metrics.head.sampleCount > sampleMax {
                        try Self.relieve(metrics, catalogue, now: now.milliseconds, session)
                    }
                }
            }
        }
        note(unknownCount: unknownCount)
        return last
    }

    private func note(unknownCount: Int) {
        guard unknownCount > 0 else { return }
        metrics.progress.withLock { $0.unknownSamples += unknownCount }
        logger.warning(
            "samples of series that petrel.series lacks were left out: was one table restored without the other? `petrel-collector verify` lists their rows",
            metadata: ["samples": "\(unknownCount)"])
    }

    /// Rows of the log that a replay has in memory at once: a row may be a megabyte.
    private static let replayRows = 20

    /// Writes all of the head as chunks, within the transaction of a replay.
    private static func relieve(
        _ metrics: MetricState, _ catalogue: Catalogue, now: TimestampMS,
        _ session: PostgresSession
    ) throws {
        let (all, rest) = try metrics.head.seal(through: .max)
        let (chunks, expiredCount) = catalogue.kept(all, clock: now)
        metrics.progress.withLock { $0.expiredSamples += expiredCount }
        for key in partitionKeys(chunks) {
            try session.query(
                "SELECT petrel.ensure_chunk_partition($1, $2)",
                [.int4(key.day), .int2(key.retentionClass)])
        }
        let seal = try session.query(
            "UPDATE petrel.metric_seal SET seal = seal + 1 RETURNING seal"
        ).integer(0, 0)
        let days = catalogue.unwrittenDays(of: chunks)
        try copy(chunks, days, seal: seal, session)
        catalogue.noteWritten(days)
        metrics.head.sealed(all, rest)
    }

    /// The partitions of chunks, in order.
    private static func partitionKeys(
        _ chunks: [(chunk: SealedChunk, retentionClass: Int16)]
    ) -> [SeriesDays.Key] {
        Set(
            chunks.map {
                SeriesDays.Key(retentionClass: $0.retentionClass, day: dayOf($0.chunk.first))
            }
        ).sorted()
    }

    private static func copy(
        _ chunks: [(chunk: SealedChunk, retentionClass: Int16)],
        _ seriesDays: [SeriesDays.Key: NumberSet], seal: Int64,
        _ session: PostgresSession
    ) throws {
        for (key, numbers) in seriesDays.sorted(by: { $0.key < $1.key }) {
            try session.query(
                "INSERT INTO petrel.series_day (class, day, seal, series) VALUES ($1, $2, $3, $4)",
                [
                    .int2(key.retentionClass), .int4(key.day), .int8(seal), .bytea(numbers.bytes),
                ])
        }
        guard !chunks.isEmpty else { return }
        var copy = BinaryCopyRows(columnCount: 8)
        for (chunk, retentionClass) in chunks {
            copy.append([
                .int4(dayOf(chunk.first)), .int4(chunk.group), .int8(chunk.first),
                .int8(chunk.last), .int8(seal), .int4(Int32(clamping: chunk.sampleCount)),
                .bytea(chunk.data), .int2(retentionClass),
            ])
        }
        try session.copyIn(copyChunksSQL, copy)
    }

    /// Puts a row of `ts, series, vals, data`, from `column` on, into the head: what of it is after `after` and was not
    /// deleted since. Series that are not known are left out: how many samples. `hour` is that of now: a series of which
    /// something waits must not be taken for one that was not heard of for long.
    private static func insert(
        _ row: PostgresRows, at index: Int, _ column: Int, number: Int64, after: Int64,
        hour: Int32, _ catalogue: Catalogue, _ metrics: MetricState
    ) throws -> Int {
        let timestamp = try row.integer(index, column)
        var series = try row.int4Array(index, column + 1)
        let deleted = catalogue.deleted(series, number: number)
        guard row.isNull(index, column + 3) else {
            var columns = try BatchData.decode(row.bytes(index, column + 3), count: series.count)
                .map { $0.cut(after: after, through: .max) }
            for (index, deletions) in deleted {
                for deletion in deletions {
                    columns[index].remove(deletion.from, through: deletion.through)
                }
            }
            let places = catalogue.places(of: series, columns, hour: hour)
            metrics.head.insert(
                zip(places, columns).compactMap { place, column in
                    place.map { (place: $0, column: column) }
                })
            return zip(places, columns).reduce(0) { $1.0 == nil ? $0 + $1.1.count : $0 }
        }
        var values = try row.float8Array(index, column + 2)
        guard series.count == values.count else {
            throw StorageError.corrupt(
                "the scrape at \(timestamp) ms has columns of unequal length")
        }
        if !deleted.isEmpty {
            let kept = series.indices.filter { index in
                !(deleted[index] ?? []).contains { $0.from <= timestamp && timestamp <= $0.through }
            }
            series = kept.map { series[$0] }
            values = kept.map { values[$0] }
        }
        let places = catalogue.places(of: series, at: timestamp, hour: hour)
        metrics.head.insert(timestamp, places, values)
        return places.count { $0 == nil }
    }

    // MARK: Storing

    /// Runs a call that writes rows of `ingest_batch` with samples of `series` under a number; `takeIn` puts what it
    /// committed into the head. Throws `seriesRemoved` where one of the series is gone.
    func numbered<T: Sendable>(
        of series: some Sequence<Int32>, _ takeIn: (T) -> Void,
        _ body: (_ number: Int64, _ writer: Int64) async throws(StorageError) -> T
    ) async throws(StorageError) -> T {
        let (current, isReplaced) = metrics.progress.withLock { ($0.writer, $0.isReplaced) }
        guard let writer = current else {
            throw isReplaced
                ? Self.anotherWriter : .unavailable("this collector is not the writer of metrics")
        }
        guard metrics.head.sampleCount < 2 * configuration.headSamplesMax else {
            throw .unavailable(
                "too many samples wait to be sealed; where this lasts, the collector's log says why "
                    + "sealing fails")
        }
        let number = await metrics.numbers.begin()
        do throws(StorageError) {
            try catalogue.requireKept(series)
            let result = try await body(number, writer)
            takeIn(result)
            metrics.numbers.settle(number)
            return result
        } catch {
            switch error {
            case .refused, .exhausted, .limitExceeded, .badMatcher, .corrupt, .seriesRemoved:
                metrics.numbers.settle(number)
            case .unavailable, .cancelled:
                // The commit may have been done, or be done still.
                metrics.numbers.doubt(number)
            }
            throw error
        }
    }

    /// Finds out what became of calls whose answer was lost, and takes what was committed into the head.
    func settleDoubts() async throws(StorageError) {
        let doubtful = metrics.numbers.doubtful
        guard !doubtful.isEmpty else { return }
        guard let writer = try await currentWriter() else { throw Self.anotherWriter }
        let catalogue = catalogue
        let metrics = metrics
        let now = hour(clock.now)
        let unknownCount = try await own { session in
            try session.transaction { session in
                // A server process that lost us may still be at its commit.
                try session.query("SET LOCAL lock_timeout = '\(Self.takeOverMilliseconds)ms'")
                try session.query("LOCK TABLE petrel.ingest_batch IN SHARE MODE")
                // Rows of another writer have the same numbers; while the lock is held it stores none.
                let isOurs = try session.query(
                    "SELECT 1 FROM petrel.metric_seal WHERE writer = $1", [.int8(writer)])
                guard isOurs.count == 1 else { throw Self.anotherWriter }
                // All of the log: no hour goes that has a number past those that seals have reached.
                let rows = try session.query(
                    """
                    SELECT number, ts, series, vals, data FROM petrel.ingest_batch
                    WHERE number = ANY ($1) AND ts IS NOT NULL ORDER BY number, part
                    """, [.int8Array(doubtful)])
                var unknownCount = 0
                for row in 0..<rows.count {
                    unknownCount += try Self.insert(
                        rows, at: row, 1, number: try rows.integer(row, 0), after: .min, hour: now,
                        catalogue, metrics)
                }
                return unknownCount
            }
        }
        note(unknownCount: unknownCount)
        metrics.history.note(earliest: .min)
        for number in doubtful { metrics.numbers.settle(number) }
    }

    // MARK: Sealing

    /// Seals the windows that are over, or all where the head is full. The number of chunks written. Throws `unavailable`
    /// where another collector took over.
    @discardableResult
    package func sealWhereDue() async throws(StorageError) -> Int {
        guard !isReplaced else { throw Self.anotherWriter }
        try await settleDoubts()
        try await undoDeletions()
        // Whoever sends a series that is being removed waits for it.
        do throws(StorageError) { try await finishRemovals() } catch {
            logger.warning("series could not be removed yet", metadata: ["error": "\(error)"])
        }
        let now = clock.now.milliseconds.rawValue
        let window = MetricHead.windowMilliseconds
        let end = MetricHead.windowEnd(now - Self.sealGraceMilliseconds) - window
        var count = 0
        let sealedThrough = metrics.progress.withLock { progress in
            // The clock was ahead and was set back: the windows of now are still to come.
            if progress.sealedThrough > end + window { progress.sealedThrough = .min }
            return progress.sealedThrough
        }
        if sealedThrough < end {
            count = try await seal(through: end)
            metrics.progress.withLock { $0.sealedThrough = end }
        }
        if metrics.head.sampleCount > configuration.headSamplesMax {
            count += try await seal(through: .max)
        }
        return count
    }

    /// Writes the head's samples at or before `through` as chunks. The number of chunks written.
    func seal(through: Int64) async throws(StorageError) -> Int {
        await metrics.sealing.acquire()
        defer { metrics.sealing.release() }
        guard let writer = try await currentWriter() else {
            guard !isReplaced else { throw Self.anotherWriter }
            return 0
        }
        try await undoDeletions()
        // Numbers that settle from here on may be in these chunks and will be read again after a crash: no harm.
        let number = metrics.numbers.settledThrough
        let all: [SealedChunk]
        let rest: MetricHead.SealRest
        do throws(ChunkError) {
            (all, rest) = try metrics.head.seal(through: through)
        } catch {
            metrics.head.unsealed()
            throw .corrupt("the head: \(error)")
        }
        let (chunks, expiredCount) = catalogue.kept(all, clock: clock.now.milliseconds)
        do throws(StorageError) {
            try await write(chunks, writer: writer, number: number, through: through)
        } catch {
            metrics.head.unsealed()
            metrics.progress.withLock { $0.counts.failures += 1 }
            throw error
        }
        metrics.cache.forget(
            Set(chunks.map { ChunkWindow(group: $0.chunk.group, holding: $0.chunk.first) }))
        metrics.head.sealed(all, rest)
        metrics.progress.withLock { progress in
            progress.expiredSamples += expiredCount
            progress.counts.seals += 1
            progress.counts.chunks += chunks.count
            progress.counts.samples += chunks.reduce(0) { $0 + $1.chunk.sampleCount }
            progress.counts.bytes += chunks.reduce(0) { $0 + $1.chunk.data.count }
        }
        return chunks.count
    }

    private func write(
        _ chunks: [(chunk: SealedChunk, retentionClass: Int16)], writer: Int64, number: Int64,
        through: Int64
    ) async throws(StorageError) {
        for key in Self.partitionKeys(chunks) { try await ensureChunkPartition(key) }
        let seriesDays = catalogue.unwrittenDays(of: chunks)
        try await writeData { session in
            try session.transaction { session in
                let rows = try session.query(
                    """
                    UPDATE petrel.metric_seal SET seal = seal + 1, number = $2, through_ms = $3
                    WHERE writer = $1 RETURNING seal
                    """, [.int8(writer), .int8(number), .int8(through)])
                guard rows.count == 1 else { throw Self.anotherWriter }
                try Self.copy(chunks, seriesDays, seal: try rows.integer(0, 0), session)
            }
        }
        catalogue.noteWritten(seriesDays)
    }
}

/// Rows of `petrel.chunk` in the order of `copy`.
let copyChunksSQL = """
    COPY petrel.chunk (day, grp, first_ms, last_ms, seal, sample_count, data, class)
    FROM STDIN (FORMAT binary)
    """

/// Days since the Unix epoch of a time in milliseconds.
func dayOf(_ milliseconds: Int64) -> Int32 {
    let day = milliseconds / 86_400_000
    return Int32(clamping: milliseconds % 86_400_000 < 0 ? day - 1 : day)
}

/// Seals what is due every few seconds until shutdown, and tries again where it failed.
package struct SealService: Service {
    static let pauseNanoseconds: Int64 = 5_000_000_000
    private let store: CollectorStore

    package init(store: CollectorStore) { self.store = store }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(StorageError) {
                    let count = try await store.sealWhereDue()
                    if count > 0 {
                        store.logger.info("metrics sealed", metadata: ["chunks": "\(count)"])
                    }
                } catch {
                    if Task.isCancelled { return }
                    // That another collector took over was said once.
                    if !store.isReplaced {
                        store.logger.error(
                            "metrics could not be sealed; they stay in memory and in the log",
                            metadata: ["error": "\(error)"])
                    }
                }
                do { try await store.clock.sleep(nanoseconds: Self.pauseNanoseconds) } catch {
                    return
                }
            }
        }
    }
}
