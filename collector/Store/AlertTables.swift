import Model
import Postgres
package import Storage
import World

extension CollectorStore: AlertStore {
    /// How long resolved alerts are loaded after a restart, milliseconds. Source: Prometheus 3.14 `resolvedRetention`.
    static let resolvedMilliseconds: Int64 = 15 * 60_000

    package func loadAlerts() async throws(StorageError) -> [AlertRecord] {
        let resolvedMin = clock.now.milliseconds.rawValue - Self.resolvedMilliseconds
        return try await write { session in
            let rows = try session.query(
                """
                SELECT rule, label_key, annotation_key, state, value, active_at, fired_at,
                    resolved_at, keep_firing_since, last_notified_at
                FROM petrel.alert WHERE state <> 'inactive' OR resolved_at > $1
                ORDER BY rule, label_digest
                """, [.int8(resolvedMin)])
            return try (0..<rows.count).map { try record(rows, $0) }
        }
    }

    package func commit(
        _ records: [AlertRecord], _ transitions: [AlertTransition], _ messages: [OutboxMessage]
    ) async throws(StorageError) {
        var statements = [PostgresStatement("BEGIN")]
        statements += records.map(statement)
        statements += transitions.map(statement)
        statements += messages.map(enqueueStatement)
        statements.append(PostgresStatement("COMMIT"))
        let all = statements
        guard all.count > 2 else { return }
        try await write { _ = try $0.pipeline(all) }
    }

    private func statement(_ record: AlertRecord) -> PostgresStatement {
        let key = record.labels.key
        if record.state == .inactive, record.resolvedAt == nil {
            return PostgresStatement(
                "DELETE FROM petrel.alert WHERE rule = $1 AND label_digest = sha256($2)",
                [.text(withoutNUL(record.rule)), .bytea(key)])
        }
        return PostgresStatement(
            """
            INSERT INTO petrel.alert (rule, label_digest, label_key, labels, annotation_key, state,
                value, active_at, fired_at, resolved_at, keep_firing_since, last_notified_at)
            VALUES ($1, sha256($2), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (rule, label_digest) DO UPDATE SET annotation_key = $4, state = $5,
                value = $6, active_at = $7, fired_at = $8, resolved_at = $9,
                keep_firing_since = $10, last_notified_at = $11
            """,
            [
                .text(withoutNUL(record.rule)), .bytea(key), .jsonb(record.labels.json),
                .bytea(record.annotations.key), .text(record.state.rawValue),
                .float8(record.value), .int8(record.activeAt.rawValue),
                .optional(record.firedAt?.rawValue), .optional(record.resolvedAt?.rawValue),
                .optional(record.keepFiringSince?.rawValue),
                .optional(record.lastNotifiedAt?.rawValue),
            ])
    }

    private func statement(_ transition: AlertTransition) -> PostgresStatement {
        PostgresStatement(
            """
            INSERT INTO petrel.alert_transition
                (rule, label_key, labels, from_state, to_state, value, at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .text(withoutNUL(transition.rule)), .bytea(transition.labels.key),
                .jsonb(transition.labels.json), .text(transition.from.rawValue),
                .text(transition.to.rawValue), .float8(transition.value),
                .int8(transition.at.rawValue),
            ])
    }
}

private func record(_ rows: PostgresRows, _ row: Int) throws -> AlertRecord {
    func time(_ column: Int) throws -> TimestampMS? {
        try rows.optionalInteger(row, column).map { TimestampMS($0) }
    }
    guard let labels = Labels(key: rows.bytes(row, 1)),
        let annotations = Labels(key: rows.bytes(row, 2)),
        let state = AlertState(rawValue: rows.text(row, 3))
    else { throw StorageError.corrupt("alert of rule \(rows.text(row, 0)) does not decode") }
    return AlertRecord(
        rule: rows.text(row, 0), labels: labels, annotations: annotations, state: state,
        value: try rows.float8(row, 4), activeAt: TimestampMS(try rows.integer(row, 5)),
        firedAt: try time(6), resolvedAt: try time(7), keepFiringSince: try time(8),
        lastNotifiedAt: try time(9))
}
