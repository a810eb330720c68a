import ChunkCodec
import Logging
import Model
import Postgres
package import Storage
import Synchronization
import World

// Cleaning (`POST …/admin/tsdb/clean_tombstones`): chunks that hold deleted samples are written again without them, a few
// groups a transaction. Whatever stops it in between, what is done is done and the rest goes on being left out.

/// A row of `petrel.chunk` by its key.
private struct ChunkKey: Sendable {
    var retentionClass: Int16
    var day: Int32
    var group: Int32
    var first: Int64
    var seal: Int64
}

extension CollectorStore {
    /// Groups of one transaction, and rows of it in memory at once.
    private static let groupsPerStep = 8
    private static let rowsPerFetch = 100

    /// Rewrites the chunks that hold deleted samples. How many.
    @discardableResult
    package func cleanTombstones() async throws(StorageError) -> Int {
        let count = try await rewriteDeleted()
        try await endDeletions()
        return count
    }

    private func rewriteDeleted() async throws(StorageError) -> Int {
        await metrics.deleting.acquire()
        defer { metrics.deleting.release() }
        guard let writer = try await currentWriter() else { throw Self.anotherWriter }
        let (deletions, slots) = catalogue.series.withLock { state in
            let deletions = state.deletions.filter { !$0.isCleaned }
            var slots: [Int32: [(slot: Int, number: Int32)]] = [:]
            for (number, place) in state.places.all
            where deletions.contains(where: { $0.series.contains(number) }) {
                slots[place.group, default: []].append((Int(place.slot), number))
            }
            return (deletions, slots)
        }
        guard !deletions.isEmpty else { return 0 }
        let groups = slots.keys.sorted()
        var count = 0
        for start in stride(from: 0, to: groups.count, by: Self.groupsPerStep) {
            let step = Array(groups[start..<min(start + Self.groupsPerStep, groups.count)])
            let wanted = slots.filter { step.contains($0.key) }
            count += try await own { session in
                try session.transaction { session in
                    let count = try Self.rewrite(step, wanted, deletions, session)
                    try session.query(requireWriterSQL, [.int8(writer)])
                    return count
                }
            }
        }
        metrics.cache.forget(nil)
        try await finish(deletions, writer)
        logger.info("tombstones cleaned", metadata: ["chunks": "\(count)"])
        return count
    }

    private static func rewrite(
        _ groups: [Int32], _ slots: [Int32: [(slot: Int, number: Int32)]],
        _ deletions: [Deletion], _ session: PostgresSession
    ) throws -> Int {
        try session.query(
            """
            DECLARE deleted NO SCROLL CURSOR FOR
            SELECT class, day, grp, first_ms, seal, data FROM petrel.chunk
            WHERE grp = ANY ($1) AND seal <= $2 AND last_ms >= $3 AND first_ms <= $4
            """,
            [
                .int4Array(groups), .int8(deletions.map(\.seal).max() ?? 0),
                .int8(deletions.map(\.from).min() ?? 0),
                .int8(deletions.map(\.through).max() ?? 0),
            ])
        var count = 0
        while true {
            let rows = try session.query("FETCH \(rowsPerFetch) FROM deleted")
            guard rows.count > 0 else { break }
            var gone: [ChunkKey] = []
            var copy = BinaryCopyRows(columnCount: 8)
            for row in 0..<rows.count {
                let key = ChunkKey(
                    retentionClass: Int16(clamping: try rows.integer(row, 0)),
                    day: try rows.int4(row, 1), group: try rows.int4(row, 2),
                    first: try rows.integer(row, 3), seal: try rows.integer(row, 4))
                guard
                    let columns = try remaining(
                        rows.bytes(row, 5), slots[key.group] ?? [],
                        deletions.filter { $0.seal >= key.seal }, key)
                else { continue }
                gone.append(key)
                append(columns, key, to: &copy)
            }
            try replace(gone, copy, session)
            count += gone.count
        }
        try session.query("CLOSE deleted")
        return count
    }

