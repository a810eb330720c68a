import ChunkCodec
import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// Deleting series (`POST …/admin/tsdb/delete_series`): what was received so far of some series in a range of time is not
// shown any more. The samples stay where they are until their chunks are rewritten (TombstoneCleaning.swift) or dropped;
// readers leave them out by seal and number. What is received later at the same times, as after a wrong import was
// deleted, is shown.
//
// Memory's head knows no numbers, so the line between before and after is drawn while no call is under way: new calls wait
// for as long as one small transaction takes.

/// Samples of some series that are not shown any more.
struct Deletion: Sendable {
    var id: Int64
    /// Milliseconds since the epoch, both inclusive.
    var from: Int64
    var through: Int64
    /// Of chunks up to this seal.
    var seal: Int64
    /// Of rows of the log up to this number.
    var number: Int64
    /// When it was made, milliseconds since the epoch.
    var at: Int64
    /// No chunk holds them any more.
    var isCleaned = false
    var series = NumberSet()

    /// Whether all samples of a day are deleted that had been received.
    func covers(day: Int32) -> Bool {
        let start = Int64(day) * 86_400_000
        return from <= start
            && (through >= start + 86_399_999
                || through >= at + CollectorStore.aheadMillisecondsMax)
    }

    /// Whether it is of all times.
    var isWhole: Bool { from <= 0 && through >= at + CollectorStore.aheadMillisecondsMax }
}

extension ChunkColumn {
    /// Leaves out the samples from `first` through `last`, both inclusive.
    mutating func remove(_ first: Int64, through last: Int64) {
        guard let start = self.first, let end = self.last, first <= end, last >= start else {
            return
        }
        var kept = first > start ? cut(after: .min, through: first - 1) : ChunkColumn()
        if last < end { kept.merge(cut(after: last, through: .max)) }
        self = kept
    }
}

extension Catalogue.SeriesState {
    /// Reads the deletions in force.
    mutating func loadDeletions(_ session: PostgresSession) throws {
        let rows = try session.query(
            "SELECT id, from_ms, to_ms, seal, number, at, cleaned FROM petrel.deletion ORDER BY id")
        var found: [Int64: Deletion] = [:]
        for row in 0..<rows.count {
            let id = try rows.integer(row, 0)
            found[id] = Deletion(
                id: id, from: try rows.integer(row, 1), through: try rows.integer(row, 2),
                seal: try rows.integer(row, 3), number: try rows.integer(row, 4),
                at: try rows.integer(row, 5), isCleaned: rows.bool(row, 6))
        }
        try session.forEachRow("SELECT deletion_id, series_id FROM petrel.tombstone", []) { row in
            let number = try row.int4(0, 1)
            let id = try row.integer(0, 0)
            if found[id] == nil { hasStrayTombstones = true }
            found[id]?.series.insert(number)
        }
        deletions = found.values.sorted { $0.id < $1.id }
    }

    /// Takes in a deletion that was committed.
    mutating func apply(_ deletion: Deletion) {
        deletions.append(deletion)
        for key in days.sets.keys where deletion.covers(day: key.day) {
            days.subtract(deletion.series, key)
            unmark(day: key.day)
        }
        guard deletion.isWhole else { return }
        // They count no more, unless they come again.
        var ended: [(number: Int32, host: Int32?)] = []
        lives.changeAll { number, life in
            guard deletion.series.contains(number) else { return }
            if life.isActive { ended.append((number, life.host)) }
            life.isActive = false
            life.seenHour = .min
        }
        for (number, host) in ended {
            guard let labels = index.labels(of: number) else { continue }
            budget.active.add(host: host, metric: ExactText(labels.metricName), by: -1)
        }
    }

    /// What is deleted of these groups, by slot; groups of which nothing is are left out.
    func deletions(
        in groups: some Sequence<Int32>
    ) -> [Int32: [(slot: Int, deletion: Deletion)]] {
        guard !deletions.isEmpty else { return [:] }
        var result: [Int32: [(slot: Int, deletion: Deletion)]] = [:]
        for group in groups {
            for number in places.numbers(in: group, slots: .max) {
                guard let place = places[number] else { continue }
                for deletion in deletions where deletion.series.contains(number) {
                    result[group, default: []].append((Int(place.slot), deletion))
                }
            }
        }
        return result
    }

