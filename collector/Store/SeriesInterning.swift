package import Model
import Postgres
package import Storage
import Synchronization
import World

/// Who sends series: what limits them depends on it.
enum SeriesSender: Sendable {
    case host(Int32, HostName)
    /// Over HTTP, from anywhere.
    case pushed
    /// The collector itself.
    case own

    /// As rows have it.
    var hostNumber: Int32 {
        if case .host(let number, _) = self { number } else { Catalogue.collectorHost }
    }

    /// Whose limit counts; nil: no host's.
    var limitedHost: Int32? { if case .host(let number, _) = self { number } else { nil } }

    var isOwn: Bool { if case .own = self { true } else { false } }
}

extension CollectorStore {
    package func intern(
        _ series: [SeriesDefinition], host: HostName
    ) async throws(StorageError) -> [SeriesID?] {
        try await intern(series, from: .host(try await hostNumber(host), host))
    }

    /// What memory knows of the series that a call asks for.
    private struct Answers {
        var numbers: [SeriesID?]
        /// Indexes of those to be made.
        var missing: [Int] = []
        /// Counted until they are made.
        var reserved = SeriesCounts()
        var shared: [Int32] = []
        /// Series of which the host says something else than is known of their metric.
        var retold: [(number: Int32, metric: String, metadata: MetricMetadata)] = []
        var refused = SeriesRefusals.Tally()
        /// Of the first series that was refused.
        var refusedHost = ""
    }

    /// Numbers of series; see `IngestWriter.intern`.
    func intern(
        _ series: [SeriesDefinition], from sender: SeriesSender
    ) async throws(StorageError) -> [SeriesID?] {
        let keys = series.map(\.labels.key)
        var answers = try catalogue.series.withLock { state throws(StorageError) -> Answers in
            try self.answers(series, keys, sender, &state)
        }
        let reserved = answers.reserved
        defer { catalogue.series.withLock { $0.budget.reserved.subtract(reserved) } }
        if !answers.shared.isEmpty { try await markShared(answers.shared) }
        if !answers.retold.isEmpty { try await noteMetadata(answers.retold) }
        guard !answers.missing.isEmpty else {
            note(answers, sender)
            return answers.numbers
        }
        let numbers = try await makeSeries(
            answers.missing.map { (series[$0], keys[$0]) }, host: sender.hostNumber)
        for index in answers.missing {
            answers.numbers[index] = numbers[keys[index]].map { SeriesID(rawValue: $0) }
        }
        // What grew is looked at with what was just made.
        note(answers, sender)
        return answers.numbers
    }

    private func note(_ answers: Answers, _ sender: SeriesSender) {
        var host = answers.refusedHost
        if case .host(_, let name) = sender { host = name.text }
        note(answers.refused, host: host)
    }

    private func answers(
        _ series: [SeriesDefinition], _ keys: [[UInt8]], _ sender: SeriesSender,
        _ state: inout Catalogue.SeriesState
    ) throws(StorageError) -> Answers {
        state.countWhereDue(hour(clock.now))
        let maxima = seriesMaxima
        var answers = Answers(numbers: Array(repeating: nil, count: series.count))
        var fresh: Set<[UInt8]> = []
        for (index, key) in keys.enumerated() {
            if let number = state.index.number(ofKey: key) {
                guard !state.removing.contains(number) else {
                    // Before anything is reserved for good.
                    state.budget.reserved.subtract(answers.reserved)
                    throw .unavailable("a series is being removed that comes again: send it again")
                }
                if state.leaving.remove(number) != nil {
                    state.see([number], hour: hour(clock.now))
                }
                answers.numbers[index] = SeriesID(rawValue: number)
                if let host = state.lives[number]?.host, host != sender.hostNumber {
                    answers.shared.append(number)
                }
                if let told = state.news(of: series[index], from: sender) {
                    answers.retold.append((number, series[index].labels.metricName, told))
                }
                continue
            }
            if fresh.contains(key) {
                answers.missing.append(index)
                continue
            }
            let metric = ExactText(series[index].labels.metricName)
            if let scope = state.budget.refusal(
                host: sender.limitedHost, metric: metric, isOwn: sender.isOwn,
                knownCount: state.index.count, maxima)
            {
                if answers.refused.isEmpty { answers.refusedHost = series[index].labels["host"] }
                answers.refused.add(scope, host: sender.limitedHost, metric: metric)
                continue
            }
            fresh.insert(key)
            answers.missing.append(index)
            answers.reserved.add(host: sender.limitedHost, metric: metric)
            state.budget.reserved.add(host: sender.limitedHost, metric: metric)
        }
        return answers
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
                let now = hour(clock.now)
                catalogue.series.withLock { $0.places.abandonReservedGroups() }
                try await write { try catalogue.loadNew($0, now: now) }
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
        let now = hour(clock.now)
        let retained = catalogue.retention.withLock { $0 }
        let classes = ordered.map { retained.number(for: $0.0.labels) }
        let places = catalogue.series.withLock { state in
            zip(ordered, classes).map { state.places.reserve($0.0.labels, host: host, $1) }
        }
        let hasShared = try await writeData { session in
            try session.pipeline([
                PostgresStatement(
                    """
                    INSERT INTO petrel.series
                        (fingerprint, label_key, labels, metric, host_id, type, help, unit, grp,
                            slot, class)
                    SELECT f, k, l::jsonb, m, $5, t, h, u, g, s, c
                    FROM unnest($1::int8[], $2::bytea[], $3::text[], $4::text[], $6::text[],
                        $7::text[], $8::text[], $9::int4[], $10::int4[], $11::int4[])
                        AS new (f, k, l, m, t, h, u, g, s, c)
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
                        .int4Array(classes.map { Int32($0) }),
                    ])
            ])
            let rows = try session.query(
                Catalogue.seriesSQL
                    + " WHERE digest IN (SELECT sha256(k) FROM unnest($1::bytea[]) AS wanted (k))",
                [.byteaArray(ordered.map(\.1))])
            var foreign: [Int32] = []
            for row in 0..<rows.count {
                try catalogue.addSeries(rows, at: row, seenHour: now)
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
        catalogue.series.withLock { $0.share(numbers) }
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
            try await writeData { session in
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

extension Catalogue.SeriesState {
    /// What a host says of a series that may not be what its row says: another host's or an older one's may be known of its
    /// metric too. What says nothing takes nothing away.
    fileprivate func news(
        of series: SeriesDefinition, from sender: SeriesSender
    ) -> MetricMetadata? {
        guard case .host = sender, !series.metadata.help.isEmpty || !series.metadata.unit.isEmpty
        else { return nil }
        let known = metadata[ExactText(series.labels.metricName)] ?? []
        return known == [series.metadata] ? nil : series.metadata
    }
}
