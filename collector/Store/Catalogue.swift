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
        /// Host of each series by number; nil where several send it.
        var hosts: [Int32: Int32?] = [:]
        var countByHost: [Int32: Int] = [:]
        var places = SeriesPlaces()
        /// Metadata as stored, by metric name.
        var metadata: [String: [MetricMetadata]] = [:]
    }

    let series = Mutex(SeriesState())
    let streams = Mutex(LabelIndex())
    private let hostNumbers = Mutex<[HostName: Int32]>([:])

    /// Reads everything from the database.
    static func load(
        _ pool: PostgresPool, configuration: StoreConfiguration
    ) async throws -> Catalogue {
        let catalogue = Catalogue()
        try await pool.withSession { try catalogue.load($0) }
        return catalogue
    }

    /// Takes in what it does not know yet.
    func load(_ session: PostgresSession) throws {
        try session.forEachRow(
            """
            SELECT id, label_key, host_id, type, help, unit, grp, slot FROM petrel.series
            ORDER BY id
            """, []
        ) { row in try addSeries(row, at: 0) }
        try session.forEachRow(
            "SELECT id, label_key FROM petrel.log_stream ORDER BY id", []
        ) { row in try addStream(row, at: 0) }
    }

    /// Takes a row of `id, label_key, host_id, type, help, unit, grp, slot`.
    func addSeries(_ rows: PostgresRows, at row: Int) throws {
        let number = try rows.int4(row, 0)
        let key = rows.bytes(row, 1)
        guard let labels = Labels(key: key) else {
            throw StorageError.corrupt("series \(number): its label key does not decode")
        }
        let host: Int32? = rows.isNull(row, 2) ? nil : try rows.int4(row, 2)
        let metadata = MetricMetadata(
            type: MetricType(rawValue: rows.text(row, 3)) ?? .unknown, help: rows.text(row, 4),
            unit: rows.text(row, 5))
        let place = SeriesPlace(
            group: try rows.int4(row, 6), slot: Int16(clamping: try rows.integer(row, 7)))
        series.withLock { state in
            if state.index.number(ofKey: key) == nil, let host {
                state.countByHost[host, default: 0] += 1
            }
            state.index.insert(labels, key: key, number: number)
            state.places.insert(number, labels, host: host, at: place)
            state.hosts[number] = .some(host)
            let known = state.metadata[labels.metricName] ?? []
            if !known.contains(metadata) {
                state.metadata[labels.metricName] = known + [metadata]
            }
        }
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

    func knownHost(_ host: HostName) -> Int32? { hostNumbers.withLock { $0[host] } }

    func addHost(_ host: HostName, _ number: Int32) {
        hostNumbers.withLock { $0[host] = number }
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
