import ChunkCodec
import Model
import Postgres
import Storage
import Synchronization

/// The label sets that the database knows, in memory: series, log streams and hosts. Follows the database: a number
/// enters only after the transaction that made it has committed.
final class Catalogue: Sendable {
    /// A host that has no row: the collector itself.
    static let collectorHost: Int32 = 0

    struct SeriesState: Sendable {
        var index = LabelIndex()
        var lives = NumberTable<SeriesLife>()
        var days = SeriesDays()
        var budget = SeriesBudget()
        var places = SeriesPlaces()
        /// Metadata as stored, by metric name.
        var metadata: [ExactText: [MetricMetadata]] = [:]
        /// In the order of their making.
        var deletions: [Deletion] = []
        /// There may be tombstones of a deletion that was not finished.
        var hasStrayTombstones = false
        /// Series that have no samples left and are about to be removed.
        var leaving: Set<Int32> = []
        /// Of these, those whose removal is under way in the database.
        var removing: Set<Int32> = []
    }

    let series = Mutex(SeriesState())
    let streams = Mutex(LabelIndex())
    let retention: Mutex<RetentionClasses>
    private let hostNumbers = Mutex<[HostName: Int32]>([:])

    /// Reads everything from the database; `now` in hours since the Unix epoch.
    static func load(
        _ pool: PostgresPool, _ configuration: StoreConfiguration, now: Int32
    ) async throws -> Catalogue {
        try await pool.withSession { session in
            let catalogue = Catalogue(try RetentionClasses.load(session, configuration))
            try catalogue.load(session, now: now)
            try session.forEachRow(
                "SELECT id, label_key FROM petrel.log_stream ORDER BY id", []
            ) { row in try catalogue.addStream(row, at: 0) }
            return catalogue
        }
    }

    private init(_ retention: RetentionClasses) { self.retention = Mutex(retention) }

    /// Reads all series and their days anew, in place of what it knew. `now` in hours since the Unix epoch.
    func load(_ session: PostgresSession, now: Int32) throws {
        var state = SeriesState()
        state.budget.hour = now
        try session.forEachRow(Self.seriesSQL + " ORDER BY id", []) { row in
            try Self.addSeries(row, at: 0, seenHour: .min, to: &state)
        }
        try state.loadDeletions(session)
        try state.loadDays(session)
        let last = try session.query("SELECT coalesce(max(grp), -1) FROM petrel.chunk").int4(0, 0)
        state.places.startGroups(after: last)
        let loaded = state
        series.withLock { $0 = loaded }
    }

    /// Takes in series that it does not know yet.
    func loadNew(_ session: PostgresSession, now: Int32) throws {
        try session.forEachRow(Self.seriesSQL + " ORDER BY id", []) { row in
            try addSeries(row, at: 0, seenHour: now)
        }
    }

    /// The columns that `addSeries` takes.
    static let seriesSQL =
        "SELECT id, label_key, host_id, type, help, unit, grp, slot, class FROM petrel.series"

    /// Takes a row of `seriesSQL`.
    func addSeries(_ rows: PostgresRows, at row: Int, seenHour: Int32) throws {
        try series.withLock {
            try Self.addSeries(rows, at: row, seenHour: seenHour, to: &$0)
        }
    }

    private static func addSeries(
        _ rows: PostgresRows, at row: Int, seenHour: Int32, to state: inout SeriesState
    ) throws {
        let number = try rows.int4(row, 0)
        let key = rows.bytes(row, 1)
        guard let decoded = Labels(key: key) else {
            throw StorageError.corrupt("series \(number): its label key does not decode")
        }
        let host: Int32? = rows.isNull(row, 2) ? nil : try rows.int4(row, 2)
        let metadata = MetricMetadata(
            type: MetricType(rawValue: rows.text(row, 3)) ?? .unknown, help: rows.text(row, 4),
            unit: rows.text(row, 5))
        let place = SeriesPlace(
            group: try rows.int4(row, 6), slot: Int16(clamping: try rows.integer(row, 7)))
        let retentionClass = Int16(clamping: try rows.integer(row, 8))
        let isNew = state.lives[number] == nil
        if isNew { state.index.insert(decoded, key: key, number: number) }
        // The index' own texts, so that what is kept of them below takes no memory of its own.
        let labels = state.index.labels(of: number) ?? decoded
        if isNew {
            state.begin(
                number, host: host, hour: seenHour, metric: labels.metricName,
                retentionClass: retentionClass)
        } else {
            state.lives.change(number) { $0.host = host }
        }
        state.places.insert(number, labels, host: host, retentionClass, at: place)
        let metric = ExactText(labels.metricName)
        let known = state.metadata[metric] ?? []
        if !known.contains(metadata) { state.metadata[metric] = known + [metadata] }
    }

    /// Takes a row of `id, label_key`.
    func addStream(_ rows: PostgresRows, at row: Int) throws {
        let number = try rows.int4(row, 0)
        let key = rows.bytes(row, 1)
        guard let labels = Labels(key: key) else {
            throw StorageError.corrupt("log stream \(number): its label key does not decode")
        }
        streams.withLock { $0.insert(labels, key: key, number: number) }
    }

    /// Where the samples of these series go; nil where a series is unknown.
    func places(of numbers: [Int32]) -> [SeriesPlace?] {
        series.withLock { state in numbers.map { state.places[$0] } }
    }