    /// All series of which something is deleted.
    var deletedSeries: NumberSet {
        var union = NumberSet()
        for deletion in deletions { union.formUnion(deletion.series) }
        return union
    }
}

extension Catalogue {
    /// Of a row of the log with this number: what is deleted of each series, by its place in `series`; mostly nothing.
    func deleted(_ series: [Int32], number: Int64) -> [Int: [Deletion]] {
        self.series.withLock { state in
            let later = state.deletions.filter { $0.number >= number }
            guard !later.isEmpty else { return [:] }
            var result: [Int: [Deletion]] = [:]
            for (index, number) in series.enumerated() {
                let found = later.filter { $0.series.contains(number) }
                if !found.isEmpty { result[index] = found }
            }
            return result
        }
    }
}

extension CollectorStore: SeriesDeleter {
    /// Deletions in force at most; cleaning ends them.
    static let deletionsMax = 1_000

    /// Deletes what was received so far of the series in scope, from its start through its end. The number of series.
    ///
    /// Throws `limitExceeded` past `deletionsMax`, `unavailable` where it can't be told whether it was done: it was not, then,
    /// or it will be undone, unless the collector ends first. Tombstones of one that failed go at the next maintenance.
    package func deleteSeries(_ scope: LabelScope) async throws(StorageError) -> Int {
        await metrics.deleting.acquire()
        defer { metrics.deleting.release() }
        guard let writer = try await currentWriter() else { throw Self.anotherWriter }
        let (numbers, count) = try catalogue.series.withLock { state throws(StorageError) in
            (try state.index.matching(scope), state.deletions.count)
        }
        guard !numbers.isEmpty, scope.start <= scope.end else { return 0 }
        guard count < Self.deletionsMax else {
            throw .limitExceeded(
                limit: "deletions in force: call admin/tsdb/clean_tombstones",
                maximum: Self.deletionsMax)
        }
        // Until `endDeletions` has looked.
        catalogue.series.withLock { $0.hasStrayTombstones = true }
        let id = try await own { session in
            let id = try session.query("SELECT nextval('petrel.deletion_id')").integer(0, 0)
            try session.query(
                "INSERT INTO petrel.tombstone (series_id, deletion_id) SELECT unnest($1::int4[]), $2",
                [.int4Array(numbers), .int8(id)])
            return id
        }
        var deletion = Deletion(
            id: id, from: scope.start.rawValue, through: scope.end.rawValue, seal: 0, number: 0,
            at: clock.now.milliseconds.rawValue)
        for number in numbers { deletion.series.insert(number) }
        try await commit(deletion, writer, scope)
        let (from, through) = (deletion.from, deletion.through)
        try await own { session in
            _ = try session.query(
                "DELETE FROM petrel.exemplar WHERE series_id = ANY ($1) AND ts >= $2 AND ts <= $3",
                [.int4Array(numbers), .int8(from), .int8(through)])
        }
        logger.info(
            "series deleted",
            metadata: [
                "series": "\(numbers.count)", "from_ms": "\(deletion.from)",
                "to_ms": "\(deletion.through)",
            ])
        return numbers.count
    }

    /// Draws the line, commits, and lets memory follow.
    private func commit(
        _ wanted: Deletion, _ writer: Int64, _ scope: LabelScope
    ) async throws(StorageError) {
        try await settleDoubts()
        await metrics.sealing.acquire()
        defer { metrics.sealing.release() }
        await metrics.numbers.hold()
        defer { metrics.numbers.release() }
        guard metrics.numbers.doubtful.isEmpty else {
            throw .unavailable("calls to the database are under way whose outcome isn't known yet")
        }
        var deletion = wanted
        deletion.number = metrics.numbers.last
        do throws(StorageError) {
            deletion.seal = try await write(deletion, writer, scope)
        } catch {
            switch error {
            case .unavailable, .cancelled:
                metrics.progress.withLock { $0.undoneDeletions.append(wanted.id) }
                try? await undoDeletions()
            case .refused, .exhausted, .limitExceeded, .badMatcher, .corrupt, .seriesRemoved: break
            }
            throw error
        }
        let places = catalogue.series.withLock { state in
            state.apply(deletion)
            return state.places.all.filter { deletion.series.contains($0.number) }.map(\.place)
        }
        do throws(ChunkError) {
            try metrics.head.remove(places, deletion.from, through: deletion.through)
        } catch { throw .corrupt("the head: \(error)") }
        metrics.cache.forget(nil)
        metrics.history.note(earliest: deletion.from)
    }

