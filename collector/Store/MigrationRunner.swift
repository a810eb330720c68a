package import Postgres

/// Brings the schema to this build's state: numbered files, forward only, one transaction each, under an advisory lock.
package enum MigrationRunner {
    /// A migration as this build carries it.
    struct Migration: Sendable {
        var number: Int32
        var name: String
        var sql: [UInt8]
    }

    /// Of the advisory lock that serialises migrations; any constant will do.
    static let lockKey: Int64 = 0x7065_7472_656c

    static let all: [Migration] = [
        Migration(
            number: 1, name: "create_fleet_tables",
            sql: PackageResources._001_create_fleet_tables_sql),
        Migration(
            number: 2, name: "create_data_tables",
            sql: PackageResources._002_create_data_tables_sql),
        Migration(
            number: 3, name: "create_alert_tables",
            sql: PackageResources._003_create_alert_tables_sql),
        Migration(
            number: 4, name: "create_partition_functions",
            sql: PackageResources._004_create_partition_functions_sql),
        Migration(number: 5, name: "create_views", sql: PackageResources._005_create_views_sql),
        Migration(number: 6, name: "create_roles", sql: PackageResources._006_create_roles_sql),
        Migration(number: 7, name: "create_chunks", sql: PackageResources._007_create_chunks_sql),
        Migration(
            number: 8, name: "create_chunk_functions",
            sql: PackageResources._008_create_chunk_functions_sql),
        Migration(
            number: 9, name: "add_pushed_samples",
            sql: PackageResources._009_add_pushed_samples_sql),
        Migration(
            number: 10, name: "create_exemplars", sql: PackageResources._010_create_exemplars_sql),
        Migration(
            number: 11, name: "create_exemplar_functions",
            sql: PackageResources._011_create_exemplar_functions_sql),
        Migration(
            number: 12, name: "add_series_days",
            sql: PackageResources._012_add_series_days_sql),
        Migration(
            number: 13, name: "partition_chunks_by_class",
            sql: PackageResources._013_partition_chunks_by_class_sql),
        Migration(
            number: 14, name: "add_deletions", sql: PackageResources._014_add_deletions_sql),
        Migration(
            number: 15, name: "create_log_blocks",
            sql: PackageResources._015_create_log_blocks_sql),
    ]

    /// Applies what is missing and returns the numbers applied, ascending. Any number of callers may race.
    ///
    /// Throws `PostgresError.cluster` where the database has been migrated by a newer build, where a file differs from
    /// what was applied, or where the server is older than 14.
    package static func migrate(_ pool: PostgresPool) async throws -> [Int] {
        try await pool.withSession { session in
            guard session.serverVersion >= 140_000 else {
                throw PostgresError.cluster(
                    "PostgreSQL \(session.serverVersion / 10_000) is too old: 14 or newer is needed"
                )
            }
            try prepare(session)
            var applied: [Int] = []
            for migration in all where try apply(migration, session) {
                applied.append(Int(migration.number))
            }
            try refuseNewer(session)
            return applied
        }
    }

    private static func prepare(_ session: PostgresSession) throws {
        try session.transaction { session in
            try session.query("SELECT pg_advisory_xact_lock($1)", [.int8(lockKey)])
            let exists = try session.query("SELECT to_regclass('petrel.migration') IS NOT NULL")
            guard !exists.bool(0, 0) else { return }
            try session.execute(
                """
                CREATE SCHEMA IF NOT EXISTS petrel;
                CREATE TABLE petrel.migration (
                    number int4 PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now());
                """)
        }
    }

    /// False where it was applied before.
    private static func apply(
        _ migration: Migration, _ session: PostgresSession
    ) throws -> Bool {
        try session.transaction { session in
            try session.query("SELECT pg_advisory_xact_lock($1)", [.int8(lockKey)])
            let found = try session.query(
                "SELECT checksum = sha256($2) FROM petrel.migration WHERE number = $1",
                [.int4(migration.number), .bytea(migration.sql)])
            if found.count > 0 {
                guard found.bool(0, 0) else {
                    throw PostgresError.cluster(
                        "migration \(migration.number) (\(migration.name)) was applied with other "
                            + "content: use the build that made this database, or a newer one")
                }
                return false
            }
            try session.execute(String(decoding: migration.sql, as: UTF8.self))
            try session.query(
                "INSERT INTO petrel.migration (number, name, checksum) VALUES ($1, $2, sha256($3))",
                [.int4(migration.number), .text(migration.name), .bytea(migration.sql)])
            return true
        }
    }

    private static func refuseNewer(_ session: PostgresSession) throws {
        let newest = try session.query("SELECT coalesce(max(number), 0) FROM petrel.migration")
        let known = all.last?.number ?? 0
        guard try newest.int4(0, 0) <= known else {
            throw PostgresError.cluster(
                "the database is at migration \(try newest.int4(0, 0)), this build knows \(known): "
                    + "upgrade petrel-collector")
        }
    }
}
