import Model
import Postgres
package import Storage
import World

extension CollectorStore: LogWriter {
    /// How long a push is remembered, nanoseconds.
    static let pushMemoryNanoseconds: Int64 = 86_400_000_000_000

    package func storeLogs(
        _ push: LogPush
    ) async throws(StorageError) -> LogPushOutcome {
        let now = clock.now
        let numbers = try await internStreams(push.streams.map(\.labels))
        try await ensurePartitions(hour: hour(now))
        let taken = taken(push.streams, numbers[...], now)
        // Beforehand: where the commit's answer is lost, the lines are found all the same.
        logs.noteSpans(taken.rows)
        let isNew = try await writeData { session in
            try session.transaction { session in
                let rows = try session.query(
                    """
                    INSERT INTO petrel.log_push (digest, received_ns) VALUES ($1, $2)
                    ON CONFLICT DO NOTHING
                    """, [.bytea(push.digest), .int8(now.rawValue)])
                guard rows.affectedCount == 1 else { return false }
                try IngestTransaction.copy([(rows: taken.rows, receivedAt: now)], session)
                if let gap = taken.tooOld { try Self.insert(gap, receivedAt: now, session) }
                return true
            }
        }
        guard isNew else { return .repeated }
        take(taken, receivedAt: now)
        return .stored(
            entryCount: taken.entryCount, tooOldCount: Int(taken.tooOld?.count ?? 0))
    }

    private static func insert(
        _ gap: GapRecord, receivedAt: TimestampNS, _ session: PostgresSession
    ) throws {
        try session.query(
            """
            INSERT INTO petrel.gap (host_id, kind, epoch, seq, reason, record_count, from_ns, to_ns,
                source, detail, received_ns)
            VALUES ($1, $2, 0, 0, $3, $4, $5, $6, 'push', $7, $8)
            """,
            [
                .int4(Catalogue.collectorHost), .int2(Int16(StreamKind.logs.rawValue)),
                .text(gap.reason.rawValue), .int8(Int64(clamping: gap.count)),
                .optional(gap.from?.rawValue), .optional(gap.to?.rawValue), .text(gap.detail),
                .int8(receivedAt.rawValue),
            ])
    }

    /// Forgets pushes that are older than a day.
    func forgetPushes() async throws(StorageError) {
        let oldest = clock.now.rawValue - Self.pushMemoryNanoseconds
        try await write { session in
            _ = try session.query(
                "DELETE FROM petrel.log_push WHERE received_ns < $1", [.int8(oldest)])
        }
    }
}