    /// The columns of a chunk without what is deleted; nil where nothing of it is.
    private static func remaining(
        _ data: [UInt8], _ slots: [(slot: Int, number: Int32)], _ deletions: [Deletion],
        _ key: ChunkKey
    ) throws -> [ChunkColumn]? {
        do throws(ChunkError) {
            let chunk = try Chunk(data)
            var columns: [ChunkColumn] = []
            for slot in 0..<chunk.slotCount { columns.append(try chunk.column(slot: slot)) }
            var isChanged = false
            for (slot, number) in slots where slot < columns.count {
                let before = columns[slot].count
                for deletion in deletions where deletion.series.contains(number) {
                    columns[slot].remove(deletion.from, through: deletion.through)
                }
                if columns[slot].count != before { isChanged = true }
            }
            return isChanged ? columns : nil
        } catch {
            throw StorageError.corrupt(
                "a chunk of group \(key.group) from \(key.first) ms: \(error)")
        }
    }

    private static func append(
        _ columns: [ChunkColumn], _ key: ChunkKey, to copy: inout BinaryCopyRows
    ) {
        guard let first = columns.compactMap(\.first).min(),
            let last = columns.compactMap(\.last).max()
        else { return }
        copy.append([
            .int4(key.day), .int4(key.group), .int8(first), .int8(last), .int8(key.seal),
            .int4(Int32(clamping: columns.reduce(0) { $0 + $1.count })),
            .bytea(Chunk.encode(columns)), .int2(key.retentionClass),
        ])
    }

    private static func replace(
        _ gone: [ChunkKey], _ copy: BinaryCopyRows, _ session: PostgresSession
    ) throws {
        guard !gone.isEmpty else { return }
        try session.query(
            """
            DELETE FROM petrel.chunk c
            USING unnest($1::int4[], $2::int4[], $3::int4[], $4::int8[], $5::int8[])
                AS g (class, day, grp, first_ms, seal)
            WHERE c.class = g.class AND c.day = g.day AND c.grp = g.grp
                AND c.first_ms = g.first_ms AND c.seal = g.seal
            """,
            [
                .int4Array(gone.map { Int32($0.retentionClass) }), .int4Array(gone.map(\.day)),
                .int4Array(gone.map(\.group)), .int8Array(gone.map(\.first)),
                .int8Array(gone.map(\.seal)),
            ])
        if copy.count > 0 { try session.copyIn(copyChunksSQL, copy) }
    }

    /// No chunk holds them any more: the database says so, and on which days their series have nothing left.
    private func finish(_ deletions: [Deletion], _ writer: Int64) async throws(StorageError) {
        let ids = deletions.map(\.id)
        let catalogue = catalogue
        let written = try await own { session in
            try session.transaction { session in
                // What memory knows of the days must not replace what another collector has written since.
                try Self.lockWriter(writer, session)
                try session.query(
                    "UPDATE petrel.deletion SET cleaned = true WHERE id = ANY ($1)",
                    [.int8Array(ids)])
                let seal = try session.query("SELECT seal FROM petrel.metric_seal").integer(0, 0)
                let rows = try session.query(
                    "SELECT DISTINCT class, day FROM petrel.series_day WHERE seal <= $1",
                    [.int8(seal)])
                var written: [SeriesDays.Key: NumberSet] = [:]
                for row in 0..<rows.count {
                    let key = SeriesDays.Key(
                        retentionClass: Int16(clamping: try rows.integer(row, 0)),
                        day: try rows.int4(row, 1))
                    guard deletions.contains(where: { $0.covers(day: key.day) }) else { continue }
                    // All that the rows say, but for what was deleted.
                    let set = catalogue.series.withLock { $0.days.sets[key] } ?? NumberSet()
                    try session.query(
                        "DELETE FROM petrel.series_day WHERE class = $1 AND day = $2 AND seal <= $3",
                        [.int2(key.retentionClass), .int4(key.day), .int8(seal)])
                    guard !set.isEmpty else { continue }
                    try session.query(
                        "INSERT INTO petrel.series_day (class, day, seal, series) VALUES ($1, $2, $3, $4)",
                        [
                            .int2(key.retentionClass), .int4(key.day), .int8(seal),
                            .bytea(set.bytes),
                        ])
                    written[key] = set
                }
                return written
            }
        }
        // At once: a seal that looked in between would take for written what is to be written anew.
        catalogue.series.withLock { state in
            state.days.noteWritten(written)
            // The rows have the seal of now, and so may the deletions.
            let inForce = state.deletions
            for key in written.keys {
                for deletion in inForce where deletion.covers(day: key.day) {
                    state.days.forgetWritten(deletion.series, key)
                }
            }
            for index in state.deletions.indices where ids.contains(state.deletions[index].id) {
                state.deletions[index].isCleaned = true
            }
        }
    }
}