    /// The same for samples of one time that were received in `hour`, and notes that they have some.
    func places(of numbers: [Int32], at timestamp: Int64, hour: Int32) -> [SeriesPlace?] {
        series.withLock { state in
            state.see(numbers, hour: hour)
            state.mark(numbers, day: dayOf(timestamp))
            return numbers.map { state.places[$0] }
        }
    }

    /// The same for columns of samples.
    func places(of numbers: [Int32], _ columns: [ChunkColumn], hour: Int32) -> [SeriesPlace?] {
        series.withLock { state in
            state.see(numbers, hour: hour)
            for (number, column) in zip(numbers, columns) { state.mark(number, column) }
            return numbers.map { state.places[$0] }
        }
    }

    /// The retention class of each series; nil where it is unknown.
    func retentionClasses(of numbers: [Int32]) -> [Int16?] {
        series.withLock { state in numbers.map { state.lives[$0]?.retentionClass } }
    }

    /// The chunks of days that are still kept, and the samples of the others: they became too old while they waited. The
    /// newest of all says what is old where the clock is ahead of it: one that has jumped must not cost what waits.
    func kept(
        _ chunks: [SealedChunk], clock: TimestampMS
    ) -> (chunks: [(chunk: SealedChunk, retentionClass: Int16)], expiredCount: Int) {
        let retained = retention.withLock { $0 }
        let newest = chunks.lazy.map(\.last).max() ?? 0
        let now = min(clock, TimestampMS(max(newest, 0)))
        return series.withLock { state in
            var kept: [(chunk: SealedChunk, retentionClass: Int16)] = []
            var expiredCount = 0
            for chunk in chunks {
                let number = state.places.retentionClass(of: chunk.group)
                if dayOf(chunk.first) >= retained.firstDay(of: number, now: now) {
                    kept.append((chunk, number))
                } else {
                    expiredCount += chunk.sampleCount
                }
            }
            return (kept, expiredCount)
        }
    }

    /// Which series have samples in these chunks on days of which the database does not know it.
    func unwrittenDays(
        of chunks: [(chunk: SealedChunk, retentionClass: Int16)]
    ) -> [SeriesDays.Key: NumberSet] {
        series.withLock { state in
            var found: [SeriesDays.Key: NumberSet] = [:]
            for (chunk, retentionClass) in chunks {
                let key = SeriesDays.Key(
                    retentionClass: retentionClass, day: dayOf(chunk.first))
                for number in state.places.numbers(in: chunk.group, slots: chunk.slots) {
                    found[key, default: NumberSet()].insert(number)
                }
            }
            return state.days.unwritten(found)
        }
    }

    /// These were committed.
    func noteWritten(_ days: [SeriesDays.Key: NumberSet]) {
        series.withLock { $0.days.noteWritten(days) }
    }

    func knownHost(_ host: HostName) -> Int32? { hostNumbers.withLock { $0[host] } }

    func addHost(_ host: HostName, _ number: Int32) {
        hostNumbers.withLock { $0[host] = number }
    }
}

extension Catalogue.SeriesState {
    /// Reads which series have samples on which days. Which of them are active is seen from the log.
    mutating func loadDays(_ session: PostgresSession) throws {
        try session.forEachRow(
            "SELECT class, day, series, seal FROM petrel.series_day ORDER BY class, day, seal", []
        ) { row in
            let key = SeriesDays.Key(
                retentionClass: Int16(clamping: try row.integer(0, 0)), day: try row.int4(0, 1))
            let seal = try row.integer(0, 3)
            var set = NumberSet(bytes: row.bytes(0, 2))
            for deletion in deletions where deletion.seal >= seal && deletion.covers(day: key.day) {
                set.subtract(deletion.series)
            }
            days.load(set, key)
        }
    }

    /// What was noted of a day holds no more.
    mutating func unmark(day: Int32) {
        lives.changeAll { _, life in if life.markedDay == day { life.markedDay = .min } }
    }

    /// Notes that these series have a sample on a day.
    mutating func mark(_ numbers: [Int32], day: Int32) {
        for number in numbers { mark(number, day: day) }
    }

    mutating func mark(_ number: Int32, day: Int32) {
        var key: SeriesDays.Key?
        lives.change(number) { life in
            guard life.markedDay != day else { return }
            life.markedDay = day
            key = SeriesDays.Key(retentionClass: life.retentionClass, day: day)
        }
        if let key { days.insert(number, key) }
    }

    /// Notes the days of a column.
    mutating func mark(_ number: Int32, _ column: ChunkColumn) {
        var next = Int64.min
        for times in [column.timestamps, column.histograms.map(\.timestamp)] {
            next = .min
            for time in times where time >= next {
                let day = dayOf(time)
                mark(number, day: day)
                next = (Int64(day) + 1) * 86_400_000
            }
        }
    }
}

extension CollectorStore {
    /// The host's number; its row is made where there is none.
    func hostNumber(_ host: HostName) async throws(StorageError) -> Int32 {
        if let known = catalogue.knownHost(host) { return known }
        let number = try await write { session in try hostRow(host, session) }
        catalogue.addHost(host, number)
        return number
    }
}

/// Finds or makes the row of a host.
func hostRow(_ host: HostName, _ session: PostgresSession) throws(PostgresError) -> Int32 {
    // The pointless update makes RETURNING answer for an existing row too, in one statement.
    let rows = try session.query(
        """
        INSERT INTO petrel.host (name) VALUES ($1)
        ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
        """, [.text(host.text)])
    return try rows.int4(0, 0)
}
