import ChunkCodec
import Postgres

/// Looks at chunks one after the other: every column decodes, belongs to a series and lies where its row says, and queries
/// find it by `series_day`. In memory is what a start reads of places and days, and a bit for each series and day that
/// `series_day` lacks.
struct ChunkVerifier {
    /// The rows that `take` takes.
    static let rowsSQL = """
        SELECT class, day, grp, first_ms, last_ms, seal, sample_count, data FROM petrel.chunk
        """

    /// Series of a day that `series_day` lacks.
    private struct Lack {
        /// Series that are named; of the others it is said how many there are.
        static let namedMax = 5

        var series = NumberSet()
        var count = 0
        var named: [Int32] = []

        mutating func insert(_ number: Int32) {
            guard !series.contains(number) else { return }
            series.insert(number)
            count += 1
            if named.count < Self.namedMax { named.append(number) }
        }
    }

    /// The series of each place.
    private var numbers: [SeriesPlace: Int32] = [:]
    /// The retention class of each group's series: where queries look for their chunks.
    private var classes: [Int32: Int16] = [:]
    /// What is deleted at each place.
    private var deleted: [SeriesPlace: [(from: Int64, through: Int64, seal: Int64)]] = [:]
    /// As a start of the collector has them, without what deletions ended.
    private let days: SeriesDays
    private var lacks: [SeriesDays.Key: Lack] = [:]

    /// Reads all but the chunks themselves, in the snapshot of `session`.
    init(_ session: PostgresSession, _ report: inout StoreReport) throws {
        var state = Catalogue.SeriesState()
        try state.loadDeletions(session)
        try state.loadDays(session)
        days = state.days
        try session.forEachRow("SELECT grp, slot, id, class FROM petrel.series ORDER BY id", []) {
            row in
            let group = try row.int4(0, 0)
            let place = SeriesPlace(group: group, slot: Int16(clamping: try row.integer(0, 1)))
            numbers[place] = try row.int4(0, 2)
            // Of a group of two classes, as there were once, queries take the last that is not the first one.
            let found = Int16(clamping: try row.integer(0, 3))
            if found != 0 || classes[group] == nil { classes[group] = found }
        }
        try session.forEachRow(
            """
            SELECT t.series_id, s.grp, s.slot, d.from_ms, d.to_ms, d.seal FROM petrel.tombstone t
            JOIN petrel.deletion d ON d.id = t.deletion_id
            LEFT JOIN petrel.series s ON s.id = t.series_id
            """, []
        ) { row in
            guard !row.isNull(0, 1) else {
                report.note("a tombstone of series \(try row.integer(0, 0)), which is unknown")
                return
            }
            let place = SeriesPlace(
                group: try row.int4(0, 1), slot: Int16(clamping: try row.integer(0, 2)))
            deleted[place, default: []].append(
                (try row.integer(0, 3), try row.integer(0, 4), try row.integer(0, 5)))
        }
    }

    /// Looks at a row of `rowsSQL`.
    mutating func take(_ row: PostgresRows, _ report: inout StoreReport) throws {
        let key = SeriesDays.Key(
            retentionClass: Int16(clamping: try row.integer(0, 0)), day: try row.int4(0, 1))
        let group = try row.int4(0, 2)
        let seal = try row.integer(0, 5)
        let name = "chunk of group \(group) at \(try row.integer(0, 3)), seal \(seal)"
        let data = row.bytes(0, 7)
        report.chunkCount += 1
        report.chunkBytes += data.count
        if let expected = classes[group], expected != key.retentionClass {
            report.note(
                "\(name): it is of class \(key.retentionClass), its series are of class \(expected), "
                    + "where queries look")
        }
        do {
            let chunk = try Chunk(data)
            let told = [try row.integer(0, 3), try row.integer(0, 4), Int64(key.day)]
            let found = [
                chunk.timestamps.first, chunk.timestamps.last,
                chunk.timestamps.first.map { Int64(dayOf($0)) },
            ]
            if found != told { report.note("\(name): other times than its row says") }
            var count = 0
            for slot in 0..<chunk.slotCount {
                let column = try chunk.column(slot: slot)
                count += column.count
                let place = SeriesPlace(group: group, slot: Int16(slot))
                if !column.isEmpty, numbers[place] == nil {
                    report.note("\(name): slot \(slot) belongs to no series")
                }
                let left = remaining(column, at: place, seal: seal)
                report.deletedSampleCount += column.count - left.count
                if !left.isEmpty, let number = numbers[place] { require(number, key) }
            }
            report.chunkSampleCount += count
            if Int64(count) != (try row.integer(0, 6)) {
                report.note("\(name): \(count) samples, its row says another number")
            }
        } catch let error as ChunkError {
            report.note("\(name): \(error)")
        }
    }

    /// Reports what was seen over all chunks, a line a day.
    func finish(_ report: inout StoreReport) {
        for (key, lack) in lacks.sorted(by: { $0.key < $1.key }) {
            let names = lack.named.map(String.init).joined(separator: ", ")
            report.note(
                "series_day of class \(key.retentionClass), day \(key.day): it lacks \(lack.count) "
                    + "series that have samples then (\(names)\(lack.count > lack.named.count ? " …" : "")), "
                    + "which no query finds: write the day anew as docs/formats/storage.md says "
                    + "under \"A damaged series_day\"")
        }
    }

    /// What of a column of a chunk of this seal is not deleted.
    private func remaining(
        _ column: ChunkColumn, at place: SeriesPlace, seal: Int64
    ) -> ChunkColumn {
        var left = column
        for deletion in deleted[place] ?? [] where deletion.seal >= seal {
            left.remove(deletion.from, through: deletion.through)
        }
        return left
    }

    /// Notes a series that has samples on a day where `series_day` does not know it.
    private mutating func require(_ number: Int32, _ key: SeriesDays.Key) {
        guard days.sets[key]?.contains(number) != true, number >= 0 else { return }
        lacks[key, default: Lack()].insert(number)
    }
}
