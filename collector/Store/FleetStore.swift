package import Model
import Postgres
package import Storage

extension CollectorStore: FleetRegistry {
    package func createToken(
        hash: [UInt8], host: HostName, expiresAt: TimestampMS
    ) async throws(StorageError) {
        try await write { session in
            _ = try session.query(
                "INSERT INTO petrel.enrol_token (hash, host, expires_at) VALUES ($1, $2, $3)",
                [.bytea(hash), .text(host.text), .int8(expiresAt.rawValue)])
        }
    }

    package func redeemToken(hash: [UInt8], now: TimestampMS) async throws -> HostName {
        let answer = try await write { session -> Result<HostName, TokenRefusal> in
            // The row's lock decides a race: the loser sees `used_at` set when it gets its turn.
            let taken = try session.query(
                """
                UPDATE petrel.enrol_token SET used_at = $2
                WHERE hash = $1 AND used_at IS NULL AND expires_at > $2 RETURNING host
                """, [.bytea(hash), .int8(now.rawValue)])
            if taken.count == 1 {
                guard let host = HostName(taken.text(0, 0)) else {
                    throw StorageError.corrupt("enrol_token holds no host name")
                }
                return .success(host)
            }
            let found = try session.query(
                "SELECT used_at FROM petrel.enrol_token WHERE hash = $1", [.bytea(hash)])
            guard found.count == 1 else { return .failure(.unknown) }
            return .failure(found.isNull(0, 0) ? .expired : .used)
        }
        return try answer.get()
    }

    package func recordCertificate(
        _ certificate: IssuedCertificate, isEnrolment: Bool
    ) async throws(StorageError) {
        let issued = certificate
        try await write { session in
            try session.transaction { session in
                let host = try hostRow(issued.host, session)
                let at = PostgresValue.int8(issued.notBefore.rawValue)
                if isEnrolment {
                    try session.pipeline([
                        PostgresStatement(
                            """
                            UPDATE petrel.certificate SET revoked_at = $2
                            WHERE host_id = $1 AND revoked_at IS NULL
                            """, [.int4(host), at]),
                        PostgresStatement(
                            """
                            UPDATE petrel.host SET revoked_at = NULL,
                                enrolled_at = coalesce(enrolled_at, $2) WHERE id = $1
                            """, [.int4(host), at]),
                    ])
                } else {
                    // A renewal that races a revocation must not give the host a good certificate.
                    let rows = try session.query(
                        "SELECT revoked_at FROM petrel.host WHERE id = $1 FOR UPDATE",
                        [.int4(host)])
                    guard rows.isNull(0, 0) else {
                        throw StorageError.refused("\(issued.host) is revoked: enrol it anew")
                    }
                    try session.query(
                        "UPDATE petrel.host SET enrolled_at = coalesce(enrolled_at, $2) WHERE id = $1",
                        [.int4(host), at])
                }
                try session.query(
                    """
                    INSERT INTO petrel.certificate (serial, host_id, not_before, not_after)
                    VALUES ($1, $2, $3, $4)
                    """,
                    [.text(issued.serial), .int4(host), at, .int8(issued.notAfter.rawValue)])
            }
        }
    }

    package func revoke(host: HostName, now: TimestampMS) async throws(StorageError) -> Bool {
        try await write { session in
            try session.transaction { session in
                let rows = try session.query(
                    "UPDATE petrel.host SET revoked_at = $2 WHERE name = $1 RETURNING id",
                    [.text(host.text), .int8(now.rawValue)])
                guard rows.count == 1 else { return false }
                try session.query(
                    """
                    UPDATE petrel.certificate SET revoked_at = $2
                    WHERE host_id = $1 AND revoked_at IS NULL
                    """, [.int4(try rows.int4(0, 0)), .int8(now.rawValue)])
                return true
            }
        }
    }

    package func revokedSerials(now: TimestampMS) async throws(StorageError) -> Set<String> {
        try await write { session in
            let rows = try session.query(
                """
                SELECT serial FROM petrel.certificate
                WHERE revoked_at IS NOT NULL AND not_after > $1
                """, [.int8(now.rawValue)])
            return Set((0..<rows.count).map { rows.text($0, 0) })
        }
    }

    package func hosts() async throws(StorageError) -> [FleetHost] {
        try await write { session in
            let rows = try session.query(
                """
                SELECT name, agent_version, machine_id, boot_id, kernel, operating_system, role,
                    enrolled_at, last_seen_at, revoked_at IS NOT NULL
                FROM petrel.host WHERE enrolled_at IS NOT NULL OR last_seen_at IS NOT NULL
                ORDER BY name COLLATE "C"
                """)
            var hosts: [FleetHost] = []
            for row in 0..<rows.count {
                guard let name = HostName(rows.text(row, 0)) else {
                    throw StorageError.corrupt("host \(rows.text(row, 0)) is no host name")
                }
                let facts = HostFacts(
                    agentVersion: rows.text(row, 1), machineID: rows.text(row, 2),
                    bootID: rows.text(row, 3), kernel: rows.text(row, 4),
                    operatingSystem: rows.text(row, 5), role: rows.text(row, 6))
                let seen = try rows.optionalInteger(row, 8)
                hosts.append(
                    FleetHost(
                        host: name, facts: facts,
                        enrolledAt: TimestampMS(try rows.optionalInteger(row, 7) ?? seen ?? 0),
                        lastSeenAt: seen.map { TimestampMS($0) }, revoked: rows.bool(row, 9)))
            }
            return hosts
        }
    }

    package func recordHello(
        host: HostName, facts: HostFacts, at: TimestampMS
    ) async throws(StorageError) {
        try await write { session in
            _ = try session.query(
                """
                INSERT INTO petrel.host (name, agent_version, machine_id, boot_id, kernel,
                    operating_system, role, last_seen_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (name) DO UPDATE SET agent_version = $2, machine_id = $3, boot_id = $4,
                    kernel = $5, operating_system = $6, role = $7,
                    last_seen_at = greatest(host.last_seen_at, $8)
                """,
                [
                    .text(host.text), .text(withoutNUL(facts.agentVersion)),
                    .text(withoutNUL(facts.machineID)), .text(withoutNUL(facts.bootID)),
                    .text(withoutNUL(facts.kernel)), .text(withoutNUL(facts.operatingSystem)),
                    .text(withoutNUL(facts.role)), .int8(at.rawValue),
                ])
        }
    }

    package func recordPresence(
        _ lastSeen: [HostName: TimestampMS]
    ) async throws(StorageError) {
        guard !lastSeen.isEmpty else { return }
        let ordered = lastSeen.sorted { $0.key < $1.key }
        try await write { session in
            _ = try session.query(
                """
                UPDATE petrel.host h SET last_seen_at = greatest(h.last_seen_at, s.at)
                FROM unnest($1::text[], $2::int8[]) AS s (name, at) WHERE h.name = s.name
                """,
                [
                    .textArray(ordered.map(\.key.text)),
                    .int8Array(ordered.map(\.value.rawValue)),
                ])
        }
    }

    package func audit(_ event: AuditEvent, at: TimestampMS) async throws(StorageError) {
        try await write { session in
            _ = try session.query(
                "INSERT INTO petrel.audit (at, action, subject, detail) VALUES ($1, $2, $3, $4)",
                [
                    .int8(at.rawValue), .text(withoutNUL(event.action)),
                    .text(withoutNUL(event.subject)), .text(withoutNUL(event.detail)),
                ])
        }
    }
}
