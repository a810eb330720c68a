package import Model
import Postgres
package import Storage
import Synchronization

// Type, help and unit of series: columns of their rows, and in memory what there is of them by metric name.

extension CollectorStore {
    package func noteMetadata(
        _ metadata: [ExactText: MetricMetadata]
    ) async throws(StorageError) {
        let changed = catalogue.series.withLock { state in
            metadata.filter { name, new in
                guard let known = state.metadata[name], new != MetricMetadata() else {
                    return false
                }
                return !known.contains(new) || known.contains(MetricMetadata())
            }
        }
        guard !changed.isEmpty else { return }
        // Ordered, so that two writers wait for each other in one order.
        let ordered = changed.sorted { bytesPrecede($0.key.text, $1.key.text) }
        try await change(
            PostgresStatement(
                """
                WITH new AS (
                    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
                        AS n (metric, type, help, unit)
                ), wanted AS MATERIALIZED (
                    SELECT s.id, n.type, n.help, n.unit FROM petrel.series s
                    JOIN new n USING (metric)
                    WHERE (s.host_id = $5 OR s.type = 'unknown' AND s.help = '' AND s.unit = '')
                        AND (s.type, s.help, s.unit) IS DISTINCT FROM (n.type, n.help, n.unit)
                    ORDER BY s.id FOR UPDATE OF s
                )
                UPDATE petrel.series s SET type = w.type, help = w.help, unit = w.unit
                FROM wanted w WHERE s.id = w.id
                """,
                [
                    .textArray(ordered.map { withoutNUL($0.key.text) }),
                    .textArray(ordered.map(\.value.type.rawValue)),
                    .textArray(ordered.map { withoutNUL($0.value.help) }),
                    .textArray(ordered.map { withoutNUL($0.value.unit) }),
                    .int4(Catalogue.collectorHost),
                ]), of: ordered.map(\.key))
    }

    /// Makes what a host says of its series theirs, by number: a unit that an exporter has since it was upgraded, or
    /// another help.
    func noteMetadata(
        _ series: [(number: Int32, metric: String, metadata: MetricMetadata)]
    ) async throws(StorageError) {
        try await change(
            PostgresStatement(
                """
                WITH new AS (
                    SELECT * FROM unnest($1::int4[], $2::text[], $3::text[], $4::text[])
                        AS n (id, type, help, unit)
                ), wanted AS MATERIALIZED (
                    SELECT s.id, n.type, n.help, n.unit FROM petrel.series s JOIN new n USING (id)
                    WHERE (s.type, s.help, s.unit) IS DISTINCT FROM (n.type, n.help, n.unit)
                    ORDER BY s.id FOR UPDATE OF s
                )
                UPDATE petrel.series s SET type = w.type, help = w.help, unit = w.unit
                FROM wanted w WHERE s.id = w.id
                """,
                [
                    .int4Array(series.map(\.number)),
                    .textArray(series.map(\.metadata.type.rawValue)),
                    .textArray(series.map { withoutNUL($0.metadata.help) }),
                    .textArray(series.map { withoutNUL($0.metadata.unit) }),
                ]), of: Array(Set(series.map { ExactText($0.metric) })))
    }

    /// Runs `statement`, which changes rows of these metrics, and learns what they say then.
    private func change(
        _ statement: PostgresStatement, of metrics: [ExactText]
    ) async throws(StorageError) {
        let known = try await write { session in
            let rows = try session.pipeline([
                statement,
                PostgresStatement(
                    """
                    SELECT DISTINCT metric, type, help, unit FROM petrel.series
                    WHERE metric = ANY ($1) ORDER BY metric, type, help, unit
                    """, [.textArray(metrics.map { withoutNUL($0.text) })]),
            ])[1]
            var known: [ExactText: [MetricMetadata]] = [:]
            for row in 0..<rows.count {
                known[ExactText(rows.text(row, 0)), default: []].append(
                    MetricMetadata(
                        type: MetricType(rawValue: rows.text(row, 1)) ?? .unknown,
                        help: rows.text(row, 2), unit: rows.text(row, 3)))
            }
            return known
        }
        catalogue.series.withLock { state in
            for name in metrics {
                if let now = known[ExactText(withoutNUL(name.text))] { state.metadata[name] = now }
            }
        }
    }
}
