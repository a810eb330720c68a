package import Model
import Postgres
package import Storage
import Synchronization

// Exemplars: rows of `petrel.exemplar`, committed with the samples that they came with, by whichever way.

/// How many exemplars were taken in the running minute. Safe from any thread.
final class ExemplarRate: Sendable {
    private let state = Mutex((minute: Int64.min, taken: 0))

    /// As many of `count` as the minute has room for below `max`. Give back what is not stored.
    func take(_ count: Int, minute: Int64, max: Int) -> Int {
        state.withLock { state in
            // A clock that goes back begins anew too.
            if state.minute != minute { state = (minute, 0) }
            let granted = Swift.max(0, min(count, max - state.taken))
            state.taken += granted
            return granted
        }
    }

    func giveBack(_ count: Int, minute: Int64) {
        state.withLock { state in
            if state.minute == minute { state.taken -= count }
        }
    }
}

/// What became of exemplars since the start.
struct ExemplarCounts: Sendable {
    var stored = 0
    /// Too old, or too far ahead.
    var untimely = 0
    /// Past what a series, or all of them together, may have in a minute.
    var excess = 0
}

extension CollectorStore {
    /// Counts what became of the exemplars of a call that was committed.
    func note(_ outcome: ExemplarRows.Outcome, untimely: Int, excess: Int) {
        guard outcome.storedCount + untimely + excess > 0 else { return }
        exemplarCounts.withLock { counts in
            counts.stored += outcome.storedCount
            counts.untimely += untimely
            counts.excess += excess
        }
    }

    func exemplarFamilies() -> [MetricFamily] {
        let counts = exemplarCounts.withLock { $0 }
        return [
            MetricFamily(
                "petrel_store_exemplars_total", .counter,
                help: "Exemplars stored, by any way in; what comes again is not stored again.",
                points: [.init([:], Double(counts.stored))]),
            MetricFamily(
                "petrel_store_exemplars_rejected_total", .counter,
                help: "Exemplars left out: past the bounds of a minute, too old or too far ahead.",
                points: [
                    .init(["reason": "limit"], Double(counts.excess)),
                    .init(["reason": "time"], Double(counts.untimely)),
                ]),
        ]
    }
}

/// The exemplars of a call, by day, ready to be written.
struct ExemplarRows: Sendable {
    /// What became of those of a call.
    struct Outcome: Sendable {
        /// Those that were not there.
        var freshCount = 0
        var storedCount = 0
    }

    /// The newest first.
    let days: [(day: Int32, exemplars: [PushedExemplar])]
    private let room: Int

    var isEmpty: Bool { days.isEmpty }

    /// `room` is how many that are not there yet may be stored.
    init(_ exemplars: some Sequence<PushedExemplar>, room: Int) {
        self.room = room
        var byDay: [Int32: [PushedExemplar]] = [:]
        for one in exemplars {
            byDay[dayOf(one.exemplar.timestamp.rawValue), default: []].append(one)
        }
        days = byDay.sorted { $0.key > $1.key }.map { ($0.key, $0.value) }
    }

    /// Of those of a call the ones that are looked for in the database: senders repeat what they sent before, which takes
    /// nothing of the `minuteMax` that may be stored a minute. Of too many the newest.
    static func candidates(
        _ exemplars: [PushedExemplar], minuteMax: Int
    ) -> some Collection<PushedExemplar> {
        let max = minuteMax * candidatesPerRoom
        guard exemplars.count > max else { return exemplars[...] }
        return exemplars.sorted { $0.exemplar.timestamp > $1.exemplar.timestamp }.prefix(max)
    }

    private static let candidatesPerRoom = 10

    /// Goes before `statements`, in their transaction. One transaction at a time counts and adds exemplars, from here to
    /// its commit: so the bounds are kept, and what comes again while it is still being committed is seen.
    var beginning: PostgresStatement {
        PostgresStatement(
            """
            SELECT pg_advisory_xact_lock(728014, 5),
                set_config('petrel.exemplar_room', $1, true)
            """, [.text("\(room)")])
    }

    /// One statement a day; each answers with the numbers of an `Outcome`.
    func statements(perSeriesMinute: Int) -> [PostgresStatement] {
        days.map { day, exemplars in
            PostgresStatement(
                insertExemplarsSQL,
                [
                    .int4(day), .int8(Int64(perSeriesMinute)),
                    .int4Array(exemplars.map(\.series.rawValue)),
                    .int8Array(exemplars.map(\.exemplar.timestamp.rawValue)),
                    .float8Array(exemplars.map(\.exemplar.value)),
                    .textArray(exemplars.map { withoutNUL($0.exemplar.traceID) }),
                    .byteaArray(exemplars.map(\.exemplar.labels.key)),
                    .textArray(exemplars.map(\.exemplar.labels.json)),
                ])
        }
    }

    /// Of the answers to `statements`.
    static func outcome(_ answers: some Sequence<PostgresRows>) throws -> Outcome {
        try answers.reduce(into: Outcome()) { outcome, rows in
            outcome.freshCount += Int(try rows.integer(0, 0))
            outcome.storedCount += Int(try rows.integer(0, 1))
        }
    }
}

