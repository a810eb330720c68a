package import Model
import Postgres
package import Storage

extension CollectorStore: OutboxStore {
    package func enqueue(_ messages: [OutboxMessage]) async throws(StorageError) {
        guard !messages.isEmpty else { return }
        let statements = messages.map(enqueueStatement)
        try await write { _ = try $0.pipeline(statements) }
    }

    package func claim(
        now: TimestampMS, limit: Int, leaseMilliseconds: Int64
    ) async throws(StorageError) -> [OutboxMessage] {
        try await write { session in
            // Rows that another claim holds at this moment are passed over, not waited for. Messages of one lane
            // (receiver, integration, group) go one at a time: a resolved never overtakes its firing.
            let rows = try session.query(
                """
                WITH due AS (
                    SELECT id FROM petrel.outbox AS o
                    WHERE state = 'waiting' AND next_attempt_at <= $1 AND leased_until <= $1
                        AND NOT EXISTS (
                            SELECT FROM petrel.outbox AS earlier
                            WHERE earlier.state = 'waiting' AND earlier.receiver = o.receiver
                                AND earlier.integration = o.integration
                                AND earlier.group_key = o.group_key
                                AND (earlier.created_at, earlier.id) < (o.created_at, o.id))
                    ORDER BY created_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
                ), taken AS (
                    UPDATE petrel.outbox o SET leased_until = $3 FROM due WHERE o.id = due.id
                    RETURNING o.*
                )
                SELECT id, receiver, integration, group_key, group_label_key, alerts, created_at,
                    attempt_count
                FROM taken ORDER BY created_at, id
                """,
                [
                    .int8(now.rawValue), .int8(Int64(limit)),
                    .int8(now.advanced(byMilliseconds: leaseMilliseconds).rawValue),
                ])
            return try (0..<rows.count).map { try message(rows, $0) }
        }
    }

    package func settle(
        _ attempt: DeliveryAttempt, _ verdict: DeliveryVerdict
    ) async throws(StorageError) {
        let state: String
        var next: TimestampMS?
        switch verdict {
        case .delivered: state = "delivered"
        case .abandoned: state = "abandoned"
        case .retry(let at):
            state = "waiting"
            next = at
        }
        let statements = [
            PostgresStatement("BEGIN"),
            PostgresStatement(
                """
                UPDATE petrel.outbox SET state = $2, attempt_count = attempt_count + 1,
                    next_attempt_at = coalesce($3, next_attempt_at), leased_until = 0
                WHERE id = $1
                """, [.text(attempt.messageID), .text(state), .optional(next?.rawValue)]),
            PostgresStatement(
                """
                INSERT INTO petrel.delivery (message_id, at, status, error, duration_ms)
                VALUES ($1, $2, $3, $4, $5)
                """,
                [
                    .text(attempt.messageID), .int8(attempt.at.rawValue),
                    attempt.status.map { .int4(Int32(clamping: $0)) } ?? .null(.int4),
                    .text(withoutNUL(attempt.error)), .int8(attempt.durationMilliseconds),
                ]),
            PostgresStatement("COMMIT"),
        ]
        try await write { _ = try $0.pipeline(statements) }
    }

    package func deliveries(
        limit: Int
    ) async throws(StorageError) -> [(message: OutboxMessage, attempt: DeliveryAttempt)] {
        try await write { session in
            let rows = try session.query(
                """
                SELECT o.id, o.receiver, o.integration, o.group_key, o.group_label_key, o.alerts,
                    o.created_at, o.attempt_count, d.at, d.status, d.error, d.duration_ms
                FROM petrel.delivery d JOIN petrel.outbox o ON o.id = d.message_id
                ORDER BY d.id DESC LIMIT $1
                """, [.int8(Int64(limit))])
            return try (0..<rows.count).map { row in
                let message = try message(rows, row)
                return (
                    message,
                    DeliveryAttempt(
                        messageID: message.id, at: TimestampMS(try rows.integer(row, 8)),
                        status: try rows.optionalInteger(row, 9).map { Int($0) },
                        error: rows.text(row, 10),
                        durationMilliseconds: try rows.integer(row, 11))
                )
            }
        }
    }
}

/// A message that is there already is left as it is: its id was minted once.
func enqueueStatement(_ message: OutboxMessage) -> PostgresStatement {
    var alerts = RecordWriter()
    alerts.append(count: message.alerts.count)
    for alert in message.alerts {
        alerts.append(alert.labels)
        alerts.append(alert.annotations)
        alerts.append(alert.startsAt.rawValue)
        alerts.append(count: alert.endsAt == nil ? 0 : 1)
        alerts.append(alert.endsAt?.rawValue ?? 0)
        alerts.append(alert.generatorURL)
    }
    return PostgresStatement(
        """
        INSERT INTO petrel.outbox (id, receiver, integration, group_key, group_label_key, alerts,
            alert_labels, created_at, attempt_count, next_attempt_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8) ON CONFLICT (id) DO NOTHING
        """,
        [
            .text(message.id), .text(withoutNUL(message.receiver)),
            .text(withoutNUL(message.integration)), .text(withoutNUL(message.groupKey)),
            .bytea(message.groupLabels.key), .bytea(alerts.bytes),
            .jsonb("[" + message.alerts.map(\.labels.json).joined(separator: ",") + "]"),
            .int8(message.createdAt.rawValue), .int4(Int32(clamping: message.attemptCount)),
        ])
}

/// A row that begins with `id, receiver, integration, group_key, group_label_key, alerts, created_at, attempt_count`.
func message(_ rows: PostgresRows, _ row: Int) throws -> OutboxMessage {
    let id = rows.text(row, 0)
    guard let groupLabels = Labels(key: rows.bytes(row, 4)),
        let alerts = try? decodedAlerts(rows.bytes(row, 5))
    else { throw StorageError.corrupt("outbox message \(id) does not decode") }
    return OutboxMessage(
        id: id, receiver: rows.text(row, 1), integration: rows.text(row, 2),
        groupKey: rows.text(row, 3), groupLabels: groupLabels, alerts: alerts,
        createdAt: TimestampMS(try rows.integer(row, 6)),
        attemptCount: Int(try rows.int4(row, 7)))
}

private func decodedAlerts(_ bytes: [UInt8]) throws -> [Alert] {
    var reader = RecordReader(bytes)
    let count = try reader.count()
    var alerts: [Alert] = []
    for _ in 0..<count {
        let labels = try reader.labels()
        let annotations = try reader.labels()
        let startsAt = TimestampMS(try reader.number())
        let hasEnded = try reader.count() == 1
        let endsAt = TimestampMS(try reader.number())
        alerts.append(
            Alert(
                labels: labels, annotations: annotations, startsAt: startsAt,
                endsAt: hasEnded ? endsAt : nil, generatorURL: try reader.text()))
    }
    guard reader.isAtEnd else { throw RecordReader.Malformed() }
    return alerts
}
