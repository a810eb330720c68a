package import Model
import Postgres
package import Storage
import Synchronization

extension CollectorStore {
    package func intern(
        _ series: [SeriesDefinition], host: HostName
    ) async throws(StorageError) -> [SeriesID?] {
        try await intern(series, host: try await hostNumber(host))
    }

    /// Numbers of series; see `IngestWriter.intern`. `host` is 0 for the collector itself.
    func intern(
        _ series: [SeriesDefinition], host: Int32
    ) async throws(StorageError) -> [SeriesID?] {
        let keys = series.map(\.labels.key)
        var result = [SeriesID?](repeating: nil, count: series.count)
        var missing: [Int] = []
        var shared: [Int32] = []
        catalogue.series.withLock { state in
            var room = configuration.seriesMax - state.index.count
            // What the collector makes itself or is pushed from anywhere is no host's.
            if host != Catalogue.collectorHost {
                room = min(
                    room, configuration.seriesPerHostMax - (state.countByHost[host] ?? 0))
            }
            var fresh: Set<[UInt8]> = []
            for (index, key) in keys.enumerated() {
                if let number = state.index.number(ofKey: key) {
                    result[index] = SeriesID(rawValue: number)
                    if let known = state.hosts[number], let sender = known, sender != host {
                        shared.append(number)
                    }
                } else if fresh.contains(key) || room > 0 {
                    if fresh.insert(key).inserted { room -= 1 }
                    missing.append(index)
                }
            }
        }
        if !shared.isEmpty { try await markShared(shared) }
        guard !missing.isEmpty else { return result }
        let numbers = try await makeSeries(missing.map { (series[$0], keys[$0]) }, host: host)
        for index in missing { result[index] = numbers[keys[index]].map { SeriesID(rawValue: $0) } }
        return result
    }

    /// Makes rows for sets that memory does not know, and takes them into memory once they are committed.
    private func makeSeries(
        _ wanted: [(SeriesDefinition, [UInt8])], host: Int32
    ) async throws(StorageError) -> [[UInt8]: Int32] {
        for _ in 1..<Self.placeAttemptsMax {
            do throws(StorageError) {
                return try await attemptSeries(wanted, host: host)
            } catch {
                guard case .refused(let text) = error, text.contains("\"series_place\"") else {
                    throw error
                }
                // Another collector gave a place to a series of its own: learn what it made, and take others.
                let catalogue = catalogue
                try await write { try catalogue.load($0) }
            }
        }
        return try await attemptSeries(wanted, host: host)
    }

    /// How often places are chosen anew where another collector takes the same at the same moment.
    private static let placeAttemptsMax = 10

    private func attemptSeries(
        _ wanted: [(SeriesDefinition, [UInt8])], host: Int32
    ) async throws(StorageError) -> [[UInt8]: Int32] {
        // Ordered, so that two writers that make the same series wait for each other in one order.
        let ordered = wanted.sorted { $0.1.lexicographicallyPrecedes($1.1) }
        let catalogue = catalogue
        let places = catalogue.series.withLock { state in
            ordered.map { state.places.reserve($0.0.labels, host: host) }
        }
        let hasShared = try await write { session in
            try session.pipeline([
                PostgresStatement(
                    """
                    INSERT INTO petrel.series
                        (fingerprint, label_key, labels, metric, host_id, type, help, unit, grp,
                            slot)
                    SELECT f, k, l::jsonb, m, $5, t, h, u, g, s
                    FROM unnest($1::int8[], $2::bytea[], $3::text[], $4::text[], $6::text[],
                        $7::text[], $8::text[], $9::int4[], $10::int4[])
                        AS new (f, k, l, m, t, h, u, g, s)
                    ON CONFLICT (digest) DO NOTHING
                    """,
                    [
                        .int8Array(ordered.map { Int64(bitPattern: $0.0.labels.fingerprint) }),
                        .byteaArray(ordered.map(\.1)),
                        .textArray(ordered.map(\.0.labels.json)),
                        .textArray(ordered.map { withoutNUL($0.0.labels.metricName) }),
                        .int4(host), .textArray(ordered.map(\.0.metadata.type.rawValue)),
                        .textArray(ordered.map { withoutNUL($0.0.metadata.help) }),
                        .textArray(ordered.map { withoutNUL($0.0.metadata.unit) }),
                        .int4Array(places.map(\.group)), .int4Array(places.map { Int32($0.slot) }),
                    ])
            ])
            let rows = try session.query(
                """
                SELECT id, label_key, host_id, type, help, unit, grp, slot FROM petrel.series
                WHERE digest IN (SELECT sha256(k) FROM unnest($1::bytea[]) AS wanted (k))
                """, [.byteaArray(ordered.map(\.1))])
            var foreign: [Int32] = []
            for row in 0..<rows.count {
                try catalogue.addSeries(rows, at: row)
                if !rows.isNull(row, 2), try rows.int4(row, 2) != host {
                    foreign.append(try rows.int4(row, 0))
                }
            }
            return foreign
        }
        if !hasShared.isEmpty { try await markShared(hasShared) }
        return catalogue.series.withLock { state in
            var numbers: [[UInt8]: Int32] = [:]
            for (_, key) in ordered { numbers[key] = state.index.number(ofKey: key) }
            return numbers
        }
    }

    /// Notes that more than one host sends these series, so that readers look in all hosts' rows.
    private func markShared(_ numbers: [Int32]) async throws(StorageError) {
        try await write { session in
            _ = try session.query(
                "UPDATE petrel.series SET host_id = NULL WHERE id = ANY ($1)",
                [.int4Array(numbers)])
        }
        catalogue.series.withLock { state in
            for number in numbers { state.hosts[number] = .some(nil) }
        }
    }

    /// Numbers of log streams. Throws `limitExceeded` past `log_streams_max`.
    func internStreams(_ streams: [Labels]) async throws(StorageError) -> [Int32] {
        let keys = streams.map(\.key)
        let (missing, count) = catalogue.streams.withLock { index in
            (Set(keys.filter { index.number(ofKey: $0) == nil }), index.count)
        }
        if !missing.isEmpty {
            guard count + missing.count <= configuration.logStreamsMax else {
                throw .limitExceeded(
                    limit: "limits.log_streams_max", maximum: configuration.logStreamsMax)
            }
            let ordered = missing.sorted { $0.lexicographicallyPrecedes($1) }
            let texts = ordered.map { Labels(key: $0)?.json ?? "{}" }
            let catalogue = catalogue
            try await write { session in
                try session.query(
                    """
                    INSERT INTO petrel.log_stream (label_key, labels)
                    SELECT k, l::jsonb FROM unnest($1::bytea[], $2::text[]) AS new (k, l)
                    ON CONFLICT (digest) DO NOTHING
                    """, [.byteaArray(ordered), .textArray(texts)])
                let rows = try session.query(
                    """
                    SELECT id, label_key FROM petrel.log_stream
                    WHERE digest IN (SELECT sha256(k) FROM unnest($1::bytea[]) AS wanted (k))
                    """, [.byteaArray(ordered)])
                for row in 0..<rows.count { try catalogue.addStream(rows, at: row) }
            }
        }
        return try catalogue.streams.withLock { index throws(StorageError) in
            var numbers: [Int32] = []
            for key in keys {
                guard let number = index.number(ofKey: key) else {
                    throw .refused("a log stream vanished while it was stored")
                }
                numbers.append(number)
            }
            return numbers
        }
    }
}