extension CollectorStore: ExemplarReader {
    package func exemplars(
        _ selection: ExemplarSelection, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] {
        let wanted = try catalogue.series.withLock { state throws(StorageError) in
            var numbers: Set<Int32> = []
            for matchers in selection.matcherSets {
                numbers.formUnion(try state.index.matching(matchers))
            }
            return numbers.map { ($0, state.index.labels(of: $0) ?? .empty) }
        }
        let numbers = wanted.map(\.0).sorted()
        let found = try await exemplars(
            "series_id = ANY ($6)", .int4Array(numbers), from: selection.start,
            through: selection.end, exemplarsMax: exemplarsMax, isEmpty: wanted.isEmpty)
        return wanted.compactMap { number, labels in
            found[number].map { SeriesExemplars(labels: labels, exemplars: $0) }
        }.sorted { $0.labels < $1.labels }
    }

    package func exemplars(
        ofTrace id: String, start: TimestampMS, end: TimestampMS, exemplarsMax: Int
    ) async throws(StorageError) -> [SeriesExemplars] {
        // No text of the database has a NUL, and those without a trace are not of the trace without a name.
        let isEmpty = id.isEmpty || id.utf8.contains(0)
        let found = try await exemplars(
            "trace_id = $6 AND trace_id <> ''", .text(isEmpty ? "" : id), from: start,
            through: end, exemplarsMax: exemplarsMax, isEmpty: isEmpty)
        return catalogue.series.withLock { state in
            found.compactMap { number, exemplars in
                state.index.labels(of: number).map {
                    SeriesExemplars(labels: $0, exemplars: exemplars)
                }
            }
        }.sorted { $0.labels < $1.labels }
    }

    /// By series; `condition` is about `value`, its sixth parameter.
    private func exemplars(
        _ condition: String, _ value: PostgresValue, from: TimestampMS, through: TimestampMS,
        exemplarsMax: Int, isEmpty: Bool
    ) async throws(StorageError) -> [Int32: [Exemplar]] {
        // No exemplar lies outside of them, and the database counts no farther.
        let start = max(from.rawValue, 0)
        let end = min(through.rawValue, Int64(Int32.max) * 86_400_000)
        guard !isEmpty, start <= end else { return [:] }
        return try await read { session in
            var found: [Int32: [Exemplar]] = [:]
            var count = 0
            try session.forEachRow(
                """
                SELECT series_id, ts, value, label_key FROM petrel.exemplar
                WHERE day BETWEEN $1 AND $2 AND ts BETWEEN $3 AND $4 AND \(condition)
                ORDER BY series_id, ts, value, digest LIMIT $5
                """,
                [
                    .int4(dayOf(start)), .int4(dayOf(end)), .int8(start), .int8(end),
                    .int8(Int64(exemplarsMax) + 1), value,
                ]
            ) { row in
                count += 1
                let series = try row.int4(0, 0)
                guard let labels = Labels(key: row.bytes(0, 3)) else {
                    throw StorageError.corrupt(
                        "an exemplar of series \(series): its label key does not decode")
                }
                found[series, default: []].append(
                    Exemplar(
                        labels: labels, value: try row.float8(0, 2),
                        timestamp: TimestampMS(try row.integer(0, 1))))
            }
            guard count <= exemplarsMax else {
                throw StorageError.limitExceeded(
                    limit: "limits.query_exemplars", maximum: exemplarsMax)
            }
            return found
        }
    }
}

/// What is not there yet is stored as far as its series has room in the minute, and all series together have, the newest
/// first. What it takes of the latter is gone for the statements after it.
private let insertExemplarsSQL = """
    WITH pushed AS (
        SELECT DISTINCT ON (p.series_id, p.ts, d.digest) p.series_id, p.ts, d.digest, p.value,
            p.trace_id, p.label_key, p.labels
        FROM unnest($3::int4[], $4::int8[], $5::float8[], $6::text[], $7::bytea[], $8::text[])
            AS p (series_id, ts, value, trace_id, label_key, labels)
        CROSS JOIN LATERAL (
            SELECT substring(sha256(p.label_key || float8send(p.value)) FOR 8) AS digest
        ) AS d
    ), fresh AS (
        SELECT n.*, (
            SELECT count(*) FROM petrel.exemplar e
            WHERE e.series_id = n.series_id AND e.day = $1 AND e.ts >= n.ts / 60000 * 60000
                AND e.ts < n.ts / 60000 * 60000 + 60000
        ) + row_number() OVER (
            PARTITION BY n.series_id, n.ts / 60000 ORDER BY n.ts, n.digest
        ) AS place
        FROM pushed n
        WHERE NOT EXISTS (
            SELECT 1 FROM petrel.exemplar e
            WHERE e.series_id = n.series_id AND e.day = $1 AND e.ts = n.ts
                AND e.digest = n.digest)
    ), stored AS (
        INSERT INTO petrel.exemplar
            (day, series_id, ts, digest, value, trace_id, label_key, labels)
        SELECT $1, f.series_id, f.ts, f.digest, f.value, f.trace_id, f.label_key, f.labels::jsonb
        FROM fresh f WHERE f.place <= $2
        ORDER BY f.ts DESC, f.digest LIMIT current_setting('petrel.exemplar_room')::bigint
        RETURNING 1
    ), counted AS (
        SELECT count(*) AS stored FROM stored
    )
    SELECT (SELECT count(*) FROM fresh), stored, set_config(
        'petrel.exemplar_room',
        (current_setting('petrel.exemplar_room')::bigint - stored)::text, true)
    FROM counted
    """