    private func write(
        _ deletion: Deletion, _ writer: Int64, _ scope: LabelScope
    ) async throws(StorageError) -> Int64 {
        let subject = scope.matcherSets.map { set in
            "{"
                + set.map { "\($0.name)\($0.operation.rawValue)\"\($0.value)\"" }
                .joined(separator: ",") + "}"
        }.joined(separator: " ")
        return try await own { session in
            try session.transaction { session in
                // Who takes over reads what is deleted once, after it: this is there by then, or is refused.
                try Self.lockWriter(writer, session)
                let rows = try session.query(
                    """
                    INSERT INTO petrel.deletion (id, from_ms, to_ms, seal, number, at)
                    SELECT $1, $2, $3, m.seal, $4, $5 FROM petrel.metric_seal m
                    RETURNING seal
                    """,
                    [
                        .int8(deletion.id), .int8(deletion.from), .int8(deletion.through),
                        .int8(deletion.number), .int8(deletion.at),
                    ])
                try session.query(
                    "INSERT INTO petrel.audit (at, action, subject, detail) VALUES ($1, $2, $3, $4)",
                    [
                        .int8(deletion.at), .text("series.delete"),
                        .text(withoutNUL(String(subject.prefix(1_000)))),
                        .text("from \(deletion.from) ms through \(deletion.through) ms"),
                    ])
                return try rows.integer(0, 0)
            }
        }
    }

    /// Takes back deletions whose commit was not answered: memory did not follow them. Before any seal.
    func undoDeletions() async throws(StorageError) {
        let undone = metrics.progress.withLock { $0.undoneDeletions }
        guard !undone.isEmpty else { return }
        try await own { session in
            try session.transaction { session in
                // One whose commit is still under way is waited for.
                try session.query("SET LOCAL lock_timeout = '\(Self.takeOverMilliseconds)ms'")
                try session.query("LOCK TABLE petrel.deletion IN EXCLUSIVE MODE")
                try session.query(
                    "DELETE FROM petrel.deletion WHERE id = ANY ($1)", [.int8Array(undone)])
            }
        }
        metrics.progress.withLock { $0.undoneDeletions.removeAll { undone.contains($0) } }
    }

    /// Ends deletions of which neither a chunk nor a row of the log is left, and removes tombstones that belong to none.
    func endDeletions() async throws(StorageError) {
        await metrics.deleting.acquire()
        defer { metrics.deleting.release() }
        guard let writer = try await currentWriter() else { return }
        let left = try await own { session in
            try session.transaction { session in
                // Tombstones of another collector are there before their deletion is.
                try Self.lockWriter(writer, session)
                try session.query(
                    """
                    DELETE FROM petrel.deletion d
                    WHERE NOT EXISTS (
                        SELECT 1 FROM petrel.ingest_batch b
                        WHERE b.ts IS NOT NULL AND b.number <= d.number)
                    AND (d.cleaned OR NOT EXISTS (
                        SELECT 1 FROM petrel.tombstone t
                        JOIN petrel.series s ON s.id = t.series_id
                        JOIN petrel.chunk c ON c.grp = s.grp AND c.seal <= d.seal
                            AND c.first_ms <= d.to_ms AND c.last_ms >= d.from_ms
                        WHERE t.deletion_id = d.id))
                    """)
                try session.query(
                    """
                    DELETE FROM petrel.tombstone t
                    WHERE NOT EXISTS (SELECT 1 FROM petrel.deletion d WHERE d.id = t.deletion_id)
                    """)
                let rows = try session.query("SELECT id FROM petrel.deletion")
                return try (0..<rows.count).map { try rows.integer($0, 0) }
            }
        }
        catalogue.series.withLock { state in
            state.deletions.removeAll { !left.contains($0.id) }
            state.hasStrayTombstones = false
        }
    }
}
